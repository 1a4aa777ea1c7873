"""Writes chat completions: choices in, OpenAI's reply or its streamed chunks out.

Tokens are counted by one rule, so that bills can be checked by hand: a text has a token for every
four bytes of its UTF-8 form, rounded up; each message costs 4 more, the tools count as their JSON,
the reply's start costs 3.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from burnish.local.chat import ChatRequest

_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4
_TOKENS_PER_REPLY: Final = 3
FINGERPRINT: Final = "burnish-local-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChance:
    """One piece of an answer with its log probability and the likeliest pieces in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer: plain text, or the arguments of a call of `tool`."""

    text: str
    tool: str = ""
    pieces: tuple[TokenChance, ...] = ()
    finish: str = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All answers to one request."""

    request: ChatRequest
    choices: tuple[Choice, ...]
    reply_id: str
    created: int


def count_tokens(text: str) -> int:
    """Returns the tokens of a text by the rule of this module."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def cut(choice: Choice, *, max_tokens: int | None, stop: tuple[str, ...]) -> Choice:
    """Returns the choice cut at the first stop text and at the token limit."""
    text, finish = choice.text, choice.finish
    ends = [position for each in stop if (position := text.find(each)) >= 0]
    if ends and not choice.tool:
        text = text[: min(ends)]
    if max_tokens is not None and count_tokens(text) > max_tokens:
        text = text.encode()[: max_tokens * _BYTES_PER_TOKEN].decode(errors="ignore")
        finish = "length"
    if text == choice.text:
        return choice
    return Choice(text=text, tool=choice.tool, pieces=_cut_pieces(choice, len(text)), finish=finish)


def _cut_pieces(choice: Choice, size: int) -> tuple[TokenChance, ...]:
    kept: list[TokenChance] = []
    for piece in choice.pieces:
        if size <= 0:
            break
        kept.append(TokenChance(text=piece.text[:size], logprob=piece.logprob, top=piece.top))
        size -= len(piece.text)
    return tuple(kept)


def usage(completion: Completion) -> dict[str, int]:
    """Returns the usage block of a reply."""
    request = completion.request
    asked = _TOKENS_PER_REPLY + count_tokens(request.extra_text)
    for message in request.messages:
        asked += _TOKENS_PER_MESSAGE + count_tokens(message.text)
        asked += sum(count_tokens(call) for call in message.calls)
    answered = sum(count_tokens(choice.text) for choice in completion.choices)
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }


def reply(completion: Completion) -> dict[str, Any]:
    """Returns the body of a reply that is not streamed."""
    choices = [
        {
            "index": i,
            "message": _message(choice, i, completion.reply_id),
            "logprobs": _logprobs(choice) if completion.request.sampling.logprobs else None,
            "finish_reason": _finish(choice),
        }
        for i, choice in enumerate(completion.choices)
    ]
    head = _head(completion, kind="chat.completion")
    return {**head, "choices": choices, "usage": usage(completion)}


def chunks(completion: Completion) -> Iterator[bytes]:
    """Yields the server-sent events of a streamed reply, the closing mark included."""
    head = _head(completion, kind="chat.completion.chunk")
    usage_block = {"usage": None} if completion.request.include_usage else {}
    for i, choice in enumerate(completion.choices):
        message = _message(choice, i, completion.reply_id)
        for position, call in enumerate(message.get("tool_calls", ())):
            call["index"] = position
        logprobs = _logprobs(choice) if completion.request.sampling.logprobs else None
        body = {"index": i, "delta": message, "logprobs": logprobs, "finish_reason": None}
        end = {"index": i, "delta": {}, "logprobs": None, "finish_reason": _finish(choice)}
        yield _event({**head, "choices": [body], **usage_block})
        yield _event({**head, "choices": [end], **usage_block})
    if completion.request.include_usage:
        yield _event({**head, "choices": [], "usage": usage(completion)})
    yield b"data: [DONE]\n\n"


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _head(completion: Completion, *, kind: str) -> dict[str, Any]:
    return {
        "id": completion.reply_id,
        "object": kind,
        "created": completion.created,
        "model": completion.request.model,
        "system_fingerprint": FINGERPRINT,
    }


def _message(choice: Choice, index: int, reply_id: str) -> dict[str, Any]:
    if not choice.tool:
        return {"role": "assistant", "content": choice.text, "refusal": None}
    function = {"name": choice.tool, "arguments": choice.text}
    call = {"id": f"call_{reply_id[-16:]}_{index}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}


def _finish(choice: Choice) -> str:
    return "tool_calls" if choice.tool and choice.finish == "stop" else choice.finish


def _logprobs(choice: Choice) -> dict[str, Any]:
    content = [
        {
            **_token(piece.text, piece.logprob),
            "top_logprobs": [_token(text, logprob) for text, logprob in piece.top],
        }
        for piece in choice.pieces
    ]
    return {"content": content, "refusal": None}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
