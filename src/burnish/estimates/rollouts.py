"""How many rollouts each phase of a job takes, as far as its specification tells."""

from __future__ import annotations

import math

from google.protobuf.json_format import MessageToDict

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.types.v1 import model_pb2
from burnish.estimates.figures import Range
from burnish.gepa_plan import GEPA, GepaPlan, plan_of

CHEAP = "proxy"
_LEARNING = 8
_BATCH = 32
_ITERATIONS = 20
_TRIALS_PER_ITERATION = 5
_FULL_EVERY = 5
_TOP = 2
_PRESETS = {"light": 6, "medium": 12, "heavy": 18}
_PRESET_BATCH = 35


def rollouts_of(spec: job_spec_pb2.JobSpec) -> dict[str, Range]:
    """Returns the rollouts by phase.

    The search may end early: by its target, without improvement, or with nothing left to try; so
    its low end is one minibatch.
    """
    offline = spec.offline
    baseline = pool_size(offline.validation_pool)
    cap = spec.budget.max_rollouts
    learning = _learning(spec, baseline=baseline)
    bootstrap = pool_size(offline.bootstrap_pool)
    planned = search_rollouts(spec, validation=baseline)
    if cap:
        room = max(0, cap - baseline - learning)
        bootstrap = min(bootstrap, room * 2 // 3)
        planned = min(planned, room - bootstrap)
    test = pool_size(offline.test_pool)
    cheap = {}
    if spec.HasField("proxy"):
        # At worst both models run every minibatch; a cap counts the rollouts of both.
        most = _trials(spec) * _whole(spec, "batch_size", _BATCH)
        cheap[CHEAP] = Range(low=0, high=min(most, planned) if cap else most)
    return {
        "baseline": Range(low=baseline, high=baseline),
        # A baseline that is not given is learnt from rollouts of the bootstrap's.
        "bootstrap": Range(low=bootstrap, high=bootstrap + learning),
        "search": Range(low=min(planned, _least(spec)), high=planned),
        # The baseline alone is tested when it wins.
        "test": Range(low=test, high=2 * test),
        **cheap,
    }


def search_rollouts(spec: job_spec_pb2.JobSpec, *, validation: int) -> int:
    """Returns the most rollouts that the search's settings ask for."""
    plan = gepa_plan(spec)
    if plan is not None:
        return plan.rollouts(validation=validation)
    screened = spec.proposer.meta_update.screen_row_count
    screens = rounds(spec) * spec.proposer.instruction_count * _stages(spec) * 2 * screened
    top, most = _whole(spec, "top_k", _TOP), spec.budget.max_trials
    if is_race(spec):
        # However many trials it is cut into; and a last look at the best where that has rows left.
        planned = _planned_trials(spec) * _whole(spec, "batch_size", _BATCH)
        top = min(top, most // 2) if most else top
        checked = 0 if _setting(spec, "minibatch_source") == "validation" else top * validation
        return _whole(spec, "max_evaluations", planned) + checked + screens
    trials, every = _trials(spec), _whole(spec, "full_eval_every_k", _FULL_EVERY)
    full = trials // max(1, every) + top
    return trials * _whole(spec, "batch_size", _BATCH) + full * validation + screens


def gepa_plan(spec: job_spec_pb2.JobSpec) -> GepaPlan | None:
    """Returns what a job of GEPA's settings ask for; None for another algorithm's."""
    if spec.algorithm != GEPA:
        return None
    return plan_of(
        MessageToDict(spec.algorithm_settings),
        online=pool_size(spec.offline.online_pool),
        stages=sum(stage.optimise_instruction for stage in spec.stages) if spec.stages else 1,
    )


def is_race(spec: job_spec_pb2.JobSpec) -> bool:
    """Whether the race searches."""
    return spec.algorithm == "mipro" and _setting(spec, "engine") == "race"


def rounds(spec: job_spec_pb2.JobSpec) -> int:
    """Returns how many times the proposer is asked."""
    given = MessageToDict(spec.algorithm_settings).get("generate_at_iterations", [0])
    found = {int(one) for one in given}
    return len(found - {0}) if spec.proposer.later_rounds_only else len(found | {0})


def pool_size(pool: model_pb2.SeedPool) -> int:
    """Returns how many seeds a pool has."""
    ranged = sum(len(range(one.start, one.end, one.step or 1)) for one in pool.ranges)
    return len(pool.seeds) + ranged


def _least(spec: job_spec_pb2.JobSpec) -> int:
    """Returns the rows of one minibatch."""
    plan = gepa_plan(spec)
    return _whole(spec, "batch_size", _BATCH) if plan is None else plan.minibatch


def _learning(spec: job_spec_pb2.JobSpec, *, baseline: int) -> int:
    """Returns the rollouts that a baseline is learnt from; none when every prompt is given."""
    if spec.stages and all(stage.template.messages for stage in spec.stages):
        return 0
    known = pool_size(spec.offline.bootstrap_pool) or pool_size(spec.offline.online_pool)
    count = min(_LEARNING, known)
    if spec.budget.max_rollouts:
        count = min(count, max(2, (spec.budget.max_rollouts - baseline) // 4))
    return count


def _trials(spec: job_spec_pb2.JobSpec) -> int:
    trials = _planned_trials(spec)
    return min(trials, spec.budget.max_trials) if spec.budget.max_trials else trials


def _planned_trials(spec: job_spec_pb2.JobSpec) -> int:
    per_iteration = _whole(spec, "num_evaluations_per_iteration", _TRIALS_PER_ITERATION)
    trials = _whole(spec, "num_trials", _whole(spec, "num_iterations", _ITERATIONS) * per_iteration)
    options = _PRESETS.get(str(_setting(spec, "auto")))
    if options is not None:
        slots = 2 * _stages(spec)
        trials = int(max(2 * slots * math.log2(options), 1.5 * options))
    return trials


def _stages(spec: job_spec_pb2.JobSpec) -> int:
    return max(1, len(spec.stages))


def _whole(spec: job_spec_pb2.JobSpec, key: str, default: int) -> int:
    if key == "batch_size" and _setting(spec, "auto") in _PRESETS:
        default = _PRESET_BATCH
    value = _setting(spec, key)
    return int(value) if isinstance(value, int | float) else default


def _setting(spec: job_spec_pb2.JobSpec, key: str) -> object:
    return MessageToDict(spec.algorithm_settings).get(key)
