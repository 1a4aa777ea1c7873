"""How deep a JSON value is nested: what is too deep makes whoever walks it fail."""

from __future__ import annotations


def deeper_than(value: object, limit: int) -> bool:
    """Tells whether a JSON value has more levels of objects and arrays than a limit."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
