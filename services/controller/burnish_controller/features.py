"""What search is told of components in the place of their text: lengths, demos, a word on form."""

from __future__ import annotations

import json
import re

from burnish.api.types import v1 as types_v1
from burnish_controller.demos import message_text

_FORMAT = re.compile(
    r"\b(?:reply|respond|answer|output|return|write|give)\w*\b[^.\n]{0,60}"
    r"\b(?:only|exactly|just|nothing else|in the form|in the format|as json|one of)\b"
    r"|\bjson\b|\bformat\b",
    re.IGNORECASE,
)


def features_of(component: types_v1.Component) -> types_v1.ComponentFeatures:
    """Returns what a component is like."""
    if component.WhichOneof("content") == "demo_set":
        demos = component.demo_set.demos
        return types_v1.ComponentFeatures(
            character_count=sum(map(_demo_length, demos)), demo_count=len(demos)
        )
    text = _text(component.instruction)
    return types_v1.ComponentFeatures(
        character_count=len(text), format_reminder=_FORMAT.search(text) is not None
    )


def _text(instruction: types_v1.Instruction) -> str:
    """Returns everything that an instruction puts into a prompt."""
    if instruction.HasField("transform"):
        return "\n".join(one.new_text for one in instruction.transform.replacements)
    if instruction.sections:
        return "\n".join(one.content for one in instruction.sections)
    return instruction.text


def _demo_length(demo: types_v1.Demo) -> int:
    """Returns the characters of a demo: what its user turn is filled with, and what follows it."""
    filled = sum(map(len, demo.bindings.values()))
    return filled + sum(len(message_text(json.loads(one))) for one in demo.messages)
