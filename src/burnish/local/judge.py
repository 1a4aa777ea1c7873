"""The local judge: a simulated judge that answers what a verifier asks of a judge model.

It checks what can be seen in a text and guesses the rest from shared words, always the same way.
It does not understand: use a real model where tone, truth or reasoning is judged. Each of its
reasons says that it is simulated. Its words can be counted on, and so can its weakness: a text that
has the right words in it does well.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from burnish.local.chat import BadChatRequest
from burnish.local.judge_checks import Case, Verdict, content, forbids, quoted_terms, verdict
from burnish.local.meta import blocks, records, text_of
from burnish.local.text import words

_MARK: Final = "(simulated) "
_PROCESS: Final = re.compile(
    r"\b(?:traces?|steps?|calls?|tools?|process|conversation|transcript|along the way)\b",
    re.IGNORECASE,
)
_ANSWER_KEYS: Final = ("answer", "label", "output", "text", "intent", "result")
_MOST_SEARCHES: Final = 6
_QUOTE: Final = 60
_BETTER_BY: Final = 0.05

_Parts = Mapping[str, str]
_Record = Mapping[str, Any]


def judge(meta_prompt: str) -> str:
    """Returns the JSON answer to a judge's meta-prompt.

    Raises:
        BadChatRequest: The blocks `<criteria>` (JSON lines with `id` and `description`) or what is
        to be judged by them are missing.
    """
    parts = blocks(meta_prompt)
    task = parts.get("task", "").strip()
    criteria = [each for each in records(parts.get("criteria", "")) if text_of(each, "id")]
    answering = _TASKS.get(task)
    needed = _NEEDED.get(task, ("output",))
    missing = [] if criteria else ["<criteria>"]
    if not any(name in parts for name in needed):
        missing.append(" or ".join(f"<{name}>" for name in needed))
    if missing:
        raise BadChatRequest(f"the meta-prompt lacks {' and '.join(missing)}", param="messages")
    answer = _plain(parts, criteria) if answering is None else answering(parts, criteria)
    return json.dumps(answer, ensure_ascii=False)


def _plain(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    return _reviewed(
        criteria,
        lambda text: Case(criterion=text, output=parts["output"], reference=parts.get("reference")),
    )


def _review(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    return _reviewed(criteria, lambda text: _case(parts, text))


def _conclude(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    rows = [row for row in records(parts.get("read", "")) if isinstance(row.get("text"), str)]
    quotes = []
    for each in criteria:
        wanted = set(words(" ".join(quoted_terms(_described(each))) or _described(each)))
        found = next((row for row in rows if wanted & set(words(row["text"]))), None)
        if found is not None:
            shows = f"{_MARK}words of the criterion `{text_of(each, 'id')}`"
            quotes.append({"entry": found["entry"], "text": found["text"][:_QUOTE], "shows": shows})
    return {**_review(parts, criteria), "evidence": quotes}


def _reduce(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    findings = records(parts.get("findings", ""))

    def reduced(each: _Record) -> Verdict:
        text = _described(each)
        scores = [row["score"] for row in findings if row.get("id") == text_of(each, "id")]
        if not scores or ("answer" in parts and _PROCESS.search(text) is None):
            return verdict(_case(parts, text))
        if quoted_terms(text):
            kept = min(scores) if forbids(text) else max(scores)
            return kept, f"the part that decides, of {len(scores)} that say something"
        return sum(scores) / len(scores), f"the mean of {len(scores)} parts"

    return {"criteria": {text_of(each, "id"): _written(reduced(each)) for each in criteria}}


def _part(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    text = _joined(_rows(parts, "trace"))
    reviews: dict[str, _Record] = {}
    for each in criteria:
        criterion = _described(each)
        wanted = " ".join(quoted_terms(criterion)) or criterion
        if content(wanted) & content(text):
            reviews[text_of(each, "id")] = _written(
                verdict(Case(criterion=criterion, output=text, reference=_wanted(parts)))
            )
        else:
            reviews[text_of(each, "id")] = {"reason": f"{_MARK}none of its words", "score": None}
    return {"criteria": reviews}


def _events(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    told: dict[str, list[_Record]] = {}
    for row in records(parts.get("events", "")):
        told.setdefault(str(row.get("event")), []).append(row)
    return {
        "events": {
            number: {
                text_of(each, "id"): _written(
                    verdict(
                        Case(
                            criterion=_described(each),
                            output=text_of(rows[-1], "text"),
                            reference=_wanted(parts),
                        )
                    )
                )
                for each in criteria
            }
            for number, rows in told.items()
        }
    }


def _compare(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    sides = [_rows(parts, name) for name in ("first", "second")]
    compared = {}
    for each in criteria:
        text = _described(each)
        one, other = (
            verdict(Case(criterion=text, output=_side(rows, text), reference=_wanted(parts)))[0]
            for rows in sides
        )
        better = "first" if one > other else "second"
        compared[text_of(each, "id")] = {
            "reason": f"{_MARK}{one:.2f} against {other:.2f}",
            "better": better if abs(one - other) > _BETTER_BY else "equal",
        }
    return {"criteria": compared}


def _side(rows: Sequence[_Record], criterion: str) -> str:
    """Returns what a criterion is about: the answer, or the whole where it is about the process."""
    answer = next((row["answer"] for row in rows if "answer" in row), None)
    if answer is None or _PROCESS.search(criterion) is not None:
        return _joined(rows)
    return _value(json.dumps(answer))


def _explore(parts: _Parts, criteria: Sequence[_Record]) -> _Record:
    searched = {row["for"] for row in records(parts.get("read", "")) if "for" in row}
    terms = [
        term
        for each in criteria
        for term in quoted_terms(_described(each)) or _rarest(_described(each))
    ]
    left = [term for term in dict.fromkeys(terms) if term not in searched]
    if not left or len(searched) >= _MOST_SEARCHES:
        return {"step": "answer", "entry": 0, "start": 0, "text": ""}
    return {"step": "search", "entry": 0, "start": 0, "text": left[0]}


def _rarest(text: str) -> list[str]:
    """Returns the longest word of a text, which tells most."""
    found = [word for word in words(text) if content(word)]
    return [max(found, key=len)] if found else []


def _reviewed(criteria: Sequence[_Record], case: Callable[[str], Case]) -> _Record:
    return {
        "criteria": {
            text_of(each, "id"): _written(verdict(case(_described(each)))) for each in criteria
        }
    }


def _case(parts: _Parts, criterion: str) -> Case:
    rows = [*_rows(parts, "trace"), *_rows(parts, "read")]
    output = _value(parts["answer"]) if "answer" in parts else None
    if rows and (output is None or _PROCESS.search(criterion) is not None):
        output = _joined(rows) if _PROCESS.search(criterion) else text_of(rows[-1], "text")
    examples = [
        (text_of(row, "trace"), float(row["outcome_reward"]))
        for row in records(parts.get("examples", ""))
        if isinstance(row.get("outcome_reward"), int | float)
    ]
    return Case(
        criterion=criterion, output=output or "", reference=_wanted(parts), examples=examples
    )


def _rows(parts: _Parts, name: str) -> Sequence[_Record]:
    """Returns the rows of a block; one that holds no JSON is a row of plain text."""
    text = parts.get(name, "")
    found = records(text)
    return found if found or not text.strip() else [{"text": text}]


def _wanted(parts: _Parts) -> str | None:
    return _value(parts["wanted"]) if "wanted" in parts else None


def _value(line: str) -> str:
    """Returns the text of a JSON line: a text as it is, of an object what answers."""
    try:
        value = json.loads(line)
    except ValueError:
        return line
    if isinstance(value, dict):
        key = next((name for name in _ANSWER_KEYS if name in value), None)
        value = value if key is None else value[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _joined(rows: Sequence[_Record]) -> str:
    texts = [text_of(row, key) for row in rows for key in ("answer", "text", "trace") if key in row]
    return "\n".join(texts)


def _described(criterion: _Record) -> str:
    return text_of(criterion, "description") or text_of(criterion, "id")


def _written(found: Verdict) -> _Record:
    return {"reason": _MARK + found[1], "score": round(found[0], 4)}


_TASKS: Final[Mapping[str, Callable[[_Parts, Sequence[_Record]], _Record]]] = {
    "review": _review,
    "reduce": _reduce,
    "part": _part,
    "events": _events,
    "compare": _compare,
    "explore": _explore,
    "conclude": _conclude,
}
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "review": ("answer", "trace"),
    "reduce": ("findings", "answer"),
    "part": ("trace",),
    "events": ("events",),
    "compare": ("first", "second"),
    "explore": ("overview",),
    "conclude": ("read", "answer", "overview"),
}
