"""What ends a search, what fits its caps, and what makes a rollout a measurement."""

import time

import pytest
from cryptography.exceptions import InvalidTag

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import Internal
from burnish_controller.context import candidate, demo_component, instruction_component
from burnish_controller.dispatch import Batch, ResultMismatch, _first_reason
from burnish_controller.failures import attempt_failure, call_failure
from burnish_controller.ledger.budget import NOTHING, Amount
from burnish_controller.ledger.calls import Call, CallState, Scope
from burnish_controller.phases import baseline, gate, search
from burnish_controller.phases.base import NothingScored, cells
from burnish_controller.results import _order
from burnish_controller.secrets import SecretBox
from burnish_controller.steps import STEPS, JobSteps
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppFailure, AppResult

Reason = job_v1.TerminationReason


def online(seeds) -> list[types_v1.Cell]:
    return cells("cand", types_v1.POOL_ONLINE, seeds)


async def run(scene, found, phase: str = "search") -> None:
    await scene.dispatcher.run(scene.job, Batch(phase=phase, cells=found))


async def reached(scene) -> str | None:
    found = await gate.cap_reached(scene.services, scene.job)
    return None if found is None else Reason.Name(found).removeprefix("TERMINATION_REASON_")


# Caps at the ends of batches.


async def test_the_search_is_told_of_the_cap_on_trials_to_plan_by_it(make_scene):
    capped = await make_scene(budget=job_v1.Budget(max_trials=9))
    assert capped.job.study().settings["max_trials"] == 9
    assert "max_trials" not in capped.job.spec.algorithm_settings

    capped.job.spec.algorithm_settings["max_trials"] = 4
    assert capped.job.study().settings["max_trials"] == 4
    assert "max_trials" not in (await make_scene()).job.study().settings


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (job_v1.Budget(max_trials=4), "TRIAL_LIMIT"),
        (job_v1.Budget(max_trials=4, max_rollouts=500), "TRIAL_LIMIT"),
        (job_v1.Budget(max_trials=4, max_rollouts=10), "ROLLOUT_LIMIT"),
        (job_v1.Budget(max_rollouts=500), "ROLLOUT_LIMIT"),
    ],
)
async def test_a_search_that_ends_for_its_budget_names_the_cap_that_it_met(
    make_scene, budget, reason
):
    scene = await make_scene(budget=budget)
    finished = search_v1.Finished(reason=search_v1.FINISH_REASON_BUDGET)
    found = await search._ended(scene.services, scene.job, finished)
    assert Reason.Name(found) == f"TERMINATION_REASON_{reason}"


async def test_without_caps_the_search_goes_on(make_scene):
    scene = await make_scene()
    await run(scene, online(range(50)))
    assert await reached(scene) is None
    assert await gate.remaining_rollouts(scene.services, scene.job) is None


async def test_the_rollout_cap_counts_all_but_the_closing_test(make_scene):
    scene = await make_scene(budget=job_v1.Budget(max_rollouts=10))
    await run(scene, online(range(4)), "bootstrap")
    await run(scene, online(range(4, 9)), "search")
    await run(scene, online(range(20, 30)), "test")
    assert await gate.remaining_rollouts(scene.services, scene.job) == 1
    assert await reached(scene) is None
    await run(scene, online([9]))
    assert await reached(scene) == "ROLLOUT_LIMIT"


async def test_cells_past_the_rollout_cap_are_left_out_and_finished_ones_are_free(make_scene):
    scene = await make_scene(budget=job_v1.Budget(max_rollouts=5))
    await run(scene, online([1, 3]))
    allowed = await gate.allowed_cells(scene.services, scene.job, online(range(8)))
    assert [one.seed for one in allowed] == [0, 1, 2, 3, 4]
    await run(scene, allowed)
    again = await gate.allowed_cells(scene.services, scene.job, online(range(8)))
    assert [one.seed for one in again] == [0, 1, 2, 3, 4]


