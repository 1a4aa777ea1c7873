"""The supervisor: it starts everything, restarts what dies, gives up with a reason, stops all."""

import asyncio
import functools
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.suite import (
    ServiceKeepsDying,
    Suite,
    SuiteLocked,
    SuiteOptions,
    SuiteStartTimeout,
    running_suite,
)
from burnish.suite.plan import Addresses, ServiceSpec, module_command
from burnish.suite.process import ServiceProcess
from burnish.suite.state import StateDir
from burnish.suite.supervisor import PlanSpecs

FAKE = Path(__file__).with_name("fake_service.py")


def fakes(**behaviours: str) -> PlanSpecs:
    """Plans one fake service per keyword: its name, and how it behaves."""

    def planned(state: StateDir, addresses: Addresses) -> list[ServiceSpec]:
        return [
            ServiceSpec(
                name=name,
                command=(sys.executable, str(FAKE), name, behaviour, str(state.run)),
                environment=dict(os.environ),
                ready_file=state.run / f"{name}.json",
                log_file=state.logs / f"{name}.log",
                stop_rank=0 if name == "controller" else 1,
            )
            for name, behaviour in behaviours.items()
        ]

    return planned


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def alive(pid: int | None) -> bool:
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat_line.rpartition(")")[2].split()[0] != "Z"


def serves_again(process: ServiceProcess, killed: int | None) -> bool:
    return process.ready and process.pid not in (None, killed)


async def test_every_service_serves_inside_the_context_and_none_runs_after_it(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good", search="good")) as suite:
        pids = [process.pid for process in suite.processes.values()]
        assert all(process.ready for process in suite.processes.values())
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


async def test_the_controller_is_stopped_before_the_services_it_calls(tmp_path):
    async with Suite(tmp_path, specs=fakes(search="good", controller="good")):
        pass
    assert (tmp_path / "run" / "stopped").read_text().split() == ["controller", "search"]


async def test_a_killed_service_is_started_again_however_often_it_is_killed(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good", search="good")) as suite:
        search = suite.processes["search"]
        for kill in range(1, 8):
            killed = search.kill()
            await until(functools.partial(serves_again, search, killed))
            assert search.restarts == kill
        assert suite.processes["controller"].restarts == 0


async def test_a_service_that_keeps_dying_fails_the_start_with_its_last_log_lines(tmp_path):
    with pytest.raises(ServiceKeepsDying, match="cannot open its store") as caught:
        async with Suite(tmp_path, specs=fakes(controller="good", search="crash")):
            pytest.fail("the suite must not start")
    assert caught.value.metadata == {"service": "search", "exit_code": "3"}
    assert running_suite(tmp_path) is None


async def test_a_service_that_never_serves_is_named_when_time_is_up(tmp_path):
    options = SuiteOptions(start_seconds=0.5)
    with pytest.raises(SuiteStartTimeout, match=r"`search` did not serve within 0\.5 s"):
        async with Suite(tmp_path, options=options, specs=fakes(controller="good", search="mute")):
            pytest.fail("the suite must not start")


async def test_wait_reports_a_service_that_begins_to_keep_dying(tmp_path):
    def planned(state: StateDir, addresses: Addresses) -> list[ServiceSpec]:
        flag = state.path / "broken"
        script = (
            "import os,sys,runpy\n"
            f"if os.path.exists({str(flag)!r}): sys.exit(9)\n"
            f"sys.argv=['x','controller','good',{str(state.run)!r}]\n"
            f"runpy.run_path({str(FAKE)!r}, run_name='__main__')\n"
        )
        (spec,) = fakes(controller="good")(state, addresses)
        return [
            ServiceSpec(
                name=spec.name,
                command=(sys.executable, "-c", script),
                environment=spec.environment,
                ready_file=spec.ready_file,
                log_file=spec.log_file,
                stop_rank=0,
            )
        ]

    async with Suite(tmp_path, specs=planned) as suite:
        (tmp_path / "broken").touch()
        suite.processes["controller"].kill()
        with pytest.raises(ServiceKeepsDying, match="last exit code 9"):
            await suite.wait()


async def test_a_waiter_that_gives_up_does_not_end_the_supervision(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        waiter = asyncio.create_task(suite.wait())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        controller = suite.processes["controller"]
        killed = controller.kill()
        await until(functools.partial(serves_again, controller, killed))


async def test_two_suites_cannot_share_a_state_directory(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good")):
        with pytest.raises(SuiteLocked, match="another suite runs in"):
            async with Suite(tmp_path, specs=fakes(controller="good")):
                pytest.fail("the second suite must not start")
        assert running_suite(tmp_path) is not None


async def test_a_running_suite_can_be_found_by_its_state_directory(tmp_path):
    assert running_suite(tmp_path) is None
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        found = running_suite(tmp_path)
        assert found == suite.where
        assert found.pid == os.getpid()
    assert running_suite(tmp_path) is None


async def test_secrets_are_for_the_owner_alone_and_outlive_the_suite(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        token = suite.token
    for name in ("auth_token", "token_key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert len(token) >= 32
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        assert suite.token == token


async def test_ports_stay_when_a_suite_starts_again(tmp_path):
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        before = suite.where
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        assert suite.where == before


async def test_a_child_stops_once_its_supervisor_is_gone(tmp_path):
    child = module_command("http.server")
    flags = " ".join(child[1:4])
    # The shell starts the child, names itself as its supervisor, and leaves.
    shell = f"{sys.executable} {flags} $$ http.server 0 >/dev/null 2>&1 & echo $!"
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", shell, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    output, _ = await process.communicate()
    await until(lambda: not alive(int(output)))


async def test_processes_of_a_killed_suite_are_stopped_before_the_next_one_starts(tmp_path):
    script = (
        "import asyncio, os, sys\n"
        f"sys.path.insert(0, {str(FAKE.parent)!r})\n"
        "from test_suite_supervisor import fakes\n"
        "from burnish.suite import Suite\n"
        "async def main():\n"
        "    async with Suite(sys.argv[1], specs=fakes(controller='good')) as suite:\n"
        "        print(suite.processes['controller'].pid, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    left = int(output)
    async with Suite(tmp_path, specs=fakes(controller="good")) as suite:
        assert not alive(left)
        assert suite.processes["controller"].pid != left
