"""What an app asked for, and the header lines of its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping

from burnish_interceptor.dialects import AppRequest, Shown
from burnish_interceptor.seen import TraceContext, trace_context

JSON = "application/json"
EVENTS = "text/event-stream"
_EVENT_LINES = f"content-type: {EVENTS}\r\ncache-control: no-cache\r\n"
_JSON_LINES = f"content-type: {JSON}\r\n"


class Stopwatch:
    """Seconds that we took ourselves, while others were not waited for."""

    __slots__ = ("_clock", "_since", "spent")

    def __init__(self) -> None:
        self._clock = time.perf_counter
        self.spent = 0.0
        self._since = self._clock()

    def start(self) -> None:
        """Goes on."""
        self._since = self._clock()

    def stop(self) -> None:
        """Stops, because from here on others are waited for."""
        self.spent += self._clock() - self._since

    @property
    def now(self) -> float:
        """Seconds so far, while it runs."""
        return self.spent + self._clock() - self._since


class Asked:
    """A call of an app, from its arrival to its answer.

    Attributes:
        request_id: Ours, told to the app.
        request: The app's call.
        shown: How the answer is shown.
        labels: Header lines that say what the call was taken for.
        trace: Where it stands in a distributed trace.
        watch: Time that we took.
    """

    __slots__ = ("labels", "request", "request_id", "shown", "trace", "watch")

    def __init__(
        self, request_id: str, request: AppRequest, *, watch: Stopwatch, traceparent: str = ""
    ) -> None:
        self.request_id = request_id
        self.request = request
        self.watch = watch
        self.trace: TraceContext = trace_context(traceparent, call=request_id[-32:])
        self.shown = Shown(model="")
        self.labels = ""

    def lines(
        self, content_type: str, *, attempts: int = 1, more: Mapping[str, str] | None = None
    ) -> str:
        """Returns the header lines of an answer.

        Args:
            content_type: What the answer is.
            attempts: How often the provider was called for it.
            more: Further headers.
        """
        trace = self.trace
        return (
            f"{_EVENT_LINES if content_type == EVENTS else _JSON_LINES}"
            f"x-request-id: {self.request_id}\r\nx-burnish-request-id: {self.request_id}\r\n"
            f"x-burnish-trace-id: {trace.trace_id}\r\ntraceparent: {trace.traceparent}\r\n"
            f"{self.labels}x-burnish-attempts: {attempts}\r\n"
            f"x-burnish-overhead-ms: {self.watch.now * 1000:.3f}\r\n"
            f"{lines_of(more) if more else ''}"
        )


def lines_of(headers: Mapping[str, str]) -> str:
    """Returns headers as lines."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
