"""Which arms are looked at next, and on which rows: where cells are expected to pay the most.

An arm's next cells are worth what they are expected to add to the worth of the arm that will then
be believed best (the knowledge gradient; Frazier, Powell and Dayanik, "The knowledge-gradient
policy for correlated normal beliefs", INFORMS J. Computing 21, 2009). A few cells of an unknown
arm rarely change who leads while many may, so that the value per cell is taken over the number of
cells that gives the most (Frazier and Powell, "Paradoxes in learning and the marginal value of
information", Decision Analysis 7, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from burnish_search.algorithms.race.evidence import Floats, Ints

_AHEAD = (5, 20, 80)
_JITTER = 0.2
_LEAST_TOLD = 1e-9
_DIGITS = 12
# Nodes and weights of the expectation over a standard normal (Gauss and Hermite).
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The arms that are in question.

    Attributes:
        means: What each is believed to be worth.
        covariance: How sure that is.
        told: How much each row tells of each arm, 0 where it was asked; arms x rows.
    """

    means: Floats
    covariance: Floats
    told: Floats

    def picks(self, count: int, *, rows: int, left: int) -> list[int]:
        """Picks arms one after another; an arm may be picked several times.

        Every pick is made as if the ones before had been answered as expected, so that many cells
        in flight are spread as they would be one by one. Arms without an unasked row are never
        picked; fewer are when there is no other.

        Args:
            count: How many picks.
            rows: Rows of one pick.
            left: Cells that may be used in all.
        """
        best_first = -np.sort(-self.told, axis=1)
        sums = np.cumsum(best_first, axis=1)
        covariance = self.covariance
        open_cells = (self.told > 0.0).sum(axis=1)
        picked: list[int] = []
        for _ in range(count):
            gain = np.where(open_cells > 0, self._gain(covariance, sums, left), -np.inf)
            # The last digits may differ where the same numbers lie elsewhere; a pick must not.
            arm = int(np.argmax(np.round(gain, _DIGITS)))
            if not np.isfinite(gain[arm]):
                break
            picked.append(arm)
            open_cells[arm] -= rows
            covariance = answered(covariance, arm, float(_precision(sums, rows)[arm]))
        return picked

    def _gain(self, covariance: Floats, sums: Floats, left: int) -> Floats:
        """Returns what every arm's next cells are worth, per cell."""
        variances = np.diag(covariance)
        best = np.full(len(self.means), -np.inf)
        for ahead in sorted({min(one, max(left, 1)) for one in _AHEAD}):
            known = np.sqrt(variances + 1.0 / _precision(sums, ahead))
            # Column by column: how far each arm's mean moves with what is seen of one arm.
            moves = covariance / known
            leads = (self.means[:, None, None] + moves[:, :, None] * _NODES).max(axis=0)
            best = np.maximum(best, (leads @ _WEIGHTS - self.means.max()) / ahead)
        return best


def answered(covariance: Floats, place: int, precision: float) -> Floats:
    """Returns a covariance of arms as it is once cells of one of them are answered.

    Args:
        covariance: How sure the arms are now.
        place: Which of them is looked at.
        precision: How much the cells tell of it.
    """
    column = covariance[:, place]
    known = column[place] + 1.0 / max(precision, _LEAST_TOLD)
    return np.asarray(covariance - np.outer(column, column) / known)


def pick_rows(told: Floats, unseen: Ints, count: int, rng: np.random.Generator) -> list[int]:
    """Picks rows for an arm, those that tell most, with some chance.

    Args:
        told: How much every row tells of the arm.
        unseen: Rows that the arm was not asked, in the order that all arms walk.
        count: How many.
        rng: Source of randomness.
    """
    if len(unseen) <= count:
        return [int(one) for one in unseen]
    score = np.log(told[unseen] + _LEAST_TOLD) + _JITTER * rng.gumbel(size=len(unseen))
    return [int(one) for one in unseen[np.argsort(-score, kind="stable")[:count]]]


def _precision(sums: Floats, count: int) -> Floats:
    """Returns how much each arm's best rows tell together; never nothing."""
    return np.maximum(sums[:, min(count, sums.shape[1]) - 1], _LEAST_TOLD)
