"""What a scrape of the controller shows: spending of every role, rollouts, candidates, budgets."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from burnish.api.job import v1 as job_v1
from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import Amount
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.telemetry import ControllerMetrics, remaining


@pytest.fixture
def metrics():
    return ControllerMetrics()


def scraped(metrics):
    registry = CollectorRegistry()
    metrics.expose(registry)
    text = generate_latest(registry).decode()
    metrics.close()
    assert "secret" not in text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def call(state, role="task", usd=0.5):
    return Call(
        scope="secret-rollout",
        request_hash="h",
        ordinal=0,
        job_id="secret-job",
        role=role,
        position=0,
        attempt=1,
        client_id="c",
        sequence=1,
        model=types_v1.ModelSpec(provider="openai", model="m"),
        state=state,
        worst=Amount(10, 1.0),
        input_tokens=7,
        output_tokens=3,
        usd=usd,
    )


def test_a_call_counts_once_it_has_ended_and_is_paid(metrics):
    for state in (CallState.OPEN, CallState.DONE, CallState.UNPAID, CallState.LOST):
        metrics.call_saved(call(state))
    metrics.call_saved(call(CallState.DONE, role="proposer", usd=None))
    found = scraped(metrics)
    assert found["burnish_llm_tokens_total", "input", "task"] == 7
    assert found["burnish_llm_tokens_total", "output", "proposer"] == 3
    assert found["burnish_llm_cost_usd_total", "m", "openai", "task"] == 0.5
    assert found["burnish_llm_unpriced_calls_total", "m", "openai", "proposer"] == 1
    assert found["burnish_llm_lost_calls_total", "task"] == 1


def test_traces_of_online_calls_add_to_what_is_spent(metrics):
    usage = types_v1.Usage(input_tokens=5, output_tokens=1, cost_usd=0.25)
    stored = [trace_v1.Trace(usage=usage, provider="openai", model="m"), trace_v1.Trace()]
    metrics.traces_stored(stored, dropped=4)
    found = scraped(metrics)
    assert found["burnish_llm_cost_usd_total", "m", "openai", "task"] == 0.25
    assert found[("burnish_traces_stored_total",)] == 2
    assert found[("burnish_traces_lost_total",)] == 4


def test_rollouts_without_a_reward_are_counted_apart_and_never_as_0(metrics):
    result = types_v1.RolloutResult(rollout_id="secret")

    def rollout(reward):
        return FinishedRollout(
            job_id="secret", phase="search", attempt=1, result=result, reward=reward, cost_usd=None
        )

    metrics.rollout_saved(rollout(types_v1.Reward(fused=0.75)))
    metrics.rollout_saved(rollout(None))
    found = scraped(metrics)
    assert found["burnish_rollouts_total", "offline", "scored"] == 1
    assert found["burnish_rollouts_total", "offline", "unscored"] == 1
    assert found[("burnish_reward_count",)] == 1
    assert found[("burnish_reward_sum",)] == 0.75


def test_candidates_are_counted_by_what_became_of_them(metrics):
    proposed = job_v1.ProposalCompleted(accepted_count=3, refused_count=1)
    for event in (
        job_v1.JobEvent(proposal_completed=proposed),
        job_v1.JobEvent(winner_chosen=job_v1.WinnerChosen(baseline=True)),
        job_v1.JobEvent(winner_chosen=job_v1.WinnerChosen()),
    ):
        metrics.event_logged("secret", event)
    found = scraped(metrics)
    name = "burnish_candidates_total"
    verdicts = ("accepted", "refused", "won", "baseline_kept")
    assert [found[name, one] for one in verdicts] == [3, 1, 1, 1]


def budget(**fields):
    return job_v1.BudgetUpdated(**fields)


def test_the_tightest_running_job_says_what_is_left(metrics):
    spent = types_v1.Usage(input_tokens=60, output_tokens=15, cost_usd=1.0)
    metrics.event_logged(
        "a", job_v1.JobEvent(budget_updated=budget(total=spent, max_cost_usd=4.0, reserved_usd=1.0))
    )
    metrics.event_logged("b", job_v1.JobEvent(budget_updated=budget(total=spent, max_tokens=100)))
    assert scraped(metrics)[("burnish_budget_remaining_ratio",)] == 0.25
    ended = job_v1.StateChanged(to_state=job_v1.JOB_STATE_SUCCEEDED)
    metrics.event_logged("b", job_v1.JobEvent(state_changed=ended))
    assert scraped(metrics)[("burnish_budget_remaining_ratio",)] == 0.5


@pytest.mark.parametrize(
    ("fields", "left"),
    [({}, None), ({"max_tokens": 10}, 1.0), ({"max_cost_usd": 0.0}, None),
     ({"max_tokens": 10, "total": types_v1.Usage(input_tokens=99)}, 0.0)],
)  # fmt: skip
def test_what_is_left_of_a_budget_is_a_share(fields, left):
    assert remaining(budget(**fields)) == left
