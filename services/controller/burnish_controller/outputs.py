"""What a rollout put out and what was wanted of it, as text."""

from __future__ import annotations

import json

from burnish.api.types import v1 as types_v1


def output_text(result: types_v1.RolloutResult) -> str:
    """Returns a rollout's output as text: its `answer` when it has one, else the whole JSON."""
    return _text(result.output)


def reference_text(result: types_v1.RolloutResult) -> str:
    """Returns what was wanted as text; empty when the app does not tell."""
    return _text(result.reference)


def stage_reference(result: types_v1.RolloutResult, stage_id: str) -> str:
    """Returns what a stage was wanted to say, from a reference with a key of its name; else "".

    An app with several stages tells so what each of them should have said.
    """
    value = json.loads(result.reference) if result.reference else None
    wanted = value.get(stage_id) if isinstance(value, dict) else None
    return wanted if isinstance(wanted, str) else ""


def _text(data: bytes) -> str:
    if not data:
        return ""
    value = json.loads(data)
    if isinstance(value, dict):
        for key in ("answer", "label", "predicted", "output"):
            if isinstance(value.get(key), str):
                return str(value[key])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
