"""Which shares of its caps a job has spent, so that people can be warned before a cap ends it."""

from __future__ import annotations

from dataclasses import dataclass

from burnish_controller.ledger.budget import Account

PERCENTS = (50, 80)
# A sum of many small costs may be this much off.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A share of a cap that is spent.

    Attributes:
        cap: Name of the cap.
        percent: The share.
        spent: What is booked under the cap, in its unit.
        limit: The cap.
        key: Tells it from every other warning of the job.
    """

    cap: str
    percent: int
    spent: float
    limit: float
    key: str


def crossings(account: Account, *, tenant_held: float = 0.0) -> list[Crossing]:
    """Returns every share that is spent, told before or not.

    A share is of what a cap leaves beside the closing test: the search ends when that is used up.

    Args:
        account: The job's sums.
        tenant_held: US dollars held back for the closing tests of all jobs.
    """
    found = []
    for one in [*account.standing(), *account.purse.standing(held=tenant_held)]:
        free = one.limit - one.held
        for percent in PERCENTS:
            if one.limit > 0 and one.booked > 0 and one.booked >= free * (percent / 100 - _SLACK):
                key = f"{one.cap}/{percent}"
                if one.cap == "tenant_per_day":
                    key = f"{one.cap}/{account.purse.today()}/{percent}"
                found.append(
                    Crossing(
                        cap=one.cap, percent=percent, spent=one.booked, limit=one.limit, key=key
                    )
                )
    return found
