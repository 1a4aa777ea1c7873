"""What a job tells while it runs: a name for each kind of event that Synth's clients know."""

from collections import Counter

import pytest
import pytest_asyncio

from burnish import events
from burnish.api.job import v1 as job_v1
from burnish.cli.lines import EventLines

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

# What the log of every finished job holds, and how often at least.
EMITTED = {
    "prompt.learning.created": 1,
    "prompt.learning.started": 1,
    "prompt.learning.billing.start": 1,
    "prompt.learning.phase.changed": 7,
    "prompt.learning.progress": 3,
    "prompt.learning.rollouts.start": 4,
    "prompt.learning.trial.results": 2,
    "prompt.learning.candidate.evaluation.started": 2,
    "prompt.learning.optimized.scored": 1,
    "prompt.learning.validation.scored": 3,
    "prompt.learning.validation.summary": 1,
    "prompt.learning.eval.summary": 1,
    "prompt.learning.best.prompt": 1,
    "prompt.learning.top.prompt.content": 2,
    "prompt.learning.final.results": 1,
    "prompt.learning.billing.end": 1,
    "prompt.learning.completed": 1,
    "prompt.learning.mipro.complete": 1,
    "mipro.job.started": 1,
    "mipro.iteration.start": 3,
    "mipro.iteration.complete": 3,
    "mipro.instruction.proposed": 2,
    "mipro.trial.started": 6,
    "mipro.trial.complete": 6,
    "mipro.tpe.update": 1,
    "mipro.topk.evaluated": 1,
    "mipro.budget.update": 3,
    "mipro.budget.summary": 1,
    "mipro.baseline.test": 1,
    "mipro.job.completed": 1,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def run(suite, intents_app, harness):
    """One job whose sampler is asked."""
    pools = harness.Pools(range(20), range(60, 100), range(300, 320), range(420, 430))
    async with harness.counting_provider() as provider:
        spec = harness.job_spec(
            intents_app.url,
            provider.model(),
            pools,
            num_iterations=3,
            top_k=2,
            tpe={"n_startup_trials": 2, "epsilon": 0.0},
        )
        return await harness.run_job(suite, spec)


def envelopes(run):
    return [events.to_envelope(event, job_id="job") for event in run.events]


def data(run, name):
    return [one["data"] for one in envelopes(run) if one["type"] == name]


async def test_the_log_tells_iterations_ranks_and_what_is_planned(run):
    started = [one.iteration for one in run.of_kind("iteration_started")]
    assert started == list(range(len(started)))
    assert [one.iteration for one in run.of_kind("iteration_completed")] == started
    counts = [one.cumulative_trial_count for one in run.of_kind("iteration_completed")]
    assert counts == sorted(counts)
    ranks = [one.rank for one in run.of_kind("top_k_evaluated")]
    assert ranks == list(range(1, len(ranks) + 1))
    assert ranks
    assert run.of_kind("progress")[-1].trials_planned == 6
    best = run.result.best
    assert run.job.best_candidate_id == best.candidate.candidate_id
    assert run.job.best_reward.mean == best.validation.mean


async def test_the_log_holds_every_name_that_a_finished_job_has(run):
    found = Counter(one["type"] for one in envelopes(run))
    missing = {name: least for name, least in EMITTED.items() if found[name] < least}
    assert not missing
    assert [one.sequence for one in run.events] == list(range(1, len(run.events) + 1))
    assert run.events[-1].state_changed.to_state == job_v1.JOB_STATE_SUCCEEDED
    for event in run.events:
        assert events.from_envelope(events.to_envelope(event, job_id="job")).SerializeToString()


async def test_the_log_tells_what_the_sampler_goes_by_and_people_are_not_shown_it(run):
    lines = EventLines()
    for event in run.events:
        shown = lines.lines(event)
        if events.to_envelope(event, job_id="job")["type"] in events.HIDDEN_TYPES:
            assert shown == []
    split = data(run, "mipro.tpe.update")[-1]
    assert split["num_observations"] >= 3
    assert split["num_good"] == 1
    assert 0 < split["gamma"] < 1


async def test_the_rollouts_that_begin_name_the_seeds_of_their_pool(run):
    found = {one.phase: list(one.seeds) for one in run.of_kind("rollouts_started")}
    assert found[job_v1.JOB_PHASE_BOOTSTRAP] == list(range(20))
    assert found[job_v1.JOB_PHASE_SEARCH] == list(range(60, 100))
    assert found[job_v1.JOB_PHASE_TEST] == list(range(420, 430))


async def test_the_end_of_the_log_says_what_the_result_says(run):
    best = run.result.best
    (final,) = data(run, "prompt.learning.final.results")
    assert final["best_score"] == best.validation.mean
    assert len(final["attempted_candidates"]) == len(run.result.candidates)
    assert final["validation"][0]["rank"] == 1
    (told,) = data(run, "prompt.learning.best.prompt")
    assert told["best_prompt"]["id"] == best.candidate.candidate_id
    assert told["best_prompt"]["sections"][0]["content"]
    top = data(run, "prompt.learning.top.prompt.content")
    assert top[0]["val_accuracy"] == best.validation.mean
    assert told["best_prompt"]["text"] in top[0]["full_text"]
    (tested,) = data(run, "mipro.baseline.test")
    assert tested["test_score"] == run.result.baseline.test.mean
    assert len(tested["test_seed_scores"]) == 10
    (completed,) = data(run, "mipro.job.completed")
    assert completed["best_full_score"] == best.validation.mean
    assert completed["total_trials"] == len(run.result.history)


async def test_the_last_bill_is_what_the_job_used(run):
    usage = run.result.usage_by_role
    spent = sum(one.input_tokens + one.output_tokens for one in usage.values())
    (summary,) = data(run, "mipro.budget.summary")
    assert summary["total_tokens"] == spent
    (concluded,) = data(run, "prompt.learning.completed")
    assert concluded["rollouts_prompt_tokens"] == usage["task"].input_tokens
    (billed,) = data(run, "prompt.learning.billing.end")
    assert billed["seconds"] > 0
    assert billed["total_usd"] == summary["total_cost_usd"]


async def test_a_top_candidate_is_told_with_its_text_its_choices_and_its_lift(run):
    first = data(run, "mipro.topk.evaluated")[0]
    baseline = run.result.baseline.validation.mean
    assert first["lift_absolute"] == pytest.approx(first["validation_score"] - baseline)
    payload = first["stage_payloads"]["main"]
    assert first["instruction_indices"] == [payload["instruction_index"]]
    assert first["instruction_lines"] == payload["instruction_text"].splitlines()
