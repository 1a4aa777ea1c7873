"""The command line against a scripted controller: data on stdout, chatter on stderr, exit codes."""

import json
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.cli.output import (
    BUDGET_EXHAUSTED,
    FAILED,
    GATE_FAILED,
    OK,
    UNREACHABLE,
    USAGE,
)


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_train_shows_the_phases_and_writes_the_results(controller, config, tmp_path):
    ended = run("train", "--config", config, "--type", "prompt_learning", "--poll")
    assert ended.exit_code == OK
    shown = ended.stderr
    for line in (
        "MIPRO Prompt Optimization",
        "Phase 1: Bootstrap",
        "✓ Bootstrap complete",
        "Phase 2: Race Optimization",
        "Iteration 1/2... score: 0.45",
        "Iteration 2/2... score: 0.65",
        "Optimization Complete",
        "Best Score: 0.6500",
        "Total Iterations: 2",
        "Final status: succeeded",
    ):
        assert line in shown
    assert ended.stdout == f"Results: {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "best_prompt.json").exists()
    assert "Phase 2: Race Optimization" in next((tmp_path / "out").glob("mipro_log_*")).read_text()


def test_train_under_json_prints_one_object_and_nothing_else_on_stdout(controller, config):
    ended = run("train", config, "--json", "--results-dir", "here")
    document = json.loads(ended.stdout)
    assert document["job"]["state"] == "succeeded"
    assert document["result"]["test_difference"]["mean"] == 0.2
    assert document["artefacts"]["best_prompt"] == "here/best_prompt.json"


def test_quiet_leaves_only_data(controller, config):
    ended = run("train", config, "--quiet")
    assert ended.stderr == ""
    assert ended.stdout.startswith("Results: ")


def test_train_without_following_prints_the_id(controller, config):
    ended = run("train", config, "--no-poll", "--job-id", "pl_mine")
    assert (ended.exit_code, ended.stdout) == (OK, "pl_mine\n")


def test_train_takes_the_task_app_and_values_from_the_command_line(controller, config):
    run("train", config, "--task-url", "http://127.0.0.1:7", "--set", "job.seed=5", "--key", "k")
    (request,) = controller.created
    assert request.spec.task_app.uri == "http://127.0.0.1:7"
    assert request.spec.random_seed == 5
    assert request.task_app_api_key == "k"


def test_an_environment_file_fills_what_is_not_set(controller, config, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("# ours\nexport ENVIRONMENT_API_KEY='from-file'\n")
    # Registered so that the variable is gone again after the test.
    monkeypatch.setenv("ENVIRONMENT_API_KEY", "")
    monkeypatch.delenv("ENVIRONMENT_API_KEY")
    run("train", config, "--env", str(tmp_path / ".env"))
    assert controller.created[0].task_app_api_key == "from-file"


def test_a_failed_job_exits_1_and_says_why(controller, config):
    controller.fail_jobs = True
    ended = run("train", config)
    assert ended.exit_code == FAILED
    assert "TASK_APP_DOWN: the app went away" in ended.stderr


def test_a_gate_passes_a_sure_gain(controller, config):
    assert run("train", config, "--gate").exit_code == OK


def test_waiting_too_long_exits_1_and_leaves_the_job(controller, config):
    controller.hold_after = 5
    ended = run("train", config, "--poll-timeout", "0.2")
    assert ended.exit_code == FAILED
    assert "it goes on" in ended.stderr


def test_a_wrong_file_exits_2_with_every_problem(controller, config, tmp_path):
    path = tmp_path / "bad.toml"
    text = Path(config).read_text()
    path.write_text(text.replace("local-reader", "gpt-5-pro").replace("end = 30", "end = 3"))
    ended = run("train", str(path))
    assert ended.exit_code == USAGE
    assert "2 problems" in ended.stderr
    assert controller.created == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("train", "no-such.toml"),
        ("train", "job.toml", "--type", "rl"),
        ("train", "job.toml", "--set", "nothing"),
        ("job", "get", "not a name"),
    ],
)
def test_wrong_usage_exits_2(controller, config, arguments):
    assert run(*arguments).exit_code == USAGE


def test_a_server_that_is_away_exits_5():
    ended = run("job", "list", "--backend", "127.0.0.1:1")
    assert ended.exit_code == UNREACHABLE


