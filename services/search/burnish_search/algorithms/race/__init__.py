"""The race: candidates are compared on shared rows, and a mixed model says what to look at next."""

from burnish_search.algorithms.race.engine import Race

__all__ = ["Race"]
