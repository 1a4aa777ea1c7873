"""Where a provider's stream ends: oddly written, cut short, or with more behind the end."""

import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_interceptor import ended
from burnish_interceptor.asked import Asked
from burnish_interceptor.dialects import AppRequest, Shown, sse
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.completions import CompletionsRequest
from burnish_interceptor.dialects.gemini.dialect import GeminiRequest
from burnish_interceptor.dialects.responses import ResponsesRequest
from burnish_interceptor.ended import Ended
from burnish_interceptor.providers import Target
from burnish_interceptor.testing import Script, events, provider, replies
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.transport.server import Server
from burnish_interceptor.upstream import Upstream

USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
ERROR = b'{"error":{"message":"the walrus decides"}}'
CHAT, LEGACY, RESPONSES, GEMINI = "chat", "completions", "responses", "gemini"
ALL = (CHAT, LEGACY, RESPONSES, GEMINI)


def asked(api: str, **more: Any) -> AppRequest:
    options = {"stream": True, "model": "m", **more}
    if api in (CHAT, LEGACY):
        options["stream_options"] = {"include_usage": True}
    if api == RESPONSES:
        return ResponsesRequest(json.dumps({"input": "where", **options}).encode())
    if api == LEGACY:
        return CompletionsRequest(json.dumps({"prompt": "where", **options}).encode())
    messages = [{"role": "user", "content": "where"}]
    chat = ChatRequest(json.dumps({"messages": messages, **options}).encode())
    return GeminiRequest(chat, "gemini-2.5-flash") if api == GEMINI else chat


