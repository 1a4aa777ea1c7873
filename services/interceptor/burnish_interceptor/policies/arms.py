"""Which arm of an online policy a rollout is served, and that it keeps it."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence

from burnish_interceptor.policies.policy import Arm, Policy

_REMEMBERED_ROLLOUTS = 100_000
_WHOLE = 2.0**64


def chosen(arms: Sequence[Arm], rollout: str) -> Arm | None:
    """Returns the arm of a rollout by weighted rendezvous hashing, or None when none has a weight.

    Equal on every replica, and in the long run as often as the weights say. A changed weight moves
    only the share of rollouts that it has to.

    Args:
        arms: Arms with their weights; those not above 0 are never chosen.
        rollout: Id of the rollout.
    """
    best: Arm | None = None
    highest = 0.0
    for arm in arms:
        if arm.weight <= 0:
            continue
        digest = hashlib.blake2b(f"{arm.candidate_id}\0{rollout}".encode(), digest_size=8).digest()
        # Exponential with the weight as its rate, of which the smallest wins.
        draw = -arm.weight / math.log((int.from_bytes(digest, "big") + 0.5) / _WHOLE)
        if draw > highest:
            best, highest = arm, draw
    return best


class Assignments:
    """Remembers which candidate each rollout was served, for as long as there is room.

    A rollout under way keeps its candidate when weights change. It loses it only when the arm is
    gone or its weight is 0, because then nobody may be served it any more.
    """

    def __init__(self, *, size: int = _REMEMBERED_ROLLOUTS) -> None:
        """Starts empty; the rollouts that were longest silent are forgotten beyond `size`."""
        self._size = size
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def choose(self, policy: Policy, rollout: str, *, lasting: bool = True) -> Arm | None:
        """Returns the arm of a rollout, or None when the policy has none to serve.

        Args:
            policy: The online policy.
            rollout: Id of the rollout.
            lasting: Whether further calls of the rollout may come; not so when its id was made up
                for one call.
        """
        arms = policy.arms
        if len(arms) == 1:
            return arms[0] if arms[0].weight > 0 else None
        if not lasting:
            return chosen(arms, rollout)
        key = (policy.policy_id, rollout)
        kept = self._kept.get(key)
        if kept is not None:
            for arm in arms:
                if arm.candidate_id == kept and arm.weight > 0:
                    self._kept.move_to_end(key)
                    return arm
        found = chosen(arms, rollout)
        if found is not None:
            self._kept[key] = found.candidate_id
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found
