"""Settles how a job is scored: which version of a graph, which parts, which rubric.

What is settled is stored with the job. A graph that is registered later under the same name, and a
rubric that the app changes meanwhile, are for later jobs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument, NotFound, Unimplemented
from burnish.models import ModelRole, check_model
from burnish.rubric_files import parse_value
from burnish.rubric_forms import read_rubric
from burnish.rubrics import Rubric
from burnish_controller.ledger.engine import Pricer
from burnish_controller.peers import CALL_SECONDS, Peers
from burnish_controller.rewards import (
    RewardPlan,
    inheriting_judges,
    modelless_judges,
    reward_plan,
    rubricless_judges,
)

LOCAL_JUDGE = "local-judge"
_PLACE = "scoring.verifier_graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """How a job would be scored, as far as its spec tells.

    Attributes:
        graph: The graph, whole; None when there is none or it could not be had.
        plan: The weights in force.
        problems: What is wrong, with a fix each.
        judge: Model of judges that name none, in a job whose every model is local.
    """

    graph: verifier_v1.VerifierGraph | None
    plan: RewardPlan
    problems: tuple[str, ...]
    judge: types_v1.ModelSpec | None = None


async def draft(spec: job_v1.JobSpec, peers: Peers, *, price_of: Pricer) -> Draft:
    """Finds every fault in how a job is to be scored; nothing is stored.

    Raises:
        Unavailable: The verifier cannot be asked.
    """
    scoring = spec.scoring
    if not scoring.HasField("verifier_graph"):
        plan = reward_plan(scoring, None)
        return Draft(graph=None, plan=plan, problems=plan.problems)
    try:
        graph = await _graph(scoring.verifier_graph, peers)
    except (InvalidArgument, NotFound, Unimplemented) as error:
        # What a graph offers that could not be had is not a second problem.
        plan = RewardPlan(weights=scoring.weights)
        return Draft(graph=None, plan=plan, problems=(f"`{_PLACE}`: {error.message}",))
    plan = reward_plan(scoring, graph)
    judge = _local_judge(spec, graph)
    problems = (
        *plan.problems,
        *_rubric_problems(scoring.judge_options),
        *_judge_problems(spec, graph, judge, price_of),
    )
    return Draft(graph=graph, plan=plan, problems=problems, judge=judge)


def settle(job: job_v1.Job, drafted: Draft, *, rubrics: object) -> list[str]:
    """Puts into a job what it is scored by, and returns what stands in the way.

    Args:
        job: The job; its output-only fields are set.
        drafted: How it is to be scored.
        rubrics: The task app's own, as a JSON value; None when it has none.
    """
    job.reward_weights.CopyFrom(drafted.plan.weights)
    if drafted.graph is None:
        job.warnings.extend(drafted.plan.warnings)
        return []
    options = verifier_v1.JudgeOptions()
    options.CopyFrom(job.spec.scoring.judge_options)
    if inheriting_judges(drafted.graph) and not _has_rubric(options):
        problem = _inherit(options, rubrics, rubricless_judges(drafted.graph))
        if problem:
            return [problem]
    plan = drafted.plan
    if plan.weights.event > 0 and not _scores_events(drafted.graph, options):
        eventless = _unversioned(drafted.graph)
        eventless.ClearField("event_node")
        plan = reward_plan(job.spec.scoring, eventless)
    if plan.problems:
        return list(plan.problems)
    job.reward_weights.CopyFrom(plan.weights)
    job.warnings.extend(plan.warnings)
    if not options.HasField("model") and drafted.judge is not None:
        options.model.CopyFrom(drafted.judge)
    job.judge_options.CopyFrom(options)
    job.verifier_graph = drafted.graph.name
    return []


async def register(job: job_v1.Job, drafted: Draft, peers: Peers) -> None:
    """Registers a graph of the job's own, under a name that its content gives."""
    if drafted.graph is not None and not job.verifier_graph:
        request = verifier_v1.CreateVerifierGraphRequest(verifier_graph=drafted.graph)
        async with rpc.translated():
            response = await peers.verifier.CreateVerifierGraph(request, timeout=CALL_SECONDS)
        job.verifier_graph = response.verifier_graph.name


def _scores_events(graph: verifier_v1.VerifierGraph, options: verifier_v1.JudgeOptions) -> bool:
    """Whether the event node has what to judge events by, once its rubric is settled."""
    node = next((one for one in graph.nodes if one.node_id == graph.event_node), None)
    if node is None or not node.HasField("rubric"):
        return node is not None
    if node.rubric.rubric.event_criteria or options.rubric.event_criteria:
        return True
    return bool(options.rubric_source and _source(options).event_criteria)


def _rubric_problems(options: verifier_v1.JudgeOptions) -> list[str]:
    place = "scoring.judge_options.rubric_source"
    if options.rubric_source and options.HasField("rubric"):
        return [f"`{place}` stands beside `rubric`; keep one of them"]
    try:
        if options.rubric_source:
            _source(options)
    except InvalidArgument as error:
        return [f"`{place}`: {error.message}"]
    return []


