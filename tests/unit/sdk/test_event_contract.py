"""Every event type that Synth publishes can be carried, with the fields that its clients read."""

import json
from typing import Any, cast

import pytest

from burnish.api.job.v1 import job_event_pb2 as job
from burnish.api.job.v1 import job_result_pb2 as results
from burnish.api.types.v1 import candidate_pb2 as candidates
from burnish.api.types.v1 import rollout_pb2 as rollouts
from burnish.cli.lines import EventLines
from burnish.events import HIDDEN_TYPES, from_envelope, to_envelope
from burnish.testing.fake_story import estimate

E = job.JobEvent
USAGE = rollouts.Usage(input_tokens=70, output_tokens=30, cost_usd=0.5)
META = rollouts.Usage(input_tokens=5, output_tokens=5, cost_usd=0.25)
SCORES = [results.SeedScore(seed=3, reward=0.5), results.SeedScore(seed=4)]
CANDIDATE = candidates.Candidate(
    candidate_id="cand_1",
    stages={"main": candidates.StageChoice(instruction_id="ins_1", demo_set_id="dem_0")},
)
CONTENT = job.CandidateContent(
    candidate=CANDIDATE,
    components=[
        candidates.Component(
            component_id="ins_1",
            stage_id="main",
            instruction=candidates.Instruction(text="Sort it.\nBriefly."),
        ),
        candidates.Component(component_id="dem_0", stage_id="main", demo_set=candidates.DemoSet()),
    ],
    index_by_component={"ins_1": 2, "dem_0": 0},
)
RANKED = results.CandidateResult(
    candidate=CANDIDATE, rank=1, search=estimate(0.7, 9), validation=estimate(0.6, 9),
    test=estimate(0.55, 9),
)  # fmt: skip


def moved(before: str, after: str) -> job.JobEvent:
    value = job.JobState.Value
    changed = job.StateChanged(
        from_state=value(f"JOB_STATE_{before}"), to_state=value(f"JOB_STATE_{after}")
    )
    if after == "SUCCEEDED":
        changed.best_reward.CopyFrom(estimate(0.6, 9))
    if after == "FAILED":
        changed.failure.reason, changed.failure.message = "TASK_APP_DOWN", "it went away"
    return E(state_changed=changed)


def concluded(state: "job.JobState.ValueType") -> job.JobEvent:
    usage = {"task": USAGE, "proposer": META}
    return E(job_concluded=job.JobConcluded(state=state, usage_by_role=usage))


def evaluated(purpose: "job.EvaluationPurpose.ValueType") -> job.JobEvent:
    found = job.CandidateEvaluated(
        candidate_id="cand_1",
        status=job.CANDIDATE_STATUS_ACCEPTED,
        purpose=purpose,
        reward=estimate(0.6, 9),
    )
    return E(candidate_evaluated=found)


def ended(reason: "job.TerminationReason.ValueType") -> job.JobEvent:
    return E(search_ended=job.SearchEnded(reason=reason))


