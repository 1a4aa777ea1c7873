"""The readable report of a job: did the prompt get better, by how much, and at what cost."""

from __future__ import annotations

from burnish.fronts import front_table
from burnish.report_proxy import proxy_section
from burnish.results import CandidateOutcome, Estimate, JobOutcome, JobSnapshot
from burnish.usages import Usage
from burnish.verdicts import chance

_SHOWN_CANDIDATES = 10
_CORRECTED = {
    "shrinkage": "less the luck of being the best of many",
    "both_models": "to be expected on other rows, by the search's model and the verdict's",
}


def render_report(snapshot: JobSnapshot, outcome: JobOutcome) -> str:
    """Returns the report as Markdown."""
    parts = [
        f"# {(snapshot.algorithm or 'job').upper()} job {snapshot.job_id}",
        _verdict(snapshot, outcome),
        _held_out(outcome),
        _why(outcome),
        _parts(outcome),
        _search(outcome),
        _front(outcome),
        _spend(outcome),
        proxy_section(snapshot.plain),
        _prompt(outcome),
        _notes(snapshot, outcome),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def percent(part: float, whole: float) -> str:
    """Returns a gain in percent of what was there; empty when nothing was."""
    return f"{part / whole:+.1%}" if whole > 0 else ""


def _verdict(snapshot: JobSnapshot, outcome: JobOutcome) -> str:
    ended = snapshot.termination_reason.replace("_", " ") or "not ended"
    by = f" by engine `{snapshot.engine}`" if snapshot.engine else ""
    lines = [f"Status: **{snapshot.state}** (search{by}: {ended})."]
    if snapshot.failure is not None:
        lines.append(f"Failure: `{snapshot.failure[0]}`: {snapshot.failure[1]}")
    if outcome.verdict:
        lines.append(f"**{outcome.verdict}**")
    return "\n\n".join(lines)


def _held_out(outcome: JobOutcome) -> str:
    best, baseline, gain = outcome.challenger, outcome.baseline, outcome.improvement
    name = "winner" if best is outcome.best else "challenger"
    if best is None or best.test is None or baseline is None or baseline.test is None:
        tried = outcome.rollouts_by_phase.get("test", 0)
        why = f"None of {tried} rollouts of the test pool could be scored for both prompts"
        return (
            f"## Held-out rows\n\n{why if tried else 'No test pool was run'}, so nothing here says "
            "how the prompt does on rows that the search never saw."
        )
    rows = [
        "| prompt | mean reward | interval | rows |",
        "|---|---|---|---|",
        _row("baseline", baseline.test),
        _row(name, best.test),
    ]
    if gain is not None:
        rows.append(_row("difference (paired)", gain, sign=True))
        relative = percent(gain.mean, baseline.test.mean)
        note = f"The {name} earns {relative} relative to the baseline." if relative else ""
        surely = "above" if gain.lower > 0 else "below" if gain.upper < 0 else "not clear of"
        rows += ["", f"{note} The interval of the difference is {surely} 0.".strip()]
    return "\n".join(
        [f"## Baseline and {name} on the same held-out rows", "", *rows, *_sure(outcome)]
    )


def _sure(outcome: JobOutcome) -> list[str]:
    """Returns how sure the verdict is, and what the choice among many did to the estimate."""
    found = outcome.held_out
    if found is None:
        return []
    rows = []
    if found.probability is not None and found.p_value is not None:
        rows += [
            "",
            f"Verdict: **{found.verdict}**. P(improve) is {chance(found.probability)} after a"
            f" sceptical prior; promotion asks for {found.min_probability:g}. The two differ on"
            f" {found.gained_rows + found.lost_rows} rows: better on {found.gained_rows}, worse on"
            f" {found.lost_rows} (p = {found.p_value:.3g}, {found.method.replace('_', ' ')})."
            f" By itself a test of this size finds gains from {found.detectable_gain:.3f} on.",
        ]
    if found.expected is not None and found.held_out_probability is not None:
        gain = found.expected
        rows += [
            "",
            f"By the held-out rows alone P(improve) is {chance(found.held_out_probability)};"
            f" {found.search_rewards} rewards of the search count besides, on rows that no prompt"
            f" was made from. By all of them together the gain is believed to be {gain.mean:+.4f}"
            f" [{gain.lower:+.4f}, {gain.upper:+.4f}] ({gain.confidence:.0%}): the winner's luck"
            " is taken off.",
        ]
    if found.raw is not None and found.corrected is not None:
        rows += [
            "",
            "| mean of the chosen prompt on the rows that chose it | mean | interval | rows |",
            "|---|---|---|---|",
            _row("as it was seen", found.raw),
            _row(_CORRECTED.get(found.corrected_by, "less its luck"), found.corrected),
        ]
    return rows


def _why(outcome: JobOutcome) -> str:
    """Returns why there is no gain, when there is none."""
    if outcome.held_out is None or not outcome.held_out.causes:
        return ""
    causes = [f"- `{cause}`: {seen}" for cause, seen in outcome.held_out.causes.items()]
    return "\n".join(["## Why no gain", "", *causes])


def _row(name: str, estimate: Estimate, *, sign: bool = False) -> str:
    form = "+.4f" if sign else ".4f"
    return (
        f"| {name} | {estimate.mean:{form}} | [{estimate.lower:{form}}, {estimate.upper:{form}}] "
        f"({estimate.confidence:.0%}) | {estimate.row_count} |"
    )


def _parts(outcome: JobOutcome) -> str:
    """Returns what rewards consist of, when that is more than the app's own."""
    weights = outcome.reward_weights
    if not outcome.verifier_graph:
        return ""
    rows = ["## What the reward consists of", "", f"Scored by `{outcome.verifier_graph}`.", ""]
    rows += [f"| prompt | {' | '.join(f'{name} x{weights[name]:g}' for name in weights)} |"]
    rows.append("|---" * (len(weights) + 1) + "|")
    for name, one in (("baseline", outcome.baseline), ("winner", outcome.challenger)):
        if one is not None:
            cells = [_cell(one.parts.get(part)) for part in weights]
            rows.append(f"| {name} | {' | '.join(cells)} |")
    if outcome.simulated_count:
        rows += [
            "",
            f"A simulated judge had a part in {outcome.simulated_count} rewards: they show that the"
            " parts work together, and nothing of what a real judge would say.",
        ]
    return "\n".join(rows)


def _search(outcome: JobOutcome) -> str:
    if not outcome.candidates:
        return ""
    rows = ["## Candidates, best first", "", "| rank | candidate | search | validation | test |"]
    rows.append("|---|---|---|---|---|")
    for one in outcome.candidates[:_SHOWN_CANDIDATES]:
        name = "baseline" if one.baseline else f"`{one.prompt.candidate_id[:13]}`"
        cells = [_cell(one.search), _cell(one.validation), _cell(one.test)]
        rows.append(f"| {one.rank} | {name} | {' | '.join(cells)} |")
    left_out = len(outcome.candidates) - _SHOWN_CANDIDATES
    if left_out > 0:
        rows += ["", f"{left_out} more are in `score_history.json`."]
    rows += ["", f"{len(outcome.history)} trials."]
    return "\n".join(rows)


def _front(outcome: JobOutcome) -> str:
    """Returns what candidates earn against what they cost, as far as search compared them."""
    lines = front_table(outcome)
    if outcome.front is None or not lines:
        return ""
    return "\n".join([f"## Reward against {outcome.front.objective}", "", *lines])


def _cell(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.mean:.4f} (n={estimate.row_count})"


def _spend(outcome: JobOutcome) -> str:
    rows = ["## Spend", ""]
    rows.append("| role | calls | possibly paid | tokens in | tokens out | US dollars |")
    rows.append("|---|---|---|---|---|---|")
    for role, spent in outcome.usage_by_role.items():
        rows.append(
            f"| {role} | {spent.call_count} | {spent.possibly_paid_call_count} | "
            f"{spent.input_tokens} | {spent.output_tokens} | {_dollars(spent)} |"
        )
    if any(spent.possibly_paid_call_count for spent in outcome.usage_by_role.values()):
        rows += [
            "",
            "Possibly paid: a try whose answer never came; it is in the dollars at the most"
            " that it can have cost.",
        ]
    phases = ", ".join(f"{name} {count}" for name, count in outcome.rollouts_by_phase.items())
    if phases:
        rows += ["", f"Rollouts: {phases}."]
    return "\n".join(rows) if outcome.usage_by_role or phases else ""


def _dollars(spent: Usage) -> str:
    return "unknown" if spent.cost_usd is None else f"{spent.cost_usd:.4f}"


def _prompt(outcome: JobOutcome) -> str:
    if outcome.best is None:
        return ""
    parts = ["## The prompt", _fenced(outcome.best.prompt.full_text)]
    baseline = outcome.baseline
    if baseline is not None and not outcome.best.baseline:
        parts += ["## Changes from the baseline", _fenced(_diff(outcome.best, baseline), "diff")]
    return "\n\n".join(parts)


def _diff(best: CandidateOutcome, baseline: CandidateOutcome) -> str:
    return best.prompt.diff(baseline.prompt)


def _fenced(text: str, kind: str = "text") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}"


def _notes(snapshot: JobSnapshot, outcome: JobOutcome) -> str:
    notes = [f"- {warning}" for warning in snapshot.warnings]
    if outcome.proposed_by:
        notes.append(f"- Instructions by {outcome.proposed_by}.")
    for reason, count in outcome.unscored_by_reason.items():
        notes.append(f"- {count} rollouts without a reward: {reason}. They count as not measured.")
    return "\n".join(["## Notes", "", *notes]) if notes else ""
