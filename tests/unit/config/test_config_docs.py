"""The documentation holds every key with its true default, and its examples load."""

import re
import tomllib
from pathlib import Path

import pytest

from burnish.config import PromptLearningConfig, resolve_job
from burnish.config.reference import TABLES, attribute_docs, render_reference

DOCS = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_tables_are_the_models():
    _, mark, tables = DOCS.read_text().partition("a test compares them. -->\n\n")

    assert mark
    assert tables == render_reference(), "render it again: burnish.config.reference"


@pytest.mark.parametrize("model", [model for _, model in TABLES], ids=lambda model: model.__name__)
def test_every_key_says_what_it_means(model):
    assert set(attribute_docs(model)) == set(model.model_fields)


def test_every_example_loads_and_resolves(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    spec = '{"metadata": {"id": "spec.x", "title": "X", "version": "1.0.0"}}'
    (tmp_path / "spec.json").write_text(spec)

    assert len(blocks) == 3
    for block in blocks:
        config = PromptLearningConfig.from_mapping(
            tomllib.loads(block), env={"ENVIRONMENT_API_KEY": "k"}, base_dir=tmp_path
        )
        assert config.warnings == ()
        assert resolve_job(config, dataset_size=1000).pools.complete