BUDGET = job.BudgetUpdated(
    total=USAGE, by_role={"task": USAGE, "proposer": META}, max_cost_usd=2.0, max_tokens=900
)
FINAL_BUDGET = job.BudgetUpdated(total=USAGE, by_role={"task": USAGE}, final=True)
BASELINE = job.BaselineEvaluated(candidate_id="cand_0", reward=estimate(0.4, 9), scores=SCORES)
INCUMBENT = job.NewIncumbent(
    candidate_id="cand_1", reward=estimate(0.6, 9), trial_index=4, iteration=1,
    previous=estimate(0.5, 9),
)  # fmt: skip
ITERATION = job.IterationStarted(
    iteration=1, planned_count=3, trials_per_iteration=5, batch_size=10, max_rollouts=200
)
TRANSFORMATION = job.TransformationProposed(
    transformation_id="t1", generation=2, mutation_type=job.MUTATION_TYPE_LLM_GUIDED,
    operator="reflect", parent_candidate_ids=["cand_0"], candidate_id="cand_1",
    text_by_stage={"main": "Sort it."}, parameters={"temperature": "0.7"},
)  # fmt: skip
TEXT = candidates.Instruction(text="Sort it.\nBriefly.")
PROPOSED = job.ComponentAdded(
    component=candidates.Component(component_id="ins_1", stage_id="main", instruction=TEXT),
    index=2, iteration=1, module_id="sorting", proposal_id="p1",
)  # fmt: skip
TOP_K = job.TopKEvaluated(
    rank=1, candidate_id="cand_1", reward=estimate(0.6, 9), search=estimate(0.7, 9),
    baseline=estimate(0.4, 9), content=CONTENT,
)  # fmt: skip
TESTED = job.TestEvaluated(candidate_id="c", reward=estimate(0.6, 2), scores=SCORES)
BASE_TESTED = job.TestEvaluated(
    candidate_id="c", baseline=True, reward=estimate(0.4, 2), scores=SCORES
)
SUMMARY = job.ValidationSummarized(baseline=estimate(0.4, 9), results=[RANKED])
GENERATION = job.GenerationCompleted(generation=1, best_reward=estimate(0.6, 9))
FRONTIER = job.FrontierUpdated(candidate_ids=["a", "b"], added_candidate_ids=["b"])
TRIAL = job.TrialCompleted(trial_index=4, iteration=1, reward=estimate(0.6, 9), seed_count=9)
FULL = job.FullEvaluationCompleted(trial_index=4, iteration=1, reward=estimate(0.6, 9))
SAMPLER = job.SamplerUpdated(observation_count=8, good_count=1, bad_count=7, gamma=0.125)
RESULTS = job.FinalResults(
    best_reward=estimate(0.6, 9), best=CONTENT, candidates=[RANKED], candidate_count=1
)
COMPLETED = job.SearchCompleted(
    best_full=estimate(0.6, 9), best_minibatch=estimate(0.8, 9), trial_count=7, best=CONTENT
)
TOP = job.TopPrompt(rank=1, search=estimate(0.7, 9), validation=estimate(0.6, 9), content=CONTENT)
EXHAUSTED = job.TERMINATION_REASON_SPACE_EXHAUSTED

