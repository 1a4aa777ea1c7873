"""A job's study in an Optuna storage: what was tried is there, and Optuna's own tools open it."""

import asyncio
import json
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from burnish.api.job.v1 import job_result_pb2, job_spec_pb2
from burnish.api.types.v1 import candidate_pb2
from burnish.cli import app
from burnish.client import AsyncClient
from burnish.jobs import CreateOptions
from burnish.optuna_export import StorageInvalid, StudyTaken, export_study
from burnish.sync import Client
from burnish.testing.fake_jobs import TOKEN, FakeController
from burnish.testing.fake_story import scripted_result

STATES = optuna.trial.TrialState


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def larger(trials=20):
    """A result of a 4 x 3 search in which the last instruction is the best."""
    result = job_result_pb2.JobResult()
    for place in range(4):
        component = result.components.add(component_id=f"ins_{place}", stage_id="main")
        component.instruction.text = f"Do it {place} times."
    for place in range(3):
        result.components.add(component_id=f"dem_{place}", stage_id="main").demo_set.SetInParent()
    for index in range(trials):
        pair = index % 4, index // 4 % 3
        name = f"cand_{pair[0]}{pair[1]}"
        if all(one.candidate.candidate_id != name for one in result.candidates):
            choice = candidate_pb2.StageChoice(
                instruction_id=f"ins_{pair[0]}", demo_set_id=f"dem_{pair[1]}"
            )
            result.candidates.add(
                candidate=candidate_pb2.Candidate(candidate_id=name, stages={"main": choice})
            )
        score = result.history.add(trial_index=index, candidate_id=name, kind="minibatch")
        if index % 10 != 9:
            score.reward.mean, score.reward.row_count = pair[0] / 4 + pair[1] / 100, 5
    return result


def test_every_trial_is_there_with_its_choices_its_value_and_its_rows(url):
    found = export_study(scripted_result(), job="jobs/mine", storage=url)
    assert (found.study_name, found.trial_count, found.failed_count) == ("mine", 3, 0)
    study = optuna.load_study(study_name="mine", storage=url)
    baseline, first, second = study.trials
    assert baseline.user_attrs["burnish:kind"] == "baseline"
    assert first.params == {"main/instruction": "ins_0", "main/demo_set": "dem_0"}
    assert second.params == {"main/instruction": "ins_1", "main/demo_set": "dem_1"}
    assert (first.value, second.value) == (0.45, 0.65)
    assert second.user_attrs["burnish:candidate_id"] == "cand_1"
    assert second.user_attrs["burnish:row_count"] == 20
    assert study.best_trial.number == second.number


def test_optunas_own_tools_open_it(url):
    export_study(larger(), job="jobs/mine", storage=url)
    study = optuna.load_study(study_name="mine", storage=url)
    importances = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    assert max(importances, key=importances.__getitem__) == "main/instruction"
    assert study.best_params == {"main/instruction": "ins_3", "main/demo_set": "dem_2"}
    assert study.user_attrs["ins_3"] == {"stage": "main", "text": "Do it 3 times."}
    # Optuna goes on from it with a sampler of its own.
    study.optimize(lambda trial: float(bool(_suggested(trial))), n_trials=2)
    assert study.trials[-1].state is STATES.COMPLETE


def _suggested(trial):
    return trial.suggest_categorical("main/instruction", [f"ins_{n}" for n in range(4)])


def test_a_trial_without_a_measurement_has_failed_and_has_no_value(url):
    found = export_study(larger(), job="jobs/mine", storage=url)
    assert (found.trial_count, found.failed_count) == (20, 2)
    study = optuna.load_study(study_name="mine", storage=url)
    assert [one.value for one in study.get_trials(states=[STATES.FAIL])] == [None] * 2


def test_an_export_of_a_running_job_is_replaced_by_a_later_one(url):
    export_study(larger(6), job="jobs/mine", storage=url)
    grown = larger(12)
    grown.components.add(component_id="ins_9", stage_id="main").instruction.text = "New."
    export_study(grown, job="jobs/mine", storage=url)
    study = optuna.load_study(study_name="mine", storage=url)
    assert len(study.trials) == 12
    options: Any = study.trials[0].distributions["main/instruction"]
    assert "ins_9" in options.choices


def test_a_study_of_somebody_else_is_left_alone(url):
    optuna.create_study(study_name="mine", storage=url)
    with pytest.raises(StudyTaken, match="give another name"):
        export_study(scripted_result(), job="jobs/mine", storage=url)
    export_study(scripted_result(), job="jobs/mine", storage=url, study_name="other")
    assert optuna.load_study(study_name="mine", storage=url).trials == []


@pytest.mark.parametrize("wrong", ["study.db", "nosuchdb://host/name", "sqlite:////no/such/dir/x"])
def test_a_storage_that_cannot_be_opened_is_told_without_its_password(wrong):
    with pytest.raises(StorageInvalid):
        export_study(scripted_result(), job="jobs/mine", storage=wrong)


async def test_the_client_and_the_command_line_export_a_job(url, tmp_path):
    async with FakeController() as controller:
        async with AsyncClient(controller.target, token=TOKEN) as client:
            job = await client.jobs.create(
                job_spec_pb2.JobSpec(algorithm="mipro"), options=CreateOptions(job_id="pl_mine")
            )
            assert (await job.export_study(url)).trial_count == 3
        arguments = ["study", "export", "pl_mine", "--storage", f"sqlite:///{tmp_path}/cli.db"]
        arguments += ["--study-name", "named", "--backend", controller.target, "--token", TOKEN]
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["study_name"] == "named"
        plain = await asyncio.to_thread(_by_plain_client, controller.target, url)
    assert plain.trial_count == 3
    names = {one.study_name for one in optuna.get_all_study_summaries(url)}
    assert names == {"pl_mine", "plain"}


def _by_plain_client(target, url):
    with Client(target, token=TOKEN) as client:
        return client.jobs.get("pl_mine").export_study(url, study_name="plain")
