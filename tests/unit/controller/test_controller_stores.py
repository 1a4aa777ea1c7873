import asyncio
import threading
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    create_engine,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.event import listen

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.store.database import DatabaseLocked, open_database
from burnish_controller.store.jobs import JobNotFound
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.store.tables import metadata
from burnish_controller.store.writer import Writer

SCRATCH = Table("scratch", MetaData(), Column("n", Integer))


def event(message: str = "m") -> job_v1.JobEvent:
    return job_v1.JobEvent(message=message)


def job(name: str = "jobs/job1") -> job_v1.Job:
    return job_v1.Job(name=name, state=job_v1.JOB_STATE_PENDING)


# The writer.


async def test_one_failing_neighbour_does_not_lose_the_others(stores):
    def note(n: int):
        def work(connection):
            if n == 3:
                raise ValueError("mine alone")
            connection.execute(insert(SCRATCH).values(n=n))
            return n

        return work

    await stores.writer.write(SCRATCH.create)
    results = await asyncio.gather(
        *(stores.writer.write(note(n)) for n in range(6)), return_exceptions=True
    )
    assert [one for one in results if isinstance(one, int)] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], ValueError)
    async with stores.database.engine.connect() as connection:
        rows = (await connection.execute(select(SCRATCH.c.n))).scalars()
        assert list(rows) == [0, 1, 2, 4, 5]


async def test_what_a_failed_piece_of_work_wrote_is_undone(stores):
    def half(connection):
        connection.execute(insert(SCRATCH).values(n=1))
        raise ValueError

    await stores.writer.write(SCRATCH.create)
    with pytest.raises(ValueError):  # noqa: PT011 - its own error comes back
        await stores.writer.write(half)
    async with stores.database.engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(SCRATCH))).scalar() == 0


async def test_closing_commits_what_was_given_before(stores):
    await stores.writer.write(SCRATCH.create)
    giving = [
        asyncio.create_task(
            stores.writer.write(lambda c, n=n: c.execute(insert(SCRATCH).values(n=n)).rowcount)
        )
        for n in range(20)
    ]
    await asyncio.sleep(0)
    await stores.writer.close()
    assert all(one.done() for one in giving)
    stores.writer.start()


async def test_what_comes_while_a_commit_is_under_way_shares_the_next(stores):
    commits = []
    listen(stores.database.write_engine, "commit", lambda connection: commits.append(1))
    await stores.writer.write(SCRATCH.create)
    started, go_on = threading.Event(), threading.Event()

    def slow(connection):
        started.set()
        assert go_on.wait(10)

    first = asyncio.create_task(stores.writer.write(slow))
    await asyncio.to_thread(started.wait, 10)
    rest = [
        asyncio.create_task(
            stores.writer.write(lambda c, n=n: c.execute(insert(SCRATCH).values(n=n)).rowcount)
        )
        for n in range(50)
    ]
    await asyncio.sleep(0)
    commits.clear()
    go_on.set()
    await asyncio.gather(first, *rest)
    assert len(commits) == 2


async def test_every_commit_of_the_writer_is_synced_to_the_disk(stores):
    def pragma(name: str):
        return stores.writer.write(lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar())

    assert await pragma("journal_mode") == "wal"
    assert await pragma("synchronous") == 2


async def test_the_log_of_writes_has_its_size_before_the_first(stores, tmp_path):
    log = tmp_path / "controller.db-wal"
    before = log.stat().st_size
    for n in range(20):
        await stores.events.append("job1", f"key{n}", event())
    assert log.stat().st_size == before
    assert (tmp_path / "controller.db").stat().st_size < before


async def test_a_database_that_cannot_be_opened_fails_the_write_and_not_the_writer(stores):
    class Engine:
        failures = 1

        def connect(self):
            if self.failures:
                self.failures -= 1
                raise OSError("no space left")
            return stores.database.write_engine.connect()

    writer = Writer(Engine())  # type: ignore[arg-type] # as much of one as is used
    writer.start()
    try:
        with pytest.raises(OSError, match="no space"):
            await writer.write(SCRATCH.create)
        async with asyncio.timeout(10):
            await writer.write(SCRATCH.create)
    finally:
        await writer.close()


# Migrations.


async def test_a_fresh_database_is_what_the_tables_say(stores, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'controller.db'}")
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    ours = [one for one in found if not (one[0] == "remove_table" and "dbos" in str(one[1]))]
    assert ours == []


