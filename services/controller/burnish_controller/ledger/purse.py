"""What one tenant may spend over all its jobs, in all and on each day of the calendar.

Days are UTC, and a call counts on the day that its latest try began. Calls of unknown price cannot
be counted; while a cap holds, none is made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from burnish.errors import InvalidArgument
from burnish_controller.ledger.refusal import BUDGET_EXHAUSTED, PRICE_UNKNOWN, Refusal

_SECONDS_PER_DAY = 86_400
TENANT_MAX_USD = "BURNISH_TENANT_MAX_USD"
TENANT_MAX_USD_PER_DAY = "BURNISH_TENANT_MAX_USD_PER_DAY"


class TenantCapsInvalid(InvalidArgument):
    """A cap of the suite's that is no amount of money. Mend the variable, and start again."""

    default_reason = "TENANT_CAPS_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantCaps:
    """Hard limits of a tenant; None means none.

    Attributes:
        usd: US dollars over every job, ever.
        usd_per_day: US dollars over every job on one day.
    """

    usd: float | None = None
    usd_per_day: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> TenantCaps:
        """Reads `BURNISH_TENANT_MAX_USD` and `BURNISH_TENANT_MAX_USD_PER_DAY`.

        Raises:
            TenantCapsInvalid: One of them is no amount.
        """
        found: dict[str, float | None] = {}
        problems = []
        for name in (TENANT_MAX_USD, TENANT_MAX_USD_PER_DAY):
            text = environ.get(name, "").strip()
            found[name] = _dollars(text) if text else None
            if text and found[name] is None:
                problems.append(f"`{name}` is `{text}`; use US dollars, at least 0, such as 25.50")
        if problems:
            raise TenantCapsInvalid("; ".join(problems))
        return cls(usd=found[TENANT_MAX_USD], usd_per_day=found[TENANT_MAX_USD_PER_DAY])

    @property
    def bind(self) -> bool:
        """Whether there is any."""
        return self.usd is not None or self.usd_per_day is not None


class Standing(NamedTuple):
    """How a cap stands, in its unit.

    Attributes:
        cap: Its name.
        booked: What is spent, possibly paid calls included.
        held: What is held back for closing tests.
        limit: The cap.
    """

    cap: str
    booked: float
    held: float
    limit: float


@dataclass(slots=True)
class _Tab:
    booked: float = 0.0
    reserved: float = 0.0

    @property
    def committed(self) -> float:
        return self.booked + self.reserved


class Purse:
    """The running sums of one tenant in US dollars. Not safe across threads; one loop owns it."""

    def __init__(
        self, caps: TenantCaps | None = None, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Begins with nothing spent.

        Args:
            caps: The tenant's limits.
            wall_clock: Unix seconds.
        """
        self.caps = TenantCaps() if caps is None else caps
        self._wall_clock = wall_clock
        self._all = _Tab()
        self._days: dict[int, _Tab] = {}

    def today(self) -> int:
        """Returns the day, counted from the epoch."""
        return int(self._wall_clock() // _SECONDS_PER_DAY)

    def load(self, days: Mapping[int, tuple[float, float]]) -> None:
        """Takes over what was booked and reserved before this process began, by day."""
        for day, (booked, reserved) in days.items():
            self.book(day, booked)
            self.reserve(day, reserved)

    def refusal(self, worst: float | None, *, held: float, carried: float = 0.0) -> Refusal | None:
        """Says why a call may not be made now, or None when it may.

        Args:
            worst: The most that the call can cost; None when its price is unknown.
            held: What is held back for closing tests that the call does not belong to.
            carried: Booked for the call on a day before, which moves to this one with it.
        """
        if not self.caps.bind:
            return None
        if worst is None:
            return Refusal(
                PRICE_UNKNOWN,
                f"the suite has a money cap ({TENANT_MAX_USD}) and the price of this model is"
                " unknown; give its price, or add it to the file that BURNISH_PRICES_FILE names",
            )
        cap = self.caps.usd
        if cap is not None and self._all.committed + worst + held > cap:
            return Refusal(
                BUDGET_EXHAUSTED,
                f"the call could pass the suite's cap of {cap} US dollars;"
                f" raise `{TENANT_MAX_USD}`",
            )
        cap = self.caps.usd_per_day
        if cap is not None and self._now().committed + worst + carried + held > cap:
            return Refusal(
                BUDGET_EXHAUSTED,
                f"the call could pass the suite's cap of {cap} US dollars a day;"
                f" raise `{TENANT_MAX_USD_PER_DAY}`, or go on after midnight UTC",
            )
        return None

    def left(self) -> float | None:
        """Returns what is neither booked nor reserved of the narrowest cap; None without one."""
        left = []
        if self.caps.usd is not None:
            left.append(self.caps.usd - self._all.committed)
        if self.caps.usd_per_day is not None:
            left.append(self.caps.usd_per_day - self._now().committed)
        return min(left, default=None)

    def standing(self, *, held: float = 0.0) -> Iterator[Standing]:
        """Yields how each cap of the tenant stands.

        Args:
            held: What is held back for closing tests.
        """
        if self.caps.usd is not None:
            yield Standing("tenant", self._all.booked, held, self.caps.usd)
        if self.caps.usd_per_day is not None:
            yield Standing("tenant_per_day", self._now().booked, held, self.caps.usd_per_day)

    def reserve(self, day: int, usd: float | None) -> None:
        """Reserves a call's worst case, or lets go of it when it is below 0."""
        for tab in (self._all, self._of(day)):
            tab.reserved = max(0.0, tab.reserved + (usd or 0.0))

    def book(self, day: int, usd: float | None) -> None:
        """Books what a call used, or takes it off the books when it is below 0."""
        for tab in (self._all, self._of(day)):
            tab.booked = max(0.0, tab.booked + (usd or 0.0))

    def _now(self) -> _Tab:
        return self._of(self.today())

    def _of(self, day: int) -> _Tab:
        return self._days.setdefault(day, _Tab())


def _dollars(text: str) -> float | None:
    """Returns an amount of money, or None for what is none."""
    try:
        usd = float(text)
    except ValueError:
        return None
    return usd if math.isfinite(usd) and usd >= 0 else None
