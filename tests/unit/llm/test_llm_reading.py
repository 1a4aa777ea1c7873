"""Whatever a provider answers is a completion or an error of its, and never anything else."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish_runtime.llm.anthropic import AnthropicProvider
from burnish_runtime.llm.base import Completion, ProviderAccess, ProviderError, TokenUsage
from burnish_runtime.llm.google import GoogleProvider
from burnish_runtime.llm.openai import OpenAiProvider
from burnish_runtime.llm.reading import require_whole
from burnish_runtime.llm.responses_shape import require_unfailed

pytest.importorskip("anthropic")

ACCESS = ProviderAccess(api_key="k")
READERS = [OpenAiProvider(ACCESS).read, GoogleProvider(ACCESS).read, AnthropicProvider(ACCESS).read]
# The members that any of the readers looks at.
NAMES = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "text",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "code",
        "type",
        "call_id",
        "completion_tokens_details",
        "reasoning_tokens",
        "object",
        "output",
        "status",
        "error",
        "reason",
        "input",
        "incomplete_details",
        "input_tokens",
        "output_tokens",
        "candidates",
        "parts",
        "functionCall",
        "args",
        "thought",
        "thoughtSignature",
        "usageMetadata",
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "promptFeedback",
        "stop_reason",
        "cache_read_input_tokens",
    ]
)
WORDS = st.sampled_from(
    ["response", "message", "function_call", "tool_use", "failed", "server_error", "", '"ä😀\n']
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=30,
)
# A loaded machine is slow to draw.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
MEMBERS = st.dictionaries(NAMES, JSON, max_size=6)
SHAPES = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {
            "choices": st.lists(st.fixed_dictionaries({"message": MEMBERS}), max_size=2),
            "usage": MEMBERS,
        }
    ),
    st.fixed_dictionaries(
        {
            "object": st.just("response"),
            "output": st.lists(MEMBERS, max_size=3),
            "status": WORDS,
            "error": MEMBERS,
            "usage": MEMBERS,
        }
    ),
    st.fixed_dictionaries(
        {
            "candidates": st.lists(
                st.fixed_dictionaries(
                    {"content": st.fixed_dictionaries({"parts": st.lists(MEMBERS, max_size=3)})}
                ),
                max_size=2,
            ),
            "usageMetadata": MEMBERS,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "content": st.lists(MEMBERS, max_size=3),
            "usage": MEMBERS,
        }
    ),
)


def checked(usage: TokenUsage | None) -> bool:
    if usage is None:
        return True
    parts = (usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0)
    return (
        0 <= parts <= usage.input_tokens < 2**33
        and 0 <= (usage.reasoning_tokens or 0) <= usage.output_tokens < 2**33
    )


@unhurried
@given(SHAPES)
def test_any_json_is_a_completion_or_a_provider_s_error(value):
    body = json.dumps(value).encode()
    with contextlib.suppress(ProviderError):
        require_unfailed("p", body)
    for read in READERS:
        try:
            completion = read(body)
        except ProviderError:
            continue
        assert isinstance(completion, Completion)
        assert checked(completion.usage)
        assert isinstance(completion.text, str)


@unhurried
@given(st.binary(max_size=200) | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_any_bytes_are_a_completion_or_a_provider_s_error(body):
    for read in (
        *READERS,
        lambda body: require_whole("p", body),
        lambda body: require_unfailed("p", body),
    ):
        try:
            read(body)
        except ProviderError:
            continue


@unhurried
@given(
    JSON.filter(lambda value: isinstance(value, dict | list) and bool(value)),
    st.booleans(),
    st.data(),
)
def test_json_is_whole_and_no_beginning_of_it_is(value, escaped, data):
    text = json.dumps(value, ensure_ascii=escaped, allow_nan=False) if _finite(value) else "[1]"
    require_whole("p", text.encode())
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ProviderError) as caught:
        require_whole("p", text[:cut].encode())
    assert caught.value.can_retry
    assert not caught.value.not_sent


def _finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def test_what_anthropic_wrote_to_its_cache_is_part_of_what_it_read():
    body = {
        "type": "message",
        "content": [{"type": "text", "text": "x"}],
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 30,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    }
    assert READERS[2](json.dumps(body).encode()).usage == TokenUsage(
        input_tokens=240,
        output_tokens=7,
        cached_input_tokens=200,
        cache_write_tokens=30,
        reasoning_tokens=4,
    )
