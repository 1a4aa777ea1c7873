"""Optuna's TPE sampler over a study's history.

The history is the truth; the Optuna study is a mirror of it, brought up to date before every draw
and built anew whenever the space has grown, since Optuna refuses a categorical space that grows. A
new sampler is seeded for every ask, so that a mirror built from scratch gives the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from burnish.errors import MissingExtra
from burnish_search.history import History
from burnish_search.model import Candidate, Sampler, TrialState

if TYPE_CHECKING:
    import optuna

_DRAWS = 2
_PROBE = 0
_STARTUP_TRIALS = 1  # Coverage of the space is not left to the sampler.
_GOOD_SHARE = 0.1
_MOST_GOOD = 25


def good_count(observation_count: int) -> int:
    """Returns how many of so many trials the sampler takes for good ones: a tenth, at most 25.

    That is Optuna's own rule, which it no longer lets a caller set.
    """
    return min(math.ceil(_GOOD_SHARE * observation_count), _MOST_GOOD)


def split(history: History) -> Sampler:
    """Returns how the sampler splits a history's trials and the baseline's evaluation."""
    measured = sum(trial.mean_reward is not None for trial in history.trials)
    measured += bool(_baseline_rewards(history))
    under_way = sum(trial.state is TrialState.ACTIVE for trial in history.trials)
    good = good_count(measured)
    return Sampler(
        observation_count=measured,
        good_count=good,
        bad_count=measured - good + under_way,
        gamma=good / measured if measured else 0.0,
    )


class TpeMirror:
    """An Optuna study that follows a history."""

    def __init__(self, *, n_candidates: int) -> None:
        self._n_candidates = n_candidates
        self._optuna = _import_optuna()
        self._space_revision = -1
        self._study: optuna.Study | None = None
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        self._names: list[str] = []
        self._places: list[dict[str, int]] = []
        self._count = 0
        self._numbers: list[int] = []
        self._told: list[bool] = []
        self._open_from = 0

    def draw(
        self,
        history: History,
        *,
        seed: int,
        pending: Sequence[Candidate],
        fits: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """Draws a candidate, an unseen one rather than a repeat.

        Returns None when no draw fits, and when there is nothing to go by.

        Args:
            history: What was observed.
            seed: Seed of the sampler.
            pending: Candidates of the same ask, which the sampler takes for bad ones.
            fits: Whether a candidate may be taken.
        """
        study = self._follow(history)
        # The sampler is asked by itself: a study's own ask compares the distributions of all past
        # trials first, which takes longer than the draw.
        probe = study.get_trials(deepcopy=False)[_PROBE]
        sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=_STARTUP_TRIALS,
            n_ei_candidates=self._n_candidates,
            seed=seed,
            multivariate=True,
            group=False,
            constant_liar=True,
        )
        failed = self._optuna.trial.TrialState.FAIL
        seen = {trial.candidate.candidate_id for trial in history.trials}
        seen.update(candidate.candidate_id for candidate in pending)
        held = [self._append(study, candidate, TrialState.ACTIVE, None) for candidate in pending]
        repeat = None
        for _ in range(_DRAWS):
            params = sampler.sample_relative(study, probe, self._distributions)
            if not params:  # Nothing was measured yet.
                break
            candidate = history.space.candidate(self._choices(history, params))
            if fits(candidate):
                if candidate.candidate_id not in seen:
                    repeat = candidate
                    break
                repeat = candidate if repeat is None else repeat
        for number in held:
            study.tell(number, state=failed)
        return repeat

    def _follow(self, history: History) -> optuna.Study:
        study = self._study
        if study is None or self._space_revision != history.space.revision:
            study = self._study = self._rebuilt(history)
        for trial in history.trials[len(self._numbers) :]:
            self._numbers.append(
                self._append(study, trial.candidate, trial.state, trial.mean_reward)
            )
            self._told.append(trial.state is not TrialState.ACTIVE)
        for place in range(self._open_from, len(history.trials)):
            trial = history.trials[place]
            if not self._told[place] and trial.state is not TrialState.ACTIVE:
                self._told[place] = True
                if trial.mean_reward is None:
                    study.tell(self._numbers[place], state=self._optuna.trial.TrialState.FAIL)
                else:
                    study.tell(self._numbers[place], trial.mean_reward)
        while self._open_from < len(self._told) and self._told[self._open_from]:
            self._open_from += 1
        return study

    def _rebuilt(self, history: History) -> optuna.Study:
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        study: optuna.Study = self._optuna.create_study(direction="maximize")
        # The trial that draws are made for; a sampler leaves the trial it draws for out.
        study.ask()
        self._space_revision = history.space.revision
        self._numbers, self._told, self._open_from, self._count = [], [], 0, 1
        self._names = [slot.name for slot in history.space.slots]
        self._places = [
            {option: place for place, option in enumerate(options)}
            for options in history.space.options
        ]
        self._distributions = {
            slot.name: self._optuna.distributions.CategoricalDistribution(range(len(options)))
            for slot, options in zip(history.space.slots, history.space.options, strict=True)
            if len(options) > 1
        }
        prior = _baseline_rewards(history)
        if prior:
            mean = sum(prior) / len(prior)
            self._append(study, history.space.baseline(), TrialState.SUCCEEDED, mean)
        return study

    def _append(
        self, study: optuna.Study, candidate: Candidate, state: TrialState, value: float | None
    ) -> int:
        states = self._optuna.trial.TrialState
        study.add_trial(
            self._optuna.trial.create_trial(
                state={
                    TrialState.ACTIVE: states.RUNNING,
                    TrialState.SUCCEEDED: states.COMPLETE,
                    TrialState.FAILED: states.FAIL,
                }[state],
                params={
                    name: places[choice]
                    for name, places, choice in zip(
                        self._names, self._places, candidate.choices, strict=True
                    )
                    if name in self._distributions
                },
                distributions=self._distributions,
                value=value,
            )
        )
        self._count += 1
        return self._count - 1

    def _choices(self, history: History, params: Mapping[str, int]) -> list[str]:
        return [
            options[params.get(slot.name, 0)]
            for slot, options in zip(history.space.slots, history.space.options, strict=True)
        ]


def _baseline_rewards(history: History) -> list[float]:
    baseline = history.space.baseline().candidate_id
    return [row.reward for row in history.prior_rows() if row.candidate_id == baseline]


def _import_optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(package="optuna", extra="search") from error
    return optuna
