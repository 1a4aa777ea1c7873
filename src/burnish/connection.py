"""Finds the backend: arguments first, then the environment, then a suite that runs here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from burnish.errors import FailedPrecondition, InvalidArgument

_TARGETS = ("BURNISH_TARGET", "BACKEND_BASE_URL", "SYNTH_BACKEND_URL")
_TOKENS = ("BURNISH_AUTH_TOKEN", "SYNTH_API_KEY")


class BackendNotConfigured(FailedPrecondition):
    """Nothing says where the controller is."""

    default_reason = "BACKEND_NOT_CONFIGURED"

    def __init__(self) -> None:
        super().__init__(
            "no backend is configured; run `burnish up` in this directory, or set BURNISH_TARGET "
            "(like 127.0.0.1:50051) and BURNISH_AUTH_TOKEN"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the controller is reached.

    Attributes:
        target: Target for a gRPC channel.
        token: Bearer token; None sends none.
    """

    target: str
    token: str | None = field(repr=False)


def find_connection(
    target: str | None = None,
    token: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Connection | None:
    """Returns how the controller is reached, or None when nothing says so.

    Args:
        target: Target or URL; the environment is asked when None.
        token: Bearer token; the environment is asked when None.
        environ: The environment; that of the process when None.
        directory: State directory to look for a running suite in; the environment's when None.

    Raises:
        InvalidArgument: The target has a form that is not understood, or the token file cannot be
            read.
    """
    environment = os.environ if environ is None else environ
    given = target or _first(environment, _TARGETS)
    known_token = token or _first(environment, _TOKENS) or _token_from_file(environment)
    from burnish.suite.state import running_suite

    here = running_suite(directory or state_dir(environment))
    if given is None:
        if here is None:
            return None
        return Connection(target=here.target, token=token or here.token)
    wanted = parse_target(given)
    if known_token is None and here is not None and here.target == wanted:
        known_token = here.token
    return Connection(target=wanted, token=known_token)


def state_dir(environ: Mapping[str, str]) -> Path:
    """Returns the state directory that the environment names, or the default one."""
    return Path(environ.get("BURNISH_STATE_DIR") or ".burnish").expanduser()


def parse_target(text: str) -> str:
    """Returns the target for a gRPC channel that a target or a URL stands for.

    Raises:
        InvalidArgument: The URL asks for TLS, or holds a path that is not `/api`.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        return text.strip()
    if scheme in {"dns", "unix", "ipv4", "ipv6"}:
        return text.strip()
    if scheme not in {"http", "grpc"}:
        raise InvalidArgument(
            f"backend `{text}`: scheme `{scheme}` is not offered; give `host:port`, and let a "
            "proxy of yours do the TLS",
            reason="TARGET_INVALID",
            metadata={"target": text},
        )
    address, _, path = rest.partition("/")
    if path.rstrip("/") not in {"", "api"} or not address:
        raise InvalidArgument(
            f"backend `{text}` is not an address; give `host:port` of the controller",
            reason="TARGET_INVALID",
            metadata={"target": text},
        )
    return address


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _token_from_file(environ: Mapping[str, str]) -> str | None:
    name = environ.get("BURNISH_AUTH_TOKEN_FILE")
    if not name:
        return None
    try:
        return Path(name).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidArgument(
            f"BURNISH_AUTH_TOKEN_FILE: cannot read `{name}`: {type(error).__name__}",
            reason="TOKEN_FILE_UNREADABLE",
        ) from None
