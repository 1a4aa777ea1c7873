"""Tells a job's log of the shares of its caps that are spent, each once, restarts included."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish_controller.ledger.shares import Crossing
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore

_IN_TOKENS = "max_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarnings:
    """Writes the warnings. The event's key keeps one from being told twice."""

    jobs: JobStore
    events: EventLog

    async def tell(self, job_id: str, crossing: Crossing) -> None:
        """Logs that a share of a cap is spent; spending that belongs to no job has no log."""
        if await self.jobs.find(job_id=job_id, request_id="") is None:
            return
        event = job_v1.JobEvent(
            level=job_v1.EVENT_LEVEL_WARNING,
            message=_message(crossing),
            budget_warning=job_v1.BudgetWarning(
                cap=crossing.cap,
                percent=crossing.percent,
                spent=crossing.spent,
                limit=crossing.limit,
            ),
        )
        await self.events.append(job_id, f"budget-warning/{crossing.key}", event)


def _message(crossing: Crossing) -> str:
    spent, limit = f"{crossing.spent:.4f}", f"{crossing.limit:.4f} US dollars"
    if crossing.cap == _IN_TOKENS:
        spent, limit = f"{crossing.spent:.0f}", f"{crossing.limit:.0f} tokens"
    return f"{crossing.percent} % of `{crossing.cap}` is spent: {spent} of {limit}"
