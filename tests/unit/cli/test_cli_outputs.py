"""A measured result is never lost, and whatever goes wrong is said."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.cli.output import BUDGET_EXHAUSTED, FAILED, GATE_FAILED, OK, USAGE
from burnish.testing.fake_story import scripted_result


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def no_calls(monkeypatch):
    """The scripted controller keeps no traces."""

    async def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr("burnish.evaluation.rollout_calls", none)


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A path that nothing can be written to, though it looks as if one could."""
    path = tmp_path / "full.txt"
    write = Path.write_text

    def refuse(self: Path, *given: object, **named: object) -> int:
        if self.name == path.name or self.name == "best_prompt.json":
            # As a write does that comes after the file was opened: without the path.
            raise OSError(28, "No space left on device")
        return write(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", refuse)
    return path


def test_folders_of_outputs_are_made_before_anything_runs(controller, config, no_calls):
    ended = run("eval", config, "--traces", "not/there/t.jsonl")
    assert ended.exit_code == OK, ended.stderr
    assert Path("not/there/t.jsonl").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "--traces", "."),
        ("eval", "--traces", "a-file/t.jsonl"),
        ("train", "--results-dir", "a-file"),
        ("train", "--results-dir", "a-file/results"),
        ("gate", "--record", "--summary", "."),
        ("gate", "--record", "--summary", "a-file/x.md"),
        ("gate", "--record", "--baselines", "a-file"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_runs(controller, config, arguments):
    Path("a-file").write_text("taken")
    command, *rest = arguments
    ended = run(command, config, *rest)
    assert ended.exit_code == USAGE, ended.stderr
    assert controller.created == []
    assert f"{arguments[-2]} `" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_results_are_shown_even_when_the_folder_turns_out_to_be_a_file(controller, config):
    run("job", "submit", config)
    Path("a-file").write_text("taken")
    ended = run("job", "results", "pl_0001", "--results-dir", "a-file")
    assert ended.exit_code == USAGE
    assert "--results-dir `a-file`" in ended.stderr


def test_results_are_printed_though_they_cannot_be_written(controller, config, full):
    ended = run("train", config, "--json")
    assert ended.exit_code == FAILED
    document = json.loads(ended.stdout)
    assert document["result"]["test_difference"]["mean"] == 0.2
    assert "the disk is full" in ended.stderr
    assert "the disk is full" in ended.stderr
    assert "Best Score: 0.6500" in ended.stderr


def test_a_measurement_is_printed_though_its_calls_cannot_be_written(
    controller, config, full, no_calls
):
    ended = run("eval", config, "--traces", str(full), "--json")
    assert ended.exit_code == FAILED
    assert json.loads(ended.stdout)["reward"] is not None
    assert "the disk is full" in ended.stderr
    assert f"--traces `{full}`" in ended.stderr


def test_seeds_without_a_reward_are_told_of_with_the_measurement(
    controller, config, no_calls, monkeypatch
):
    result = scripted_result()
    result.unscored_by_reason["TASK_APP_REFUSED"] = 940
    monkeypatch.setattr("burnish.testing.fake_jobs.scripted_result", lambda: result)
    ended = run("eval", config, "--seeds", "0-999")
    assert ended.exit_code == OK, ended.stderr
    assert "without a reward: 940 rollouts, TASK_APP_REFUSED" in ended.stdout


def test_a_log_that_cannot_be_written_ends_no_job(controller, config, tmp_path, monkeypatch):
    opened = Path.open

    def refuse(self: Path, *given: object, **named: object) -> object:
        if self.suffix == ".log":
            raise OSError(28, "No space left on device", str(self))
        return opened(self, *given, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    ended = run("train", config)
    assert ended.exit_code == OK, ended.stderr
    assert ended.stderr.count("the disk is full") == 1


@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_failure_is_said_however_quiet(controller, config, command):
    controller.fail_jobs = True
    ended = run(command, config, "--quiet")
    assert ended.exit_code == FAILED
    assert "TASK_APP_DOWN: the app went away" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "words"), [(GATE_FAILED, "the gate failed"), (BUDGET_EXHAUSTED, "budget was used up")]
)
def test_every_exit_code_has_its_words_however_quiet(controller, config, monkeypatch, code, words):
    monkeypatch.setattr("burnish.cli.train.outcome_code", lambda *_, **__: code)
    ended = run("train", config, "--quiet")
    assert ended.exit_code == code
    assert ended.stderr.startswith("error: ")
    assert words in ended.stderr


def test_a_failure_is_said_to_whoever_follows_quietly(controller, config):
    controller.fail_jobs = True
    run("job", "submit", config)
    ended = run("job", "watch", "pl_0001", "--quiet")
    assert ended.exit_code == FAILED
    assert "TASK_APP_DOWN: the app went away" in ended.stderr
