"""Opens the database and migrates it. The only module that knows one database from another."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Dialect, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.sql.dml import Insert

from burnish.errors import FailedPrecondition

_BUSY_TIMEOUT_MS = 30_000
_CACHE_KB = 32_000
_LOG_BYTES = 1024 * 4096  # The write-ahead log in the long run: it begins anew after 1,000 pages.


class DatabaseLocked(FailedPrecondition):
    """A second process on one SQLite file; it would lose work to the first."""

    default_reason = "DATABASE_LOCKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open, migrated database.

    Attributes:
        engine: The async engine, for reading.
        write_engine: A synchronous engine, for the one writer's thread.
        engine_url: URL of the durable engine's tables, for a synchronous driver.
        lock: Held while open, for a database that only one process may use.
    """

    engine: AsyncEngine
    write_engine: Engine
    engine_url: str
    lock: IO[str] | None

    async def close(self) -> None:
        """Closes every connection and lets go of the lock."""
        await self.engine.dispose()
        self.write_engine.dispose()
        if self.lock is not None:
            self.lock.close()


async def open_database(state_dir: Path) -> Database:
    """Opens the embedded database in a folder, made and migrated when needed.

    Raises:
        DatabaseLocked: Another process has it open.
    """
    lock = await asyncio.to_thread(_lock, state_dir / "controller.lock")
    path = state_dir / "controller.db"
    await asyncio.to_thread(_migrate, f"sqlite:///{path}")
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    write_engine = create_engine(f"sqlite:///{path}")
    for one in (engine.sync_engine, write_engine):
        event.listen(one, "connect", _set_pragmas)
    await asyncio.to_thread(_make_room, write_engine)
    return Database(
        engine=engine, write_engine=write_engine, engine_url=f"sqlite:///{path}", lock=lock
    )


def insert_or_ignore(connection: Connection, table: Table) -> Insert:
    """Returns an insert that leaves a row of the same key as it is."""
    return _insert_or_ignore(connection.dialect.name, table)


def insert_or_replace(connection: Connection, table: Table, *, values: Sequence[str]) -> Insert:
    """Returns an insert that replaces the named columns of a row of the same key."""
    return _insert_or_replace(connection.dialect.name, table, tuple(values))


def write_row(connection: Connection, statement: Insert, row: Mapping[str, object]) -> None:
    """Runs one of the two with one row, whose values the driver takes as they are.

    Args:
        connection: The writer's.
        statement: One that is kept, as those are that `insert_or_ignore` and `insert_or_replace`
            return: what the driver takes is put together once for each.
        row: A value for each column.
    """
    text, names = _text(statement, connection.dialect)
    given = dict(row) if names is None else tuple([row[name] for name in names])
    connection.exec_driver_sql(text, given)


@cache
def _text(statement: Insert, dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """Returns a statement as the driver takes it, and the order of its values where that counts."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), compiled.positiontup


# Built once each: putting such a statement together costs more than running it.
@cache
def _insert_or_ignore(dialect: str, table: Table) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


@cache
def _insert_or_replace(dialect: str, table: Table, values: tuple[str, ...]) -> Insert:
    keys = [column.name for column in table.primary_key.columns]
    if dialect == "postgresql":
        pg = postgresql.insert(table)
        return pg.on_conflict_do_update(
            index_elements=keys, set_={name: pg.excluded[name] for name in values}
        )
    lite = sqlite.insert(table)
    return lite.on_conflict_do_update(
        index_elements=keys, set_={name: lite.excluded[name] for name in values}
    )


def _lock(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise DatabaseLocked(
            f"`{path}` is held by another controller; stop it, or set another state folder",
            metadata={"path": str(path)},
        ) from None
    return handle


def _set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
    cursor.close()


def _make_room(engine: Engine) -> None:
    """Lets the write-ahead log have at once the size that it comes to.

    A commit that makes the file longer has the disk write about that too, and takes twice as long.
    What outgrows the cache is written there before its commit, which then never comes.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA cache_size=16")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(f"CREATE TABLE room AS SELECT zeroblob({_LOG_BYTES}) AS bytes")
        connection.rollback()
        connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KB}")


def _migrate(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    engine = create_engine(url)
    with engine.connect() as connection:
        # Write-ahead logging is kept in the file: readers never wait for the writer. Its answer is
        # closed, because a statement with a row left unread keeps the connection from committing.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL").close()
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "burnish_controller:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
