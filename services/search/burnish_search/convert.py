"""Between protobuf and the engine; with `convert_log`, all of the service that sees both."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from google.protobuf import json_format, struct_pb2

from burnish import tradeoffs
from burnish.api.search.v1 import search_service_pb2 as search_v1
from burnish.api.types.v1 import candidate_pb2, model_pb2, rollout_pb2
from burnish_search.features import Features
from burnish_search.model import (
    Candidate,
    Cell,
    Component,
    Estimate,
    Kind,
    Observation,
    Pool,
    Ranked,
    StudySpec,
)
from burnish_search.problems import ChangeInvalid
from burnish_search.study import Study

_MOST_SEEDS = 1_000_000
_MOST_STAGES = 64
_MOST_TOLD = 10_000
_KIND_BY_PREFIX = {"ins_": Kind.INSTRUCTION, "dem_": Kind.DEMO_SET}


def study_spec(study: search_v1.Study) -> tuple[StudySpec, list[str]]:
    """Reads what a study is created with, and every problem of it but its settings'."""
    problems: list[str] = []
    stage_ids = tuple(study.stage_ids)
    if not stage_ids or len(stage_ids) > _MOST_STAGES:
        problems.append(f"`stage_ids` has {len(stage_ids)} stages; give 1 to {_MOST_STAGES}")
    if len(set(stage_ids)) < len(stage_ids) or "" in stage_ids:
        problems.append("`stage_ids` holds an empty or a repeated stage; each must be named once")
    unknown = sorted(set(study.written_stage_ids) - set(stage_ids))
    if unknown:
        problems.append(f"`written_stage_ids` has {unknown}, which are none of `stage_ids`")
    if study.max_cell_count < 0:
        problems.append(
            f"`max_cell_count` is {study.max_cell_count}; give at least 1, or 0 for none"
        )
    spec = StudySpec(
        name=study.name,
        algorithm=study.algorithm,
        settings=settings(study.settings),
        random_seed=study.random_seed,
        stage_ids=stage_ids,
        online=_seeds("online_pool", study.online_pool, problems),
        validation=_seeds("validation_pool", study.validation_pool, problems),
        max_cell_count=study.max_cell_count or None,
        written_stage_ids=tuple(study.written_stage_ids),
    )
    return spec, problems


def settings(struct: struct_pb2.Struct) -> Mapping[str, object]:
    """Returns a struct as JSON values."""
    values: dict[str, object] = json_format.MessageToDict(struct)
    return values


def study(message: search_v1.Study, held: Study) -> search_v1.Study:
    """Returns a study as it was given, with what is output only."""
    answer = search_v1.Study()
    answer.CopyFrom(message)
    answer.revision = held.revision
    answer.state = search_v1.StudyState.ValueType(held.state)
    return answer


def components(name: str, messages: Iterable[candidate_pb2.Component]) -> list[Component]:
    """Reads components; their text may be left out."""
    problems: list[str] = []
    read = []
    for message in messages:
        kind = _kind(message)
        if kind is None:
            problems.append(
                f"component `{message.component_id}` is neither an instruction nor a demo set; set "
                "its content, or give it an id that begins with `ins_` or `dem_`"
            )
            continue
        read.append(
            Component(
                component_id=message.component_id,
                stage_id=message.stage_id,
                kind=kind,
                baseline=message.source == candidate_pb2.COMPONENT_SOURCE_BASELINE,
                zero_shot=message.source == candidate_pb2.COMPONENT_SOURCE_ZERO_SHOT,
                features=_features(message),
            )
        )
    if problems:
        raise ChangeInvalid(name, problems)
    return read


def observations(name: str, messages: Sequence[rollout_pb2.Observation]) -> list[Observation]:
    """Reads observations; a failure is a missing measurement."""
    problems: list[str] = []
    if len(messages) > _MOST_TOLD:
        problems.append(f"{len(messages)} observations in one call; send at most {_MOST_TOLD}")
    read = []
    for place, message in enumerate(messages):
        outcome = message.WhichOneof("outcome")
        pool = pool_of(message.cell.pool)
        if outcome is None:
            problems.append(f"observation {place} has no outcome; set `reward` or `failure`")
        elif pool is None:
            problems.append(
                f"observation {place} is of pool {message.cell.pool}; a search is told of the "
                "bootstrap, online and validation pools only"
            )
        else:
            read.append(
                Observation(
                    cell=cell_of(message.cell, pool),
                    reward=message.reward if outcome == "reward" else None,
                    costs=_costs(message),
                    predicted=message.predicted,
                )
            )
    if problems:
        raise ChangeInvalid(name, problems[:20])
    return read


