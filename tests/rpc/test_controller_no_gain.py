"""Why a job found no gain, one job by a real search for each cause that there can be."""

import random
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.report import render_report
from burnish.results import outcome, snapshot
from burnish_controller.testing import World, small_job
from burnish_search.algorithms.base import Algorithm
from burnish_search.algorithms.engines import MiproEngines
from burnish_search.servicer import SearchServicer
from burnish_search.studies import Studies

INSTRUCTIONS = 5
WEIGHTS = types_v1.RewardWeights(environment=0.5, outcome=0.5)


def luck(*key: object) -> float:
    """A number in [0, 1) that is the same for the same key."""
    return random.Random(repr(key)).random()


def saturated(text: str, seed: int) -> float:
    return float(luck("row", seed) < 0.97)


def never_failed(text: str, seed: int) -> float:
    return 0.85 + 0.1 * luck("row", seed)


def alike(text: str, seed: int) -> float:
    return float(luck("row", seed) < 0.6)


def hardly_better(text: str, seed: int) -> float:
    return float(luck(text, seed) < (0.6 if "Better" in text else 0.55))


def job(engine: str, **fields: object) -> job_v1.JobSpec:
    """A job whose search is a real one, with rows enough to say something."""
    spec = small_job(**fields)
    spec.algorithm = "mipro"
    spec.algorithm_settings.update(
        {"engine": engine, "num_iterations": 6, "num_evaluations_per_iteration": 4, "batch_size": 8}
    )
    spec.proposer.instruction_count = INSTRUCTIONS
    for name, rows in (
        ("bootstrap", range(8)),
        ("online", range(10, 60)),
        ("validation", range(60, 90)),
        ("test", range(100, 160)),
    ):
        getattr(spec.offline, f"{name}_pool").seeds[:] = rows
    spec.promotion.min_probability = 0.95
    return spec


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    running = World(tmp_path)
    studies: Studies[search_v1.Study] = Studies({"mipro": cast(type[Algorithm], MiproEngines)})
    running.search = SearchServicer(studies)  # type: ignore[assignment]
    async with running:
        yield running


async def causes(world: World, spec: job_v1.JobSpec) -> dict[str, str]:
    """Returns what a job gives as reasons, as its report does, too."""
    await world.create(spec)
    await world.finished()
    result = await world.result()
    ended = await world.job()
    assert ended.state == job_v1.JOB_STATE_SUCCEEDED, ended.failure
    assert result.best.baseline
    found = {one.cause: one.message for one in result.held_out.no_gain_causes}
    report = render_report(snapshot(ended), outcome(result))
    assert found
    assert "## Why no gain" in report
    for cause, message in found.items():
        assert f"- `{cause}`: {message}" in report
    return found


@pytest.mark.parametrize("engine", ["race", "tpe"])
@pytest.mark.parametrize(
    ("reward", "cause", "said"),
    [
        (saturated, "SATURATED_BASELINE", "use harder rows"),
        (never_failed, "NO_FAILURES", "add rows on which it fails"),
        (alike, "NO_HEADROOM", "differ by no more than chance"),
        (hardly_better, "TEST_TOO_SMALL", "60 held-out rows find gains from"),
    ],
)
async def test_rewards_tell_why_nothing_was_gained(
    world: World, engine: str, reward: Callable[[str, int], float], cause: str, said: str
) -> None:
    world.program.reward = reward
    found = await causes(world, job(engine))
    assert said in found.get(cause, ""), found


@pytest.mark.parametrize("engine", ["race", "tpe"])
async def test_a_budget_that_ends_the_search_too_soon_is_named(world: World, engine: str) -> None:
    world.program.reward = hardly_better
    spec = job(engine, budget=job_v1.Budget(max_rollouts=60))
    found = await causes(world, spec)
    assert "raise the budget" in found.get("BUDGET_TOO_SMALL", ""), found


@pytest.mark.parametrize("engine", ["race", "tpe"])
async def test_a_judge_that_contradicts_itself_is_named(world: World, engine: str) -> None:
    graph = verifier_v1.VerifierGraph(output_node="exact")
    graph.nodes.add(node_id="exact").builtin.check = "exact_match"
    graph.nodes[0].builtin.settings.update({"field": "answer"})
    world.program.reward = alike
    world.verifier.outcome = lambda name, one: luck(one.cell.candidate_id, one.cell.seed)
    scoring = job_v1.ScoringSpec(verifier_graph=graph, weights=WEIGHTS)
    found = await causes(world, job(engine, scoring=scoring))
    assert "burnish verify calibrate" in found.get("NOISY_JUDGE", ""), found


async def test_a_race_that_gains_claims_what_its_model_and_the_verdicts_expect(
    world: World,
) -> None:
    world.program.reward = lambda text, seed: float(
        luck("row", seed) < (0.9 if "Better" in text else 0.4)
    )
    await world.create(job("race"))
    await world.finished()
    result = await world.result()
    expected = (await world.job()).expected_reward
    assert result.held_out.promoted
    assert result.held_out.corrected_by == "both_models"
    assert result.held_out.corrected.row_count == expected.row_count
    assert result.held_out.raw.row_count == result.best.search.row_count
    assert result.held_out.corrected.mean == pytest.approx(result.best.test.mean, abs=0.12)
