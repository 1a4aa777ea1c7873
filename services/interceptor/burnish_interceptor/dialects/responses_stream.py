"""The events of a response as the app is given them.

Items that the app is not shown leave no gap: output indexes and sequence numbers count what is
shown. Events that are not known are left out. The last event is the one that ends the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from burnish_interceptor.app_error import AppError
from burnish_interceptor.dialects import sse
from burnish_interceptor.dialects.allow import Json, NotAnAnswer, hashed, parsed
from burnish_interceptor.dialects.responses_reply import EVENTS, ITEM, OUTPUT, envelope
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import RESPONSES, UsageRule, tokens

_WHOLE = frozenset({"response.created", "response.in_progress", "response.queued"})
_LAST = frozenset({"response.completed", "response.incomplete"})
_FAILED = ("error", "response.failed", "response.cancelled")
_DELTA = "response.output_text.delta"


class ResponseStream(AnswerStream):
    """A response as events; the answer is over when it is completed or incomplete."""

    def __init__(self, asked: Mapping[str, Json], *, model: str, usage: UsageRule | None) -> None:
        """Starts an answer.

        Args:
            asked: The app's own request.
            model: Model to report to the app.
            usage: What is told of tokens; None tells nothing.
        """
        super().__init__()
        self._asked = asked
        self._model = model
        self._rule = usage
        self._sequence = 0
        # Places of the items that are shown, and their ids, by the provider's place.
        self._places: dict[int, tuple[int, str]] = {}

    def error(self, error: AppError, request_id: str) -> bytes:
        """Returns the event that tells the app of an error after the stream has begun."""
        told = orjson.loads(error.body(request_id))["error"]
        event = {"type": "error", **told, "error": told, "sequence_number": self._sequence}
        return sse.encode(orjson.dumps(event), name=b"error")

    def _event(self, data: bytes) -> bytes | None:
        if data == sse.DONE:
            return None
        source = parsed(data)
        kind = source.get("type")
        if source.get("error") or kind in _FAILED:
            raise NotAnAnswer
        if not isinstance(kind, str):
            return None
        if kind in _WHOLE or kind in _LAST:
            shown = self._whole(source, last=kind in _LAST)
        elif kind in EVENTS:
            place = self._place(source)
            if place is None:
                return None
            shown = EVENTS[kind](source)
            shown["output_index"], item_id = place
            if "item_id" in shown:
                shown["item_id"] = item_id
            if kind == _DELTA:
                shown.setdefault("logprobs", [])
        else:
            return None
        shown = {"type": kind, "sequence_number": self._sequence, **shown}
        self._sequence += 1
        return sse.encode(orjson.dumps(shown), name=kind.encode())

    def _whole(self, source: Mapping[str, Json], *, last: bool) -> dict[str, Any]:
        response = source.get("response")
        if not isinstance(response, dict):
            raise NotAnAnswer
        shown = envelope(response, self._asked, self._model)
        if last:
            self._over = True
            self.usage = tokens(response.get("usage"), RESPONSES)
            shown["output"] = OUTPUT(response.get("output")) or []
            if self._rule is not None:
                shown["usage"] = self._rule.shown(response.get("usage"), RESPONSES)
        return {"response": shown}

    def _place(self, source: Mapping[str, Json]) -> tuple[int, str] | None:
        """Returns where the app sees an event's item, or None when it does not."""
        index = source.get("output_index")
        if type(index) is not int:
            return None
        if source["type"] == "response.output_item.added":
            item = ITEM(source.get("item"))
            if item is not None:
                item_id = item.get("id") or hashed("item_", index)
                self._places.setdefault(index, (len(self._places), item_id))
        return self._places.get(index)
