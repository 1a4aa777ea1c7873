"""Traces column by column, as they are put in: what leaves in one message.

Bodies are compressed a few at a time and let go of. Prompts repeat from call to call, so little is
left of them to keep while the controller is away, and to send. Kept as they came, the bodies of a
quarter of a second would be spread over more memory than a core keeps close, and every call would
feel it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

import orjson
import zstandard

from burnish_interceptor.calls import Problem
from burnish_interceptor.seen import SeenCall, Served

# Beyond this a level costs more time than it saves: bodies repeat as a whole, or hardly.
_LEVEL = -5
_NO_USAGE = (-1, -1)
_NOT_COMPARED = -1.0


class Packed:
    """Bodies one after another, compressed.

    Attributes:
        frames: All of them, many to a frame.
        lengths: Bytes of each before it was compressed.
        size: Bytes of the frames.
    """

    __slots__ = ("frames", "lengths", "size")
    _compress = zstandard.ZstdCompressor(level=_LEVEL).compress

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lengths = array("i")
        self.size = 0

    def extend(self, bodies: Sequence[bytes]) -> None:
        """Takes more of them."""
        # Copied, because what the compressor gives holds on to the room it was given: as much as
        # the bodies took.
        frame = bytes(memoryview(self._compress(b"".join(bodies))))
        self.frames.append(frame)
        self.lengths.extend(map(len, bodies))
        self.size += len(frame)


class TraceBatch:
    """The traces of some calls, in the order in which they were put in.

    Attributes:
        served: What calls have in common, with its position in `shared_indexes`.
        problems: Why there is no usable answer, by position of the call.
    """

    __slots__ = (
        "_kept",
        "app_requests",
        "bindings",
        "call_ids",
        "first_byte_latencies",
        "input_tokens",
        "latencies",
        "match_ratios",
        "output_tokens",
        "overheads",
        "problems",
        "provider_request_hashes",
        "provider_requests",
        "replies",
        "reply_statuses",
        "rollout_ids",
        "served",
        "shared_indexes",
        "start_times",
        "streams",
        "trace_ids",
    )

    def __init__(self, provider_request: str = "off") -> None:
        """Starts empty.

        Args:
            provider_request: What is kept of the bodies that providers were sent: their `hash`,
                `full` or `off`.
        """
        self._kept = provider_request
        self.served: dict[Served, int] = {}
        self.shared_indexes: list[int] = []
        self.call_ids: list[str] = []
        self.rollout_ids: list[str] = []
        self.trace_ids: list[str] = []
        self.app_requests, self.provider_requests = Packed(), Packed()
        self.replies, self.bindings = Packed(), Packed()
        self.provider_request_hashes: list[bytes] = []
        self.reply_statuses: list[int] = []
        self.streams: list[bool] = []
        self.start_times: list[float] = []
        self.latencies: list[float] = []
        self.first_byte_latencies: list[float] = []
        self.overheads: list[float] = []
        self.input_tokens: list[int] = []
        self.output_tokens: list[int] = []
        self.match_ratios: list[float] = []
        self.problems: dict[int, Problem] = {}

    def __len__(self) -> int:
        """Returns how many calls it holds."""
        return len(self.call_ids)

    @property
    def body_bytes(self) -> int:
        """Bytes that their bodies take."""
        kept = self.app_requests, self.provider_requests, self.replies, self.bindings
        return sum(one.size for one in kept)

    def extend(self, calls: Sequence[SeenCall]) -> None:
        """Takes more calls; column by column, which costs a third of one by one."""
        if not calls:
            return
        before = len(self.call_ids)
        (
            served, call_ids, rollout_ids, _, start_times, latencies, first_byte_latencies,
            overheads, app_requests, provider_requests, replies, reply_statuses, streams, usages,
            problems, match_ratios, traceparents, bindings,
        ) = zip(*calls, strict=True)  # fmt: skip
        places = self.served
        self.shared_indexes.extend([places.setdefault(one, len(places)) for one in served])
        self.call_ids.extend(call_ids)
        self.rollout_ids.extend(rollout_ids)
        self.start_times.extend(start_times)
        self.latencies.extend(latencies)
        self.first_byte_latencies.extend(first_byte_latencies)
        self.overheads.extend(overheads)
        self.app_requests.extend(app_requests)
        if self._kept == "full":
            self.provider_requests.extend(provider_requests)
        elif self._kept == "hash":
            self.provider_request_hashes.extend(map(_hash, provider_requests))
        self.replies.extend(replies)
        self.reply_statuses.extend(reply_statuses)
        self.streams.extend(streams)
        read, written = zip(*[usage or _NO_USAGE for usage in usages], strict=True)
        self.input_tokens.extend(read)
        self.output_tokens.extend(written)
        self.match_ratios.extend([_NOT_COMPARED if one is None else one for one in match_ratios])
        self.bindings.extend([orjson.dumps(one) if one else b"" for one in bindings])
        if any(problems):
            self._note(before, problems)
        if self.trace_ids or any(traceparents):
            self._name_traces(calls)

    def _note(self, before: int, problems: Sequence[Problem | None]) -> None:
        """Takes why calls have no usable answer."""
        for position, problem in enumerate(problems, before):
            if problem is not None:
                self.problems[position] = problem

    def _name_traces(self, calls: Sequence[SeenCall]) -> None:
        """Takes the calls' traces, and those of the calls before that were not worth a column."""
        if not self.trace_ids:
            before = self.call_ids[: len(self) - len(calls)]
            self.trace_ids = [call_id[-32:] for call_id in before]
        self.trace_ids.extend([call.trace.trace_id for call in calls])


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() if body else b""
