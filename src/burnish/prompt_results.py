"""A job's state and result as the dictionaries that Synth's clients read.

Rank 1 is the best everywhere. Every number named `score` is there as `reward` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from burnish.artefacts import prompt_sections
from burnish.results import CandidateOutcome, JobOutcome, JobSnapshot

Document = dict[str, object]

_BIN_COUNT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptResults:
    """What a prompt learning job found.

    Attributes:
        best_prompt: The winner as sections; None before there is one.
        best_score: Its mean reward.
        version_tree: Parents of each candidate.
        top_prompts: Best first, each with rank, accuracies and text.
        optimized_candidates: Candidates that were fully evaluated, best first.
        attempted_candidates: Every candidate, best first.
        validation_results: Held-out results of baseline and winner.
    """

    best_prompt: Document | None = None
    best_score: float | None = None
    version_tree: Document = field(default_factory=dict)
    top_prompts: Sequence[Document] = ()
    optimized_candidates: Sequence[Document] = ()
    attempted_candidates: Sequence[Document] = ()
    validation_results: Sequence[Document] = ()

    def text(self, rank: int = 1) -> str | None:
        """Returns the text of the prompt of a rank, 1 being the best; None when there is none."""
        for prompt in self.top_prompts:
            if prompt["rank"] == rank:
                return str(prompt["full_text"])
        return None


def prompt_results(outcome: JobOutcome) -> PromptResults:
    """Returns what a job found in the shape of Synth's results."""
    best = outcome.best
    return PromptResults(
        best_prompt=(
            None
            if best is None
            else {
                "id": best.prompt.candidate_id,
                "sections": prompt_sections(best.prompt),
                "text": best.prompt.text,
            }
        ),
        best_score=None if best is None else best.score,
        top_prompts=[_top_prompt(one) for one in outcome.candidates],
        optimized_candidates=[
            _candidate(one) for one in outcome.candidates if one.validation is not None
        ],
        attempted_candidates=[_candidate(one) for one in outcome.candidates],
        validation_results=[
            {
                "rank": one.rank,
                "accuracy": one.test.mean,
                "is_baseline": one.baseline,
                "candidate_id": one.prompt.candidate_id,
                "instance_scores": list(one.test_scores.values()),
                "instance_seeds": list(one.test_scores),
                "n": one.test.row_count,
                "lower": one.test.lower,
                "upper": one.test.upper,
            }
            for one in (best, outcome.baseline)
            if one is not None and one.test is not None
        ],
    )


def results_document(outcome: JobOutcome) -> Document:
    """Returns what a job found as one dictionary, with what Synth's has not: the honest part."""
    results = prompt_results(outcome)
    return {
        **asdict(results),
        "best_reward": results.best_score,
        "baseline_score": None if outcome.baseline is None else outcome.baseline.score,
        "test_score": (
            outcome.best.test.mean if outcome.best is not None and outcome.best.test else None
        ),
        "baseline_test_score": (
            outcome.baseline.test.mean
            if outcome.baseline is not None and outcome.baseline.test
            else None
        ),
        "improvement": None if outcome.improvement is None else asdict(outcome.improvement),
        "verdict": outcome.verdict,
        "total_trials": len(outcome.history),
        "usage_by_role": {role: asdict(spent) for role, spent in outcome.usage_by_role.items()},
    }


def status_document(snapshot: JobSnapshot) -> Document:
    """Returns where a job stands in the shape of Synth's job."""
    best = None if snapshot.best_reward is None else snapshot.best_reward.mean
    created = snapshot.create_time
    return {
        "job_id": snapshot.job_id,
        "id": snapshot.job_id,
        "status": snapshot.state,
        "phase": snapshot.phase,
        "algorithm": snapshot.algorithm,
        "best_score": best,
        "best_reward": best,
        "progress": snapshot.plain.get("progress"),
        "percent_overall": snapshot.fraction,
        "error": None if snapshot.failure is None else snapshot.failure[1],
        "error_reason": None if snapshot.failure is None else snapshot.failure[0],
        "termination_reason": snapshot.termination_reason or None,
        "warnings": list(snapshot.warnings),
        "created_at": None if created is None else created.isoformat(),
        "last_seq": snapshot.last_sequence,
        "metadata": {"prompt_best_validation_score": best},
    }


def scoring_summary(outcome: JobOutcome) -> Document:
    """Returns the scores of a job at a glance; the baseline is not among the best."""
    own = [one for one in outcome.candidates if not one.baseline]
    train = [one.search.mean for one in own if one.search is not None]
    validation = [one.validation.mean for one in own if one.validation is not None]
    bins = [0] * _BIN_COUNT
    for score in train:
        bins[min(_BIN_COUNT - 1, max(0, int(score * _BIN_COUNT)))] += 1
    edges = [index / _BIN_COUNT for index in range(_BIN_COUNT + 1)]
    return {
        "best_train_accuracy": max(train, default=None),
        "best_val_accuracy": max(validation, default=None),
        "num_candidates_tried": len(outcome.candidates),
        "num_frontier_candidates": len(validation),
        "mean_train_accuracy": sum(train) / len(train) if train else None,
        "score_distribution": {
            f"{low:.1f}-{high:.1f}": count
            for low, high, count in zip(edges, edges[1:], bins, strict=False)
        },
    }


def _top_prompt(one: CandidateOutcome) -> Document:
    return {
        "rank": one.rank,
        "candidate_id": one.prompt.candidate_id,
        "is_baseline": one.baseline,
        "train_accuracy": None if one.search is None else one.search.mean,
        "val_accuracy": None if one.validation is None else one.validation.mean,
        "template": {"sections": prompt_sections(one.prompt)},
        "full_text": one.prompt.full_text,
    }


def _candidate(one: CandidateOutcome) -> Document:
    return {
        "rank": one.rank,
        "candidate_id": one.prompt.candidate_id,
        "is_baseline": one.baseline,
        "accuracy": one.score,
        "score": {
            "accuracy": one.score,
            "prompt_length": len(one.prompt.full_text),
            "instance_scores": list(one.test_scores.values()),
        },
        "payload_kind": "template",
        "object": {"data": {"sections": prompt_sections(one.prompt)}},
    }
