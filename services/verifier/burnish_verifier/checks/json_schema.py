"""The check that validates an answer against a JSON Schema (draft 2020-12).

References stay inside the schema: nothing is ever fetched. It is guarded, because `pattern`
keywords and deep schemas can be slow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from burnish_verifier.checks.base import CheckKind, Settings, Sources, Subject, Verdict

_MAX_PROBLEMS = 3
_MAX_SHOWN = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """1 when the answer is valid."""

    sources: Sources
    validator: Draft202012Validator
    parse_text: bool

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer = self.sources.answer(subject)
        if self.parse_text and isinstance(answer, str):
            try:
                answer = json.loads(answer)
            except (ValueError, RecursionError):
                return Verdict(score=0.0, feedback="the answer is no JSON")
        errors: list[ValidationError] = []
        for error in self.validator.iter_errors(answer):
            errors.append(error)
            if len(errors) == _MAX_PROBLEMS:
                break
        if not errors:
            return Verdict(score=1.0)
        lines = [f"{error.json_path}: {error.message[:_MAX_SHOWN]}" for error in errors]
        return Verdict(score=0.0, feedback="; ".join(lines))


def _json_schema(settings: Settings) -> JsonSchema:
    there, schema = settings.value("schema")
    if not there or not isinstance(schema, dict):
        settings.problems.append("`schema` is missing or no object; give a JSON Schema")
        schema = {}
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        settings.problems.append(f"`schema` is no JSON Schema: {error.json_path}: {error.message}")
        schema = {}
    remote = sorted({ref for ref in _references(schema) if not ref.startswith("#")})
    if remote:
        settings.problems.append(
            f"`schema` refers to {', '.join(remote[:5])}; copy it in, under `$defs`"
        )
    return JsonSchema(
        sources=Sources.read(settings),
        validator=Draft202012Validator(schema, registry=Registry()),
        parse_text=settings.flag("parse_text", default=True),
    )


def _references(schema: Any) -> Iterator[str]:  # noqa: ANN401
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key in ("$ref", "$dynamicRef"):
                if isinstance(item.get(key), str):
                    yield item[key]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


KINDS = (CheckKind(name="json_schema", build=_json_schema, guarded=True),)