# Type, algorithm, an event of that type, and the fields that a client of Synth's reads from it.
CONTRACT: list[tuple[str, str, job.JobEvent, str]] = [
    ("prompt.learning.created", "mipro", moved("UNSPECIFIED", "PENDING"), "status"),
    ("prompt.learning.started", "mipro", moved("PENDING", "RUNNING"), "status"),
    ("prompt.learning.running", "mipro", moved("PAUSED", "RUNNING"), "status"),
    ("prompt.learning.completed", "mipro", concluded(job.JOB_STATE_SUCCEEDED),
     "usd_tokens_rollouts usd_tokens_mutation rollouts_prompt_tokens rollouts_completion_tokens"
     " rollouts_unknown_tokens"),
    ("prompt.learning.failed", "mipro", concluded(job.JOB_STATE_FAILED), "status"),
    ("prompt.learning.stream.connected", "mipro", E(stream_connected=job.StreamConnected(cursor=5)),
     "cursor heartbeat_interval_seconds"),
    ("prompt.learning.phase.changed", "mipro", E(phase_changed=job.PhaseChanged()),
     "from_phase to_phase phase_summary"),
    ("prompt.learning.progress", "mipro", E(progress=job.JobProgress()),
     "rollouts_completed rollouts_total percent_rollouts transformations_tried"
     " transformations_planned percent_overall rollout_tokens_used elapsed_seconds eta_seconds step"
     " total_steps"),
    ("prompt.learning.rollouts.start", "mipro", E(rollouts_started=job.RolloutsStarted(seeds=[1])),
     "train_seeds"),
    ("prompt.learning.trial.results", "mipro", E(batch_scored=job.BatchScored()),
     "mean completed total"),
    ("prompt.learning.proposal.scored", "gepa", evaluated(job.EVALUATION_PURPOSE_PROPOSAL),
     "score accuracy"),
    ("prompt.learning.optimized.scored", "mipro", evaluated(job.EVALUATION_PURPOSE_OPTIMIZED),
     "score accuracy"),
    ("prompt.learning.eval.summary", "mipro", E(test_evaluated=TESTED), "score accuracy"),
    ("prompt.learning.candidate.evaluation.started", "mipro",
     E(candidate_evaluation_started=job.CandidateEvaluationStarted()), "candidate_id"),
    ("prompt.learning.candidate.evaluated", "mipro",
     evaluated(job.EVALUATION_PURPOSE_UNSPECIFIED), "candidate_id accuracy"),
    ("prompt.learning.gepa.start", "gepa", E(search_started=job.SearchStarted()), ""),
    ("prompt.learning.gepa.baseline", "gepa", E(baseline_evaluated=BASELINE), "accuracy"),
    ("prompt.learning.gepa.new_best", "gepa", E(new_incumbent=INCUMBENT),
     "accuracy previous_best_score improvement version_id"),
    ("prompt.learning.gepa.candidate.evaluated", "gepa",
     evaluated(job.EVALUATION_PURPOSE_UNSPECIFIED), "candidate_id accuracy"),
    ("prompt.learning.gepa.frontier_updated", "gepa", E(frontier_updated=FRONTIER), "frontier"),
    ("prompt.learning.gepa.generation.start", "gepa",
     E(generation_started=job.GenerationStarted()), "generation"),
    ("prompt.learning.gepa.generation.complete", "gepa", E(generation_completed=GENERATION),
     "generation best_score"),
    ("prompt.learning.gepa.termination.triggered", "gepa",
     ended(job.TERMINATION_REASON_ROLLOUT_LIMIT), ""),
    ("prompt.learning.gepa.complete", "gepa", moved("RUNNING", "SUCCEEDED"), "best_score"),
    ("prompt.learning.gepa.failed", "gepa", moved("RUNNING", "FAILED"), "error"),
    ("gepa.transformation.proposed", "gepa", E(transformation_proposed=TRANSFORMATION),
     "generation mutation_type operator transformation_id parent_id transformation_text"
     " transformation_dict mutation_params"),
    ("prompt.learning.validation.scored", "mipro", E(baseline_evaluated=BASELINE),
     "accuracy rank instance_scores is_baseline"),
    ("prompt.learning.validation.scored", "mipro",
     E(validation_scored=job.ValidationScored(rank=2, scores=SCORES)),
     "accuracy rank instance_scores is_baseline"),
    ("prompt.learning.validation.summary", "mipro", E(validation_summarized=SUMMARY),
     "baseline results"),
    ("prompt.learning.best.prompt", "mipro",
     E(winner_chosen=job.WinnerChosen(reward=estimate(0.6, 9), content=CONTENT)),
     "best_score best_prompt"),
    ("prompt.learning.top.prompt.content", "mipro", E(top_prompt=TOP),
     "rank train_accuracy val_accuracy template full_text"),
    ("prompt.learning.final.results", "mipro", E(final_results=RESULTS),
     "best_prompt best_score optimized_candidates attempted_candidates version_tree validation"),
    ("prompt.learning.billing.start", "mipro", E(billing_started=job.BillingStarted()),
     "seconds total_usd"),
    ("prompt.learning.billing.end", "mipro", E(billing_ended=job.BillingEnded(total=USAGE)),
     "seconds total_usd tokens_usd sandbox_usd"),
    ("mipro.job.started", "mipro", E(search_started=job.SearchStarted()),
     "num_iterations num_trials_per_iteration"),
    ("mipro.iteration.start", "mipro", E(iteration_started=ITERATION),
     "iteration num_iterations num_trials_per_iteration batch_size max_trials max_rollouts"
     " max_time_seconds"),
    ("mipro.instruction.proposed", "mipro", E(component_added=PROPOSED),
     "iteration stage_id module_id instruction_id instruction_text instruction_lines demo_indices"
     " proposal_id"),
    ("mipro.trial.started", "mipro", E(trial_started=job.TrialStarted()),
     "iteration trial num_seeds"),
    ("mipro.trial.complete", "mipro", E(trial_completed=TRIAL),
     "minibatch_score iteration trial num_seeds num_instances"),
    ("mipro.new_incumbent", "mipro", E(new_incumbent=INCUMBENT),
     "minibatch_score best_score iteration trial cumulative_trials num_seeds"),
    ("mipro.fulleval.complete", "mipro", E(full_evaluation_completed=FULL),
     "score iteration trial num_seeds"),
    ("mipro.iteration.complete", "mipro", E(iteration_completed=job.IterationCompleted()),
     "iteration cumulative"),
    ("mipro.tpe.update", "mipro", E(sampler_updated=SAMPLER), "num_observations gamma"),
    ("mipro.budget.update", "mipro", E(budget_updated=BUDGET),
     "total_tokens policy_tokens proposer_tokens total_cost_usd max_token_limit max_spend_usd"
     " category_costs"),
    ("mipro.budget.warning", "mipro",
     E(budget_warning=job.BudgetWarning(cap="max_cost_usd", percent=50, spent=1.1, limit=2.0)),
     "budget percent_used spent limit"),
    ("mipro.budget.summary", "mipro", E(budget_updated=FINAL_BUDGET), "total_tokens"),
    ("mipro.baseline.test", "mipro", E(test_evaluated=BASE_TESTED), "test_score"),
    ("mipro.topk.evaluated", "mipro", E(top_k_evaluated=TOP_K),
     "rank train_score test_score lift_absolute lift_percent instruction_text instruction_lines"
     " instruction_indices demo_indices stage_payloads test_seed_scores test_per_seed"),
    ("mipro.optimization.exhausted", "mipro", ended(EXHAUSTED), ""),
    ("mipro.job.completed", "mipro", E(search_completed=COMPLETED),
     "best_score best_full_score best_minibatch_score best_prompt"),
    ("prompt.learning.mipro.complete", "mipro", moved("RUNNING", "SUCCEEDED"), "best_score"),
    ("prompt.learning.mipro.failed", "mipro", moved("RUNNING", "FAILED"), "error"),
    ("mipro.reward.received", "mipro",
     E(reward_received=job.RewardReceived(rollout_id="r", candidate_id="c", reward=0.5)),
     "rollout_id candidate_id reward"),
]  # fmt: skip

