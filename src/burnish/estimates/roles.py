"""What the policy, the proposer and the judges of a job call, and how much they read and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.proposer.v1 import proposer_service_pb2
from burnish.api.types.v1 import model_pb2
from burnish.api.verifier.v1 import verifier_service_pb2, verifier_step_pb2
from burnish.estimates.figures import Range, Use, tokens_of
from burnish.estimates.rollouts import gepa_plan, rounds
from burnish.models import EFFORT_MODELS, OUTPUT_TIER_TOKENS

ROW_TOKENS = (1, 300)
INSTRUCTION_TOKENS = (1, 800)
DEMO_TOKENS = 300
ANSWER_TOKENS = (1, 512)
_META_INPUT_TOKENS = {"LOW_CONTEXT": 6_000, "LOW": 25_000, "MEDIUM": 80_000, "HIGH": 200_000}
_META_TOKENS_LOW = (100, 5)
_DEFAULT_EFFORT, _DEFAULT_TIER = "LOW", "FAST"
_OWN_PROPOSERS = ("", "builtin")
JUDGE_TOKENS = ((50, 50_000), (5, 2_000))
# A trace is judged part by part, or read piece by piece, in so many calls at the most.
_PARTS = 50
# A judge that chooses its way reads a trace up to this at once; half of it is left for the rest.
_AT_ONCE_TOKENS = 25_000
_BY_SIZE = frozenset(
    {
        verifier_step_pb2.JUDGE_MODE_UNSPECIFIED,
        verifier_step_pb2.JUDGE_MODE_AUTO,
        verifier_step_pb2.JUDGE_MODE_FEW_SHOT,
        verifier_step_pb2.JUDGE_MODE_CONTRASTIVE,
    }
)
_LOCAL_JUDGE = model_pb2.ModelSpec(provider="local", model="local-judge")


def policy_uses(spec: job_spec_pb2.JobSpec, rollouts: Range) -> Iterator[Use]:
    """Yields the calls of the program: one for each stage of each rollout."""
    for stage in list(spec.stages) or [job_spec_pb2.StageSpec()]:
        model = stage.model if stage.HasField("model") else spec.policy_model
        limit = model.max_output_tokens or ANSWER_TOKENS[1]
        yield Use(
            model=model,
            calls=rollouts,
            read=_stage_reads(spec, stage),
            written=Range(low=min(ANSWER_TOKENS[0], limit), high=limit),
        )


def cheap_uses(spec: job_spec_pb2.JobSpec, rollouts: Range) -> Iterator[Use]:
    """Yields the calls of rollouts in which the cheap model stands in."""
    if not spec.HasField("proxy"):
        return
    proxy = spec.proxy
    for use in policy_uses(spec, rollouts):
        dear = (use.model.provider, use.model.model)
        same = dear == (proxy.high_model.provider, proxy.high_model.model)
        yield replace(use, model=proxy.low_model) if same else use


def proposer_uses(spec: job_spec_pb2.JobSpec) -> Iterator[Use]:
    """Yields the calls of the proposer; one of the operator's own pays for itself."""
    proposer = spec.proposer
    stages = sum(stage.optimise_instruction for stage in spec.stages) if spec.stages else 1
    asked = rounds(spec)
    wanted = proposer.instruction_count * asked
    if proposer.max_instruction_count:
        wanted = min(wanted, proposer.max_instruction_count)
    wanted *= stages
    plan = gepa_plan(spec)
    if plan is not None and stages:
        # Every child is a brief of its own at the most, and the rows are summarised once a stage.
        wanted = plan.initial + plan.generations * plan.children
        asked = 1
    if wanted == 0 or not own_proposer(spec):
        return
    effort = _name(proposer_service_pb2.Effort.Name(proposer.effort), "EFFORT_")
    tier = _name(proposer_service_pb2.OutputTier.Name(proposer.output_tier), "OUTPUT_TIER_")
    effort = effort if effort in EFFORT_MODELS else _DEFAULT_EFFORT
    meta = proposer.meta_model
    if not meta.provider:
        provider, name = EFFORT_MODELS[effort]
        meta = model_pb2.ModelSpec(provider=provider, model=name)
    most = OUTPUT_TIER_TOKENS.get(tier, OUTPUT_TIER_TOKENS[_DEFAULT_TIER])
    yield Use(
        model=meta,
        # A round may find nothing new; a refused proposal is asked for again, and the rows are
        # summarised by a call of their own.
        calls=Range(low=1, high=wanted * (1 + proposer.retry_limit) + stages * asked),
        read=Range(low=_META_TOKENS_LOW[0], high=_META_INPUT_TOKENS[effort]),
        written=Range(low=_META_TOKENS_LOW[1], high=most),
    )


