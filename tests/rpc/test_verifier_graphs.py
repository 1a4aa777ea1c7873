"""Graphs of every kind of node through a real channel: registered, evaluated, node by node."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from burnish import rpc
from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import AlreadyExists, InvalidArgument
from burnish_runtime.settings import Secret, ServiceSettings, SettingsInvalid
from burnish_runtime.testing import running
from burnish_verifier.app import VerifierApp
from burnish_verifier.settings import VerifierSettings

SECONDS = 60.0
TRACE = {
    "schema_version": "3.0",
    "event_history": [{"llm_response": {"message": {"role": "assistant", "content": "bye"}}}],
}
CODE = """
def score(rollout):
    inputs = rollout["inputs"]
    return {"score": inputs["near"]["score"], "reason": "as near", "criteria": {"near": 1}}
"""


@asynccontextmanager
async def served(
    folder: Path, *, controller: str = "", **own: Any
) -> AsyncIterator[verifier_v1.VerifierServiceStub]:
    settings = ServiceSettings(
        service="verifier", state_dir=folder, controller_target=controller,
        auth_token=Secret("test-token"),
    )  # fmt: skip
    async with running(VerifierApp(settings, own=VerifierSettings(**own))) as channel:
        yield verifier_v1.VerifierServiceStub(channel)


async def created(
    stub: verifier_v1.VerifierServiceStub, graph: verifier_v1.VerifierGraph
) -> verifier_v1.VerifierGraph:
    request = verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph)
    async with rpc.translated():
        response = await stub.CreateVerifierGraph(request, timeout=SECONDS)
    made: verifier_v1.VerifierGraph = response.verifier_graph
    return made


async def scored(
    stub: verifier_v1.VerifierServiceStub, graph: str, *, nodes: bool = True, **more: Any
) -> verifier_v1.ScoredRollout:
    rollout = types_v1.RolloutResult(
        rollout_id="r", output=b'{"answer": "red car"}', reference=b'"red car"'
    )
    request = verifier_v1.ScoreRolloutsRequest(
        verifier_graph=graph, rollouts=[rollout], include_node_results=nodes, **more
    )
    async with rpc.translated():
        response = await stub.ScoreRollouts(request, timeout=SECONDS)
    (found,) = response.scored_rollouts
    one: verifier_v1.ScoredRollout = found
    return one


def node(node_id: str, *inputs: str, **kind: Any) -> verifier_v1.VerifierNode:
    return verifier_v1.VerifierNode(node_id=node_id, inputs=inputs, **kind)


def check(node_id: str, name: str, scope: Any = None, **settings: Any) -> verifier_v1.VerifierNode:
    step = verifier_v1.BuiltinCheck(check=name)
    step.settings.update(settings)
    return verifier_v1.VerifierNode(node_id=node_id, scope=scope, builtin=step)


def everything() -> verifier_v1.VerifierGraph:
    """Every kind of node whose evaluation needs nothing else."""
    embedding = verifier_v1.Similarity(method=verifier_v1.SIMILARITY_METHOD_EMBEDDING, floor=0.125)
    return verifier_v1.VerifierGraph(
        description="all of them",
        nodes=[
            check("exact", "exact_match"),
            check("pattern", "regex", pattern="^red"),
            node("near", similarity=embedding),
            node("own", "near", python=verifier_v1.PythonCode(source=CODE)),
            node("least", "exact", "near", minimum=verifier_v1.Minimum()),
            node("most", "exact", "pattern", "own", majority=verifier_v1.Majority()),
            node("mean", "least", "most", weighted_mean=verifier_v1.WeightedMean()),
            node("out", "mean", "exact", gate=verifier_v1.Gate(gates=["exact"])),
        ],
        output_node="out",
    )


async def test_a_graph_of_many_kinds_gives_every_nodes_score_and_reason(tmp_path):
    async with served(tmp_path) as stub:
        graph = await created(stub, everything())
        found = await scored(stub, graph.name)
        bare = await scored(stub, graph.name, nodes=False)
    assert found.reward.outcome == pytest.approx(1.0)
    results = {each.node_id: each for each in found.node_results}
    assert set(results) == {each.node_id for each in graph.nodes}
    assert all(each.score == pytest.approx(1.0) for each in results.values())
    assert results["own"].reason == "as near"
    assert [each.criterion_id for each in results["own"].criteria] == ["near"]
    assert found.reward.criteria["own.near"] == 1.0
    assert not bare.node_results
    assert bare.reward == found.reward


async def test_a_graph_is_answered_as_it_was_given(tmp_path):
    judge = verifier_v1.RubricJudge(
        rubric=verifier_v1.Rubric(
            version="2",
            goal="Be right.",
            criteria=[
                verifier_v1.Criterion(criterion_id="a", description="d", weight=2, required=True)
            ],
            event_criteria=[verifier_v1.Criterion(criterion_id="b", description="e", weight=1)],
            aggregation=verifier_v1.AGGREGATION_SUM,
        ),
        model=types_v1.ModelSpec(
            provider="openai_compatible",
            model="m",
            temperature=0.0,
            max_output_tokens=99,
            base_url="http://127.0.0.1:1/v1",
            price=types_v1.Price(
                input_usd_per_million=1,
                output_usd_per_million=2,
                cached_input_usd_per_million=0,
            ),
        ),
        votes=3,
        mode=verifier_v1.JUDGE_MODE_FEW_SHOT,
        token_budget=50_000,
        part_tokens=900,
        calibration_examples=[
            verifier_v1.CalibrationExample(
                session_trace=json.dumps(TRACE).encode(), event_rewards=[1.0], outcome_reward=0.5
            )
        ],
        instructions="Be strict.",
        seed=0,
    )
    remote = verifier_v1.RemoteNode(target="127.0.0.1:1", attempt_count=2)
    remote.timeout.FromMilliseconds(1500)
    remote.settings.update({"words": 3, "deep": {"list": [1, None, "x"]}})
    graph = everything()
    graph.nodes.append(
        verifier_v1.VerifierNode(
            node_id="judge", scope=verifier_v1.NODE_SCOPE_TRANSCRIPT, rubric=judge
        )
    )
    graph.nodes.append(node("far", remote=remote))
    graph.nodes.append(node("all", "out", "judge", "far", minimum=verifier_v1.Minimum()))
    graph.output_node, graph.event_node = "all", "judge"
    async with served(tmp_path, remote_nodes=frozenset({"127.0.0.1:1"})) as stub:
        made = await created(stub, graph)
        again = await created(stub, made)
    kept = {each.node_id: each for each in made.nodes}
    assert kept["judge"].rubric == judge
    assert kept["far"].remote == remote
    assert (made.output_node, made.event_node, made.description) == ("all", "judge", "all of them")
    assert (made.version, made.shipped, made.HasField("create_time")) == (1, False, True)
    assert again == made


@asynccontextmanager
async def controller(traces: dict[str, bytes]) -> AsyncIterator[str]:
    """A controller that keeps traces, and nothing else."""

    class Traces(trace_v1.TraceServiceServicer):
        async def WriteTraces(self, request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

        async def ListTraces(self, request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

        async def GetSessionTrace(self, request: Any, context: Any) -> Any:
            assert request.view == trace_v1.TRACE_VIEW_APP
            if request.rollout_id not in traces:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such rollout")
            return trace_v1.GetSessionTraceResponse(session_trace=traces[request.rollout_id])

    server = aio.server()
    trace_v1.add_TraceServiceServicer_to_server(Traces(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def final_graph() -> verifier_v1.VerifierGraph:
    says_bye = check("bye", "contains", verifier_v1.NODE_SCOPE_FINAL, expected="bye")
    return verifier_v1.VerifierGraph(nodes=[says_bye], output_node="bye")


async def test_a_trace_comes_with_the_request_or_from_the_controller(tmp_path):
    data = json.dumps(TRACE).encode()
    silent = json.dumps({**TRACE, "event_history": []}).encode()
    async with (
        controller({"r": data}) as target,
        served(tmp_path / "a", controller=target) as stub,
        served(tmp_path / "b") as alone,
    ):
        graph = (await created(stub, final_graph())).name
        kept = await scored(stub, graph)
        given = await scored(stub, graph, session_traces={"r": silent})
        await created(alone, final_graph())
        nowhere = await scored(alone, graph)
        inline = await scored(alone, graph, session_traces={"r": data})
    assert kept.reward.fused == inline.reward.fused == 1.0
    assert given.failure.reason == "OUTPUT_MISSING"
    assert nowhere.failure.reason == "TRACE_MISSING"


async def test_a_rollout_that_the_controller_does_not_know_is_unscored(tmp_path):
    async with controller({}) as target, served(tmp_path, controller=target) as stub:
        graph = (await created(stub, final_graph())).name
        found = await scored(stub, graph)
    assert found.failure.reason == "TRACE_MISSING"
    assert not found.failure.retryable


async def test_a_controller_that_is_away_is_a_failure_to_retry(tmp_path):
    async with served(tmp_path, controller="127.0.0.1:1") as stub:
        graph = (await created(stub, final_graph())).name
        found = await scored(stub, graph)
    assert found.WhichOneof("outcome") == "failure"
    assert found.failure.retryable


class Node(verifier_v1.VerifierNodeServiceServicer):
    """A remote node that answers what it is told."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.seen: list[Any] = []
        self.metadata: list[dict[str, str]] = []

    async def EvaluateNode(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        return verifier_v1.EvaluateNodeResponse(**self.answer)


@asynccontextmanager
async def remote(servicer: Node) -> AsyncIterator[str]:
    server = aio.server()
    verifier_v1.add_VerifierNodeServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_a_remote_node_is_given_what_it_reads_and_never_the_suites_token(tmp_path):
    servicer = Node(
        reward=types_v1.Reward(fused=0.5, event=0.25, criteria={"a": 1}, feedback="so so"),
        usage=types_v1.Usage(call_count=2, cost_usd=0.5),
    )
    async with (
        remote(servicer) as target,
        served(
            tmp_path, remote_nodes=frozenset({target}), remote_token=Secret("node-token")
        ) as stub,
    ):
        far = verifier_v1.VerifierNode(
            node_id="far",
            inputs=["exact"],
            scope=verifier_v1.NODE_SCOPE_TRANSCRIPT,
            remote=verifier_v1.RemoteNode(target=target),
        )
        graph = await created(
            stub,
            verifier_v1.VerifierGraph(
                nodes=[check("exact", "exact_match"), far], output_node="far", event_node="far"
            ),
        )
        found = await scored(
            stub,
            graph.name,
            session_traces={"r": b'{"a": 1}'},
            weights=types_v1.RewardWeights(event=1, outcome=3),
        )
    (request,), (metadata,) = servicer.seen, servicer.metadata
    assert request.session_trace == b'{"a": 1}'
    assert (request.trace, request.verifier_graph) == ("r", graph.name)
    assert request.inputs["exact"].fused == 1.0
    assert request.node.node_id == "far"
    assert metadata["authorization"] == "Bearer node-token"
    assert "test-token" not in repr(metadata)
    assert found.reward.fused == pytest.approx(0.25 / 4 + 0.5 * 3 / 4)
    assert found.reward.criteria["far.a"] == 1.0
    assert (found.usage.call_count, found.usage.cost_usd) == (2, 0.5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "REMOTE_NODE_INVALID"),
        ({"reward": types_v1.Reward(fused=1.5)}, "NODE_SCORE_INVALID"),
        ({"failure": types_v1.Failure(reason="TOO_HARD", message="m")}, "TOO_HARD"),
        ({"failure": types_v1.Failure()}, "REMOTE_NODE_FAILED"),
    ],
)
async def test_a_remote_node_without_a_score_leaves_the_rollout_unscored(tmp_path, answer, reason):
    servicer = Node(**answer)
    async with (
        remote(servicer) as target,
        served(tmp_path, remote_nodes=frozenset({target})) as stub,
    ):
        far = node("far", remote=verifier_v1.RemoteNode(target=target))
        graph = await created(stub, verifier_v1.VerifierGraph(nodes=[far], output_node="far"))
        found = await scored(stub, graph.name)
    assert found.failure.reason == reason
    assert found.node_results[0].failure.reason == reason
    assert servicer.metadata
    assert "authorization" not in servicer.metadata[0]


