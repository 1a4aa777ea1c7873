"""GEPA as an engine: children of reflection and merges, let in by a gate of few rows."""

from burnish_search.algorithms.gepa.engine import Gepa

__all__ = ["Gepa"]
