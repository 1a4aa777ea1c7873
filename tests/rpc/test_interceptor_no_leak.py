"""No word of the candidate reaches the app or a log, whatever the provider does with the prompt."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY, generate_latest

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.types.v1 import candidate_pb2
from burnish_interceptor import testing
from burnish_interceptor.testing import (
    BASELINE,
    CANDIDATE,
    TOKEN_KEY,
    Script,
    completion,
    events,
    replies,
)
from burnish_interceptor.testing.canaries import Canaries
from burnish_interceptor.testing.hostile import stream

INSTRUCTION = (
    'Weigh "verbs" over nouns; then let the wälrus of the seven seas decide upon all intents, '
    "for nothing else in this bank is ever to be trusted"
)
DEMO = "an egret without a parrot asks about transfers"
KEY = "sk-provider-0123456789abcdef"
CANARIES = Canaries(
    INSTRUCTION, DEMO, CANDIDATE, KEY, TOKEN_KEY, "suite-token", "wälrus", "parrot", "egret"
)
APIS = ("chat", "responses", "completions", "embeddings", "gemini")
FAULTS = (
    "quoting", "unknown-events", "error-event", "cut", "bytes", "html", "nonsense", "empty",
    "302", "400", "401", "403", "404", "408", "413", "422", "429", "500", "502", "503", "529",
)  # fmt: skip
# What still is an answer, because the fault is only beside it.
ANSWERED = frozenset({"quoting", "unknown-events", "bytes"})


class Call(NamedTuple):
    """One call of the test."""

    api: str
    fault: str
    stream: bool

    @property
    def path(self) -> str:
        names = {"chat": "chat/completions", "gemini": "chat/completions"}
        return names.get(self.api, self.api)

    @property
    def body(self) -> bytes:
        # A text of its own, so that no call is a repeated one.
        query = f"Query: where is my card ({self.fault})"
        body: dict[str, Any] = {"model": "m", "stream": self.stream}
        if self.api in ("chat", "gemini"):
            messages = [("system", BASELINE), ("user", query)]
            body["messages"] = [{"role": role, "content": text} for role, text in messages]
        elif self.api == "responses":
            body |= {"instructions": BASELINE, "input": query}
        elif self.api == "completions":
            body["prompt"] = f"{BASELINE}\n\n{query}"
        else:
            body = {"model": "m", "input": query}
        return json.dumps(body).encode()


def usual(call: Call) -> tuple[list[Any], dict[str, bool]]:
    """Returns what a provider answers: events, or one reply; and the form of its stream."""
    if call.api == "gemini":
        parts = [{"text": "card_arrival"}]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        return [{"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}}], {
            "done": False
        }
    if not call.stream:
        whole = {
            "chat": json.loads(completion()), "responses": replies.response(),
            "completions": replies.legacy_completion(), "embeddings": replies.embeddings(),
        }  # fmt: skip
        return [whole[call.api]], {}
    raw = {
        "chat": events(), "responses": replies.response_events(),
        "completions": replies.legacy_events(),
    }[call.api]  # fmt: skip
    found = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]
    return found, {"named": True, "done": False} if call.api == "responses" else {}


def quoted(request: Any) -> str:
    """Returns what the provider was sent, as it would repeat it."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        for inner in value.values() if isinstance(value, dict) else ():
            yield from texts(inner)
        for inner in value if isinstance(value, list) else ():
            yield from texts(inner)

    return " ".join([*texts(json.loads(request.body)), str(dict(request.head.headers))])


def headers_with(text: str) -> dict[str, str]:
    plain = text.encode("ascii", "xmlcharrefreplace").decode().replace("\n", " ")
    names = (
        "openai-organization", "openai-processing-ms", "x-prompt", "set-cookie", "server-timing",
        "x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "location", "server",
        "www-authenticate", "x-ratelimit-remaining-tokens", "link", "via", "warning",
    )  # fmt: skip
    return dict.fromkeys(names, plain) | {"x-b64": base64.b64encode(plain.encode()).decode()}


def quoting(event: Any, text: str) -> Any:
    echoes = {"x_debug": text, "prompt": text, "system": [{"text": text}], "warnings": [text]}
    if "response" in event:
        return event | echoes | {"response": event["response"] | echoes | {"instructions": text}}
    return event | echoes | {"id": text, "model": text, "instructions": text}


