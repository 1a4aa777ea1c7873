"""What a configuration check finds: problems that refuse a file, and warnings that do not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from burnish.errors import InvalidArgument

_SECRET_KEY = re.compile(
    r"(^|[_.\-])(api_?key|secret|password|credentials?|authorization)s?$", re.I
)
_TEXT_KEYS = frozenset(
    {
        "pattern",
        "content",
        "text",
        "prompt",
        "instruction",
        "baseline_instruction",
        "instruction_text",
        "few_shots",
        "metaprompt",
        "spec_context",
        "description",
    }
)
_TEXT_PARENTS = frozenset({"initial_prompt", "baseline_messages", "messages", "sections"})
_RANGE = frozenset({"start", "end", "step"})
_SHOWN_LENGTH = 60
_REPORTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a configuration is refused.

    Attributes:
        path: Where it stands, in the words of the file: `prompt_learning.mipro.stages[0].policy`.
        value: What stands there, shortened; secrets and prompts are never shown.
        message: What is wrong with it.
        fix: What to do.
    """

    path: str
    value: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"`{self.path}` = {self.value}: {self.message}; {self.fix}"


class ConfigError(InvalidArgument, ValueError):
    """A configuration that is never valid; `problems` lists everything that is wrong with it."""

    default_reason = "CONFIG_INVALID"

    def __init__(self, problems: Sequence[Problem], *, source: str = "configuration") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"{source}: {count} problem{'' if count == 1 else 's'}"]
        lines += [f"  {problem}" for problem in self.problems[:_REPORTED]]
        if count > _REPORTED:
            lines.append(f"  and {count - _REPORTED} more")
        super().__init__(
            "\n".join(lines),
            metadata={problem.path: problem.message for problem in self.problems[:_REPORTED]},
        )


class PathNames:
    """Remembers where the user wrote a value that was moved to its canonical place."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._written: dict[str, str] = {}

    def record(self, canonical: str, written: str) -> None:
        """Notes that `canonical` stands in the file as `written`, both below the section."""
        self._written[canonical] = self._written.get(written, written)

    def written(self, canonical: str) -> str:
        """Returns the path as the user knows it, section name included."""
        return self._join(self.place(canonical))

    def place(self, canonical: str) -> str:
        """Returns the path as the user knows it, below the section."""
        head, tail = canonical, ""
        while head:
            if head in self._written:
                return self._written[head] + tail
            cut = max(head.rfind("."), head.rfind("["))
            if cut < 0:
                break
            head, tail = head[:cut], head[cut:] + tail
        return canonical

    def _join(self, path: str) -> str:
        if not path:
            return self._prefix or "(file)"
        return f"{self._prefix}.{path}" if self._prefix else path


@dataclass(slots=True, kw_only=True)
class Findings:
    """Collects problems and warnings while a configuration is read.

    Attributes:
        names: Translates canonical paths to the ones in the file.
        problems: In the order found.
        warnings: In the order found.
        references: Path of a value that came from the environment, and its reference.
        overridden: Paths below the section that an override set.
    """

    names: PathNames = field(default_factory=PathNames)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    overridden: set[str] = field(default_factory=set)

    def problem(self, path: str, value: object, message: str, fix: str) -> None:
        """Adds a problem at a canonical path, unless an equal one is there."""
        written = self.names.written(path)
        shown = self.references.get(written) or show(written, value)
        found = Problem(path=written, value=shown, message=message, fix=fix)
        if found not in self.problems:
            self.problems.append(found)

    def is_overridden(self, path: str) -> bool:
        """Whether an override set the value at a canonical path, or a part of it."""
        written = self.names.place(path)
        return any(set_ == written or _is_below(set_, written) for set_ in self.overridden)

    def missing(self, path: str, fix: str) -> None:
        """Adds a problem for an absent value, unless what stands there was refused already."""
        written = self.names.written(path)
        if not any(p.path == written or _is_below(p.path, written) for p in self.problems):
            self.problem(path, None, "is required", fix)

    def warn(self, path: str, message: str) -> None:
        """Adds a warning at a canonical path, once."""
        text = f"`{self.names.written(path)}`: {message}"
        if text not in self.warnings:
            self.warnings.append(text)

    def raise_if_any(self, source: str) -> None:
        """Raises `ConfigError` with all problems, if there is one."""
        if self.problems:
            raise ConfigError(self.problems, source=source)


def _is_below(path: str, parent: str) -> bool:
    return path.startswith((f"{parent}.", f"{parent}["))


def is_secret_key(path: str) -> bool:
    """Whether the last key of a path names a secret value."""
    return _SECRET_KEY.search(path) is not None


def is_text_path(path: str) -> bool:
    """Whether a path leads to prompt text, which is neither expanded nor shown."""
    keys = [re.sub(r"\[\d+\]", "", key) for key in path.split(".")]
    return keys[-1] in _TEXT_KEYS or any(key in _TEXT_PARENTS for key in keys)


def show(path: str, value: object) -> str:
    """Renders a value for a message: short, and never a secret or a prompt."""
    if value is None:
        return "(absent)"
    if is_secret_key(path):
        return "(hidden)"
    if isinstance(value, str):
        if is_text_path(path):
            return f"(text of {len(value)} characters)"
        return repr(value if len(value) <= _SHOWN_LENGTH else value[: _SHOWN_LENGTH - 1] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        if value.keys() <= _RANGE and all(isinstance(one, int | float) for one in value.values()):
            inner = ", ".join(f"{name} = {_number_text(one)}" for name, one in value.items())
            return f"{{{inner}}}"
        return f"(table of {len(value)} keys)"
    if isinstance(value, list | tuple):
        return f"(array of {len(value)})"
    text = _number_text(value) if isinstance(value, int | float) else str(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _number_text(value: float) -> str:
    # str() of a huge integer raises: Python limits the digits it converts.
    return repr(value) if abs(value) < 2**63 or value != value else "(a huge number)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that looks most like `name`, or None when none does."""
    words = sorted(known)
    if len(name) > 2:
        related = [w for w in words if len(w) > 2 and (name.startswith(w) or w.startswith(name))]
        if related:
            return max(related, key=len)
    found = difflib.get_close_matches(name[:80], words, n=1, cutoff=0.6)
    return found[0] if found else None
