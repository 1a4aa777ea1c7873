"""Keeps verifier graphs in a SQLite file of the verifier's own. A version never changes."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TENANT = "default"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verifier_graph_versions (
    tenant TEXT NOT NULL,
    graph_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    body TEXT NOT NULL,
    shipped INTEGER NOT NULL,
    create_time REAL NOT NULL,
    PRIMARY KEY (tenant, graph_id, version)
) WITHOUT ROWID
"""
_COLUMNS = "graph_id, version, content_hash, body, shipped, create_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGraph:
    """A version of a graph.

    Attributes:
        graph_id: Id that its versions share.
        version: From 1.
        content_hash: Of its canonical form.
        body: The canonical form.
        shipped: Whether it came with Burnish.
        create_time: Seconds since the epoch.
    """

    graph_id: str
    version: int
    content_hash: str
    body: Mapping[str, Any]
    shipped: bool
    create_time: float


def open_database(path: Path | None) -> sqlite3.Connection:
    """Opens a SQLite file, or a database in memory without a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(
        ":memory:" if path is None else path,
        check_same_thread=False,
        isolation_level=None,
        timeout=30,
    )
    database.execute("PRAGMA journal_mode = WAL")
    return database


class GraphStore:
    """Versions of graphs by id. Its methods block: call them in a thread."""

    def __init__(self, path: Path | None) -> None:
        """Opens the store.

        Args:
            path: The file; None keeps the graphs in memory.
        """
        self._lock = threading.Lock()
        self._database = open_database(path)
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(_SCHEMA)

    def add(self, graph: StoredGraph) -> StoredGraph:
        """Stores a graph as the next version of its id unless it equals the latest one.

        Args:
            graph: Its `version` is not looked at.

        Returns:
            The version that holds the graph. It may be one of a shipped graph that another asker
            must not replace: when `shipped` differs, nothing was stored.
        """
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            latest = self._one(graph.graph_id, None)
            if latest is not None and (
                latest.content_hash == graph.content_hash or latest.shipped != graph.shipped
            ):
                return latest
            version = 1 if latest is None else latest.version + 1
            self._database.execute(
                "INSERT INTO verifier_graph_versions"  # noqa: S608 - constants
                f" (tenant, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    _TENANT,
                    graph.graph_id,
                    version,
                    graph.content_hash,
                    json.dumps(graph.body, sort_keys=True),
                    graph.shipped,
                    graph.create_time,
                ),
            )
            found = self._one(graph.graph_id, version)
        return graph if found is None else found

    def get(self, graph_id: str, version: int | None = None) -> StoredGraph | None:
        """Returns a version of a graph, None for the latest; None when there is none."""
        with self._lock:
            return self._one(graph_id, version)

    def page(self, *, after: str, count: int) -> list[StoredGraph]:
        """Returns the latest versions of at most `count` graphs, from the first id past `after`."""
        return self._many(
            "graph_id > ? AND version = (SELECT MAX(version) FROM verifier_graph_versions AS other"
            " WHERE other.tenant = verifier_graph_versions.tenant"
            " AND other.graph_id = verifier_graph_versions.graph_id)",
            (after, count),
        )

    def versions(self, graph_id: str, *, after: int, count: int) -> list[StoredGraph]:
        """Returns at most `count` versions of a graph, from the first one past `after`."""
        return self._many("graph_id = ? AND version > ?", (graph_id, after, count))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def _one(self, graph_id: str, version: int | None) -> StoredGraph | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM verifier_graph_versions"  # noqa: S608 - a constant
            " WHERE tenant = ? AND graph_id = ? AND (? IS NULL OR version = ?)"
            " ORDER BY version DESC LIMIT 1",
            (_TENANT, graph_id, version, version),
        ).fetchone()
        return None if row is None else _stored(row)

    def _many(self, condition: str, values: tuple[Any, ...]) -> list[StoredGraph]:
        with self._lock:
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM verifier_graph_versions"  # noqa: S608 - a constant
                f" WHERE tenant = ? AND {condition} ORDER BY graph_id, version LIMIT ?",
                (_TENANT, *values),
            ).fetchall()
        return [_stored(row) for row in rows]


def _stored(row: tuple[Any, ...]) -> StoredGraph:
    graph_id, version, content_hash, body, shipped, create_time = row
    return StoredGraph(
        graph_id=graph_id,
        version=version,
        content_hash=content_hash,
        body=dict(json.loads(body)),
        shipped=bool(shipped),
        create_time=create_time,
    )
