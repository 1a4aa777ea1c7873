"""Meta-prompts: those that are shipped, and what may be wrong with a user's own."""

from __future__ import annotations

from burnish_proposer.blocks import NAMES
from burnish_runtime.llm import prompt_files
from burnish_runtime.llm.prompt_files import PromptFile

# What a meta-prompt may have filled in: the blocks, and a number of the tier's.
FILLED = frozenset({*NAMES, "max_tokens"})
_NEEDED = frozenset({"current_instruction", "variant"})


def load(name: str) -> PromptFile:
    """Reads a meta-prompt that is shipped with the service.

    Raises:
        ValueError: The file has no version, or no messages.
    """
    return prompt_files.load("burnish_proposer", "prompts", name)


def custom_problems(text: str) -> list[str]:
    """Returns what is wrong with a meta-prompt that a user wrote, each with its fix."""
    try:
        prompt = prompt_files.parse("custom", text)
    except ValueError as error:
        return [str(error)]
    problems = []
    unknown = sorted(prompt.names - FILLED)
    if unknown:
        listed, known = ", ".join(unknown), ", ".join(sorted(FILLED))
        problems.append(f"nothing fills the placeholders {listed}; use some of {known}")
    missing = sorted(_NEEDED - prompt.names)
    if missing:
        listed = " and ".join(f"`{{{{{name}}}}}`" for name in missing)
        problems.append(f"it lacks {listed}; without them every call would be the same")
    return problems
