"""Instructions that have another form than a text: replacements, or messages of their own."""

from __future__ import annotations

from collections.abc import Iterable

from burnish import identity, templates
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1

_ROLES = ("system", "developer", "user", "assistant")
_SYSTEM_ROLES = ("system", "developer")


def content_of(prompt: policy_v1.StagePrompt) -> types_v1.Instruction | None:
    """Returns what a prompt says besides its demos; None when it leaves the app's own."""
    if prompt.HasField("transform"):
        return types_v1.Instruction(transform=prompt.transform)
    if prompt.sections:
        return types_v1.Instruction(sections=prompt.sections)
    return types_v1.Instruction(text=prompt.instruction) if prompt.HasField("instruction") else None


def component_of(
    stage_id: str, content: types_v1.Instruction, *, source: types_v1.ComponentSource.ValueType
) -> types_v1.Component:
    """Mints an instruction of any form."""
    return types_v1.Component(
        component_id=identity.instruction_id(
            stage_id=stage_id, text=content.text, form=_form(content)
        ),
        stage_id=stage_id,
        instruction=content,
        source=source,
    )


def faults(
    where: str, template: types_v1.PromptTemplate, prompt: policy_v1.StagePrompt
) -> Iterable[str]:
    """Yields what is wrong with the form of a prompt.

    Args:
        where: What to begin each message with.
        template: The stage's.
        prompt: What is to be put on its calls.
    """
    given = [prompt.HasField("instruction"), prompt.HasField("transform"), bool(prompt.sections)]
    if sum(given) > 1:
        yield f"{where} has more than one of `instruction`, `transform` and `sections`; give one"
    if prompt.HasField("transform"):
        if not prompt.transform.replacements:
            yield f"{where}: `transform` has no replacements"
        for number, one in enumerate(prompt.transform.replacements):
            if one.role and one.role not in _ROLES:
                yield f"{where}: replacement {number} has role `{one.role}`; use one of {_listed()}"
            if one.HasField("old_text") and not one.old_text:
                yield f"{where}: replacement {number} has an empty `old_text`; leave it out"
            if one.HasField("position") and one.position < 0:
                yield f"{where}: replacement {number} has position {one.position}; count from 0"
    for number, section in enumerate(prompt.sections):
        if section.role not in _ROLES:
            yield f"{where}: section {number} has role `{section.role}`; use one of {_listed()}"
    yield from _lost(where, template, prompt)


def _lost(
    where: str, template: types_v1.PromptTemplate, prompt: policy_v1.StagePrompt
) -> Iterable[str]:
    """Names required wildcards that the sections take out of the conversation."""
    system = any(one.role in _SYSTEM_ROLES for one in prompt.sections)
    user = bool(prompt.sections) and max(prompt.sections, key=lambda one: one.order).role == "user"
    last = next((one for one in reversed(template.messages) if one.role == "user"), None)
    gone = [one for one in template.messages if system and one.role in _SYSTEM_ROLES]
    gone += [last] if user and last is not None else []
    required = {
        name
        for one in gone
        for name in templates.parse(one.pattern).names
        if template.wildcards.get(name) != types_v1.WILDCARD_KIND_OPTIONAL
    }
    kept = {name for one in prompt.sections for name in templates.parse(one.content).names}
    if missing := sorted(required - kept):
        names = ", ".join(f"`{{{name}}}`" for name in missing)
        yield f"{where}: the sections lost {names}; the app's values would not be sent"


def _form(content: types_v1.Instruction) -> identity.InstructionForm | None:
    if content.HasField("transform"):
        transform = content.transform
        return identity.InstructionForm(
            transform=identity.TransformContent(
                replacements=[
                    identity.ReplacementContent(
                        old_text=one.old_text if one.HasField("old_text") else None,
                        new_text=one.new_text,
                        role=one.role or "system",
                        position=one.position if one.HasField("position") else None,
                    )
                    for one in transform.replacements
                ],
                exact=transform.match == types_v1.TEXT_MATCH_EXACT,
                ignore_case=transform.ignore_case,
                strict=transform.strict,
            )
        )
    if content.sections:
        ordered = sorted(content.sections, key=lambda one: one.order)
        return identity.InstructionForm(sections=[(one.role, one.content) for one in ordered])
    return None


def _listed() -> str:
    return ", ".join(f"`{role}`" for role in _ROLES)
