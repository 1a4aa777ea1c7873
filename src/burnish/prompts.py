"""A prompt that a job found, as people use it: text, chat messages, a diff against another."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from burnish import templates
from burnish.errors import InvalidArgument

ChatMessage = dict[str, object]


class WildcardUnbound(InvalidArgument):
    """A pattern names a wildcard that was given no value."""

    default_reason = "WILDCARD_UNBOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDemo:
    """One worked example.

    Attributes:
        bindings: Value of each wildcard of the user pattern.
        messages: What follows the user turn, as OpenAI chat messages.
    """

    bindings: Mapping[str, str]
    messages: Sequence[Mapping[str, object]]

    @property
    def label(self) -> str:
        """What the demo answers: its text, or the arguments of its tool call."""
        for message in self.messages:
            if message.get("role") != "assistant":
                continue
            calls = message.get("tool_calls")
            if isinstance(calls, list) and calls:
                return _tool_answer(calls[0])
            return str(message.get("content") or "")
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePrompt:
    """The prompt of one stage.

    Attributes:
        stage_id: The stage.
        instruction: What its system message says.
        demos: Worked examples in the order they are sent.
        pattern: Messages that the app sends, as (role, pattern); empty when unknown.
        optional_wildcards: Wildcards that are empty when not bound.
        renders_instruction: Whether wildcards in the instruction are bound too.
        instruction_id: Component that holds the instruction.
        demo_set_id: Component that holds the demos.
    """

    stage_id: str
    instruction: str
    demos: tuple[PromptDemo, ...] = ()
    pattern: tuple[tuple[str, str], ...] = ()
    optional_wildcards: frozenset[str] = field(default_factory=frozenset)
    renders_instruction: bool = False
    instruction_id: str = ""
    demo_set_id: str = ""

    def messages(self, values: Mapping[str, str]) -> list[ChatMessage]:
        """Returns the chat messages for some values of the wildcards.

        Raises:
            WildcardUnbound: A required wildcard has no value.
        """
        system = self.instruction
        if self.renders_instruction:
            system = self._render(system, values)
        turns: list[ChatMessage] = [{"role": "system", "content": system}] if system else []
        own = [(role, text) for role, text in self.pattern if role not in {"system", "developer"}]
        last_user = max((i for i, (role, _) in enumerate(own) if role == "user"), default=len(own))
        turns += [self._turn(role, text, values) for role, text in own[:last_user]]
        for demo in self.demos:
            turns.append({"role": "user", "content": self.demo_query(demo)})
            turns += [dict(message) for message in demo.messages]
        return turns + [self._turn(role, text, values) for role, text in own[last_user:]]

    def demo_query(self, demo: PromptDemo) -> str:
        """Returns a demo's user turn: the lines of the user pattern that hold one of its values."""
        user = next((text for role, text in reversed(self.pattern) if role == "user"), "")
        shown = templates.lines_with(templates.parse(user), demo.bindings.keys())
        if not shown.parts:
            return "\n".join(demo.bindings.values())
        return shown.render({**dict.fromkeys(shown.names, ""), **demo.bindings})

    def _turn(self, role: str, text: str, values: Mapping[str, str]) -> ChatMessage:
        return {"role": role, "content": self._render(text, values)}

    def _render(self, text: str, values: Mapping[str, str]) -> str:
        return render(text, {**dict.fromkeys(self.optional_wildcards, ""), **values})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The prompt of a whole program.

    Attributes:
        candidate_id: The candidate that it is.
        stages: Its stages in the order they run.
    """

    candidate_id: str
    stages: tuple[StagePrompt, ...]

    @property
    def text(self) -> str:
        """The instruction; of a program with several stages, each under its stage's name."""
        if len(self.stages) == 1:
            return self.stages[0].instruction
        return "\n\n".join(f"[{stage.stage_id}]\n{stage.instruction}" for stage in self.stages)

    @property
    def full_text(self) -> str:
        """Every message, demos included, as blocks headed `[role | name]`."""
        blocks = []
        for stage in self.stages:
            blocks.append(f"[system | {stage.stage_id}]\n{stage.instruction}")
            for demo in stage.demos:
                blocks.append(f"[user | {stage.stage_id}]\n{stage.demo_query(demo)}")
                blocks.append(f"[assistant | {stage.stage_id}]\n{demo.label}")
        return "\n\n".join(blocks)

    def stage(self, stage_id: str | None = None) -> StagePrompt:
        """Returns a stage by id; None is allowed for a program of one stage.

        Raises:
            InvalidArgument: There is no such stage, or there are several and none is named.
        """
        if stage_id is None and len(self.stages) == 1:
            return self.stages[0]
        for stage in self.stages:
            if stage.stage_id == stage_id:
                return stage
        names = ", ".join(f"`{stage.stage_id}`" for stage in self.stages)
        raise InvalidArgument(
            f"stage `{stage_id}` is not in the program; name one of {names}",
            reason="STAGE_UNKNOWN",
            metadata={"stage_id": str(stage_id)},
        )

    def messages(self, stage_id: str | None = None, /, **values: str) -> list[ChatMessage]:
        """Returns the chat messages of a stage for some values of its wildcards.

        Raises:
            WildcardUnbound: A required wildcard has no value.
            InvalidArgument: There are several stages and none is named.
        """
        return self.stage(stage_id).messages(values)

    def diff(self, other: Prompt) -> str:
        """Returns a unified diff from another prompt, such as the baseline, to this one."""
        lines = difflib.unified_diff(
            other.full_text.splitlines(),
            self.full_text.splitlines(),
            fromfile=other.candidate_id or "before",
            tofile=self.candidate_id or "after",
            lineterm="",
        )
        return "\n".join(lines)


def names_in(pattern: str) -> list[str]:
    """Returns the wildcards of a pattern in the order they stand."""
    parts = templates.parse(pattern).parts
    return [part.name for part in parts if isinstance(part, templates.Wildcard)]


def render(pattern: str, values: Mapping[str, str]) -> str:
    """Puts values into a pattern; `{{` and `}}` are literal braces (see `burnish.templates`).

    Raises:
        WildcardUnbound: A wildcard has no value.
    """
    parsed = templates.parse(pattern)
    for name in names_in(pattern):
        if name not in values:
            raise WildcardUnbound(
                f"wildcard `{name}` has no value; give one by `{name}=...`",
                metadata={"wildcard": name},
            )
    return parsed.render(values)


def _tool_answer(call: object) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str):
        return ""
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    if isinstance(values, dict) and len(values) == 1:
        (value,) = values.values()
        if isinstance(value, str):
            return value
    return arguments
