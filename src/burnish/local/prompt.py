"""Reads a chat prompt into labels, evidence for each, contrast rules and the form of the answer.

The prompt is everything in a request but the query, so one reading serves every query of the same
prompt. Labels and evidence come from the messages, tools and response format alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from burnish.local.answer import AnswerForm, choose_form, described, enum_of
from burnish.local.demos import Turn, free_answer, json_object, take_demos, written_demos
from burnish.local.label_names import LabelList, is_identifier
from burnish.local.labels import find_label_lists
from burnish.local.query import HOLE, split_query
from burnish.local.text import stems

_BULLET: Final = re.compile(r"^\s*(?:[-*\u2022+\u2013>#]+|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+")
_NAME_KEY: Final = re.compile(r"^(?:name|label|id|intent|category|class|value):\s+(?=\S+$)")
_SEPARATOR: Final = re.compile(r"^[`*\"'_\])]*\s*(?:[:=|\u2013\u2014\u2192-]+>?|\()\s*")
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+(?=[A-Z\"'`*])")
_CONTRAST: Final = re.compile(
    r"\b(?:rather than|instead of|not|over|and not|never)\b", re.IGNORECASE
)
_QUOTED: Final = re.compile(
    r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]|(?<!\w)'([^'\n]+)'(?!\w)|`([^`]+)`"
)
_IF: Final = re.compile(r"\b(?:if|when|whenever)\b(.*)", re.IGNORECASE)
_LONG_QUOTE_WORDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A rule of the prompt: when one of the terms occurs, `choose` wins over `rather_than`."""

    terms: tuple[tuple[str, ...], ...]
    choose: int
    rather_than: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A text that speaks for one label (its position in the list of labels)."""

    label: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """All that is known about a request but the query."""

    labels: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    contrasts: tuple[Contrast, ...]
    form: AnswerForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a prompt is read from: the turns with the query cut out, and the request's tools."""

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: object = None
    response_format: Mapping[str, Any] | None = None


def cut_query(turns: Sequence[Turn]) -> tuple[str, tuple[Turn, ...]]:
    """Returns the query of the last user turn, and the turns with `HOLE` in its place."""
    for position in range(len(turns) - 1, -1, -1):
        if turns[position].role == "user":
            split = split_query(turns[position].text)
            hollow = Turn(role="user", text=split.rest)
            return split.query, (*turns[:position], hollow, *turns[position + 1 :])
    return "", tuple(turns)


def read_prompt(source: Source) -> Prompt:
    """Reads a prompt; finding no labels is not an error, the prompt then has none."""
    chat_demos, texts = take_demos(source.turns)
    schemas = _schemas(source)
    instructions = "\n\n".join([*texts, *(described(schema) for schema in schemas)])
    without_demos, written = written_demos(instructions)
    options = next((found for schema in schemas if (found := enum_of(schema))), [])
    labels, notes = _find_labels(options, without_demos)
    demos = [*chat_demos, *written]
    if not labels:
        labels = tuple(
            dict.fromkeys(answer for demo in demos if (answer := free_answer(demo.answer)))
        )
    names = _Names(labels)
    evidence = [Evidence(label=i, text=_spoken(name)) for i, name in enumerate(labels)]
    # A name counts once: repeated beside each description it would drown what they say.
    evidence += [Evidence(label=i, text=note) for i, note in enumerate(notes) if stems(note)]
    described_lines, contrasts = _read_lines(without_demos, names)
    seen = {(each.label, " ".join(stems(each.text))) for each in evidence}
    for each in described_lines:
        key = (each.label, " ".join(stems(each.text)))
        if key not in seen:
            seen.add(key)
            evidence.append(each)
    for demo in demos:
        label = names.of_answer(demo.answer)
        if label is not None:
            evidence.append(Evidence(label=label, text=demo.query))
    form = choose_form(
        tools=source.tools,
        tool_choice=source.tool_choice,
        response_format=source.response_format,
        text="\n".join(text.replace(HOLE, "") for text in texts),
        has_demos=bool(demos),
    )
    return Prompt(labels=labels, evidence=tuple(evidence), contrasts=tuple(contrasts), form=form)


def _schemas(source: Source) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for tool in source.tools:
        function = tool.get("function")
        if isinstance(function, Mapping):
            parameters = function.get("parameters")
            found.append(parameters if isinstance(parameters, Mapping) else {})
    if source.response_format is not None:
        wrapped = source.response_format.get("json_schema")
        schema = wrapped.get("schema") if isinstance(wrapped, Mapping) else None
        if isinstance(schema, Mapping):
            found.append(schema)
    return found


