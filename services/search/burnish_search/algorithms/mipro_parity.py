"""MIPROv2's own protocol: the mode of the `tpe` engine that reproduces DSPy 3.4.1 trial by trial.

Bootstrapping and proposing are done before a search begins, so what is reproduced is the third
step, for a given space. A row that a candidate was asked before is not asked again: its reward is
looked up. What differs: a measurement that is missing is left out of a mean, never counted as 0;
and a budget that does not pay for an evaluation ends the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from burnish_search import estimate
from burnish_search.algorithms import settings
from burnish_search.algorithms.base import Ask
from burnish_search.algorithms.mipro_protocol import Evaluation, Protocol, Steps, steps
from burnish_search.history import History
from burnish_search.model import (
    Candidate,
    EvaluationPlan,
    FinishPlan,
    FinishReason,
    Plan,
    Pool,
    Ranked,
    StudySpec,
    Trial,
    TrialKind,
    TrialPlan,
    TrialState,
)
from burnish_search.problems import ChangeInvalid, StudyInvalid

_DEFAULTS = {"minibatch_source": "validation", "batch_size": settings.PRESET_BATCH_SIZE}


class MiproParity:
    """DSPy 3.4.1's MIPROv2, its third step."""

    description: ClassVar[str] = (
        "MIPROv2's protocol as DSPy 3.4.1 has it, trial by trial: fresh minibatches of validation "
        "rows, full evaluations of the best mean; the winner is the best full evaluation."
    )

    def __init__(self, spec: StudySpec) -> None:
        """Checks the spec.

        Raises:
            StudyInvalid: Settings or pools cannot be used; lists every problem.
        """
        self.settings, problems = settings.parse({**_DEFAULTS, **spec.settings})
        if not spec.validation:
            problems.append("`validation_pool` is empty; give the seeds of evaluations")
        elif self.settings.auto is None and self.settings.batch_size > len(spec.validation):
            problems.append(
                f"`batch_size` is {self.settings.batch_size}, more than the "
                f"{len(spec.validation)} seeds of `validation_pool`; give at most as many"
            )
        if self.settings.minibatch_pool is not Pool.VALIDATION:
            problems.append(
                "`minibatch_source` is `online`; MIPROv2's protocol draws minibatches from the "
                "validation pool: remove it"
            )
        if problems:
            raise StudyInvalid(spec.name, problems)
        self.spec = spec
        self.warnings: Sequence[str] = self.settings.warnings
        self._play: _Play | None = None

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan."""
        play = self._played(history)
        evaluation = play.pending
        if evaluation is None:
            return FinishPlan(reason=FinishReason.COMPLETED)
        rows = play.fresh_rows(evaluation)
        if ask.cell_count is not None and len(rows) > ask.cell_count:
            return FinishPlan(reason=FinishReason.BUDGET)
        trial = TrialPlan(
            candidate=play.candidate(evaluation),
            kind=TrialKind.FULL if evaluation.full else TrialKind.MINIBATCH,
            rows=tuple((Pool.VALIDATION, seed) for seed in rows),
            iteration=history.minibatch_count // self.settings.full_eval_every_k,
        )
        return EvaluationPlan(trials=(trial,))

    def evaluations(self, history: History) -> Sequence[tuple[Evaluation, float | None]]:
        """Returns every evaluation so far and its score as a percentage, in order.

        Those are among them that no trial was needed for, as every row had been asked before.
        """
        return self._played(history).done

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns candidates that were evaluated in full, best first, then the others."""
        full = self._played(history).full
        baseline = history.space.baseline()
        # The first of equals stays ahead: candidates are in the order of their full evaluations.
        known = {one: history.candidates[one] for one in full}
        known |= {baseline.candidate_id: baseline, **history.candidates}
        order = sorted(known.values(), key=lambda one: -full.get(one.candidate_id, -1.0))
        ranked = []
        for candidate in order[:count]:
            rewards = history.rewards(candidate.candidate_id, Pool.VALIDATION)
            measured = estimate.of_rewards(rewards) if rewards else None
            ranked.append(
                Ranked(
                    candidate=candidate,
                    pooled=estimate.UNKNOWN if measured is None else measured,
                    validation=measured,
                    baseline=candidate.candidate_id == baseline.candidate_id,
                )
            )
        return ranked

    def _played(self, history: History) -> _Play:
        """Returns the run as far as the history goes."""
        if history.grown_at:
            raise ChangeInvalid(
                self.spec.name,
                ["MIPROv2's protocol searches a space that is fixed; use `engine = race`"],
            )
        play = self._play
        if play is None or play.provisional:
            play = _Play(history, self._protocol(history))
        play.follow()
        self._play = play
        return play

    def _protocol(self, history: History) -> Protocol:
        counts = tuple(len(options) for options in history.space.options)
        return Protocol(
            seed=self.spec.random_seed,
            option_counts=counts,
            rows=self.spec.validation,
            trial_count=self.settings.trial_count(sum(each > 1 for each in counts)),
            batch_size=self.settings.batch_size,
            full_every=self.settings.full_eval_every_k,
            preset_rows=self.settings.validation_size,
        )


