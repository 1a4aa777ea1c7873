"""No word of the candidate reaches the app, whatever the provider does with the prompt."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from burnish.api.types.v1 import candidate_pb2
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, events

CANARY = 'Weigh "verbs" over nouns; then let the wälrus of seven seas decide upon intents'
DEMO = "an egret without a parrot asks about transfers"


def forms() -> list[bytes]:
    """Every form in which the canary could be hidden, whole and by its rarer words."""
    found = []
    for text in (CANARY, DEMO, CANDIDATE):
        raw = text.encode()
        found += [
            raw,
            raw.hex().encode(),
            quote(text).encode(),
            json.dumps(text)[1:-1].encode(),
            *(base64.b64encode(b"." * pad + raw)[8:40] for pad in range(3)),
        ]
    return [*found, b"verbs", "wälrus".encode(), b"w\\u00e4lrus", b"egret", b"parrot"]


def leaks(received: bytes) -> list[bytes]:
    return [form for form in forms() if form.lower() in received.lower()]


async def raw_call(running: Any, *, stream: bool) -> bytes:
    """Makes a call on a bare socket and returns every byte that comes back."""
    target = urlsplit(running.url() + "/chat/completions")
    messages = [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": "Query: where is my card"},
    ]
    body = json.dumps({"model": "m", "messages": messages, "stream": stream}).encode()
    head = (
        f"POST {target.path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(head.encode() + body)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def quoting(request: Any) -> dict[str, Any]:
    """Fields by which providers repeat what they were sent."""
    prompt = json.loads(request.body)["messages"]
    text = " ".join(str(message.get("content")) for message in prompt)
    return {
        "id": text, "model": text, "system_fingerprint": text, "service_tier": text,
        "prompt": prompt, "instructions": text, "prompt_logprobs": [{"1": {"decoded_token": text}}],
        "prompt_token_ids": [text], "metadata": {"x": text}, "x_groq": {"debug": text},
        "created": text, "object": text,
    }  # fmt: skip


def answer_with(extra: str) -> Any:
    def answer(request: Any) -> Script:
        fields = quoting(request)
        text = fields["instructions"].encode("ascii", "xmlcharrefreplace").decode()
        plain = text.replace("\n", " ")
        headers = {
            "openai-organization": plain, "x-prompt": plain, "set-cookie": plain,
            "server-timing": plain, "x-request-id": plain, "retry-after": plain,
            "x-should-retry": plain, "x-b64": base64.b64encode(plain.encode()).decode(),
        }  # fmt: skip
        if extra == "whole":
            choice = {
                "index": 0, "finish_reason": fields["id"], "prompt": text, "logprobs": {"x": text},
                "message": {"role": text, "content": "card_arrival", "reasoning": text,
                            "reasoning_content": text, "annotations": [text], "x": text},
            }  # fmt: skip
            return Script(body=completion(**fields, choices=[choice]), headers=headers)
        if extra.startswith("stream"):
            body = events()
            for name, value in fields.items():
                patch = f', "x_{name}": {json.dumps(value)}, "choices":'.encode()
                body = body.replace(b', "choices":', patch)
            body = body.replace(
                b'"delta": {', b'"x": ' + json.dumps(text).encode() + b', "delta": {'
            )
            body = b": " + plain.encode() + b"\n\nevent: " + plain.encode() + b"\n" + body
            if extra == "stream-error":
                error = json.dumps({"error": {"message": text, "code": text}}).encode()
                body = body[: len(body) // 2].rpartition(b"data: ")[0] + b"data: " + error + b"\n\n"
            cut = 1 if extra == "stream-bytes" else 0
            truncated = extra == "stream-cut"
            return Script(
                body=body, content_type="text/event-stream", headers=headers, cut=cut or 97,
                truncated=truncated,
            )  # fmt: skip
        if extra == "html":
            return Script(status=502, body=f"<html>{text}</html>".encode(), headers=headers,
                          content_type="text/html")  # fmt: skip
        if extra == "nonsense":
            return Script(body=text.encode(), headers=headers)
        problem = {"error": {"message": text, "type": text, "code": text, "param": text}}
        return Script(status=int(extra), body=json.dumps(problem).encode(), headers=headers)

    return answer


@pytest.mark.parametrize(
    ("extra", "stream"),
    [("whole", False), ("stream", True), ("stream-bytes", True), ("stream-cut", True),
     ("stream-error", True), ("html", False), ("html", True), ("nonsense", False),
     ("nonsense", True), ("400", False), ("400", True), ("401", False), ("404", False),
     ("429", False), ("500", False), ("503", True), ("302", False)],
)  # fmt: skip
async def test_no_form_of_the_candidate_is_in_any_byte_that_the_app_receives(extra, stream):
    demo = candidate_pb2.Demo(
        bindings={"query": DEMO}, messages=[b'{"role":"assistant","content":"x"}']
    )
    async with testing.suite(answer_with(extra)) as running:
        running.controller.candidates[CANDIDATE] = testing.prompts(CANARY, demos=[demo])
        received = await raw_call(running, stream=stream)
        sent = json.loads(running.provider.requests[0].body)["messages"]
        assert CANARY in sent[0]["content"]
        assert DEMO in sent[1]["content"]
    assert leaks(received) == []
    if extra in {"whole", "stream", "stream-bytes"}:
        assert b"HTTP/1.1 200 OK" in received
        assert b"arrival" in received


async def test_the_test_would_see_a_leak():
    async with testing.suite() as running:
        running.controller.candidates[CANDIDATE] = testing.prompts(CANARY)
        received = await raw_call(running, stream=False)
    assert leaks(received + CANARY.encode())
    assert leaks(received + base64.b64encode(b"xx" + CANARY.encode()))


async def test_the_token_of_a_url_says_nothing_of_the_candidate():
    async with testing.suite() as running:
        token = running.token()
    decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert CANDIDATE.encode() not in decoded
    assert leaks(token.encode() + decoded) == []