def test_the_migrations_go_down_to_nothing_and_up_again(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    config = Config()
    config.set_main_option("script_location", "burnish_controller:migrations")
    for revision, run in (
        ("head", command.upgrade), ("base", command.downgrade), ("head", command.upgrade)
    ):  # fmt: skip
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            run(config, revision)
        tables = set(inspect(engine).get_table_names()) - {"alembic_version"}
        assert tables == (set(metadata.tables) if revision == "head" else set())
    engine.dispose()


async def test_a_second_process_on_the_same_file_is_refused(stores, tmp_path):
    with pytest.raises(DatabaseLocked, match="another controller"):
        await open_database(tmp_path)


# The event log.


async def test_sequences_have_no_gaps_under_concurrency(stores):
    given = await asyncio.gather(
        *(stores.events.append("job1", f"k{n}", event(str(n))) for n in range(200))
    )
    assert sorted(given) == list(range(1, 201))
    found = await stores.events.after("job1", 0)
    assert [one.sequence for one in found] == list(range(1, 201))


async def test_an_event_of_the_same_key_is_appended_once_and_tells_its_first_sequence(stores):
    first = await stores.events.append("job1", "k", event("one"))
    await stores.events.append("job1", "other", event())
    assert await stores.restarted().events.append("job1", "k", event("two")) == first
    assert [one.message for one in await stores.events.after("job1", 0)] == ["one", "m"]


async def test_jobs_and_tenants_have_sequences_of_their_own(stores):
    await stores.events.append("job1", "k", event())
    assert await stores.events.append("job2", "k", event()) == 1
    assert await stores.for_tenant("other").events.append("job1", "k", event()) == 1
    assert len(await stores.events.after("job1", 0)) == 1


@pytest.mark.parametrize("seen", [0, 1, 6, 10])
async def test_followers_resume_from_any_sequence_and_go_on_live(stores, seen):
    for n in range(6):
        await stores.events.append("job1", f"k{n}", event())
    found: list[int] = []

    async def follow() -> None:
        async for one in stores.events.follow("job1", after=seen, heartbeat=5):
            assert one is not None
            found.append(one.sequence)
            if one.sequence == 12:
                return

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    for n in range(6, 12):
        await stores.events.append("job1", f"k{n}", event())
    await asyncio.wait_for(following, 5)
    assert found == list(range(seen + 1, 13))


async def test_a_silent_log_gives_heartbeats(stores):
    async for one in stores.events.follow("job1", after=0, heartbeat=0.001):
        assert one is None
        return


async def test_a_long_log_is_read_page_by_page(stores):
    await asyncio.gather(*(stores.events.append("j", f"k{n}", event()) for n in range(501)))
    assert len(await stores.events.after("j", 0)) == 500
    assert [one.sequence for one in await stores.events.after("j", 500)] == [501]


async def test_the_last_event_is_known(stores):
    assert await stores.events.last("job1") is None
    await stores.events.append("job1", "a", event("one"))
    await stores.events.append("job1", "b", event("two"))
    last = await stores.events.last("job1")
    assert last is not None
    assert (last.sequence, last.message) == (2, "two")


# States.


PENDING, RUNNING, PAUSING, PAUSED, CANCELLING = (
    job_v1.JOB_STATE_PENDING, job_v1.JOB_STATE_RUNNING, job_v1.JOB_STATE_PAUSING,
    job_v1.JOB_STATE_PAUSED, job_v1.JOB_STATE_CANCELLING,
)  # fmt: skip


async def changes(stores) -> list[tuple[int, int]]:
    found = await stores.events.after("job1", 0)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    return [(one.state_changed.from_state, one.state_changed.to_state) for one in found]


async def test_every_pause_and_resume_is_logged_with_the_state_before(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.begin(made)
    for state in (PAUSING, PAUSED, RUNNING, PAUSING, PAUSED, RUNNING):
        await stores.states.move(made, state)
    assert await changes(stores) == [
        (0, RUNNING), (RUNNING, PAUSING), (PAUSING, PAUSED), (PAUSED, RUNNING),
        (RUNNING, PAUSING), (PAUSING, PAUSED), (PAUSED, RUNNING),
    ]  # fmt: skip


async def test_a_change_repeated_after_a_crash_is_logged_once(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.move(made, PAUSING)
    again = stores.restarted()
    await again.states.move(await again.jobs.get("job1"), PAUSING)
    assert await changes(stores) == [(0, PAUSING)]


async def test_nothing_is_logged_after_the_end(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.fail(made, types_v1.Failure(reason="X", message="broken"))
    await stores.states.move(made, RUNNING)
    await stores.states.succeed(made)
    assert [to for _, to in await changes(stores)] == [job_v1.JOB_STATE_FAILED]
    last = await stores.events.last("job1")
    assert last is not None
    assert last.level == job_v1.EVENT_LEVEL_ERROR
    assert last.state_changed.failure.reason == "X"


async def test_a_job_that_was_paused_before_it_began_still_gets_its_start(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    for state in (PAUSING, PAUSED, RUNNING):
        await stores.states.move(made, state)
    assert not made.HasField("start_time")
    await stores.states.begin(made)
    assert made.HasField("start_time")
    assert made.state == RUNNING


async def test_beginning_does_not_undo_a_request_to_stop(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.move(made, CANCELLING)
    await stores.states.begin(made)
    assert made.state == CANCELLING


async def test_pauses_are_timed_also_over_a_restart(stores, monkeypatch):
    clock = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.move(made, PAUSED)
    clock[0] += 10
    assert await stores.jobs.paused_seconds("job1") == 10
    again = stores.restarted()
    paused = await again.jobs.get("job1")
    await again.states.move(paused, PAUSED)
    clock[0] += 5
    await again.states.move(paused, RUNNING)
    clock[0] += 100
    await again.jobs.save(paused)
    assert await again.jobs.paused_seconds("job1") == 15
    await again.states.move(paused, PAUSED)
    clock[0] += 2
    await again.states.move(paused, RUNNING)
    assert await again.jobs.paused_seconds("job1") == 17


async def test_the_state_is_there_after_a_restart(stores):
    made = await stores.jobs.create(job(), request_id="", secret=None)
    await stores.states.move(made, CANCELLING)
    assert (await stores.restarted().jobs.get("job1")).state == CANCELLING


# Jobs.


async def test_creating_twice_returns_the_first_by_id_and_by_request(stores):
    spec = job_v1.JobSpec(display_name="first")
    first = job_v1.Job(name="jobs/job1", spec=spec, state=PENDING)
    await stores.jobs.create(first, request_id="req", secret=None)
    by_id = await stores.jobs.create(job("jobs/job1"), request_id="", secret=None)
    by_request = await stores.jobs.create(job("jobs/job2"), request_id="req", secret=None)
    assert by_id.spec.display_name == by_request.spec.display_name == "first"
    assert by_request.name == "jobs/job1"
    assert len(await stores.jobs.page(size=10, before=None)) == 1


async def test_empty_request_ids_do_not_collide(stores):
    for name in ("jobs/job1", "jobs/job2"):
        await stores.jobs.create(job(name), request_id="", secret=None)
    assert len(await stores.jobs.page(size=10, before=None)) == 2


async def test_a_job_is_found_by_either_id(stores):
    await stores.jobs.create(job(), request_id="req", secret=None)
    by_id = await stores.jobs.find(job_id="job1", request_id="")
    by_request = await stores.jobs.find(job_id="other", request_id="req")
    assert by_id is not None
    assert by_id is by_request
    assert await stores.jobs.find(job_id="other", request_id="") is None


async def test_pages_are_stable_while_jobs_are_added(stores):
    names = [f"jobs/job{n:02}" for n in range(7)]
    for name in names:
        await stores.jobs.create(job(name), request_id="", secret=None)
    found: list[str] = []
    before = None
    for turn in range(10):
        page = await stores.jobs.page(size=3, before=before)
        if not page:
            break
        found += [one.name for one in page]
        last = page[-1]
        before = (last.create_time.ToNanoseconds() / 1e9, last.name.removeprefix("jobs/"))
        await stores.jobs.create(job(f"jobs/newer{turn}"), request_id="", secret=None)
    assert found == names[::-1]


async def test_the_key_of_the_app_is_forgotten_at_the_end(stores):
    made = await stores.jobs.create(job(), request_id="", secret=b"sealed")
    assert await stores.jobs.secret("job1") == b"sealed"
    await stores.states.cancel(made)
    assert await stores.jobs.secret("job1") is None


async def test_unfinished_jobs_are_listed_oldest_first(stores):
    made = [
        await stores.jobs.create(job(f"jobs/job{n}"), request_id="", secret=None) for n in range(3)
    ]
    await stores.states.succeed(made[1])
    assert await stores.jobs.unfinished() == ["job0", "job2"]


async def test_learnt_templates_are_kept(stores):
    await stores.jobs.create(job(), request_id="", secret=None)
    assert await stores.jobs.templates("job1") is None
    await stores.jobs.save_templates("job1", [types_v1.PromptTemplate(stage_id="main")])
    learnt = await stores.restarted().jobs.templates("job1")
    assert learnt is not None
    assert [one.stage_id for one in learnt] == ["main"]


async def test_an_unknown_job_says_which(stores):
    with pytest.raises(JobNotFound, match="jobs/nowhere"):
        await stores.jobs.get("nowhere")


async def test_other_tenants_jobs_are_not_seen(stores):
    await stores.jobs.create(job(), request_id="req", secret=None)
    other = stores.for_tenant("other")
    assert await other.jobs.page(size=10, before=None) == []
    assert await other.jobs.find(job_id="job1", request_id="req") is None


# The space and the study's ledger.


async def test_components_are_added_once_and_stay_in_order(stores):
    found = [types_v1.Component(component_id=f"ins_{n}", stage_id="main") for n in (2, 0, 1)]
    assert await stores.space.add_components("job1", found) == found
    more = [*found, types_v1.Component(component_id="ins_9", stage_id="main")]
    assert await stores.space.add_components("job1", more) == more[3:]
    ids = [one.component_id for one in await stores.space.components("job1")]
    assert ids == ["ins_2", "ins_0", "ins_1", "ins_9"]


async def test_entries_are_idempotent_by_key_and_have_no_gaps(stores):
    built: list[int] = []

    def build(revision: int) -> search_v1.StudyEntry:
        built.append(revision)
        return search_v1.StudyEntry(
            revision=revision, work_closed=search_v1.WorkClosed(ask_index=revision)
        )

    first = await stores.log.append("job1", "closed/0", build)
    assert await stores.log.append("job1", "closed/0", build) == first
    await asyncio.gather(*(stores.log.append("job1", f"closed/{n}", build) for n in range(1, 30)))
    entries = await stores.log.entries("job1")
    assert [one.revision for one in entries] == list(range(1, 31))
    assert await stores.log.revision("job1") == 30
    assert await stores.log.entry("job1", "closed/77") is None


# Rollouts.


def rollout(name: str, fused: float | None, *, phase: str = "search") -> FinishedRollout:
    result = types_v1.RolloutResult(
        rollout_id=name, cell=types_v1.Cell(candidate_id="c", pool=types_v1.POOL_ONLINE, seed=1)
    )
    if fused is None:
        result.failure.reason = "CALL_FAILED"
    return FinishedRollout(
        job_id="job1", phase=phase, attempt=1, result=result, cost_usd=0.5,
        reward=None if fused is None else types_v1.Reward(fused=fused),
    )  # fmt: skip


async def test_a_finished_rollout_stays_as_it_was_first_stored(stores):
    await stores.rollouts.save(rollout("r1", 0.25))
    await stores.rollouts.save(rollout("r1", 1.0))
    assert (await stores.rollouts.by_ids(["r1", "r2"]))["r1"].fused == 0.25
    assert await stores.rollouts.counts("job1") == {"search": (1, 0)}


async def test_a_reward_of_zero_is_a_reward_and_a_failure_is_none(stores):
    await stores.rollouts.save(rollout("r1", 0.0))
    await stores.rollouts.save(rollout("r2", None))
    found = await stores.rollouts.by_ids(["r1", "r2"])
    assert (found["r1"].fused, found["r2"].fused) == (0.0, None)
    assert await stores.rollouts.counts("job1") == {"search": (2, 1)}
    assert await stores.rollouts.unscored("job1") == {"CALL_FAILED": 1}


async def test_rollouts_are_found_over_more_ids_than_one_query_takes(stores):
    await stores.rollouts.save(rollout("r1", 0.5))
    ids = [f"x{n}" for n in range(1_200)] + ["r1"]
    assert list(await stores.rollouts.by_ids(ids)) == ["r1"]


def test_rows_of_every_table_belong_to_a_tenant():
    assert all("tenant" in table.primary_key.columns for table in metadata.tables.values())
