"""LangChain and DSPy programs, unchanged, in an environment of their own against an interceptor."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.api.types.v1 import rollout_pb2
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, Script, completion
from tests.clients.world import (
    ANSWER,
    CANARY,
    INSTRUCTION,
    KEY,
    World,
    failing,
    prompt_of,
    world,
)

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
QUERY = "Where is my card?"
# DSPy and LiteLLM fetch price lists when nobody tells them not to.
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> Path:
    """Python of the environment that `scripts/client_env.sh` makes."""
    found = ROOT / ".venv-clients" / "bin" / "python"
    if not found.exists():
        assert not os.environ.get("BURNISH_REQUIRE_TOOLS"), "run scripts/client_env.sh"
        pytest.skip("the clients' environment is not made: scripts/client_env.sh")
    return found


async def run(python: Path, program: str, given: Any, **environ: str) -> Any:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(str(python), str(PROGRAMS / program)),
        env={**kept, **OFFLINE, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(json.dumps(given).encode()), 200)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def langchain(python: Path, running: World, what: str) -> Any:
    given = {"what": what, "system": BASELINE, "query": QUERY}
    variables = {"OPENAI_BASE_URL": running.base, "OPENAI_API_KEY": KEY}
    return await run(python, "langchain_calls.py", given, **variables)


async def test_every_kind_of_call_of_langchain(python):
    async with world() as running:
        assert await langchain(python, running, "all") == {
            "whole": ANSWER,
            "tokens": 14,
            "streamed": ANSWER,
            "async": ANSWER,
            "batch": [ANSWER, ANSWER],
            "called": {"intent": ANSWER},
            "formed": ANSWER,
            "responses": ANSWER,
            "embedded": 2,
        }
        running.check_swapped(calls=8)


@pytest.mark.parametrize(
    ("status", "kind", "calls"), [(400, "BadRequestError", 1), (429, "RateLimitError", 3)]
)
async def test_langchain_tells_an_error_in_openais_class(python, status, kind, calls):
    async with world(failing(status, {"retry-after-ms": "1"})) as running:
        told = await langchain(python, running, "failing")
        assert kind in told["kinds"]
        assert CANARY not in told["said"]
        assert running.tap.call_count == calls


async def test_a_refused_call_is_not_tried_again_by_langchain(python):
    async with world() as running:
        running.suite.controller.refusal = rollout_pb2.Failure(reason="JOB_NOT_RUNNING")
        assert "ConflictError" in (await langchain(python, running, "failing"))["kinds"]
        assert (running.tap.call_count, running.sent) == (1, [])


def dspy_reply(request: Any) -> Script:
    """Answers as the last message asks: in DSPy's fields, or as JSON."""
    messages = json.loads(request.body)["messages"]
    wanted = messages[-1]["content"]
    fields = {"reasoning": "It says so.", "intent": ANSWER}
    if "[[ ## reasoning ## ]]" not in wanted:
        del fields["reasoning"]
    if "JSON object" in wanted:
        return Script(body=completion(json.dumps(fields)))
    parts = [f"[[ ## {name} ## ]]\n{text}\n\n" for name, text in fields.items()]
    return Script(body=completion("".join(parts) + "[[ ## completed ## ]]"))


@pytest.fixture(scope="module")
def stages(python: Path) -> dict[str, Any]:
    """The stage of each DSPy program: what it sends, told by the program itself."""
    done = subprocess.run(
        [str(python), str(PROGRAMS / "dspy_calls.py")],
        input=json.dumps({"what": "messages"}),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **OFFLINE},
        timeout=200,
    )
    found = {}
    for name, (system, user) in json.loads(done.stdout).items():
        # Braces of the system text are its own.
        text = system["content"].replace("{", "{{").replace("}", "}}")
        found[name] = testing.stage_policy(system=text, user=user["content"])
    return found


@asynccontextmanager
async def dspy_world(stage: Any, answer: Any) -> AsyncIterator[World]:
    async with world(answer) as running:
        policy = testing.offline_policy(stage)
        running.suite.controller.policies["policies/job-1"] = policy
        yield running


@pytest.mark.parametrize(
    ("program", "by"),
    [("chat", "argument"), ("json", "argument"), ("thought", "argument"), ("chat", "variable")],
)
async def test_a_dspy_program_gets_the_candidates_prompt_and_parses_the_answer(
    python, stages, program, by
):
    async with dspy_world(stages[program], dspy_reply) as running:
        given = {"what": "call", "program": program, "query": QUERY, "model": {}}
        environ = {}
        if by == "argument":
            given["model"] = {"api_base": running.base, "api_key": KEY}
        else:
            environ = {"OPENAI_BASE_URL": running.base, "OPENAI_API_KEY": KEY}
        told = await run(python, "dspy_calls.py", given, **environ)
        fields = {"reasoning": "It says so."} if program == "thought" else {}
        assert told == {"whole": fields | {"intent": ANSWER}, "async": fields | {"intent": ANSWER}}
        running.check_swapped(calls=2)
        assert all(QUERY in body["messages"][-1]["content"] for body in running.sent)


@pytest.mark.parametrize(
    ("status", "kind", "calls"), [(400, "LMInvalidRequestError", 1), (429, "LMRateLimitError", 3)]
)
async def test_dspy_tells_an_error_in_its_own_class(python, stages, status, kind, calls):
    answer = failing(status, {"retry-after-ms": "1"})
    async with dspy_world(stages["chat"], answer) as running:
        model = {"api_base": running.base, "api_key": KEY, "num_retries": 2}
        given = {"what": "call", "program": "chat", "query": QUERY, "model": model}
        told = await run(python, "dspy_calls.py", given)
        assert kind in told["kinds"]
        assert told["status"] == status
        assert CANARY not in told["said"]
        assert [prompt_of(body) for body in running.sent] == [INSTRUCTION] * calls


@pytest.mark.parametrize(
    ("reason", "kind"), [("BUDGET_EXHAUSTED", "LMBillingError"), ("JOB_NOT_RUNNING", "LMError")]
)
async def test_a_refused_call_is_not_tried_again_by_dspy(python, reason, kind):
    async with world() as running:
        running.suite.controller.refusal = rollout_pb2.Failure(reason=reason)
        model = {"api_base": running.base, "api_key": KEY}
        given = {"what": "call", "program": "chat", "query": QUERY, "model": model}
        assert kind in (await run(python, "dspy_calls.py", given))["kinds"]
        assert (running.tap.call_count, running.sent) == (1, [])