def test_no_server_at_all_exits_5_and_says_what_to_do():
    ended = run("job", "list", "--json")
    assert ended.exit_code == UNREACHABLE
    assert json.loads(ended.stdout)["error"]["reason"] == "BACKEND_NOT_CONFIGURED"
    assert "burnish up" in ended.stderr


def test_an_exhausted_budget_exits_4(controller, config):
    controller.refuse_with = (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED", "no money")
    assert run("job", "submit", config).exit_code == BUDGET_EXHAUSTED


def test_jobs_are_submitted_listed_shown_and_steered(controller, config):
    controller.hold_after = 5
    submitted = run("job", "submit", config)
    assert (submitted.exit_code, submitted.stdout) == (OK, "pl_0001\n")
    listed = json.loads(run("job", "list", "--json").stdout)
    assert [job["name"] for job in listed["jobs"]] == ["jobs/pl_0001"]
    assert "pl_0001" in run("job", "list").stdout
    assert "state      running" in run("job", "get", "pl_0001").stdout
    assert run("job", "pause", "pl_0001").stdout == "pl_0001 paused\n"
    assert run("job", "resume", "pl_0001").stdout == "pl_0001 running\n"
    cancelled = run("job", "cancel", "pl_0001", "--json")
    assert json.loads(cancelled.stdout)["state"] == "cancelled"


def test_validating_creates_nothing(controller, config):
    ended = run("job", "submit", config, "--validate-only")
    assert (ended.stdout, controller.created) == ("valid\n", [])


def test_watching_shows_what_came_after_a_sequence(controller, config):
    run("job", "submit", config)
    whole = json.loads(run("job", "watch", "pl_0001", "--json").stdout)
    assert whole["job"]["state"] == "succeeded"
    lines = run("job", "watch", "pl_0001", "--after", "20", "--jsonl").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [
        event["seq"] for event in whole["events"][20:]
    ]


def test_results_of_a_job_are_written_and_gated(controller, config, tmp_path):
    run("job", "submit", config)
    assert run("job", "results", "pl_0001", "--results-dir", "r").exit_code == OK
    assert (tmp_path / "r" / "report.md").exists()
    controller.fail_jobs = True
    run("job", "submit", config)
    assert run("job", "results", "pl_0002", "--gate").exit_code == FAILED


def test_an_unknown_job_exits_1(controller):
    ended = run("job", "get", "pl_404")
    assert ended.exit_code == FAILED
    assert "jobs/pl_404" in ended.stderr


def test_a_file_is_checked_without_reaching_the_app(config, tmp_path):
    assert run("config", "check", config).stdout.endswith("valid (mipro)\n")
    shown = json.loads(run("config", "check", config, "--show").stdout)
    assert shown["job"]["pools"]["bootstrap"] == list(range(10))
    bad = tmp_path / "bad.toml"
    bad.write_text(Path(config).read_text() + "\n[job.serch]\n")
    ended = run("config", "check", str(bad), "--json")
    assert ended.exit_code == USAGE
    (problem,) = json.loads(ended.stdout)["problems"]
    assert "search" in problem["fix"]


def test_an_estimate_has_rollouts_and_money_by_role(config):
    document = json.loads(run("estimate", config, "--json").stdout)
    assert document["rollouts"]["baseline"] == {"low": 10, "high": 10}
    assert document["rollouts"]["test"] == {"low": 20, "high": 40}
    assert document["cost_usd"] == {"low": 0.0, "high": 0.0}


def test_judges_of_a_graph_that_is_only_named_are_unknown_without_a_suite(config):
    named = ("--set", "job.verifier={rubric={criteria=[{id='a', description='b'}]}}")
    ended = run("estimate", config, *named)
    assert ended.exit_code == OK, ended.stderr
    assert "not known here: calls, tokens and cost unknown" in ended.stdout
    assert ended.stdout.count("without the judge") == 1
    assert "burnish up" in ended.stderr
    away = run("estimate", config, *named, "--backend", "127.0.0.1:9")
    assert away.exit_code == OK
    assert "does not answer" in away.stderr


def test_an_estimate_over_the_limit_or_of_unknown_cost_exits_4(config):
    dear = ("--set", "job.model={provider='openai', model='gpt-4o'}")
    assert run("estimate", config, *dear, "--max-usd", "0.01").exit_code == BUDGET_EXHAUSTED
    unknown = (
        "--set",
        "job.model={provider='openai_compatible', model='m', base_url='http://h/v1'}",
    )
    ended = run("estimate", config, *unknown, "--max-usd", "1000")
    assert ended.exit_code == BUDGET_EXHAUSTED
    assert "cost unknown" in ended.stdout
    assert run("estimate", config, "--max-usd", "0").exit_code == OK


@pytest.mark.parametrize("template", ["classify", "extract", "rag", "agent"])
def test_init_writes_a_job_that_is_valid_and_an_app_that_compiles(template, tmp_path):
    folder = tmp_path / "my app"
    ended = run("init", str(folder), "--template", template, "--port", "8111")
    assert ended.exit_code == OK
    source = (folder / "app.py").read_text()
    compile(source, "app.py", "exec")
    assert "@" not in source.replace("@app", "")
    assert 'id="my-app"' in source
    assert run("config", "check", str(folder / "job.toml")).exit_code == OK
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(rows) >= 36
    again = run("init", str(folder))
    assert again.exit_code == FAILED
    assert "--force" in again.stderr
    assert run("init", str(folder), "--force").exit_code == OK


def test_a_task_app_that_is_away_fails_its_check_with_a_fix():
    ended = run("task", "check", "http://127.0.0.1:9", "--json", "--timeout", "2")
    document = json.loads(ended.stdout)
    assert ended.exit_code == FAILED
    assert document["checks"][0]["fix"]


def test_the_doctor_names_the_command_that_fixes_each_failure(tmp_path):
    ended = run("doctor", "--task-url", "http://127.0.0.1:9", "--json")
    document = json.loads(ended.stdout)
    assert ended.exit_code == FAILED
    broken = [check for check in document["checks"] if check["ok"] is False]
    assert [check["name"] for check in broken] == ["task app"]
    assert all(check["fix"] for check in broken)
    assert run("doctor").exit_code == OK


def test_the_doctor_sees_a_backend_that_answers_and_one_that_does_not(controller, monkeypatch):
    assert f"{controller.target} answers" in run("doctor").stdout
    monkeypatch.setenv("BURNISH_AUTH_TOKEN", "wrong")
    ended = run("doctor")
    assert ended.exit_code == FAILED
    assert "UNAUTHENTICATED" in ended.stdout or "TOKEN_WRONG" in ended.stdout


def test_every_command_has_help():
    for command in (
        ["up"],
        ["train"],
        ["init"],
        ["eval"],
        ["estimate"],
        ["doctor"],
        ["task", "check"],
        ["config", "check"],
        ["local", "serve"],
        ["job", "submit"],
        ["job", "watch"],
        ["job", "results"],
    ):
        assert run(*command, "--help").exit_code == OK


def test_a_gate_fails_a_job_without_a_sure_gain():
    from burnish.api.job.v1 import job_event_pb2, job_result_pb2, job_service_pb2
    from burnish.cli.train import outcome_code
    from burnish.results import outcome, snapshot
    from burnish.testing.fake_story import scripted_result

    succeeded = snapshot(
        job_service_pb2.Job(name="jobs/pl_1", state=job_event_pb2.JOB_STATE_SUCCEEDED)
    )
    unsure = scripted_result()
    unsure.test_difference.lower = -0.01
    assert outcome_code(succeeded, outcome(unsure), gate=True) == GATE_FAILED
    assert outcome_code(succeeded, outcome(unsure), gate=False) == OK
    unpromoted = scripted_result()
    unpromoted.held_out.promoted = False
    assert outcome_code(succeeded, outcome(unpromoted), gate=True) == GATE_FAILED
    promoted = scripted_result()
    promoted.held_out.promoted = True
    promoted.held_out.verdict = job_result_pb2.VERDICT_BETTER
    assert outcome_code(succeeded, outcome(promoted), gate=True) == OK


def test_study_front_shows_what_candidates_earn_against_what_they_cost(controller, config):
    assert run("job", "submit", config).exit_code == OK
    shown = run("study", "front", "pl_0001")
    assert shown.exit_code == OK
    assert "| `cand_1` | 0.6500 | 150 | 0.004 |" in shown.stdout
    found = json.loads(run("study", "front", "pl_0001", "--json").stdout)
    assert found["objective"] == "prompt_length"
    assert [one["candidate_id"] for one in found["points"]] == ["cand_1", "cand_0"]
