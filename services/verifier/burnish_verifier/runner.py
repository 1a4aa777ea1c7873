"""Evaluates a graph on rollouts: checks first, and then the rest as soon as its inputs are there.

Nodes that take their time run side by side, over nodes and rollouts alike, up to a limit. A node
whose input failed is not evaluated: its rollout has no reward whatever it would say.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import structlog

from burnish_verifier.cache import ResultCache
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node
from burnish_verifier.guarded import Answers, GuardedRunner
from burnish_verifier.judges.fingerprint import fingerprint
from burnish_verifier.nodes.aggregate import aggregated
from burnish_verifier.nodes.base import Evaluator, Evidence, JudgeOptions, NodeResult, NodeTask
from burnish_verifier.plan import Plan
from burnish_verifier.steps import Aggregate, RemoteNode, RubricJudge, Similarity, Step

_log = structlog.get_logger("burnish.verifier")
_ROLLOUTS_PER_TURN = 8
_MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a request says beside the rollouts.

    Attributes:
        job: Resource name of the job that pays; empty when no job does.
        options: What judges are told.
        repeat: Which repeat of the same judgement, from 0.
    """

    job: str = ""
    options: JudgeOptions = field(default_factory=JudgeOptions)
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluators:
    """Who evaluates the nodes that are neither checks nor aggregations, each by its own deadline.

    Attributes:
        code: Code of the user's own, and checks that run what the rollout gave.
        similarity: Exact and embedding similarity.
        judge: Judges with rubrics.
        remote: Nodes served elsewhere.
    """

    code: Evaluator
    similarity: Evaluator
    judge: Evaluator
    remote: Evaluator

    def of(self, step: Step) -> Evaluator:
        """Returns who evaluates a step."""
        if isinstance(step, RubricJudge):
            return self.judge
        if isinstance(step, RemoteNode):
            return self.remote
        return self.similarity if isinstance(step, Similarity) else self.code


class GraphRunner:
    """Evaluates graphs."""

    def __init__(
        self,
        *,
        guarded: GuardedRunner,
        evaluators: Evaluators,
        cache: ResultCache,
        clock: Callable[[], float],
    ) -> None:
        """Takes what it asks.

        Args:
            guarded: Asks checks that may never end.
            evaluators: Evaluate what takes its time.
            cache: Keeps what was found.
            clock: Seconds that only go forward.
        """
        self._guarded = guarded
        self._evaluators = evaluators
        self._cache = cache
        self._clock = clock
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    async def run(
        self, plan: Plan, rollouts: Sequence[tuple[str, Evidence]], asking: Asking
    ) -> list[Answers]:
        """Evaluates a graph on rollouts.

        Args:
            plan: The graph.
            rollouts: Id of each rollout, and what it gives.
            asking: What the request says beside.

        Returns:
            Results by node, a mapping per rollout in order. A node that was not evaluated is
            missing.
        """
        answers = await self._checked(plan, [evidence for _, evidence in rollouts])
        if plan.only_checks:
            for each in answers:
                _aggregate(plan.order, each)
            return answers
        limit = asyncio.Semaphore(asking.options.max_concurrency)
        told = _options_hash(asking.options)
        async with asyncio.TaskGroup() as group:
            for (rollout_id, evidence), each in zip(rollouts, answers, strict=True):
                if any(isinstance(found, Failed) for found in each.values()):
                    # The rollout has no reward already: nothing more is paid for.
                    continue
                blank = NodeTask(
                    node=plan.order[0],
                    evidence=evidence,
                    rollout_id=rollout_id,
                    options=asking.options,
                    job=asking.job,
                    graph=plan.name,
                    repeat=asking.repeat,
                )
                one = _One(runner=self, plan=plan, blank=blank, told=told, answers=each)
                one.start(group, limit)
        return answers

    async def _checked(self, plan: Plan, items: Sequence[Evidence]) -> list[Answers]:
        answers: list[Answers] = []
        for place, item in enumerate(items):
            if place % _ROLLOUTS_PER_TURN == _ROLLOUTS_PER_TURN - 1:
                await asyncio.sleep(0)
            answers.append(plan.open_checks.evaluate(item))
        if plan.guarded_checks.nodes and items:
            found = await self._guarded.evaluate(plan.guarded_checks.nodes, items)
            for each, more in zip(answers, found, strict=True):
                each.update(more)
        return answers

    async def ask(self, task: NodeTask, limit: asyncio.Semaphore) -> NodeResult | Failed:
        """Evaluates one node that takes its time, or finds its result in the cache."""

        async def asked() -> NodeResult | Failed:
            async with limit, self._slots:
                return await self._asked(task)

        if isinstance(task.node.step, RemoteNode):
            # What is behind the address may change without the graph.
            return await asked()
        return await self._cache.get_or_ask(task.key, asked)

    async def _asked(self, task: NodeTask) -> NodeResult | Failed:
        step = task.node.step
        if step is None:
            raise TypeError(f"node {task.node.node_id} has no step")
        start = self._clock()
        try:
            found = await self._evaluators.of(step).evaluate(task)
        except Exception as error:
            # A boundary: whatever an evaluator raises fails one node of one rollout.
            _log.exception("node_failed", node=task.node.node_id, graph=task.graph)
            return Failed(
                reason="NODE_FAILED",
                message=f"node `{task.node.node_id}` raised {type(error).__name__}; see the log of "
                "the verifier",
                metadata={"node": task.node.node_id},
            )
        if isinstance(found, Failed):
            return found
        return _in_range(task.node, replace(found, seconds=self._clock() - start))


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """The evaluation of a graph on one rollout."""

    runner: GraphRunner
    plan: Plan
    blank: NodeTask
    told: str
    answers: Answers
    started: set[str] = field(default_factory=set)

    def start(self, group: asyncio.TaskGroup, limit: asyncio.Semaphore) -> None:
        """Starts every node whose inputs are there; each starts those that waited for it."""
        _aggregate(self.plan.order, self.answers)
        for node in self.plan.order:
            if node.node_id not in self.started and _ready(node, self.answers):
                self.started.add(node.node_id)
                group.create_task(self._node(node, group, limit))

    async def _node(self, node: Node, group: asyncio.TaskGroup, limit: asyncio.Semaphore) -> None:
        task = replace(self.blank, node=node, inputs=_inputs(node, self.answers))
        key = task_key(task, self.plan.content_hash, told=self.told)
        found = await self.runner.ask(replace(task, key=key), limit)
        self.answers[node.node_id] = found
        if isinstance(found, NodeResult):
            self.start(group, limit)


