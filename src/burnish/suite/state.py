"""A suite's state directory: its lock, its secrets, its ports, and where it can be reached.

lock            held while a suite runs, so that two suites never share a directory
auth_token      bearer token of every RPC (0600)
token_key       key of the rollout tokens (0600)
ports.json      ports once chosen, so that a restarted suite listens where it was
suite.json      where the running suite can be reached, and its processes
logs/ run/      one log and one ready file per service
<service>/      what the service itself stores
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from burnish.errors import FailedPrecondition, InvalidArgument

# Below the usual ephemeral range, so that no outgoing connection takes a port that a killed
# service is about to listen on again.
_PORT_RANGE = range(20_000, 32_000)
_PORT_TRIES = 200
_LEFTOVER_SECONDS = 8.0
_SECRET_BYTES = 32


class SuiteLocked(FailedPrecondition):
    """Another suite runs in the same state directory."""

    default_reason = "SUITE_LOCKED"


class StateDirInvalid(InvalidArgument):
    """A state directory that cannot be made."""

    default_reason = "STATE_DIR_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSuite:
    """Where a running suite can be reached.

    Attributes:
        target: gRPC target of the controller.
        token: Bearer token.
        interceptor_url: Base URL of the interceptor's data plane.
        local_model_url: Base URL of the local models, ending in `/v1`.
        pid: Process that supervises it.
        api_url: Base URL of the scoring endpoints; empty when there are none.
    """

    target: str
    token: str
    interceptor_url: str
    local_model_url: str
    pid: int
    api_url: str = ""


class StateDir:
    """A state directory, locked between `lock` and `unlock`."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock_file: int | None = None
        self._claims = contextlib.ExitStack()

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Folder of the services' ready files."""
        return self.path / "run"

    @property
    def auth_token_file(self) -> Path:
        """File with the bearer token."""
        return self.path / "auth_token"

    @property
    def token_key_file(self) -> Path:
        """File with the key of the rollout tokens."""
        return self.path / "token_key"

    def lock(self) -> None:
        """Creates what is missing and takes the lock.

        Raises:
            SuiteLocked: Another suite holds it.
            StateDirInvalid: It cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._cannot_be(error) from None
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise SuiteLocked(
                f"another suite runs in `{self.path}`; stop it, or choose another directory with "
                "--state-dir or BURNISH_STATE_DIR",
                metadata={"state_dir": str(self.path)},
            ) from None
        self._lock_file = descriptor
        for folder in (self.logs, self.run):
            folder.mkdir(exist_ok=True, mode=0o700)
        for file in (self.auth_token_file, self.token_key_file):
            _create_secret(file)

    def _cannot_be(self, error: OSError) -> StateDirInvalid:
        if isinstance(error, FileExistsError | NotADirectoryError):
            why = "it is a file, or lies in one"
        elif isinstance(error, FileNotFoundError):
            # What /proc and its like answer.
            why = "nothing can be made there"
        else:
            why = str(error.strerror)
        return StateDirInvalid(
            f"state directory `{self.path}` cannot be made: {why}; choose another with "
            "--state-dir or BURNISH_STATE_DIR",
            metadata={"state_dir": str(self.path)},
        )

    def unlock(self) -> None:
        """Forgets the running suite and releases the lock."""
        if self._lock_file is not None:
            (self.path / "suite.json").unlink(missing_ok=True)
            os.close(self._lock_file)
            self._lock_file = None
        self._claims.close()

    def token(self) -> str:
        """Returns the bearer token."""
        return self.auth_token_file.read_text(encoding="ascii").strip()

    def ports(self, names: Iterable[str]) -> dict[str, int]:
        """Returns a port for each name: the one it had before when that is free, else a new one.

        No other suite is given one of them until `unlock`.
        """
        file = self.path / "ports.json"
        before = _read_json(file) or {}
        chosen: dict[str, int] = {}
        with contextlib.ExitStack() as held:
            for name in names:
                port = before.get(name)
                found, claim = _reserve(port if isinstance(port, int) else None)
                held.enter_context(found)
                self._claims.enter_context(claim)
                chosen[name] = int(found.getsockname()[1])
        kept = {name: port for name, port in before.items() if isinstance(port, int)}
        _write_json(file, {**kept, **chosen})
        return chosen

    def publish(self, suite: RunningSuite, pids: Mapping[str, int]) -> None:
        """Writes down where the suite can be reached, and which processes belong to it."""
        _write_json(
            self.path / "suite.json",
            {
                "target": suite.target,
                "interceptor_url": suite.interceptor_url,
                "local_model_url": suite.local_model_url,
                "api_url": suite.api_url,
                "pid": suite.pid,
                "processes": {
                    name: {"pid": pid, "started": _start_mark(pid)} for name, pid in pids.items()
                },
            },
        )

    def stop_leftovers(self) -> None:
        """Stops processes of a suite that was killed before it could stop them itself."""
        written = _read_json(self.path / "suite.json") or {}
        processes = written.get("processes")
        left = {
            int(entry["pid"]): str(entry["started"])
            for entry in (processes.values() if isinstance(processes, dict) else ())
            if entry.get("started")
        }
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = {pid: mark for pid, mark in left.items() if _start_mark(pid) == mark}
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + _LEFTOVER_SECONDS
            while time.monotonic() < deadline and any(
                _start_mark(pid) == mark for pid, mark in left.items()
            ):
                time.sleep(0.02)


def running_suite(state_dir: Path) -> RunningSuite | None:
    """Returns where the suite in a state directory can be reached, or None when none runs there."""
    lock, token = state_dir / "lock", state_dir / "auth_token"
    written = _read_json(state_dir / "suite.json")
    if written is None or not lock.exists() or not token.exists():
        return None
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return RunningSuite(
                target=str(written["target"]),
                token=token.read_text(encoding="ascii").strip(),
                interceptor_url=str(written["interceptor_url"]),
                local_model_url=str(written["local_model_url"]),
                pid=int(str(written["pid"])),
                api_url=str(written.get("api_url", "")),
            )
    return None


def _create_secret(file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        file.chmod(0o600)
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secrets.token_hex(_SECRET_BYTES) + "\n")


def _reserve(port: int | None) -> tuple[socket.socket, socket.socket]:
    """Returns a socket bound to a free port, the given one when possible, and a claim to it."""
    wanted = [] if port is None else [port]
    drawn = (secrets.choice(_PORT_RANGE) for _ in range(_PORT_TRIES))
    for candidate in (*wanted, *drawn, 0):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Connections of the suite before, still in TIME_WAIT, are no listener.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", candidate))
            bound.listen(1)
            # Nobody listens until the service does, nor while it is started again. A name without a
            # file, as Linux has them, lasts as long as this process.
            if sys.platform == "linux":
                claim.bind(f"\0burnish-port-{bound.getsockname()[1]}")
        except OSError:
            bound.close()
            claim.close()
            continue
        return bound, claim
    raise OSError("no port is free on 127.0.0.1")


def _start_mark(pid: int) -> str:
    """Returns what tells a process from a later one of the same number; empty when unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _read_json(file: Path) -> dict[str, object] | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write_json(file: Path, value: object) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(file)
