"""Keeps results of nodes that cost time or money, and asks for each of them once at a time.

The key of a result is a hash of all that it depends on: the graph, the node, what the rollout gave,
what the request told judges, and which repeat it is. So an entry never goes stale, and the file may
be deleted at any time. Failures are not kept.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import (
    NOTHING,
    CriterionScore,
    EventReview,
    EvidenceSnippet,
    NodeResult,
)
from burnish_verifier.store import open_database

_IN_MEMORY = 4096
_IN_FILE = 200_000
_SAVE_SECONDS = 0.05
_KEY_DIGITS = 15
_SCHEMA = """
CREATE TABLE IF NOT EXISTS node_results (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
)
"""


class ResultCache:
    """Results by key, in memory and in a file. The file is written many results at a time."""

    def __init__(self, path: Path | None) -> None:
        """Opens the cache.

        Args:
            path: The file; None keeps results in memory only.
        """
        self._recent: OrderedDict[str, NodeResult] = OrderedDict()
        self._running: dict[str, asyncio.Task[NodeResult | Failed]] = {}
        self._lock = threading.Lock()
        self._unsaved: list[tuple[str, NodeResult]] = []
        self._saving: asyncio.Task[None] | None = None
        self._database: sqlite3.Connection | None = None
        # Starts of the keys in the file, so that a new one costs no look into it.
        self._filed: set[int] = set()
        if path is not None:
            self._database = open_database(path)
            # What a power cut takes is asked for again, and the ledger then replays it.
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(_SCHEMA)
            self._filed = self._starts(self._database)

    async def get_or_ask(
        self, key: str, ask: Callable[[], Awaitable[NodeResult | Failed]]
    ) -> NodeResult | Failed:
        """Returns the result kept under a key, or asks for it; whoever waits for it shares it.

        An asker that goes away does not end the asking: it may be paid for already.
        """
        kept = self._recent.get(key)
        if kept is not None:
            self._recent.move_to_end(key)
            return replace(kept, cached=True, spent=NOTHING)
        task = self._running.get(key)
        shared = task is not None
        if task is None:
            task = asyncio.create_task(self._found(key, ask))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        found = await asyncio.shield(task)
        if shared and isinstance(found, NodeResult):
            return replace(found, cached=True, spent=NOTHING)
        return found

    async def drain(self) -> None:
        """Waits for what is still asked, and saves it."""
        while self._running:
            await asyncio.wait(set(self._running.values()))
        if self._saving is not None:
            await self._saving

    def close(self) -> None:
        """Saves what is not saved, and closes the file. Blocks."""
        self._save()
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    async def _found(
        self, key: str, ask: Callable[[], Awaitable[NodeResult | Failed]]
    ) -> NodeResult | Failed:
        if _start(key) in self._filed:
            body = await asyncio.to_thread(self._read, key)
            if body is not None:
                kept = _result(json.loads(body))
                self._remember(key, kept)
                return replace(kept, cached=True, spent=NOTHING)
        found = await ask()
        if isinstance(found, NodeResult):
            self._remember(key, found)
            if self._database is not None:
                self._unsaved.append((key, found))
                if self._saving is None or self._saving.done():
                    self._saving = asyncio.create_task(self._save_soon())
        return found

    def _remember(self, key: str, result: NodeResult) -> None:
        self._recent[key] = result
        if len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)

    async def _save_soon(self) -> None:
        while self._unsaved:
            await asyncio.sleep(_SAVE_SECONDS)
            await asyncio.to_thread(self._save)

    @staticmethod
    def _starts(database: sqlite3.Connection) -> set[int]:
        return {_start(key) for (key,) in database.execute("SELECT key FROM node_results")}

    def _read(self, key: str) -> str | None:
        with self._lock:
            if self._database is None:
                return None
            row = self._database.execute(
                "SELECT body FROM node_results WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def _save(self) -> None:
        taken, self._unsaved = self._unsaved, []
        rows = [(key, json.dumps(result, default=_fields)) for key, result in taken]
        with self._lock:
            if self._database is None or not rows:
                return
            with self._database:
                self._database.execute("BEGIN")
                self._database.executemany(
                    "INSERT INTO node_results (key, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    rows,
                )
                self._database.execute(
                    "DELETE FROM node_results WHERE number <="
                    " (SELECT MAX(number) FROM node_results) - ?",
                    (_IN_FILE,),
                )
            self._filed.update(_start(key) for key, _ in rows)
            if len(self._filed) > 2 * _IN_FILE:
                self._filed = self._starts(self._database)


def _fields(item: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns the fields of a result, or of what is in it, without the copy that `asdict` makes."""
    return {each.name: getattr(item, each.name) for each in fields(item)}


def _start(key: str) -> int:
    return int(key[:_KEY_DIGITS], 16)


def _result(value: Mapping[str, Any]) -> NodeResult:
    return NodeResult(
        score=value["score"],
        reason=value["reason"],
        criteria=_criteria(value["criteria"]),
        event_reviews=tuple(
            EventReview(**{**review, "criteria": _criteria(review["criteria"])})
            for review in value["event_reviews"]
        ),
        simulated=value["simulated"],
        evidence=tuple(EvidenceSnippet(**snippet) for snippet in value["evidence"]),
        seconds=value["seconds"],
    )


def _criteria(values: list[Mapping[str, Any]]) -> tuple[CriterionScore, ...]:
    return tuple(CriterionScore(**value) for value in values)