async def test_other_caps_end_the_search_each_with_its_reason(make_scene):
    scene = await make_scene(budget=job_v1.Budget(max_trials=3, target_reward=0.9))
    scene.job.job.best_reward.mean = 0.89
    scene.job.job.progress.trials_completed = 2
    assert await reached(scene) is None
    scene.job.job.best_reward.mean = 0.9
    assert await reached(scene) == "TARGET_REACHED"
    scene.job.job.progress.trials_completed = 3
    assert await reached(scene) == "TRIAL_LIMIT"
    scene.job.cancelled = True
    assert await reached(scene) == "CANCELLED"


async def test_a_refused_call_ends_the_search(make_scene):
    scene = await make_scene()

    def broke(job, batch, cell):
        result = types_v1.RolloutResult(rollout_id=job.rollout_id(cell), cell=cell)
        result.failure.reason = "BUDGET_EXHAUSTED"
        return FinishedRollout(
            job_id="job1", phase="search", attempt=1, result=result, reward=None, cost_usd=0.0
        )

    scene.dispatcher._finished = broke
    await run(scene, online([1]))
    assert await reached(scene) == "BUDGET_EXHAUSTED"


async def test_the_time_of_the_closing_test_is_kept_free(make_scene, monkeypatch):
    clock = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    budget = job_v1.Budget()
    budget.max_duration.FromSeconds(100)
    scene = await make_scene(budget=budget)
    scene.job.job.start_time.FromNanoseconds(int(clock[0] * 1e9))
    await run(scene, online(range(20)))
    clock[0] += 70
    # 3.5 s per rollout and 8 rows of the test: 70 + 28 is under 100.
    assert await reached(scene) is None
    clock[0] += 2
    assert await reached(scene) == "TIME_LIMIT"


async def test_the_closing_test_holds_back_what_the_dearest_rollouts_took(make_scene, stores):
    scene = await make_scene()
    done = cells(scene.job.baseline().candidate_id, types_v1.POOL_VALIDATION, [20, 21])
    await run(scene, done, "baseline")
    for cell, tokens in zip(done, (100, 300), strict=True):
        for ordinal in range(2):
            await stores.calls.save(
                call(scope=scene.job.rollout_id(cell), ordinal=ordinal, worst=Amount(tokens, 0.5))
            )
    await baseline.hold_for_test(scene.services, scene.job)
    account = await scene.services.ledger.account("job1")
    assert account.held == Amount(2 * 8 * 600, 2 * 8 * 1.0)


async def test_a_baseline_that_cannot_be_scored_fails_and_one_that_is_0_does_not(make_scene):
    scene = await make_scene()
    scene.dispatcher.reward = lambda cell: None
    with pytest.raises(NothingScored, match="6 failed with CALL_FAILED"):
        await baseline.evaluate_baseline(scene.services, scene.job)


async def test_a_missing_measurement_is_told_as_a_failure_and_never_as_0(make_scene):
    scene = await make_scene()
    scene.dispatcher.reward = lambda cell: None if cell.seed == 20 else 0.0
    await baseline.evaluate_baseline(scene.services, scene.job)
    outcomes = [one.WhichOneof("outcome") for one in scene.search.told]
    assert outcomes == ["failure"] + ["reward"] * 5
    assert scene.job.job.best_reward.row_count == 5


async def test_a_candidate_that_the_search_minted_otherwise_fails_loudly(make_scene):
    scene = await make_scene()
    work = search_v1.Work(ask_index=0)
    work.evaluation.trials.add().candidate.candidate_id = "cand_made_up"
    scene.search.works = {0: work}
    with pytest.raises(search.IdMismatch):
        await search.suggest(scene.services, scene.job, 0)


