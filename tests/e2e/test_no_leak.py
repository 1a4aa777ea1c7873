"""Nothing of a candidate, no key and no token ever reaches an app or a log.

Two taps record every byte on its way to the app: one stands before the app, the other before the
interceptor. The provider does its worst: it quotes the prompt in errors, headers and extra fields.
"""

import asyncio
import base64
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from burnish.api.job import v1 as job_v1
from burnish.datasets import load_rows
from burnish.suite import SuiteOptions
from burnish.task_app import Example, Result, Rollout, TaskApp
from burnish.task_app.grpc import start_grpc
from burnish.task_app.http import start_http

SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "intents" / "data" / "support.jsonl"
ROWS = load_rows(SHIPPED)
LABELS = sorted({row.label for row in ROWS})
LISTED = "\n".join(f"{n}. {label}" for n, label in enumerate(LABELS, start=1))
BASELINE = "You classify customer messages. Reply with only the name of the intent that fits."
CANARY = (
    'Täglich weigh "verbs" over nouns & let the walrus decide <quietly>, because marmalade number'
    " {n} prefers a tidy intent over a loud one whenever the customer mentions umbrellas."
)
CANARY_WORDS = ["walrus", "marmalade", "umbrellas", "Täglich"]
PROVIDER_KEY = "sk-canary-4f1d0b7c9a2e48d6"
APP_KEY = "app-canary-5e0c1f7783b14b29"
CHUNK_HEAD = re.compile(rb"\r\n[0-9a-fA-F]{1,8}\r\n")
TOKEN = re.compile(rb"/r/([\w.~-]{40,})/v1")


class Tap:
    """A TCP proxy that keeps what goes each way."""

    def __init__(self) -> None:
        self.target = ("", 0)
        self.to_target = bytearray()
        self.to_client = bytearray()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: Any, writer: Any) -> None:
        there, back = await asyncio.open_connection(*self.target)
        ways = [(reader, back, self.to_target), (there, writer, self.to_client)]
        for source, sink, kept in ways:
            task = asyncio.create_task(self._pump(source, sink, kept))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: Any, sink: Any, kept: bytearray) -> None:
        try:
            while data := await source.read(65_536):
                kept += data
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            return
        finally:
            sink.close()


def app_of() -> TaskApp:
    """An app that makes plain calls, streams, and calls that the provider refuses."""
    app = TaskApp(
        id="canary",
        rows=ROWS,
        example=lambda row: Example(inputs={"input": row.text}, output=row.label),
    )

    @app.rollout
    async def classify(task: Rollout) -> Result:
        messages: list[Any] = [
            {"role": "system", "content": BASELINE},
            {"role": "user", "content": f"Message: {task.row.text}\n\nIntents:\n{LISTED}"},
        ]
        if task.seed % 3:
            answer = (await task.chat(messages)).text
        else:
            stream: Any = await task.openai().chat.completions.create(
                model=task.model, messages=messages, temperature=0.0, stream=True
            )
            pieces = [one.choices[0].delta.content or "" async for one in stream if one.choices]
            answer = "".join(pieces).strip()
        return Result(reward=float(answer == task.row.label), output={"answer": answer})

    return app


