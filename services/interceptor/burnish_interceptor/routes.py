"""The data plane's URL grammar, with the shapes that Synth's clients publish as aliases.

    /r/{token}[/v1]…             offline: everything is in the token
    /p/{policy}[/{rollout}][/v1]…    online
    /api/interceptor/v1/{token}[/v1]…[?cid=x]
    /api/mipro/v1/{token or policy}/{rollout}[/v1]…
    /api/gepa/v1/{token or policy}[/{rollout}][/v1]…

where … is nothing or `/chat/completions` for POST, and `/models` or `/models/{id}` for GET. Clients
that append the tail to the whole URL glue it to the query (`?cid=x/chat/completions`); it is found
there too.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import unquote

_HEADS = (
    (re.compile(r"/r/([^/]+)"), True),
    (re.compile(r"/api/interceptor/v1/([^/]+)"), True),
    (re.compile(r"/p/([^/]+)"), False),
    (re.compile(r"/api/mipro/v1/([^/]+)"), False),
    (re.compile(r"/api/gepa/v1/([^/]+)"), False),
)
_TAIL = re.compile(
    r"^(?:/(?P<rollout>(?!v1(?:/|$)|openai(?:/|$)|chat(?:/|$)|models(?:/|$)|responses(?:/|$))[^/]+))?"
    r"(?P<base>(?:/openai)?(?:/v1)?)"
    r"(?:/(?P<chat>chat(?:/completions)?)|/models(?:/(?P<model>.+))?(?P<models>)|/(?P<other>.+))?/?$"
)


class Tail(enum.Enum):
    """What is asked for below a route's base."""

    CHAT = "chat"
    MODELS = "models"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A parsed target.

    Attributes:
        segment: The token, or where `token_only` is false perhaps the policy.
        token_only: Whether the shape is one that only carries a token.
        rollout: Rollout id from the path or from `cid`, or empty.
        tail: What is asked for.
        model: Model id of a `/models/{id}`, or empty.
    """

    segment: str
    token_only: bool
    rollout: str
    tail: Tail
    model: str = ""


def parse(target: str) -> Route | None:
    """Parses a request target; None when it has no known shape."""
    path, _, query = target.partition("?")
    found = ((head.match(path), token_only) for head, token_only in _HEADS)
    start, token_only = next((pair for pair in found if pair[0] is not None), (None, False))
    if start is None:
        return None
    tail = _TAIL.match(path[start.end() :])
    if tail is None:
        return None
    cid, glued = _correlation(query)
    kind = Tail.CHAT
    if tail["models"] is not None:
        kind = Tail.MODELS
    elif tail["other"] is not None or (token_only and tail["rollout"] is not None):
        kind = Tail.OTHER
    elif tail["chat"] is None and glued.rstrip("/").endswith("/models"):
        kind = Tail.MODELS
    return Route(
        segment=unquote(start[1]),
        token_only=token_only,
        rollout=unquote(tail["rollout"] or "") or cid,
        tail=kind,
        model=unquote(tail["model"] or "").rstrip("/"),
    )


def redacted(target: str) -> str:
    """Returns a target without what a token or an id could stand in, for logs."""
    path = target.partition("?")[0]
    for head, _ in _HEADS:
        start = head.match(path)
        if start is not None:
            return path[: start.start(1)] + "***"
    return "***"


def _correlation(query: str) -> tuple[str, str]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in ("cid", "correlation_id"):
            cid, slash, rest = value.partition("/")
            return unquote(cid), slash + rest
    return "", ""
