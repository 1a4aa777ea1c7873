"""What the proposer is shown of the rows that ran."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.calls import CallState
from burnish_controller.phases.evidence import show_latest, show_rows
from burnish_controller.store.rollouts import FinishedRollout

PARENTS = ("cand_best", "cand_second")


@dataclass
class FakeCalls:
    """One answered call of stage `main` for every rollout."""

    said: Callable[[str], str] = lambda rollout_id: f"said {rollout_id}"
    asked: list[str] = field(default_factory=list)

    async def of_scopes(self, scopes):
        self.asked += scopes
        return {one: [self._call(one)] for one in scopes}

    def _call(self, rollout_id):
        message = {"choices": [{"message": {"content": self.said(rollout_id)}}]}
        return SimpleNamespace(
            trace=ledger_v1.CallTrace(stage_id="main", bindings={"query": f"in {rollout_id}"}),
            state=CallState.DONE,
            reply=SimpleNamespace(
                status=200, content_type="application/json", body=json.dumps(message).encode()
            ),
        )


def rollout(name, reward, *, phase="bootstrap", **fields):
    cell = types_v1.Cell(
        candidate_id=fields.get("candidate", "cand_base"),
        pool=fields.get("pool", types_v1.POOL_BOOTSTRAP),
        seed=fields.get("seed", 0),
    )
    reference = fields.get("reference")
    return FinishedRollout(
        job_id="job1",
        phase=phase,
        attempt=1,
        result=types_v1.RolloutResult(
            rollout_id=name,
            cell=cell,
            reference=b"" if reference is None else json.dumps(reference).encode(),
        ),
        reward=types_v1.Reward(fused=reward, feedback=fields.get("feedback", "")),
        cost_usd=0.0,
    )


@pytest.fixture
async def shown(make_scene):
    """Shows what some rollouts came to, and returns the request."""

    async def show(*rollouts, rows=None, parents=None, reference=(), texts=(), **spec):
        scene = await make_scene(**spec)
        scene.app.rows = rows or {}
        scene.job.pools = replace(scene.job.pools, reference=list(reference))
        scene.job.job.spec.proposer.reference_texts.extend(texts)
        for one in rollouts:
            await scene.stores.rollouts.save(one)
        services = replace(scene.services, calls=FakeCalls())
        request = proposer_v1.ProposeInstructionsRequest()
        request.stage.stage_id = "main"
        await show_rows(services, scene.job, request)
        if parents is not None:
            await show_latest(services, scene.job, request, parents)
        return request

    return show


async def test_reference_rows_that_are_classes_are_labelled_rows(shown):
    rows = {seed: (f"row {seed}", "abc"[seed % 3]) for seed in range(60)}
    request = await shown(rows=rows, reference=range(50, 60))
    assert [one.input for one in request.examples] == [
        f"row {seed}" for seed in (*range(8), *range(50, 60))
    ]
    assert not request.references


async def test_reference_rows_whose_answers_are_texts_are_the_reference_corpus(shown):
    rows = {seed: (f"row {seed}", f"answer {seed}") for seed in range(60)}
    request = await shown(rows=rows, reference=range(50, 53), texts=["A manual."])
    assert [one.input for one in request.examples] == [f"row {seed}" for seed in range(8)]
    assert [(one.text, one.output, one.source) for one in request.references] == [
        ("row 50", "answer 50", "row 50"),
        ("row 51", "answer 51", "row 51"),
        ("row 52", "answer 52", "row 52"),
        ("A manual.", "", "text 1"),
    ]


async def test_a_corpus_beyond_measure_is_thinned_evenly(shown):
    rows = {seed: ("x" * 100_000, f"answer {seed}") for seed in range(100)}
    request = await shown(rows=rows, reference=range(50, 100))
    assert [one.source for one in request.references] == [
        f"row {seed}" for seed in range(50, 100, 3)
    ]


async def test_what_a_verifier_said_makes_a_failure_worth_showing(shown):
    request = await shown(
        rollout("told", 0.2, feedback="Too long by half."), rollout("silent", 0.1)
    )
    (failure,) = request.failures
    assert (failure.input, failure.actual) == ("in told", "said told")
    assert failure.feedback == "Too long by half."
    assert failure.reward == 0.2
    assert failure.expected == ""


async def test_what_was_wanted_is_told_beside_what_came(shown):
    request = await shown(rollout("wrong", 0.0, reference="refund"))
    assert [(one.expected, one.actual) for one in request.failures] == [("refund", "said wrong")]


async def test_demos_are_the_best_first(shown):
    request = await shown(rollout("good", 0.85), rollout("better", 1.0), rollout("bad", 0.1))
    assert [(one.input, one.reward) for one in request.demos] == [
        ("in better", 1.0),
        ("in good", 0.85),
    ]


def searched(name, reward, **fields):
    given = {"phase": "search", "pool": types_v1.POOL_ONLINE, "candidate": PARENTS[0]}
    return rollout(name, reward, **{**given, "feedback": "No.", **fields})


UPDATE = job_v1.ProposerSpec(meta_update=job_v1.MetaUpdate(success_count=2, failure_count=1))


async def test_later_rounds_show_the_best_candidates_as_many_rows_as_asked(shown):
    request = await shown(
        rollout("old", 1.0),
        rollout("oldbad", 0.0, feedback="No."),
        searched("c2", 1.0, seed=1, candidate=PARENTS[1]),
        searched("c1", 1.0, seed=2),
        searched("bad", 0.0, seed=3),
        searched("worse", 0.0, seed=4),
        searched("other", 1.0, seed=0, candidate="cand_other"),
        parents=PARENTS,
        proposer=UPDATE,
    )
    assert [one.input for one in request.demos] == ["in c1", "in c2"]
    assert [one.input for one in request.failures] == ["in bad"]


async def test_rows_that_candidates_are_chosen_by_are_never_shown(shown):
    request = await shown(
        rollout("old", 1.0),
        searched("held", 1.0, pool=types_v1.POOL_VALIDATION),
        parents=PARENTS,
        proposer=UPDATE,
    )
    assert [one.input for one in request.demos] == ["in old"]


async def test_a_round_keeps_the_baselines_failures_when_the_best_had_none(shown):
    request = await shown(
        rollout("oldbad", 0.0, feedback="No."),
        searched("c1", 1.0, seed=2),
        parents=PARENTS,
        proposer=UPDATE,
    )
    assert [one.input for one in request.failures] == ["in oldbad"]
    assert [one.input for one in request.demos] == ["in c1"]