def _source(options: verifier_v1.JudgeOptions) -> Rubric:
    return read_rubric(parse_value(options.rubric_source, form="json"))


def _has_rubric(options: verifier_v1.JudgeOptions) -> bool:
    return bool(options.rubric_source) or options.HasField("rubric")


def _inherit(options: verifier_v1.JudgeOptions, rubrics: object, rubricless: Sequence[str]) -> str:
    """Takes the task app's rubric over; returns why that cannot be, or nothing."""
    if not rubrics:
        if not rubricless:
            return ""
        named = ", ".join(f"`{node}`" for node in rubricless)
        return (
            f"`{_PLACE}`: judge {named} has no rubric, and neither the job nor the task app gives"
            " one; give `judge_options.rubric_source`, or let the app tell its rubrics"
        )
    try:
        read_rubric(rubrics)
    except InvalidArgument as error:
        return f"the task app's rubric, which a judge of the graph inherits: {error.message}"
    options.rubric_source = json.dumps(rubrics, sort_keys=True).encode()
    return ""


async def _graph(graph: verifier_v1.VerifierGraph, peers: Peers) -> verifier_v1.VerifierGraph:
    """Returns the graph that is meant: one given whole is checked, a name is looked up."""
    async with rpc.translated():
        if graph.nodes:
            create = verifier_v1.CreateVerifierGraphRequest(
                verifier_graph=graph, validate_only=True
            )
            await peers.verifier.CreateVerifierGraph(create, timeout=CALL_SECONDS)
            return _unversioned(graph)
        get = verifier_v1.GetVerifierGraphRequest(name=graph.name)
        return (await peers.verifier.GetVerifierGraph(get, timeout=CALL_SECONDS)).verifier_graph


def _unversioned(graph: verifier_v1.VerifierGraph) -> verifier_v1.VerifierGraph:
    """Returns a graph without a name: the job's own, known by its content alone."""
    own = verifier_v1.VerifierGraph()
    own.CopyFrom(graph)
    own.ClearField("name")
    return own


def _local_judge(
    spec: job_v1.JobSpec, graph: verifier_v1.VerifierGraph
) -> types_v1.ModelSpec | None:
    """Returns the simulated judge, where every model is local and no judge names its own."""
    judges = [node.node_id for node in graph.nodes if node.HasField("rubric")]
    models = [stage.model for stage in spec.stages if stage.HasField("model")]
    if spec.HasField("policy_model"):
        models.append(spec.policy_model)
    local = bool(models) and all(model.provider == "local" for model in models)
    if not local or not judges or modelless_judges(graph) != judges:
        return None
    return types_v1.ModelSpec(provider="local", model=LOCAL_JUDGE)


def _judge_problems(
    spec: job_v1.JobSpec,
    graph: verifier_v1.VerifierGraph,
    judge: types_v1.ModelSpec | None,
    price_of: Pricer,
) -> list[str]:
    options = spec.scoring.judge_options
    judges = [node for node in graph.nodes if node.HasField("rubric")]
    problems = []
    if options.HasField("model"):
        models = {"scoring.judge_options.model": options.model} if judges else {}
    else:
        models = {f"{_PLACE}.{node.node_id}.model": node.rubric.model for node in judges}
        without = modelless_judges(graph)
        if without and judge is None:
            named = ", ".join(f"`{node}`" for node in without)
            problems.append(f"judge {named} has no model; give `scoring.judge_options.model`")
    for place, model in models.items():
        if model.model:
            problems += _model_problems(place, model, role=_judge_role(spec))
            problems += _price_problems(spec.budget, place, model, price_of)
    return problems


def _judge_role(spec: job_v1.JobSpec) -> ModelRole:
    """Where instructions are written, the proposer reads what judges said of failures."""
    return ModelRole.FEEDBACK_JUDGE if spec.proposer.instruction_count else ModelRole.JUDGE


def _model_problems(place: str, model: types_v1.ModelSpec, *, role: ModelRole) -> list[str]:
    found = check_model(provider=model.provider, model=model.model, role=role)
    shown = f"{model.provider}/{model.model}"
    return [
        f"`{place}` is `{shown}`, which {one.message}; {one.fix}" for one in found if one.refused
    ]


def _price_problems(
    budget: job_v1.Budget, place: str, model: types_v1.ModelSpec, price_of: Pricer
) -> list[str]:
    capped = budget.HasField("max_cost_usd") or "judge" in budget.max_cost_usd_by_role
    if not capped or model.HasField("price") or price_of(model, None) is not None:
        return []
    return [
        f"the price of `{place}` (`{model.provider}/{model.model}`) is unknown, so the money cap"
        " could not be kept; give its `price`"
    ]
