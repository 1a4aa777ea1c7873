"""What every wire format has to say, and how one event of a stream is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from burnish.testing.providers.replies import FakeReply

Json = dict[str, Any]
CREATED: Final = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as a format reads it.

    Attributes:
        target: Path and query.
        body: The whole body.
    """

    target: str
    body: bytes = field(repr=False)

    @property
    def fields(self) -> Json:
        """The body's JSON object; empty when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class WireFormat(Protocol):
    """How one provider writes."""

    @property
    def path(self) -> str:
        """A part of the path by which the format is known."""

    def model(self, asked: Asked) -> str:
        """Returns the model that is asked."""

    def streams(self, asked: Asked) -> bool:
        """Tells whether events are asked for."""

    def whole(self, reply: FakeReply, model: str) -> Json:
        """Returns a reply."""

    def events(self, reply: FakeReply, model: str) -> bytes:
        """Returns a reply as an event stream."""

    def without_choices(self, reply: FakeReply, model: str) -> Json:
        """Returns a reply in which the model says nothing at all."""

    def error(self, status: int, message: str, code: str) -> Json:
        """Returns an error."""


def event(data: Mapping[str, Any], *, name: str = "") -> bytes:
    """Returns one event of a stream."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()
