"""The check that runs the answer's SQL and the wanted one, and compares what they return.

Settings:
    field: Where the SQL is in the output; default `answer`, or the whole.
    setup: Statements that make the database, when it is the same for every row.
    setup_field: Where they are in the reference; default `setup`.
    sql_field: Where the wanted SQL is in the reference; default `sql`.
    rows_field: Where the wanted rows are, as a list of lists; default `rows`. They go before SQL.
    ordered: Whether the order of rows counts; default false.
    columns: Whether the names of columns count; default false.
    writes: Whether a statement may change the database; default false. It is changed back after.
    tolerance: Largest relative difference of two equal numbers; default 1e-9.
    time_limit: Seconds for all of it; default 5.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish_verifier.checks.base import CannotJudge, SandboxedKind, Settings, Subject, Verdict
from burnish_verifier.checks.runnable import (
    ended_early,
    memory_of,
    referred,
    runnable,
    seconds_of,
)
from burnish_verifier.sandbox.work import Outcome, Work

Rows = list[list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlResult:
    """1 when the answer's SQL returns the wanted rows."""

    path: str
    setup: str
    setup_path: str
    sql_path: str
    rows_path: str
    ordered: bool
    columns: bool
    writes: bool
    tolerance: float
    seconds: float
    memory: int

    def work(self, subject: Subject) -> Work:
        """Returns what is to be run."""
        setup = self.setup or referred(subject, self.setup_path)
        if not isinstance(setup, str):
            raise CannotJudge(
                f"the reference has no text `{self.setup_path}`; return the statements that make "
                "the database, or set `setup`",
                reason="REFERENCE_INVALID",
            )
        # The wanted one first, before the answer's can have changed anything.
        statements: dict[str, str] = {}
        if self._wanted_rows(subject) is None:
            sql = referred(subject, self.sql_path)
            if not isinstance(sql, str):
                raise CannotJudge(
                    f"the reference has neither `{self.sql_path}` nor `{self.rows_path}`; return "
                    "the wanted SQL or its rows",
                    reason="REFERENCE_INVALID",
                )
            statements["wanted"] = sql
        statements["answer"] = runnable(subject, self.path) or ""
        return Work(
            kind="sql",
            payload={"setup": setup, "statements": statements, "writes": self.writes},
            time_limit=self.seconds,
            memory_limit=self.memory,
        )

    def verdict(self, subject: Subject, found: Outcome) -> Verdict:
        """Judges what came of it."""
        if found.kind == "raised":
            raise CannotJudge(
                f"the setup of the database fails with {found.detail}; correct it",
                reason="REFERENCE_INVALID",
            )
        early = ended_early(self.work(subject), found)
        if early is not None:
            return early
        answer, wanted = found.value["answer"], found.value.get("wanted")
        if wanted is not None and "raised" in wanted:
            raise CannotJudge(
                f"the wanted SQL fails with {wanted['raised']}; correct it",
                reason="REFERENCE_INVALID",
            )
        if "raised" in answer:
            return Verdict(score=0.0, feedback=f"the SQL fails with {answer['raised']}")
        rows = self._wanted_rows(subject) if wanted is None else wanted["rows"]
        if self.columns and wanted is not None and wanted["columns"] != answer["columns"]:
            return Verdict(score=0.0, feedback="the names of the columns differ")
        if self._same(answer["rows"], rows or []):
            return Verdict(score=1.0)
        return Verdict(
            score=0.0, feedback=f"returned {len(answer['rows'])} rows, wanted {len(rows or [])}"
        )

    def _wanted_rows(self, subject: Subject) -> Rows | None:
        rows = referred(subject, self.rows_path) if subject.has_reference else None
        if rows is None:
            return None
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise CannotJudge(
                f"`{self.rows_path}` of the reference is no list of lists; correct it",
                reason="REFERENCE_INVALID",
            )
        return rows

    def _same(self, one: Rows, other: Rows) -> bool:
        if len(one) != len(other):
            return False
        if not self.ordered:
            one, other = sorted(one, key=_key), sorted(other, key=_key)
        return all(self._same_row(a, b) for a, b in zip(one, other, strict=True))

    def _same_row(self, one: Sequence[Any], other: Sequence[Any]) -> bool:
        return len(one) == len(other) and all(
            self._same_cell(a, b) for a, b in zip(one, other, strict=True)
        )

    def _same_cell(self, one: object, other: object) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return math.isclose(one, other, rel_tol=self.tolerance, abs_tol=self.tolerance)
        return type(one) is type(other) and one == other


def _key(row: Sequence[Any]) -> str:
    # Numbers that are nearly equal have to sort to the same place.
    return json.dumps(
        [float(f"{cell:.6g}") if isinstance(cell, int | float) else cell for cell in row]
    )


def _sql_result(settings: Settings) -> SqlResult:
    return SqlResult(
        path=settings.text("field"),
        setup=settings.text("setup"),
        setup_path=settings.text("setup_field", "setup"),
        sql_path=settings.text("sql_field", "sql"),
        rows_path=settings.text("rows_field", "rows"),
        ordered=settings.flag("ordered", default=False),
        columns=settings.flag("columns", default=False),
        writes=settings.flag("writes", default=False),
        tolerance=settings.number("tolerance", 1e-9),
        seconds=seconds_of(settings),
        memory=memory_of(settings),
    )


KINDS = (SandboxedKind(name="sql_result", build=_sql_result),)
