"""The local proposer: writes instructions from the rows and failures in a meta-prompt alone.

It is not a language model: it mines discriminative phrases and sets them into sentences. It helps
where the task is to choose among labels; on other tasks it can only add general advice. Every
answer says so in its `rationale`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from burnish.local.answer import asks_for_label
from burnish.local.chat import BadChatRequest
from burnish.local.completion import count_tokens
from burnish.local.merging import merge
from burnish.local.meta import blocks, records, text_of
from burnish.local.mining import Miner, Row
from burnish.local.notes import notes
from burnish.local.text import STOP_WORDS, words

_GUIDE_HEADING: Final = "What the messages of each label tend to say"
_RULES_HEADING: Final = "Labels that are easily confused"
_NOTES_HEADING: Final = "What went wrong before, to be heeded"
_HEADINGS: Final = (_GUIDE_HEADING, _RULES_HEADING, _NOTES_HEADING)
_FORM_TIP: Final = "Answer with only the label, exactly as it is written, and nothing else."
_ADVICE: Final = (
    "Read the whole message before you decide.",
    "Decide by what the writer wants, not by a single word.",
    "When two labels fit, choose the more specific one.",
    "Think about what happened and what has not happened yet.",
    "Compare the message with each label in turn.",
    "Do not add anything that was not asked for.",
)
_TELLING_BLOCKS: Final = ("current_instruction", "program", "stage", "dataset_summary")
_MAX_RULES: Final = 8
_RULE_TERMS: Final = 2
# Outputs that hardly ever repeat, and are not named anywhere, are no labels.
_FEWEST_ROWS_PER_LABEL: Final = 1.5
_NAMED_SHARE: Final = 0.8
_LONGEST_LABEL: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """One way to extend an instruction; counts are per label, 0 leaves the part out.

    `rare` takes phrases in that only one row holds; `notes` is how many sentences of feedback to
    take over.
    """

    terms: int = 0
    rare: bool = False
    fragments: int = 0
    quotes: int = 0
    rules: bool = False
    notes: int = 0
    advice: str = ""


# A rewrite by what was said of mistakes leaves the instruction's guides alone. Where nothing was
# said it makes them anew, out of all rows that are known by now.
_REPAIRS: Final = (_Edit(rules=True, notes=8), _Edit(notes=8), _Edit(rules=True, notes=3))
_RENEWALS: Final = (
    _Edit(terms=16, rules=True),
    _Edit(terms=24, rare=True, rules=True),
    _Edit(rules=True),
    _Edit(terms=32, rare=True),
)
# The strongest first: a search that can try only a few candidates sees these.
_EDITS: Final = (
    _Edit(terms=16),
    _Edit(terms=24, rare=True),
    _Edit(terms=16, rules=True),
    _Edit(terms=24, fragments=1),
    _Edit(terms=12, rare=True, rules=True),
    _Edit(terms=12, advice=_ADVICE[0]),
    _Edit(terms=32, rare=True),
    _Edit(terms=8, rules=True),
    _Edit(terms=8, fragments=3),
    _Edit(terms=4, advice=_ADVICE[0]),
)
# Whole rows come late: a proposer service may refuse them as copies.
_QUOTING_EDITS: Final = (_Edit(terms=12, quotes=1), _Edit(quotes=3))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Brief:
    current: str
    rows: tuple[Row, ...]
    confusions: tuple[tuple[str, str], ...]
    formless: bool
    tried: frozenset[str]
    variant: int
    query_inside: bool
    labels_known: bool
    notes: tuple[str, ...] = ()
    repairs: bool = False
    bare: str = ""


def propose(meta_prompt: str, *, max_tokens: int | None) -> str:
    """Returns the JSON answer to a meta-prompt: an instruction, or a summary of the data.

    Args:
        meta_prompt: The user message with its tagged blocks.
        max_tokens: The answer is made to fit; None leaves it free.

    Raises:
        BadChatRequest: An instruction is asked for without `<current_instruction>`.
    """
    parts = blocks(meta_prompt)
    task = parts.get("task", "").strip()
    if task == "summary":
        return json.dumps({"summary": _summary(_rows(parts))}, ensure_ascii=False)
    if "current_instruction" not in parts:
        raise BadChatRequest(
            "the meta-prompt has no <current_instruction> block, the text to be edited",
            param="messages",
        )
    if task == "merge":
        return merge(parts, max_tokens=max_tokens, variant=_variant(parts), extras=_ADVICE)
    brief = _read_brief(parts, repairs=task == "reflect")
    found = list(islice(_distinct(brief, max_tokens), brief.variant + 1))
    return found[-1] if found else _dump(brief.current, "local-proposer: nothing new fits")


def _distinct(brief: _Brief, max_tokens: int | None) -> Iterator[str]:
    """Yields answers with instructions that differ from each other and from all known ones."""
    miner = Miner(brief.rows)
    known = set(brief.tried)
    for edit in _edits(brief):
        for smaller in _shrinking(edit):
            answer = _answer(brief, miner, smaller)
            if max_tokens is not None and count_tokens(answer) > max_tokens:
                continue
            text = json.loads(answer)["instruction"].strip()
            if text not in known:
                known.add(text)
                yield answer
            break


def _edits(brief: _Brief) -> Iterator[_Edit]:
    if brief.repairs:
        yield from _REPAIRS if brief.notes else _RENEWALS
        yield from (replace(edit, advice=advice) for advice in _ADVICE for edit in _REPAIRS)
    yield from _EDITS
    yield from (replace(edit, advice=_ADVICE[1]) for edit in _EDITS)
    yield from _QUOTING_EDITS
    for advice in _ADVICE[2:]:
        yield from (replace(edit, advice=advice) for edit in _EDITS)


def _shrinking(edit: _Edit) -> Iterator[_Edit]:
    yield edit
    for share in (12, 8, 4, 2, 1, 0):
        yield replace(
            edit,
            terms=edit.terms * share // 16,
            fragments=edit.fragments * share // 16,
            quotes=edit.quotes * share // 16,
            rules=edit.rules and share > 4,
            notes=edit.notes * share // 16,
        )


def _variant(parts: Mapping[str, str]) -> int:
    found = re.search(r"\d+", parts.get("variant", ""))
    return 0 if found is None else int(found[0])


def _read_brief(parts: Mapping[str, str], *, repairs: bool) -> _Brief:
    rows = _rows(parts)
    known = {row.label for row in rows}
    failures = records(parts.get("failures", ""))
    got = [_label(text_of(record, "got")) for record in failures]
    wanted = [_label(text_of(record, "expected")) for record in failures]
    formless = sum(each not in known | set(wanted) for each in got) > len(got) / 4
    dropped = _HEADINGS[1:] if repairs else _HEADINGS
    current = _without_guides(parts["current_instruction"], dropped)
    history = [one for name in ("history", "avoid") for one in records(parts.get(name, ""))]
    return _Brief(
        current=current,
        rows=_with_failures(rows, failures),
        confusions=tuple(
            (right, wrong)
            for right, wrong in zip(wanted, got, strict=True)
            if right != wrong and right in known and wrong in known
        ),
        formless=formless or (not got and not asks_for_label(current)),
        tried=frozenset(
            {parts["current_instruction"].strip()}
            | {text_of(record, "instruction").strip() for record in history}
        ),
        variant=_variant(parts),
        query_inside=any(f"{{{name}}}" in current for name in _placeholders(parts)),
        labels_known=_named_share(known, parts) >= _NAMED_SHARE,
        notes=notes(text_of(record, "feedback") for record in failures),
        repairs=repairs,
        bare=_without_guides(parts["current_instruction"], _HEADINGS),
    )


def _placeholders(parts: Mapping[str, str]) -> list[str]:
    try:
        names = json.loads(parts.get("placeholders", "[]"))
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _named_share(labels: set[str], parts: Mapping[str, str]) -> float:
    told = "\n".join(parts.get(name, "") for name in _TELLING_BLOCKS)
    return sum(label in told for label in labels) / len(labels) if labels else 0.0


def _rows(parts: Mapping[str, str]) -> tuple[Row, ...]:
    found = [
        Row(text=text_of(record, "input").strip(), label=_label(text_of(record, "output")))
        for record in records(parts.get("examples", ""))
    ]
    return tuple(row for row in found if row.text and row.label)


def _label(output: str) -> str:
    """Returns the label of an output that may be JSON, such as the arguments of a tool call."""
    output = output.strip()
    if output.startswith("{"):
        values = [each for record in records(output) for each in record.values()]
        texts = [each for each in values if isinstance(each, str)]
        return texts[0] if texts else output
    return output


def _with_failures(rows: tuple[Row, ...], failures: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    known = set(rows)
    extra = [
        Row(text=text_of(record, "input").strip(), label=_label(text_of(record, "expected")))
        for record in failures
    ]
    return (
        *rows,
        *dict.fromkeys(row for row in extra if row.text and row.label and row not in known),
    )


def _without_guides(instruction: str, headings: tuple[str, ...]) -> str:
    """Takes out the parts that an earlier proposal added, so that guides do not pile up."""
    kept: list[str] = []
    for part in re.split(r"\n[ \t]*\n", instruction.strip()):
        if not part.startswith(headings) and part.strip() not in (_FORM_TIP, *_ADVICE):
            kept.append(part)
    return "\n\n".join(kept)


def _answer(brief: _Brief, miner: Miner, edit: _Edit) -> str:
    parts: list[str] = []
    made: list[str] = []
    current = brief.current
    if _is_classification(miner, labels_known=brief.labels_known):
        if edit.terms or edit.fragments or edit.quotes:
            current = brief.bare
            parts.append(_guide(miner, edit))
            made.append(_guide_name(edit))
        rules = _rules(brief, miner) if edit.rules else []
        if rules:
            parts.append("\n".join([f"{_RULES_HEADING}:", *rules]))
            made.append(f"{len(rules)} contrast rules")
        if brief.formless:
            parts.append(_FORM_TIP)
            made.append("a rule for the form of the answer")
    if edit.notes and brief.notes:
        kept = brief.notes[: edit.notes]
        parts.append("\n".join([f"{_NOTES_HEADING}:", *(f"- {note}" for note in kept)]))
        made.append(f"{len(kept)} notes out of the feedback")
    if edit.advice or not made:
        parts.append(edit.advice or _ADVICE[0])
        made.append("general advice")
    rationale = (
        f"local-proposer (not a language model): {', '.join(made)}; mined from {len(brief.rows)} "
        f"labelled rows and {len(brief.confusions)} confusions"
    )
    # A query inside the instruction stays at its end, where it is read as the query.
    ordered = [*parts, current] if brief.query_inside else [current, *parts]
    return _dump("\n\n".join(ordered), rationale)


def _dump(instruction: str, rationale: str) -> str:
    return json.dumps({"instruction": instruction, "rationale": rationale}, ensure_ascii=False)


def _is_classification(miner: Miner, *, labels_known: bool) -> bool:
    count = len(miner.labels)
    if count < 2 or any(len(label) > _LONGEST_LABEL for label in miner.labels):
        return False
    return labels_known or len(miner.rows) >= _FEWEST_ROWS_PER_LABEL * count


def _guide_name(edit: _Edit) -> str:
    named = ((edit.terms, "phrases"), (edit.fragments, "fragments"), (edit.quotes, "quotes"))
    return "a guide of " + " and ".join(f"up to {n} {what} a label" for n, what in named if n)


def _guide(miner: Miner, edit: _Edit) -> str:
    lines = [f"{_GUIDE_HEADING}:"]
    for label in miner.labels:
        parts = [", ".join(miner.terms(label, edit.terms, rare=edit.rare))] if edit.terms else []
        quoted = miner.fragments(label, edit.fragments) if edit.fragments else ()
        whole = miner.quotes(label, edit.quotes) if edit.quotes else ()
        parts.extend(f'"{" ".join(text.split())}"' for text in (*quoted, *whole))
        lines.append(f"- {label}: {'; '.join(part for part in parts if part)}")
    return "\n".join(lines)


def _rules(brief: _Brief, miner: Miner) -> list[str]:
    rules: list[str] = []
    for (right, wrong), _ in sorted(
        Counter(brief.confusions).items(), key=lambda item: (-item[1], item[0])
    ):
        terms = miner.terms_against(right, wrong, _RULE_TERMS)
        if terms:
            quoted = ", ".join(f'"{term}"' for term in terms)
            rules.append(
                f"- If the message mentions {quoted}, choose `{right}` rather than `{wrong}`."
            )
        if len(rules) == _MAX_RULES:
            break
    return rules


def _summary(rows: Sequence[Row]) -> str:
    if not rows:
        return "No examples were given."
    labels = Counter(row.label for row in rows)
    common = Counter(
        word for row in rows for word in set(words(row.text)) if word not in STOP_WORDS
    )
    mean = sum(len(words(row.text)) for row in rows) / len(rows)
    often = ", ".join(word for word, _ in sorted(common.items(), key=lambda i: (-i[1], i[0]))[:12])
    named = ", ".join(sorted(labels)[:20])
    return (
        f"{len(rows)} examples of {mean:.0f} words on average, with {len(labels)} different "
        f"outputs ({named}{', ...' if len(labels) > 20 else ''}). Frequent words: {often}."
    )
