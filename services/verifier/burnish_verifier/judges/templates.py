"""The judges' prompts, by name."""

from __future__ import annotations

from burnish_runtime.llm import prompt_files
from burnish_runtime.llm.prompt_files import PromptFile


def load(name: str) -> PromptFile:
    """Reads a prompt that is shipped with the judges.

    Raises:
        ValueError: The file has no version, or no messages.
    """
    return prompt_files.load("burnish_verifier", "judges/prompts", name)
