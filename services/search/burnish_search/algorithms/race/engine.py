"""The race: every arm is looked at on shared rows, and the next cells go where they tell most.

A study's life: the baseline and arms that cover every option on a few common rows; then works of
the arms whose cells are expected to add most to the winner, on rows that tell arms apart; new
options are covered as they come. The race ends when the budget is used, when so little reward is
expected to be missed that more cells would not pay, or when the cells speak against differences
that are worth finding. The best are then checked on the validation pool, when that is another one.

Everything is a function of the history, the settings and the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from burnish_search import estimate
from burnish_search.algorithms import ranking
from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.race import settings
from burnish_search.algorithms.race.beliefs import Belief, Beliefs
from burnish_search.algorithms.race.budget import FIRST_ROWS, Allowance
from burnish_search.algorithms.race.turns import Turn, Turns, numbers
from burnish_search.algorithms.ranking import Ranking
from burnish_search.history import History
from burnish_search.model import (
    Candidate,
    EvaluationPlan,
    FinishPlan,
    FinishReason,
    Plan,
    Pool,
    ProposalPlan,
    Ranked,
    StudySpec,
    TrialKind,
    TrialPlan,
)
from burnish_search.problems import StudyInvalid

_PARENTS = 5
_REGRET_DRAWS = 128
_HEADROOM_DRAWS = 256
_LEAST_ARMS = 10
_LEAST_ROWS = 12
# Fewer cells do not tell arms that are alike from arms that differ by a few points.
_LEAST_TRIED = 300
_FIRST_LOOK = 0.32
_LOOK_PART = 16
_USUAL_CELLS = 1000
# Linear algebra may differ in the last digits from machine to machine; a ranking must not.
_DIGITS = 9


class Race:
    """Compares candidates on shared rows, by a mixed model and the knowledge gradient."""

    description: ClassVar[str] = (
        "A race on shared rows: a mixed model of rows, instructions, demo sets and candidates says "
        "which cells to buy next, and when no more are worth their price."
    )

    def __init__(self, spec: StudySpec) -> None:
        """Checks the spec.

        Raises:
            StudyInvalid: Settings or pools cannot be used; lists every problem.
        """
        self.settings, problems = settings.parse(spec.settings)
        pool = self.settings.shared.minibatch_pool
        seeds = spec.online if pool is Pool.ONLINE else spec.validation
        if not seeds:
            name = pool.name.lower()
            problems.append(f"`{name}_pool` is empty; give the seeds that candidates race on")
        if problems:
            raise StudyInvalid(spec.name, problems)
        self.spec = spec
        self.warnings: Sequence[str] = self.settings.shared.warnings
        self._rows = _shuffled(spec, pool, seeds)
        own = pool is Pool.ONLINE and bool(spec.validation)
        self._final = _shuffled(spec, Pool.VALIDATION, spec.validation) if own else ()
        self._beliefs = Beliefs(self.settings, self._rows)
        self._turns = Turns(spec, self.settings, self._beliefs, self._rows)
        self._ranking = Ranking()

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan."""
        allowance = self._allowance(history, ask)
        if not any(trial.kind is TrialKind.TOP_K for trial in history.trials):
            if self._stop_reason(history, allowance) is None:
                plan = self._full(history, ask, allowance) or self._proposal(history, allowance)
                plan = plan or self._batch(history, ask, allowance)
            else:
                plan = self._confirmation(history, allowance)
            plan = plan or self._check(history, allowance)
            if plan is not None:
                return plan
        return FinishPlan(reason=self._reason(history, ask, allowance))

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first."""
        baseline = history.space.baseline()
        if not history.rows:
            return [ranking.unmeasured(baseline)]
        belief = self._beliefs.of(history)
        measured = range(belief.arms.measured_count)
        arms = sorted({*measured, self._baseline_arm(belief, baseline)})
        levels = np.round(belief.posterior.levels[arms], _DIGITS)
        first = [belief.arms.candidate(arm).candidate_id != baseline.candidate_id for arm in arms]
        order = sorted(range(len(arms)), key=lambda place: (-levels[place], first[place]))[:count]
        deviations = belief.posterior.deviations(np.array([arms[place] for place in order]))
        return [
            self._ranked(
                history,
                belief.arms.candidate(arms[place]),
                mean=float(levels[place]),
                deviation=round(float(deviation), _DIGITS),
            )
            for place, deviation in zip(order, deviations, strict=True)
        ]

    def _ranked(
        self, history: History, candidate: Candidate, *, mean: float, deviation: float
    ) -> Ranked:
        own = [history.rewards(candidate.candidate_id, pool) for pool in Pool]
        validation = history.rewards(candidate.candidate_id, Pool.VALIDATION)
        return Ranked(
            candidate=candidate,
            pooled=estimate.normal(mean, deviation=deviation, row_count=sum(map(len, own))),
            validation=estimate.of_rewards(validation) if validation else None,
            baseline=candidate.candidate_id == history.space.baseline().candidate_id,
        )

    def _baseline_arm(self, belief: Belief, baseline: Candidate) -> int:
        for arm in range(belief.arms.measured_count):
            if belief.arms.candidate(arm).candidate_id == baseline.candidate_id:
                return arm
        # The first arm that was not measured: listings begin with the baseline.
        return belief.arms.measured_count

    def _allowance(self, history: History, ask: Ask) -> Allowance:
        shared = self.settings.shared
        searched = sum(len(options) > 1 for options in history.space.options)
        planned = self.settings.max_evaluations or shared.trial_count(searched) * shared.batch_size
        return Allowance.of(
            self.settings,
            history,
            cell_count=ask.cell_count,
            final_row_count=len(self._final),
            planned=planned,
        )

    def _stop_reason(self, history: History, allowance: Allowance) -> FinishReason | None:
        """Returns why the race is over, a tight budget aside; None when it is not."""
        shared = self.settings.shared
        target, patience = shared.target_reward, shared.max_trials_without_improvement
        if target is not None and ranking.reached(history, target, rows=self._target_rows()):
            return FinishReason.TARGET_REACHED
        searched = sum(len(options) > 1 for options in history.space.options)
        planned = self.settings.max_evaluations or shared.trial_count(searched) * shared.batch_size
        if allowance.raced >= planned:
            return FinishReason.COMPLETED
        if patience is not None and self._ranking.unchanged_for(history) >= patience:
            return FinishReason.NO_IMPROVEMENT
        if history.space.size == 1:
            return FinishReason.SPACE_EXHAUSTED
        if self._settled(history, allowance):
            return FinishReason.NO_IMPROVEMENT
        return None

    def _reason(self, history: History, ask: Ask, allowance: Allowance) -> FinishReason:
        """Returns why a race ended that has nothing more to suggest."""
        found = self._stop_reason(history, allowance)
        if found is not None:
            return found
        # Where there was more to race on, the race was over before the final check, which may
        # leave what ended it less plain.
        could_race = self._batch(history, ask, allowance) is not None
        return FinishReason.NO_IMPROVEMENT if could_race else FinishReason.BUDGET

    def _settled(self, history: History, allowance: Allowance) -> bool:
        """Whether no more than a sliver of reward can be won by going on."""
        if not history.rows or self._starts(history):
            return False
        belief = self._beliefs.of(history)
        measured = belief.arms.measured_count
        if len(history.rows) < _LEAST_ROWS * min(_LEAST_ARMS, max(measured, 2)):
            return False
        rng = numbers(self.spec, "regret", 0)
        baseline = self._baseline_arm(belief, history.space.baseline())
        if belief.regret(_REGRET_DRAWS, rng) < self.settings.stop_regret:
            return True
        # More cells find smaller differences, and take longer to say that there are none.
        findable = self.settings.headroom * min(1.0, _USUAL_CELLS / allowance.total)
        before = len(history.prior_rows())
        looked = self._looked(min(allowance.raced, len(history.rows) - before), allowance.total)
        if not looked or not findable or belief.gain(baseline) >= self.settings.least_gain:
            return False
        headroom = belief.headroom(baseline, _HEADROOM_DRAWS, rng)
        # The less there is to spare, the surer it has to be that nothing is missed.
        expected = allowance.total * self._measured_share(history, allowance)
        doubt = max(1.0 - expected / _USUAL_CELLS, 0.0)
        return headroom < findable and self._beliefs.alike(
            history, count=before + looked, doubt=doubt
        )

    @staticmethod
    def _measured_share(history: History, allowance: Allowance) -> float:
        """Returns which part of the race's cells that were answered came with a measurement."""
        waiting = sum(map(len, history.pending.values()))
        measured = len(history.rows) - len(history.prior_rows())
        return min(measured / max(allowance.raced - waiting, 1), 1.0)

    @staticmethod
    def _looked(measured_count: int, total: int) -> int:
        """Returns how many cells there were at the last look at whether candidates differ.

        Looks are at fixed counts, however many cells are in flight: who looks more often finds
        candidates alike more often by chance.
        """
        first, every = max(_LEAST_TRIED, round(_FIRST_LOOK * total)), max(total // _LOOK_PART, 1)
        if measured_count < first:
            return 0
        return measured_count - (measured_count - first) % every

    def _target_rows(self) -> Sequence[RowKey]:
        return self._final or self._rows

    def _full(self, history: History, ask: Ask, allowance: Allowance) -> Plan | None:
        """Plans a full evaluation of a candidate that seems to have reached the target."""
        target = self.settings.shared.target_reward
        if target is None or not history.rows:
            return None
        best = self.rank(history, 1)[0]
        asked = history.asked(best.candidate.candidate_id)
        rows = [row for row in self._target_rows() if row not in asked]
        affordable = ask.cell_count is None or len(rows) <= ask.cell_count - allowance.final_cells
        if best.pooled.mean < target or not rows or not affordable:
            return None
        return EvaluationPlan(
            trials=(self._trial(best.candidate, TrialKind.FULL, rows, allowance),)
        )

    def _proposal(self, history: History, allowance: Allowance) -> Plan | None:
        """Plans a brief when this iteration begins with one."""
        shared = self.settings.shared
        iteration = self._iteration(allowance)
        due = [one for one in shared.generate_at_iterations if 0 < one <= iteration]
        proposals = (work.plan for work in history.works if isinstance(work.plan, ProposalPlan))
        done = {plan.iteration for plan in proposals}
        left = [one for one in due if one not in done]
        if not left or allowance.cells < FIRST_ROWS:
            return None
        parents = [ranked.candidate.candidate_id for ranked in self.rank(history, _PARENTS)]
        return ProposalPlan(
            proposal_id=f"iteration-{left[0]}",
            stage_ids=self.spec.written,
            count=shared.instructions_per_batch,
            parent_candidate_ids=tuple(parents),
            iteration=left[0],
        )

    def _starts(self, history: History) -> bool:
        return not any(trial.kind is TrialKind.MINIBATCH for trial in history.trials)

    def _batch(self, history: History, ask: Ask, allowance: Allowance) -> Plan | None:
        """Plans a work; None when the budget or the rows are used up."""
        turns = self._turns.next(history, ask, allowance)
        if not turns:
            return None
        return self._evaluation(turns, allowance)

    def _confirmation(self, history: History, allowance: Allowance) -> Plan | None:
        """Plans to compare winner and baseline once a race is sure of the winner; None when done.

        No race is confirmed that ended for another reason.
        """
        if not allowance.cells or not history.rows or self._starts(history):
            return None
        rng = numbers(self.spec, "regret", 0)
        belief = self._beliefs.of(history)
        if belief.regret(_REGRET_DRAWS, rng) >= self.settings.stop_regret:
            return None
        turns = self._turns.confirming(history, allowance)
        return self._evaluation(turns, allowance) if turns else None

    def _evaluation(self, turns: Sequence[Turn], allowance: Allowance) -> Plan:
        return EvaluationPlan(
            trials=tuple(
                self._trial(candidate, TrialKind.MINIBATCH, rows, allowance)
                for candidate, rows in turns
            )
        )

    def _check(self, history: History, allowance: Allowance) -> Plan | None:
        """Plans the final check of the best on the validation pool; None when there is none."""
        if not allowance.finalists or not history.rows:
            return None
        ranked = self.rank(history, allowance.finalists + 1)
        chosen = [one.candidate for one in ranked if not one.baseline][: allowance.finalists]
        rows = self._final[: self.settings.shared.top_k_size]
        left = allowance.final_cells
        trials = []
        for place, candidate in enumerate(chosen):
            asked = history.asked(candidate.candidate_id)
            unasked = [row for row in rows if row not in asked][: left // (len(chosen) - place)]
            left -= len(unasked)
            if unasked:
                trials.append(self._trial(candidate, TrialKind.TOP_K, unasked, allowance))
        return EvaluationPlan(trials=tuple(trials)) if trials else None

    def _iteration(self, allowance: Allowance) -> int:
        shared = self.settings.shared
        return allowance.raced // (shared.num_evaluations_per_iteration * shared.batch_size)

    def _trial(
        self, candidate: Candidate, kind: TrialKind, rows: Sequence[RowKey], allowance: Allowance
    ) -> TrialPlan:
        return TrialPlan(
            candidate=candidate, kind=kind, rows=tuple(rows), iteration=self._iteration(allowance)
        )


def _shuffled(spec: StudySpec, pool: Pool, seeds: Sequence[int]) -> tuple[RowKey, ...]:
    order = list(seeds)
    generator(spec, f"order/{pool.name}", 0).shuffle(order)
    return tuple((pool, seed) for seed in order)
