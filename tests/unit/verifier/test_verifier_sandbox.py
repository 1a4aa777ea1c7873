"""The sandbox: what code in it may not do, and what becomes of code that tries."""

import asyncio
import json
import os
import platform
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from burnish_verifier.sandbox import landlock
from burnish_verifier.sandbox.pool import Isolation, Sandbox, refusal
from burnish_verifier.sandbox.work import Outcome, SandboxLost, Work

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="isolation is Linux's; elsewhere there are limits"
)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = Sandbox()
    try:
        yield opened
    finally:
        await opened.close()


def work(body: str, *, argument: Any = None, head: str = "", **limits: Any) -> Work:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    source = f"{head}\ndef score(rollout):\n{lines}\n"
    payload = {"source": source, "function": "score", "argument": argument}
    return Work(kind="function", payload=payload, **limits)


async def ran(sandbox: Sandbox, body: str, **settings: Any) -> Outcome:
    return await sandbox.run(work(body, **settings))


async def test_a_function_is_called_with_its_argument(sandbox):
    found = await ran(sandbox, "return rollout['a'] / 2", argument={"a": 1})
    assert (found.kind, found.value) == ("value", 0.5)


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("socket.create_connection(('127.0.0.1', 9))", "import socket"),
        ("socket.socket()", "import socket"),
        ("socket.socketpair()", "import socket"),
        ("socket.getaddrinfo('example.org', 80)", "import socket"),
        ("os.fork()", "import os"),
        ("os.system('true')", "import os\nos.system = os.system"),
        ("subprocess.run(['/bin/true'])", "import subprocess"),
        ("os.execv('/bin/true', ['true'])", "import os"),
        ("threading.Thread(target=print).start()", "import threading"),
        ("os.kill(os.getppid(), 9)", "import os"),
        ("os.kill(os.getpid(), 9)", "import os"),
        ("open('/etc/passwd')", ""),
        ("open('/proc/self/environ')", ""),
        ("open('/proc/1/cmdline')", ""),
        ("open('/new', 'w')", ""),
        ("open('/tmp/new', 'w')", ""),
        ("resource.setrlimit(resource.RLIMIT_CPU, (99, 99))", "import resource"),
        ("os.setuid(0)", "import os"),
        ("os.chroot('/usr')", "import os"),
        ("exit(0)", ""),
        ("1 / 0", ""),
    ],
)
async def test_what_code_may_not_do_raises_in_it(sandbox, body, head):
    if "system" in body:
        # The shell cannot be started, which `system` tells by its answer.
        found = await ran(sandbox, f"return {body}", head=head)
        assert found.value != 0
        return
    found = await ran(sandbox, body, head=head)
    assert found.kind == "raised", found


async def test_nothing_of_the_environment_is_there(sandbox, monkeypatch):
    monkeypatch.setenv("BURNISH_AUTH_TOKEN", "canary-token")
    found = await ran(
        sandbox, "return [sorted(os.environ), os.listdir('/'), os.getuid()]", head="import os"
    )
    names, root, user = found.value
    assert "BURNISH_AUTH_TOKEN" not in names
    assert "etc" not in root
    assert "home" not in root
    assert user == 65534


async def test_code_that_never_ends_is_killed_at_its_limit(sandbox):
    busy = await ran(sandbox, "while True: pass", time_limit=0.5)
    idle = await ran(sandbox, "time.sleep(60)", head="import time", time_limit=0.5)
    assert (busy.kind, idle.kind) == ("timeout", "timeout")
    assert busy.cpu_seconds >= 0.25
    assert idle.cpu_seconds < 0.25


async def test_code_that_holds_on_to_its_time_cannot_outlast_it(sandbox):
    body = "try:\n    while True: pass\nexcept BaseException:\n    while True: pass"
    head = "import signal\nfor n in (14, 24, 26):\n    signal.signal(n, signal.SIG_IGN)"
    found = await ran(sandbox, body, head=head, time_limit=0.5)
    assert found.kind == "timeout"


async def test_code_that_wants_more_memory_than_it_may_have_is_told_so(sandbox):
    found = await ran(sandbox, "return len(bytearray(1 << 30))", memory_limit=256 << 20)
    assert found.kind == "memory"


@pytest.mark.parametrize(
    ("body", "head", "kind"),
    [
        ("os._exit(0)", "import os", "died"),
        ("ctypes.string_at(0)", "import ctypes", "died"),
        ("return 'x' * 10_000_000", "", "too_large"),
        ("return object()", "", "raised"),
        ("return float('nan')", "", "raised"),
        ("return score(rollout)", "", "raised"),
    ],
)
async def test_code_that_gives_no_value_says_how_it_ended(sandbox, body, head, kind):
    assert (await ran(sandbox, body, head=head)).kind == kind


async def test_what_is_raised_is_told_by_name_and_line_and_not_by_its_text(sandbox):
    found = await ran(sandbox, "raise ValueError('the secret row')")
    assert found.detail == "ValueError in line 3"


async def test_one_run_leaves_nothing_behind_for_the_next(sandbox):
    head = "import json, builtins"
    await ran(sandbox, "builtins.len = None\njson.dumps = None\nreturn 1", head=head)
    found = await ran(sandbox, "return len(json.dumps('abc'))", head=head)
    assert found.value == 5