async def test_graphs_that_come_with_burnish_are_listed_and_cannot_be_replaced(tmp_path):
    async with served(tmp_path) as stub:
        async with rpc.translated():
            page = await stub.ListVerifierGraphs(
                verifier_v1.ListVerifierGraphsRequest(page_size=100), timeout=SECONDS
            )
        shipped = [each for each in page.verifier_graphs if each.shipped]
        mine = everything()
        mine.name = shipped[0].name.partition("/versions/")[0]
        with pytest.raises(AlreadyExists, match="comes with Burnish"):
            await created(stub, mine)
    assert "verifierGraphs/zero_shot_verifier/versions/1" in {each.name for each in shipped}


async def test_code_is_refused_where_the_operator_turned_it_off(tmp_path):
    async with served(tmp_path, sandbox="off") as stub:
        with pytest.raises(InvalidArgument, match="this verifier runs no code"):
            await created(stub, everything())


@pytest.mark.parametrize(
    "options",
    [
        verifier_v1.JudgeOptions(max_concurrency=257),
        verifier_v1.JudgeOptions(rubric_source=b"{"),
        verifier_v1.JudgeOptions(rubric_source=b"{}", rubric=verifier_v1.Rubric(goal="g")),
        verifier_v1.JudgeOptions(rubric_source=b'{"criteria": [{"weight": -1}]}'),
    ],
)
async def test_judge_options_that_are_none_are_refused(tmp_path, options):
    async with served(tmp_path) as stub:
        graph = await created(stub, everything())
        with pytest.raises(InvalidArgument):
            await scored(stub, graph.name, judge_options=options)
        with pytest.raises(InvalidArgument, match="repeat"):
            await scored(stub, graph.name, repeat=-1)


