"""Curl against a running interceptor: a call as anybody makes it by hand."""

import asyncio
import json
import os
import shutil

import pytest

from tests.clients.world import ANSWER, KEY, MESSAGES, failing, world

BODY = {"model": "gpt-mine", "messages": MESSAGES}


@pytest.fixture
def curl():
    found = shutil.which("curl")
    if found is None:
        assert not os.environ.get("BURNISH_REQUIRE_TOOLS"), "curl is required"
        pytest.skip("curl is not installed")

    async def run(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(found, "-sS", "--noproxy", "*", "--max-time", "30", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    return run


def call(base: str, **more: object) -> list[str]:
    data = json.dumps(BODY | more)
    headers = ("-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json")
    return [f"{base}/chat/completions", *headers, "-d", data]


async def test_a_chat_completion(curl):
    async with world() as running:
        head, _, body = (await curl("-i", *call(running.base))).partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200")
        assert "x-request-id: req_" in head.lower()
        assert json.loads(body)["choices"][0]["message"]["content"] == ANSWER
        running.check_swapped()


async def test_a_stream_is_printed_as_it_comes(curl):
    async with world() as running:
        out = await curl("-N", *call(running.base, stream=True))
        lines = [line.removeprefix("data: ") for line in out.split("\n\n") if line]
        assert lines[-1] == "[DONE]"
        deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
        assert "".join(delta.get("content") or "" for delta in deltas) == ANSWER
        running.check_swapped()


async def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for(curl):
    async with world() as running:
        for header in ("Transfer-Encoding: chunked", "Expect: 100-continue"):
            reply = json.loads(await curl("-H", header, *call(running.base)))
            assert reply["choices"][0]["message"]["content"] == ANSWER
        assert running.tap.told.count(b"HTTP/1.1 100 Continue") == 1
        running.check_swapped(calls=2)


async def test_several_calls_over_one_connection(curl):
    async with world() as running:
        first = call(running.base)
        told = ("-sS", "-w", "%{num_connects}\n")
        out = await curl(*told, *first, "--next", "--noproxy", "*", *told, *first)
        assert [line[-1] for line in out.splitlines()] == ["1", "0"]
        running.check_swapped(calls=2)


@pytest.mark.parametrize(
    ("arguments", "path", "status"),
    [
        ((), "/healthz", 200),
        (("--head",), "/healthz", 200),
        (("-X", "OPTIONS"), "/chat/completions", 204),
        (("--head",), "/models", 200),
        ((), "/models", 200),
        ((), "/chat/completions", 405),
        (("-X", "DELETE"), "/chat/completions", 405),
    ],
)
async def test_what_is_no_call_is_answered_at_once(curl, arguments, path, status):
    async with world() as running:
        url = running.root + path if path == "/healthz" else running.base + path
        out = await curl("-w", "\n%{http_code}", *arguments, url)
        assert out.splitlines()[-1] == str(status)
        assert running.sent == []


async def test_an_error_is_openais_json(curl):
    async with world(failing(400)) as running:
        out = await curl("-w", "\n%{http_code}", *call(running.base))
        body, _, status = out.rpartition("\n")
        assert (status, json.loads(body)["error"]["code"]) == ("400", "upstream_400")
        running.check_swapped()
