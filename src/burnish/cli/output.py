"""What the command line prints: data on stdout, everything else on stderr, and how it exits.

Exit codes: 0 ok, 1 operational failure, 2 usage or configuration, 3 gate failed, 4 budget
exhausted before an answer, 5 server unreachable, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from burnish.cli.mistakes import explained
from burnish.cli.unreachable import clarified
from burnish.errors import BurnishError, Code

OK = 0
FAILED = 1
USAGE = 2
GATE_FAILED = 3
BUDGET_EXHAUSTED = 4
UNREACHABLE = 5
INTERRUPTED = 130

_EXIT_CODES = {
    Code.INVALID_ARGUMENT: USAGE,
    Code.OUT_OF_RANGE: USAGE,
    Code.RESOURCE_EXHAUSTED: BUDGET_EXHAUSTED,
    Code.UNAVAILABLE: UNREACHABLE,
}
_UNREACHABLE_REASONS = frozenset({"BACKEND_NOT_CONFIGURED"})
P = ParamSpec("P")
R = TypeVar("R")

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no progress and no hints on stderr.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a command's words go.

    Attributes:
        json: Whether data is printed as one JSON object.
        quiet: Whether chatter is left out.
    """

    json: bool = False
    quiet: bool = False
    _chatter: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @property
    def chatter(self) -> Console:
        """Console on stderr, for what is not data."""
        return self._chatter

    @property
    def live(self) -> bool:
        """Whether a live view makes sense: a person is looking at a terminal."""
        return self.chatter.is_terminal and not self.json and not self.quiet

    def say(self, text: str = "") -> None:
        """Prints a line of chatter, as it is."""
        if not self.quiet:
            self.chatter.print(text, markup=False, soft_wrap=True)

    def problem(self, text: str) -> None:
        """Prints an error on stderr, however quiet the command is to be."""
        self.chatter.print(text, markup=False, soft_wrap=True)

    def data(self, value: Mapping[str, object], text: str | None = None) -> None:
        """Prints the command's data.

        Args:
            value: The data, printed as one JSON object under `--json`.
            text: The same for a person; the JSON object when None.
        """
        if self.json or text is None:
            sys.stdout.write(json.dumps(value, indent=None if self.json else 2, default=str) + "\n")
        else:
            sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def table(
        self, value: Mapping[str, object], *, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Prints the command's data as a table, or as one JSON object under `--json`."""
        if self.json:
            self.data(value)
            return
        shown = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            shown.add_row(*row)
        Console(highlight=False, markup=False).print(shown)


class NotSaved(Exception):
    """A file that could not be written, after its content was printed or shown.

    Attributes:
        error: What went wrong.
    """

    def __init__(self, error: OSError, path: Path) -> None:
        super().__init__(str(error))
        if error.filename is None:
            # A disk that fills up is told of by the write, which knows no path.
            error.filename = str(path)
        self.error = error


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Holds what writes a result that is printed already: its failure is told on stderr alone.

    Raises:
        NotSaved: It could not be written.
    """
    try:
        yield
    except OSError as error:
        raise NotSaved(error, path) from error


def exit_code(error: BurnishError) -> int:
    """Returns the exit code for an error."""
    if error.reason in _UNREACHABLE_REASONS:
        return UNREACHABLE
    return _EXIT_CODES.get(error.code, FAILED)


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """Wraps a command so that an error becomes a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        as_json = bool(kwargs.get("as_json"))
        try:
            return command(*args, **kwargs)
        except BurnishError as raised:
            error = clarified(raised, kwargs)
            _report(error.message, error.reason, error.metadata, as_json=as_json)
            raise typer.Exit(exit_code(error)) from None
        except NotSaved as unsaved:
            # The one JSON object of stdout is the result.
            _report(explained(unsaved.error, command, kwargs).message, "", {}, as_json=False)
            raise typer.Exit(FAILED) from None
        except BrokenPipeError:
            # Whoever read stdout has seen enough; typer ends the process without a word.
            raise
        except (OSError, UnicodeDecodeError) as error:
            found = explained(error, command, kwargs)
            _report(found.message, found.reason, {}, as_json=as_json)
            raise typer.Exit(USAGE if found.usage else FAILED) from None
        except KeyboardInterrupt:
            _report("interrupted", "INTERRUPTED", {}, as_json=as_json)
            raise typer.Exit(INTERRUPTED) from None

    return run


def _report(message: str, reason: str, metadata: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        error = {"reason": reason, "message": message, "metadata": dict(metadata)}
        sys.stdout.write(json.dumps({"error": error}) + "\n")
    sys.stderr.write(f"error: {message}\n")