def answer_to(call: Call, request: Any) -> Script:
    text = quoted(request)
    headers = headers_with(text)
    error = {"error": {"message": text, "type": text, "code": text, "param": text}}
    if call.fault.isdigit():
        return Script(status=int(call.fault), body=json.dumps(error).encode(), headers=headers)
    if call.fault == "html":
        page = f"<html>{text}</html>".encode()
        return Script(status=502, body=page, headers=headers, content_type="text/html")
    if call.fault == "empty":
        return Script(body=b"", headers=headers)
    found, form = usual(call)
    content_type = "text/event-stream" if call.stream else "application/json"
    if call.fault == "nonsense":
        return Script(body=text.encode(), headers=headers, content_type=content_type)
    if call.fault == "error-event":
        found.insert(len(found) // 2, error)
    found = [quoting(event, text) for event in found]
    if call.fault == "unknown-events":
        unknown = {"type": "response.debug", "message": text, "text": text}
        found = [unknown, *found, unknown] if call.stream else found
    if not call.stream:
        body = json.dumps(error if call.fault == "error-event" else found[0]).encode()
    else:
        noise = f": {text}\n\nid: {text}\nretry: {text}\n".encode()
        body = noise + stream(found, **form)
    return Script(
        body=body, headers=headers, content_type=content_type, truncated=call.fault == "cut",
        cut=1 if call.fault == "bytes" else 997,
    )  # fmt: skip


async def raw_call(url: str, call: Call) -> bytes:
    """Makes a call on a bare socket and returns every byte that comes back."""
    target = urlsplit(f"{url}/{call.path}")
    head = (
        f"POST {target.path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
        f"authorization: Bearer suite-token\r\ncontent-length: {len(call.body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(head.encode() + call.body)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def policies(running: Any) -> None:
    """Has the suite serve a candidate with the secrets, offline and online, for every API."""
    demo = candidate_pb2.Demo(
        bindings={"query": DEMO}, messages=[b'{"role":"assistant","content":"x"}']
    )
    running.controller.candidates[CANDIDATE] = testing.prompts(INSTRUCTION, demos=[demo])
    chat, plain = testing.stage_policy(), testing.stage_policy("plain")
    del plain.template.messages[:]
    plain.template.messages.add(role="user", pattern=BASELINE + "\n\nQuery: {query}")
    both = testing.prompts(INSTRUCTION, demos=[demo], stage_id="plain")
    whole = running.controller.candidates[CANDIDATE]
    whole.candidate.stages["plain"].CopyFrom(both.candidate.stages["plain"])
    running.controller.policies["policies/job-1"] = testing.offline_policy(chat, plain)
    online = policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0, arm="winner")
    running.controller.policies["policies/live"] = policy_v1.Policy(
        name="policies/live", version=1, job="jobs/1", stages=[chat, plain], candidates=[online]
    )


@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
@pytest.mark.parametrize("api", APIS)
async def test_no_form_of_a_secret_is_in_any_byte_that_the_app_receives(api, online, capfd):
    current: list[Call] = []
    async with testing.suite(
        lambda request: answer_to(current[-1], request), gemini=api == "gemini"
    ) as running:
        policies(running)
        token = running.token()
        url = f"{running.root}/p/live/v1" if online else f"{running.root}/r/{token}/v1"
        for streamed in (False, True) if api != "embeddings" else (False,):
            for fault in FAULTS:
                call = Call(api, fault, streamed)
                current.append(call)
                made = len(running.provider.requests)
                received = await raw_call(url, call)
                assert len(running.provider.requests) == made + 1, call
                sent = json.dumps(running.provider.bodies[-1], ensure_ascii=False)
                if api != "embeddings":
                    assert json.dumps(INSTRUCTION, ensure_ascii=False)[1:-1] in sent, call
                    assert DEMO in sent, call
                assert CANARIES.leaks(received) == [], call
                assert received.startswith(b"HTTP/1.1 200") is (fault in ANSWERED) or streamed
                if fault in ANSWERED and api != "embeddings":
                    assert b"arrival" in received, call
        metrics = generate_latest(REGISTRY)
        assert b"burnish_proxy_requests" in metrics
        assert CANARIES.leaks(metrics) == []
        assert token.encode() not in metrics
    logged = capfd.readouterr()
    assert CANARIES.leaks((logged.out + logged.err).encode()) == []
    assert token not in logged.out + logged.err


async def test_the_test_would_see_a_leak():
    async with testing.suite() as running:
        policies(running)
        call = Call("chat", "none", stream=False)
        received = await raw_call(running.url(), call)
    assert CANARIES.leaks(received) == []
    assert CANARIES.leaks(received + INSTRUCTION.encode())
    assert CANARIES.leaks(received + base64.b64encode(b"xx" + INSTRUCTION.encode()))


async def test_the_token_of_a_url_says_nothing_of_the_candidate():
    async with testing.suite() as running:
        token = running.token()
    decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert CANDIDATE.encode() not in decoded
    assert CANARIES.leaks(token.encode() + decoded) == []


@pytest.mark.parametrize("mode", ["exact", "app-only", "off"])
async def test_the_usage_that_is_shown_is_the_operators_choice(mode, monkeypatch):
    monkeypatch.setenv("BURNISH_USAGE", mode)

    def answer(request: Any) -> Script:
        count = len(request.body)
        usage = {"prompt_tokens": count, "completion_tokens": 3, "total_tokens": count + 3}
        return Script(body=completion(usage=usage))

    told = []
    for words in (10, 2000):
        async with testing.suite(answer, instruction="word " * words) as running:
            received = await raw_call(running.url(), Call("chat", "none", stream=False))
            told.append(json.loads(received.partition(b"\r\n\r\n")[2]).get("usage"))
            assert running.controller.finished[0].usage.input_tokens > words
    assert (told[0] == told[1]) is (mode != "exact")
    assert (told[0] is None) is (mode == "off")
