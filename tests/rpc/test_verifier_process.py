"""The verifier as a process that is killed: its graphs stay, and nothing of it is left running."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1

SECONDS = 60.0
TOKEN = "test-token"


@asynccontextmanager
async def started(
    folder: Path, name: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, verifier_v1.VerifierServiceStub]]:
    ready = folder / f"{name}.json"
    environment = {
        **os.environ,
        "BURNISH_AUTH_TOKEN": TOKEN,
        "BURNISH_READY_FILE": str(ready),
        "BURNISH_STATE_DIR": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish_verifier", env=environment
    )
    try:
        async with asyncio.timeout(SECONDS):
            # A file can only be looked for; nothing tells when it appears.
            while not ready.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        target = json.loads(ready.read_text())["grpc"]
        async with rpc.connect(target, token=TOKEN) as channel:
            yield process, verifier_v1.VerifierServiceStub(channel)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def score(stub: verifier_v1.VerifierServiceStub, graph: str) -> float:
    async with rpc.translated():
        response = await stub.ScoreRollouts(
            verifier_v1.ScoreRolloutsRequest(
                verifier_graph=graph,
                rollouts=[types_v1.RolloutResult(rollout_id="a", output=b'"call 555"')],
            ),
            timeout=SECONDS,
        )
    return float(response.scored_rollouts[0].reward.fused)


async def test_a_killed_verifier_keeps_its_graphs_and_leaves_no_process_behind(tmp_path):
    check = verifier_v1.BuiltinCheck(check="regex")
    check.settings.update({"pattern": r"\d+"})
    graph = verifier_v1.VerifierGraph(
        nodes=[verifier_v1.VerifierNode(node_id="a", builtin=check)], output_node="a"
    )
    async with started(tmp_path, "first") as (process, stub):
        async with rpc.translated():
            created = await stub.CreateVerifierGraph(
                verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph), timeout=SECONDS
            )
        name = created.verifier_graph.name
        assert await score(stub, name) == 1.0
        guarded = _children(process.pid)
        assert guarded
        process.kill()
        await process.wait()
    async with asyncio.timeout(SECONDS):
        # It is no child of this process, so it can only be looked for.
        while any(_alive(pid) for pid in guarded):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    async with started(tmp_path, "second") as (_, stub):
        assert await score(stub, name) == 1.0


def _children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("this machine does not tell the children of a process")
    return path.read_text().split()


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
