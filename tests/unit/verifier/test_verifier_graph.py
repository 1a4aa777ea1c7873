"""Graphs: their faults, their ids, their evaluation, and the process that guards them."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.rubrics import Aggregation, Criterion, Rubric
from burnish_verifier.checks.base import CheckKind, Subject, Verdict
from burnish_verifier.checks.registry import built_in
from burnish_verifier.evaluate import MAX_BYTES, CheckSet
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Graph, GraphInvalid, Node, from_json, graph_id, to_json
from burnish_verifier.guarded import GuardedRunner
from burnish_verifier.nodes.aggregate import aggregated
from burnish_verifier.nodes.base import Evidence, NodeResult
from burnish_verifier.plan import Plan
from burnish_verifier.steps import (
    Aggregate,
    BuiltinCheck,
    Gate,
    Majority,
    Minimum,
    PythonCode,
    RemoteNode,
    RubricJudge,
    Similarity,
    WeightedMean,
)
from burnish_verifier.validate import Abilities, validate

KINDS = built_in()
ABLE = Abilities(kinds=KINDS)


def check(node_id: str, name: str = "exact_match", **settings: object) -> Node:
    return Node(node_id=node_id, step=BuiltinCheck(check=name, settings=settings))


def mean(node_id: str, *inputs: str, **weights: float) -> Node:
    return Node(node_id=node_id, inputs=inputs, step=WeightedMean(weights=weights))


def result(found: NodeResult | Failed) -> NodeResult:
    assert isinstance(found, NodeResult), found
    return found


def checks(*nodes: Node, kinds=KINDS) -> CheckSet:
    return CheckSet.of(nodes, kinds)


def evidence(output: object, reference: object = "x") -> Evidence:
    return Evidence(output=json.dumps(output).encode(), reference=json.dumps(reference).encode())


CODE = "def score(rollout): return 1"


def judge(node_id: str, *, aggregation: Aggregation = "weighted_sum") -> Node:
    criteria = (Criterion(criterion_id="right", description="It is right."),)
    told = Rubric(goal="g", criteria=criteria, event_criteria=criteria, aggregation=aggregation)
    step = RubricJudge(rubric=told)
    return Node(node_id=node_id, scope="transcript", step=step)


@pytest.mark.parametrize(
    ("nodes", "output", "words"),
    [
        ((), "a", "no nodes"),
        (tuple(check(f"n{n}") for n in range(65)), "n1", "at most 64"),
        ((check("a"), check("a")), "a", "used twice"),
        ((check(""),), "", "no `node_id`"),
        ((mean("a", "ghost"),), "a", "does not exist"),
        ((check("b"), mean("a", "b", "b")), "a", "reads an input twice"),
        ((check("a"),), "z", "`output_node`"),
        ((mean("a", "b"), mean("b", "a")), "a", "in a circle"),
        ((mean("a", "a"),), "a", "in a circle"),
        ((check("a"), check("b")), "a", "node `b` does not feed"),
        ((Node(node_id="a", step=None),), "a", "what it does"),
        ((mean("a"),), "a", "needs inputs"),
        ((check("b"), mean("a", "b", c=1.0)), "a", "no inputs; remove"),
        ((check("b"), mean("a", "b", b=0.0)), "a", "above 0"),
        ((check("b"), mean("a", "b", b=float("nan"))), "a", "above 0"),
        ((check("a", "guess"),), "a", "known: contains"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=BuiltinCheck(check="f1"))), "a",
         "reads no inputs"),
        ((Node(node_id="a", scope="transcript", step=BuiltinCheck(check="f1")),), "a",
         "not the transcript"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=Gate(gates=("c",)))), "a",
         "add them to `inputs`"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=Gate(gates=()))), "a", "no gates"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=Gate(gates=("b",), threshold=0.0))),
         "a", "`threshold` is 0.0"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=Majority(threshold=1.5))), "a",
         "`threshold` is 1.5"),
        ((Node(node_id="a", step=Minimum()),), "a", "needs inputs"),
        ((Node(node_id="a", step=Similarity(floor=1.0)),), "a", "`floor` is 1.0"),
        ((Node(node_id="a", step=PythonCode(source="def score(:")),), "a", "no Python in line 1"),
        ((Node(node_id="a", step=PythonCode(source="x = 1")),), "a", "no function `score`"),
        ((Node(node_id="a", step=PythonCode(source=CODE, time_limit=61.0)),), "a", "`time_limit`"),
        ((Node(node_id="a", step=PythonCode(source=CODE, memory_limit=1)),), "a", "`memory_limit"),
        ((Node(node_id="a", step=RemoteNode(target="x:1", attempts=0)),), "a", "`attempt_count`"),
        ((Node(node_id="a", step=RemoteNode(target="x:1", timeout=0.0)),), "a", "`timeout`"),
        ((Node(node_id="a", step=RubricJudge(votes=10)),), "a", "`votes` is 10"),
        ((judge("a", aggregation="custom"),), "a", "no score of its own"),
        ((judge("b", aggregation="custom"), Node(node_id="a", inputs=("b",), step=Minimum())), "a",
         "aggregates `b`"),
    ],
)  # fmt: skip
def test_a_fault_of_a_graph_is_named(nodes, output, words):
    with pytest.raises(GraphInvalid, match=words):
        validate(Graph(nodes=nodes, output_node=output), ABLE)


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_layered_graph_is_valid_and_its_mean_stays_in_the_unit_interval(size, random):
    nodes = [check("n0")]
    for place in range(1, size):
        inputs = random.sample([node.node_id for node in nodes], k=random.randint(1, place))
        nodes.append(mean(f"n{place}", *inputs, **{inputs[0]: random.uniform(0.01, 9)}))
    nodes.append(mean("out", *[node.node_id for node in nodes]))
    random.shuffle(nodes)
    graph = Graph(nodes=tuple(nodes), output_node="out")
    validate(graph, ABLE)
    assert from_json(json.loads(json.dumps(to_json(graph)))) == graph
    plan = Plan.of("verifierGraphs/a/versions/1", graph, KINDS)
    found = plan.open_checks.evaluate(evidence("x"))
    for node in plan.order:
        if isinstance(node.step, Aggregate):
            results = {name: result(found[name]) for name in node.inputs}
            found[node.node_id] = aggregated(node, node.step, results)
    assert result(found["out"]).score == pytest.approx(1.0)


def test_every_circle_and_every_other_fault_is_named_at_once():
    nodes = (mean("a", "b"), mean("b", "a"), mean("c", "d", "ghost"), mean("d", "c"), check("e"))
    with pytest.raises(GraphInvalid) as caught:
        validate(Graph(nodes=nodes, output_node="a", event_node="f"), ABLE)
    message = caught.value.message
    for words in ("`ghost`", "`event_node` is 'f'", "nodes `c`, `d`, `e` do not feed"):
        assert words in message
    assert "a -> b -> a" in message or "b -> a -> b" in message
    assert "c -> d -> c" in message or "d -> c -> d" in message
    listed = [text for key, text in sorted(caught.value.metadata.items()) if key != "problems"]
    assert message == "verifier graph: " + "; ".join(listed)
    assert caught.value.metadata["problems"] == str(len(listed))


def test_what_a_verifier_is_not_able_to_do_is_a_fault_that_says_so():
    able = Abilities(
        kinds=KINDS,
        remote_refusal=lambda target: f"{target} is not on the list",
        code_refusal="no sandbox here",
    )
    nodes = (
        Node(node_id="far", step=RemoteNode(target="x:1")),
        Node(node_id="own", step=PythonCode(source=CODE)),
        check("run", "sql_result"),
        mean("out", "far", "own", "run"),
    )
    with pytest.raises(GraphInvalid) as caught:
        validate(Graph(nodes=nodes, output_node="out"), able)
    for words in (
        "node `far`: x:1 is not on the list",
        "node `own`: no sandbox here",
        "node `run`: no sandbox here",
    ):
        assert words in caught.value.message


def test_a_graph_of_every_kind_of_node_reads_back_from_its_canonical_form():
    nodes = (
        check("check", "regex", pattern="x"),
        judge("judge"),
        Node(node_id="code", inputs=("judge",), step=PythonCode(source=CODE)),
        Node(node_id="near", step=Similarity(method="embedding", floor=0.25)),
        Node(node_id="far", step=RemoteNode(target="x:1", settings={"a": [1, {"b": None}]})),
        Node(node_id="least", inputs=("check", "near"), step=Minimum()),
        Node(node_id="most", inputs=("code", "far"), step=Majority(threshold=0.75)),
        Node(node_id="out", inputs=("least", "most"), step=Gate(gates=("least",))),
    )
    graph = Graph(nodes=nodes, output_node="out", event_node="judge", description="all")
    validate(graph, ABLE)
    assert from_json(json.loads(json.dumps(to_json(graph)))) == graph


def test_what_is_as_by_default_changes_no_id():
    plain = Graph(nodes=(Node(node_id="a", step=Similarity()),), output_node="a")
    spelt = Graph(
        nodes=(Node(node_id="a", inputs=(), scope="output", step=Similarity(method="exact")),),
        output_node="a",
        event_node="",
    )
    assert to_json(plain) == {
        "nodes": [{"node_id": "a", "step": {"kind": "similarity"}}],
        "output_node": "a",
    }
    assert graph_id(plain) == graph_id(spelt)


def scores(**values: float | None) -> dict[str, NodeResult]:
    return {name: NodeResult(score=value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("step", "given", "wanted"),
    [
        (Minimum(), {"a": 0.5, "b": 0.25}, 0.25),
        (WeightedMean(weights={"a": 3.0}), {"a": 1.0, "b": 0.0}, 0.75),
        (Gate(gates=("a",)), {"a": 1.0, "b": 0.5, "c": 0.25}, 0.375),
        (Gate(gates=("a",)), {"a": 0.99, "b": 1.0}, 0.0),
        (Gate(gates=("a",), threshold=0.5), {"a": 0.5, "b": 0.5}, 0.5),
        (Gate(gates=("a", "b")), {"a": 1.0, "b": 1.0}, 1.0),
        (Majority(), {"a": 0.5, "b": 0.75, "c": 0.25}, 1.0),
        (Majority(), {"a": 0.5, "b": 0.25}, 0.0),
        (Majority(threshold=1.0), {"a": 0.5, "b": 0.75, "c": 1.0}, 0.0),
    ],
)
def test_an_aggregation_gives_what_it_says(step, given, wanted):
    node = Node(node_id="out", inputs=tuple(given), step=step)
    assert result(aggregated(node, step, scores(**given))).score == pytest.approx(wanted)


def test_an_aggregation_over_a_node_without_a_score_fails_rather_than_count_it_0():
    node = Node(node_id="out", inputs=("a", "b"), step=Minimum())
    found = aggregated(node, Minimum(), scores(a=1.0, b=None))
    assert isinstance(found, Failed)
    assert found.reason == "NODE_SCORE_MISSING"


def test_the_id_of_a_graph_depends_on_what_it_says_only():
    one = Graph(nodes=(check("a", field="x", strip=True),), output_node="a")
    same = Graph(nodes=(check("a", strip=True, field="x"),), output_node="a")
    other = Graph(nodes=(check("a", strip=False, field="x"),), output_node="a")
    assert graph_id(one) == graph_id(same) != graph_id(other)


@pytest.mark.parametrize(
    ("given_evidence", "reason"),
    [
        (Evidence(output=b"{", reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b"\xff", reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b"NaN", reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b"[" * 100 + b"]" * 100, reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b"[" * 100_000, reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b'"' + b"x" * MAX_BYTES + b'"', reference=b'"x"'), "OUTPUT_INVALID"),
        (Evidence(output=b'"x"', reference=b"{"), "REFERENCE_INVALID"),
        (Evidence(reference=b'"x"'), "OUTPUT_MISSING"),
    ],
)
def test_evidence_that_cannot_be_read_is_a_failure(given_evidence, reason):
    judged = checks(check("a")).evaluate(given_evidence)["a"]
    assert isinstance(judged, Failed)
    assert judged.reason == reason


@dataclass(frozen=True)
class Fixed:
    value: float

    def score(self, subject: Subject) -> Verdict:
        if self.value < 0:
            raise ZeroDivisionError("secret row text")
        return Verdict(score=self.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(1.5, "CHECK_SCORE_INVALID"), (float("nan"), "CHECK_SCORE_INVALID"), (-1.0, "CHECK_FAILED")],
)
def test_a_plug_in_that_misbehaves_fails_its_rollout_without_telling_its_text(value, reason):
    kinds = {"mine": CheckKind(name="mine", build=lambda settings: Fixed(value))}
    judged = checks(check("a", "mine"), kinds=kinds).evaluate(evidence("x"))["a"]
    assert isinstance(judged, Failed)
    assert judged.reason == reason
    assert "secret" not in judged.message


PATTERN = (check("a", "regex", pattern="^(a|aa)+$"),)


async def test_a_guarded_graph_judges_as_an_open_one_does():
    runner = GuardedRunner()
    items = [evidence("aaa"), evidence("b"), Evidence(output=b"\xff"), Evidence()]
    try:
        guarded = await runner.evaluate(PATTERN, items)
    finally:
        await runner.close()
    opened = checks(*PATTERN)
    assert guarded == [opened.evaluate(item) for item in items]


async def test_a_guarded_process_that_dies_is_started_again():
    runner = GuardedRunner()
    try:
        assert len(await runner.evaluate(PATTERN, [evidence("a")])) == 1
        child = runner._child
        assert child is not None
        child.kill()
        await child.wait()
        (first,) = await runner.evaluate(PATTERN, [evidence("a")])
        (second,) = await runner.evaluate(PATTERN, [evidence("a")])
    finally:
        await runner.close()
    assert isinstance(first["a"], NodeResult) or first["a"].retryable
    assert result(second["a"]).score == 1.0


async def test_a_guarded_process_killed_in_the_middle_is_a_failure_to_retry():
    runner = GuardedRunner()
    try:
        await runner.evaluate(PATTERN, [evidence("a")])
        child = runner._child
        assert child is not None
        slow = asyncio.create_task(runner.evaluate(PATTERN, [evidence("a" * 60 + "!")] * 20))
        # The request takes 10 s of CPU time, so it is under way long after this.
        await asyncio.sleep(0.2)
        child.kill()
        lost = await slow
    finally:
        await runner.close()
    failed = [answers["a"] for answers in lost]
    assert {item.reason for item in failed if isinstance(item, Failed)} == {"CHECK_PROCESS_DIED"}
    assert all(isinstance(item, Failed) and item.retryable for item in failed)


async def test_a_cancelled_request_does_not_answer_the_next_one():
    runner = GuardedRunner()
    try:
        slow = asyncio.create_task(runner.evaluate(PATTERN, [evidence("a" * 60 + "!")] * 20))
        await asyncio.sleep(0.05)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        (judged,) = await runner.evaluate(PATTERN, [evidence("aa")])
    finally:
        await runner.close()
    assert result(judged["a"]).score == 1.0


async def test_a_guarded_process_gets_no_secret(monkeypatch):
    monkeypatch.setenv("BURNISH_AUTH_TOKEN", "canary-token")
    runner = GuardedRunner()
    try:
        await runner.evaluate(PATTERN, [evidence("a")])
        child = runner._child
        assert child is not None
        seen = await asyncio.to_thread(_environment, child.pid)
    finally:
        await runner.close()
    assert b"canary-token" not in seen


def _environment(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/environ")
    if not path.exists():
        pytest.skip("no /proc on this machine")
    return path.read_bytes()
