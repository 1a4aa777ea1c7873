"""What an app asked for, and the header lines of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from burnish_interceptor.dialects import AppRequest, Shown
from burnish_interceptor.seen import TraceContext, trace_context

JSON = "application/json"
EVENTS = "text/event-stream"
_EVENT_LINES = f"content-type: {EVENTS}\r\ncache-control: no-cache\r\n"
_JSON_LINES = f"content-type: {JSON}\r\n"


class Asked:
    """A call of an app, from its arrival to its answer.

    It keeps the time that we took ourselves: `wait` when others are waited for from here on,
    `go_on` when they no longer are.

    Attributes:
        request_id: Ours, told to the app.
        body: What the app sent.
        request: The same, parsed.
        shown: How the answer is shown.
        spent: Seconds that we took until the last `wait`.
        labels: Header lines that say what the call was taken for.
        traceparent: Value of that header of the app's; empty when it sent none.
    """

    __slots__ = (
        "_since",
        "body",
        "labels",
        "request",
        "request_id",
        "shown",
        "spent",
        "traceparent",
    )

    request: AppRequest
    shown: Shown

    def __init__(self, request_id: str, body: bytes, traceparent: str = "") -> None:
        self._since = perf_counter()
        self.spent = 0.0
        self.request_id = request_id
        self.body = body
        self.traceparent = traceparent
        self.labels = ""

    def overhead(self, now: float) -> float:
        """Returns the seconds that we took until now, while we do not wait."""
        return self.spent + now - self._since

    @property
    def trace(self) -> TraceContext:
        """Where the call stands in a distributed trace."""
        return trace_context(self.traceparent, call=self.request_id[-32:])

    def wait(self) -> float:
        """Others are waited for from here on; returns the time, in seconds of `perf_counter`."""
        now = perf_counter()
        self.spent += now - self._since
        return now

    def go_on(self) -> float:
        """Nobody is waited for from here on; returns the time, as `wait` does."""
        now = self._since = perf_counter()
        return now

    def lines(
        self, content_type: str, *, attempts: int = 1, more: Mapping[str, str] | None = None
    ) -> str:
        """Returns the header lines of an answer.

        Args:
            content_type: What the answer is.
            attempts: How often the provider was called for it.
            more: Further headers.
        """
        request_id = self.request_id
        trace_id, span_id, flags = request_id[-32:], request_id[-32:-16], "01"
        if self.traceparent:
            trace_id, _, span_id, flags = self.trace
        overhead = self.overhead(perf_counter()) * 1000
        return (
            f"{_EVENT_LINES if content_type == EVENTS else _JSON_LINES}"
            f"x-request-id: {request_id}\r\nx-burnish-request-id: {request_id}\r\n"
            f"x-burnish-trace-id: {trace_id}\r\n"
            f"traceparent: 00-{trace_id}-{span_id}-{flags}\r\n"
            f"{self.labels}x-burnish-attempts: {attempts}\r\n"
            f"x-burnish-overhead-ms: {overhead:.3f}\r\n"
            f"{lines_of(more) if more else ''}"
        )


def lines_of(headers: Mapping[str, str]) -> str:
    """Returns headers as lines."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
