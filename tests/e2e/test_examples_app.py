"""The intents app on files that a user brings, as a process."""

import csv
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(*arguments: str) -> str:
        ready = tmp_path / "ready.json"
        log = (tmp_path / "app.log").open("wb")
        served = ("--port", "0", "--ready-file", str(ready))
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.intents.app", *served, *arguments],
            cwd=ROOT,
            stderr=log,
        )
        running.append((process, log))
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, (tmp_path / "app.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return str(json.loads(ready.read_text())["http"])

    yield begin
    for process, log in running:
        process.terminate()
        assert process.wait(timeout=30) == 0
        log.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - loopback
        return json.loads(reply.read())


def write(path: Path, labels: list[str]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "message", "intent"])
        rows.writerows([n, f"text {n},\nover two lines", label] for n, label in enumerate(labels))
    return path


def test_the_app_serves_the_files_and_columns_that_it_is_given(tmp_path, start):
    train = write(tmp_path / "train.csv", ["a"] * 6 + ["b"] * 6)
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps({"message": f"m{n}", "intent": "b"}) + "\n" for n in "123"))
    url = start(
        *("--train", str(train), "--test", str(test)),
        *("--text-column", "message", "--label-column", "intent"),
    )
    told = get(f"{url}/task_info")["taskset"]
    assert told["splits"] == [
        {"name": "train", "start": 0, "end": 12},
        {"name": "test", "start": 12, "end": 15},
    ]
    examples = [get(f"{url}/task_info?seeds={seed}")["example"] for seed in range(15)]
    assert all("\nover two lines" in one["inputs"]["input"] for one in examples[:12])
    # The file is sorted by label; a range of seeds should not be.
    assert len({one["output"] for one in examples[:6]}) == 2
    assert {one["output"] for one in examples[12:]} == {"b"}


def test_the_app_conforms_to_the_contract_with_what_it_ships(start):
    url = start("--labels-in", "system")
    check = [sys.executable, "-c", "from burnish.cli import main; main()", "task", "check", url]
    done = subprocess.run([*check, "--json"], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("columns", "named"),
    [(("--text-column", "body"), "body"), (("--label-column", "class"), "class")],
)
def test_a_column_that_is_not_there_is_named(tmp_path, columns, named):
    train = write(tmp_path / "train.csv", ["a", "b"])
    done = subprocess.run(
        [sys.executable, "-m", "examples.intents.app", "--train", str(train), *columns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"`{named}`" in done.stderr
    assert "Traceback" not in done.stderr
