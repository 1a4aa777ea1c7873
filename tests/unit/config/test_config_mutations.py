"""Sound files with anything put anywhere: they load, or are refused with problems."""

import copy
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from burnish.config import ConfigError, PromptLearningConfig, resolve_job

CORPUS = sorted((Path(__file__).resolve().parent / "corpus").glob("*.toml"))
JUNK: list[Any] = [
    None, 0, -1, 1, True, "", "x", "$X", "${Y}z", 1.5, 1e308, 10**40, float("nan"), [], [1], ["a"],
    [[1, 2]], [[]], {}, {"start": 0, "end": 3}, {"start": 0, "end": 10**40}, {"a": 1}, [{}], [None],
    [{"role": "user"}], [{"stage_id": "a"}], [{"stage_id": 1}], "gpt-5-pro", "mipro", "gepa",
    "random", "online", "LOW", {"level": "HIGH"}, {"from": "a", "to": "b"}, range(3), b"x",
    object(),
    {"enabled": True, "reward_source": "fused"},
]  # fmt: skip
KEYS = [
    "mipro", "gepa", "stages", "modules", "edges", "judge", "policy", "seeds", "train_seeds",
    "total_seeds", "termination_config", "proposer", "meta", "instructions", "adaptive_pool",
    "adaptive_batch", "online_pool", "test_pool", "initial_prompt", "mode", "auto", "num_demos",
    "proxy_models", "algorithm", "search", "pools", "verifier", "budget", "rollout", "evaluation",
    "max_duration_minutes", "model",
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [(value, key) for key, _ in items] + [p for _, item in items for p in places(item)]


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_file_loads_or_is_refused(seed):
    rng = random.Random(seed)
    documents = [tomllib.loads(path.read_text()) for path in CORPUS]
    loaded = refused = 0
    for _ in range(120):
        document = copy.deepcopy(rng.choice(documents))
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places(document))
            if isinstance(container, dict) and rng.random() < 0.3:
                key = rng.choice(KEYS)
            container[key] = copy.copy(rng.choice(JUNK))
        try:
            config = PromptLearningConfig.from_mapping(document, env={})
        except ConfigError:
            refused += 1
            continue
        loaded += 1
        again = PromptLearningConfig.from_mapping(config.to_dict(), env={})
        assert again.to_dict() == config.to_dict()
        resolve_job(config, dataset_size=500)
    assert loaded
    assert refused