def judge_uses(
    spec: job_spec_pb2.JobSpec,
    graph: verifier_service_pb2.VerifierGraph | None,
    rollouts: Range,
) -> Iterator[Use]:
    """Yields the calls of judges, by what the graph's nodes say."""
    if graph is None:
        return
    options = spec.scoring.judge_options
    trace = sum(use.read.high + use.written.high for use in policy_uses(spec, rollouts))
    for node in graph.nodes:
        if not node.HasField("rubric"):
            continue
        judge = node.rubric
        model = options.model if options.HasField("model") else judge.model
        if not model.model and spec.policy_model.provider == "local":
            model = _LOCAL_JUDGE
        votes = max(1, judge.votes)
        golds = len(judge.gold_examples) + len(options.gold_examples)
        calls = _most_calls(judge, golds=golds, trace_tokens=trace)
        (read_low, read_high), (written_low, written_high) = JUDGE_TOKENS
        if judge.token_budget:
            read_high = min(read_high, judge.token_budget)
        yield Use(
            model=model,
            # A rollout that failed is not judged.
            calls=rollouts.times(0, votes * calls),
            read=Range(low=min(read_low, read_high), high=read_high),
            written=Range(low=written_low, high=model.max_output_tokens or written_high),
        )


def _most_calls(judge: verifier_step_pb2.RubricJudge, *, golds: int, trace_tokens: float) -> int:
    """Returns the most calls of one judgement: each may be asked for once more."""
    short = judge.mode in _BY_SIZE and trace_tokens <= _AT_ONCE_TOKENS
    calls = 2 if short or judge.mode == verifier_step_pb2.JUDGE_MODE_SINGLE else _PARTS
    compared = judge.mode == verifier_step_pb2.JUDGE_MODE_CONTRASTIVE
    return calls + (2 * 2 * golds if compared else 0)


def own_proposer(spec: job_spec_pb2.JobSpec) -> bool:
    """Whether Burnish's own proposer writes, whose calls go on the ledger."""
    return spec.proposer.proposer in _OWN_PROPOSERS


def _stage_reads(spec: job_spec_pb2.JobSpec, stage: job_spec_pb2.StageSpec) -> Range:
    known = sum(len(one.pattern) for one in stage.template.messages)
    prompt = tokens_of(known)
    if not known:
        prompt = Range(low=INSTRUCTION_TOKENS[0], high=INSTRUCTION_TOKENS[1])
    bootstrap = spec.offline.bootstrap
    optimised = not spec.stages
    demos = grown = 0
    if stage.optimise_demos or optimised:
        demos = bootstrap.max_bootstrapped_demos + bootstrap.max_labelled_demos
    if stage.optimise_instruction or optimised:
        grown = INSTRUCTION_TOKENS[1]
    # A candidate's instruction may be shorter than the one that is there now.
    low = INSTRUCTION_TOKENS[0] if grown else prompt.low
    return Range(
        low=low + ROW_TOKENS[0],
        high=prompt.high + grown + ROW_TOKENS[1] + demos * DEMO_TOKENS,
    )


def _name(value: str, prefix: str) -> str:
    return value.removeprefix(prefix)
