"""The openai client for Node, unmodified, against a running interceptor."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, replies

ROOT = Path(__file__).resolve().parents[2]
CALLS = Path(__file__).parent / "openai-node"
INSTALLED = ROOT / ".venv-node" / "openai"

pytestmark = [pytest.mark.node, pytest.mark.slow]


@pytest.fixture(scope="session")
def calls() -> Path:
    """The script with its package, which is fetched once."""
    needed = bool(os.environ.get("BURNISH_REQUIRE_TOOLS"))
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        assert not needed, "Node is required"
        pytest.skip("Node is not installed")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "calls.mjs"):
        shutil.copy(CALLS / name, INSTALLED / name)
    digest = hashlib.sha256((CALLS / "package-lock.json").read_bytes()).hexdigest()
    marker = INSTALLED / "installed"
    if not marker.exists() or marker.read_text() != digest:
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=INSTALLED, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            assert not needed, done.stderr
            pytest.skip("the client cannot be fetched")
        marker.write_text(digest)
    return INSTALLED / "calls.mjs"


async def test_the_node_client_understands_every_answer(calls):
    async with testing.suite(replies.usual, instruction="Name it.") as running:
        process = await asyncio.create_subprocess_exec(
            "node", str(calls), running.url(), BASELINE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        said = {line["kind"]: line for line in map(json.loads, out.splitlines())}
        assert said["chat"] == {"kind": "chat", "text": "card_arrival", "used": 11}
        assert said["chat stream"] == {"kind": "chat stream", "text": "card_arrival", "used": 11}
        assert said["chat tools"]["text"] == '{"intent":"card_arrival"}'
        assert said["responses"]["text"] == "card_arrival"
        assert said["responses"]["instructions"] == BASELINE
        assert said["responses stream"]["text"] == "card_arrival"
        assert said["responses stream"]["last"] == "response.completed"
        assert said["refused"]["status"] == 400
        assert "previous_response_id" in said["refused"]["text"]
        assert said["refused"]["id"].startswith("req_")
        for body in running.provider.bodies:
            assert "Name it." in (body.get("instructions"), *(
                one["content"] for one in body.get("messages", [])
            ))  # fmt: skip
