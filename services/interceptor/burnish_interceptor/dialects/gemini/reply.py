"""An answer of `generateContent` in the words of chat completions, whole and in pieces.

What comes out is still to be rebuilt from the allow-list: here only the names change. Thoughts are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from burnish_interceptor.dialects.allow import NotAnAnswer, call_id, dumped, hashed, parsed, text
from burnish_interceptor.dialects.usage import count

Json = Any
_LENGTH = frozenset({"MAX_TOKENS"})
_FILTERED = frozenset(
    {
        "BLOCKLIST",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "RECITATION",
        "SAFETY",
        "SPII",
    }
)
# Ends without an answer that could be used: the model's own call could not be read.
_BROKEN = frozenset({"MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"})
_BLOCKED = "The provider's filter blocked the prompt."


def completion(body: bytes) -> bytes:
    """Returns a whole answer as a chat completion.

    Raises:
        NotAnAnswer: It holds neither an answer nor the reason why there is none.
    """
    data = parsed(body)
    choices = []
    for candidate in _candidates(data):
        reason = _reason(candidate)
        if reason in _BROKEN:
            raise NotAnAnswer
        index = _index(candidate)
        content, calls = _content(candidate)
        message: dict[str, Json] = {"role": "assistant", "content": content}
        if calls:
            message["tool_calls"] = _tool_calls(calls, index=index, first=0)
        choice = {"index": index, "message": message, "finish_reason": _finish(reason, bool(calls))}
        if (logprobs := _logprobs(candidate)) is not None:
            choice["logprobs"] = logprobs
        choices.append(choice)
    if not choices:
        choices = _blocked(data, part="message", count=1)
    return dumped({**_envelope(data), "choices": choices, "usage": usage(data)})


class Pieces:
    """Turns the pieces of one answer into the events of a chat completion."""

    def __init__(self, *, choices: int) -> None:
        """Takes how many answers were asked for."""
        self._choices = choices
        self._calls: dict[int, int] = {}
        self._finished: set[int] = set()

    def events(self, data: bytes) -> Iterator[bytes]:
        """Yields what one piece is as events; the usage comes with the last one.

        Raises:
            NotAnAnswer: It is an error, or holds no part of an answer.
        """
        source = parsed(data)
        if source.get("error"):
            raise NotAnAnswer
        candidates = _candidates(source)
        if not candidates and not source.get("promptFeedback"):
            return
        choices = [self._choice(one) for one in candidates] or _blocked(
            source, part="delta", count=self._choices
        )
        self._finished.update(
            one["index"] for one in choices if one.get("finish_reason") is not None
        )
        yield dumped({**_envelope(source), "choices": choices})
        if len(self._finished) >= self._choices:
            yield dumped({**_envelope(source), "choices": [], "usage": usage(source)})

    def _choice(self, candidate: Mapping[str, Json]) -> dict[str, Json]:
        reason, index = _reason(candidate), _index(candidate)
        if reason in _BROKEN:
            raise NotAnAnswer
        content, calls = _content(candidate)
        delta: dict[str, Json] = {}
        if index not in self._calls:
            self._calls[index] = 0
            delta["role"] = "assistant"
        if content is not None:
            delta["content"] = content
        if calls:
            delta["tool_calls"] = _tool_calls(calls, index=index, first=self._calls[index])
            self._calls[index] += len(calls)
        choice: dict[str, Json] = {"index": index, "delta": delta, "finish_reason": None}
        if reason is not None:
            choice["finish_reason"] = _finish(reason, self._calls[index] > 0)
        if (logprobs := _logprobs(candidate)) is not None:
            choice["logprobs"] = logprobs
        return choice


def usage(data: Mapping[str, Json]) -> dict[str, Json] | None:
    """Returns a usage in the words of chat completions; thoughts are part of what was made."""
    told = data.get("usageMetadata")
    if not isinstance(told, dict):
        return None

    names = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount")
    counts = [count(told.get(name, 0)) for name in (*names, "thoughtsTokenCount")]
    if None in counts:
        return None
    prompt, tools, answer, thought = (value or 0 for value in counts)
    given, made = prompt + tools, answer + thought
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": count(told.get("cachedContentTokenCount")) or 0},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _envelope(data: Mapping[str, Json]) -> dict[str, Json]:
    return {"id": data.get("responseId"), "object": "chat.completion", "created": 0}


def _candidates(data: Mapping[str, Json]) -> list[dict[str, Json]]:
    candidates = data.get("candidates")
    if not isinstance(candidates, list):
        return []
    return [one for one in candidates if isinstance(one, dict) and type(_index(one)) is int]


def _index(candidate: Mapping[str, Json]) -> Json:
    return candidate.get("index", 0)


def _reason(candidate: Mapping[str, Json]) -> str | None:
    """Returns why a candidate ended, or None when it has not."""
    reason = candidate.get("finishReason")
    return reason if reason is None or isinstance(reason, str) else ""


def _content(candidate: Mapping[str, Json]) -> tuple[str | None, list[dict[str, Json]]]:
    """Returns the text of a candidate, and its function calls."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    texts, calls = [], []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict) or part.get("thought"):
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        if isinstance(part.get("functionCall"), dict):
            calls.append(part["functionCall"])
    return "".join(texts) if texts or not calls else None, calls


def _tool_calls(calls: list[dict[str, Json]], *, index: int, first: int) -> list[dict[str, Json]]:
    found = []
    for place, call in enumerate(calls, start=first):
        arguments = dumped(call.get("args") or {}).decode()
        name = text(call.get("name"))
        made = hashed("call_", f"{index}/{place}/{name}/{arguments}")
        found.append(
            {
                "index": place,
                "id": call_id(call.get("id")) or made,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
        )
    return found


def _finish(reason: str | None, called: bool) -> str:
    if reason in _LENGTH:
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if called else "stop"


def _blocked(data: Mapping[str, Json], *, part: str, count: int) -> list[dict[str, Json]]:
    feedback = data.get("promptFeedback")
    if not isinstance(feedback, dict) or not feedback.get("blockReason"):
        raise NotAnAnswer
    message = {"role": "assistant", "content": "", "refusal": _BLOCKED}
    return [
        {"index": index, part: message, "finish_reason": "content_filter"} for index in range(count)
    ]


def _logprobs(candidate: Mapping[str, Json]) -> dict[str, Json] | None:
    result = candidate.get("logprobsResult")
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(chosen, list):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for place, token in enumerate(chosen):
        rivals = _tokens(tops[place].get("candidates")) if _has(tops, place) else []
        content += [{**one, "top_logprobs": rivals} for one in _tokens([token])]
    return {"content": content}


def _has(tops: list[Json], place: int) -> bool:
    return place < len(tops) and isinstance(tops[place], dict)


def _tokens(tokens: Json) -> list[dict[str, Json]]:
    found = []
    for token in tokens if isinstance(tokens, list) else ():
        said = text(token.get("token")) if isinstance(token, dict) else None
        if said is not None:
            given = list(said.encode("utf-8", "replace"))
            found.append({"token": said, "logprob": token.get("logProbability"), "bytes": given})
    return found
