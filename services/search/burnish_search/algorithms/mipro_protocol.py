"""The third step of DSPy 3.4.1's MIPROv2 as a dialogue: it yields evaluations and is sent scores.

One seed, one space and the same scores give the same options, minibatches and full evaluations: the
order in which numbers are drawn, and in which trials enter Optuna, is part of the protocol.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from burnish.errors import MissingExtra

if TYPE_CHECKING:
    import optuna

_MINIBATCH_FROM = 50  # A preset evaluates in full where there are no more validation rows.


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a run is given.

    Attributes:
        seed: Seed of the minibatches and of the sampler.
        option_counts: Options of every slot: instruction, then demo set, of each stage.
        rows: Validation seeds, in order.
        trial_count: Trials that the sampler chooses.
        batch_size: Rows of a minibatch.
        full_every: Minibatch trials between full evaluations.
        preset_rows: Most validation rows that a preset keeps, at random; None without a preset.
    """

    seed: int
    option_counts: tuple[int, ...]
    rows: tuple[int, ...]
    trial_count: int
    batch_size: int
    full_every: int
    preset_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation.

    Attributes:
        options: Chosen options: instruction, then demo set, of each stage.
        rows: Validation seeds, in order.
        full: Whether they are all there are.
    """

    options: tuple[int, ...]
    rows: tuple[int, ...]
    full: bool


Steps: TypeAlias = Generator[Evaluation, float | None, None]


def steps(protocol: Protocol) -> Steps:
    """Yields evaluations; each is to be answered with its mean as a percentage.

    None is the answer for one that nothing was measured of; the sampler learns nothing from it.
    It ends early when every combination that was tried was evaluated in full, where DSPy raises.
    """
    run = _Run(protocol)
    rows, minibatch = protocol.rows, True
    if protocol.preset_rows is not None:
        rows = tuple(run.randomness.sample(rows, min(protocol.preset_rows, len(rows))))
        minibatch = len(rows) > _MINIBATCH_FROM
    default = (0,) * len(protocol.option_counts)
    score = yield Evaluation(options=default, rows=rows, full=True)
    run.add(default, score)
    if not minibatch:
        for _ in range(protocol.trial_count):
            trial, options = run.ask()
            run.tell(trial, (yield Evaluation(options=options, rows=rows, full=True)))
        return
    for place in range(1, protocol.trial_count + 1):
        trial, options = run.ask()
        full = protocol.batch_size >= len(rows)
        batch = rows if full else tuple(run.randomness.sample(rows, protocol.batch_size))
        score = yield Evaluation(options=options, rows=batch, full=full)
        run.scores.setdefault(options, []).append(score)
        if place % protocol.full_every == 0 or place == protocol.trial_count:
            best = run.next_for_full()
            if best is None:
                return
            # The full evaluation enters Optuna before the trial that led to it is told.
            run.add(best, (yield Evaluation(options=best, rows=rows, full=True)))
        run.tell(trial, score)


class _Run:
    """The state of a run."""

    def __init__(self, protocol: Protocol) -> None:
        self._optuna = _import_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        # Optuna sorts a space by name, and draws in that order.
        names = []
        for stage in range(len(protocol.option_counts) // 2):
            names += [f"{stage}_predictor_instruction", f"{stage}_predictor_demos"]
        counts = dict(zip(names, protocol.option_counts, strict=True))
        if all(count == 1 for count in protocol.option_counts[1::2]):
            counts = {name: count for name, count in counts.items() if name in names[0::2]}
        self._names = names
        self._space = {
            name: self._optuna.distributions.CategoricalDistribution(range(count))
            for name, count in counts.items()
        }
        sampler = self._optuna.samplers.TPESampler(seed=protocol.seed, multivariate=True)
        self._study: optuna.Study = self._optuna.create_study(direction="maximize", sampler=sampler)
        self._full: set[tuple[int, ...]] = set()
        self.randomness = random.Random(protocol.seed)  # noqa: S311 - not a secret
        self.scores: dict[tuple[int, ...], list[float | None]] = {}

    def ask(self) -> tuple[Any, tuple[int, ...]]:
        """Returns the sampler's next trial and its options."""
        trial = self._study.ask()
        chosen = {
            name: trial.suggest_categorical(name, distribution.choices)
            for name, distribution in self._space.items()
        }
        return trial, tuple(chosen.get(name, 0) for name in self._names)

    def tell(self, trial: Any, score: float | None) -> None:  # noqa: ANN401 - of Optuna
        """Tells the score of a trial that the sampler chose."""
        if score is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)

    def add(self, options: Sequence[int], score: float | None) -> None:
        """Adds an evaluation that the sampler did not choose."""
        if score is not None:
            params = {
                name: option
                for name, option in zip(self._names, options, strict=True)
                if name in self._space
            }
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    params=params, distributions=self._space, value=score
                )
            )

    def next_for_full(self) -> tuple[int, ...] | None:
        """Returns the first of the best means of minibatches not yet evaluated in full."""
        means = {
            options: sum(measured) / len(measured)
            for options, scores in self.scores.items()
            if options not in self._full and (measured := [s for s in scores if s is not None])
        }
        if not means:
            return None
        best = max(means, key=lambda options: means[options])
        self._full.add(best)
        return best


def _import_optuna() -> Any:  # noqa: ANN401 - a module
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(package="optuna", extra="search") from error
    return optuna
