"""What a fitted race model says of every arm, in rewards."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms.race.evidence import Floats, Ints
from burnish_search.algorithms.race.model import Fit, Model

_PROBIT = math.pi / 8
_MOST_WEIGHED = 512
_UPPER = 1.5
_FADING = 5


class Posterior:
    """What is believed of every arm.

    Attributes:
        worth: Mean of every arm's worth, as a logit.
        levels: Mean reward that every arm is expected to have over all rows.
    """

    def __init__(self, model: Model, fit: Fit) -> None:
        self._model = model
        self._fit = fit
        self._without = np.ones(len(model.arms), dtype=bool)
        self._without[model.own] = False
        self._padded = np.vstack([fit.spread, np.zeros(fit.spread.shape[1])])
        self.worth = model.offset + model.worth(fit.effects[:, None])[:, 0]
        # The share of a row that was never seen is averaged over what its ease may be.
        seen = np.bincount(model.cells.rows, minlength=len(fit.ease)) > 0
        self._shrink = np.where(seen, 1.0, 1.0 / math.sqrt(1.0 + _PROBIT * fit.variances.ease**2))
        grid = np.linspace(self.worth.min() - 4.0, self.worth.max() + 4.0, 200)
        self._grid = grid
        self._shares = self._corrected(seen)
        self.levels = self.reward(self.worth)

    def _corrected(self, seen: npt.NDArray[np.bool_]) -> Floats:
        """Returns the mean reward over all rows at every point of the grid of worths.

        Rows that were seen stand for the others: which were, was drawn. How much the model is off
        over them is told by each row's cells, the first ones above all: later ones were bought for
        what the first had shown, so that rows that began badly would count as better than they are.
        """
        cells, ease = self._model.cells, self._fit.ease
        off = cells.rewards - self._share(
            self.worth[cells.arms] + ease[cells.rows], np.zeros(1), np.ones(1)
        )
        weight = 1.0 / (1.0 + _ranks(cells.rows)) ** _FADING
        row_count = len(ease)
        total = np.bincount(cells.rows, weight, minlength=row_count)[seen]
        by_row = np.bincount(cells.rows, weight * off, minlength=row_count)[seen] / total
        shares = self._share(self._grid[:, None], ease[seen], np.ones(len(total))).mean(axis=1)
        return np.asarray(np.clip(shares + by_row.mean(), 0.0, 1.0))

    def reward(self, worth: Floats) -> Floats:
        """Returns the mean reward over all rows that some worth comes to."""
        return np.asarray(np.interp(worth, self._grid, self._shares))

    def told(self, arms: Ints) -> Floats:
        """Returns how much a cell would tell of each arm; arms x rows.

        A row tells most when the arm may do either well or badly on it, and when others have
        shown how easy it is.
        """
        share = self._share(self.worth[arms][:, None], self._fit.ease, self._shrink)
        weight = share * (1.0 - share) / self._model.dispersion
        depth = self._fit.rows + self._fit.variances.ease**-2
        return np.asarray(weight * depth / (weight + depth))

    def covariance(self, arms: Ints) -> Floats:
        """Returns the covariance of arms' worths."""
        roots = self._roots(arms)
        found = roots @ roots.T
        found[np.diag_indices(len(arms))] += self._without[arms] * self._fit.own
        return np.asarray(found)

    def in_question(self, open_arms: npt.NDArray[np.bool_], count: int) -> Ints:
        """Returns the arms that may be the best, of those that may be looked at, and the leader.

        Args:
            open_arms: Arms that may be looked at.
            count: How many arms at most.
        """
        leader = int(np.argmax(self.worth))
        rough = self.worth + self._without * math.sqrt(self._fit.own)
        rough[~open_arms] = -np.inf
        listed = np.argsort(-rough, kind="stable")[:_MOST_WEIGHED]
        listed = listed[open_arms[listed]]
        roots, own = self._roots(listed), self._without[listed] * self._fit.own
        apart = ((roots - self._roots(np.array([leader]))) ** 2).sum(axis=1) + own
        upper = self.worth[listed] + _UPPER * np.sqrt(apart)
        found = listed[np.argsort(-upper, kind="stable")[:count]]
        return found if leader in found else np.append(found[: count - 1], leader)

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """Draws the worth of every arm; one column per draw."""
        drawn = self._model.offset + self._model.worth(self.effects(count, rng))
        fresh = int(self._without.sum())
        if fresh:
            noise = rng.standard_normal((fresh, count))
            drawn[self._without] += math.sqrt(self._fit.own) * noise
        return drawn

    def draws_of(self, arms: Ints, count: int, rng: np.random.Generator) -> Floats:
        """Draws the worth of some arms; one column per draw."""
        values, vectors = np.linalg.eigh(self.covariance(arms))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        noise = rng.standard_normal((len(arms), count))
        return np.asarray(self.worth[arms][:, None] + root @ noise)

    def effects(self, count: int, rng: np.random.Generator) -> Floats:
        """Draws the effects of the columns; one column per draw."""
        noise = rng.standard_normal((len(self._fit.effects), count))
        return np.asarray(self._fit.effects[:, None] + self._fit.spread @ noise)

    def deviations(self, arms: Ints) -> Floats:
        """Returns the posterior standard deviations of arms' mean rewards, over other rows too."""
        square = (self._roots(arms) ** 2).sum(axis=1) + self._without[arms] * self._fit.own
        worth = self.worth[arms]
        slope = (self.reward(worth + 0.1) - self.reward(worth - 0.1)) / 0.2
        shares = self._share(worth[:, None], self._fit.ease, self._shrink)
        rows = len(np.unique(self._model.cells.rows))
        return np.asarray(np.sqrt(square * slope**2 + shares.var(axis=1) / rows))

    def _roots(self, arms: Ints) -> Floats:
        """Returns a root of the covariance of arms' worths, own effects without a column apart."""
        columns = self._model.columns[arms]
        found = self._padded[columns[:, 0]]
        for column in columns.T[1:]:
            found += self._padded[column]
        return np.asarray(found)

    @staticmethod
    def _share(worth: Floats, ease: Floats, shrink: Floats) -> Floats:
        return np.asarray(1.0 / (1.0 + np.exp(-(worth + ease) * shrink)))


def _ranks(rows: Ints) -> Ints:
    """Returns how many cells of the same row came before each cell."""
    order = np.argsort(rows, kind="stable")
    grouped = rows[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    within = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    ranks = np.empty(len(rows), dtype=np.int64)
    ranks[order] = within
    return ranks
