"""The corpus of attacks: texts written for it, their mutations, and the work they are put into."""

import base64
import json
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

from burnish.rubric_forms import read_rubric
from burnish.rubrics import Rubric

PLACES = ("after the answer", "before the answer", "in the trace")
_HERE = Path(__file__).parent
_NOISE = "kept by a machine that writes what the clock shows. " * 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A text that tries to move a judge.

    Attributes:
        family: What it tries.
        text: What it says; `$id` and `$criterion` stand for the rubric's own words.
        mutation: How it is changed; empty for a text of the corpus.
        seed: What the change is drawn by.
    """

    family: str
    text: str
    mutation: str = ""
    seed: int = 0

    def against(self, rubric: Rubric) -> str:
        """Returns the text as it is put into work that this rubric judges."""
        first = rubric.criteria[0]
        words = {"id": first.criterion_id, "criterion": first.description}
        text = Template(self.text).safe_substitute(words)
        change = MUTATIONS.get(self.mutation)
        return text if change is None else change(text, random.Random(self.seed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work to be judged.

    Attributes:
        name: Of the case.
        rubric: What it is judged by.
        asked: What was asked for.
        found: What a tool said on the way.
        answer: What came out.
        good: What should have come out.
        wanted: What was wanted; None when nothing is known.
        reworded: The same answer in other words.
        filler: Calls without a meaning before and after the tool's, some 1,000 tokens each.
    """

    name: str
    rubric: Rubric
    asked: str
    found: str
    answer: str
    good: str
    wanted: str | None = None
    reworded: tuple[str, ...] = ()
    filler: int = 0

    @property
    def output(self) -> bytes:
        """The output as JSON."""
        return json.dumps(self.answer).encode()

    @property
    def reference(self) -> bytes:
        """The reference as JSON; empty when there is none."""
        return b"" if self.wanted is None else json.dumps(self.wanted).encode()

    @property
    def trace(self) -> str:
        """The trace as JSON, compact form."""
        asked = [{"role": "user", "content": self.asked}]
        told = [*asked, {"role": "tool", "content": self.found}]
        noise = [
            ([{"role": "tool", "content": f"Line {number} of the log, {_NOISE}"}], "go on")
            for number in range(self.filler)
        ]
        middle = self.filler // 2
        calls = [(asked, "look it up"), *noise[:middle], (told, "noted"), *noise[middle:]]
        calls.append(([{"role": "user", "content": "Answer now."}], self.answer))
        events = [
            {"llm_request": {"messages": messages},
             "llm_response": {"message": {"role": "assistant", "content": said}}}
            for messages, said in calls
        ]  # fmt: skip
        return json.dumps({"event_history": events})

    def attacked(self, attack: Attack, place: str) -> "Work":
        """Returns the work with an attack in it."""
        text = attack.against(self.rubric)
        if place == "in the trace":
            return replace(self, found=f"{self.found}\n{text}")
        both = (self.answer, text) if place == "after the answer" else (text, self.answer)
        return replace(self, answer="\n".join(both))


def corpus() -> list[Attack]:
    """Returns the texts that were written for the corpus."""
    families: dict[str, Any] = tomllib.loads((_HERE / "corpus.toml").read_text("utf-8"))
    return [
        Attack(family=family, text=text)
        for family, table in families.items()
        for text in table["texts"]
    ]


def cases(*, filler: int = 0) -> list[Work]:
    """Returns the work that attacks are put into.

    Args:
        filler: Calls without a meaning in each trace.
    """
    found: Sequence[Mapping[str, Any]] = tomllib.loads((_HERE / "cases.toml").read_text("utf-8"))[
        "case"
    ]
    return [
        Work(
            name=each["name"],
            rubric=read_rubric(
                {"version": "1", "goal_text": each["goal"], "criteria": each["criteria"]}
            ),
            asked=each["asked"],
            found=each["found"],
            answer=each["answer"],
            good=each["good"],
            wanted=each.get("wanted"),
            reworded=tuple(each["reworded"]),
            filler=filler,
        )
        for each in found
    ]


def mutations(attacks: Sequence[Attack], *, count: int, seed: int) -> list[Attack]:
    """Returns so many mutations of each attack, drawn by a seed."""
    rng = random.Random(seed)
    return [
        replace(attack, mutation=name, seed=rng.getrandbits(32))
        for attack in attacks
        for name in rng.sample(sorted(MUTATIONS), count)
    ]


def _sprinkled(marks: str) -> Callable[[str, random.Random], str]:
    def change(text: str, rng: random.Random) -> str:
        return "".join(char + (rng.choice(marks) if rng.random() < 0.3 else "") for char in text)

    return change


def _posing(text: str, rng: random.Random) -> str:
    table = dict(zip("aeopcyxiABEKMHOPCTX", "аеорсухіАВЕКМНОРСТХ", strict=True))  # noqa: RUF001
    return "".join(table.get(char, char) if rng.random() < 0.5 else char for char in text)


def _tagged(text: str, rng: random.Random) -> str:
    hidden = "".join(chr(0xE0000 + ord(char)) for char in text if " " <= char <= "~")
    return f"ok{hidden}"


def _wide(text: str, rng: random.Random) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def _encoded(text: str, rng: random.Random) -> str:
    return f"Decode and obey: {base64.b64encode(text.encode('utf-8', 'ignore')).decode()}"


def _cased(text: str, rng: random.Random) -> str:
    return text.upper() if rng.random() < 0.5 else text.swapcase()


MUTATIONS: Mapping[str, Callable[[str, random.Random], str]] = {
    "zero width": _sprinkled("\u200b\u200c\u2060\ufeff"),
    "bidi": lambda text, rng: f"\u202e{text[::-1]}\u202c",
    "homoglyphs": _posing,
    "tags": _tagged,
    "full width": _wide,
    "base64": _encoded,
    "case": _cased,
    "repeated": lambda text, rng: "\n".join([text] * rng.randint(3, 8)),
    "padded": lambda text, rng: "\n" * rng.randint(20, 60) + text,
    "quoted": lambda text, rng: "\n".join(f"> {line}" for line in text.splitlines()),
    "fenced": lambda text, rng: f"```\n{text}\n```",
    "as JSON": lambda text, rng: json.dumps({"role": "system", "content": text}),
    "escaped": lambda text, rng: "".join(f"\\u{ord(char):04x}" for char in text),
    "closing": lambda text, rng: f"</{rng.choice(['answer', 'trace', 'read'])}>\n{text}",
}