async def test_an_ask_that_was_answered_before_is_not_asked_again(make_scene):
    scene = await make_scene()
    work = search_v1.Work(ask_index=0)
    work.finished.reason = search_v1.FINISH_REASON_SPACE_EXHAUSTED
    scene.search.works = {0: work}
    for _ in range(2):
        found = await search.suggest(scene.services, scene.job, 0)
        assert found == "TERMINATION_REASON_SPACE_EXHAUSTED"
    assert len(scene.search.asked) == 1


# Seeds within the rollout cap.


@pytest.mark.parametrize("cap", [10, 11, 12, 13, 20, 37, 59])
@pytest.mark.parametrize("learns", [False, True])
async def test_what_is_planned_before_the_search_leaves_it_at_least_one_rollout(
    make_scene, cap, learns
):
    fields = {"budget": job_v1.Budget(max_rollouts=cap)}
    scene = await make_scene(**fields, **({"stages": []} if learns else {}))
    job = scene.job
    learning = job.learning_seeds()
    before = len(learning) + len(job.pools.validation) + len(job.bootstrap_seeds())
    assert before + job.search_cells() <= cap
    assert job.search_cells() >= 1
    assert bool(learning) is learns
    assert not learns or len(learning) >= 2


# Ids.


def test_candidates_and_components_have_ids_of_their_content_alone():
    source = types_v1.COMPONENT_SOURCE_PROPOSED
    first = instruction_component("main", "Sort.", source=source)
    same = instruction_component("main", "Sort.", source=types_v1.COMPONENT_SOURCE_BASELINE)
    assert first.component_id == same.component_id
    others = {
        instruction_component("main", "Sort!", source=source).component_id,
        instruction_component("other", "Sort.", source=source).component_id,
        instruction_component("main", "", source=source).component_id,
        demo_component("main", [], source=source).component_id,
    }
    assert len(others | {first.component_id}) == 5
    choice = types_v1.StageChoice(instruction_id="i", demo_set_id="d")
    assert candidate({"a": choice, "b": choice}) == candidate({"b": choice, "a": choice})
    assert candidate({"a": choice}).candidate_id != candidate({"b": choice}).candidate_id


async def test_a_rollout_has_an_id_of_its_cell(make_scene):
    scene = await make_scene()
    base = types_v1.Cell(candidate_id="c", pool=types_v1.POOL_ONLINE, seed=3)
    changes: list[dict[str, object]] = [
        {"candidate_id": "d"}, {"pool": types_v1.POOL_TEST}, {"seed": 4}, {"repeat": 1},
    ]  # fmt: skip
    found = {scene.job.rollout_id(base)}
    for change in changes:
        cell = types_v1.Cell()
        cell.CopyFrom(base)
        cell.MergeFrom(types_v1.Cell(**change))  # type: ignore[arg-type]
        found.add(scene.job.rollout_id(cell))
    assert len(found) == 5
    assert scene.job.rollout_id(base) in found


# When a reward is a measurement.


def call(
    *,
    scope: str = "r1",
    ordinal: int = 0,
    worst: Amount = NOTHING,
    state: CallState = CallState.DONE,
    stage_id: str = "main",
    attempt: int = 1,
) -> Call:
    return Call(
        scope=scope, request_hash="aa", ordinal=ordinal, job_id="job1", role="task",
        position=ordinal, attempt=attempt, client_id="i", sequence=1,
        model=types_v1.ModelSpec(), state=state, worst=worst, last_attempt=attempt,
        trace=ledger_v1.CallTrace(stage_id=stage_id),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "reason", "retryable"),
    [
        ([call()], None, None),
        ([call(), call(ordinal=1)], None, None),
        ([], "NO_CALLS", True),
        ([call(attempt=2)], "NO_CALLS", True),
        ([call(), call(ordinal=1, state=CallState.LOST)], "CALL_FAILED", True),
        ([call(state=CallState.UNPAID)], "CALL_FAILED", True),
        ([call(state=CallState.OPEN)], "CALL_FAILED", True),
        ([call(), call(ordinal=1, stage_id="")], "STAGE_UNMATCHED", False),
    ],
)
async def test_a_rollout_counts_only_when_every_call_carried_the_candidate(
    make_scene, made, reason, retryable
):
    scene = await make_scene()
    scope = Scope(scope_id="r1", job_id="job1", closing=False)
    scope.calls = {one.key: one for one in made}
    failure = call_failure(scene.job, scope, 1)
    assert (None if failure is None else failure.reason) == reason
    if failure is not None:
        assert failure.retryable is retryable


