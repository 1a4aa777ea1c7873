"""The sandbox as the verifier uses it: a few closed-in processes, started when first needed."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from burnish_verifier.sandbox.work import Outcome, SandboxLost, Work, longest

_log = structlog.get_logger("burnish.verifier")
_LENGTH = struct.Struct(">I")
_GRACE_SECONDS = 30.0
_START_SECONDS = 30.0
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH")

Demand = Literal["network", "limits", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What a process of the sandbox is closed off from.

    Attributes:
        namespaces: Whether it has no network, and of the machine's files its interpreter's only.
        system_calls: Whether sockets, new processes and signals are refused.
        files: Whether it can read none of the machine's files but its interpreter's.
    """

    namespaces: bool
    system_calls: bool
    files: bool = False

    @property
    def no_network(self) -> bool:
        """Whether no connection can be made."""
        return self.namespaces or self.system_calls


class Sandbox:
    """Runs work in closed-in processes, up to a number at once."""

    def __init__(self, *, size: int = 2, folder: Path | None = None) -> None:
        """Opens the sandbox; nothing is started yet.

        Args:
            size: Most processes.
            folder: Where each finds an empty directory to build its root on; None takes the
                machine's directory for such things.
        """
        self._folder = folder
        self._idle: list[_Worker] = []
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    async def isolation(self) -> Isolation:
        """Starts a process, and returns what it is closed off from.

        Raises:
            SandboxLost: No process can be started.
        """
        async with self._slots:
            worker = await self._taken()
            self._idle.append(worker)
            return worker.isolation

    async def run(self, work: Work) -> Outcome:
        """Runs one piece of work.

        Raises:
            SandboxLost: The sandbox failed; the same work may succeed later.
        """
        async with self._slots:
            worker = await self._taken()
            try:
                async with asyncio.timeout(longest(work.time_limit) + _GRACE_SECONDS):
                    found = await worker.ask(work)
            except (TimeoutError, OSError, RuntimeError, asyncio.IncompleteReadError) as error:
                await worker.end()
                _log.warning("sandbox_lost", error=type(error).__name__)
                raise SandboxLost(type(error).__name__) from None
            except BaseException:
                # Cancelled: the answer under way would be taken for that of the next work.
                await worker.end()
                raise
            if self._closed:
                await worker.end()
            else:
                self._idle.append(worker)
            return found

    async def close(self) -> None:
        """Ends every process."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def _taken(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.end()
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await _Worker.started(self._folder)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise SandboxLost(type(error).__name__) from None


class _Worker:
    def __init__(
        self, process: asyncio.subprocess.Process, folder: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._process = process
        self._folder = folder
        self.isolation = Isolation(namespaces=False, system_calls=False)

    @classmethod
    async def started(cls, parent: Path | None) -> _Worker:
        """Starts a process and waits until it is closed in."""
        folder = await asyncio.to_thread(_empty_folder, parent)
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # A module of the working directory is none of ours.
            "-P",
            "-m",
            "burnish_verifier.sandbox.worker",
            folder.name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=kept,
        )
        worker = cls(process, folder)
        try:
            told = await worker._received()
        except BaseException:
            await worker.end()
            raise
        worker.isolation = Isolation(
            namespaces=bool(told["namespaces"]),
            system_calls=bool(told["system_calls"]),
            files=bool(told["files"]),
        )
        return worker

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.returncode is None

    async def ask(self, work: Work) -> Outcome:
        """Has the process run one piece of work."""
        request = {
            "kind": work.kind,
            "payload": work.payload,
            "time_limit": work.time_limit,
            "memory_limit": work.memory_limit,
        }
        data = json.dumps(request).encode()
        if self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(_LENGTH.pack(len(data)) + data)
        await self._process.stdin.drain()
        found = await self._received()
        return Outcome(
            kind=found["kind"],
            value=found.get("value"),
            detail=str(found.get("detail", "")),
            cpu_seconds=float(found.get("cpu_seconds", 0.0)),
        )

    async def end(self) -> None:
        """Kills the process, and with it what it runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.to_thread(self._folder.cleanup)

    async def _received(self) -> Mapping[str, Any]:
        if self._process.stdout is None:
            raise BrokenPipeError
        head = await self._process.stdout.readexactly(_LENGTH.size)
        data = await self._process.stdout.readexactly(_LENGTH.unpack(head)[0])
        found: dict[str, Any] = json.loads(data)
        return found


def _empty_folder(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="burnish-sandbox-", dir=parent)


def refusal(isolation: Isolation | None, demand: Demand) -> str:
    """Returns why code is not run; empty when it is.

    Args:
        isolation: What the sandbox is closed off from; None when no process can be started.
        demand: What the operator asks for.
    """
    if demand == "off":
        return "this verifier runs no code; let `BURNISH_VERIFIER_SANDBOX` be `network`"
    if isolation is None:
        return "this verifier cannot start its sandbox; see its log"
    if demand == "network" and not isolation.no_network:
        return (
            "this platform cannot keep code off the network; run the verifier on Linux, or allow "
            "it with `BURNISH_VERIFIER_SANDBOX=limits`"
        )
    return ""
