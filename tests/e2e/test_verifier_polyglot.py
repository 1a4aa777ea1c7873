"""A graph of which one node is served in Node and one in Java, by a verifier in its own process."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument
from tests.node import packages

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "examples" / "verifier_nodes"
SECONDS = 60.0
TOKEN = "test-token"


@asynccontextmanager
async def process(
    command: Sequence[str | Path], *, environment: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """A process that prints its address, ended with the context."""
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            line = await child.stdout.readline()
        assert line, f"{command[0]} ended at once"
        yield line.decode().strip()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@asynccontextmanager
async def verifier(
    folder: Path, *, targets: Sequence[str]
) -> AsyncIterator[verifier_v1.VerifierServiceStub]:
    ready = folder / f"{uuid.uuid4().hex}.json"
    environment = {
        **os.environ,
        "BURNISH_AUTH_TOKEN": TOKEN,
        "BURNISH_STATE_DIR": str(folder),
        "BURNISH_READY_FILE": str(ready),
        "BURNISH_VERIFIER_REMOTE_NODES": ",".join(targets),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish_verifier", env=environment
    )
    try:
        async with asyncio.timeout(SECONDS):
            while not ready.exists():
                assert child.returncode is None, "the verifier ended at once"
                await asyncio.sleep(0.02)
        channel = rpc.connect(json.loads(ready.read_text())["grpc"], token=TOKEN)
        try:
            yield verifier_v1.VerifierServiceStub(channel)
        finally:
            await channel.close()
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node in Java, compiled with stubs that are generated here."""
    needed = bool(os.environ.get("BURNISH_REQUIRE_TOOLS"))
    folder = tmp_path_factory.mktemp("java") / "node"
    missing = [tool for tool in ("java", "javac", "protoc") if shutil.which(tool) is None]
    if not any(map(shutil.which, ("grpc_java_plugin", "protoc-gen-grpc-java"))):
        missing.append("grpc_java_plugin")
    if missing:
        assert not needed, missing
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run(
        [NODES / "java" / "build.sh", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "package io.grpc does not exist" in done.stderr + done.stdout:
        assert not needed, done.stderr
        pytest.skip("the libraries of gRPC for Java are not installed")
    assert done.returncode == 0, done.stderr
    return folder / "run.sh"


@pytest.fixture(scope="module")
def node() -> list[str | Path]:
    """The command of the node in Node."""
    files = ("brevity.mjs", "package.json", "package-lock.json")
    folder = packages(NODES / "node", name="verifier-node", files=files)
    return ["node", folder / "brevity.mjs", "0", str(ROOT / "protos")]


def check(node_id: str) -> verifier_v1.VerifierNode:
    step = verifier_v1.BuiltinCheck(check="contains")
    step.settings.update({"field": "text", "expected": "refund"})
    return verifier_v1.VerifierNode(node_id=node_id, builtin=step)


def remote(
    node_id: str, target: str, *inputs: str, timeout: int = 20, tries: int = 3, **settings: Any
) -> verifier_v1.VerifierNode:
    step = verifier_v1.RemoteNode(target=target, attempt_count=tries)
    step.timeout.FromSeconds(timeout)
    step.settings.update(settings)
    return verifier_v1.VerifierNode(node_id=node_id, inputs=inputs, remote=step)


def mean(*inputs: str) -> verifier_v1.VerifierNode:
    return verifier_v1.VerifierNode(
        node_id="out", inputs=inputs, weighted_mean=verifier_v1.WeightedMean(weights={"polite": 2})
    )


async def registered(
    stub: verifier_v1.VerifierServiceStub, *nodes: verifier_v1.VerifierNode
) -> str:
    graph = verifier_v1.VerifierGraph(nodes=nodes, output_node="out")
    async with rpc.translated():
        made = await stub.CreateVerifierGraph(
            verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph), timeout=SECONDS
        )
    name: str = made.verifier_graph.name
    return name


async def scored(
    stub: verifier_v1.VerifierServiceStub, graph: str, *texts: str | None
) -> Sequence[verifier_v1.ScoredRollout]:
    rollouts = [
        types_v1.RolloutResult(
            rollout_id=f"r{place}",
            output=b"" if text is None else json.dumps({"text": text}).encode(),
        )
        for place, text in enumerate(texts)
    ]
    request = verifier_v1.ScoreRolloutsRequest(
        verifier_graph=graph, rollouts=rollouts, include_node_results=True
    )
    async with rpc.translated():
        response = await stub.ScoreRollouts(request, timeout=SECONDS)
    found: Sequence[verifier_v1.ScoredRollout] = response.scored_rollouts
    return found


async def test_nodes_in_node_and_java_score_in_one_graph(tmp_path, node, java):
    async with (
        process(node) as in_node,
        process([java, "0"]) as in_java,
        verifier(tmp_path, targets=[in_node, in_java]) as stub,
    ):
        graph = await registered(
            stub,
            check("topic"),
            remote("brief", in_node, "topic", words=5),
            remote("polite", in_java, words=["please", "thank"]),
            mean("topic", "brief", "polite"),
        )
        whole, half, off, nothing = await scored(
            stub,
            graph,
            "please refund, thank you",
            "please refund me now or I will be very very sad",
            "thank you and please go",
            None,
        )
    # The node counts words of the JSON, where `{"text":` is one more than the text has.
    assert whole.reward.fused == pytest.approx((1 + 1 + 2 * 1) / 4)
    assert half.reward.fused == pytest.approx((1 + 5 / 12 + 2 * 0.5) / 4)
    assert off.reward.fused == pytest.approx((0 + 0 + 2 * 1) / 4)
    assert dict(half.reward.criteria) == pytest.approx(
        {"topic": 1, "brief.brief": 5 / 12, "polite.please": 1, "polite.thank": 0}
    )
    assert "polite: does not say thank" in half.reward.feedback
    assert {each.node_id for each in whole.node_results} == {"topic", "brief", "polite", "out"}
    assert nothing.WhichOneof("outcome") == "failure"


async def test_a_node_that_is_away_leaves_the_rollout_unscored(tmp_path, node):
    async with process(node) as in_node, verifier(tmp_path, targets=[in_node]) as stub:
        least = verifier_v1.VerifierNode(
            node_id="out", inputs=["brief"], minimum=verifier_v1.Minimum()
        )
        graph = await registered(stub, remote("brief", in_node, tries=2, timeout=5), least)
        (before,) = await scored(stub, graph, "short")
        with pytest.raises(InvalidArgument, match="BURNISH_VERIFIER_REMOTE_NODES"):
            await registered(stub, remote("brief", "127.0.0.1:1"), least)
    async with verifier(tmp_path, targets=[in_node]) as stub:
        (after,) = await scored(stub, graph, "short")
    assert before.reward.fused == 1.0
    assert after.failure.reason == "REMOTE_NODE_FAILED"
    assert after.failure.retryable
