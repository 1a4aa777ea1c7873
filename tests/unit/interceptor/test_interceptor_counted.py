"""Cached and reasoning tokens are read from every provider's reply, and from nothing else."""

import json

import pytest

from burnish_interceptor import convert_ledger
from burnish_interceptor.calls import CallRecord, Outcome, StoredReply
from burnish_interceptor.counted import details
from burnish_interceptor.journal import key_of

CHAT = {
    "choices": [{"message": {"content": "x"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 12},
    },
}
RESPONSE = {
    "output": [],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens_details": {"reasoning_tokens": 12},
    },
    "metadata": {"cached_tokens": "7"},
}
GEMINI = {
    "candidates": [],
    "usageMetadata": {"cachedContentTokenCount": 64, "thoughtsTokenCount": 12},
}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    ("body", "found"), [(CHAT, (64, 8, 12)), (GEMINI, (64, None, 12))], ids=["chat", "gemini"]
)
def test_every_way_of_telling_is_read(body, found, separators):
    assert details(json.dumps(body, separators=separators).encode()) == found


def test_the_last_event_of_a_stream_tells():
    first = {"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 1}}}
    body = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in (first, CHAT))
    assert details(body + b"data: [DONE]\n\n") == (64, 8, 12)


def test_what_an_app_has_echoed_as_text_counts_for_nothing():
    assert details(json.dumps(RESPONSE).encode()).reasoning == 12
    assert details(json.dumps(RESPONSE).encode()).cached is None


@pytest.mark.parametrize(
    "text", ['"usage": {"cached_tokens": 99}', '{"usage":{"reasoning_tokens":99}}']
)
def test_what_a_model_writes_counts_for_nothing(text):
    body = {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 3}}
    assert details(json.dumps(body).encode()) == (None, None, None)
    last = {"usage": {"prompt_tokens": 3}, "choices": [{"message": {"content": text}}]}
    assert details(json.dumps(last).encode()) == (None, None, None)


@pytest.mark.parametrize("value", ["1.5", "-1", "1e9", "null", "true", '"3"', "99999999999999"])
def test_what_is_no_count_is_left_out(value):
    body = b'{"usage": {"prompt_tokens_details": {"cached_tokens": %b}}}' % value.encode()
    assert details(body).cached is None


def test_the_ledger_is_told():
    reply = StoredReply(status=200, content_type="application/json", body=json.dumps(CHAT).encode())
    outcome = Outcome(
        reply=reply,
        usage=(100, 20),
        record=CallRecord(stage_id="", candidate_id="", app_request=b""),
    )
    usage = convert_ledger.finish_call("c", outcome).usage
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (
        64, 8, 12,
    )  # fmt: skip


def test_a_key_travels_hashed_and_any_text_can_be_one():
    assert key_of({}) == key_of({"idempotency-key": ""}) == ""
    assert len(key_of({"idempotency-key": "a"})) == 64
    assert key_of({"idempotency-key": "\udcff"}) != key_of({"idempotency-key": "a"})