def said(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode()


def delta(text: str = "", reason: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return said({"id": "c", "created": 1, "choices": [choice], **more})


def candidate(text: str, reason: str | None = None) -> bytes:
    one: dict[str, Any] = {"index": 0, "content": {"parts": [{"text": text}]}}
    if reason is not None:
        one["finishReason"] = reason
    return said({"candidates": [one], "responseId": "r"})


def legacy(text: str, reason: str | None = None) -> bytes:
    return said({"id": "c", "choices": [{"index": 0, "text": text, "finish_reason": reason}]})


def begun(api: str) -> list[bytes]:
    """Returns the events of an answer before the one that ends it, without their empty lines."""
    if api == RESPONSES:
        return [said(one) for one in _response()[:-1]]
    made = {CHAT: delta, LEGACY: legacy, GEMINI: candidate}[api]
    return [made("card"), made("_arrival")]


def last(api: str) -> bytes:
    """Returns the event that ends it."""
    if api == RESPONSES:
        return said(_response()[-1])
    return (
        candidate(".", "STOP") if api == GEMINI else {CHAT: delta, LEGACY: legacy}[api]("", "stop")
    )


def _response() -> list[Any]:
    return [json.loads(data) for data in sse.parse(replies.response_events())]


def whole(pieces: list[bytes], end: bytes = b"\n\n") -> bytes:
    return b"".join(piece + end for piece in pieces)


class Read:
    """An answer that was fed to its end."""

    def __init__(self, request: AppRequest, raw: bytes, *, cut: int = 0) -> None:
        answer = self.answer = request.events(Shown(model="m"))
        size = cut or len(raw) or 1
        self.early = b"".join(answer.feed(raw[i : i + size]) for i in range(0, len(raw), size))
        answer.finish()
        self.complete, self.failed = answer.complete, answer.failed
        self.shown = self.early + (answer.rest() if answer.complete else b"")


@pytest.mark.parametrize("nothing", [b"data:", b"data: ", b"data:  \t"])
@pytest.mark.parametrize("api", ALL)
def test_an_event_without_data_is_dropped_wherever_it_stands(api, nothing):
    pieces = [*begun(api), last(api)]
    plain = Read(asked(api), whole(pieces))
    assert plain.complete
    for place in range(len(pieces) + 1):
        raw = whole([*pieces[:place], nothing, *pieces[place:]])
        for cut in (0, 1, 7):
            read = Read(asked(api), raw, cut=cut)
            assert (read.complete, read.shown) == (True, plain.shown)


@pytest.mark.parametrize("done", [b"data: [DONE] ", b"data:[DONE]", b"data:  [DONE]\t"])
@pytest.mark.parametrize("api", ALL)
def test_white_space_around_the_word_that_ends_a_stream_does_not_matter(api, done):
    pieces = [*begun(api), last(api)]
    read = Read(asked(api), whole([*pieces, done]))
    assert (read.complete, read.failed) == (True, False)
    assert read.shown == Read(asked(api), whole(pieces)).shown
    if api in (CHAT, LEGACY):
        assert Read(asked(api), whole([*begun(api), done])).complete


@pytest.mark.parametrize("behind", [b"junk", ERROR, b"[]", b'{"type":"error"}', b"{", b"\xff"])
@pytest.mark.parametrize("api", ALL)
def test_what_cannot_be_read_behind_the_end_does_not_undo_it(api, behind):
    pieces = [*begun(api), last(api)]
    plain = Read(asked(api), whole(pieces))
    for cut in (0, 1, 7):
        raw = whole([*pieces, b"data: " + behind, b"data: " + behind])
        read = Read(asked(api), raw, cut=cut)
        assert (read.complete, read.shown) == (True, plain.shown)
    read = Read(asked(api), whole([*begun(api), b"data: " + behind, last(api)]))
    if behind != b'{"type":"error"}' or api == RESPONSES:
        assert (read.complete, read.failed) == (False, True)


@pytest.mark.parametrize("api", [CHAT, LEGACY])
def test_usage_is_still_read_behind_what_cannot_be(api):
    usage = said({"id": "c", "choices": [], "usage": USAGE})
    read = Read(asked(api), whole([*begun(api), last(api), b"data: junk", usage]))
    assert read.complete
    assert read.answer.usage == (11, 3)
    assert b'"prompt_tokens":11' in read.shown


@pytest.mark.parametrize("api", ALL)
def test_too_long_an_event_fails_an_answer_only_before_its_end(api, monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 20_000)
    long = b"data: " + b"x" * 30_000
    before = whole(begun(api))
    end = whole([last(api)])
    plain = Read(asked(api), before + end)
    for cut in (0, 9_000):
        read = Read(asked(api), before + end + long, cut=cut)
        assert (read.complete, read.failed, read.shown) == (True, False, plain.shown)
    assert Read(asked(api), before + long, cut=9_000).failed


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("api", ALL)
def test_the_last_event_may_lack_its_empty_line(api, newline):
    pieces = [*begun(api), last(api)]
    ends = [pieces] if api in (RESPONSES, GEMINI) else [pieces, [*begun(api), b"data: [DONE]"]]
    for found in ends:
        plain = Read(asked(api), whole(found))
        raw = whole(found, newline * 2)
        assert plain.complete
        for missing in range(len(newline * 2) + 1):
            cut_off = raw[: len(raw) - missing]
            for cut in (0, 1, 7):
                read = Read(asked(api), cut_off, cut=cut)
                assert (read.complete, read.shown) == (True, plain.shown)


@pytest.mark.parametrize("api", ALL)
def test_a_stream_that_was_cut_within_an_event_is_not_completed(api):
    before, end = whole(begun(api)), last(api)
    for cut in range(len(end)):
        read = Read(asked(api), before + end[:cut])
        assert (read.complete, read.failed) == (False, False)
        assert not read.shown.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("more", [b"data: junk", b"data: {", b"dat", b": x", b"data: [DO"])
def test_a_cut_event_behind_the_end_does_not_undo_it(api, more):
    raw = whole([*begun(api), last(api)])
    read = Read(asked(api), raw + more)
    assert (read.complete, read.shown) == (True, Read(asked(api), raw).shown)


def test_an_answer_that_failed_stays_failed_at_its_end():
    read = Read(asked(CHAT), whole([*begun(CHAT), b"data: junk"]) + last(CHAT))
    assert (read.complete, read.failed) == (False, True)


@given(st.integers(0, len(events())), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_replayed_is_shown_as_it_was_the_first_time(cut, newline):
    raw = events().replace(b"\n", newline)[:cut]
    read = Read(asked(CHAT), raw)
    again = asked(CHAT).events(Shown(model="m"))
    shown = again.feed(raw + b"\n\n")
    assert again.complete == read.complete
    if read.complete:
        assert shown + again.rest() == read.shown


async def passed_on(raw: bytes) -> tuple[Ended, Asked, bytes]:
    """Returns how a call ended whose provider sent some bytes, and what its app was given."""
    request = asked(CHAT)
    told = Asked("req_1", request.body)
    told.request, told.shown = request, Shown(model="m")
    ends: list[Ended] = []
    client = Client()

    def script(_: Request) -> Script:
        return Script(body=raw, content_type="text/event-stream")

    async with provider(script) as upstream:
        address = urlsplit(upstream.base_url)
        origin = Origin(host=str(address.hostname), port=address.port or 0, tls=False)

        async def serve(_: Request, exchange: Exchange) -> None:
            target = Target(origin=origin, path="/v1/chat/completions", headers={})
            found = await Upstream(client).call(target, request.body, told, exchange)
            ends.append(found[1])
            found[1].deliver(exchange, told)

        server = Server(serve)
        host, port = await server.listen("127.0.0.1", 0)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"http://{host}:{port}/", data=b"{}") as reply,
            ):
                body = await reply.read()
                return ends[0], told, body
        finally:
            await server.stop()
            client.close()


@pytest.mark.parametrize("newline", [b"\n", b"\r"])
async def test_the_app_is_given_the_end_of_a_stream_that_lacks_its_empty_line(newline):
    full = Read(asked(CHAT), events()).shown
    raw = events().replace(b"\n", newline)[:-1]
    end, told, given_to_app = await passed_on(raw)
    assert end.error is None
    assert given_to_app == full
    assert end.reply is not None
    assert ended.replayed(end.reply, told).body == full


async def test_a_stream_that_broke_off_is_not_ended_by_half_an_event():
    end, _, given_to_app = await passed_on(whole(begun(CHAT)) + last(CHAT)[:-4])
    assert end.problem is not None
    assert end.problem.reason == "UPSTREAM_CLOSED"
    assert b"upstream_closed" in given_to_app


@pytest.mark.parametrize("api", [CHAT, LEGACY])
def test_an_empty_reason_to_finish_is_none(api):
    made = {CHAT: delta, LEGACY: legacy}[api]
    first = Read(asked(api), whole([made("card", ""), made("_arrival", "")]))
    assert not first.complete
    shown = [json.loads(data)["choices"][0] for data in sse.parse(first.early)]
    assert [one["finish_reason"] for one in shown] == [None, None]
    assert b"card" in first.early
    assert b"_arrival" in first.early
    full = Read(asked(api), whole([made("card", ""), made("_arrival"), made("", "stop")]))
    assert full.complete
    plain = Read(asked(api), whole([made("card"), made("_arrival"), made("", "stop")]))
    assert full.shown == plain.shown


def test_an_event_of_no_choice_does_not_name_the_answer():
    filtered = said({"id": "", "created": 0, "choices": [], "prompt_filter_results": [{"x": 1}]})
    pieces = [*begun(CHAT), last(CHAT)]
    plain = Read(asked(CHAT), whole(pieces))
    assert Read(asked(CHAT), whole([filtered, *pieces])).shown == plain.shown
    usage = said({"id": "", "created": 0, "choices": [], "usage": USAGE})
    told, *others = sse.parse(Read(asked(CHAT), whole([usage, *pieces])).shown)
    assert json.loads(told)["usage"] == USAGE
    assert others == sse.parse(plain.shown)


def test_a_stream_of_no_choice_at_all_is_no_answer():
    usage = said({"id": "", "created": 0, "choices": [], "usage": USAGE})
    assert not Read(asked(CHAT), whole([usage, b"data: [DONE]"])).complete
