"""The labelled calls of the corpus: as its programs send them, and varied by fixed rules.

A program is a TOML file: its stages with the messages that they send, values for what varies, the
shapes that its conversations take, and calls that belong to none of its stages. Every stage is
called with each of the values; `variants` changes a call in one way of many, without ever changing
which stage it belongs to.
"""

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish import templates
from burnish_interceptor.policies.policy import MessagePattern, Mode, Model, Stage
from burnish_interceptor.prompts.edit import Message

FOLDER = Path(__file__).parent
CALLS_PER_STAGE = 4
_WORD = re.compile(r"\w{3,}")
_OTHER_LANGUAGES = (
    "Pouvez-vous me dire où se trouve la gare la plus proche ?",
    "明日の朝までに返事をください。",
    "من فضلك أجب قبل صباح الغد",
    "내일 아침까지 답장해 주세요.",
    "¿Cuánto cuesta enviar esto al extranjero?",
)
_NEW_WORDS = ("gently", "colleague", "weekly", "orange", "perhaps", "beneath", "carefully")
_ODD = 'a {brace} {{two}} {0} \\ "quoted"\n\n```json\n{"k": [1, 2]}\n```\t\U0001f600 <|end|>'
_RESULT = "found 3 rows\nRows:\n1, 2, 3\nQuestion: none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of the corpus, as a policy knows it."""

    name: str
    held_out: bool
    stages: tuple[Stage, ...]
    values: dict[str, list[str]]
    shapes: list[str]
    foreign: list[list[Message]]

    def stage(self, stage_id: str) -> Stage:
        return next(one for one in self.stages if one.stage_id == stage_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One labelled call; `stage_id` is None for a call of no stage."""

    program: str
    stage_id: str | None
    messages: tuple[Message, ...]
    bindings: dict[str, str]
    number: int = 0
    kind: str = "as sent"


def programs() -> list[Program]:
    return [_program(path) for path in sorted(FOLDER.glob("*.toml"))]


def calls(program: Program) -> Iterator[Call]:
    """Yields the program's calls as it sends them."""
    for stage in program.stages:
        for number in range(CALLS_PER_STAGE):
            bindings = {
                name: program.values[name][number % len(program.values[name])]
                for name in sorted(stage.wildcards)
            }
            messages = shaped(rendered(stage, bindings), program.shapes[number])
            yield Call(
                program=program.name,
                stage_id=stage.stage_id,
                messages=messages,
                bindings=bindings,
                number=number,
            )


def foreign(program: Program) -> Iterator[Call]:
    """Yields calls that belong to no stage of the program."""
    for number, messages in enumerate(program.foreign):
        yield Call(
            program=program.name,
            stage_id=None,
            messages=tuple(messages),
            bindings={},
            number=number,
            kind="foreign",
        )


def variants(program: Program, call: Call) -> Iterator[Call]:
    """Yields a call of a stage in every way that it can be varied."""
    stage = program.stage(call.stage_id or "")
    for kind, change in _VALUES.items():
        rng = _rng(call, kind)
        bindings = {
            name: value if name in stage.optional and not value else change(value, program, rng)
            for name, value in call.bindings.items()
        }
        messages = shaped(rendered(stage, bindings), program.shapes[call.number])
        yield replace(call, kind=kind, bindings=bindings, messages=messages)
    for kind in _SHAPES:
        yield replace(call, kind=kind, messages=shaped(call.messages, kind))
    for kind, alter in _TEXTS.items():
        messages = alter(call.messages, _rng(call, kind))
        yield replace(call, kind=kind, messages=messages)


def varied_foreign(call: Call) -> Iterator[Call]:
    """Yields a call of no stage in every way that it can be varied."""
    for kind in _SHAPES:
        yield replace(call, kind=f"foreign, {kind}", messages=shaped(call.messages, kind))
    for kind, alter in _TEXTS.items():
        messages = alter(call.messages, _rng(call, kind))
        yield replace(call, kind=f"foreign, {kind}", messages=messages)


def rendered(stage: Stage, bindings: dict[str, str]) -> tuple[Message, ...]:
    """Returns the messages of a stage as its program writes them.

    A line of which every value is optional and empty is left out.
    """
    return tuple(
        Message(one.role, _without_empty_lines(one.pattern, stage, bindings).render(bindings))
        for one in stage.messages
    )


def shaped(messages: Sequence[Message], shape: str) -> tuple[Message, ...]:
    """Returns a conversation in another shape, its stage's messages unchanged."""
    given = list(messages)
    first = next((i for i, one in enumerate(given) if one.role not in ("system", "developer")), 0)
    call = [Message("assistant", ""), Message("tool", _RESULT)]
    chat = [Message("assistant", "Certainly."), Message("user", "And after that?")]
    match shape:
        case "tools":
            given += call
        case "long_tools":
            given += [*call, *call, Message("assistant", "Let me look again."), *call]
        case "history":
            given[first:first] = [Message("user", "Hello!"), Message("assistant", "Hi. Go on.")]
        case "chat":
            given += chat
        case "long_chat":
            given += chat * 4
        case "developer":
            given = [Message(one.role.replace("system", "developer"), one.text) for one in given]
        case "second_system":
            given.insert(first, Message("system", "Today is Monday."))
        case "system_last":
            given = given[first:] + given[:first]
    return tuple(given)


def body_of(call: Call) -> dict[str, Any]:
    """Returns the chat request of a call; every second one has its text in parts."""

    def content(one: Message) -> Any:
        if call.number % 2 == 0 or one.role not in ("system", "user"):
            return one.text
        half = len(one.text) // 2
        parts = [one.text[:half], one.text[half:]]
        return [{"type": "text", "text": part} for part in parts]

    return {
        "model": "m",
        "messages": [{"role": one.role, "content": content(one)} for one in call.messages],
        "seed": 12345678901234567890123,
    }


def _program(path: Path) -> Program:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Program(
        name=path.stem,
        held_out=data.get("held_out", False),
        stages=tuple(
            Stage(
                stage_id=one["id"],
                messages=tuple(
                    MessagePattern(role=role, pattern=templates.parse(text))
                    for role, text in one["messages"]
                ),
                optional=frozenset(one.get("optional", [])),
                mode=Mode.SYSTEM,
                model=Model(provider="openai", name="m"),
                optimised=True,
            )
            for one in data["stages"]
        ),
        values=data["values"],
        shapes=data["shapes"],
        foreign=[[Message(*one) for one in call["messages"]] for call in data["foreign"]],
    )


def _rng(call: Call, kind: str) -> random.Random:
    return random.Random(f"{call.program}/{call.stage_id}/{call.number}/{kind}")


def _without_empty_lines(
    pattern: templates.Pattern, stage: Stage, bindings: dict[str, str]
) -> templates.Pattern:
    empty = {name for name in stage.optional if not bindings.get(name)}
    if not empty & pattern.names:
        return pattern
    lines: list[list[templates.Part]] = [[]]
    for part in pattern.parts:
        first, *rest = part.split("\n") if isinstance(part, str) else [part]
        lines[-1].append(first)
        lines += [[piece] for piece in rest]
    kept = []
    for line in lines:
        names = {part.name for part in line if isinstance(part, templates.Wildcard)}
        if not names or not names <= empty:
            kept.append(line)
    parts: list[templates.Part] = []
    for number, line in enumerate(kept):
        parts += ["\n", *line] if number else line
    return templates.Pattern(tuple(parts))


def _quoting(value: str, program: Program, rng: random.Random) -> str:
    other = rng.choice(program.stages).messages[0].pattern
    return f"{value}\n\n{other.render(dict.fromkeys(other.names, 'x'))}"


_VALUES: dict[str, Callable[[str, Program, random.Random], str]] = {
    "value reworded": lambda v, _, rng: f"{rng.choice(_NEW_WORDS).title()}, {v.lower()} Thanks!",
    "value in another language": lambda _v, _p, rng: rng.choice(_OTHER_LANGUAGES),
    "value cut": lambda v, _p, _r: v[: len(v) // 2],
    "value empty": lambda _v, _p, _r: "",
    "value long": lambda v, _p, _r: f"{v}\n" * 400,
    "value with odd signs": lambda v, _p, _r: f"{_ODD} {v} {_ODD}",
    "value quotes another stage": _quoting,
}
_SHAPES = (
    "tools", "long_tools", "history", "chat", "developer", "second_system", "system_last",
)  # fmt: skip


def _on_fixed(change: Callable[[str, random.Random], str]) -> Any:
    """Changes the first message alone: the system text, where there is one."""

    def alter(messages: Sequence[Message], rng: random.Random) -> tuple[Message, ...]:
        first, *rest = messages
        return (Message(first.role, change(first.text, rng)), *rest)

    return alter


def _on_all(change: Callable[[str, random.Random], str]) -> Any:
    def alter(messages: Sequence[Message], rng: random.Random) -> tuple[Message, ...]:
        return tuple(
            Message(one.role, change(one.text, rng) if one.role != "tool" else one.text)
            for one in messages
        )

    return alter


def _some_words(text: str, rng: random.Random, count: int) -> str:
    places = [match.span() for match in _WORD.finditer(text)]
    for start, end in sorted(rng.sample(places, min(count, len(places))), reverse=True):
        text = text[:start] + rng.choice(_NEW_WORDS) + text[end:]
    return text


def _cut(text: str, rng: random.Random) -> str:
    return text[: max(1, int(len(text) * rng.uniform(0.6, 0.97)))]


def _shuffled(text: str, rng: random.Random) -> str:
    sentences = re.split(r"(?<=[.。!?])\s*", text)
    rng.shuffle(sentences)
    return " ".join(sentences)


def _with_date(text: str, rng: random.Random) -> str:
    sentences = re.split(r"(?<=[.。])\s*", text)
    sentences.insert(rng.randrange(len(sentences) + 1), f"Today is 2031-0{rng.randint(1, 9)}-11.")
    return " ".join(sentences)


def _user_word(messages: Sequence[Message], rng: random.Random) -> tuple[Message, ...]:
    """Puts a word in front of the last user turn."""
    given = list(messages)
    last = max(i for i, one in enumerate(given) if one.role == "user")
    given[last] = Message("user", f"{rng.choice(_NEW_WORDS).title()} {given[last].text}")
    return tuple(given)


_TEXTS: dict[str, Callable[[Sequence[Message], random.Random], tuple[Message, ...]]] = {
    "space changed": _on_all(lambda t, _: t.replace(" ", "  ").replace("\n", "\r\n") + "\n"),
    "upper case": _on_all(lambda t, _: t.upper()),
    "lower case": _on_fixed(lambda t, _: t.lower()),
    "fixed text cut": _on_fixed(_cut),
    "context appended": _on_fixed(
        lambda t, rng: (
            f"{t}\n\nContext: the user is called {rng.choice(['Kim', 'Bo'])} and likes "
            "short answers. The shop opens at ten."
        )
    ),
    "line put in front": _on_fixed(lambda t, _: f"Knowledge cutoff: 2030-01.\n{t}"),
    "date put in": _on_fixed(_with_date),
    "one word replaced": _on_fixed(lambda t, rng: _some_words(t, rng, 1)),
    "three words replaced": _on_fixed(lambda t, rng: _some_words(t, rng, 3)),
    "sentences reordered": _on_fixed(_shuffled),
    "fixed text in another language": _on_fixed(lambda _, rng: rng.choice(_OTHER_LANGUAGES)),
    "word before the user turn": _user_word,
}
