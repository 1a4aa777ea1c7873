"""The data plane's URL grammar, with the shapes that Synth's clients publish as aliases.

    /r/{token}[/v1]…             offline: everything is in the token
    /p/{policy}[/{rollout}][/v1]…    online
    /api/interceptor/v1/{token}[/v1]…[?cid=x]
    /api/mipro/v1/{token or policy}/{rollout}[/v1]…
    /api/gepa/v1/{token or policy}[/{rollout}][/v1]…

where … is nothing or `/chat/completions`, `/responses`, `/completions` or `/embeddings` for POST,
and `/models` or `/models/{id}` for GET. Clients that append the tail to the whole URL glue it to
the query (`?cid=x/chat/completions`); it is found there too.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import unquote


class Tail(enum.Enum):
    """What is asked for below a route's base."""

    CHAT = "chat"
    RESPONSES = "responses"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODELS = "models"
    OTHER = "other"


class Shape(enum.Enum):
    """Whose URL a route has; Synth's are answered with Synth's headers too."""

    ROLLOUT = "/r/"
    POLICY = "/p/"
    SYNTH = "/api/interceptor/v1/"
    MIPRO = "/api/mipro/v1/"
    GEPA = "/api/gepa/v1/"

    @property
    def token_only(self) -> bool:
        """Whether the shape only ever carries a token."""
        return self in (Shape.ROLLOUT, Shape.SYNTH)


_HEADS = tuple((shape, re.compile(f"{shape.value}([^/]+)")) for shape in Shape)
_WORDS = ("v1", "openai", "chat", "models", "responses", "completions", "embeddings")
_TAIL = re.compile(
    r"^(?:/(?P<rollout>(?!(?:" + "|".join(_WORDS) + r")(?:/|$))[^/]+))?"
    r"(?P<base>(?:/v1)?(?:/openai)?(?:/v1){0,2})(?:/(?P<tail>.+?))?/?$"
)
_CALLS = {
    "": Tail.CHAT,
    "chat": Tail.CHAT,
    "chat/completions": Tail.CHAT,
    "responses": Tail.RESPONSES,
    "completions": Tail.COMPLETIONS,
    "embeddings": Tail.EMBEDDINGS,
    "models": Tail.MODELS,
}
# What stands before a tail that was glued to the end of a query.
_BASE = re.compile(r"^(?:/v1)?(?:/openai)?(?:/v1){0,2}(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A parsed target.

    Attributes:
        shape: Whose URL it is.
        segment: The token, or where the shape may name a policy perhaps that.
        rollout: Rollout id from the path or from `cid`, or empty.
        tail: What is asked for.
        model: Model id of a `/models/{id}`, or empty.
    """

    shape: Shape
    segment: str
    rollout: str
    tail: Tail
    model: str = ""

    @property
    def token_only(self) -> bool:
        """Whether the URL can only carry a token."""
        return self.shape.token_only


def parse(target: str) -> Route | None:
    """Parses a request target; None when it has no known shape."""
    path, _, query = target.partition("?")
    found = ((shape, head.match(path)) for shape, head in _HEADS)
    shape, start = next((pair for pair in found if pair[1] is not None), (None, None))
    if shape is None or start is None:
        return None
    parts = _TAIL.match(path[start.end() :])
    if parts is None:
        return None
    cid, glued = _correlation(query)
    rollout, named = parts["rollout"], parts["tail"] or ""
    tail, model = _tail(named or glued)
    if shape.token_only and rollout is not None:
        tail, model = Tail.OTHER, ""
    return Route(
        shape=shape,
        segment=unquote(start[1]),
        rollout=unquote(rollout or "") or cid,
        tail=tail,
        model=model,
    )


def redacted(target: str) -> str:
    """Returns a target without what a token or an id could stand in, for logs."""
    path = target.partition("?")[0]
    for _, head in _HEADS:
        start = head.match(path)
        if start is not None:
            return path[: start.start(1)] + "***"
    return "***"


def _tail(named: str) -> tuple[Tail, str]:
    known = _CALLS.get(named)
    if known is not None:
        return known, ""
    if named.startswith("models/"):
        return Tail.MODELS, unquote(named.removeprefix("models/"))
    return Tail.OTHER, ""


def _correlation(query: str) -> tuple[str, str]:
    """Returns the correlation id of a query, and the tail that was glued to the query's end."""
    cid = glued = ""
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        value, slash, rest = value.partition("/")
        if name in ("cid", "correlation_id"):
            cid = unquote(value.partition("?")[0])
        if slash and (base := _BASE.match(slash + rest)) is not None:
            tail = (slash + rest)[base.end() :].strip("/")
            glued = tail if _tail(tail)[0] is not Tail.OTHER else ""
    return cid, glued
