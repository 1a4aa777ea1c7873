"""Keeps verifier graphs in a SQLite file of the verifier's own. A graph never changes."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

_TENANT = "default"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verifier_graphs (
    tenant TEXT NOT NULL,
    graph_id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, graph_id)
) WITHOUT ROWID
"""


class GraphStore:
    """Graphs by id. Its methods block: call them in a thread."""

    def __init__(self, path: Path | None) -> None:
        """Opens the store.

        Args:
            path: The file; None keeps the graphs in memory.
        """
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            ":memory:" if path is None else path,
            check_same_thread=False,
            isolation_level=None,
            timeout=30,
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(_SCHEMA)

    def put(self, graph_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Stores a graph unless its id is taken, and returns the graph that has the id now."""
        text = json.dumps(body, sort_keys=True)
        with self._lock:
            self._database.execute(
                "INSERT INTO verifier_graphs (tenant, graph_id, body) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (_TENANT, graph_id, text),
            )
        found = self.get(graph_id)
        return body if found is None else found

    def get(self, graph_id: str) -> dict[str, Any] | None:
        """Returns a graph, or None when no graph has the id."""
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM verifier_graphs WHERE tenant = ? AND graph_id = ?",
                (_TENANT, graph_id),
            ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def page(self, *, after: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Returns at most `count` graphs in order of id, from the first one past `after`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT graph_id, body FROM verifier_graphs WHERE tenant = ? AND graph_id > ?"
                " ORDER BY graph_id LIMIT ?",
                (_TENANT, after, count),
            ).fetchall()
        return [(graph_id, dict(json.loads(body))) for graph_id, body in rows]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()