class _Play:
    """A run of the protocol on a history.

    Attributes:
        pending: Evaluation that the history does not hold; None when the run is over.
        provisional: Whether it went on from a trial that was still open, so that it must be played
            again from the start.
        full: Scores of full evaluations by candidate id, in order.
        done: Every evaluation that was answered, and its score.
    """

    def __init__(self, history: History, protocol: Protocol) -> None:
        self._history = history
        self._steps: Steps = steps(protocol)
        self._asked = {candidate: set(history.asked(candidate)) for candidate in history.candidates}
        for trial in history.trials:
            self._asked[trial.candidate.candidate_id].difference_update(
                cell.row for cell in trial.cells
            )
        self._rewards: dict[tuple[str, int], tuple[int, float]] = {}
        self._row_count = 0
        self._trial_count = 0
        self._known_rows = len(history.prior_rows())
        self.provisional = False
        self.full: dict[str, float] = {}
        self.done: list[tuple[Evaluation, float | None]] = []
        self.pending: Evaluation | None = next(self._steps)

    def follow(self) -> None:
        """Answers evaluations with what the history holds."""
        self._read()
        while self.pending is not None:
            evaluation = self.pending
            fresh = self.fresh_rows(evaluation)
            if fresh and self._trial_count == len(self._history.trials):
                return
            if fresh:
                self._take(self._history.trials[self._trial_count], evaluation, fresh)
            self._answer(evaluation)

    def candidate(self, evaluation: Evaluation) -> Candidate:
        """Returns the candidate of an evaluation."""
        space = self._history.space
        return space.candidate(
            [
                options[option]
                for options, option in zip(space.options, evaluation.options, strict=True)
            ]
        )

    def fresh_rows(self, evaluation: Evaluation) -> list[int]:
        """Returns the rows of an evaluation that its candidate was not asked before it."""
        asked = self._asked.get(self.candidate(evaluation).candidate_id, set())
        return [seed for seed in evaluation.rows if (Pool.VALIDATION, seed) not in asked]

    def _read(self) -> None:
        rows = self._history.rows
        for place in range(self._row_count, len(rows)):
            row = rows[place]
            if row.pool is Pool.VALIDATION:
                self._rewards.setdefault((row.candidate_id, row.seed), (place, row.reward))
        self._row_count = len(rows)

    def _take(self, trial: Trial, evaluation: Evaluation, fresh: Sequence[int]) -> None:
        candidate = self.candidate(evaluation)
        cells = [(cell.pool, cell.seed) for cell in trial.cells]
        if trial.candidate != candidate or cells != [(Pool.VALIDATION, seed) for seed in fresh]:
            raise ChangeInvalid(
                self._history.spec.name,
                [f"trial {trial.trial_index} is not what MIPROv2's protocol asks for there"],
            )
        self._trial_count += 1
        self._asked.setdefault(candidate.candidate_id, set()).update(cells)
        if trial.state is TrialState.ACTIVE:
            self.provisional = True
            self._known_rows = self._row_count
        else:
            self._known_rows = trial.rows_at_close

    def _answer(self, evaluation: Evaluation) -> None:
        """Sends the score, of what was measured by the time that the evaluation was over."""
        candidate_id = self.candidate(evaluation).candidate_id
        rewards = []
        for seed in evaluation.rows:
            place, reward = self._rewards.get((candidate_id, seed), (self._known_rows, 0.0))
            if place < self._known_rows:
                rewards.append(reward)
        score = round(100 * sum(rewards) / len(rewards), 2) if rewards else None
        if evaluation.full and score is not None:
            self.full.setdefault(candidate_id, score)
        self.done.append((evaluation, score))
        try:
            self.pending = self._steps.send(score)
        except StopIteration:
            self.pending = None
