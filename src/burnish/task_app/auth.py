"""Who may call a task app: keys from the environment, compared in constant time, never echoed."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_KEY_VARIABLES = ("ENVIRONMENT_API_KEY", "DEV_ENVIRONMENT_API_KEY")
_ALIASES_VARIABLE = "ENVIRONMENT_API_KEY_ALIASES"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKeys:
    """The keys that a task app accepts.

    Attributes:
        keys: Accepted keys; none at all opens the app to callers on this machine only.
    """

    keys: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> AppKeys:
        """Reads ENVIRONMENT_API_KEY, DEV_ENVIRONMENT_API_KEY and ENVIRONMENT_API_KEY_ALIASES."""
        source = os.environ if environ is None else environ
        named = [source.get(name, "") for name in _KEY_VARIABLES]
        aliases = source.get(_ALIASES_VARIABLE, "").split(",")
        return cls(keys=tuple(key.strip() for key in [*named, *aliases] if key.strip()))

    @property
    def required(self) -> bool:
        """Whether a caller needs a key."""
        return bool(self.keys)

    def accept(self, offered: Sequence[str]) -> bool:
        """Tells whether one of the offered keys is accepted."""
        known = [key.encode() for key in self.keys]
        found = False
        for candidate in offered:
            for key in known:
                found |= hmac.compare_digest(candidate.encode(), key)
        return found


def offered_keys(headers: Mapping[str, str]) -> list[str]:
    """Returns the keys that a request offers: X-API-Key, X-API-Keys and a bearer token.

    Args:
        headers: Looked up by lower-case names.
    """
    found = [headers.get("x-api-key", ""), *headers.get("x-api-keys", "").split(",")]
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(token)
    return [key.strip() for key in found if key.strip()]


def is_loopback(host: str) -> bool:
    """Tells whether a host name or address to listen on is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
