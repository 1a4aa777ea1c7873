"""How many seeds a budget of rollouts is best spent on."""

from __future__ import annotations


def clamp(value: int, low: int, high: int) -> int:
    """Returns the value nearest to `value` in [low, high]."""
    return max(low, min(value, high))


def easy_sizes(budget: int) -> dict[str, int]:
    """Returns the pool sizes that a budget of rollouts is best spent on."""
    return {
        "bootstrap": clamp(budget // 5, 5, 100),
        "online": clamp(budget // 2, 20, 300),
        "validation": clamp(budget // 10, 10, 50),
        "test": clamp(budget // 2, 20, 100),
        "reference": clamp(budget // 10, 5, 20),
    }
