"""`burnish up` with the real services: found by commands, mended when killed, gone when stopped."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from burnish.api.job.v1 import job_event_pb2
from burnish.testing.fake_jobs import TOKEN, FakeController

COMMAND = (sys.executable, "-c", "from burnish.cli import main; main()")
SERVICES = {"controller", "interceptor", "local", "proposer", "search", "verifier"}


def environment(state: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BURNISH_", "BACKEND_", "SYNTH_"))
    }
    return {**kept, "BURNISH_STATE_DIR": str(state), "NO_COLOR": "1"}


async def run(state: Path, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environment(state),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def pids(state: Path) -> dict[str, int]:
    written = json.loads((state / "suite.json").read_text())
    return {name: entry["pid"] for name, entry in written["processes"].items()}


@pytest.mark.slow
async def test_up_serves_until_it_is_told_to_stop(tmp_path):
    up = await asyncio.create_subprocess_exec(
        *COMMAND,
        "up",
        "--json",
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert up.stdout is not None
        where = json.loads(await asyncio.wait_for(up.stdout.readline(), 120))
        assert set(where["processes"]) == SERVICES

        code, out, err = await run(tmp_path, "job", "list", "--json")
        assert (code, json.loads(out)["jobs"]) == (0, []), err

        code, _, err = await run(tmp_path, "up")
        assert code == 1
        assert "another suite runs in" in err

        killed = where["processes"]["search"]
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while pids(tmp_path).get("search") in (None, killed):
            assert time.monotonic() < deadline, "the killed service was not started again"
            await asyncio.sleep(0.05)
        last = pids(tmp_path)
        assert {name for name in SERVICES if last[name] != where["processes"][name]} == {"search"}
    finally:
        up.send_signal(signal.SIGTERM)
        _, chatter = await asyncio.wait_for(up.communicate(), 60)
    assert up.returncode == 0, chatter.decode()
    assert not any(alive(pid) for pid in last.values())
    assert not (tmp_path / "suite.json").exists()


@pytest.mark.slow
async def test_a_suite_that_plain_code_started_ends_with_the_process(tmp_path):
    script = (
        "import json, sys\n"
        "from burnish.session import Session\n"
        "session = Session()\n"
        "async def jobs(backend):\n"
        "    return len((await backend.client.jobs.list()).jobs)\n"
        "async def pids(backend):\n"
        "    return [process.pid for process in backend.suite.processes.values()]\n"
        "print(json.dumps([session.run(jobs), session.run(jobs), session.run(pids)]))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    first, second, started = json.loads(out)
    assert (first, second, len(started)) == (0, 0, len(SERVICES))
    assert not any(alive(pid) for pid in started)


async def test_an_interrupt_ends_train_with_130_and_leaves_the_job_running(tmp_path):
    config = tmp_path / "job.toml"
    config.write_text(
        '[job]\ntask_app = "http://127.0.0.1:9"\n'
        'model = { provider = "local", model = "local-reader" }\n'
        "[job.pools]\nbootstrap = [0]\nonline = [1]\nvalidation = [2]\ntest = [3]\n"
        "reference = [4]\n"
    )
    async with FakeController() as controller:
        controller.hold_after = 5
        train = await asyncio.create_subprocess_exec(
            *COMMAND,
            "train",
            str(config),
            "--results-dir",
            str(tmp_path / "results"),
            env={
                **environment(tmp_path),
                "BURNISH_TARGET": controller.target,
                "BURNISH_AUTH_TOKEN": TOKEN,
            },
            stderr=asyncio.subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while "WatchJob" not in controller.calls:
            assert time.monotonic() < deadline, "the job was not followed"
            await asyncio.sleep(0.05)
        train.send_signal(signal.SIGINT)
        _, chatter = await asyncio.wait_for(train.communicate(), 60)
        (job,) = controller.jobs.values()
        assert job.state == job_event_pb2.JOB_STATE_RUNNING
    assert train.returncode == 130
    assert "burnish job watch pl_0001" in chatter.decode()
