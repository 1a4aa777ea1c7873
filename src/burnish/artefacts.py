"""What a finished job leaves in its results folder.

best_prompt.json       the winner: instruction, demonstrations, every stage
score_history.json     every trial, and every candidate, best first
job_metadata.json      the job, what it spent, how it ended
selected_demos.json    the winner's demonstrations
report.md              the same for a person, the prompt and a diff included
{algorithm}_results_{job}.txt   the report once more, under the name that older scripts look for
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from burnish.prompts import Prompt, PromptDemo, StagePrompt
from burnish.report import render_report
from burnish.results import CandidateOutcome, Estimate, JobOutcome, JobSnapshot


def write_artefacts(folder: Path, snapshot: JobSnapshot, outcome: JobOutcome) -> dict[str, Path]:
    """Writes a job's artefacts.

    Args:
        folder: Created when missing.
        snapshot: Where the job stands.
        outcome: What it found.

    Returns:
        Each file by its name without ending; `best_prompt` and `selected_demos` only when there is
        a winner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents: dict[str, object] = {
        "score_history": score_history(outcome),
        "job_metadata": job_metadata(snapshot, outcome),
    }
    if outcome.best is not None:
        documents["best_prompt"] = best_prompt(outcome.best)
        documents["selected_demos"] = selected_demos(outcome.best)
    written: dict[str, Path] = {}
    for name, document in documents.items():
        written[name] = folder / f"{name}.json"
        text = json.dumps(document, indent=2, ensure_ascii=False)
        written[name].write_text(text + "\n", encoding="utf-8")
    report = render_report(snapshot, outcome)
    names = {
        "report": "report.md",
        "results": f"{snapshot.algorithm or 'job'}_results_{snapshot.job_id}.txt",
    }
    for name, file in names.items():
        written[name] = folder / file
        written[name].write_text(report, encoding="utf-8")
    return written


def best_prompt(winner: CandidateOutcome) -> dict[str, object]:
    """Returns the winner; the fields outside `stages` are those of its first stage."""
    stages = [_stage(stage) for stage in winner.prompt.stages]
    first = stages[0] if stages else {"instruction": {}, "demonstrations": []}
    return {
        "instruction": first["instruction"],
        "content": winner.prompt.text,
        "demonstrations": first["demonstrations"],
        "candidate_id": winner.prompt.candidate_id,
        "is_baseline": winner.baseline,
        "score": winner.score,
        "stages": stages,
    }


def prompt_sections(prompt: Prompt) -> list[dict[str, object]]:
    """Returns a prompt as sections `{role, content, name, order}`."""
    return [
        {"role": "system", "content": stage.instruction, "name": stage.stage_id, "order": index}
        for index, stage in enumerate(prompt.stages)
    ]


def selected_demos(winner: CandidateOutcome) -> list[dict[str, object]]:
    """Returns the winner's demonstrations over every stage."""
    return [
        {"stage_id": stage.stage_id, **_demo(stage, demo), "messages": list(demo.messages)}
        for stage in winner.prompt.stages
        for demo in stage.demos
    ]


def score_history(outcome: JobOutcome) -> dict[str, object]:
    """Returns every trial in order, and every candidate, best first."""
    return {
        "trials": [
            {
                "trial": trial.trial,
                "iteration": trial.iteration,
                "candidate_id": trial.candidate_id,
                "kind": trial.kind,
                "score": None if trial.reward is None else trial.reward.mean,
                "n": 0 if trial.reward is None else trial.reward.row_count,
                "best_so_far": trial.best_so_far,
            }
            for trial in outcome.history
        ],
        "candidates": [
            {
                "rank": one.rank,
                "candidate_id": one.prompt.candidate_id,
                "is_baseline": one.baseline,
                "search": _estimate(one.search),
                "validation": _estimate(one.validation),
                "test": _estimate(one.test),
                "parts": {name: _estimate(mean) for name, mean in one.parts.items()},
                "objectives": {name: _estimate(mean) for name, mean in one.objectives.items()},
                "standing": one.standing,
            }
            for one in outcome.candidates
        ],
        "front": None if outcome.front is None else asdict(outcome.front),
    }


def job_metadata(snapshot: JobSnapshot, outcome: JobOutcome) -> dict[str, object]:
    """Returns the job, what it spent and how it ended."""
    best = outcome.best.score if outcome.best is not None else None
    baseline = outcome.baseline.score if outcome.baseline is not None else None
    created = snapshot.create_time
    return {
        "job_id": snapshot.job_id,
        "name": snapshot.name,
        "algorithm": snapshot.algorithm,
        "status": snapshot.state,
        "termination_reason": snapshot.termination_reason,
        "created_at": None if created is None else created.isoformat(),
        "best_score": best,
        "best_reward": best,
        "baseline_score": baseline,
        "improvement": _estimate(outcome.improvement),
        "verdict": outcome.verdict,
        "held_out": None if outcome.held_out is None else asdict(outcome.held_out),
        "prompt_best_validation_score": best,
        "prompts_evaluated": len(outcome.candidates),
        "rollouts_by_phase": dict(outcome.rollouts_by_phase),
        "unscored_by_reason": dict(outcome.unscored_by_reason),
        "usage_by_role": {role: asdict(spent) for role, spent in outcome.usage_by_role.items()},
        "proposed_by": outcome.proposed_by,
        "verifier_graph": outcome.verifier_graph,
        "reward_weights": dict(outcome.reward_weights),
        "simulated_count": outcome.simulated_count,
        "warnings": list(snapshot.warnings),
        "spec": snapshot.plain.get("spec"),
    }


def _stage(stage: StagePrompt) -> dict[str, object]:
    return {
        "stage_id": stage.stage_id,
        "instruction": {"role": "system", "content": stage.instruction},
        "demonstrations": [_demo(stage, demo) for demo in stage.demos],
        "pattern": [{"role": role, "pattern": text} for role, text in stage.pattern],
    }


def _demo(stage: StagePrompt, demo: PromptDemo) -> dict[str, object]:
    bindings: Mapping[str, str] = demo.bindings
    query = next(iter(bindings.values())) if len(bindings) == 1 else stage.demo_query(demo)
    return {"query": query, "label": demo.label}


def _estimate(estimate: Estimate | None) -> dict[str, object] | None:
    return None if estimate is None else asdict(estimate)
