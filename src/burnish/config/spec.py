"""Loads, checks and renders a system specification: the JSON file that `spec_path` names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from burnish.config.base import ConfigModel, read_model
from burnish.config.problems import ConfigError, Findings, PathNames, Problem
from burnish.config.source import clean_copy

MAX_BYTES = 1_000_000
BYTES_PER_TOKEN = 4
_CUT = "\n[cut]"

Text = Annotated[str, Field(min_length=1)]


class SpecMetadata(ConfigModel):
    """What a spec is about."""

    id: Text
    title: Text
    version: Text
    owner: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    imports: list[str] = Field(default_factory=list)
    scope: str | None = None
    description: str | None = None


class SpecPrinciple(ConfigModel):
    """A statement that always holds."""

    id: Text
    text: Text
    rationale: str | None = None


class SpecConstraints(ConfigModel):
    """What a rule demands and forbids."""

    must: list[str] = Field(default_factory=list)
    must_not: list[str] = Field(default_factory=list)
    should: list[str] = Field(default_factory=list)
    should_not: list[str] = Field(default_factory=list)


class SpecExample(ConfigModel):
    """A good or bad reply."""

    kind: Literal["good", "bad"]
    prompt: str = ""
    response: str = ""
    description: str | None = None


class SpecTest(ConfigModel):
    """A challenge to the rule, and what has to hold."""

    id: Text
    challenge: str = ""
    asserts: list[str] = Field(default_factory=list)
    expected_behavior: str | None = None


class SpecRule(ConfigModel):
    """A rule of the system; `priority` is 1 (least) to 10."""

    id: Text
    title: Text
    rationale: str | None = None
    constraints: SpecConstraints = Field(default_factory=SpecConstraints)
    examples: list[SpecExample] = Field(default_factory=list)
    tests: list[SpecTest] = Field(default_factory=list)
    priority: int | None = Field(default=None, ge=1, le=10)


class SpecInterfaces(ConfigModel):
    """What goes in and comes out."""

    io_modes: list[str] = Field(default_factory=list)
    capabilities: list[str] = Field(default_factory=list)
    constraints: object | None = None


class SpecTerm(ConfigModel):
    """A word and its meaning."""

    term: Text
    definition: str = ""
    aliases: list[str] = Field(default_factory=list)


class SystemSpec(ConfigModel):
    """A system specification."""

    metadata: SpecMetadata
    principles: list[SpecPrinciple] = Field(default_factory=list)
    rules: list[SpecRule] = Field(default_factory=list)
    interfaces: SpecInterfaces = Field(default_factory=SpecInterfaces)
    glossary: list[SpecTerm] = Field(default_factory=list)
    changelog: list[object] = Field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecView:
    """What of a spec is rendered.

    Attributes:
        max_tokens: Never exceeded, at 4 bytes of UTF-8 to the token, which for English text is 4
            characters.
        include_examples: Whether examples are shown while there is room.
        priority_threshold: Leaves rules below it out; a rule without a priority counts as 5.
    """

    max_tokens: int = 5000
    include_examples: bool = True
    priority_threshold: int | None = None


def load_spec(path: Path, *, strict: bool = False) -> tuple[SystemSpec, tuple[str, ...]]:
    """Loads a spec from a JSON file.

    Args:
        path: The file.
        strict: Turns warnings into problems.

    Returns:
        The spec, and warnings about its style.

    Raises:
        ConfigError: Unreadable, or not a spec; with every problem.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(path, "cannot be read", "check the path") from error
    if len(content) > MAX_BYTES:
        raise _refused(path, f"has {len(content)} bytes", f"keep it within {MAX_BYTES}")
    try:
        data = json.loads(content.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _refused(path, "is not JSON", "correct its syntax") from error
    if not isinstance(data, dict):
        raise _refused(path, "is not a JSON object", "write { ... }")
    return parse_spec(data, source=path.name, strict=strict)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _refused(path: Path, message: str, fix: str) -> ConfigError:
    return ConfigError([Problem(path="spec_path", value=repr(path.name), message=message, fix=fix)])


def parse_spec(
    data: dict[str, object], *, source: str = "spec", strict: bool = False
) -> tuple[SystemSpec, tuple[str, ...]]:
    """Checks a spec that is already a mapping; like `load_spec`."""
    findings = Findings(names=PathNames("spec"))
    spec = read_model(SystemSpec, clean_copy(data, findings), findings)
    if spec is not None:
        _check_unique(spec, findings)
        for path, message, fix in _style(spec):
            if strict:
                findings.problem(path, None, message, fix)
            else:
                findings.warn(path, f"{message}; {fix}")
    findings.raise_if_any(source)
    if spec is None:
        raise AssertionError("a spec without problems has a value")
    return spec, tuple(findings.warnings)


def _check_unique(spec: SystemSpec, findings: Findings) -> None:
    groups: tuple[tuple[str, str, list[str]], ...] = (
        ("principles", "id", [item.id for item in spec.principles]),
        ("rules", "id", [item.id for item in spec.rules]),
        ("glossary", "term", [item.term for item in spec.glossary]),
    )
    for name, key, values in groups:
        seen: set[str] = set()
        for index, value in enumerate(values):
            if value in seen:
                findings.problem(f"{name}[{index}].{key}", value, "is there twice", "rename one")
            seen.add(value)


def _style(spec: SystemSpec) -> Iterator[tuple[str, str, str]]:
    if not spec.metadata.id.startswith("spec."):
        yield "metadata.id", "does not start with `spec.`", "rename it"
    if not re.fullmatch(r"\d+\.\d+\.\d+", spec.metadata.version):
        yield "metadata.version", "is not of the form X.Y.Z", "write 1.0.0"
    if not spec.metadata.scope:
        yield "metadata.scope", "is absent", "say what the spec covers"
    for index, principle in enumerate(spec.principles):
        if not principle.id.startswith("P-"):
            yield f"principles[{index}].id", "does not start with `P-`", "rename it"
    for index, rule in enumerate(spec.rules):
        path = f"rules[{index}]"
        if not rule.id.startswith("R-"):
            yield f"{path}.id", "does not start with `R-`", "rename it"
        if not rule.constraints.must and not rule.constraints.must_not:
            yield f"{path}.constraints", "has neither must nor must_not", "add one"
        if not rule.examples:
            yield f"{path}.examples", "is empty", "add a good and a bad one"


def render_spec(spec: SystemSpec, view: SpecView) -> str:
    """Renders a spec as text of at most `view.max_tokens` tokens.

    What does not fit is left out in steps: rules below priority 7, then examples, then the
    glossary and rules below 8. What is still too long is cut at the end of a line.
    """
    limit = view.max_tokens * BYTES_PER_TOKEN
    base = view.priority_threshold or 1
    steps = (
        (base, view.include_examples, True),
        (max(base, 7), view.include_examples, True),
        (max(base, 7), False, True),
        (max(base, 8), False, False),
    )
    text = ""
    for least, examples, glossary in steps:
        text = "\n".join(_lines(spec, least, examples=examples, glossary=glossary))
        if len(text.encode()) <= limit:
            return text
    return _cut(text, limit)


def _cut(text: str, limit: int) -> str:
    if limit <= len(_CUT):
        return text.encode()[:limit].decode(errors="ignore")
    head = text.encode()[: limit - len(_CUT)].decode(errors="ignore")
    line_end = head.rfind("\n")
    return (head[:line_end] if line_end > 0 else head) + _CUT


def _lines(spec: SystemSpec, least: int, *, examples: bool, glossary: bool) -> Iterator[str]:
    about = spec.metadata
    yield f"# {about.title}"
    if about.description:
        yield about.description
    yield f"Version: {about.version}"
    if about.scope:
        yield f"Scope: {about.scope}"
    if spec.principles:
        yield "\n## Principles"
        for principle in spec.principles:
            reason = f" ({principle.rationale})" if principle.rationale else ""
            yield f"- {principle.text}{reason}"
    rules = [rule for rule in spec.rules if _priority(rule) >= least]
    if rules:
        yield "\n## Rules"
        for rule in sorted(rules, key=_priority, reverse=True):
            yield from _rule_lines(rule, examples=examples)
    if glossary and spec.glossary:
        yield "\n## Glossary"
        for term in spec.glossary:
            also = f" (also: {', '.join(term.aliases)})" if term.aliases else ""
            yield f"- {term.term}{also}: {term.definition}"


def _priority(rule: SpecRule) -> int:
    return 5 if rule.priority is None else rule.priority


def _rule_lines(rule: SpecRule, *, examples: bool) -> Iterator[str]:
    yield f"\n### {rule.title} [priority {_priority(rule)}]"
    if rule.rationale:
        yield rule.rationale
    wanted: Sequence[tuple[str, Iterable[str]]] = (
        ("Must", rule.constraints.must),
        ("Must not", rule.constraints.must_not),
        ("Should", rule.constraints.should),
        ("Should not", rule.constraints.should_not),
    )
    for label, items in wanted:
        for item in items:
            yield f"- {label}: {item}"
    if examples:
        for example in sorted(rule.examples, key=lambda item: item.kind == "bad"):
            note = f" ({example.description})" if example.description else ""
            yield f"- {example.kind.capitalize()} example{note}: {example.prompt!r} -> "
            yield f"  {example.response!r}"
