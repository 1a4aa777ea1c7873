"""Which parts a reward consists of, and what is settled about it when a job is created."""

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument, NotFound, Unavailable
from burnish_controller.peers import Peers
from burnish_controller.rewards import reward_plan
from burnish_controller.settling import draft, register, settle

RUBRIC = {"version": "1", "goal_text": "Sort.", "criteria": [{"id": "right", "description": "x"}]}


def scoring(**weights: float) -> job_v1.ScoringSpec:
    return job_v1.ScoringSpec(weights=types_v1.RewardWeights(**weights))


def check_graph(*, event: bool = False) -> verifier_v1.VerifierGraph:
    graph = verifier_v1.VerifierGraph(output_node="exact", event_node="exact" if event else "")
    graph.nodes.add(node_id="exact").builtin.check = "exact_match"
    return graph


def judge_graph(*, model: str = "", rubric: bool = False) -> verifier_v1.VerifierGraph:
    graph = verifier_v1.VerifierGraph(output_node="judge")
    judge = graph.nodes.add(node_id="judge").rubric
    judge.votes = 1
    if model:
        judge.model.provider, judge.model.model = model.split("/", 1)
    if rubric:
        judge.rubric.criteria.add(criterion_id="right", description="Is right.")
    return graph


def parts(plan: Any) -> dict[str, float]:
    found = plan.weights
    return {"environment": found.environment, "event": found.event, "outcome": found.outcome}


@pytest.mark.parametrize(
    ("spec", "graph", "expected"),
    [
        (job_v1.ScoringSpec(), None, (1, 0, 0)),
        (job_v1.ScoringSpec(), check_graph(), (0, 0, 1)),
        (scoring(environment=0.5, outcome=0.5), check_graph(), (0.5, 0, 0.5)),
        (scoring(environment=1, event=2, outcome=3), check_graph(event=True), (1, 2, 3)),
    ],
)
def test_weights_are_taken_as_they_are_given(spec, graph, expected):
    plan = reward_plan(spec, graph)
    assert tuple(parts(plan).values()) == expected
    assert (plan.problems, plan.warnings) == ((), ())


@pytest.mark.parametrize(
    ("spec", "graph", "left", "named"),
    [
        (scoring(environment=0.5, outcome=0.5), None, (0.5, 0, 0), "outcome"),
        (scoring(environment=0.5, event=0.5), check_graph(), (0.5, 0, 0), "event"),
        (scoring(event=0.5, outcome=0.5), check_graph(), (0, 0, 0.5), "event"),
    ],
)
def test_a_part_that_is_never_offered_is_left_out_with_a_warning(spec, graph, left, named):
    plan = reward_plan(spec, graph)
    assert tuple(parts(plan).values()) == left
    assert plan.problems == ()
    assert len(plan.warnings) == 1
    assert f"scoring.weights.{named}" in plan.warnings[0]


@pytest.mark.parametrize(
    ("spec", "graph", "fix"),
    [
        (scoring(outcome=1), None, "give a verifier graph"),
        (scoring(event=1), check_graph(), "event_node"),
        (scoring(event=1, outcome=1), None, "event_node"),
    ],
)
def test_when_nothing_would_remain_the_job_is_refused_with_the_fix(spec, graph, fix):
    plan = reward_plan(spec, graph)
    assert plan.problems
    assert any(fix in problem for problem in plan.problems)


@pytest.mark.parametrize(
    "spec", [scoring(), scoring(environment=math.nan), scoring(environment=-1, outcome=1)]
)
def test_weights_that_no_mean_can_be_taken_with_are_refused(spec):
    (problem,) = reward_plan(spec, check_graph()).problems
    assert "finite" in problem


