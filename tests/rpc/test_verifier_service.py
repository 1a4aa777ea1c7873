"""The verifier through a real channel."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
)
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_verifier.app import VerifierApp

SECONDS = 60.0


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[verifier_v1.VerifierServiceStub]:
    app = VerifierApp(ServiceSettings(service="verifier", state_dir=folder))
    async with running(app) as channel:
        yield verifier_v1.VerifierServiceStub(channel)


def check(name: str, *, node_id: str = "check", **settings: Any) -> verifier_v1.VerifierNode:
    node = verifier_v1.VerifierNode(node_id=node_id, builtin=verifier_v1.BuiltinCheck(check=name))
    node.builtin.settings.update(settings)
    return node


def graph(*nodes: verifier_v1.VerifierNode, name: str = "", output: str = "check"):
    return verifier_v1.CreateVerifierGraphRequest(
        verifier_graph=verifier_v1.VerifierGraph(name=name, nodes=nodes, output_node=output)
    )


def rollout(name: str, *, reward: float | None = None, output: Any = None, wanted: Any = None):
    return types_v1.RolloutResult(
        rollout_id=name,
        environment_reward=reward,
        output=b"" if output is None else json.dumps(output).encode(),
        reference=b"" if wanted is None else json.dumps(wanted).encode(),
    )


async def score(stub, *rollouts, graph_name: str = "", **weights: float):
    request = verifier_v1.ScoreRolloutsRequest(
        verifier_graph=graph_name,
        rollouts=rollouts,
        weights=types_v1.RewardWeights(**weights),
    )
    async with rpc.translated():
        response = await stub.ScoreRollouts(request, timeout=SECONDS)
    return response.scored_rollouts


async def created(stub, request) -> verifier_v1.VerifierGraph:
    async with rpc.translated():
        response = await stub.CreateVerifierGraph(request, timeout=SECONDS)
    graph: verifier_v1.VerifierGraph = response.verifier_graph
    return graph


async def test_without_a_graph_the_apps_own_reward_counts(tmp_path):
    async with served(tmp_path) as stub:
        scored = await score(stub, rollout("a", reward=0.25), rollout("b", reward=0.0))
    assert [item.rollout_id for item in scored] == ["a", "b"]
    assert [item.reward.fused for item in scored] == [0.25, 0.0]
    assert scored[1].WhichOneof("outcome") == "reward"


async def test_reward_and_check_are_fused_by_their_weights(tmp_path):
    async with served(tmp_path) as stub:
        made = await created(stub, graph(check("exact_match", field="label")))
        (scored,) = await score(
            stub,
            rollout("a", reward=0.5, output={"label": "x"}, wanted="x"),
            graph_name=made.name,
            environment=1.0,
            outcome=3.0,
        )
    assert scored.reward.fused == pytest.approx(0.875)
    assert (scored.reward.environment, scored.reward.outcome) == (0.5, 1.0)
    assert dict(scored.reward.criteria) == {"check": 1.0}
    assert not scored.reward.HasField("event")


async def test_one_bad_rollout_fails_only_itself(tmp_path):
    failed = rollout("d")
    failed.failure.CopyFrom(
        types_v1.Failure(reason="TASK_APP_TIMEOUT", message="slow", retryable=True)
    )
    broken = rollout("c", wanted="x")
    broken.output = b"{not json"
    async with served(tmp_path) as stub:
        made = await created(stub, graph(check("normalized_match")))
        scored = await score(
            stub,
            rollout("a", output="X!", wanted="x"),
            rollout("b", output="x"),
            broken,
            failed,
            rollout("e", output="y", wanted="x"),
            graph_name=made.name,
        )
    assert [item.WhichOneof("outcome") for item in scored] == [
        "reward",
        "failure",
        "failure",
        "failure",
        "reward",
    ]
    assert [item.failure.reason for item in scored[1:4]] == [
        "REFERENCE_MISSING",
        "OUTPUT_INVALID",
        "TASK_APP_TIMEOUT",
    ]
    assert scored[3].failure.retryable
    assert scored[4].reward.fused == 0.0
    assert scored[4].reward.feedback == "check: wanted `x`, got `y`"


async def test_an_answer_cut_off_in_a_character_is_scored_and_told_of(tmp_path):
    cut = rollout("a", wanted="x")
    cut.output = b'"x \\ud83d"'
    async with served(tmp_path) as stub:
        made = await created(stub, graph(check("exact_match")))
        scored = await score(stub, cut, rollout("b", output="x", wanted="x"), graph_name=made.name)
    assert [item.reward.fused for item in scored] == [0.0, 1.0]
    assert scored[0].reward.feedback == "check: wanted `x`, got `x \\ud83d`"


async def test_a_wanted_part_that_is_missing_is_a_failure_and_never_0(tmp_path):
    async with served(tmp_path) as stub:
        by_event = await score(stub, rollout("a", reward=1.0), environment=1.0, event=1.0)
        nothing = await score(stub, rollout("a"))
    assert by_event[0].failure.reason == nothing[0].failure.reason == "REWARD_PART_MISSING"
    assert "event" in by_event[0].failure.message


async def test_a_graph_outlives_the_service_and_is_created_once(tmp_path):
    async with served(tmp_path) as stub:
        first = await created(stub, graph(check("exact_match")))
    async with served(tmp_path) as stub:
        again = await created(stub, graph(check("exact_match")))
        async with rpc.translated():
            kept = await stub.GetVerifierGraph(
                verifier_v1.GetVerifierGraphRequest(name=first.name), timeout=SECONDS
            )
    assert again == first == kept.verifier_graph
    assert first.name.startswith("verifierGraphs/")
    assert first.name.endswith("/versions/1")


async def test_a_changed_graph_is_the_next_version_and_the_first_stays_what_it_was(tmp_path):
    name = "verifierGraphs/mine"
    async with served(tmp_path) as stub:
        first = await created(stub, graph(check("exact_match"), name=name))
        same = await created(stub, graph(check("exact_match"), name=name))
        second = await created(stub, graph(check("f1"), name=name))
    assert first == same
    assert [first.name, second.name] == [f"{name}/versions/1", f"{name}/versions/2"]
    half = rollout("a", output="red car", wanted="car")
    async with served(tmp_path) as stub:
        (by_first,) = await score(stub, half, graph_name=first.name)
        (by_second,) = await score(stub, half, graph_name=second.name)
        (by_latest,) = await score(stub, half, graph_name=name)
        again = await created(stub, graph(check("exact_match"), name=name))
        (by_third,) = await score(stub, half, graph_name=name)
        async with rpc.translated():
            listed = await stub.ListVerifierGraphs(
                verifier_v1.ListVerifierGraphsRequest(verifier_graph=name), timeout=SECONDS
            )
    assert by_first.reward.fused == by_third.reward.fused == 0.0
    assert by_second.reward.fused == by_latest.reward.fused == pytest.approx(2 / 3)
    assert again.version == 3
    assert [each.version for each in listed.verifier_graphs] == [1, 2, 3]


async def test_a_version_is_found_again_and_never_another_graph(tmp_path):
    async with served(tmp_path) as stub:
        first = await created(stub, graph(check("exact_match"), name="verifierGraphs/mine"))
        assert await created(stub, graph(check("exact_match"), name=first.name)) == first
        with pytest.raises(AlreadyExists, match="verifierGraphs/mine/versions/1"):
            await created(stub, graph(check("f1"), name=first.name))
        with pytest.raises(NotFound):
            await created(stub, graph(check("f1"), name="verifierGraphs/mine/versions/2"))


async def test_a_graph_that_is_only_checked_is_not_stored(tmp_path):
    request = graph(check("exact_match"), name="verifierGraphs/mine")
    request.validate_only = True
    broken = graph(check("nope"), output="x")
    broken.validate_only = True
    async with served(tmp_path) as stub:
        checked = await created(stub, request)
        with pytest.raises(InvalidArgument, match="`output_node`") as caught:
            await created(stub, broken)
        with pytest.raises(NotFound):
            await score(stub, rollout("a", output="x"), graph_name="verifierGraphs/mine")
    assert (checked.name, checked.version) == ("", 0)
    assert "`nope` is not known" in caught.value.message
    assert checked.nodes[0].builtin.check == "exact_match"


async def test_every_fault_of_a_graph_is_named_at_once(tmp_path):
    lonely = verifier_v1.VerifierNode(
        node_id="mean", weighted_mean=verifier_v1.WeightedMean(weights={"ghost": -1})
    )
    request = graph(check("exact_match", feild="a", strip="yes"), check("nope"), lonely, output="x")
    async with served(tmp_path) as stub:
        with pytest.raises(InvalidArgument) as caught:
            await created(stub, request)
    for words in (
        "`check` is used twice",
        "`output_node` is 'x'",
        "did you mean `field`",
        "`strip` is str; give true or false",
        "check `nope` is not known",
        "needs inputs",
        "`ghost`",
        "-1",
    ):
        assert words in caught.value.message


async def test_graphs_are_listed_page_by_page(tmp_path):
    async with served(tmp_path) as stub:
        for name in "cab":
            await created(stub, graph(check("f1"), name=f"verifierGraphs/{name}"))
        names, token = [], ""
        while True:
            async with rpc.translated():
                page = await stub.ListVerifierGraphs(
                    verifier_v1.ListVerifierGraphsRequest(page_size=2, page_token=token),
                    timeout=SECONDS,
                )
            names.append([made.name for made in page.verifier_graphs if not made.shipped])
            token = page.next_page_token
            if not token:
                break
        with pytest.raises(InvalidArgument, match="page_size"):
            async with rpc.translated():
                await stub.ListVerifierGraphs(
                    verifier_v1.ListVerifierGraphsRequest(page_size=-1), timeout=SECONDS
                )
    listed = [name for page in names for name in page]
    assert listed == [f"verifierGraphs/{name}/versions/1" for name in "abc"]
    assert all(len(page) <= 2 for page in names)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (NotFound, {"graph_name": "verifierGraphs/none"}),
        (InvalidArgument, {"graph_name": "graphs/none"}),
        (InvalidArgument, {"environment": -1.0}),
        (InvalidArgument, {"environment": float("nan")}),
    ],
)
async def test_a_request_that_cannot_be_scored_is_refused(tmp_path, kind, call):
    async with served(tmp_path) as stub:
        with pytest.raises(kind):
            await score(stub, rollout("a", reward=1.0), **call)


async def test_at_most_256_rollouts_are_taken(tmp_path):
    async with served(tmp_path) as stub:
        assert len(await score(stub, *[rollout("a", reward=1.0)] * 256)) == 256
        with pytest.raises(InvalidArgument, match="257"):
            await score(stub, *[rollout("a", reward=1.0)] * 257)


async def test_a_pattern_that_never_ends_fails_its_rollout_and_not_the_service(tmp_path):
    async with served(tmp_path) as stub:
        made = await created(stub, graph(check("regex", pattern="^(a|aa)+$")))
        slow, other = await asyncio.gather(
            score(
                stub,
                rollout("a", output="a" * 60 + "!"),
                rollout("b", output="aaa"),
                graph_name=made.name,
            ),
            score(stub, rollout("c", reward=0.5)),
        )
    assert slow[0].failure.reason == "CHECK_TIMEOUT"
    assert not slow[0].failure.retryable
    assert slow[1].reward.fused == 1.0
    assert other[0].reward.fused == 0.5


async def test_a_schema_scores_what_a_model_wrote(tmp_path):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    async with served(tmp_path) as stub:
        made = await created(stub, graph(check("json_schema", schema=schema)))
        scored = await score(
            stub,
            rollout("a", output='{"n": 3}'),
            rollout("b", output={"n": "x"}),
            graph_name=made.name,
        )
    assert [item.reward.fused for item in scored] == [1.0, 0.0]
    assert "$.n" in scored[1].reward.feedback


async def test_a_mean_weighs_its_checks(tmp_path):
    mean = verifier_v1.VerifierNode(
        node_id="mean",
        inputs=["exact", "overlap"],
        weighted_mean=verifier_v1.WeightedMean(weights={"exact": 3}),
    )
    request = graph(
        check("exact_match", node_id="exact"), check("f1", node_id="overlap"), mean, output="mean"
    )
    async with served(tmp_path) as stub:
        made = await created(stub, request)
        (scored,) = await score(
            stub, rollout("a", output="red car", wanted="car"), graph_name=made.name
        )
    assert scored.reward.outcome == pytest.approx((0 * 3 + 2 / 3) / 4)
    assert scored.reward.criteria["overlap"] == pytest.approx(2 / 3)