def _find_labels(
    options: Sequence[tuple[str, str]], text: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if options:
        return tuple(name for name, _ in options), tuple(note for _, note in options)
    lists = find_label_lists(text.replace(HOLE, ""))
    if not lists:
        return (), ()
    # A guide to a few labels may be better written than the list of all of them: among the good
    # lists the longest counts, and lists of the same make that share no label are parts of one
    # list.
    good = [each for each in lists if each.score >= lists[0].score - 2.4]
    main = max(good, key=lambda each: (len(each.names), each.score))
    names = dict(zip(main.names, main.notes, strict=True))
    for each in good:
        if (
            each.kind == main.kind
            and not names.keys() & set(each.names)
            and _coded(each) == _coded(main)
        ):
            names.update(zip(each.names, each.notes, strict=True))
    # Notes are read again from the lines, where wrapped text and markup are handled.
    return tuple(names), tuple(
        note if main.kind in ("json", "xml") else "" for note in names.values()
    )


def _coded(each: LabelList) -> bool:
    return sum(is_identifier(name) for name in each.names) > len(each.names) / 2


def _spoken(name: str) -> str:
    return name.replace("_", " ")


class _Names:
    """Finds labels mentioned in text, the longest name first."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._position = {name: i for i, name in enumerate(labels)}
        self._loose = {self._plain(name): i for i, name in enumerate(labels)}
        parts: list[str] = []
        for name in sorted(labels, key=len, reverse=True):
            escaped = re.escape(name)
            sure = is_identifier(name) or " " in name
            parts.append(
                rf"(?<!\w){escaped}(?!\w)" if sure else rf"(?<=[`\"'*]){escaped}(?=[`\"'*])"
            )
        self._pattern = re.compile("|".join(parts)) if parts else None

    @staticmethod
    def _plain(name: str) -> str:
        return re.sub(r"[\s_-]+", " ", name).strip(" .`\"'*").lower()

    def name(self, label: int) -> str:
        """Returns the text of a label."""
        return self._labels[label]

    def of_answer(self, turn: Turn) -> int | None:
        """Returns the label that a demonstration answers with, or None."""
        texts = [*turn.calls, turn.text]
        values = [str(value) for text in texts for value in json_object(text).values()]
        for value in [*values, *texts]:
            found = self._position.get(value.strip(), self._loose.get(self._plain(value)))
            if found is not None:
                return found
        mentioned = self.mentioned(turn.text)
        return mentioned[0] if len(set(mentioned)) == 1 else None

    def mentioned(self, text: str) -> list[int]:
        """Returns the labels mentioned in a text, in order, repeats included."""
        if self._pattern is None:
            return []
        return [self._position[match[0]] for match in self._pattern.finditer(text)]

    def without(self, text: str) -> str:
        """Returns a text with all labels taken out."""
        return text if self._pattern is None else self._pattern.sub(" ", text)

    def leading(self, line: str) -> tuple[int, str] | None:
        """Returns the label that a line begins with and the text after its separator."""
        start = _NAME_KEY.sub("", line).lstrip("`*\"'_[(| ")
        for end in range(min(len(start), 80), 0, -1):
            label = self._position.get(start[:end])
            if label is None or (end < len(start) and (start[end].isalnum() or start[end] == "_")):
                continue
            separator = _SEPARATOR.match(start[end:])
            if separator is not None:
                return label, start[end + separator.end() :].strip()
            return (label, "") if not start[end:].strip("`*\"'_]).,;? ") else None
        return None


def _read_lines(text: str, names: _Names) -> tuple[list[Evidence], list[Contrast]]:
    evidence: list[Evidence] = []
    contrasts: list[Contrast] = []
    current: int | None = None
    for line in text.splitlines():
        indented = line[:1].isspace() and _BULLET.match(line) is None
        body = _BULLET.sub("", line).strip()
        leading = names.leading(body)
        if leading is not None:
            current = leading[0]
            evidence.extend(_described(current, leading[1]))
        elif indented and current is not None and body and not names.mentioned(body):
            evidence.extend(_described(current, body))
        else:
            current = None
            for sentence in _SENTENCE.split(body):
                _read_sentence(sentence, names, evidence, contrasts)
    return evidence, contrasts


def _described(label: int, note: str) -> Iterator[Evidence]:
    if not note.strip("().,; "):
        return
    quotes = [
        quote for match in _QUOTED.finditer(note) if (quote := match[1] or match[2] or match[3])
    ]
    long_quotes = [quote for quote in quotes if len(quote.split()) >= _LONG_QUOTE_WORDS]
    if len(long_quotes) > 1:
        # Each quoted message is a piece of evidence of its own; in one bag they would blur.
        yield from (Evidence(label=label, text=quote) for quote in long_quotes)
        note = _QUOTED.sub(lambda match: "" if match[0][1:-1] in long_quotes else match[0], note)
    if stems(note):
        yield Evidence(label=label, text=note)


def _read_sentence(
    sentence: str, names: _Names, evidence: list[Evidence], contrasts: list[Contrast]
) -> None:
    mentioned = names.mentioned(sentence)
    if len(set(mentioned)) == 1:
        rest = names.without(sentence)
        if stems(rest):
            evidence.append(Evidence(label=mentioned[0], text=rest))
    elif len(mentioned) == 2 and _CONTRAST.search(sentence):
        condition = _IF.search(sentence)
        if condition is None:
            return
        wanted = [match[1] or match[2] or match[3] for match in _QUOTED.finditer(condition[1])]
        spoken = {names.name(label) for label in mentioned}
        terms = tuple(tuple(stems(term)) for term in wanted if term not in spoken and stems(term))
        if terms:
            contrasts.append(Contrast(terms=terms, choose=mentioned[0], rather_than=mentioned[1]))