class Verifier:
    """Registers graphs under a hash-like name, or says what it was told to."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.error = error
        self.known: dict[str, verifier_v1.VerifierGraph] = {}
        self.stored: list[verifier_v1.VerifierGraph] = []

    async def CreateVerifierGraph(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109
        if self.error is not None:
            raise self.error
        answer = verifier_v1.CreateVerifierGraphResponse(verifier_graph=request.verifier_graph)
        if not request.validate_only:
            self.stored.append(request.verifier_graph)
            answer.verifier_graph.name = f"verifierGraphs/h{len(self.stored)}/versions/1"
        return answer

    async def GetVerifierGraph(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109
        if request.name not in self.known:
            raise NotFound(f"there is no `{request.name}`")
        return verifier_v1.GetVerifierGraphResponse(verifier_graph=self.known[request.name])

    @property
    def peers(self) -> Peers:
        return cast(Peers, SimpleNamespace(verifier=self))


def job_of(graph: verifier_v1.VerifierGraph, **judge_options: Any) -> job_v1.Job:
    spec = job_v1.ScoringSpec(verifier_graph=graph)
    spec.judge_options.CopyFrom(verifier_v1.JudgeOptions(**judge_options))
    return job_v1.Job(name="jobs/job1", spec=job_v1.JobSpec(scoring=spec))


def no_price(model: types_v1.ModelSpec, read: int | None) -> types_v1.Price | None:
    return None


async def settled(
    verifier: Verifier, job: job_v1.Job, *, rubrics: object = None
) -> tuple[list[str], job_v1.Job]:
    drafted = await draft(job.spec, verifier.peers, price_of=no_price)
    problems = [*drafted.problems]
    if not problems:
        problems += settle(job, drafted, rubrics=rubrics)
        await register(job, drafted, verifier.peers)
    return problems, job


async def test_a_name_is_pinned_to_the_version_that_is_the_latest_now():
    verifier = Verifier()
    found = check_graph()
    found.name = "verifierGraphs/mine/versions/7"
    verifier.known["verifierGraphs/mine"] = found
    asked = verifier_v1.VerifierGraph(name="verifierGraphs/mine")
    problems, job = await settled(verifier, job_of(asked))
    assert problems == []
    assert job.verifier_graph == "verifierGraphs/mine/versions/7"
    assert verifier.stored == []


async def test_a_graph_given_whole_is_registered_by_its_content():
    verifier = Verifier()
    graph = check_graph()
    graph.name = "verifierGraphs/mine"
    problems, job = await settled(verifier, job_of(graph))
    assert problems == []
    assert job.verifier_graph == "verifierGraphs/h1/versions/1"
    assert [one.name for one in verifier.stored] == [""]


async def test_a_check_of_a_job_stores_no_graph():
    verifier = Verifier()
    await draft(job_of(check_graph()).spec, verifier.peers, price_of=no_price)
    assert verifier.stored == []


@pytest.mark.parametrize("error", [NotFound("there is no such graph"), InvalidArgument("a circle")])
async def test_what_the_verifier_says_against_a_graph_is_one_problem_of_the_job(error):
    job = job_of(check_graph())
    job.spec.scoring.weights.outcome = 1.0
    drafted = await draft(job.spec, Verifier(error=error).peers, price_of=no_price)
    (problem,) = drafted.problems
    assert "scoring.verifier_graph" in problem
    assert error.message in problem


async def test_a_verifier_that_is_away_is_no_fault_of_the_job():
    with pytest.raises(Unavailable):
        await draft(
            job_of(check_graph()).spec, Verifier(error=Unavailable("x")).peers, price_of=no_price
        )


async def test_a_judge_that_inherits_is_given_the_task_apps_rubric():
    graph = judge_graph(model="local/local-judge")
    problems, job = await settled(Verifier(), job_of(graph), rubrics={"outcome": RUBRIC})
    assert problems == []
    assert json.loads(job.judge_options.rubric_source) == {"outcome": RUBRIC}


async def test_the_jobs_own_rubric_wins_over_the_task_apps():
    graph = judge_graph(model="local/local-judge")
    own = json.dumps(RUBRIC).encode()
    problems, job = await settled(
        Verifier(), job_of(graph, rubric_source=own), rubrics={"outcome": {}}
    )
    assert problems == []
    assert job.judge_options.rubric_source == own


@pytest.mark.parametrize("rubrics", [None, {}, {"criteria": [{"id": "a"}, {"id": "a"}]}])
async def test_a_rubric_that_is_missing_or_wrong_is_told_at_creation(rubrics):
    graph = judge_graph(model="local/local-judge")
    (problem,), _ = await settled(Verifier(), job_of(graph), rubrics=rubrics)
    assert "rubric" in problem
    assert "judge" in problem


async def test_a_shipped_judge_needs_no_rubric_of_the_task():
    verifier = Verifier()
    shipped = judge_graph(model="local/local-judge")
    shipped.name, shipped.shipped = "verifierGraphs/any/versions/1", True
    verifier.known["verifierGraphs/any"] = shipped
    asked = verifier_v1.VerifierGraph(name="verifierGraphs/any")
    problems, job = await settled(verifier, job_of(asked))
    assert problems == []
    assert job.judge_options.rubric_source == b""


async def test_where_every_model_is_local_so_is_the_judge():
    job = job_of(judge_graph(rubric=True))
    job.spec.policy_model.provider = "local"
    problems, settled_job = await settled(Verifier(), job)
    assert problems == []
    assert settled_job.judge_options.model.model == "local-judge"
    own = job_of(judge_graph(model="openai/gpt-4o-mini", rubric=True))
    own.spec.policy_model.provider = "local"
    _, with_own = await settled(Verifier(), own)
    assert not with_own.judge_options.HasField("model")


@pytest.mark.parametrize(
    ("rubrics", "weight"),
    [({"outcome": [{"id": "a"}], "event": [{"id": "b"}]}, 0.5), ({"outcome": [{"id": "a"}]}, 0.0)],
)
async def test_events_count_when_the_settled_rubric_has_criteria_for_them(rubrics, weight):
    graph = judge_graph(model="local/local-judge")
    graph.event_node = "judge"
    job = job_of(graph)
    job.spec.scoring.weights.CopyFrom(types_v1.RewardWeights(event=0.5, outcome=0.5))
    problems, settled_job = await settled(Verifier(), job, rubrics=rubrics)
    assert problems == []
    assert settled_job.reward_weights == types_v1.RewardWeights(event=weight, outcome=0.5)
    assert len(settled_job.warnings) == (0 if weight else 1)


async def test_a_job_of_events_alone_is_refused_when_no_rubric_judges_them():
    graph = judge_graph(model="local/local-judge")
    graph.event_node = "judge"
    job = job_of(graph)
    job.spec.scoring.weights.event = 1.0
    (problem,), _ = await settled(Verifier(), job, rubrics={"outcome": [{"id": "a"}]})
    assert "scoring.weights.event" in problem


@pytest.mark.parametrize(
    "options",
    [
        {"rubric_source": b"{"},
        {"rubric_source": b'{"criteria": [{"id": "a"}, {"id": "a"}]}'},
        {"rubric_source": b"{}", "rubric": verifier_v1.Rubric()},
    ],
)
async def test_a_rubric_of_the_job_that_is_none_is_told_at_creation(options):
    problems, _ = await settled(Verifier(), job_of(judge_graph(model="local/x"), **options))
    assert any("judge_options.rubric_source" in problem for problem in problems)


async def test_a_judge_with_a_rubric_of_its_own_asks_the_app_for_none():
    graph = judge_graph(model="local/local-judge", rubric=True)
    problems, job = await settled(Verifier(), job_of(graph), rubrics={"outcome": RUBRIC})
    assert problems == []
    assert job.judge_options.rubric_source == b""


async def test_a_judge_without_any_model_and_one_that_is_refused_are_told_at_creation():
    (missing,), _ = await settled(Verifier(), job_of(judge_graph(rubric=True)))
    assert "`judge` has no model" in missing
    refused = types_v1.ModelSpec(provider="openai", model="gpt-5-pro")
    (problem,), _ = await settled(Verifier(), job_of(judge_graph(rubric=True), model=refused))
    assert "gpt-5-pro" in problem


@pytest.mark.parametrize("own", [True, False])
async def test_a_weak_judge_is_refused_where_the_proposer_reads_what_it_says(own):
    weak = "openai/gpt-4.1-nano"
    if own:
        job = job_of(judge_graph(model=weak, rubric=True))
    else:
        named = types_v1.ModelSpec(provider="openai", model="gpt-4.1-nano")
        job = job_of(judge_graph(rubric=True), model=named)
    assert (await settled(Verifier(), job))[0] == []
    job.spec.proposer.instruction_count = 2
    (problem,), _ = await settled(Verifier(), job)
    assert "feedback judge" in problem
    assert weak in problem


@pytest.mark.parametrize("cap", [{"max_cost_usd": 1.0}, {"max_cost_usd_by_role": {"judge": 1.0}}])
async def test_a_money_cap_with_a_judge_of_unknown_price_is_refused(cap):
    job = job_of(judge_graph(model="openai/gpt-4o-mini", rubric=True))
    job.spec.budget.MergeFrom(job_v1.Budget(**cap))
    (problem,), _ = await settled(Verifier(), job)
    assert "price" in problem