def task_key(task: NodeTask, content_hash: str, *, told: str) -> str:
    """Returns the hash of everything that the result of a task may depend on.

    Args:
        task: The task.
        content_hash: Of the graph.
        told: Hash of what the request tells judges.
    """
    parts = [content_hash, task.node.node_id, str(task.repeat)]
    texts = [task.evidence.output, task.evidence.reference]
    if task.node.scope != "output":
        texts.append(task.evidence.session_trace)
    parts += [hashlib.sha256(text).hexdigest() for text in texts]
    if isinstance(task.node.step, RubricJudge):
        # A release that asks judges otherwise may not answer from what an earlier one kept.
        parts += [told, fingerprint()]
    if task.inputs:
        inputs = {name: asdict(found) for name, found in task.inputs.items()}
        for value in inputs.values():
            del value["seconds"], value["cached"], value["spent"]
        parts.append(json.dumps(inputs, sort_keys=True))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _options_hash(options: JudgeOptions) -> str:
    told = asdict(replace(options, timeout=0, max_concurrency=1))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _aggregate(order: Sequence[Node], answers: Answers) -> None:
    for node in order:
        if isinstance(node.step, Aggregate) and _ready(node, answers):
            inputs = _inputs(node, answers)
            answers[node.node_id] = aggregated(node, node.step, inputs)


def _ready(node: Node, answers: Answers) -> bool:
    return node.node_id not in answers and all(
        isinstance(answers.get(name), NodeResult) for name in node.inputs
    )


def _inputs(node: Node, answers: Answers) -> dict[str, NodeResult]:
    found = {name: answers[name] for name in node.inputs}
    return {name: result for name, result in found.items() if isinstance(result, NodeResult)}


def _in_range(node: Node, found: NodeResult) -> NodeResult | Failed:
    scores = [found.score, *(review.total for review in found.event_reviews)]
    wrong = [score for score in scores if score is not None and not 0 <= score <= 1]
    if not wrong:
        return found
    return Failed(
        reason="NODE_SCORE_INVALID",
        message=f"node `{node.node_id}` scored {wrong[0]!r}; a score is in [0, 1]",
        metadata={"node": node.node_id, "score": repr(wrong[0])},
    )
