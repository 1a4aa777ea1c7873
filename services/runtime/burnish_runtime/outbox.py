"""What has still to be sent over a stream; what is made close together can share a message.

A message costs each side more than what is in it: threads wake, and who stores it commits once for
each. So what was given while one was sent, or shortly after, goes together in the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

MOST_ITEMS = 256
MOST_BYTES = 256 * 1024

_Item = TypeVar("_Item")


class Outbox(Generic[_Item]):
    """A queue that is taken from in groups. One event loop owns it."""

    def __init__(
        self,
        size_of: Callable[[_Item], int],
        *,
        most_bytes: int = MOST_BYTES,
        pause: float = 0.0,
    ) -> None:
        """Starts empty.

        Args:
            size_of: Bytes of an item.
            most_bytes: Bytes of all items of a group, unless it is a single one.
            pause: Least seconds between two groups. After a longer silence an item goes at once.
        """
        self._size_of = size_of
        self._most_bytes = most_bytes
        self._pause = pause
        self._next = 0.0
        self._items: deque[_Item] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, item: _Item) -> None:
        """Adds an item."""
        self._items.append(item)
        self._changed.set()

    def close(self) -> None:
        """Ends the queue: once it is empty, there is no more."""
        self._closed = True
        self._changed.set()

    async def group(self, *, most: int = MOST_ITEMS) -> list[_Item]:
        """Waits for items and returns those that may share a message, in their order.

        Args:
            most: How many may; with 1 there is no pause.

        Returns:
            At least one, the first of any size; none at the end.
        """
        while not self._items:
            if self._closed:
                return []
            self._changed.clear()
            await self._changed.wait()
        if most > 1 and self._pause > 0:
            clock = asyncio.get_running_loop().time
            early = self._next - clock()
            if early > 0:
                await asyncio.sleep(early)
            self._next = clock() + self._pause
        return self._taken(most)

    def _taken(self, most: int) -> list[_Item]:
        group = [self._items.popleft()]
        size = self._size_of(group[0])
        while self._items and len(group) < most:
            size += self._size_of(self._items[0])
            if size > self._most_bytes:
                break
            group.append(self._items.popleft())
        return group
