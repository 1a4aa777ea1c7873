"""What one job may spend: worst cases reserved before a call, actual use booked after it.

The sum of what is booked and what is reserved never passes a cap, because nothing is reserved that
could pass it. A share is held back for the closing test, and only the closing test may use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from burnish_controller.ledger.purse import Purse, Standing
from burnish_controller.ledger.refusal import BUDGET_EXHAUSTED, PRICE_UNKNOWN, Refusal

ROLES = ("task", "proposer", "judge")


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and money when the price is known.

    Attributes:
        tokens: In and out together, at least 0.
        usd: US dollars; None when the price is unknown, which is not 0.
    """

    tokens: int
    usd: float | None

    def __add__(self, other: Amount) -> Amount:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Amount(self.tokens + other.tokens, usd)

    def __sub__(self, other: Amount) -> Amount:
        usd = None if self.usd is None or other.usd is None else max(0.0, self.usd - other.usd)
        return Amount(self.tokens - other.tokens, usd)

    def times(self, count: int) -> Amount:
        """Returns the amount so many times over."""
        return Amount(count * self.tokens, None if self.usd is None else count * self.usd)

    def or_dearer(self, other: Amount) -> Amount:
        """Returns the larger amount, tokens and money each for itself."""
        usd = None if self.usd is None or other.usd is None else max(self.usd, other.usd)
        return Amount(max(self.tokens, other.tokens), usd)


NOTHING = Amount(0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Hard limits; None means none.

    Attributes:
        usd: US dollars over every role.
        tokens: Tokens over every role.
        usd_by_role: US dollars by role.
    """

    usd: float | None = None
    tokens: int | None = None
    usd_by_role: Mapping[str, float] = field(default_factory=dict)

    def bind(self, *roles: str) -> bool:
        """Whether any cap limits the calls of some roles."""
        together = self.usd is not None or self.tokens is not None
        return together or any(role in self.usd_by_role for role in roles)

    def needs_price(self, role: str) -> bool:
        """Whether a call of a role can only be judged with a known price."""
        return self.usd is not None or role in self.usd_by_role


class Account:
    """The running sums of one job. Not safe across threads; one loop owns it.

    Attributes:
        caps: The job's limits.
        purse: Sums and limits of the tenant that the job belongs to.
        told: Keys of the warnings that were given.
    """

    def __init__(self, caps: Caps, purse: Purse | None = None) -> None:
        self.caps = caps
        self.purse = Purse() if purse is None else purse
        self.told: set[str] = set()
        self._booked: dict[str, Amount] = defaultdict(lambda: NOTHING)
        self._reserved: dict[str, Amount] = defaultdict(lambda: NOTHING)
        self._held = NOTHING
        self._held_by_role: Mapping[str, Amount] = {}

    def load(self, role: str, booked: Amount) -> None:
        """Takes over what was booked before this process began."""
        self._booked[role] = self._booked[role] + booked

    def hold(self, amount: Amount, *, by_role: Mapping[str, Amount] | None = None) -> None:
        """Holds a share back for the closing test, in place of any share held before.

        Args:
            amount: The share of the caps over every role.
            by_role: The shares of the caps of single roles.
        """
        self._held = amount
        self._held_by_role = {} if by_role is None else by_role

    @property
    def held(self) -> Amount:
        """The share held back for the closing test."""
        return self._held

    def held_of(self, role: str) -> Amount:
        """Returns the share of a role's own cap that is held back for the closing test."""
        return self._held_by_role.get(role, NOTHING)

    def booked(self, role: str | None = None) -> Amount:
        """What was spent, by one role or in all."""
        return self._booked[role] if role is not None else total(self._booked.values())

    def reserved(self, role: str | None = None) -> Amount:
        """What is reserved for calls in flight, by one role or in all."""
        return self._reserved[role] if role is not None else total(self._reserved.values())

    def binds(self, *roles: str) -> bool:
        """Whether any cap, the tenant's included, limits the calls of some roles."""
        return self.purse.caps.bind or self.caps.bind(*roles)

    def standing(self) -> Iterator[Standing]:
        """Yields how each cap of the job stands.

        A cap of money is left out while the price of what was spent is unknown.
        """
        booked, held = self.booked(), self._held
        if self.caps.usd is not None and booked.usd is not None:
            yield Standing("max_cost_usd", booked.usd, held.usd or 0.0, self.caps.usd)
        if self.caps.tokens is not None:
            yield Standing("max_tokens", booked.tokens, held.tokens, self.caps.tokens)
        for role, cap in sorted(self.caps.usd_by_role.items()):
            mine, kept = self.booked(role).usd, self.held_of(role).usd
            if mine is not None:
                yield Standing(f"max_cost_usd_by_role.{role}", mine, kept or 0.0, cap)

    def refusal(self, role: str, worst: Amount, *, closing: bool) -> Refusal | None:
        """Says why a call may not be made, or None when it may.

        Args:
            role: Who spends.
            worst: The most that the call can cost.
            closing: Whether the call belongs to the closing test.
        """
        if self.caps.needs_price(role) and worst.usd is None:
            return Refusal(
                PRICE_UNKNOWN,
                "the job has a money cap and the price of this model is unknown; give its price, or"
                " add it to the file that BURNISH_PRICES_FILE names",
            )
        committed = self.booked() + self.reserved() + worst
        if not closing:
            committed = committed + self._held
        if self.caps.tokens is not None and committed.tokens > self.caps.tokens:
            return Refusal(
                BUDGET_EXHAUSTED,
                f"the call could pass the cap of {self.caps.tokens} tokens; raise `max_tokens`",
            )
        if self.caps.usd is not None and (committed.usd is None or committed.usd > self.caps.usd):
            return Refusal(
                BUDGET_EXHAUSTED,
                f"the call could pass the cap of {self.caps.usd} US dollars; raise `max_cost_usd`",
            )
        return self._role_refusal(role, worst, closing=closing)

    def reserve(self, role: str, worst: Amount) -> None:
        """Reserves a call's worst case; ask `refusal` first."""
        self._reserved[role] = self._reserved[role] + worst

    def settle(self, role: str, worst: Amount, actual: Amount) -> None:
        """Books what a call used and lets go of its reservation."""
        self.release(role, worst)
        self._booked[role] = self._booked[role] + actual

    def release(self, role: str, worst: Amount) -> None:
        """Lets go of a reservation: the call was certainly not paid."""
        self._reserved[role] = self._reserved[role] - worst
        if self._reserved[role].tokens <= 0:
            self._reserved[role] = NOTHING

    def take_back(self, role: str, lost: Amount) -> None:
        """Takes a possibly paid call off the books: what became of it is known after all."""
        self._booked[role] = self._booked[role] - lost

    def _role_refusal(self, role: str, worst: Amount, *, closing: bool) -> Refusal | None:
        cap = self.caps.usd_by_role.get(role)
        if cap is None:
            return None
        committed = self._booked[role] + self._reserved[role] + worst
        if not closing:
            committed = committed + self.held_of(role)
        if committed.usd is None or committed.usd > cap:
            return Refusal(
                BUDGET_EXHAUSTED,
                f"the call could pass the cap of {cap} US dollars for `{role}`;"
                f" raise `max_cost_usd_by_role`",
            )
        return None


def total(amounts: Iterable[Amount]) -> Amount:
    """Returns the sum of some amounts."""
    found = NOTHING
    for amount in amounts:
        found = found + amount
    return found
