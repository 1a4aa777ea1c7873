"""The second objective of a search, `[prompt_learning.mipro.objective]`."""

from __future__ import annotations

from burnish.config.base import ConfigModel, Fraction, NonNegFloat
from burnish.config.enums import SecondObjective


class ObjectiveConfig(ConfigModel):
    """What prompts cost beside what they earn, and how the two are weighed.

    Attributes:
        minimise: `cost_usd` or `tokens` per rollout, or `prompt_length` in characters.
        tolerance: Reward in [0, 1] that a lower cost is worth; absent: 0.01.
        probability: How sure, in [0, 1], no more than that is given up; absent: 0.5.
        weight: Reward that one unit of cost is worth, in the place of the two above.
        limit: Highest cost of a prompt that may be chosen.
    """

    minimise: SecondObjective
    tolerance: Fraction | None = None
    probability: Fraction | None = None
    weight: NonNegFloat | None = None
    limit: NonNegFloat | None = None
