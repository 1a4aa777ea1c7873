"""What a closed-in process does: call a function, run tests, or run a statement of SQL.

Only the standard library is imported. Whatever is raised is told by its name and line alone: its
text may hold anything.
"""

from __future__ import annotations

import json
import math
import sqlite3
import traceback
from collections.abc import Callable, Mapping
from typing import Any

_NAME = "<answer>"
_MOST_ROWS = 100_000
_MOST_VALUE_BYTES = 1_000_000
_ROWS_PER_FETCH = 256


def _actions(names: str) -> frozenset[int]:
    return frozenset(getattr(sqlite3, f"SQLITE_{name}") for name in names.split())


# What a statement may do; a database in memory has nothing else to be read.
_READS = _actions("READ SELECT FUNCTION RECURSIVE")
_WRITES = _actions(
    "INSERT UPDATE DELETE TRANSACTION ALTER_TABLE REINDEX ANALYZE"
    " CREATE_INDEX CREATE_TABLE CREATE_TRIGGER CREATE_VIEW DROP_INDEX DROP_TABLE DROP_TRIGGER"
    " DROP_VIEW CREATE_TEMP_INDEX CREATE_TEMP_TABLE CREATE_TEMP_TRIGGER CREATE_TEMP_VIEW"
    " DROP_TEMP_INDEX DROP_TEMP_TABLE DROP_TEMP_TRIGGER DROP_TEMP_VIEW"
)

Payload = Mapping[str, Any]


def run(kind: str, payload: Payload) -> dict[str, Any]:
    """Runs one piece of work, and returns what came of it as the outcome's fields."""
    try:
        value = _RUNS[kind](payload)
        return {"kind": "value", "value": _plain(value)}
    except MemoryError:
        return {"kind": "memory"}
    except BaseException as error:
        # The boundary of what is not trusted: exits and interrupts end here too.
        return {"kind": "raised", "detail": _told(error)}


def _function(payload: Payload) -> Any:  # noqa: ANN401
    return _defined(payload)(payload["argument"])


def _calls(payload: Payload) -> list[Any]:
    function = _defined(payload)
    found: list[Any] = []
    for call in payload["calls"]:
        try:
            value = function(*call.get("args", ()), **call.get("kwargs", {}))
            found.append({"value": _plain(value)})
        except MemoryError:
            raise
        except Exception as error:
            # One call that fails says nothing of the next.
            found.append({"raised": _told(error)})
    return found


def _tests(payload: Payload) -> bool:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(payload["source"], _NAME, "exec"), names)  # noqa: S102 - what this is for
    exec(compile(payload["tests"], "<tests>", "exec"), names)  # noqa: S102 - what this is for
    return True


def _sql(payload: Payload) -> dict[str, Any]:
    database = sqlite3.connect(":memory:", isolation_level=None)
    _limit(database)
    # Nothing can be written to a file here.
    database.execute("PRAGMA temp_store = MEMORY")
    database.set_authorizer(_allowing(_READS | _WRITES))
    database.executescript(payload["setup"])
    found: dict[str, Any] = {}
    allowed = _READS | (_WRITES if payload["writes"] else frozenset())
    for name, statement in payload["statements"].items():
        try:
            found[name] = _rows(database, statement, allowed)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            found[name] = {"raised": type(error).__name__}
    return found


def _rows(database: sqlite3.Connection, statement: str, allowed: frozenset[int]) -> dict[str, Any]:
    database.set_authorizer(None)
    database.execute("SAVEPOINT before")
    database.set_authorizer(_allowing(allowed))
    try:
        cursor = database.execute(statement)
        rows: list[list[Any]] = []
        while more := cursor.fetchmany(_ROWS_PER_FETCH):
            rows.extend([_cell(value) for value in row] for row in more)
            if len(rows) > _MOST_ROWS:
                raise ValueError("too many rows")
        columns = [each[0] for each in cursor.description or ()]
    finally:
        database.set_authorizer(None)
        database.execute("ROLLBACK TO before")
        database.execute("RELEASE before")
    return {"columns": columns, "rows": rows}


def _limit(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    database.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def _allowing(actions: frozenset[int]) -> Callable[..., int]:
    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in actions else sqlite3.SQLITE_DENY

    return allowed


def _cell(value: object) -> object:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _defined(payload: Payload) -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(payload["source"], _NAME, "exec"), names)  # noqa: S102 - what this is for
    function = names.get(payload["function"])
    if not callable(function):
        raise LookupError(payload["function"])
    made: Callable[..., Any] = function
    return made


def _plain(value: object) -> Any:  # noqa: ANN401
    """Returns a value as JSON would give it back, or raises what says that it is none."""
    return json.loads(json.dumps(value, allow_nan=False))


def _told(error: BaseException) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in {_NAME, "<tests>"}
    ]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    place = f" in line {lines[-1]}" if lines and lines[-1] is not None else ""
    return f"{type(error).__name__[:80]}{place}"


_RUNS: Mapping[str, Callable[[Payload], Any]] = {
    "function": _function,
    "calls": _calls,
    "tests": _tests,
    "sql": _sql,
}
