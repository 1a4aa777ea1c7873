"""Puts a candidate's prompt into a chat request, and forces the stage's model on it.

The app's own messages and unknown fields keep their bytes. Of the model settings the stage's win
where it names them: the model always, temperature and output limit when they are set. Without any
output limit the call is given `DEFAULT_OUTPUT_TOKENS`, because a call without one has no worst case
that a budget could reserve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from burnish import templates
from burnish.templates import Pattern
from burnish_interceptor.dialects.request import ChatRequest
from burnish_interceptor.policies.policy import Demo, Mode, Model, Stage, StagePrompt
from burnish_interceptor.prompts import match, splice
from burnish_interceptor.prompts.match import SYSTEM_ROLES

DEFAULT_OUTPUT_TOKENS = 4096
_NONE: Mapping[str, str] = MappingProxyType({})
_LIMITS = ("max_completion_tokens", "max_tokens")
_NEW_LIMIT_PROVIDERS = frozenset({"openai", "groq"})
# Fields by which a provider would repeat the prompt, or keep it for a later call.
_REFUSED_FIELDS = (
    "add_generation_prompt",
    "continue_final_message",
    "echo",
    "previous_response_id",
    "prompt_logprobs",
    "return_prompt_token_ids",
    "return_token_ids",
    "store",
)


class WildcardUnbound(Exception):
    """A required wildcard could not be bound, so nothing may be put on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request ready to leave.

    Attributes:
        body: JSON for the provider.
        model: Where it goes.
        max_output_tokens: Most tokens that the answer can have, all choices together.
        bindings: Values bound to the stage's wildcards.
    """

    body: bytes
    model: Model
    max_output_tokens: int
    bindings: Mapping[str, str]


def passed_through(
    request: ChatRequest, model: Model, *, bindings: Mapping[str, str] = _NONE
) -> Outgoing:
    """Returns the request with nothing but the model's settings changed."""
    return _outgoing(request, model=model, messages=None, bindings=bindings)


def substituted(request: ChatRequest, *, stage: Stage, prompt: StagePrompt) -> Outgoing:
    """Returns the request with a candidate's prompt for a stage.

    Without patterns the instruction goes out as it is, braces and all.

    Raises:
        WildcardUnbound: The stage works by patterns and a required wildcard was not found.
    """
    roles = [message.role for message in request.messages]
    system = next((i for i, role in enumerate(roles) if role in SYSTEM_ROLES), None)
    instruction, bindings = _instruction(request, stage, prompt)
    messages = [request.raw(index) for index in range(len(roles))]
    if instruction is not None and system is None:
        messages.insert(0, _message("system", instruction))
        roles.insert(0, "system")
        system = 0
    elif instruction is not None and system is not None:
        messages[system] = _message(roles[system], instruction)
    first_turn = 0 if system is None else system + 1
    before = max((i for i, role in enumerate(roles) if role == "user"), default=first_turn)
    messages[before:before] = [turn for demo in prompt.demos for turn in demo_messages(stage, demo)]
    return _outgoing(
        request,
        model=stage.model,
        messages=b"[" + b",".join(messages) + b"]",
        bindings=bindings,
    )


def demo_messages(stage: Stage, demo: Demo) -> list[bytes]:
    """Returns a demo's messages: its user turn, then what follows.

    The user turn is the stage's last user pattern, cut to the lines that hold a wildcard which the
    demo binds: lines that are the same in every call would only be repeated.
    """
    pattern = next((m.pattern for m in reversed(stage.messages) if m.role == "user"), None)
    known = frozenset(demo.bindings)
    if pattern is None or not pattern.names & known:
        text = "\n".join(demo.bindings.values())
    else:
        lines = templates.lines_with(pattern, known)
        values = {name: demo.bindings.get(name, "") for name in lines.names}
        text = lines.render(values).strip()
    return [_message("user", text), *demo.messages]


def bindings_of(request: ChatRequest, stage: Stage) -> dict[str, str] | None:
    """Returns the values of a stage's wildcards in a request, or None when one cannot be bound."""
    for pairing in match.pairs(stage, request.messages):
        found: dict[str, str] = {}
        for pattern, index in pairing:
            bound = _bound(pattern.pattern, request, index, stage.optional)
            if bound is None or any(found.get(k, v) != v for k, v in bound.items()):
                break
            found |= bound
        else:
            return found
    return None


def _bound(
    pattern: Pattern, request: ChatRequest, index: int | None, optional: frozenset[str]
) -> dict[str, str] | None:
    if not pattern.names:
        return {}
    if index is None:
        return dict.fromkeys(pattern.names, "") if pattern.names <= optional else None
    return templates.bind(pattern, request.messages[index].text, optional=optional)


def _instruction(
    request: ChatRequest, stage: Stage, prompt: StagePrompt
) -> tuple[str | None, dict[str, str]]:
    bindings = bindings_of(request, stage)
    if prompt.instruction is None:
        return None, bindings or {}
    if stage.mode is Mode.SYSTEM:
        return prompt.instruction, bindings or {}
    if bindings is None:
        raise WildcardUnbound
    pattern = templates.parse(prompt.instruction, names=stage.wildcards)
    return pattern.render(bindings), bindings


def _message(role: str, text: str) -> bytes:
    return orjson.dumps({"role": role, "content": text})


def _outgoing(
    request: ChatRequest, *, model: Model, messages: bytes | None, bindings: Mapping[str, str]
) -> Outgoing:
    changes: dict[str, bytes | None] = dict.fromkeys(_REFUSED_FIELDS)
    changes["model"] = orjson.dumps(model.name)
    if messages is not None:
        changes["messages"] = messages
    if model.temperature is not None:
        changes["temperature"] = orjson.dumps(model.temperature)
    limit = model.max_output_tokens or request.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    names = {member.name for member in request.members}
    sent = [name for name in _LIMITS if name in names]
    default = _LIMITS[0] if model.provider in _NEW_LIMIT_PROVIDERS else _LIMITS[1]
    changes |= dict.fromkeys(sent or [default], orjson.dumps(limit))
    if request.stream and not request.include_usage:
        changes["stream_options"] = orjson.dumps(request.stream_options | {"include_usage": True})
    return Outgoing(
        body=splice.replaced(request.body, changes, known=request.members),
        model=model,
        max_output_tokens=limit * request.choices,
        bindings=bindings,
    )