def candidate(chosen: Candidate) -> candidate_pb2.Candidate:
    """Returns a candidate as a message."""
    message = candidate_pb2.Candidate()
    write_candidate(message, chosen)
    return message


def write_candidate(message: candidate_pb2.Candidate, chosen: Candidate) -> None:
    """Writes a candidate into a message that is empty."""
    message.candidate_id = chosen.candidate_id
    pairs = zip(chosen.choices[0::2], chosen.choices[1::2], strict=True)
    for stage_id, (instruction, demo_set) in zip(chosen.stage_ids, pairs, strict=True):
        choice = message.stages[stage_id]
        choice.instruction_id, choice.demo_set_id = instruction, demo_set


def ranked(entry: Ranked) -> search_v1.RankedCandidate:
    """Returns a ranked candidate as a message."""
    return search_v1.RankedCandidate(
        candidate=candidate(entry.candidate),
        pooled=_estimate(entry.pooled),
        validation=None if entry.validation is None else _estimate(entry.validation),
        baseline=entry.baseline,
        objectives={name: _estimate(mean) for name, mean in entry.objectives.items()},
        standing=candidate_pb2.Standing.ValueType(entry.standing or 0),
        expected=None if entry.expected is None else _estimate(entry.expected),
    )


def _estimate(value: Estimate) -> rollout_pb2.Estimate:
    return rollout_pb2.Estimate(**fields_of(value, Estimate))


def fields_of(value: object, kind: type) -> dict[str, Any]:
    """Returns what a value holds by the names of a data class, which are those of the message."""
    return {one.name: getattr(value, one.name) for one in fields(kind)}


def _features(message: candidate_pb2.Component) -> Features | None:
    if not message.HasField("features"):
        return None
    return Features(
        character_count=message.features.character_count,
        demo_count=message.features.demo_count,
        format_reminder=message.features.format_reminder,
    )


def _costs(message: rollout_pb2.Observation) -> tuple[tuple[str, float], ...]:
    known = dict(message.objectives)
    if message.HasField("cost_usd"):
        known[tradeoffs.COST_USD] = message.cost_usd
    return tuple(sorted(known.items()))


def cell_of(message: rollout_pb2.Cell, pool: Pool) -> Cell:
    """Reads a cell of a pool."""
    return Cell(
        candidate_id=message.candidate_id,
        pool=pool,
        seed=message.seed,
        repeat=message.repeat,
        fidelity=message.fidelity,
    )


def pool_of(value: int) -> Pool | None:
    """Returns a pool; None for one that a search does not know."""
    return Pool(value) if value in list(Pool) else None


def _kind(message: candidate_pb2.Component) -> Kind | None:
    match message.WhichOneof("content"):
        case "instruction":
            return Kind.INSTRUCTION
        case "demo_set":
            return Kind.DEMO_SET
    return _KIND_BY_PREFIX.get(message.component_id[:4])


def _seeds(field: str, pool: model_pb2.SeedPool, problems: list[str]) -> tuple[int, ...]:
    ranges = [range(one.start, one.end, one.step or 1) for one in pool.ranges if one.step >= 0]
    if len(ranges) < len(pool.ranges):
        problems.append(f"`{field}` has a range whose step is negative; give at least 1")
    count = len(pool.seeds) + sum(map(len, ranges))
    if count > _MOST_SEEDS:
        problems.append(f"`{field}` has {count} seeds; give at most {_MOST_SEEDS}")
        return ()
    seeds = tuple(itertools.chain(pool.seeds, *ranges))
    if len(set(seeds)) < len(seeds):
        repeated = len(seeds) - len(set(seeds))
        problems.append(f"`{field}` repeats {repeated} of its seeds; name each once")
    return seeds
