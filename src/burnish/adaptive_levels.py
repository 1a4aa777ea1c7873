"""What the levels of adaptive pools and batches stand for, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NEVER: Final = 999_999
_POOL_NAMES: Final = (
    "anchor_size",
    "pool_init_size",
    "pool_min_size",
    "warmup_iters",
    "anneal_stop_iter",
    "pool_update_period",
    "min_evals_per_example",
    "k_info_prompts",
    "info_buffer_factor",
)
_BATCH_NAMES: Final = (
    "reflection_minibatch_size",
    "min_local_improvement",
    "val_evaluation_mode",
    "val_subsample_size",
    "candidate_selection_strategy",
)


def _row(names: tuple[str, ...], *values: object, **more: object) -> Mapping[str, object]:
    return MappingProxyType({**dict(zip(names, values, strict=True)), **more})


POOL_LEVELS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "NONE": _row(
            _POOL_NAMES,
            *(0, None, None, _NEVER, _NEVER, _NEVER, 1, 0, 1.0),
            anchor_selection_method="random",
            exploration_strategy="random",
        ),
        "LOW": _row(_POOL_NAMES, 50, 150, 100, 10, 30, 2, 5, 15, 0.95),
        "MODERATE": _row(_POOL_NAMES, 30, 100, 50, 5, 20, 3, 3, 10, 0.9),
        "HIGH": _row(_POOL_NAMES, 20, 60, 30, 3, 10, 5, 2, 5, 0.8),
    }
)
BATCH_LEVELS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "NONE": _row(_BATCH_NAMES, 8, 0.0, "full", 64, "random"),
        "LOW": _row(_BATCH_NAMES, 5, 0.0, "subsample", 80, "coverage"),
        "MODERATE": _row(_BATCH_NAMES, 3, 0.0, "subsample", 64, "coverage"),
        "HIGH": _row(_BATCH_NAMES, 2, 0.0, "subsample", 48, "coverage"),
    }
)
