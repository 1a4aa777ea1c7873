"""Settings of the data plane, from `BURNISH_HTTP_*` and `BURNISH_UPSTREAM_*` variables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.origin import Timeouts
from burnish_runtime.settings import SettingsInvalid

_SECONDS = {
    "BURNISH_HTTP_FIRST_BYTE_SECONDS": "first",
    "BURNISH_HTTP_HEAD_SECONDS": "head",
    "BURNISH_HTTP_BODY_IDLE_SECONDS": "body_idle",
    "BURNISH_HTTP_BODY_SECONDS": "body",
    "BURNISH_HTTP_IDLE_SECONDS": "idle",
    "BURNISH_HTTP_WRITE_SECONDS": "write",
    "BURNISH_HTTP_KEEP_ALIVE_SECONDS": "silence",
}
_COUNTS = {
    "BURNISH_HTTP_MAX_CONNECTIONS": "connections",
    "BURNISH_HTTP_MAX_CONNECTIONS_PER_PEER": "connections_per_peer",
}
_WAITS = {
    "BURNISH_UPSTREAM_CONNECT_SECONDS": "connect",
    "BURNISH_UPSTREAM_FIRST_BYTE_SECONDS": "head",
    "BURNISH_UPSTREAM_READ_SECONDS": "read",
    "BURNISH_UPSTREAM_TOTAL_SECONDS": "total",
}
_CERT, _KEY, _CA = "BURNISH_HTTP_CERT_FILE", "BURNISH_HTTP_KEY_FILE", "BURNISH_UPSTREAM_CA_FILE"
_PROCESSES = "BURNISH_HTTP_PROCESSES"
REUSE_PORT = "BURNISH_HTTP_REUSE_PORT"
MAX_PROCESSES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How the data plane serves and calls.

    Attributes:
        limits: For connections of apps.
        timeouts: For calls to providers.
        cert_file: Certificate chain; with `key_file` the data plane serves HTTPS.
        key_file: Key of the certificate.
        ca_file: Certificates to trust upstream besides the system's.
        processes: How many processes share the port.
        reuse_port: Whether other processes may listen on the same port.
    """

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    cert_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    processes: int = 1
    reuse_port: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> HttpSettings:
        """Reads the settings.

        Raises:
            SettingsInvalid: With every problem found. Never valid; do not retry.
        """
        problems: dict[str, str] = {}
        seconds = _numbers(environ, _SECONDS, problems)
        counts = {key: int(value) for key, value in _numbers(environ, _COUNTS, problems).items()}
        waits = _numbers(environ, _WAITS, problems)
        processes = _numbers(environ, {_PROCESSES: "processes"}, problems).get("processes", 1)
        if processes > MAX_PROCESSES:
            problems[_PROCESSES] = f"`{_PROCESSES}`: {processes:g} is over {MAX_PROCESSES}"
        files = {name: _file(environ, name, problems) for name in (_CERT, _KEY, _CA)}
        if (files[_CERT] is None) != (files[_KEY] is None) and not problems.keys() & {_CERT, _KEY}:
            problems[_CERT] = f"`{_CERT}` and `{_KEY}` belong together; set both or none"
        if problems:
            raise SettingsInvalid("; ".join(problems.values()), metadata=problems)
        return cls(
            limits=Limits(**seconds, **counts),  # type: ignore[arg-type]
            timeouts=Timeouts(**waits),
            cert_file=files[_CERT],
            key_file=files[_KEY],
            ca_file=files[_CA],
            processes=int(processes),
            reuse_port=environ.get(REUSE_PORT, "") == "1",
        )


def _numbers(
    environ: Mapping[str, str], names: Mapping[str, str], problems: dict[str, str]
) -> dict[str, float]:
    whole = frozenset(_COUNTS) | {_PROCESSES}
    found = {}
    for name, key in names.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            value = float(int(text)) if name in whole else float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value <= 0:
            kind = "a whole number" if name in whole else "a number of seconds"
            problems[name] = f"`{name}`: `{text}` is not {kind} above 0"
        else:
            found[key] = value
    return found


def _file(environ: Mapping[str, str], name: str, problems: dict[str, str]) -> Path | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        problems[name] = f"`{name}`: `{text}` is no file"
    return path
