"""Reads chat-completion requests: OpenAI's shape in, one value object out, all problems named."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from burnish.errors import InvalidArgument

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAX_CHOICES: Final = 128
_MAX_TOP_LOGPROBS: Final = 20


class BadChatRequest(InvalidArgument):
    """A chat request that is never valid; `param` names the field at fault.

    The status is 404 for a model that is not served, otherwise 400.
    """

    default_reason = "BAD_CHAT_REQUEST"

    def __init__(
        self, message: str, *, param: str | None, status: int = 400, kind: str | None = None
    ) -> None:
        """Keeps the message for the reply; it never holds message text."""
        super().__init__(message, metadata={} if param is None else {"param": param})
        self.param = param
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message; `calls` are the argument texts of its tool calls."""

    role: str
    text: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How answers are drawn and cut; temperature 0 means the best answer.

    The default temperature is 0: this model's own default, unlike the hosted ones, so that an app
    that sets nothing is repeatable.
    """

    temperature: float = 0.0
    seed: int | None = None
    choice_count: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A valid chat-completion request."""

    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: object = None
    response_format: Mapping[str, Any] | None = None
    stream: bool = False
    include_usage: bool = False
    extra_text: str = field(default="", repr=False)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Reads a request body.

    Raises:
        BadChatRequest: The body is not JSON, or a field has a value that is never valid.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadChatRequest(
            "the body is not valid JSON; send one JSON object", param=None
        ) from None
    if not isinstance(value, dict):
        raise BadChatRequest("the body is not a JSON object", param=None)
    model = value.get("model")
    if not isinstance(model, str) or not model:
        raise BadChatRequest("`model` is missing; give the id of a model", param="model")
    tools = _tools(value)
    response_format = _object(value, "response_format")
    options = _object(value, "stream_options")
    return ChatRequest(
        model=model,
        messages=_messages(value.get("messages")),
        sampling=_sampling(value),
        tools=tools,
        tool_choice=_tool_choice(value, tools),
        response_format=response_format,
        stream=_flag(value, "stream"),
        include_usage=options is not None and options.get("include_usage") is True,
        extra_text=json.dumps(tools) if tools else "",
    )


def _messages(value: object) -> tuple[ChatMessage, ...]:
    if not isinstance(value, list) or not value:
        raise BadChatRequest("`messages` must be a list of at least one message", param="messages")
    return tuple(_message(each, f"messages[{i}]") for i, each in enumerate(value))


def _message(value: object, place: str) -> ChatMessage:
    if not isinstance(value, dict):
        raise BadChatRequest(f"`{place}` must be an object", param=place)
    role = value.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(sorted(_ROLES))
        raise BadChatRequest(f"`{place}.role` must be one of {known}", param=f"{place}.role")
    calls = value.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadChatRequest(f"`{place}.tool_calls` must be a list", param=f"{place}.tool_calls")
    arguments = tuple(_arguments(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(calls))
    content = value.get("content")
    if content is None and not arguments and role != "assistant":
        raise BadChatRequest(f"`{place}.content` is missing", param=f"{place}.content")
    return ChatMessage(role=role, text=_text(content, f"{place}.content"), calls=arguments)


def _arguments(call: object, place: str) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str):
        raise BadChatRequest(f"`{place}.function.arguments` must be a string", param=place)
    return arguments


def _text(content: object, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadChatRequest(f"`{place}` must be a string or a list of parts", param=place)
    texts: list[str] = []
    for i, part in enumerate(content):
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise BadChatRequest(
                f"`{place}[{i}]` is not a text part; the local models read text only",
                param=f"{place}[{i}]",
            )
        texts.append(text)
    return "\n".join(texts)


def _sampling(value: Mapping[str, Any]) -> Sampling:
    temperature = _number(value, "temperature", low=0.0, high=2.0)
    limit = _whole(value, "max_completion_tokens", low=1)
    if limit is None:
        limit = _whole(value, "max_tokens", low=1)
    count = _whole(value, "n", low=1, high=_MAX_CHOICES)
    top = _whole(value, "top_logprobs", low=0, high=_MAX_TOP_LOGPROBS)
    logprobs = _flag(value, "logprobs")
    if top is not None and not logprobs:
        raise BadChatRequest("`top_logprobs` needs `logprobs` to be true", param="top_logprobs")
    stop = value.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if stops is not None and not (_all(stops, lambda each: isinstance(each, str) and each != "")):
        raise BadChatRequest("`stop` must be a text or a list of texts", param="stop")
    return Sampling(
        temperature=0.0 if temperature is None else temperature,
        seed=_whole(value, "seed"),
        choice_count=1 if count is None else count,
        max_tokens=limit,
        stop=tuple(stops or ()),
        logprobs=logprobs,
        top_logprobs=0 if top is None else top,
    )


def _all(value: object, accept: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and all(accept(each) for each in value)


def _number(value: Mapping[str, Any], key: str, *, low: float, high: float) -> float | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise BadChatRequest(f"`{key}` must be a number in [{low:g}, {high:g}]", param=key)
    return float(number)


def _whole(
    value: Mapping[str, Any], key: str, *, low: int | None = None, high: int | None = None
) -> int | None:
    number = value.get(key)
    if number is None:
        return None
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or (low is not None and number < low) or (high is not None and number > high):
        wanted = "an integer"
        if low is not None:
            wanted += f" of at least {low}" if high is None else f" in [{low}, {high}]"
        raise BadChatRequest(f"`{key}` must be {wanted}", param=key)
    return int(number)


def _flag(value: Mapping[str, Any], key: str) -> bool:
    flag = value.get(key)
    if flag is not None and not isinstance(flag, bool):
        raise BadChatRequest(f"`{key}` must be true or false", param=key)
    return flag is True


def _object(value: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    found = value.get(key)
    if found is not None and not isinstance(found, dict):
        raise BadChatRequest(f"`{key}` must be an object", param=key)
    return found


def _tools(value: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    tools = value.get("tools")
    if tools is None:
        return ()
    if not isinstance(tools, list):
        raise BadChatRequest("`tools` must be a list", param="tools")
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            raise BadChatRequest(
                f"`tools[{i}]` must be a function with a name", param=f"tools[{i}].function.name"
            )
    return tuple(tools)


def _tool_choice(value: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> object:
    choice = value.get("tool_choice")
    if choice is None or choice in ("none", "auto"):
        return choice
    if not tools:
        raise BadChatRequest("`tool_choice` needs `tools`", param="tool_choice")
    if choice == "required":
        return choice
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [tool["function"]["name"] for tool in tools]:
        raise BadChatRequest("`tool_choice` names no function of `tools`", param="tool_choice")
    return choice
