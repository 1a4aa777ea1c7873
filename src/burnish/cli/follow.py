"""Follows a job on the terminal: a live view for a person, plain lines for everyone else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from burnish.api.job.v1 import job_event_pb2
from burnish.cli.lines import EventLines, clock, money
from burnish.cli.mistakes import in_words
from burnish.cli.output import Output
from burnish.results import JobSnapshot

_PHASES = ("check", "baseline", "bootstrap", "propose", "search", "test", "complete")
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 40


@dataclass(slots=True, kw_only=True)
class View:
    """What the live view shows, gathered from events.

    Attributes:
        job_id: Id of the job.
        phase: Phase that the job is in.
        progress: Last progress, once there is one.
        best: Best mean reward so far.
        baseline: The baseline's.
        trace: Best so far after each trial.
        roles: Spent by role.
    """

    job_id: str
    phase: str = ""
    progress: job_event_pb2.JobProgress | None = None
    best: float | None = None
    baseline: float | None = None
    trace: list[float] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)

    def take(self, snapshot: JobSnapshot, event: job_event_pb2.JobEvent) -> None:
        """Takes the next event in."""
        self.phase = snapshot.phase
        kind = event.WhichOneof("kind")
        if kind == "progress":
            self.progress = event.progress
        elif kind == "baseline_evaluated":
            self.baseline = self.best = event.baseline_evaluated.reward.mean
        elif kind == "new_incumbent":
            self.best = event.new_incumbent.reward.mean
        elif kind == "budget_updated":
            self.roles = {
                role: money(usage) for role, usage in sorted(event.budget_updated.by_role.items())
            }
        elif kind == "trial_completed" and self.best is not None:
            self.trace.append(self.best)

    def render(self) -> RenderableType:
        """Returns the view."""
        strip = Text()
        for name in _PHASES:
            style = "bold reverse" if name == self.phase else "dim"
            strip.append(f" {name} ", style=style)
        table = Table.grid(padding=(0, 2))
        table.add_row("job", self.job_id)
        table.add_row("best so far", f"{_number(self.best)}  baseline {_number(self.baseline)}")
        if self.trace:
            table.add_row("", sparkline(self.trace))
        if self.roles:
            table.add_row("spend", "  ".join(f"{role} {cost}" for role, cost in self.roles.items()))
        progress = self.progress
        if progress is not None:
            eta = (
                clock(progress.remaining.ToTimedelta().total_seconds())
                if progress.HasField("remaining")
                else "?"
            )
            table.add_row(
                "rollouts",
                f"{progress.rollouts_completed}/{progress.rollouts_planned or '?'}  trials "
                f"{progress.trials_completed}/{progress.trials_planned or '?'}  eta {eta}",
            )
            table.add_row("", ProgressBar(total=1.0, completed=progress.fraction, width=40))
        return Group(Text(), strip, table)


def sparkline(values: list[float]) -> str:
    """Returns the last values as a line of bars on the scale from 0 to 1."""
    top = len(_SPARKS) - 1
    return "".join(
        _SPARKS[round(min(1.0, max(0.0, value)) * top)] for value in values[-_SPARK_WIDTH:]
    )


class Follower:
    """Shows a job's events as they come; a context manager.

    Its `take` goes where an `on_update` callback is wanted.
    """

    def __init__(
        self, output: Output, *, snapshot: JobSnapshot, log_file: Path | None = None
    ) -> None:
        """Prepares the view.

        Args:
            output: Where chatter goes.
            snapshot: The job, as it was created.
            log_file: Takes the same lines.
        """
        self._output = output
        self._lines = EventLines(algorithm=snapshot.algorithm, engine=snapshot.engine)
        self._view = View(job_id=snapshot.job_id)
        self._log_file = log_file
        self._exits = contextlib.ExitStack()
        self._live: Live | None = None
        self.trial_count = 0
        self.iteration_count = 0
        self.last_sequence = 0

    def __enter__(self) -> Self:
        if self._output.live:
            self._live = self._exits.enter_context(
                Live(console=self._output.chatter, transient=True, refresh_per_second=8)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.close()

    def take(self, snapshot: JobSnapshot, event: job_event_pb2.JobEvent) -> None:
        """Shows the next event."""
        self.last_sequence = event.sequence
        kind = event.WhichOneof("kind")
        self.trial_count += kind == "trial_completed"
        self.iteration_count += kind == "iteration_completed"
        self._view.take(snapshot, event)
        for line in self._shown(kind or "", self._lines.lines(event)):
            self._output.say(line)
        if self._live is not None:
            self._live.update(self._view.render())

    def _shown(self, kind: str, lines: list[str]) -> Iterator[str]:
        if self._log_file is not None and lines:
            try:
                with self._log_file.open("a", encoding="utf-8") as handle:
                    handle.write("\n".join(lines) + "\n")
            except OSError as error:
                # The job is worth more than its log.
                yield f"warning: `{self._log_file}`: {in_words(error)}; nothing more is logged"
                self._log_file = None
        # The live view has the progress; as lines it would only scroll.
        if self._live is None or kind != "progress":
            yield from lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
