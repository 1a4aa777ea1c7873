"""Decides in which form an answer is wanted, and writes a label in that form.

A tool call when tools are given, JSON when JSON is asked for, the bare label when the prompt shows
examples or says so, and otherwise a sentence: what a small model does when nobody told it how to
answer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

_ONLY: Final = re.compile(
    r"\b(?:only|just|exactly|solely|nothing (?:but|else|more)|no (?:other|extra|additional|"
    r"explanation|punctuation|preamble)|without (?:any |further )?"
    r"(?:explanation|other|extra|punctuation))\b",
    re.IGNORECASE,
)
_ANSWER: Final = (
    r"(?:labels?|intents?|categor(?:y|ies)|class(?:es)?|tags?|queues?|names?|topics?|options?|codes?|"
    r"types?|departments?|sentiments?|answer|word|identifier|choices?)"
)
_TELL: Final = (
    r"(?:reply|respond|answer|return|output|write|give|print|provide|state|produce|emit|say|"
    r"response|your (?:answer|reply|output))"
)
_BARE: Final = re.compile(
    rf"\b{_TELL}\b[^.\n]{{0,60}}?\b(?:the|one|a|its|that|this|your|only|just|exactly|with)\s+"
    rf"(?:[\w'-]+\s+){{0,3}}{_ANSWER}\b",
    re.IGNORECASE,
)
_ONLY_LABEL: Final = re.compile(
    rf"\b{_ANSWER}\s+(?:name\s+)?(?:only|alone|and nothing)\b", re.IGNORECASE
)
_BARE_ONLY: Final = re.compile(
    rf"\b{_TELL}\b[^.\n]{{0,40}}\b(?:only|and nothing else)\s*(?:[.!\n]|$)", re.IGNORECASE
)
_ONE_OF: Final = re.compile(
    rf"\b{_TELL}\s+(?:with\s+|by\s+|using\s+)?(?:[\w'-]+\s+){{0,2}}one of\b", re.IGNORECASE
)
_NO_PROSE: Final = re.compile(
    r"\b(?:do not|don't|never|no)\s+(?:explain|explanations?|add anything|preamble)\b",
    re.IGNORECASE,
)
_CUE: Final = re.compile(
    rf"(?:^|\n)[ \t*#>_-]*(?:[\w'-]+[ \t]+){{0,2}}{_ANSWER}[ \t*_]*:[ \t*_]*\s*\Z", re.IGNORECASE
)
_JSON_KEYS: Final = re.compile(r"\{\s*[\"']([\w -]+)[\"']\s*:")
_LABEL_KEYS: Final = (
    "label", "intent", "category", "class", "classification", "answer", "output", "prediction",
    "topic", "tag", "queue", "sentiment", "department", "type", "result", "choice", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """The form an answer takes: `tool`, `json`, `label` or `sentence`.

    `schema` is the JSON schema of the arguments or of the JSON answer (None: one property), `key`
    is the property that takes the label, `tool` is the function's name.
    """

    kind: str
    key: str = "label"
    schema: Schema | None = None
    tool: str = ""


def choose_form(
    *,
    tools: Sequence[Schema],
    tool_choice: object,
    response_format: Schema | None,
    text: str,
    has_demos: bool,
) -> AnswerForm:
    """Returns the answer form that the request asks for; `text` is all instruction text in it."""
    function = _chosen_function(tools, tool_choice)
    if function is not None:
        schema = _mapping(function.get("parameters"))
        key = label_key(schema)
        return AnswerForm(kind="tool", key=key, schema=schema, tool=str(function.get("name", "")))
    kind = "" if response_format is None else str(response_format.get("type", ""))
    if kind == "json_schema" and response_format is not None:
        schema = _mapping(_mapping(response_format.get("json_schema")).get("schema"))
        return AnswerForm(kind="json", key=label_key(schema), schema=schema)
    keys = _JSON_KEYS.findall(text)
    if kind == "json_object" or (keys and re.search(r"\bjson\b", text, re.IGNORECASE)):
        named = [key for key in keys if key.lower() in _LABEL_KEYS]
        return AnswerForm(kind="json", key=(named or keys or ["label"])[0])
    if has_demos or asks_for_label(text):
        return AnswerForm(kind="label")
    return AnswerForm(kind="sentence")


def asks_for_label(text: str) -> bool:
    """Tells whether a prompt says to answer with a label and nothing around it."""
    if any(each.search(text) for each in (_CUE, _ONLY_LABEL, _BARE_ONLY, _ONE_OF, _NO_PROSE)):
        return True
    for sentence in re.split(r"(?<=[.!?])\s|\n", text):
        told = _BARE.search(sentence)
        if told is not None:
            return True
        words_found = (re.search(rf"\b{part}\b", sentence, re.I) for part in (_TELL, _ANSWER))
        if _ONLY.search(sentence) and all(words_found):
            return True
    return False


def _chosen_function(tools: Sequence[Schema], tool_choice: object) -> Schema | None:
    if not tools or tool_choice == "none":
        return None
    functions = [_mapping(tool.get("function")) for tool in tools]
    if isinstance(tool_choice, Mapping):
        wanted = _mapping(tool_choice.get("function")).get("name")
        functions = [each for each in functions if each.get("name") == wanted] or functions
    with_enum = [each for each in functions if enum_of(_mapping(each.get("parameters")))]
    return (with_enum or functions)[0]


def _mapping(value: object) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _properties(schema: Schema) -> Mapping[str, Any]:
    return _mapping(schema.get("properties"))


def label_key(schema: Schema) -> str:
    """Returns the property of a JSON schema that is to hold the label; "label" when none can."""
    texts = [key for key, each in _properties(schema).items() if _holds_text(_mapping(each))]
    with_enum = [key for key in texts if options_of(_mapping(_properties(schema)[key]))]
    named = [key for wanted in _LABEL_KEYS for key in texts if wanted in key.lower()]
    return next(iter([*with_enum, *named, *texts]), "label")


def _holds_text(schema: Schema) -> bool:
    if options_of(schema):
        return True
    kind = schema.get("type")
    if kind == "array":
        return _holds_text(_mapping(schema.get("items")))
    return kind == "string" or (isinstance(kind, list) and "string" in kind)


def options_of(schema: Schema) -> list[tuple[str, str]]:
    """Returns the (value, description) pairs that a property is limited to, if it is."""
    if schema.get("type") == "array":
        return options_of(_mapping(schema.get("items")))
    values = schema.get("enum")
    if isinstance(values, list):
        return [(value, "") for value in values if isinstance(value, str)]
    for word in ("oneOf", "anyOf"):
        branches = [_mapping(branch) for branch in schema.get(word) or ()]
        consts = [branch for branch in branches if isinstance(branch.get("const"), str)]
        if len(consts) > 1:
            return [(each["const"], str(each.get("description", ""))) for each in consts]
        for branch in branches:
            if options_of(branch):
                return options_of(branch)
    return []


def enum_of(schema: Schema) -> list[tuple[str, str]]:
    """Returns the options of the label property of an object schema; empty when it has none."""
    return options_of(_mapping(_properties(schema).get(label_key(schema))))


def described(schema: Schema) -> str:
    """Returns all descriptions within a schema as lines of text."""
    found: list[str] = []
    for key, value in schema.items():
        if key == "description" and isinstance(value, str):
            found.append(value)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                found.append(described(each))
    return "\n".join(line for line in found if line)


def write_answer(form: AnswerForm, label: str, query: str) -> str:
    """Returns the answer's text; for a tool call its arguments."""
    if form.kind == "label":
        return label
    if form.kind == "sentence":
        return f"The message seems to be about {' '.join(label.replace('_', ' ').split())}."
    if form.schema is None:
        return json.dumps({form.key: label}, ensure_ascii=False)
    filled = _fill_object(form.schema, form.key, label, query)
    return json.dumps(filled or {form.key: label}, ensure_ascii=False)


def _fill_object(schema: Schema, key: str, label: str, query: str) -> dict[str, Any]:
    required = schema.get("required")
    wanted = set(required) if isinstance(required, list) else set()
    filled: dict[str, Any] = {}
    for name, each in _properties(schema).items():
        inner = _mapping(each)
        if name == key:
            filled[name] = [label] if inner.get("type") == "array" else label
        elif name in wanted:
            filled[name] = _fill(inner, query)
    return filled


def _fill(schema: Schema, query: str) -> object:
    options = options_of(schema)
    if options:
        return options[0][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        return {
            name: _fill(_mapping(each), query)
            for name, each in _properties(schema).items()
            if name in (schema.get("required") or ())
        }
    plain: dict[object, object] = {
        "number": 0.5,
        "integer": 0,
        "boolean": True,
        "array": [],
        "null": None,
    }
    return plain.get(kind, query[:200])
