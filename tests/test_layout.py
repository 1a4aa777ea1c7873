"""The house rules that a reviewer would otherwise repeat."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("controller", "interceptor", "proposer", "runtime", "search", "verifier")
MAX_MODULE_LINES = 350
FORBIDDEN_CALLS = {"eval", "exec"}
# Runs what a model wrote, in a process of its own that is closed in before it reads any of it.
CLOSED_IN = ROOT / "services/verifier/burnish_verifier/sandbox/runs.py"
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve"}


def handwritten() -> list[Path]:
    roots = [ROOT / "src", ROOT / "services", ROOT / "scripts", ROOT / "examples"]
    return [
        path
        for root in roots
        for path in root.rglob("*.py")
        if ROOT / "src" / "burnish" / "api" not in path.parents
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_folder_holds_exactly_its_package(service):
    entries = {
        path.name for path in (ROOT / "services" / service).iterdir() if path.name != "__pycache__"
    }
    assert entries == {f"burnish_{service}"}


def test_modules_are_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in handwritten()
        if (lines := len(path.read_text().splitlines())) > MAX_MODULE_LINES
    }
    assert long == {}


def test_modules_open_with_what_they_are_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in handwritten()
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_code_runs_from_data():
    found = []
    for path in handwritten():
        if path == CLOSED_IN:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in FORBIDDEN_CALLS:
                    found.append(f"{path.name}:{node.lineno} {node.func.id}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names}
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    names = {node.module.split(".")[0]}
                found += [f"{path.name}:{node.lineno} {name}" for name in names & FORBIDDEN_IMPORTS]
    assert found == []


def test_test_modules_have_unique_names():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_no_registry_address_is_committed():
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    needles = ("pypi" + ".org", "registry." + "npmjs", "--index" + "-url", "python" + "hosted")
    guilty = []
    for name in tracked.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in {".png"}:
            text = path.read_text(errors="replace")
            guilty += [f"{name}: {needle}" for needle in needles if needle in text]
    assert guilty == []
