"""What a candidate changes in a stage's conversation: its texts, and the demos it brings.

All that a prompt says of every call of its stage is worked out once; a call then costs a few look-
ups. Either everything a prompt needs of a call is there, or nothing of it leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from burnish import templates
from burnish_interceptor.policies.policy import Demo, Mode, Stage, StagePrompt
from burnish_interceptor.prompts.edit import Message, PromptEdit
from burnish_interceptor.prompts.shapes import SYSTEM_ROLES, StageShape
from burnish_interceptor.prompts.transform import replaced, section_plan

_CACHED_RECIPES = 1024
_CACHED_EDITS = 64


class NotSubstitutable(Exception):
    """A prompt that cannot be put on a call, which therefore must not be made."""

    reason = "PROMPT_UNFIT"


class WildcardUnbound(NotSubstitutable):
    """A required wildcard could not be bound."""

    reason = "WILDCARD_UNBOUND"


class ReplacementUnfound(NotSubstitutable):
    """A replacement that has to be made found nothing to replace."""

    reason = "REPLACEMENT_UNFOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """A candidate's edit of one call.

    Attributes:
        edit: What changes.
        bindings: Values bound to the stage's wildcards.
        applied: Whether the prompt is in force; a lenient one may have found nothing to replace,
            and then the call counts as unmatched.
    """

    edit: PromptEdit
    bindings: Mapping[str, str]
    applied: bool = True


class Recipe:
    """What one prompt does to every call of its stage."""

    __slots__ = ("_demos", "_edits", "_pattern", "_sections", "_shape", "prompt", "stage")

    def __init__(self, stage: Stage, prompt: StagePrompt) -> None:
        self.stage = stage
        self.prompt = prompt
        self._shape = StageShape(stage)
        self._demos = tuple(turn for demo in prompt.demos for turn in demo_messages(stage, demo))
        self._edits: dict[int, PromptEdit] = {}
        sections = prompt.sections
        self._sections = section_plan(sections, wildcards=stage.wildcards) if sections else None
        by_pattern = prompt.instruction is not None and stage.mode is Mode.PATTERN
        self._pattern = (
            templates.parse(prompt.instruction or "", names=stage.wildcards) if by_pattern else None
        )

    def apply(
        self, messages: Sequence[Message], bindings: Mapping[str, str] | None
    ) -> Substitution:
        """Returns the edit of one call; see `edited`."""
        if bindings is None:
            bindings = self._shape.bind(messages)
        if self._sections is not None:
            return self._by_sections(messages, bindings)
        if self.prompt.transform is not None:
            return self._by_transform(messages, bindings or {})
        before = _before_last_user(messages)
        if self._pattern is None:
            edit = self._edits.get(before)
            if edit is None:
                edit = PromptEdit(
                    system=self.prompt.instruction, demos=self._demos, demos_before=before
                )
                if len(self._edits) < _CACHED_EDITS:
                    self._edits[before] = edit
            return Substitution(edit=edit, bindings=bindings or {})
        if bindings is None:
            raise WildcardUnbound
        edit = PromptEdit(
            system=self._pattern.render(bindings), demos=self._demos, demos_before=before
        )
        return Substitution(edit=edit, bindings=bindings)

    def _by_sections(
        self, messages: Sequence[Message], bindings: Mapping[str, str] | None
    ) -> Substitution:
        plan = self._sections
        if plan is None or bindings is None:
            raise WildcardUnbound
        before = _before_last_user(messages)
        texts: dict[int, str] = {}
        if plan.last is not None:
            # The user's turn is given up for the section, so nothing of it may be lost.
            turn = messages[before] if before < len(messages) else None
            said = self._shape.bind_last_user(turn) if turn is not None else None
            if said is None or any(bindings.get(name) != value for name, value in said.items()):
                raise WildcardUnbound
            if not said.keys() - self.stage.optional <= plan.names:
                raise WildcardUnbound
            texts[before] = plan.last.render(bindings)
        edit = PromptEdit(
            system=None if plan.system is None else plan.system.render(bindings),
            texts=texts,
            demos=plan.rendered_before(bindings) + self._demos,
            demos_before=before,
        )
        return Substitution(edit=edit, bindings=bindings)

    def _by_transform(
        self, messages: Sequence[Message], bindings: Mapping[str, str]
    ) -> Substitution:
        transform = self.prompt.transform
        if transform is None:
            raise ReplacementUnfound
        done = replaced(messages, transform)
        if transform.strict and done.missed:
            raise ReplacementUnfound
        if len(done.missed) == len(transform.replacements) > 0:
            return Substitution(edit=PromptEdit(), bindings=bindings, applied=False)
        texts = dict(done.texts)
        first = next((i for i, one in enumerate(messages) if one.role in SYSTEM_ROLES), None)
        system = done.inserted if first is None else texts.pop(first, None)
        edit = PromptEdit(
            system=system,
            texts=texts,
            demos=self._demos,
            demos_before=_before_last_user(messages),
        )
        return Substitution(edit=edit, bindings=bindings)


class Editor:
    """Makes edits, and remembers what was worked out of each prompt; the memory is bounded."""

    def __init__(self) -> None:
        self._recipes: OrderedDict[tuple[int, int], Recipe] = OrderedDict()

    def edited(
        self,
        messages: Sequence[Message],
        *,
        stage: Stage,
        prompt: StagePrompt,
        bindings: Mapping[str, str] | None = None,
    ) -> Substitution:
        """Returns what a prompt changes in a conversation, as the function `edited`.

        Args:
            messages: The call's, at least one.
            stage: Its stage, the same object for every call.
            prompt: The candidate's, the same object for every call.
            bindings: Values of the stage's wildcards, when they are known already.
        """
        key = (id(stage), id(prompt))
        recipe = self._recipes.get(key)
        if recipe is None or recipe.stage is not stage or recipe.prompt is not prompt:
            recipe = self._recipes[key] = Recipe(stage, prompt)
            if len(self._recipes) > _CACHED_RECIPES:
                self._recipes.popitem(last=False)
        return recipe.apply(messages, bindings)


def edited(messages: Sequence[Message], *, stage: Stage, prompt: StagePrompt) -> Substitution:
    """Returns what a candidate's prompt for a stage changes in a conversation.

    Without patterns an instruction goes out as it is, braces and all.

    Raises:
        WildcardUnbound: The prompt needs the stage's wildcards and a required one was not found, or
            its sections would lose what the user said.
        ReplacementUnfound: A strict replacement found nothing.
    """
    return Recipe(stage, prompt).apply(messages, None)


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
    return [orjson.dumps({"role": "user", "content": text}), *demo.messages]


def bindings_of(messages: Sequence[Message], stage: Stage) -> dict[str, str] | None:
    """Returns the values of a stage's wildcards in a call, or None when one cannot be bound."""
    return StageShape(stage).bind(messages)


def _before_last_user(messages: Sequence[Message]) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    system = (i for i, message in enumerate(messages) if message.role in SYSTEM_ROLES)
    return next(system, -1) + 1
