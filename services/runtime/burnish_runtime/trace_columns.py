"""Traces out of columns, as interceptors write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import accumulate, pairwise

import zstandard
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.errors import InvalidArgument

_MAX_SECONDS = 253_402_300_799
_BILLION = 1_000_000_000
_MILLION = 1e6
_MAX_BYTES = 8 * 1024 * 1024
_EVENTS = "text/event-stream"
_JSON = "application/json"
_JOINED = ("app_requests", "provider_requests", "replies", "bindings")


class ColumnsUneven(InvalidArgument):
    """Columns that do not tell the same calls. Never valid; do not retry."""

    default_reason = "COLUMNS_UNEVEN"


class BodiesUnreadable(InvalidArgument):
    """Compressed bodies that cannot be unpacked. Never valid; do not retry."""

    default_reason = "BODIES_UNREADABLE"


def traces(columns: trace_v1.TraceColumns) -> list[trace_v1.Trace]:
    """Returns the traces of all calls, in order.

    Raises:
        ColumnsUneven: A column has another length, or a position leads nowhere.
        BodiesUnreadable: Bodies do not unpack.
    """
    joined = {name: _unpacked(name, getattr(columns, name)) for name in _JOINED}
    _check(columns, joined)
    bodies = _Bodies(
        **{name: _parts(whole, getattr(columns, name).lengths) for name, whole in joined.items()}
    )
    return [_trace(columns, bodies, position) for position in range(len(columns.call_ids))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bodies:
    """The bodies of all calls, each by itself."""

    app_requests: Sequence[bytes]
    provider_requests: Sequence[bytes]
    replies: Sequence[bytes]
    bindings: Sequence[bytes]


def _trace(columns: trace_v1.TraceColumns, bodies: _Bodies, position: int) -> trace_v1.Trace:
    shared = columns.shared[columns.shared_indexes[position]]
    found = trace_v1.Trace()
    found.CopyFrom(shared.trace)
    found.call_id = columns.call_ids[position]
    found.rollout_id = columns.rollout_ids[position]
    found.trace_id = columns.trace_ids[position] if columns.trace_ids else found.call_id[-32:]
    _set(found.overhead, columns.overheads[position])
    if columns.match_ratios[position] >= 0:
        found.match_ratio = columns.match_ratios[position]
    if columns.provider_request_hashes:
        found.provider_request_hash = columns.provider_request_hashes[position]
    if position in columns.failures:
        found.failure.CopyFrom(columns.failures[position])
    _fill_call(found, columns, bodies, position)
    _fill_usage(found, shared, columns, position)
    return found


def _fill_call(
    found: trace_v1.Trace, columns: trace_v1.TraceColumns, bodies: _Bodies, position: int
) -> None:
    call = found.call
    call.app_request = bodies.app_requests[position]
    if bodies.provider_requests:
        call.provider_request = bodies.provider_requests[position]
    _set(call.start_time, columns.start_times[position])
    _set(call.latency, columns.latencies[position])
    _set(call.first_byte_latency, columns.first_byte_latencies[position])
    for name, value in _bindings(bodies.bindings[position]).items():
        call.bindings[name] = value
    if columns.reply_statuses[position]:
        found.reply.status = columns.reply_statuses[position]
        found.reply.content_type = _EVENTS if columns.streams[position] else _JSON
        found.reply.body = bodies.replies[position]


def _fill_usage(
    found: trace_v1.Trace,
    shared: trace_v1.SharedTrace,
    columns: trace_v1.TraceColumns,
    position: int,
) -> None:
    read, written = columns.input_tokens[position], columns.output_tokens[position]
    if read < 0 or written < 0:
        return
    found.usage.input_tokens = read
    found.usage.output_tokens = written
    found.usage.call_count = 1
    if shared.HasField("price"):
        price = shared.price
        dollars = read * price.input_usd_per_million + written * price.output_usd_per_million
        found.usage.cost_usd = dollars / _MILLION


def _check(columns: trace_v1.TraceColumns, joined: Mapping[str, bytes]) -> None:
    count = len(columns.call_ids)
    whole: dict[str, Sized] = {
        "shared_indexes": columns.shared_indexes,
        "rollout_ids": columns.rollout_ids,
        "app_requests": columns.app_requests.lengths,
        "replies": columns.replies.lengths,
        "reply_statuses": columns.reply_statuses,
        "streams": columns.streams,
        "start_times": columns.start_times,
        "latencies": columns.latencies,
        "first_byte_latencies": columns.first_byte_latencies,
        "overheads": columns.overheads,
        "input_tokens": columns.input_tokens,
        "output_tokens": columns.output_tokens,
        "match_ratios": columns.match_ratios,
        "bindings": columns.bindings.lengths,
    }
    optional: dict[str, Sized] = {
        "provider_requests": columns.provider_requests.lengths,
        "provider_request_hashes": columns.provider_request_hashes,
        "trace_ids": columns.trace_ids,
    }
    uneven = [name for name, column in whole.items() if len(column) != count]
    uneven += [name for name, column in optional.items() if len(column) not in (0, count)]
    uneven += [name for name in _JOINED if not _fits(joined[name], getattr(columns, name).lengths)]
    places = len(columns.shared)
    if not all(0 <= index < places for index in columns.shared_indexes):
        uneven.append("shared")
    if uneven:
        raise ColumnsUneven(
            f"`columns` tells {count} calls by `call_ids`, and another number by "
            f"{', '.join(uneven)}; give one value per call, and the length of each joined body",
            metadata={"columns": ", ".join(uneven)},
        )


def _unpacked(name: str, bodies: trace_v1.JoinedBodies) -> bytes:
    """Returns the bodies of a column; of compressed ones no byte beyond what is allowed."""
    if not bodies.zstd:
        return bodies.joined
    frames = zstandard.ZstdDecompressor().stream_reader(bodies.zstd, read_across_frames=True)
    try:
        found = frames.read(_MAX_BYTES + 1)
    except zstandard.ZstdError as error:
        raise BodiesUnreadable(
            f"`columns.{name}.zstd` does not unpack ({error}); give frames of Zstandard"
        ) from None
    if len(found) > _MAX_BYTES:
        raise BodiesUnreadable(
            f"`columns.{name}.zstd` unpacks to more than {_MAX_BYTES} bytes; send fewer traces"
        )
    return found


def _fits(joined: bytes, lengths: Sequence[int]) -> bool:
    return min(lengths, default=0) >= 0 and sum(lengths) == len(joined)


def _parts(joined: bytes, lengths: Sequence[int]) -> list[bytes]:
    ends = list(accumulate(lengths, initial=0))
    return [joined[start:end] for start, end in pairwise(ends)]


def _bindings(body: bytes) -> dict[str, str]:
    if not body:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _set(message: Timestamp | Duration, seconds: float) -> None:
    # A time that no message can hold is a sender's fault, and not worth a trace.
    if not 0 <= seconds < _MAX_SECONDS:
        return
    whole = int(seconds)
    message.seconds = whole
    message.nanos = int((seconds - whole) * _BILLION)
