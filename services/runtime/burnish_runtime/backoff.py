"""Waits between tries to come back to a peer that is away."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double, up to a limit, each cut by up to half at random.

    Attributes:
        initial_seconds: Longest first wait.
        max_seconds: Longest wait.
        rng: Spreads the waits of many clients.
    """

    initial_seconds: float = 0.1
    max_seconds: float = 1.0
    rng: random.Random = field(default_factory=random.Random)

    def wait(self, failures: int) -> float:
        """Returns the seconds to wait after so many failures in a row, from 1."""
        doublings = min(failures - 1, _MAX_DOUBLINGS)
        longest = min(self.max_seconds, self.initial_seconds * 2.0**doublings)
        return longest * self.rng.uniform(0.5, 1.0)