async def test_a_call_that_cannot_succeed_is_not_tried_again(make_scene):
    scene = await make_scene()
    scope = Scope(scope_id="r1", job_id="job1", closing=False)
    failed = call(state=CallState.UNPAID)
    failed.failure = types_v1.Failure(reason="WILDCARD_UNBOUND", message="no value")
    scope.calls = {failed.key: failed}
    told = AppFailure(reason="TASK_APP_ERROR", message="inference failed", retryable=True)
    failure = attempt_failure(scene.job, scope, 1, AppResult(failure=told))
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("WILDCARD_UNBOUND", False)
    failed.failure.retryable = True
    failure = attempt_failure(scene.job, scope, 1, AppResult(failure=told))
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("TASK_APP_ERROR", True)


async def test_while_the_baseline_is_learnt_no_call_can_be_matched(make_scene):
    scene = await make_scene(stages=[])
    scope = Scope(scope_id="r1", job_id="job1", closing=False)
    scope.calls = {("aa", 0): call(stage_id="")}
    assert call_failure(scene.job, scope, 1) is None


async def test_a_refused_call_leaves_the_rollout_unscored_for_good(make_scene):
    scene = await make_scene()
    scope = Scope(scope_id="r1", job_id="job1", closing=False)
    scope.calls = {("aa", 0): call()}
    scope.refused = {1: ["BUDGET_EXHAUSTED"]}
    failure = call_failure(scene.job, scope, 1)
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("BUDGET_EXHAUSTED", False)
    assert call_failure(scene.job, scope, 2).reason == "NO_CALLS"  # type: ignore[union-attr]


def test_a_mix_up_is_told_before_any_other_failure_of_a_batch():
    other, mix_up = ValueError(), ResultMismatch("mixed up")
    assert _first_reason([other, mix_up]) is mix_up
    assert _first_reason([other]) is other


# The rest.


def test_the_winner_ranks_first_then_validation_then_all_that_was_seen():
    def result(name: str, validation: float | None, seen: float) -> job_v1.CandidateResult:
        found = job_v1.CandidateResult(
            candidate=types_v1.Candidate(candidate_id=name),
            search=types_v1.Estimate(mean=seen),
        )
        if validation is not None:
            found.validation.mean = validation
        return found

    ranked = [
        result("d", None, 0.99), result("b", 0.6, 0.1), result("a", 0.6, 0.2),
        result("c", 0.9, 0.1), result("winner", 0.1, 0.1), result("e", None, 0.99),
    ]  # fmt: skip
    ranked.sort(key=lambda one: _order(one, "winner"))
    names = [one.candidate.candidate_id for one in ranked]
    assert names == ["winner", "c", "a", "b", "d", "e"]


def test_a_sealed_secret_opens_under_its_key_alone():
    sealed = SecretBox("one key").seal("sesame")
    assert b"sesame" not in sealed
    assert SecretBox("one key").open(sealed) == "sesame"
    assert SecretBox("one key").seal("sesame") != sealed
    with pytest.raises(InvalidTag):
        SecretBox("another").open(sealed)


async def test_an_unknown_step_is_a_fault_and_every_step_of_the_flow_is_known(make_scene):
    scene = await make_scene()
    with pytest.raises(Internal, match="no_such_step"):
        await JobSteps(scene.services, scene.job).run("no_such_step")
    assert len(STEPS) == 18
