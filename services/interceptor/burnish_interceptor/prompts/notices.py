"""Says which of the calls that stayed unmatched are worth a line in a log."""

from __future__ import annotations

from collections import OrderedDict

from burnish_interceptor.policies.policy import Policy
from burnish_interceptor.prompts.match import How, Recognition

_REMEMBERED = 1000


class Notices:
    """Counts unmatched calls by policy and cause, and picks the 1st, 2nd, 4th, 8th and so on."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, How], int] = OrderedDict()

    def due(self, policy: Policy, found: Recognition) -> int:
        """Counts a call; returns how many there were when that is worth a line, else 0."""
        key = (policy.policy_id, found.how)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        self._counts.move_to_end(key)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return count if count & (count - 1) == 0 else 0


def told(policy: Policy, found: Recognition) -> dict[str, object]:
    """Returns what a log is told of an unmatched call: nothing of its text."""
    return {
        "policy": policy.policy_id,
        "cause": found.how.value,
        "ratio": round(found.ratio, 3),
        "stages": [policy.stages[place].stage_id for place in found.tied],
    }
