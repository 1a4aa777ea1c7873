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


def crossings(account: Account) -> list[Crossing]:
    """Returns every share that is spent, told before or not."""
    found = []
    for cap, spent, limit in account.standing():
        for percent in PERCENTS:
            if limit > 0 and spent >= limit * (percent / 100 - _SLACK):
                key = f"{cap}/{percent}"
                if cap == "tenant_per_day":
                    key = f"{cap}/{account.purse.today()}/{percent}"
                crossing = Crossing(cap=cap, percent=percent, spent=spent, limit=limit, key=key)
                found.append(crossing)
    return found
