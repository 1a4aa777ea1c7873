"""One supervised process: started, awaited until it serves, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from burnish.errors import FailedPrecondition
from burnish.suite.health import serving
from burnish.suite.plan import ServiceSpec

_POLL_SECONDS = 0.02
_SETTLED_SECONDS = 5.0
_MAX_QUICK_DEATHS = 5
_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 5.0
_STOP_SECONDS = 15.0
_LOG_TAIL_LINES = 20
_LOG_TAIL_BYTES = 16_384
_LOG_ROTATE_BYTES = 20 * 1024 * 1024


class ServiceKeepsDying(FailedPrecondition):
    """A service that died several times in a row soon after its start."""

    default_reason = "SERVICE_KEEPS_DYING"


class ServiceProcess:
    """Keeps one service running until `stop`.

    A death counts against the service only when it came before or soon after the service was
    ready; a service that is killed from outside while it serves is started again at once, however
    often that happens.
    """

    def __init__(self, spec: ServiceSpec, *, changed: Callable[[], None]) -> None:
        """Prepares the process.

        Args:
            spec: What to run.
            changed: Called after each start and each time the service becomes ready.
        """
        self.spec = spec
        self.restarts = 0
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._quick_deaths = 0

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """Id of the process that runs now; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def ready(self) -> bool:
        """Whether the process that runs now has served."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Waits until the service serves."""
        await self._ready.wait()

    def kill(self, number: int = signal.SIGKILL) -> int | None:
        """Sends a signal to the process; returns its id, or None when none runs."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)
        return pid

    async def run(self) -> None:
        """Runs the service until `stop`.

        Raises:
            ServiceKeepsDying: It died too often; the message holds its last log lines.
        """
        _rotate(self.spec.log_file)
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await self._start()
            watch = asyncio.create_task(self._watch_ready(process.pid))
            try:
                code = await process.wait()
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
            if self._stopping.is_set():
                return
            self._judge_death(code, lived_seconds=time.monotonic() - started)
            self._ready.clear()
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._backoff_seconds())

    async def stop(self) -> None:
        """Asks the service to finish, and kills it when it does not."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def log_tail(self) -> str:
        """Returns the last lines that the service logged."""
        return tail(self.spec.log_file)

    async def _start(self) -> asyncio.subprocess.Process:
        self.spec.ready_file.unlink(missing_ok=True)
        descriptor = os.open(self.spec.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=dict(self.spec.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                # Ctrl-C in a terminal reaches the supervisor alone, which stops all in order.
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self._changed()
        return self._process

    async def _watch_ready(self, pid: int) -> None:
        while True:
            written = _read_ready(self.spec.ready_file)
            if written is not None and written.get("pid") == pid and await serving(written):
                self._ready.set()
                self._changed()
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _judge_death(self, code: int, *, lived_seconds: float) -> None:
        killed_while_serving = self.ready and code == -signal.SIGKILL
        if killed_while_serving or (self.ready and lived_seconds >= _SETTLED_SECONDS):
            self._quick_deaths = 0
            return
        self._quick_deaths += 1
        if self._quick_deaths >= _MAX_QUICK_DEATHS:
            raise ServiceKeepsDying(
                f"service `{self.name}` died {self._quick_deaths} times in a row (last exit code "
                f"{code}); its log is `{self.spec.log_file}`:\n{self.log_tail()}",
                metadata={"service": self.name, "exit_code": str(code)},
            )

    def _backoff_seconds(self) -> float:
        if self._quick_deaths == 0:
            return 0.0
        grown: float = _FIRST_BACKOFF_SECONDS * 2.0 ** (self._quick_deaths - 1)
        return min(_MAX_BACKOFF_SECONDS, grown)


def tail(file: Path) -> str:
    """Returns the last lines of a log."""
    try:
        with file.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - _LOG_TAIL_BYTES))
            text = handle.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    lines = deque(text.splitlines(), maxlen=_LOG_TAIL_LINES)
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"


def _rotate(file: Path) -> None:
    if file.exists() and file.stat().st_size > _LOG_ROTATE_BYTES:
        file.replace(file.with_suffix(".log.1"))


def _read_ready(file: Path) -> dict[str, object] | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
