"""Graphs: their faults, their ids, their evaluation, and the process that guards them."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_verifier.checks.base import CheckKind, Subject, Verdict
from burnish_verifier.checks.registry import built_in
from burnish_verifier.evaluate import MAX_BYTES, Compiled, Evidence, Judgement
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import (
    BuiltinCheck,
    Graph,
    GraphInvalid,
    Node,
    WeightedMean,
    from_json,
    graph_id,
    to_json,
    validate,
)
from burnish_verifier.guarded import GuardedRunner
from burnish_verifier.store import GraphStore

KINDS = built_in()


def check(node_id: str, name: str = "exact_match", **settings: object) -> Node:
    return Node(node_id=node_id, step=BuiltinCheck(check=name, settings=settings))


def mean(node_id: str, *inputs: str, **weights: float) -> Node:
    return Node(node_id=node_id, inputs=inputs, step=WeightedMean(weights=weights))


def evidence(output: object, reference: object = "x") -> Evidence:
    return Evidence(output=json.dumps(output).encode(), reference=json.dumps(reference).encode())


@pytest.mark.parametrize(
    ("nodes", "output", "words"),
    [
        ((), "a", "no nodes"),
        (tuple(check(f"n{n}") for n in range(65)), "n1", "at most 64"),
        ((check("a"), check("a")), "a", "used twice"),
        ((check(""),), "", "no `node_id`"),
        ((mean("a", "ghost"),), "a", "do not exist"),
        ((check("b"), mean("a", "b", "b")), "a", "reads an input twice"),
        ((check("a"),), "z", "`output_node`"),
        ((mean("a", "b"), mean("b", "a")), "a", "in a circle"),
        ((mean("a", "a"),), "a", "in a circle"),
        ((check("a"), check("b")), "a", "`b` do not feed"),
        ((Node(node_id="a", step=None),), "a", "what it does"),
        ((mean("a"),), "a", "needs inputs"),
        ((check("b"), mean("a", "b", c=1.0)), "a", "no inputs; remove"),
        ((check("b"), mean("a", "b", b=0.0)), "a", "above 0"),
        ((check("b"), mean("a", "b", b=float("nan"))), "a", "above 0"),
        ((check("a", "guess"),), "a", "known: contains"),
        ((check("b"), Node(node_id="a", inputs=("b",), step=BuiltinCheck(check="f1"))), "a",
         "reads no inputs"),
    ],
)  # fmt: skip
def test_a_fault_of_a_graph_is_named(nodes, output, words):
    with pytest.raises(GraphInvalid, match=words):
        validate(Graph(nodes=nodes, output_node=output), KINDS)


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_layered_graph_is_valid_and_its_mean_stays_in_the_unit_interval(size, random):
    nodes = [check("n0")]
    for place in range(1, size):
        inputs = random.sample([node.node_id for node in nodes], k=random.randint(1, place))
        nodes.append(mean(f"n{place}", *inputs, **{inputs[0]: random.uniform(0.01, 9)}))
    nodes.append(mean("out", *[node.node_id for node in nodes]))
    random.shuffle(nodes)
    graph = Graph(nodes=tuple(nodes), output_node="out")
    validate(graph, KINDS)
    assert from_json(json.loads(json.dumps(to_json(graph)))) == graph
    judged = Compiled.of(graph, KINDS).evaluate(evidence("x"))
    assert isinstance(judged, Judgement)
    assert judged.outcome == pytest.approx(1.0)


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
    compiled = Compiled.of(Graph(nodes=(check("a"),), output_node="a"), KINDS)
    judged = compiled.evaluate(given_evidence)
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
    compiled = Compiled.of(Graph(nodes=(check("a", "mine"),), output_node="a"), kinds)
    judged = compiled.evaluate(evidence("x"))
    assert isinstance(judged, Failed)
    assert judged.reason == reason
    assert "secret" not in judged.message


def test_a_graph_is_kept_across_openings_and_never_replaced(tmp_path):
    path = tmp_path / "deep" / "graphs.sqlite3"
    store = GraphStore(path)
    assert store.put("a", {"n": 1}) == {"n": 1}
    assert store.put("a", {"n": 2}) == {"n": 1}
    store.close()
    store = GraphStore(path)
    assert store.get("a") == {"n": 1}
    assert store.get("b") is None
    assert store.page(after="", count=5) == [("a", {"n": 1})]
    assert store.page(after="a", count=5) == []
    store.close()


PATTERN = Graph(nodes=(check("a", "regex", pattern="^(a|aa)+$"),), output_node="a")


async def test_a_guarded_graph_judges_as_an_open_one_does():
    runner = GuardedRunner()
    items = [evidence("aaa"), evidence("b"), Evidence(output=b"\xff"), Evidence()]
    try:
        guarded = await runner.evaluate(PATTERN, items)
    finally:
        await runner.close()
    compiled = Compiled.of(PATTERN, KINDS)
    assert guarded == [compiled.evaluate(item) for item in items]


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
    assert isinstance(first, Judgement) or first.retryable
    assert isinstance(second, Judgement)


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
    assert {item.reason for item in lost if isinstance(item, Failed)} == {"CHECK_PROCESS_DIED"}
    assert all(isinstance(item, Failed) and item.retryable for item in lost)


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
    assert isinstance(judged, Judgement)
    assert judged.outcome == 1.0


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
