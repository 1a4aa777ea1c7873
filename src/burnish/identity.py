"""Content hashes: the ids of components, candidates and rollouts, over defined canonical bytes.

Canonical bytes are JSON (RFC 8259) in UTF-8 with keys sorted by code point, no white space, and no
escapes but those that JSON demands. The first 128 bits of their SHA-256 are the id. Test vectors
are in tests/unit/test_identity.py, so that a client in another language can prove itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

_DIGITS = 32
# Built once: to make an encoder takes longer than to use it.
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoContent:
    """What of a demo is hashed: what the model is shown, not where it came from.

    Attributes:
        bindings: Value of each wildcard of the stage's user pattern.
        messages: The messages that follow, each as JSON text.
    """

    bindings: Mapping[str, str]
    messages: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementContent:
    """What of a replacement of text is hashed: all of it.

    Attributes:
        old_text: What is replaced; None for the whole message.
        new_text: What it is replaced by.
        role: Role of the messages that are looked through.
        position: Place among the messages of that role; None for all of them.
    """

    old_text: str | None
    new_text: str
    role: str
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformContent:
    """What of replacements in the app's own messages is hashed: all of it.

    Attributes:
        replacements: In the order they are applied.
        exact: Whether an old text is a whole message.
        ignore_case: Whether upper and lower case are taken for the same.
        strict: Whether a call in which one finds nothing fails.
    """

    replacements: Sequence[ReplacementContent]
    exact: bool
    ignore_case: bool
    strict: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionForm:
    """What an instruction has in place of a text.

    Attributes:
        transform: Replacements, or None.
        sections: Role and content of each section, in the order they are laid out.
    """

    transform: TransformContent | None = None
    sections: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutKey:
    """What makes a rollout the same rollout.

    Attributes:
        job: Resource name of the job.
        candidate_id: Candidate in force.
        pool: Name of the pool, such as `POOL_ONLINE`.
        seed: Index into the task app's data.
        repeat: Which repeat of the same seed, from 0.
        models: Provider and model of each stage, by stage id.
    """

    job: str
    candidate_id: str
    pool: str
    seed: int
    repeat: int
    models: Mapping[str, str]


def canonical_bytes(value: object) -> bytes:
    """Returns the canonical bytes of a JSON value.

    Raises:
        ValueError: The value holds a NaN or an infinity.
        TypeError: The value holds something that JSON has no form for.
    """
    return _ENCODER.encode(value).encode()


def content_hash(value: object) -> str:
    """Returns the first 128 bits of the SHA-256 of a value's canonical bytes, as hex."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()[:_DIGITS]


def instruction_id(*, stage_id: str, text: str, form: InstructionForm | None = None) -> str:
    """Returns the component id of an instruction.

    Args:
        stage_id: Its stage.
        text: Its text; empty when it has another form.
        form: What it has in place of a text, if anything.
    """
    content: dict[str, object] = {"stage": stage_id, "text": text}
    if form is not None and form.transform is not None:
        content["transform"] = asdict(form.transform)
    if form is not None and form.sections:
        content["sections"] = [
            {"role": role, "content": section} for role, section in form.sections
        ]
    return "ins_" + content_hash(content)


def demo_set_id(*, stage_id: str, demos: Sequence[DemoContent]) -> str:
    """Returns the component id of a demo set; the order of the demos counts."""
    return "dem_" + content_hash(
        {
            "stage": stage_id,
            "demos": [
                {
                    "bindings": dict(demo.bindings),
                    "messages": [json.loads(message) for message in demo.messages],
                }
                for demo in demos
            ],
        }
    )


def candidate_id(stages: Mapping[str, tuple[str, str]]) -> str:
    """Returns the id of a candidate.

    Args:
        stages: For each stage id its instruction id and its demo set id.
    """
    return "cand_" + content_hash(
        {
            stage: {"instruction": instruction, "demos": demos}
            for stage, (instruction, demos) in stages.items()
        }
    )


def rollout_id(key: RolloutKey) -> str:
    """Returns the id of a rollout: equal for every attempt of it."""
    return "roll_" + content_hash(
        {
            "job": key.job,
            "candidate": key.candidate_id,
            "pool": key.pool,
            "seed": key.seed,
            "repeat": key.repeat,
            "models": dict(key.models),
        }
    )
