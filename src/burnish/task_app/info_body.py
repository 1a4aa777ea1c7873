"""The HTTP bodies that describe a task: written in one shape, read from every published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.task_app.jsonwire import BodyInvalid, first_int, first_number, first_text, section
from burnish.task_app.model import Example, Program, RewardRange, Split, TaskInfo

_COUNT_KEYS = ("seed_count", "size", "num_examples", "num_rows", "count", "total", "length")


def info_body(info: TaskInfo, *, version: str) -> dict[str, Any]:
    """Writes the answer of `/info`."""
    return {
        "service": {"task": _task(info, version=version), "version": version},
        "dataset": _dataset(info),
        "rubrics": info.rubrics,
        "inference": {"supports_inference_url": True},
        "limits": {},
        "stage_ids": list(info.stage_ids),
        "reward_range": [info.reward_range.low, info.reward_range.high],
    }


def taskset_body(info: TaskInfo, *, version: str) -> dict[str, Any]:
    """Writes the answer of `/task_info` without a seed."""
    return {
        "taskset": {
            **_dataset(info),
            "description": info.description,
            "stage_ids": list(info.stage_ids),
            "reward_range": [info.reward_range.low, info.reward_range.high],
            "rubrics": info.rubrics,
        },
        "task": _task(info, version=version),
    }


def seed_body(
    info: TaskInfo, seed: int, *, version: str, example: Example | None
) -> dict[str, Any]:
    """Writes the answer of `/task_info` for one seed."""
    splits = [split.name for split in info.splits if split.start <= seed < split.end]
    body: dict[str, Any] = {
        "task": _task(info, version=version),
        "environment": info.task,
        "dataset": {**_dataset(info), "seed": seed, "split": splits[0] if splits else None},
        "rubric": info.rubrics,
        "inference": {"supports_inference_url": True},
        "limits": {"max_turns": 1},
        "task_metadata": {"seed": seed},
    }
    if example is not None:
        body["example"] = {
            "inputs": dict(example.inputs),
            "output": example.output,
            "answer_messages": [dict(message) for message in example.answer_messages],
        }
    return body


def parse_info(info: Mapping[str, Any], taskset: Mapping[str, Any]) -> TaskInfo:
    """Reads what an app tells about its task.

    Args:
        info: Answer of `/info`; empty when there is none.
        taskset: Answer of `/task_info` without a seed; empty when there is none.

    Raises:
        RewardInvalid: The app tells an empty reward range.
    """
    sources = [
        section(taskset, "taskset"),
        taskset,
        section(taskset, "dataset"),
        section(info, "dataset"),
        section(info, "taskset"),
        info,
    ]
    tasks = [section(info, "service", "task"), section(taskset, "task"), section(info, "task")]
    splits = next((found for source in sources if (found := _splits(source))), ())
    count = first_int(*(source.get(key) for source in sources for key in _COUNT_KEYS))
    if count is None and splits:
        count = max(split.end for split in splits)
    stages: list[object] = next(
        (s["stage_ids"] for s in sources if isinstance(s.get("stage_ids"), list)), []
    )
    task = first_text(
        *(t.get(key) for t in tasks for key in ("id", "name")),
        section(info, "service").get("task"),
        *(source.get(key) for source in sources for key in ("id", "name")),
    )
    return TaskInfo(
        task=task,
        description=first_text(
            *(source.get("description") for source in [*tasks, *sources]),
        ),
        seed_count=count,
        stage_ids=tuple(stage for stage in stages if isinstance(stage, str)),
        splits=splits,
        rubrics=next((s["rubrics"] for s in sources if s.get("rubrics")), None),
        reward_range=next((r for s in sources if (r := _range(s)) is not None), RewardRange()),
    )


def parse_seed_infos(body: object, seeds: Sequence[int]) -> list[Mapping[str, Any]]:
    """Reads `/task_info` for seeds: an object for one, a list in order, or an object by seed.

    Returns:
        One per seed, in the order of `seeds`.

    Raises:
        BodyInvalid: It is none of these shapes, or a seed is missing from it.
    """
    if isinstance(body, list):
        found = list(body)
    elif isinstance(body, Mapping) and all(str(seed) in body for seed in seeds):
        found = [body[str(seed)] for seed in seeds]
    elif isinstance(body, Mapping) and len(seeds) == 1:
        found = [body]
    else:
        raise BodyInvalid(
            "`/task_info` answers neither with an object for one seed, nor a list in seed order, "
            "nor an object by seed that holds every seed asked for"
        )
    if len(found) != len(seeds) or not all(isinstance(item, Mapping) for item in found):
        raise BodyInvalid(
            f"`/task_info` answers with {len(found)} items for {len(seeds)} seeds; "
            "give one object per seed"
        )
    return found


def parse_example(body: Mapping[str, Any], *, seed: int) -> Example | None:
    """Reads the labelled example of one seed's `/task_info`, or None when it has none.

    Raises:
        BodyInvalid: An example is there, but is not an example.
    """
    raw = body.get("example")
    if raw is None:
        return None
    inputs, output, messages = None, None, None
    if isinstance(raw, Mapping):
        inputs, output = raw.get("inputs"), raw.get("output")
        messages = raw.get("answer_messages") or []
    if (
        not isinstance(inputs, Mapping)
        or not all(isinstance(value, str) for value in inputs.values())
        or not isinstance(output, str)
        or not isinstance(messages, list)
        or not all(isinstance(message, Mapping) for message in messages)
    ):
        raise BodyInvalid(
            f"`/task_info?seed={seed}`: `example` is not of the form "
            '{"inputs": {name: text}, "output": text, "answer_messages": [message]}',
            metadata={"seed": str(seed)},
        )
    return Example(inputs=dict(inputs), output=output, answer_messages=messages, seed=seed)


def program_body(program: Program) -> dict[str, Any]:
    """Writes the answer of `/metadata`."""
    return {
        "program_code": program.code,
        "module_path": program.module_path,
        "extraction_method": "declared",
        "description": program.description,
    }


def parse_program(body: Mapping[str, Any]) -> Program | None:
    """Reads the answer of `/metadata`, or None when it tells nothing."""
    program = Program(
        code=first_text(body.get("program_code")),
        module_path=first_text(body.get("module_path")),
        description=first_text(body.get("description")),
    )
    return program if program.code or program.description else None


def _task(info: TaskInfo, *, version: str) -> dict[str, Any]:
    return {
        "id": info.task,
        "name": info.task,
        "version": version,
        "description": info.description,
    }


def _dataset(info: TaskInfo) -> dict[str, Any]:
    return {
        "id": info.task,
        "size": info.seed_count,
        "seed_count": info.seed_count,
        "splits": [
            {"name": split.name, "start": split.start, "end": split.end} for split in info.splits
        ],
    }


def _splits(source: Mapping[str, Any]) -> tuple[Split, ...]:
    raw = source.get("splits")
    found = []
    for item in raw if isinstance(raw, list) else []:
        if not isinstance(item, Mapping):
            continue
        name = first_text(item.get("name"))
        start, end = first_int(item.get("start")), first_int(item.get("end"))
        if name and start is not None and end is not None and 0 <= start <= end:
            found.append(Split(name=name, start=start, end=end))
    return tuple(found)


def _range(source: Mapping[str, Any]) -> RewardRange | None:
    raw = source.get("reward_range")
    if not isinstance(raw, list) or len(raw) != 2:
        return None
    low, high = first_number(raw[0]), first_number(raw[1])
    return None if low is None or high is None else RewardRange(low=low, high=high)
