"""Why the ledger refuses a call for the money or the tokens that it could cost."""

from __future__ import annotations

from dataclasses import dataclass

BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
PRICE_UNKNOWN = "PRICE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reservation was refused.

    Attributes:
        reason: `BUDGET_EXHAUSTED` or `PRICE_UNKNOWN`.
        message: For a developer to read.
    """

    reason: str
    message: str
