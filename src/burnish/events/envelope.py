"""A job's events as dotted envelopes, the shape that Synth's clients read, and back.

An envelope is `{seq, type, message, data, level, ts, created_at, job_id}`. Its `data` holds the
field names that those clients look for, plus `kind` and `detail`: the event as the API has it, so
that nothing is lost on the way and an envelope can be turned back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from burnish.api.job.v1 import job_event_pb2
from burnish.errors import InvalidArgument
from burnish.events.data import data_of
from burnish.events.names import Generation, dotted_name
from burnish.events.texts import texts_of
from burnish.plain import Plain, from_plain, to_plain

Envelope = dict[str, object]

_LEVELS = {"warning": "warn"}
_LEVELS_BACK = {"warn": "warning"}


def to_envelope(
    event: job_event_pb2.JobEvent,
    *,
    job_id: str,
    algorithm: str = "mipro",
    generation: Generation = 1,
) -> Envelope:
    """Returns an event as an envelope.

    Args:
        event: The event.
        job_id: Id of its job.
        algorithm: Search algorithm; `gepa` has names of its own, every other one those of MIPRO.
        generation: Which of Synth's schemas names it; their data is the same.
    """
    plain = to_plain(event)
    kind = event.WhichOneof("kind") or "unknown"
    detail = cast(Plain, plain.get(kind, {}))
    level = str(plain["level"] or "info")
    return {
        "seq": event.sequence,
        "type": dotted_name(event, algorithm=algorithm, generation=generation),
        "message": event.message,
        "data": {"kind": kind, "detail": detail, **data_of(kind, detail), **texts_of(event)},
        "level": _LEVELS.get(level, level),
        "ts": plain.get("event_time"),
        "created_at": plain.get("event_time"),
        "job_id": job_id,
    }


def from_envelope(envelope: Mapping[str, object]) -> job_event_pb2.JobEvent:
    """Returns the event of an envelope that `to_envelope` made.

    Raises:
        InvalidArgument: It holds no event of this API.
    """
    data = envelope.get("data")
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        raise InvalidArgument(
            f"event `{envelope.get('type')}` has no `data.kind`; it was not made by Burnish",
            reason="EVENT_NOT_OURS",
        )
    level = str(envelope.get("level") or "")
    plain: Plain = {
        "sequence": envelope.get("seq"),
        "message": envelope.get("message"),
        "level": _LEVELS_BACK.get(level, level),
        "event_time": envelope.get("ts"),
        kind: cast(Mapping[str, object], data).get("detail"),
    }
    return from_plain(plain, job_event_pb2.JobEvent())
