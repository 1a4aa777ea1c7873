"""A process of the sandbox: `python -m burnish_verifier.sandbox.worker FOLDER`.

It closes itself in once, and then runs each piece of work in a child of its own, which is gone with
everything it did when its answer is read. It reads one request after another from standard input, a
length of four bytes and JSON each, and writes answers alike. It first tells what is closed.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import struct
import sys
import time
from typing import Any, BinaryIO, Literal

from burnish_verifier.sandbox import isolation, landlock, runs
from burnish_verifier.sandbox.work import longest

_LENGTH = struct.Struct(">I")
_MOST_ANSWER = 4 * 1024 * 1024
_CHUNK = 65_536
_BUSY_SHARE = 0.05
_LEAST_WAIT = 0.02
_CLAIMS = ("value", "raised", "memory")
End = Literal["end", "timeout", "starved"]


def main() -> None:
    """Answers requests until standard input ends."""
    isolation.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    namespaces = isolation.enter_namespaces(sys.argv[1])
    files = namespaces or landlock.hold_to(isolation.needed_paths())
    isolation.drop_privileges()
    told = {"namespaces": namespaces, "files": files, "system_calls": _filtered()}
    _send(sys.stdout.buffer, told)
    while (request := _received(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, _run(request, null))


def _filtered() -> bool:
    """Tells whether the filter of system calls works, by a child that tries it."""
    child = os.fork()
    if child == 0:
        os._exit(0 if isolation.refuse_system_calls() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run(request: dict[str, Any], null: int) -> dict[str, Any]:
    answers, writes = os.pipe()
    child = os.fork()
    if child == 0:
        _work(request, null=null, writes=writes)
    os.close(writes)
    try:
        data, end = _read(answers, child, limit=request["time_limit"])
    finally:
        os.close(answers)
        os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    cpu = used.ru_utime + used.ru_stime
    return {**_outcome(data, end=end, status=status), "cpu_seconds": cpu}


def _work(request: dict[str, Any], *, null: int, writes: int) -> None:
    """Runs the work in the child, and never returns."""
    try:
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        isolation.die_with_parent()
        isolation.limit(
            cpu_seconds=math.ceil(request["time_limit"]) + 1, memory=request["memory_limit"]
        )
        isolation.refuse_system_calls()
        found = runs.run(request["kind"], request["payload"])
        try:
            data = json.dumps(found).encode()
        except MemoryError:
            data = b'{"kind": "memory"}'
        view = memoryview(data)
        while view:
            view = view[os.write(writes, view) :]
        os.close(writes)
    finally:
        os._exit(0)


def _read(pipe: int, child: int, *, limit: float) -> tuple[bytes, End]:
    """Reads to the end, or to the limit of time, or to the most that an answer may have.

    A child that the machine keeps from the CPU gets more of the clock; one that sleeps does not.
    """
    data = bytearray()
    start = time.monotonic()
    deadline = start + limit
    while len(data) <= _MOST_ANSWER:
        left = deadline - time.monotonic()
        if left <= 0:
            waited, used = time.monotonic() - start, _cpu_seconds(child)
            if used >= limit or used < _BUSY_SHARE * waited:
                return bytes(data), "timeout"
            if waited >= longest(limit):
                return bytes(data), "starved"
            deadline = time.monotonic() + max(limit - used, _LEAST_WAIT)
            continue
        if not select.select([pipe], [], [], left)[0]:
            continue
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            return bytes(data), "end"
        data += chunk
    return bytes(data), "end"


def _cpu_seconds(child: int) -> float:
    """Returns the time of the CPU that a child used; endless where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return math.inf
    # How Linux numbers the CPU clock of another process.
    return time.clock_gettime((~child << 3) | 2)


def _outcome(data: bytes, *, end: End, status: int) -> dict[str, Any]:
    if len(data) > _MOST_ANSWER:
        return {"kind": "too_large"}
    if end == "end" and data:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return {"kind": "died"}
        # What it wrote may be forged: it may claim to have ended, and not that nobody is at fault.
        honest = isinstance(found, dict) and found.get("kind") in _CLAIMS
        return found if honest else {"kind": "died"}
    if end == "end" and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return {"kind": "timeout"}
    return {"kind": "died" if end == "end" else end}


def _received(stream: BinaryIO) -> dict[str, Any] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    request: dict[str, Any] = json.loads(stream.read(_LENGTH.unpack(head)[0]))
    return request


def _send(stream: BinaryIO, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


if __name__ == "__main__":
    main()
