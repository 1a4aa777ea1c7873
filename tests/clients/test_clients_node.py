"""The openai package for Node against a running interceptor: its newest two major versions."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from burnish.api.types.v1 import rollout_pb2
from burnish_interceptor.testing import BASELINE
from tests.clients.world import ANSWER, CANARY, KEY, MESSAGES, QUERY, TOOL, World, failing, world
from tests.node import packages

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).parent / "node"
FILES = ("package.json", "package-lock.json", "calls.mjs")
GIVEN = {"messages": MESSAGES, "instructions": BASELINE, "input": QUERY, "tool": TOOL}

pytestmark = pytest.mark.node
each_package = pytest.mark.parametrize("package", ["openai", "openai-6"])


@pytest.fixture(scope="module")
def folder() -> Path:
    """The packages; they are fetched once."""
    return packages(SOURCE, name="openai", files=FILES)


async def run(
    folder: Path, package: str, running: World, what: str, *, variable: bool = False
) -> Any:
    base = () if variable else (running.base,)
    environ = {"OPENAI_BASE_URL": running.base} if variable else {}
    process = await asyncio.create_subprocess_exec(
        *("node", "calls.mjs", package, what, *base),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": KEY, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        given = json.dumps(GIVEN).encode()
        out, err = await asyncio.wait_for(process.communicate(given), 120)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.mark.parametrize("variable", [False, True])
@each_package
async def test_every_kind_of_call(folder, package, variable):
    async with world() as running:
        assert await run(folder, package, running, "all", variable=variable) == {
            "whole": ANSWER,
            "tokens": 14,
            "streamed": ANSWER,
            "called": '{"intent":"card_arrival"}',
            "formed": {"intent": ANSWER},
            "answered": ANSWER,
            "final": ANSWER,
            "instructions": [BASELINE, BASELINE],
            "embedded": [[0.25, -0.5]] * 2,
            "models": ["gpt-x"],
            "retrieved": "gpt-x",
        }
        running.check_swapped(calls=6)


@each_package
@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [(400, "BadRequestError", 1), (429, "RateLimitError", 3), (503, "InternalServerError", 3)],
)
async def test_an_error_is_the_packages_own_and_is_tried_again_as_it_says(
    folder, package, status, kind, calls
):
    async with world(failing(status, {"retry-after-ms": "1"})) as running:
        told = await run(folder, package, running, "failing")
        assert (told["kind"], told["status"]) == (kind, status)
        assert told["code"] == f"upstream_{status}"
        assert CANARY not in told["message"]
        assert running.tap.call_count == calls


@each_package
async def test_a_refused_call_is_not_tried_again(folder, package):
    async with world() as running:
        running.suite.controller.refusal = rollout_pb2.Failure(reason="JOB_NOT_RUNNING")
        told = await run(folder, package, running, "failing")
        assert (told["kind"], told["code"]) == ("ConflictError", "job_not_running")
        assert (running.tap.call_count, running.sent) == (1, [])
