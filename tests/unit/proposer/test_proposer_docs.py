"""What the page on proposers shows is what happens."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.proposer_tiers import efforts, outputs, table
from burnish.config import PromptLearningConfig, resolve_job
from burnish.job_spec import to_job_spec
from burnish_proposer.brief import Brief, Effort, OutputTier
from burnish_proposer.context import Ask
from burnish_proposer.guards import RefusalReason
from burnish_proposer.tiers import CONTEXT_PLANS
from burnish_proposer.writers import CallSettings, Meta, Writer

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "proposer.md").read_text("utf-8")


@pytest.fixture(scope="module")
def tiers() -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The rows of both tables, with their heads."""
    return list(efforts()), list(outputs())


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def number(cell: str) -> int:
    found = re.search(r"[\d,]+", cell)
    return int(found[0].replace(",", "")) if found else 0


def test_the_tables_of_tiers_are_what_the_benchmark_prints(tiers):
    assert all(table(rows) in PAGE for rows in tiers)


def test_every_effort_carries_more_of_every_kind(tiers):
    _, *rows = tiers[0]
    for less, more in pairwise(rows):
        assert number(less[-1]) < number(more[-1])
        for cell, other in zip(less[1:9], more[1:9], strict=True):
            assert number(cell) < number(other) or number(other) == 0


def test_every_prompt_keeps_to_the_size_that_the_page_names(tiers):
    _, *rows = tiers[0]
    sizes = [plan.prompt_tokens for plan in CONTEXT_PLANS.values()]
    assert all(f"{size:,}" in PAGE for size in sizes)
    assert all(number(row[-1]) <= size for row, size in zip(rows, sizes, strict=True))


def test_a_larger_output_tier_cuts_less(tiers):
    _, *rows = tiers[1]
    written = {(row[0], row[1]): number(row[5]) for row in rows}
    assert written["`LOW_CONTEXT`", "`RAPID`"] < written["`LOW_CONTEXT`", "`FAST`"]
    assert written["`HIGH`", "`FAST`"] < written["`HIGH`", "`SLOW`"]
    assert all(number(row[5]) < number(row[2]) for row in rows)


def test_every_reason_of_a_refusal_is_explained():
    assert [one for one in RefusalReason if f"`{one.value}`" not in PAGE] == []


def test_the_example_file_is_accepted_without_a_warning(tmp_path):
    (tmp_path / "spec.json").write_text(
        '{"metadata": {"id": "spec.x", "title": "X", "version": "1.0.0", "scope": "all"}}'
    )
    (tmp_path / "manual.md").write_text("Parcels take three days.")
    config = PromptLearningConfig.from_mapping(
        tomllib.loads(blocks("toml")[0]), env={"ENVIRONMENT_API_KEY": "k"}, base_dir=tmp_path
    )
    assert config.warnings == ()
    spec = to_job_spec(resolve_job(config, dataset_size=1_000))
    assert spec.proposer.meta_update.screen_row_count == 16
    rounds = dict(spec.algorithm_settings)["generate_at_iterations"]
    assert list(rounds) == [0, 3, 6]  # type: ignore[arg-type]


async def test_the_example_of_a_plug_in_writes():
    names: dict[str, type[Writer]] = {}
    exec(blocks("python")[0], names)  # noqa: S102 - the page's own example
    brief = Brief(
        stage_id="s",
        baseline="Sort it.",
        count=1,
        random_seed=0,
        effort=Effort.LOW,
        output_tier=OutputTier.FAST,
    )
    meta = Meta(
        settings=CallSettings(model="m", max_output_tokens=9, temperature=None),
        model=None,  # type: ignore[arg-type] # it is never asked
    )
    draft = await names["Shouting"]().write(brief, Ask(variant=2, tip="none", max_tokens=9), meta)
    assert draft.text == "Sort it.\n\nThis is important: rule 3 holds always."
