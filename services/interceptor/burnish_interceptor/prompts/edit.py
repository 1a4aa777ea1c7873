"""What a candidate changes in a conversation, told without any API's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Message(NamedTuple):
    """A message as the app sent it: its role and the text of its text parts."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEdit:
    """Changes of a conversation. Indexes are those of the conversation as the app sent it.

    Attributes:
        system: New text of the first system or developer message, or of one put in front when
            there is none. None leaves what is there.
        texts: New texts of other messages by index. Parts of a message that are no text stay.
        demos: Chat messages as JSON, tool calls included, in the order they are put in.
        demos_before: Index of the message that the demos stand before; the number of messages puts
            them at the end.
    """

    system: str | None = None
    texts: Mapping[int, str] = field(default_factory=dict)
    demos: tuple[bytes, ...] = ()
    demos_before: int = 0


NO_EDIT = PromptEdit()
