"""Databases of before the money of tenants are taken over, row by row."""

import sqlite3

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import open_database
from burnish_controller.store.writer import Writer

BODIES = {"reply", "trace", "failure"}
SUMMED = {
    "day", "state", "worst_tokens", "worst_usd", "input_tokens", "output_tokens", "cost_usd",
    "estimated", "lost_calls", "lost_tokens", "lost_usd", "cached_tokens", "cache_write_tokens",
    "reasoning_tokens",
}  # fmt: skip


def migrate(path, revision):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "burnish_controller:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


@pytest.fixture
def old(tmp_path):
    """A database of the revision before, with one call that was paid for."""
    path = tmp_path / "controller.db"
    migrate(path, "0004")
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO calls (tenant, scope, request_hash, ordinal, job_id, role, position, attempt,"
        " client_id, state, model, worst_tokens, worst_usd, input_tokens, output_tokens, cost_usd,"
        " estimated, lost_calls, lost_tokens, lost_usd, input_price, output_price)"
        " VALUES ('default', 's', 'aa', 0, 'job1', 'task', 0, 1, 'c', 'done', 'openai/m', 100, 0.5,"
        " 10, 5, 0.25, 0, 1, 100, 0.5, 1.0, 2.0)"
    )
    connection.commit()
    connection.close()
    return tmp_path


async def test_calls_of_before_keep_what_they_cost_and_their_price(old):
    database = await open_database(old)
    writer = Writer(database.write_engine)
    store = CallStore(database, writer, tenant="default")
    try:
        (call,) = (await store.of_scopes(["s"]))["s"]
        sums = (await store.sums("job1"))["task"]
        days = await store.days()
    finally:
        await database.close()
    assert (call.input_tokens, call.usd, call.lost_calls) == (10, 0.25, 1)
    assert call.model.price.output_usd_per_million == 2.0
    assert call.cached_tokens is None
    assert sums.booked.usd == 0.75
    assert not sums.usage.HasField("cached_input_tokens")
    assert days == {0: (0.75, 0.0)}


def test_no_sum_reads_past_a_body(old):
    migrate(old / "controller.db", "head")
    connection = sqlite3.connect(old / "controller.db")
    try:
        names = [row[1] for row in connection.execute("PRAGMA table_info(calls)")]
    finally:
        connection.close()
    assert max(names.index(name) for name in SUMMED) < min(names.index(name) for name in BODIES)
