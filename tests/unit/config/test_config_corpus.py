"""Every dialect of job files loads, and survives a round trip."""

import re
import tomllib
from pathlib import Path

import pytest

from burnish.config import PromptLearningConfig

CORPUS = Path(__file__).resolve().parent / "corpus"
SEEDS = Path(__file__).resolve().parents[3].parent / "shared" / "seeds"
ENV = {"TASK_KEY": "k-123", "ENVIRONMENT_API_KEY": "k-456"}


def corpus() -> list[Path]:
    return sorted(CORPUS.glob("*.toml"))


def shared_blocks(number: str) -> list[str]:
    """Cuts the TOML out of a shared document: fenced blocks, else what looks like a table."""
    found = sorted(SEEDS.glob(f"{number}_*.txt"))
    if not found:
        return []
    text = found[0].read_text()
    fenced = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    if fenced:
        return fenced
    return re.findall(r"^(\[prompt_learning\]\n.*?)^See Also:", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_every_dialect_loads_without_unknown_keys(path):
    config = PromptLearningConfig.from_path(path, env=ENV)

    assert [warning for warning in config.warnings if "unknown" in warning] == []


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_every_dialect_survives_a_round_trip(path):
    config = PromptLearningConfig.from_path(path, env=ENV)

    again = PromptLearningConfig.from_mapping(config.to_dict(), env={})

    assert again.to_dict() == config.to_dict()
    assert [w for w in again.warnings if "unknown" in w or "deprecated" in w] == []


@pytest.mark.parametrize("number", ["002", "003"])
def test_whole_job_files_of_the_shared_documents_load_as_they_stand(number):
    whole = [block for block in shared_blocks(number) if "[prompt_learning" in block]
    if not whole:
        pytest.skip("the shared documents are not here")
    for block in whole:
        config = PromptLearningConfig.from_mapping(tomllib.loads(block), env={})
        assert [warning for warning in config.warnings if "unknown" in warning] == []


def test_fragments_of_the_shared_documents_load_in_a_mipro_table():
    fragments = [block for block in shared_blocks("003") if "[prompt_learning" not in block]
    if not fragments:
        pytest.skip("the shared documents are not here")
    for block in fragments:
        keys = tomllib.loads(block)
        termination = {k: keys.pop(k) for k in ("budget", "max_time_seconds") if k in keys}
        config = PromptLearningConfig.from_mapping(
            {
                "algorithm": "mipro",
                "task_app_url": "http://localhost:8002",
                "mipro": keys,
                "termination_config": termination,
            },
            env={},
        )
        assert [warning for warning in config.warnings if "unknown" in warning] == []
