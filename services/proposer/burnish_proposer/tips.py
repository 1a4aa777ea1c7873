"""Tips that steer a proposal, one drawn by seed for each candidate."""

from __future__ import annotations

import random
from collections.abc import Mapping

TIPS: Mapping[str, str] = {
    "none": "",
    "creative": "Try an angle that the present instruction does not take.",
    "simple": "Keep the instruction clear and short; leave out what does not help.",
    "description": "Describe the task and its cases in full, with what tells them apart.",
    "high_stakes": "Bring in a situation with high stakes in which the answer has to be right.",
    "persona": "Open with who the model is: an expert in just this task.",
}


def draw_tip(*, random_seed: int, variant: int) -> str:
    """Returns the name of the tip for a candidate: each is as likely, equal seeds draw equally."""
    return random.Random(f"tip:{random_seed}:{variant}").choice(list(TIPS))  # noqa: S311