async def test_a_sandbox_that_is_killed_is_started_again(sandbox):
    await sandbox.isolation()
    (worker,) = sandbox._idle
    worker._process.kill()
    await worker._process.wait()
    assert (await ran(sandbox, "return 1")).value == 1


async def test_a_sandbox_killed_in_the_middle_is_lost_and_not_a_score(sandbox):
    await sandbox.isolation()
    (worker,) = sandbox._idle
    running = asyncio.create_task(ran(sandbox, "while True: pass", time_limit=30.0))
    await asyncio.sleep(0.1)
    worker._process.kill()
    with pytest.raises(SandboxLost):
        await running


async def test_a_cancelled_run_does_not_answer_the_next_one(sandbox):
    running = asyncio.create_task(ran(sandbox, "while True: pass", time_limit=30.0))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await ran(sandbox, "return 2")).value == 2


async def test_runs_go_on_side_by_side_up_to_the_size(sandbox):
    found = await asyncio.gather(*(ran(sandbox, f"return {n}") for n in range(20)))
    assert [each.value for each in found] == list(range(20))
    assert len(sandbox._idle) <= 2


async def test_nothing_is_left_when_the_sandbox_is_closed():
    sandbox = Sandbox()
    await sandbox.isolation()
    (worker,) = sandbox._idle
    folder, pid = worker._folder.name, worker._process.pid
    await sandbox.close()
    assert not await asyncio.to_thread(os.path.exists, folder)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


FILTER_ALONE = """
import os, sys
from burnish_verifier.sandbox import isolation
if not isolation.refuse_system_calls():
    sys.exit("no filter")
folder = sys.argv[1]
kept = os.path.join(folder, "kept")
assert open(kept).read() == "text"
assert os.listdir(folder) == ["kept"]
for attempt in (
    lambda: open(kept, "w"),
    lambda: open(kept, "a"),
    lambda: open(kept, "r+"),
    lambda: open(os.path.join(folder, "new"), "x"),
    lambda: os.open(kept, os.O_RDONLY | os.O_TRUNC),
    lambda: os.truncate(kept, 0),
    lambda: os.unlink(kept),
    lambda: os.rename(kept, kept + "2"),
    lambda: os.link(kept, kept + "2"),
    lambda: os.symlink(kept, kept + "2"),
    lambda: os.mkdir(kept + "2"),
    lambda: os.chmod(kept, 0),
    lambda: os.utime(kept),
    lambda: os.fork(),
    lambda: __import__("socket").socket(),
):
    try:
        attempt()
    except PermissionError:
        continue
    sys.exit("an attempt passed")
print("held")
"""


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="the filter knows two machines"
)
async def test_the_filter_of_system_calls_alone_holds_files_network_and_processes(tmp_path):
    (tmp_path / "kept").write_text("text")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FILTER_ALONE, str(tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await child.communicate()
    assert out == b"held\n", error.decode()
    assert (tmp_path / "kept").read_text() == "text"


WITHOUT_NAMESPACES = """
from burnish_verifier.sandbox import isolation, worker
isolation.enter_namespaces = lambda root: False
worker.main()
"""
LENGTH = struct.Struct(">I")


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
async def test_without_namespaces_files_and_other_processes_secrets_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("canary")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", WITHOUT_NAMESPACES, str(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BURNISH_OPENAI_API_KEY": "canary"},
    )  # fmt: skip
    assert child.stdin is not None

    async def received() -> dict[str, Any]:
        assert child.stdout is not None
        head = await child.stdout.readexactly(LENGTH.size)
        found: dict[str, Any] = json.loads(await child.stdout.readexactly(*LENGTH.unpack(head)))
        return found

    assert (await received())["files"]
    bodies = [f"return open({path!r}).read()" for path in (
        str(tmp_path / "secret"), "/etc/hostname", f"/proc/{child.pid}/environ",
        f"/proc/{os.getpid()}/environ", "/proc/self/environ",
    )]  # fmt: skip
    bodies += [f"import os\nreturn os.listdir({str(tmp_path)!r})", "import decimal, csv\nreturn 1"]
    found = []
    for body in bodies:
        asked = work(body)
        request = {"kind": asked.kind, "payload": asked.payload, "time_limit": 10.0,
                   "memory_limit": asked.memory_limit}  # fmt: skip
        data = json.dumps(request).encode()
        child.stdin.write(LENGTH.pack(len(data)) + data)
        found.append(await received())
    child.stdin.close()
    await child.wait()
    assert all(one["detail"].startswith("PermissionError") for one in found[:-1]), found
    assert found[-1]["value"] == 1


OPEN = Isolation(namespaces=False, system_calls=False)
FILTERED = Isolation(namespaces=False, system_calls=True)


@pytest.mark.parametrize(
    ("isolation", "demand", "words"),
    [
        (FILTERED, "network", ""),
        (OPEN, "network", "cannot keep code off the network"),
        (OPEN, "limits", ""),
        (None, "limits", "cannot start its sandbox"),
        (FILTERED, "off", "runs no code"),
    ],
)
def test_code_is_refused_where_it_cannot_be_held_to_what_is_demanded(isolation, demand, words):
    found = refusal(isolation, demand)
    assert words in found
    assert bool(found) == bool(words)