SECOND = {
    "job": {"queued", "started", "progress", "completed", "failed", "cancelled", "paused"},
    "iteration": {"started", "completed"},
    "trial": {"started", "completed"},
    "candidate": {"started", "evaluated", "new_best", "completed", "failed"},
    "frontier": {"updated"},
    "generation": {"started", "completed"},
    "phase": {"started", "completed"},
    "rollout": {"started", "progress", "completed", "failed"},
    "validation": {"evaluated", "summary"},
    "billing": {"started", "updated", "completed", "summary"},
}


def data_of(event: job.JobEvent, *, algorithm: str = "mipro") -> dict[str, Any]:
    envelope = to_envelope(event, job_id="j", algorithm=algorithm)
    return cast(dict[str, Any], envelope["data"])


@pytest.mark.parametrize(
    ("name", "algorithm", "event", "fields"), CONTRACT, ids=[row[0] for row in CONTRACT]
)
def test_the_mapping_carries_every_type_with_its_fields(name, algorithm, event, fields):
    event.level = job.EVENT_LEVEL_INFO
    envelope = to_envelope(event, job_id="j", algorithm=algorithm)
    assert envelope["type"] == name
    assert set(fields.split()) <= data_of(event, algorithm=algorithm).keys()
    assert from_envelope(json.loads(json.dumps(envelope))) == event


def test_only_what_the_sampler_goes_by_is_hidden_from_people():
    hidden = {name for name, *_ in CONTRACT if name in HIDDEN_TYPES}
    assert hidden == {"mipro.tpe.update"}
    assert EventLines().lines(E(sampler_updated=SAMPLER)) == []


def kinds() -> list[job.JobEvent]:
    """One empty event of every kind, and the ones whose name depends on what is in them."""
    found = [event for _, _, event, _ in CONTRACT]
    for field in E.DESCRIPTOR.oneofs_by_name["kind"].fields:
        event = E()
        getattr(event, field.name).SetInParent()
        found.append(event)
    for state in ("PAUSED", "CANCELLED", "PAUSING"):
        found.append(moved("RUNNING", state))
    return found


