"""Rollouts and traces that were saved, read for scoring: one or many in a file, in any known form.

A file is JSON, or JSON lines with one value each. A value is a session trace (whole, compact, or
wrapped in `session_trace`), a rollout of `burnish job rollouts --json`, a table with `output` and
what else is known, or a model call of `burnish eval`, of which those of one rollout make a trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from burnish import trace_v3
from burnish.api.trace.v1 import trace_service_pb2
from burnish.api.types.v1 import rollout_pb2
from burnish.errors import InvalidArgument
from burnish.plain import from_plain
from burnish.texts import is_whole, json_bytes

_EMPTY_TRACE: Final = json.dumps(
    {"schema_version": trace_v3.SCHEMA_VERSION, "event_history": [], "metadata": {}}
).encode()
_MAX_BYTES: Final = 256 * 1024 * 1024
_TRACES: Final = ("session_trace", "trace")
_IDS: Final = ("rollout_id", "id", "session_id", "trace_correlation_id")
_LABELS: Final = ("label", "gold_reward", "gold_score", "outcome_reward")
_WANTED: Final = ("reference", "expected", "wanted")


class RolloutFileInvalid(InvalidArgument):
    """A file that holds no rollouts; the message names every fault. Do not retry."""

    default_reason = "ROLLOUT_FILE_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRollout:
    """A rollout that was saved.

    Attributes:
        rollout_id: Its id; its place in the file when it tells none.
        output: The app's output as JSON (UTF-8); empty when there is none.
        reference: What was wanted, as JSON (UTF-8); empty when it is not told.
        environment_reward: The app's own reward, in [0, 1]; None when there is none.
        session_trace: Its calls as JSON (UTF-8) of trace format 3; empty when they are not told.
        label: The reward that it deserves, by somebody's judgement; None when it has none.
        of_job: Whether it ran in a job, so that the suite of that job has its trace.
    """

    rollout_id: str
    output: bytes = field(default=b"", repr=False)
    reference: bytes = field(default=b"", repr=False)
    environment_reward: float | None = None
    session_trace: bytes = field(default=b"", repr=False)
    label: float | None = None
    of_job: bool = False

    @property
    def message(self) -> rollout_pb2.RolloutResult:
        """The rollout as it is sent to be scored."""
        return rollout_pb2.RolloutResult(
            rollout_id=self.rollout_id,
            output=self.output,
            reference=self.reference,
            environment_reward=self.environment_reward,
        )

    @property
    def length(self) -> int:
        """Characters of what a judge is shown."""
        return len((self.output + self.session_trace).decode("utf-8", errors="replace"))


def session_traces(rollouts: Sequence[SavedRollout]) -> dict[str, bytes]:
    """Returns the trace of each rollout by id: an empty one where no calls were saved.

    Traces of a job's rollouts that were not saved are left to the suite.
    """
    return {
        one.rollout_id: one.session_trace or _EMPTY_TRACE
        for one in rollouts
        if one.session_trace or not one.of_job
    }


def load_rollouts(path: Path) -> list[SavedRollout]:
    """Reads the rollouts in a file.

    Raises:
        RolloutFileInvalid: There is no such file, or not everything in it is a rollout.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RolloutFileInvalid(f"`{path.name}` has over {_MAX_BYTES} bytes; cut it in parts")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RolloutFileInvalid(f"`{path}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise RolloutFileInvalid(f"`{path.name}` is no UTF-8; save it as UTF-8") from None
    problems: list[str] = []
    values = list(_values(text, problems))
    found = read_rollouts(values, problems)
    if problems or not found:
        told = "; ".join(problems[:20]) or "it holds no rollout"
        raise RolloutFileInvalid(
            f"`{path.name}`: {told}", metadata={"problems": str(max(1, len(problems)))}
        )
    return found


def read_rollouts(values: Sequence[object], problems: list[str]) -> list[SavedRollout]:
    """Reads values as rollouts, and tells what is wrong with those that are none.

    Args:
        values: Each one rollout, or one call of a rollout.
        problems: Told of faults, a line each.
    """
    found: dict[str, SavedRollout] = {}
    calls: dict[str, list[Mapping[str, Any]]] = {}
    for place, value in enumerate(values, start=1):
        if not isinstance(value, Mapping):
            problems.append(f"value {place} is {type(value).__name__}; give a table")
        elif "call_id" in value and "call" in value:
            calls.setdefault(str(value.get("rollout_id") or place), []).append(value)
        else:
            one = _rollout(value, place, problems)
            if one.rollout_id in found:
                problems.append(
                    f"value {place} is `{one.rollout_id}` again; name each rollout once"
                )
            found[one.rollout_id] = one
    for rollout_id, traces in calls.items():
        # The trace of a rollout may stand beside what else is told of it.
        known = found.get(rollout_id, SavedRollout(rollout_id=rollout_id))
        found[rollout_id] = _completed(known, _session(rollout_id, traces, problems))
    for rollout_id in found:
        if not is_whole(rollout_id):
            problems.append(f"the id {rollout_id!a} has half of a character; give another")
    return list(found.values())


def _values(text: str, problems: list[str]) -> Iterator[object]:
    try:
        whole = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        yield from _lines(text, problems)
        return
    if isinstance(whole, Mapping) and isinstance(whole.get("rollouts"), list):
        yield from whole["rollouts"]
    elif isinstance(whole, list):
        yield from whole
    else:
        yield whole


def _lines(text: str, problems: list[str]) -> Iterator[object]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number} is no JSON ({error})")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _rollout(value: Mapping[str, Any], place: int, problems: list[str]) -> SavedRollout:
    trace = next((value[key] for key in _TRACES if isinstance(value.get(key), Mapping)), None)
    if trace is None and "event_history" in value:
        trace = value
    metadata = value.get("metadata")
    names = [value.get(key) for key in _IDS]
    names += [metadata.get(key) for key in _IDS] if isinstance(metadata, Mapping) else []
    name = next((text for text in names if isinstance(text, str) and text), str(place))
    # A rollout of the API has its JSON as text; in a file by hand a text is just that.
    as_text = "cell" in value
    reward = value.get("reward")
    own = value.get("environment_reward", reward if isinstance(reward, int | float) else None)
    found = SavedRollout(
        rollout_id=name,
        of_job=as_text,
        output=_json(value.get("output"), as_text=as_text),
        reference=_json(
            next((value[key] for key in _WANTED if value.get(key) is not None), None),
            as_text=as_text,
        ),
        environment_reward=_unit(own, f"value {place}: the reward", problems),
        label=_unit(
            next((value[key] for key in _LABELS if key in value), None),
            f"value {place}: the label",
            problems,
        ),
    )
    found = found if trace is None else _completed(found, trace)
    if not found.output and not found.session_trace:
        problems.append(f"value {place} has neither an `output` nor a trace")
    return found


