"""What the documents name exists: paths, links, commands, variables; and the first example runs."""

import asyncio
import csv
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from burnish.cli import app as cli
from burnish.config import PromptLearningConfig, resolve_job
from burnish.datasets import load_rows

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(path for path in (ROOT / "examples").rglob("*.md") if "node_modules" not in path.parts),
    ]
)
FOLDERS = ("benchmarks", "docker", "docs", "examples", "protos", "scripts", "services", "src")
PATH_START = re.compile(rf"(?:{'|'.join(FOLDERS)}|tests)/")
each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def inline_code(text: str) -> list[str]:
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", without_blocks)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


@each_document
def test_every_path_that_is_named_exists(document):
    text = document.read_text()
    named = {one for one in inline_code(text) if PATH_START.match(one)}
    assert [one for one in sorted(named) if not (ROOT / one).exists()] == []


@each_document
def test_every_relative_link_leads_somewhere(document):
    text = document.read_text()
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = document.parent / path if path else document
        if not found.exists() or (anchor and anchor not in anchors(found.read_text())):
            broken.append(target)
    assert broken == []


def command_lines(text: str) -> Iterator[list[str]]:
    """Yields each `burnish ...` of inline code and shell blocks as words."""
    shell = "\n".join([*blocks(text, "sh"), *blocks(text, "text")]).replace("\\\n", " ")
    lines = [line.split("#")[0].removeprefix("$ ") for line in shell.splitlines()]
    for line in [*inline_code(text), *lines]:
        for part in re.split(r"&&|;|\s&", line.replace("\\|", "|")):
            words = part.split()
            if words and words[0].rpartition("/")[2] == "burnish" and len(words) > 1:
                yield words[1:]


def faults(words: list[str]) -> list[str]:
    """What the command line does not know of a command."""
    command: Any = typer.main.get_command(cli)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        names = rest.pop(0).split("|")
        unknown = [name for name in names if name not in command.commands]
        if unknown:
            return unknown if re.match(r"[a-z]", unknown[0]) else []
        command = command.commands[names[0]]
    known = {option for one in command.params for option in [*one.opts, *one.secondary_opts]}
    options = {re.split(r"[=\]]", word)[0] for word in rest if word.startswith("--")}
    return sorted(options - known - {"--help"})


@each_document
def test_every_command_that_is_named_exists_with_its_options(document):
    wrong = {
        " ".join(words): found
        for words in command_lines(document.read_text())
        if (found := faults(words))
    }
    assert wrong == {}


def test_the_check_of_commands_finds_what_does_not_exist():
    assert faults(["job", "submit|fly"]) == ["fly"]
    assert faults(["train", "job.toml", "--faster"]) == ["--faster"]
    assert faults(["up", "--metrics"]) == []


@each_document
def test_every_make_target_that_is_named_exists(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    code = "\n".join([*inline_code(text), *blocks(text, "sh")])
    named = set(re.findall(r"(?:^|\s)make ([a-z-]+)", code, flags=re.MULTILINE))
    assert named - targets == set()


@each_document
def test_every_variable_that_is_named_is_read_somewhere(document):
    sources = "\n".join(
        path.read_text()
        for folder in ("src", "services", "tests", "docker", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".mjs", ".yaml"} and "node_modules" not in path.parts
    )
    named = set(re.findall(r"BURNISH_[A-Z_]*[A-Z]", document.read_text()))
    read = set(re.findall(r"BURNISH_[A-Z_]*[A-Z]", sources))
    # A provider's variables are read by a pattern; a secret's file by its ending.
    unread = {name for name in named if name.removesuffix("_FILE") not in read | {name[:-5]}}
    assert {name for name in unread if not name.endswith("_BASE_URL")} == set()


def test_the_picture_of_the_house_names_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [
        *(path for path in (ROOT / "services").glob("*/burnish_*") if path.is_dir()),
        *(
            path
            for path in (ROOT / "src" / "burnish").iterdir()
            if path.is_dir() and path.name not in {"__pycache__", "datasets"}
        ),
    ]
    missing = [path.name for path in rooms if f"{path.relative_to(ROOT)}/" not in text]
    assert missing == []


def test_plug_in_groups_that_are_named_are_loaded():
    text = (ROOT / "docs" / "architecture.md").read_text()
    groups = {one for one in inline_code(text) if re.fullmatch(r"burnish\.[a-z]+(_[a-z]+)?s", one)}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    code = "\n".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    assert len(groups) == 5
    assert {one for one in groups if one not in declared and f'"{one}"' not in code} == set()


@each_document
def test_no_document_names_a_machine(document):
    assert re.findall(r"(?<![\w.])/(?:work|tmp|farm|root)/\S*", document.read_text()) == []


def readme_parts() -> tuple[str, str]:
    """The task app and the job file of the README."""
    text = (ROOT / "README.md").read_text()
    program = next(one for one in blocks(text, "python") if "@app.rollout" in one)
    return program, blocks(text, "toml")[0]


def test_the_job_of_the_readme_is_valid_and_its_app_is_short():
    program, job = readme_parts()
    resolved = resolve_job(PromptLearningConfig.from_mapping(tomllib.loads(job)), dataset_size=720)
    assert resolved.pools.test is not None
    assert len(resolved.pools.test) == 320
    assert len(program.splitlines()) <= 36


async def run(*command: str, folder: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("burnish")),
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BURNISH_STATE_DIR": str(folder / "state")},
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 240)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode()


@pytest.mark.slow
async def test_the_readme_makes_a_prompt_better(tmp_path):
    program, job = readme_parts()
    rows = load_rows(ROOT / "examples" / "intents" / "data" / "support.jsonl")
    with (tmp_path / "messages.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([row.text, row.label] for row in rows)
    started = program.replace("port=8101)", "port=0, ready_file=Path('ready.json'))")
    assert started != program
    (tmp_path / "app.py").write_text("from pathlib import Path\n" + started)
    (tmp_path / "job.toml").write_text(job)
    app = await asyncio.create_subprocess_exec(sys.executable, "app.py", cwd=tmp_path)
    try:
        url = await listening(tmp_path / "ready.json", app)
        code, out = await run("task", "check", url, "--json", folder=tmp_path)
        assert code == 0, out
        arguments = ("train", "job.toml", "--task-url", url, "--json", "--gate")
        code, out = await run(*arguments, folder=tmp_path)
    finally:
        app.terminate()
        await app.wait()
    # --gate: exit code 0 only when the whole interval of the difference is above 0.
    assert code == 0, out
    assert json.loads(out)
    assert (tmp_path / "results" / "best_prompt.json").exists()


async def listening(ready: Path, app: asyncio.subprocess.Process) -> str:
    deadline = asyncio.get_running_loop().time() + 30
    while not await asyncio.to_thread(ready.exists):
        assert app.returncode is None, "the app ended"
        assert asyncio.get_running_loop().time() < deadline, "the app did not start"
        await asyncio.sleep(0.05)
    found: str = json.loads(await asyncio.to_thread(ready.read_text))["http"]
    return found