class Gossip:
    """A provider that tells the prompt wherever it can."""

    def __init__(self, harness: Any) -> None:
        self._drop = harness.DROP
        self._numbers = itertools.count(1)
        self._calls = itertools.count(1)
        self.systems: set[str] = set()
        self.texts: list[str] = []
        self.keys: set[str] = set()

    async def script(self, body: Any) -> web.StreamResponse | int | None:
        if body["model"] == "canary-proposer":
            return self._proposal()
        system = body["messages"][0]["content"]
        self.systems.add(system)
        self.texts += [str(message.get("content")) for message in body["messages"][1:-1]]
        number = next(self._calls)
        answer = LABELS[number % len(LABELS)]
        headers = {"x-prompt": quote(system), "openai-organization": "walrus", "set-cookie": "a=b"}
        if number % 11 == 0:
            return web.Response(
                status=400 if number % 2 else 500,
                text=json.dumps({"error": {"message": system, "code": system[:40]}}),
                content_type="application/json",
                headers=headers,
            )
        if number % 13 == 0:
            return web.Response(
                status=502, text=f"<html>{system}</html>", content_type="text/html", headers=headers
            )
        if number % 17 == 0:
            return int(self._drop)
        if body.get("stream"):
            return self._stream(body, system, answer, headers)
        return web.json_response(self._reply(body, system, answer), headers=headers)

    def _proposal(self) -> web.Response:
        # Each proposal is far from the others, so that no guard takes it for a duplicate.
        number = next(self._numbers)
        filler = " ".join(f"marker{number}word{n}" for n in range(30))
        said = {"instruction": f"{CANARY.replace('{n}', str(number))} {filler}", "rationale": "x"}
        message = {"role": "assistant", "content": json.dumps(said)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        return web.json_response(
            {"id": "p", "object": "chat.completion", "created": 1, "model": "m",
             "choices": [choice], "usage": usage}
        )  # fmt: skip

    def _reply(self, body: Any, system: str, answer: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": answer, "prompt": system}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "echo": system}
        usage = {"prompt_tokens": 300, "completion_tokens": 3, "total_tokens": 303}
        return {
            "id": f"chatcmpl-{base64.b64encode(system.encode()).decode()}",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
            "instructions": system,
            "prompt_logprobs": [system],
            "metadata": {"messages": body["messages"]},
        }

    def _stream(self, body: Any, system: str, answer: str, headers: Any) -> web.Response:
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        events = [
            {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {**base, "type": "response.created", "instructions": system, "choices": []},
            {**base, "choices": [{"index": 0, "delta": {"content": answer, "echo": system}}]},
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        told = json.dumps({"type": "prompt", "prompt": system, "choices": []})
        text = f": {system}\n\nevent: prompt\ndata: {told}\n\n"
        text += "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return web.Response(
            body=(text + "data: [DONE]\n\n").encode(),
            content_type="text/event-stream",
            headers=headers,
        )


def forms(secret: str) -> Iterator[bytes]:
    """Every form that a text might be carried in."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield once.encode()
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1].encode()
    yield quote(secret).encode()
    yield quote(secret, safe="").encode()
    for shift, start in ((0, 0), (1, 2), (2, 3)):
        # What stands before and behind changes the first and the last letter of a base64 form.
        end = (shift + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\x00" * shift + raw)[start:end]


def shingles(text: str, size: int = 12) -> Iterator[str]:
    words = text.split()
    for start in range(max(1, len(words) - size + 1)):
        yield " ".join(words[start : start + size])


def found_in(haystack: bytes, secrets: set[str]) -> list[str]:
    return sorted(
        secret for secret in secrets if any(form in haystack for form in forms(secret) if form)
    )


@asynccontextmanager
async def tapped(harness: Any, folder: Path, monkeypatch: Any, transport: str) -> Any:
    """A suite and an app with a tap on each way to the app."""
    monkeypatch.setenv("ENVIRONMENT_API_KEY", APP_KEY)
    to_app, to_interceptor = Tap(), Tap()
    await to_app.start()
    await to_interceptor.start()
    options = SuiteOptions(
        interceptor_url=f"http://127.0.0.1:{to_interceptor.port}",
        environment={
            "BURNISH_OPENAI_COMPATIBLE_API_KEY": PROVIDER_KEY,
            "BURNISH_OPENAI_API_KEY": PROVIDER_KEY,
            "BURNISH_LOG_LEVEL": "DEBUG",
        },
    )
    start = start_http if transport == "http" else start_grpc
    app = await start(app_of(), port=0)
    to_app.target = ("127.0.0.1", int(app.url.rsplit(":", 1)[1]))
    try:
        async with harness.Suite(folder, options=options) as suite:
            ready = json.loads((suite.state.run / "interceptor.json").read_text())
            host, _, port = ready["http"].rpartition(":")
            to_interceptor.target = (host, int(port))
            yield suite, to_app, to_interceptor
    finally:
        await app.stop()
        await to_app.stop()
        await to_interceptor.stop()


def secrets_of(run: Any) -> set[str]:
    """Everything that tells of a candidate."""
    words = set(CANARY_WORDS)
    for component in run.result.components:
        if component.instruction.text not in {BASELINE, ""}:
            words |= set(shingles(component.instruction.text))
        words |= {component.component_id, component.component_id.partition("_")[2]}
    for one in run.result.candidates:
        words |= {one.candidate.candidate_id, one.candidate.candidate_id.partition("_")[2]}
    return words


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_neither_app_nor_log_learns_of_a_candidate_a_key_or_a_token(
    transport, harness, provider, tmp_path, monkeypatch
):
    gossip = Gossip(harness)
    provider.script = gossip.script
    async with tapped(harness, tmp_path / "state", monkeypatch, transport) as (
        suite,
        to_app,
        to_interceptor,
    ):
        spec = harness.job_spec(
            f"{transport}://127.0.0.1:{to_app.port}", provider.model(), num_iterations=5
        )
        spec.offline.bootstrap.min_reward = 0.0
        spec.proposer.meta_model.CopyFrom(provider.model("canary-proposer", max_output_tokens=1200))
        async with harness.Submitted(suite, spec, task_app_api_key=APP_KEY) as job:
            run = await job.finished()
        logs = {path.name: path.read_bytes() for path in suite.state.logs.iterdir()}
        auth = suite.state.auth_token_file.read_text().strip()
        token_key = suite.state.token_key_file.read_text().strip()
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    check_that_the_prompts_were_on_the_wire(run, gossip)
    candidate = secrets_of(run)
    bootstrap = [ROWS[seed].text for seed in harness.SMALL.bootstrap]
    heard = bytes(to_app.to_target) + bytes(to_interceptor.to_client)
    assert b"chat.completion" in heard
    assert b"text/event-stream" in heard
    assert b"content-encoding" not in heard.lower()
    assert heard.lower().count(b"upstream_5") > 0
    for bytes_heard in (heard, CHUNK_HEAD.sub(b"", heard)):
        assert found_in(bytes_heard, candidate | set(bootstrap)) == []
        assert found_in(bytes_heard, {PROVIDER_KEY, auth, token_key}) == []
    tokens = {token.decode() for token in TOKEN.findall(bytes(to_interceptor.to_target))}
    assert len(tokens) > 100
    some = set(itertools.islice(sorted(tokens), 25))
    keys = {PROVIDER_KEY, APP_KEY, auth, token_key} | some
    assert {"controller.log", "interceptor.log", "proposer.log"} <= set(logs)
    for name, log in logs.items():
        leaked = found_in(log, keys | set(CANARY_WORDS) | set(bootstrap))
        assert leaked == [], name
        assert not any(token.encode() in log for token in tokens), name
        texts = {one for one in candidate if " " in one}
        assert found_in(log, texts) == [], name
        assert BASELINE.encode() not in log, name


def test_the_search_for_secrets_knows_every_form():
    for secret in ('naïve "walrus" & <friends>, decide', "walrus", "Täglich"):
        check_forms(secret)


def check_forms(secret: str) -> None:
    said = f"before {secret} after"
    raw = said.encode()
    carried = [
        raw,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        json.dumps(said).encode(),
        json.dumps(said, ensure_ascii=False).encode(),
        json.dumps(json.dumps({"error": said})).encode(),
        quote(said).encode(),
        *(base64.b64encode(b"x" * shift + raw) for shift in range(3)),
        *(base64.urlsafe_b64encode(b"x" * shift + raw) for shift in range(3)),
    ]
    for haystack in carried:
        assert found_in(b"HTTP/1.1 400\r\n\r\n" + haystack, {secret}) == [secret]
        assert found_in(haystack, {"something else"}) == []


def check_that_the_prompts_were_on_the_wire(run: Any, gossip: Gossip) -> None:
    """A run that shows the provider no candidate proves nothing."""
    canaries = [one for one in gossip.systems if "walrus" in one]
    assert len(canaries) >= 2, "void: no canary instruction reached the provider"
    assert run.result.best.candidate.candidate_id
    assert any("Message:" in text or text in LABELS for text in gossip.texts), "void: no demos"