def _completed(rollout: SavedRollout, trace: Mapping[str, Any]) -> SavedRollout:
    """Returns a rollout with its trace; without an output, the last answer is its output."""
    found = replace(rollout, session_trace=json_bytes(json.dumps(trace, ensure_ascii=False)))
    if found.output:
        return found
    answer = last_answer(trace)
    return found if answer is None else replace(found, output=json.dumps(answer).encode())


def last_answer(trace: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Returns the last answer of a trace: JSON, text or tool calls; None when there is none."""
    events = trace.get("event_history")
    for event in reversed(events if isinstance(events, list) else []):
        if not isinstance(event, Mapping):
            continue
        records = event.get("call_records")
        if isinstance(records, list) and records and isinstance(records[-1], Mapping):
            text, tools = records[-1].get("output_text"), records[-1].get("output_tool_calls")
        else:
            response = event.get("llm_response")
            message = response.get("message") if isinstance(response, Mapping) else None
            if not isinstance(message, Mapping):
                continue
            text, tools = message.get("content"), message.get("tool_calls")
        if isinstance(text, str) and text:
            return _parsed(text)
        if tools:
            return tools
    return None


def _session(
    rollout_id: str, calls: Sequence[Mapping[str, Any]], problems: list[str]
) -> Mapping[str, Any]:
    traces = []
    for call in calls:
        try:
            traces.append(from_plain(call, trace_service_pb2.Trace()))
        except (AttributeError, KeyError, TypeError, ValueError):
            problems.append(f"a call of `{rollout_id}` is not as `burnish eval` writes it")
    traces.sort(key=lambda one: one.call.start_time.ToNanoseconds())
    return trace_v3.session(rollout_id, traces)


def _parsed(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _json(value: object, *, as_text: bool) -> bytes:
    if value is None or (as_text and value == ""):
        return b""
    if as_text and isinstance(value, str):
        return json_bytes(value)
    return json_bytes(json.dumps(value, ensure_ascii=False))


def _unit(value: object, what: str, problems: list[str]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        problems.append(f"{what} is {value!r}; give a number in [0, 1]")
        return None
    return float(value)
