"""One child process: started by spawn, known to be ready by its file, ended by a signal."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.02


class ChildEnded(Exception):
    """The process ended before it was ready."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a child says once it serves.

    Attributes:
        grpc: `host:port` of its RPCs.
        http: `host:port` of its data plane.
    """

    grpc: str
    http: str


class Child:
    """A child process, which may be started again after it has ended."""

    def __init__(self, ready_file: Path, environ: Mapping[str, str]) -> None:
        """Starts nothing yet.

        Args:
            ready_file: Where it tells its addresses.
            environ: All of its variables.
        """
        self._ready_file = ready_file
        self._environ = {**environ, "BURNISH_READY_FILE": str(ready_file)}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> Ready:
        """Starts the process and waits until it serves.

        Raises:
            ChildEnded: It ended instead.
        """
        self._ready_file.unlink(missing_ok=True)
        # A fresh interpreter: a fork of a process in which gRPC's threads run may hang.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish_interceptor", env=self._environ
        )
        while not self._ready_file.exists():
            if self._process.returncode is not None:
                raise ChildEnded(self._process.returncode)
            await asyncio.sleep(_POLL_SECONDS)
        told = json.loads(self._ready_file.read_text(encoding="utf-8"))
        return Ready(grpc=told["grpc"], http=told["http"])

    async def ended(self) -> int:
        """Waits for the end of the process; returns its exit code."""
        return await self._process.wait() if self._process is not None else 0

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process runs."""
        if self._process is not None and self.running:
            self._process.send_signal(number)
