"""What is known of a component without its text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a component is like, as far as that is told without its text.

    Attributes:
        character_count: Characters that it puts into a prompt.
        demo_count: Demos that it holds.
        format_reminder: Whether it says in what form to answer.
    """

    character_count: int
    demo_count: int = 0
    format_reminder: bool = False