@pytest.mark.parametrize("algorithm", ["mipro", "gepa"])
def test_the_second_generation_names_an_entity_and_what_became_of_it(algorithm):
    prefix = f"learning.policy.{algorithm}."
    names = {
        str(to_envelope(one, job_id="j", algorithm=algorithm, generation=2)["type"])
        for one in kinds()
    }
    found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    wanted = {f"{entity}.{what}" for entity, all_ in SECOND.items() for what in all_}
    assert wanted <= found
    assert names - {prefix + one for one in found} == {"candidate.added", "stream.connected"}


def test_a_new_best_tells_how_much_better_it_is():
    data = data_of(E(new_incumbent=INCUMBENT), algorithm="gepa")
    assert data["improvement"] == pytest.approx(0.1)
    assert data["num_seeds"] == 9
    first = data_of(E(new_incumbent=job.NewIncumbent(reward=estimate(0.6, 9))))
    assert (first["previous_best_score"], first["improvement"]) == (None, None)


def test_a_prompt_is_told_as_sections_text_and_choices():
    top = data_of(E(top_prompt=TOP))
    assert top["template"]["sections"][0]["content"] == "Sort it.\nBriefly."
    assert top["full_text"] == "[system | main]\nSort it.\nBriefly."
    picked = data_of(E(top_k_evaluated=TOP_K))
    assert (picked["instruction_indices"], picked["demo_indices"]) == ([2], [0])
    assert picked["stage_payloads"]["main"]["instruction_lines"] == ["Sort it.", "Briefly."]
    assert picked["lift_absolute"] == pytest.approx(0.2)
    assert picked["lift_percent"] == pytest.approx(50)


def test_a_lift_over_a_baseline_of_0_has_no_percents():
    top = job.TopKEvaluated(rank=1, reward=estimate(0.6, 9), baseline=estimate(0.0, 9))
    data = data_of(E(top_k_evaluated=top))
    assert (data["lift_absolute"], data["lift_percent"]) == (0.6, None)


def test_a_row_that_was_not_scored_has_no_score_rather_than_zero():
    data = data_of(E(test_evaluated=BASE_TESTED))
    assert data["test_seed_scores"] == [{"seed": 3, "score": 0.5}, {"seed": 4, "score": None}]
    assert data["test_per_seed"] == {"3": 0.5, "4": None}
    assert data_of(E(baseline_evaluated=BASELINE))["instance_scores"] == [0.5, None]


def test_final_results_rank_from_1_on_each_pool():
    data = data_of(E(final_results=RESULTS))
    assert [one["rank"] for one in data["validation"]] == [1]
    pools = ("attempted_candidates", "optimized_candidates", "validation")
    assert [data[name][0]["accuracy"] for name in pools] == [0.7, 0.6, 0.55]


def test_what_a_job_used_is_told_by_role():
    data = data_of(concluded(job.JOB_STATE_SUCCEEDED))
    assert (data["usd_tokens_rollouts"], data["usd_tokens_mutation"]) == (0.5, 0.25)
    assert (data["rollouts_prompt_tokens"], data["rollouts_completion_tokens"]) == (70, 30)


def test_a_transformation_names_its_parent_and_its_text():
    data = data_of(E(transformation_proposed=TRANSFORMATION), algorithm="gepa")
    assert data["parent_id"] == "cand_0"
    assert data["mutation_type"] == "llm_guided"
    (replaced,) = data["transformation_dict"]["text_replacements"]
    assert replaced["new_text"] == "Sort it."
    unknown = data_of(E(transformation_proposed=job.TransformationProposed()), algorithm="gepa")
    assert (unknown["mutation_type"], unknown["parent_id"]) == ("unknown", None)


def test_statuses_and_mutations_have_the_names_of_the_contract():
    def names(enum: Any) -> set[str]:
        prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return {one.name.removeprefix(prefix).lower() for one in enum.values} - {"unspecified"}

    assert names(job.CandidateStatus.DESCRIPTOR) == {
        "in_progress", "evaluating", "evaluated", "accepted", "rejected", "dominated", "completed",
        "failed",
    }  # fmt: skip
    assert names(job.MutationType.DESCRIPTOR) == {
        "initial", "initial_population", "mutation", "crossover", "llm_guided", "synth",
        "optimized", "tpe_selected",
    }  # fmt: skip
