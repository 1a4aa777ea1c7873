"""Which modules may be compiled, and whether they are.

They are the way of a call and of each event of its answer. The compiler is mypyc and the sources
are these; `scripts/compile_interceptor.py` makes a copy of the package that holds both.

A module is not listed when mypyc makes something else of it than Python does: when it derives an
exception from one of the suite's, or when it relies on types that the standard library promises and
uvloop does not keep. Whatever derives from a class of a listed module must be listed as well.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

PACKAGE = "burnish_interceptor"
MODULES = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "answers",
        "asked",
        "calls",
        "dataplane",
        "dialects.alike",
        "dialects.allow",
        "dialects.body",
        "dialects.chat",
        "dialects.chat_reply",
        "dialects.chat_usual",
        "dialects.completions",
        "dialects.gemini.dialect",
        "dialects.responses_stream",
        "dialects.splice",
        "dialects.sse",
        "dialects.stream",
        "dialects.usage",
        "ended",
        "online",
        "online_call",
        "repeats",
        "routes",
        "seen",
        "transport.call",
        "transport.connection",
        "transport.exchange",
        "transport.heads",
        "transport.outbox",
        "transport.upstream_connection",
        "upstream",
    )
)
"""By their full names."""


def compiled() -> bool:
    """Tells whether this process runs every one of them compiled."""
    return all(_origin(name).endswith(tuple(EXTENSION_SUFFIXES)) for name in MODULES)


def _origin(name: str) -> str:
    spec = find_spec(name)
    return (spec.origin if spec is not None else None) or ""
