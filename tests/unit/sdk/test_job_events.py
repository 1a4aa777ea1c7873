"""Event envelopes: every kind has a name, its numbers, and a way back."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.job.v1 import job_event_pb2 as job
from burnish.errors import InvalidArgument
from burnish.events import from_envelope, to_envelope
from burnish.testing.fake_story import estimate, story

KINDS = [field.name for field in job.JobEvent.DESCRIPTOR.oneofs_by_name["kind"].fields]


def empty_event(kind: str) -> job.JobEvent:
    event = job.JobEvent(sequence=7, level=job.EVENT_LEVEL_WARNING, message="look")
    event.event_time.FromMilliseconds(1_700_000_000_123)
    getattr(event, kind).SetInParent()
    return event


def data_of(event: job.JobEvent) -> dict[str, Any]:
    return cast(dict[str, Any], to_envelope(event, job_id="pl_1")["data"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_as_it_was(kind):
    event = empty_event(kind)
    envelope = to_envelope(event, job_id="pl_1")
    assert from_envelope(envelope) == event
    assert envelope["type"] != "prompt.learning.event"
    assert (envelope["seq"], envelope["level"], envelope["job_id"]) == (7, "warn", "pl_1")
    assert envelope["ts"] == envelope["created_at"] == "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize("failed", [False, True])
def test_a_whole_log_comes_back_as_it_was(failed):
    for number, event in enumerate(story(failed=failed), start=1):
        event.sequence, event.level = number, job.EVENT_LEVEL_INFO
        assert from_envelope(to_envelope(event, job_id="pl_1")) == event


@given(
    mean=st.floats(0, 1),
    trial=st.integers(0, 2**40),
    seeds=st.integers(0, 2**40),
    message=st.text(),
)
def test_numbers_and_text_survive(mean, trial, seeds, message):
    completed = job.TrialCompleted(
        trial_index=trial, seed_count=seeds, reward=estimate(mean, 3), candidate_id="c"
    )
    event = job.JobEvent(
        sequence=1, level=job.EVENT_LEVEL_INFO, message=message, trial_completed=completed
    )
    envelope = to_envelope(event, job_id="pl_1")
    assert from_envelope(envelope) == event
    assert data_of(event)["minibatch_score"] == mean
    assert data_of(event)["trial"] == trial


def test_a_trial_without_a_measurement_has_no_score_rather_than_zero():
    event = job.JobEvent(trial_completed=job.TrialCompleted(seed_count=3, unscored_count=3))
    data = data_of(event)
    assert data["minibatch_score"] is None
    assert data["num_instances"] == 0


def test_an_incumbent_is_best_score_and_best_reward():
    event = job.JobEvent(new_incumbent=job.NewIncumbent(reward=estimate(0.7, 5), trial_index=4))
    assert to_envelope(event, job_id="pl_1")["type"] == "mipro.new_incumbent"
    data = data_of(event)
    assert data["best_score"] == data["best_reward"] == 0.7
    assert data["cumulative_trials"] == 5


def test_names_follow_the_algorithm_and_what_happened():
    moved = job.StateChanged
    pending, running = job.JOB_STATE_PENDING, job.JOB_STATE_RUNNING
    done = job.JOB_STATE_SUCCEEDED
    begun = job.JobEvent(state_changed=moved(from_state=pending, to_state=running))
    ended = job.JobEvent(state_changed=moved(from_state=running, to_state=done))
    assert to_envelope(begun, job_id="x")["type"] == "prompt.learning.started"
    assert to_envelope(ended, job_id="x", algorithm="random")["type"] == (
        "prompt.learning.mipro.complete"
    )
    assert to_envelope(ended, job_id="x", algorithm="gepa")["type"] == (
        "prompt.learning.gepa.complete"
    )
    spent = job.JobEvent(
        search_ended=job.SearchEnded(reason=job.TERMINATION_REASON_SPACE_EXHAUSTED)
    )
    assert to_envelope(spent, job_id="x")["type"] == "mipro.optimization.exhausted"


def test_an_envelope_of_somebody_else_is_refused():
    with pytest.raises(InvalidArgument, match=r"no `data\.kind`"):
        from_envelope({"seq": 1, "type": "prompt.learning.progress", "data": {}})
