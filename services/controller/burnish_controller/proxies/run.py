"""When the cheap model stands in: a pure function of what both models earned so far.

At first both models run every trial. Once enough pairs let the dear model's mean be predicted well,
the cheap model runs alone, but for a verification now and then. It is given up for good when it no
longer predicts, when what is left unexplained explodes, or when it costs more than it saves.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from burnish_controller.proxies.fit import LEAST_PAIRS, Fit, Pair, fitted

_WINDOW = 20


class Mode(enum.Enum):
    """Which models run a trial."""

    HIGH = "high"
    BOTH = "both"
    LOW = "low"


class State(enum.Enum):
    """Where the cheap model stands."""

    CALIBRATING = "calibrating"
    ON = "on"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When the cheap model stands in and when it is given up.

    Attributes:
        min_pairs: Trials by both models before it may stand in.
        min_r2: Explained variance from which it does.
        stop_r2: Explained variance below which it is given up.
        max_variance: Largest residual variance to stand in with.
        stop_variance: Residual variance at which it is given up.
        verify_every: Every so many trials by it alone both run; 0 never.
        min_net_gain_usd: Net gain in US dollars below which it is given up.
    """

    min_pairs: int = 5
    min_r2: float = 0.5
    stop_r2: float = 0.2
    max_variance: float = 1e6
    stop_variance: float = 1e9
    verify_every: int = 0
    min_net_gain_usd: float = -100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One rollout: its reward, None when it was not measured, and its cost, None when unknown."""

    reward: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of one trial: rollouts by each model, by candidate and row."""

    mode: Mode
    high: Mapping[str, Measured] = field(default_factory=dict)
    low: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(slots=True)
class _Money:
    """Dollars; None once a price was not known."""

    high_usd: float | None = 0.0
    high_count: int = 0
    calibration_usd: float | None = 0.0
    low_usd: float | None = 0.0
    replaced_count: int = 0

    def gain(self) -> float | None:
        """Returns what was saved less what was spent; None when a price is unknown."""
        if self.calibration_usd is None or self.low_usd is None or self.high_usd is None:
            return None
        per_rollout = self.high_usd / self.high_count if self.high_count else 0.0
        return self.replaced_count * per_rollout - self.low_usd - self.calibration_usd


class ProxyRun:
    """The cheap model of one job.

    Attributes:
        rules: Its rules.
        state: Where it stands.
        reason: Why it was given up, in words.
        fit: The regression; None before there are enough pairs.
        pairs: What both models earned, trial by trial.
        predicted_trials: Trials by the cheap model alone.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.state = State.CALIBRATING
        self.reason = ""
        self.fit: Fit | None = None
        self.pairs: list[Pair] = []
        self.predicted_trials = 0
        self._since_verified = 0
        self._money = _Money()
        self._paid: set[str] = set()

    @property
    def net_gain_usd(self) -> float | None:
        """US dollars saved less US dollars spent on calibration; None when a price is unknown."""
        return self._money.gain()

    def modes(self, count: int) -> list[Mode]:
        """Returns which models run the next trials, which are decided on together."""
        if self.state is State.STOPPED:
            return [Mode.HIGH] * count
        if self.state is State.CALIBRATING:
            return [Mode.BOTH] * count
        found, since, every = [], self._since_verified, self.rules.verify_every
        for _ in range(count):
            verifies = every and since >= every
            found.append(Mode.BOTH if verifies else Mode.LOW)
            since = 0 if verifies else since + 1
        return found

    def take(self, looks: Sequence[Look]) -> None:
        """Takes what came of the trials that were decided on together, and decides anew."""
        for look in looks:
            if look.mode is Mode.BOTH:
                self._pair(look)
            elif look.mode is Mode.LOW:
                self.predicted_trials += 1
                self._since_verified += 1
                self._book_low(look)
        if self.state is not State.STOPPED and looks:
            self._decide()

    def _pair(self, look: Look) -> None:
        self._since_verified = 0
        self._book_pair(look)
        shared = [
            (low.reward, high.reward)
            for row, low in look.low.items()
            if (high := look.high.get(row)) is not None
            and low.reward is not None
            and high.reward is not None
        ]
        if not shared:
            return
        self.pairs.append(
            Pair(
                low=math.fsum(low for low, _ in shared) / len(shared),
                high=math.fsum(high for _, high in shared) / len(shared),
            )
        )
        # Old pairs are of worse candidates: what counts is how well those of today are predicted.
        window = max(_WINDOW, 2 * self.rules.min_pairs)
        self.fit = fitted(self.pairs[-window:])

    def _decide(self) -> None:
        rules, fit, gain = self.rules, self.fit, self.net_gain_usd
        if gain is not None and gain < rules.min_net_gain_usd:
            self._stop(f"its net gain of {gain:.4f} US dollars is below {rules.min_net_gain_usd:g}")
        elif fit is None or len(self.pairs) < max(rules.min_pairs, LEAST_PAIRS):
            return
        elif fit.residual_variance >= rules.stop_variance:
            self._stop(f"a variance of {fit.residual_variance:.3g} is left unexplained")
        elif self.state is State.ON:
            if fit.r2 < rules.stop_r2:
                self._stop(f"it explains {fit.r2:.2f} of the variance, less than {rules.stop_r2:g}")
        elif fit.r2 >= rules.min_r2 and fit.residual_variance <= rules.max_variance:
            self.state = State.ON
        elif fit.r2 < rules.stop_r2 and len(self.pairs) >= 2 * max(rules.min_pairs, LEAST_PAIRS):
            self._stop(f"after {len(self.pairs)} pairs it explains {fit.r2:.2f} of the variance")

    def _stop(self, reason: str) -> None:
        self.state, self.reason = State.STOPPED, reason

    def _book_pair(self, look: Look) -> None:
        money = self._money
        money.calibration_usd = _added(money.calibration_usd, self._unpaid(look.low))
        money.high_usd = _added(money.high_usd, look.high.values())
        money.high_count += len(look.high)

    def _book_low(self, look: Look) -> None:
        money, ran = self._money, self._unpaid(look.low)
        money.low_usd = _added(money.low_usd, ran)
        # A rollout that was not measured replaces none by the dear model.
        money.replaced_count += sum(one.reward is not None for one in ran)

    def _unpaid(self, low: Mapping[str, Measured]) -> list[Measured]:
        """Returns the rollouts that are new: one that is looked at again is not paid again."""
        new = [key for key in low if key not in self._paid]
        self._paid.update(new)
        return [low[key] for key in new]


def _added(usd: float | None, rollouts: Iterable[Measured]) -> float | None:
    for one in rollouts:
        if usd is None or one.cost_usd is None:
            return None
        usd += one.cost_usd
    return usd
