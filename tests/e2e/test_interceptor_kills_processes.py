"""An interceptor of two processes, whose parent dies twenty times: its children end their calls."""

import sqlite3

import pytest

from tests.e2e.kills import MANY, WIDTH, killed_many_times

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_over_several_processes_only_calls_in_flight_may_be_made_again(
    harness, tmp_path, monkeypatch
):
    monkeypatch.setenv("BURNISH_HTTP_PROCESSES", "2")
    made_again, possibly_paid = await killed_many_times(harness, tmp_path, "interceptor")
    assert made_again <= possibly_paid <= MANY * WIDTH
    database = sqlite3.connect(tmp_path / "state" / "controller" / "controller.db")
    try:
        clients = database.execute("SELECT DISTINCT client_id FROM calls WHERE role = 'task'")
        nodes = {str(client).partition("/")[0][-2:] for (client,) in clients}
    finally:
        database.close()
    assert nodes == {"-0", "-1"}, "void: not both processes made calls"
