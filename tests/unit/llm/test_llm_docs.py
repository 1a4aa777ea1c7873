"""What the page of providers shows runs."""

import re
from pathlib import Path
from typing import Any

from burnish.model_table import parse_table
from burnish.models import model_table

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)
    assert len(found) == 1
    return found[0]


def test_the_table_of_models_that_is_shown_is_one():
    table = parse_table(block("toml"), name="page", known=model_table().providers)
    assert table.refuse_unknown
    assert len(table.models) == len(table.refusals) == 1


async def test_the_test_that_is_shown_passes():
    names: dict[str, Any] = {}
    exec(compile(block("python"), "page", "exec"), names)  # noqa: S102 - our own page
    await names["main"]()
