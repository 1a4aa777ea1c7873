"""What a race believes of its arms as of a history: computed once per state, kept as a cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.race.arms import Arms, Layout, layout_key
from burnish_search.algorithms.race.evidence import Cells, Evidence, Floats, Ints
from burnish_search.algorithms.race.model import Choice, Model, Structure
from burnish_search.algorithms.race.posterior import Posterior
from burnish_search.algorithms.race.settings import RaceSettings
from burnish_search.history import History

_ALWAYS_BELOW = 40
_GROWTH = 1.2
_LATER_GROWTH = 1.35
_MANY = 2000
_POINTED = 32
_RIVALS = 32
_STEPS = 2
_ALIKE = -3.1
_ALIKE_BY_OPTIONS = -0.5
_ALIKE_BY_DOUBT = -4.0
_MANY_ARMS = 36


@dataclass(frozen=True, slots=True)
class Belief:
    """The posterior of a state.

    Attributes:
        arms: The arms.
        posterior: What is believed of them.
    """

    arms: Arms
    posterior: Posterior

    def headroom(self, baseline: int, count: int, rng: np.random.Generator) -> float:
        """Returns how much the best arm is expected to be above the baseline.

        Args:
            baseline: The baseline.
            count: How many draws to go by.
            rng: Source of randomness.
        """
        draws = self.posterior.draws(count, rng)
        chosen = draws[int(np.argmax(self.posterior.worth[: self.arms.measured_count]))]
        offered = draws if self.arms.offered.all() else draws[self.arms.offered]
        best = self.posterior.reward(np.maximum(offered.max(axis=0), chosen))
        return float((best - self.posterior.reward(draws[baseline])).mean())

    def regret(self, count: int, rng: np.random.Generator) -> float:
        """Returns how much the arm believed best is expected to be below the one that is.

        Args:
            count: How many draws to go by.
            rng: Source of randomness.
        """
        leader = int(np.argmax(self.posterior.worth[: self.arms.measured_count]))
        rivals = self.posterior.in_question(self.arms.offered, _RIVALS)
        arms = np.unique(np.append(rivals, leader))
        draws = self.posterior.draws_of(arms, count, rng)
        best = self.posterior.reward(draws.max(axis=0))
        chosen = draws[int(np.searchsorted(arms, leader))]
        return float((best - self.posterior.reward(chosen)).mean())

    def gain(self, baseline: int) -> float:
        """Returns how much the arm believed best is expected to be above the baseline."""
        levels = self.posterior.levels
        return float(levels[: self.arms.measured_count].max() - levels[baseline])


class Beliefs:
    """Beliefs by state; the last one is kept, and the variances of every point of refitting.

    Attributes:
        evidence: The cells as numbers.
    """

    def __init__(self, settings: RaceSettings, rows: tuple[RowKey, ...]) -> None:
        self.evidence = Evidence(rows)
        self._structure = Structure(factors=settings.factors, row_effects=settings.row_effects)
        self._layout: Layout | None = None
        self._variances: dict[tuple[object, ...], Choice] = {}
        self._last: tuple[tuple[object, ...], Belief] | None = None

    def of(self, history: History, rng: np.random.Generator | None = None) -> Belief:
        """Returns what is believed now; there must be a measured cell.

        Args:
            history: What was measured.
            rng: Adds arms of a large space that draws of effects point to; None adds none.
        """
        layout = self._laid_out(history)
        key = (len(history.rows), layout.key)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._believed(history, layout))
        belief = self._last[1]
        if rng is None or layout.whole:
            return belief
        pointed = _pointed(layout, belief.posterior.effects(_POINTED, rng))
        if history.pending:
            pointed = np.concatenate([_waiting(layout, history), pointed])
        known = self._variances[_refit_point(len(history.rows)), layout.key]
        model = Model(belief.arms.joined(pointed), self._cells(history), self._structure)
        return _fitted(model, known)

    def in_flight(self, history: History, arms: Arms) -> list[tuple[int, Ints]]:
        """Returns the cells that were planned and not answered: arms, and the rows of each."""
        if not history.pending:
            return []
        found = arms.places(_waiting(self._laid_out(history), history)).tolist()
        rows = map(self.evidence.places_of, history.pending.values())
        return [(arm, each) for arm, each in zip(found, rows, strict=True) if arm >= 0]

    def alike(self, history: History, *, count: int, doubt: float) -> bool:
        """Whether the first cells speak against large differences between candidates.

        What the options of many arms have in common shows sooner than what arms have of their own,
        so that more has to speak against it.

        Args:
            history: What was measured.
            count: How many cells to go by.
            doubt: How much more has to speak against it than in a race of usual size, in [0, 1].
        """
        layout = self._laid_out(history)
        self.of(history)
        model = Model(layout.arms(history), self._cells(history).first(count), self._structure)
        known = self._variances[_refit_point(len(history.rows)), layout.key]
        against = _ALIKE + _ALIKE_BY_DOUBT * doubt
        if model.factored:
            against += _ALIKE_BY_OPTIONS * min(len(model.arms) / _MANY_ARMS, 1.0)
        return model.strength(known) < against

    def _believed(self, history: History, layout: Layout) -> Belief:
        arms, cells = layout.arms(history), self._cells(history)
        point = _refit_point(len(history.rows))
        key = (point, layout.key)
        if key not in self._variances:
            self._variances[key] = Model(arms, cells.first(point), self._structure).best()
        return _fitted(Model(arms, cells, self._structure), self._variances[key])

    def _cells(self, history: History) -> Cells:
        arm_of = {one: arm for arm, one in enumerate(history.codes.candidate_ids)}
        return self.evidence.cells(history, arm_of)

    def _laid_out(self, history: History) -> Layout:
        if self._layout is None or self._layout.key != layout_key(history.space):
            self._layout = Layout(history)
        return self._layout


def _fitted(model: Model, choice: Choice) -> Belief:
    # With many cells the peak hardly moves from one point of refitting to the next.
    steps = _STEPS if len(model.cells.rewards) < _MANY else 1
    fit = model.fit(choice.variances, choice.peak, steps=steps)
    return Belief(model.arms, Posterior(model, fit))


def _pointed(layout: Layout, effects: Floats) -> Ints:
    """Returns the arms with the best option of every slot, one per draw of effects."""
    columns = [np.zeros(effects.shape[1], dtype=np.int64)]
    for offered in layout.offered:
        options = np.array(offered)
        columns.append(options[effects[options].argmax(axis=0)])
    return np.column_stack(columns)


def _waiting(layout: Layout, history: History) -> Ints:
    """Returns the columns of the arms that have cells in flight."""
    return np.array([layout.columns_of(history, one) for one in history.pending], dtype=np.int64)


def _refit_point(count: int) -> int:
    if count < _ALWAYS_BELOW:
        return count
    point = _ALWAYS_BELOW
    while True:
        following = int(point * (_GROWTH if point < _MANY else _LATER_GROWTH))
        if following > count:
            return point
        point = following
