"""Judge nodes over real sockets: paid through the ledger, replayed, and unscored when they fail."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.local.server import start_local_server
from burnish.rubrics import Criterion, Rubric
from burnish.testing.providers import FakeProvider, FakeReply, at_random, fake_provider
from burnish_runtime.llm.accounts import CallDesk
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_runtime.retries import RetryPolicy
from burnish_runtime.settings import ServiceSettings
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node
from burnish_verifier.judges.evaluator import JudgeEvaluator
from burnish_verifier.nodes.base import Evidence, JudgeOptions, NodeFailed, NodeResult, NodeTask
from burnish_verifier.steps import CalibrationExample, ModelRef, RubricJudge

RUBRIC = Rubric(criteria=(Criterion(criterion_id="right", description="Is exactly the reference"),))
OTHER = Rubric(criteria=(Criterion(criterion_id="short", description="At most 3 words"),))
LOCAL = ModelRef(provider="local", model="local-judge")
REVIEW = json.dumps({"criteria": {"right": {"reason": "because", "score": 0.75}}})
PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}


class Ledger:
    """Keeps replies by key, and refuses when it is told to."""

    def __init__(self, refuse: str = "") -> None:
        self.begun: list[ledger_v1.BeginCall] = []
        self.finished: list[ledger_v1.FinishCall] = []
        self.any_finished = asyncio.Event()
        self._refuse = refuse
        self._kept: dict[str, ledger_v1.CallReply] = {}
        self._keys: dict[str, str] = {}

    async def begin(self, call: ledger_v1.BeginCall, *, timeout: float) -> ledger_v1.CallDecision:  # noqa: ASYNC109
        self.begun.append(call)
        key = f"{call.scope} {call.request_hash}"
        decision = ledger_v1.CallDecision(call_id=str(len(self.begun)))
        if self._refuse:
            decision.refused.CopyFrom(types_v1.Failure(reason=self._refuse, message="no"))
        elif key in self._kept:
            decision.replay.CopyFrom(self._kept[key])
        else:
            self._keys[decision.call_id] = key
            decision.proceed.SetInParent()
        return decision

    async def finish(self, call: ledger_v1.FinishCall) -> None:
        self.finished.append(call)
        if call.HasField("reply"):
            self._kept[self._keys[call.call_id]] = call.reply
        self.any_finished.set()


@asynccontextmanager
async def evaluator(ledger: Ledger | None = None, **settings: Any) -> AsyncIterator[JudgeEvaluator]:
    registry = ProviderRegistry(ServiceSettings(service="verifier", **settings))
    retry = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.002, jitter=0.0)
    desk = None if ledger is None else CallDesk(ledger, retry=retry)
    try:
        yield JudgeEvaluator(registry, desk)
    finally:
        if desk is not None:
            await desk.drain()
        await registry.close()


def task(step: RubricJudge | None = None, **more: Any) -> NodeTask:
    judge = RubricJudge(rubric=RUBRIC, model=LOCAL) if step is None else step
    fields: dict[str, Any] = {
        "evidence": Evidence(output=b'"late"', reference=b'"late"'),
        "rollout_id": "r1",
        **more,
    }
    return NodeTask(node=Node(node_id="judge", step=judge), **fields)


def compatible(fake: FakeProvider, **more: Any) -> RubricJudge:
    model = ModelRef(
        provider="openai_compatible",
        model="judge-1",
        base_url=fake.base_url("openai_compatible"),
        price=PRICE,
        **more,
    )
    return RubricJudge(rubric=RUBRIC, model=model)


def scored(found: NodeResult | Failed) -> NodeResult:
    assert isinstance(found, NodeResult), found
    return found


def failed(found: NodeResult | Failed) -> NodeFailed:
    assert isinstance(found, NodeFailed), found
    return found


async def test_the_local_judge_scores_without_a_job_and_says_that_it_is_simulated():
    server = await start_local_server()
    try:
        async with evaluator(local_model_url=server.base_url) as judges:
            right = scored(await judges.evaluate(task()))
            wrong = scored(await judges.evaluate(task(evidence=Evidence(output=b'"lost"',
                           reference=b'"late"'))))  # fmt: skip
    finally:
        await server.stop()
    assert (right.score, wrong.score) == (1.0, 0.0)
    assert right.simulated
    assert wrong.reason.startswith("right: (simulated) ")
    assert right.spent.call_count == 1
    assert right.spent.cost_usd == 0.0


async def test_a_judgement_is_booked_on_its_rollout_and_replayed_when_it_is_asked_again():
    ledger = Ledger()
    async with fake_provider(FakeReply(text=REVIEW, input_tokens=100, output_tokens=10)) as fake:
        async with evaluator(ledger) as judges:
            paid = task(compatible(fake), job="jobs/j")
            first = scored(await judges.evaluate(paid))
            second = scored(await judges.evaluate(paid))
            third = scored(await judges.evaluate(replace(paid, repeat=1)))
        assert len(fake.bill.charges) == 2
    assert (first.score, second.score, third.score) == (0.75, 0.75, 0.75)
    assert not first.simulated
    assert first.spent.cost_usd == pytest.approx((100 * 1.0 + 10 * 2.0) / 1e6)
    begun = ledger.begun[0]
    assert (begun.job, begun.scope, begun.attempt) == ("jobs/j", "judgements/j/r1", 1)
    assert begun.role == ledger_v1.CALL_ROLE_JUDGE
    body = ledger.finished[0].trace.provider_request
    assert begun.request_hash == hashlib.sha256(body).hexdigest()
    asked = json.loads(body)
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert asked["temperature"] == 0.0


WAYS: list[tuple[Callable[[dict[str, Any]], bool], list[str]]] = [
    (lambda form: True, ["bounded", "bounded"]),
    (lambda form: '"minimum"' not in json.dumps(form), ["bounded", "unbounded", "unbounded"]),
    (lambda form: form["type"] == "json_object", ["bounded", "unbounded", "JSON", "JSON"]),
]


@pytest.mark.parametrize(("takes", "ways"), WAYS)
async def test_a_model_is_asked_the_closest_way_that_it_takes_from_then_on(takes, ways):
    def answer(heard: Any) -> str | FakeReply:
        return FakeReply(text=REVIEW) if takes(heard.fields["response_format"]) else "400"

    def way(form: dict[str, Any]) -> str:
        if form["type"] == "json_object":
            return "JSON"
        return "bounded" if '"minimum"' in json.dumps(form) else "unbounded"

    async with fake_provider(answer=answer) as fake, evaluator(Ledger()) as judges:
        for rollout in ("r1", "r2"):
            found = await judges.evaluate(task(compatible(fake), job="jobs/j", rollout_id=rollout))
            assert scored(found).score == 0.75
        assert [way(json.loads(each.body)["response_format"]) for each in fake.heard] == ways


async def test_a_request_that_no_way_helps_tells_what_the_first_was_told():
    async with fake_provider("400") as fake, evaluator(Ledger()) as judges:
        found = failed(await judges.evaluate(task(compatible(fake), job="jobs/j")))
        assert len(fake.heard) == 3
    assert (found.reason, found.retryable) == ("PROVIDER_REFUSED", False)


FAULTS: list[tuple[tuple[str | FakeReply, ...], str, bool]] = [
    (("500",), "PROVIDER_UNAVAILABLE", True),
    (("429",), "PROVIDER_RATE_LIMITED", True),
    (("401",), "PROVIDER_REFUSED", False),
    (("reset",), "PROVIDER_CONNECTION_LOST", True),
    ((FakeReply(text="score: 1.0"),), "JUDGE_REPLY_INVALID", False),
    ((FakeReply(text='{"criteria": {"wrong": {"reason": "", "score": 1}}}'),),
     "JUDGE_REPLY_INVALID", False),
]  # fmt: skip


@pytest.mark.parametrize(("script", "reason", "retryable"), FAULTS)
async def test_a_judge_that_fails_leaves_the_rollout_unscored(script, reason, retryable):
    ledger = Ledger()
    async with fake_provider(*script) as fake, evaluator(ledger) as judges:
        found = failed(await judges.evaluate(task(compatible(fake), job="jobs/j")))
    assert (found.reason, found.retryable) == (reason, retryable)
    # Whatever was begun is finished, and what may have been paid is told.
    assert len(ledger.begun) == len(ledger.finished)
    answered = sum(each.HasField("reply") for each in ledger.finished)
    lost = sum(not each.HasField("reply") and not each.not_sent for each in ledger.finished)
    assert (found.spent.call_count, found.spent.possibly_paid_call_count) == (answered + lost, lost)


async def test_a_judgement_that_takes_too_long_may_be_tried_again():
    async with fake_provider("hang") as fake, evaluator(Ledger()) as judges:
        options = JudgeOptions(timeout=0.2)
        found = failed(await judges.evaluate(task(compatible(fake), job="jobs/j", options=options)))
    assert (found.reason, found.retryable) == ("JUDGE_TIMEOUT", True)


async def test_a_budget_that_refuses_a_judge_is_told_and_not_tried_again():
    async with fake_provider() as fake, evaluator(Ledger(refuse="BUDGET_EXHAUSTED")) as judges:
        found = failed(await judges.evaluate(task(compatible(fake), job="jobs/j")))
        assert fake.heard == []
    assert (found.reason, found.retryable) == ("BUDGET_EXHAUSTED", False)


JUDGE = RubricJudge(rubric=RUBRIC, model=LOCAL)
INCOMPLETE: list[tuple[RubricJudge, JudgeOptions, str]] = [
    (replace(JUDGE, model=None), JudgeOptions(), "JUDGE_MODEL_MISSING"),
    (replace(JUDGE, rubric=Rubric(aggregation="inherit")), JudgeOptions(), "RUBRIC_INVALID"),
    (
        JUDGE,
        JudgeOptions(model=ModelRef(provider="openai", model="gpt-5-pro")),
        "JUDGE_MODEL_REFUSED",
    ),
    (replace(JUDGE, mode="few_shot"), JudgeOptions(), "JUDGE_EXAMPLES_MISSING"),
    (replace(JUDGE, mode="contrastive"), JudgeOptions(), "JUDGE_EXAMPLES_MISSING"),
    (
        replace(JUDGE, mode="few_shot"),
        JudgeOptions(
            calibration_examples=(CalibrationExample(session_trace="{", outcome_reward=2.0),)
        ),
        "JUDGE_EXAMPLES_INVALID",
    ),
    (
        replace(JUDGE, model=ModelRef(provider="openai", model="gpt-4o")),
        JudgeOptions(),
        "PROVIDER_NOT_CONFIGURED",
    ),
    (
        replace(
            JUDGE,
            model=ModelRef(
                provider="openai_compatible", model="m", base_url="http://127.0.0.1:9/v1"
            ),
        ),
        JudgeOptions(),
        "JUDGE_WITHOUT_JOB",
    ),
    (
        replace(JUDGE, model=replace(LOCAL, base_url="http://127.0.0.1:9/v1")),
        JudgeOptions(),
        "JUDGE_WITHOUT_JOB",
    ),
]


@pytest.mark.parametrize(("step", "options", "reason"), INCOMPLETE)
async def test_what_a_judge_lacks_is_named(step, options, reason):
    async with evaluator(Ledger()) as judges:
        found = failed(await judges.evaluate(task(step, options=options)))
    assert (found.reason, found.retryable) == (reason, False)


@pytest.mark.parametrize(
    ("output", "reason"), [(b"", "OUTPUT_MISSING"), (b"{", "JUDGE_MATERIAL_INVALID")]
)
async def test_a_rollout_that_cannot_be_read_is_not_judged(output, reason):
    async with evaluator(Ledger()) as judges:
        found = failed(await judges.evaluate(task(evidence=Evidence(output=output))))
    assert (found.reason, found.retryable) == (reason, False)


RULES: list[tuple[Rubric | None, list[str]]] = [
    (RUBRIC, ["right"]),
    (None, ["short"]),
    (replace(RUBRIC, aggregation="inherit"), ["short", "right"]),
]


@pytest.mark.parametrize(("own", "ids"), RULES)
async def test_a_graphs_rubric_goes_before_the_requests_or_is_laid_over_it(own, ids):
    server = await start_local_server()
    step, options = replace(JUDGE, rubric=own), JudgeOptions(rubric=OTHER)
    try:
        async with evaluator(local_model_url=server.base_url) as judges:
            found = scored(await judges.evaluate(task(step, options=options)))
    finally:
        await server.stop()
    assert [each.criterion_id for each in found.criteria] == ids


async def test_without_any_rubric_one_for_any_task_holds_and_that_is_told():
    server = await start_local_server()
    try:
        async with evaluator(local_model_url=server.base_url) as judges:
            found = scored(await judges.evaluate(task(replace(JUDGE, rubric=None))))
    finally:
        await server.stop()
    assert [each.criterion_id for each in found.criteria] == ["done", "grounded", "form"]
    assert found.reason.endswith("judged by the rubric for any task, as none was given")


async def test_every_mode_runs_on_the_local_judge_over_a_socket():
    events = [
        {"llm_request": {"messages": [{"role": "user", "content": "where is it " * 50}]},
         "llm_response": {"message": {"role": "assistant", "content": f"late {i}"}}}
        for i in range(8)
    ]  # fmt: skip
    trace = json.dumps({"event_history": events}).encode()
    rubric = replace(RUBRIC, event_criteria=(Criterion(criterion_id="e", description="Not empty"),))
    example = CalibrationExample(session_trace=trace.decode(), outcome_reward=0.5)
    server = await start_local_server()
    try:
        async with evaluator(local_model_url=server.base_url) as judges:
            for mode in ("auto", "single", "map_reduce", "few_shot", "rlm"):
                step = replace(JUDGE, rubric=rubric, mode=mode, votes=3, part_tokens=500)
                evidence = Evidence(output=b'"late"', reference=b'"late"', session_trace=trace)
                options = JudgeOptions(calibration_examples=(example,))
                found = scored(
                    await judges.evaluate(task(step, evidence=evidence, options=options))
                )
                assert found.score == 1.0
                assert len(found.event_reviews) == 8
    finally:
        await server.stop()


async def test_a_judgement_that_was_given_up_is_paid_once_and_found_again():
    ledger = Ledger()
    async with (
        fake_provider(FakeReply(text=REVIEW), FakeReply(text=REVIEW, delay=2.7)) as fake,
        evaluator(ledger) as judges,
    ):
        judged = task(compatible(fake), job="jobs/j", options=JudgeOptions(timeout=2.0))
        # The first call opens the provider, which takes a while.
        scored(await judges.evaluate(replace(judged, rollout_id="r0", options=JudgeOptions())))
        ledger.any_finished.clear()
        assert failed(await judges.evaluate(judged)).reason == "JUDGE_TIMEOUT"
        async with asyncio.timeout(20):
            await ledger.any_finished.wait()
        again = scored(await judges.evaluate(replace(judged, options=JudgeOptions())))
        assert len(fake.bill.charges) == 2
    assert again.score == 0.75


async def test_under_random_faults_every_call_is_finished_and_nothing_scores_0():
    ledger = Ledger()
    good = at_random(random.Random(11), share=0.4, reply=FakeReply(text=REVIEW))
    async with fake_provider(answer=good) as fake, evaluator(ledger) as judges:
        step = replace(compatible(fake), votes=2)
        found = await asyncio.gather(
            *(
                judges.evaluate(task(step, job="jobs/j", rollout_id=f"r{number}"))
                for number in range(40)
            )
        )
        answered = len(fake.bill.answered.charges)
    assert len(ledger.begun) == len(ledger.finished)
    assert {each.score for each in found if isinstance(each, NodeResult)} == {0.75}
    assert all(isinstance(each, NodeResult | NodeFailed) for each in found)
    assert sum(each.HasField("reply") for each in ledger.finished) <= answered
