"""What an ask is made of at least, as the benchmark measures it."""

import sqlite3

from benchmarks.search_parts.cost_floor import Floor, floor


async def test_the_floor_is_measured_and_its_rows_are_on_the_disk(tmp_path):
    found = await floor(tmp_path, 5)
    assert found.round_trip_ms > 0
    assert found.commit_ms > 0
    assert set(found.as_dict()) == {"round_trip_ms", "commit_ms"}
    with sqlite3.connect(tmp_path / "floor.db") as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone()[0] >= 5
    connection.close()


def test_the_floor_is_told_in_a_line():
    line = Floor(round_trip_ms=0.216, commit_ms=0.1).line()
    assert line == "floor: a round trip of a bare stream 0.22 ms, a synced commit 0.10 ms\n"
