"""The search that `mipro` and `random` share: minibatch trials, full evaluations, a final re-score.

Which candidate a minibatch trial looks at is the algorithm's own; everything else is here:

* minibatch trials, so many per iteration, until the planned number, the budget, the target, the
  patience or the space is used up;
* every k trials a full evaluation of the incumbent, when the budget still covers what is planned;
* with an adaptive pool, minibatches of the rows that are worth a look (`adaptive`);
* in some iterations a brief for the proposer first;
* at the end the top k by pooled estimate are re-scored on the same validation rows. Their cells are
  reserved before anything else is spent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Set

from burnish_search.algorithms import ranking, settings
from burnish_search.algorithms.adaptive import AdaptiveMinibatches, AdaptivePool
from burnish_search.algorithms.adaptive import settings as adaptive_settings
from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.budget import Allowance
from burnish_search.algorithms.minibatches import Minibatches, RowKey
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
    Sampler,
    StudySpec,
    TrialKind,
    TrialPlan,
)
from burnish_search.problems import StudyInvalid

_PARENTS = 5


class MinibatchSearch(ABC):
    """A search by minibatch trials; the algorithm chooses their candidates."""

    def __init__(self, spec: StudySpec) -> None:
        """Checks the spec.

        Raises:
            StudyInvalid: Settings or pools cannot be used; lists every problem.
        """
        rest = {key: value for key, value in spec.settings.items() if key != "adaptive_pool"}
        self.settings, problems = settings.parse(rest)
        pool = self.settings.minibatch_pool
        seeds = spec.online if pool is Pool.ONLINE else spec.validation
        if not spec.validation:
            problems.append("`validation_pool` is empty; give the seeds of full evaluations")
        if not seeds and pool is Pool.ONLINE:
            problems.append("`online_pool` is empty; give the seeds of minibatches")
        adaptive, wrong = adaptive_settings.parse(spec.settings.get("adaptive_pool"))
        problems += wrong
        if problems:
            raise StudyInvalid(spec.name, problems)
        self.spec = spec
        self.warnings: Sequence[str] = self.settings.warnings
        self._minibatches: Minibatches | AdaptiveMinibatches = Minibatches(spec, pool, seeds)
        if adaptive is not None:
            self._minibatches = AdaptiveMinibatches(
                AdaptivePool(spec, pool, seeds, adaptive),
                spec,
                trials_per_iteration=self.settings.num_evaluations_per_iteration,
            )
        self._validation = self._validation_rows()
        self._ranking = Ranking()

    @abstractmethod
    def choose(
        self,
        history: History,
        ask: Ask,
        pending: Sequence[Candidate],
        fits: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """Returns the next candidate to look at; None when none is found that fits."""

    def sampler(self, history: History) -> Sampler | None:
        """Returns what the next minibatch's candidate is chosen by; None without a sampler."""
        return None

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan."""
        if history.kinds[TrialKind.TOP_K]:
            return FinishPlan(reason=self._stop_reason(history) or FinishReason.BUDGET)
        allowance = self._allowance(history, ask)
        if self._stop_reason(history) is None:
            plan = self._full(history, allowance) or self._proposal(history, allowance)
            plan = plan or self._trials(history, ask, allowance)
            if plan is not None:
                return plan
        return self._top_k(history, allowance)

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first."""
        return self._ranking.ranked(history, count=count)

    def _allowance(self, history: History, ask: Ask) -> Allowance:
        return Allowance.of(
            self.settings,
            history,
            cell_count=ask.cell_count,
            validation_count=len(self._validation),
            trial_count=self.trial_count(history),
        )

    def trial_count(self, history: History) -> int:
        """Returns how many minibatch trials are planned."""
        searched = sum(len(options) > 1 for options in history.space.options)
        return self.settings.trial_count(searched)

    def _stop_reason(self, history: History) -> FinishReason | None:
        """Returns why no further minibatch trial is wanted, budget aside; None when one is."""
        patience, target = (
            self.settings.max_trials_without_improvement,
            self.settings.target_reward,
        )
        if target is not None and ranking.reached(history, target, rows=self._validation):
            return FinishReason.TARGET_REACHED
        if history.minibatch_count >= self.trial_count(history):
            return FinishReason.COMPLETED
        if patience is not None and self._ranking.unchanged_for(history) >= patience:
            return FinishReason.NO_IMPROVEMENT
        return FinishReason.SPACE_EXHAUSTED if self._exhausted(history) else None

    def _exhausted(self, history: History) -> bool:
        """Whether no candidate has a row left that it was not asked."""
        size = history.space.size
        if size == 1:
            return True
        known = history.candidates.values()
        if size > len(known) or size > sum(map(history.space.offers, known)):
            return False
        return not any(
            self._minibatches.has_left(history.asked(candidate_id))
            for candidate_id, candidate in history.candidates.items()
            if history.space.offers(candidate)
        )

    def _full(self, history: History, allowance: Allowance) -> Plan | None:
        """Plans a full evaluation of the incumbent when one is due and affordable."""
        done, every = history.minibatch_count, self.settings.full_eval_every_k
        if not done or history.trials[-1].kind is TrialKind.FULL:
            return None
        target = self.settings.target_reward
        incumbent = (
            self._ranking.incumbent(history) if target is not None or done % every == 0 else None
        )
        if incumbent is None:
            return None
        hopeful = target is not None and incumbent.mean >= target
        if done % every and not hopeful:
            return None
        rows = self._unasked(history, incumbent.candidate, self._validation)
        planned = self.trial_count(history) - done
        if not rows or not allowance.covers_full(len(rows), minibatches=planned):
            return None
        return EvaluationPlan(
            trials=(self._trial(history, incumbent.candidate, TrialKind.FULL, rows),)
        )

    def _proposal(self, history: History, allowance: Allowance) -> Plan | None:
        """Plans a brief when this iteration begins with one."""
        iteration, within = divmod(
            history.minibatch_count, self.settings.num_evaluations_per_iteration
        )
        if within or not iteration or iteration not in self.settings.generate_at_iterations:
            return None
        proposals = (work.plan for work in history.works if isinstance(work.plan, ProposalPlan))
        if any(plan.iteration == iteration for plan in proposals) or not allowance.minibatches:
            return None
        parents = [ranked.candidate.candidate_id for ranked in self.rank(history, _PARENTS)]
        return ProposalPlan(
            proposal_id=f"iteration-{iteration}",
            stage_ids=self.spec.written,
            count=self.settings.instructions_per_batch,
            parent_candidate_ids=tuple(parents),
            iteration=iteration,
        )

    def _trials(self, history: History, ask: Ask, allowance: Allowance) -> Plan | None:
        """Plans minibatch trials; None when the budget or the space has none left."""
        done, size = history.minibatch_count, allowance.batch_size
        room = min(
            self.settings.max_parallel_trials,
            allowance.minibatches,
            self.settings.num_evaluations_per_iteration
            - done % self.settings.num_evaluations_per_iteration,
            self.settings.full_eval_every_k - done % self.settings.full_eval_every_k,
        )
        plans: list[TrialPlan] = []
        planned: dict[str, set[RowKey]] = {}

        def asked(candidate: Candidate) -> set[RowKey]:
            before = history.asked(candidate.candidate_id)
            besides = planned.get(candidate.candidate_id)
            return before | besides if besides else before

        def fits(candidate: Candidate) -> bool:
            offered = history.space.offers(candidate)
            return offered and self._minibatches.has_left(asked(candidate))

        for place in range(room):
            pending = [plan.candidate for plan in plans]
            candidate = self.choose(history, ask, pending, fits)
            if candidate is None:
                break
            rows = self._draw(history, done + place, size, asked(candidate))
            planned.setdefault(candidate.candidate_id, set()).update(rows)
            plans.append(self._trial(history, candidate, TrialKind.MINIBATCH, rows, place=place))
        if not plans:
            return None
        return EvaluationPlan(trials=tuple(plans), sampler=self.sampler(history))

    def _draw(
        self, history: History, number: int, size: int, asked: Set[RowKey]
    ) -> tuple[RowKey, ...]:
        if isinstance(self._minibatches, AdaptiveMinibatches):
            return self._minibatches.draw(history, number, size, asked=asked)
        return self._minibatches.draw(number, size, asked=asked)

    def _top_k(self, history: History, allowance: Allowance) -> Plan:
        """Plans the re-score of the top k, or the end when nothing is left to observe."""
        chosen = self._ranking.finalists(history, count=allowance.finalists)
        per_candidate = allowance.rows_per_finalist(
            [len(self._unasked(history, candidate, self._final_rows())) for candidate in chosen]
        )
        trials = [
            self._trial(history, candidate, TrialKind.TOP_K, rows)
            for candidate in chosen
            if (rows := self._unasked(history, candidate, self._final_rows())[:per_candidate])
        ]
        if trials:
            return EvaluationPlan(trials=tuple(trials))
        return FinishPlan(reason=self._stop_reason(history) or FinishReason.BUDGET)

    def _trial(
        self,
        history: History,
        candidate: Candidate,
        kind: TrialKind,
        rows: Sequence[RowKey],
        *,
        place: int = 0,
    ) -> TrialPlan:
        position = history.minibatch_count + place
        iteration = position // self.settings.num_evaluations_per_iteration
        return TrialPlan(candidate=candidate, kind=kind, rows=tuple(rows), iteration=iteration)

    def _unasked(
        self, history: History, candidate: Candidate, rows: Sequence[RowKey]
    ) -> Sequence[RowKey]:
        asked = history.tried_on(candidate.candidate_id)
        return [row for row in rows if row not in asked]

    def _final_rows(self) -> Sequence[RowKey]:
        return self._validation[: self.settings.top_k_size]

    def _validation_rows(self) -> Sequence[RowKey]:
        seeds = list(self.spec.validation)
        generator(self.spec, "validation", 0).shuffle(seeds)
        return [(Pool.VALIDATION, seed) for seed in seeds[: self.settings.validation_size]]
