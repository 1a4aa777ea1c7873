"""A writer that wrote nothing itself: texts of someone else, to be judged by the guards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from burnish_proposer.brief import Brief
from burnish_proposer.context import Ask
from burnish_proposer.writers import Draft, Meta
from burnish_runtime.llm.base import Completion, CompletionRequest


class GivenTexts:
    """Hands texts on in their order."""

    description: ClassVar[str] = "Has texts judged that someone else wrote."

    def __init__(self, texts: Sequence[str]) -> None:
        """Takes the texts, one per position."""
        self._texts = tuple(texts)

    async def write(self, brief: Brief, ask: Ask, meta: Meta) -> Draft:
        """Returns the text of a position."""
        return Draft(text=self._texts[ask.variant].strip())


class NoModel:
    """The meta-model of a batch that needs none."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Is never asked.

        Raises:
            AssertionError: It was.
        """
        raise AssertionError("texts that are given are judged without a model")
