"""The wheel holds the product and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "burnish",
    "burnish_controller",
    "burnish_interceptor",
    "burnish_proposer",
    "burnish_runtime",
    "burnish_search",
    "burnish_verifier",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files of a wheel built from what git has."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", str(ROOT), "--quiet", "--no-deps",
            "--no-build-isolation", "--no-index", "--wheel-dir", str(folder),
        ],
        check=True, env={**os.environ, "PIP_FIND_LINKS": ""},
    )  # fmt: skip
    (wheel,) = folder.glob("burnish-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def tracked_data() -> set[str]:
    """Every file of the packages that is not Python, as it lies in the repository."""
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src", "services"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return {
        name.split("/", 1 if name.startswith("src/") else 2)[-1]
        for name in out.splitlines()
        if not name.endswith((".py", ".pyi"))
    }


@pytest.mark.slow
def test_a_wheel_holds_our_packages_alone(names):
    top = {name.split("/")[0] for name in names}
    assert {one for one in top if not one.endswith(".dist-info")} == PACKAGES


@pytest.mark.slow
def test_a_wheel_holds_every_file_that_the_packages_read(names):
    assert tracked_data() - names == set()
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "burnish_proposer/prompts/instruction.txt" in names
    assert any(name.startswith("burnish_controller/migrations/versions/m0001") for name in names)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_a_wheel_holds_no_left_overs(names):
    stray = [
        name
        for name in names
        if "__pycache__" in name or name.endswith((".pyc", ".proto", ".db", ".sqlite3", ".log"))
    ]
    assert stray == []
    known = tracked_data()
    data = {
        name for name in names if not name.endswith((".py", ".pyi")) and ".dist-info/" not in name
    }
    assert data - known == set()
