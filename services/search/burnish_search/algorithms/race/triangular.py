"""The inverse of a triangular matrix, which numpy has none of its own for."""

from __future__ import annotations

import numpy as np

from burnish_search.algorithms.race.evidence import Floats

_SMALL = 48


def inverse(lower: Floats) -> Floats:
    """Returns the inverse of a lower triangular matrix, by halves."""
    size = len(lower)
    if size <= _SMALL:
        return np.asarray(np.linalg.inv(lower), dtype=np.float64)
    half = size // 2
    found = np.zeros_like(lower)
    found[:half, :half] = inverse(lower[:half, :half])
    found[half:, half:] = inverse(lower[half:, half:])
    found[half:, :half] = -found[half:, half:] @ (lower[half:, :half] @ found[:half, :half])
    return found