def test_the_environment_is_read_and_every_fault_of_it_named(tmp_path):
    (token := tmp_path / "token").write_text("secret\n")
    found = VerifierSettings.from_environment(
        {
            "BURNISH_VERIFIER_REMOTE_NODES": "a:1, b:2,",
            "BURNISH_VERIFIER_REMOTE_TOKEN_FILE": str(token),
            "BURNISH_VERIFIER_SANDBOX": "LIMITS",
            "BURNISH_VERIFIER_SANDBOX_PROCESSES": "4",
        }
    )
    assert found == VerifierSettings(
        remote_nodes=frozenset({"a:1", "b:2"}),
        remote_token=Secret("secret"),
        sandbox="limits",
        sandbox_processes=4,
    )
    assert "secret" not in repr(found)
    assert VerifierSettings.from_environment({}) == VerifierSettings()
    with pytest.raises(SettingsInvalid) as caught:
        VerifierSettings.from_environment(
            {
                "BURNISH_VERIFIER_SANDBOX": "maybe",
                "BURNISH_VERIFIER_SANDBOX_PROCESSES": "0",
                "BURNISH_VERIFIER_REMOTE_TOKEN": "a",
                "BURNISH_VERIFIER_REMOTE_TOKEN_FILE": "b",
            }
        )
    for name in ("SANDBOX`", "SANDBOX_PROCESSES`", "REMOTE_TOKEN`"):
        assert name in caught.value.message
