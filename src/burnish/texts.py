"""Texts that JSON lets through and UTF-8 cannot write: those with halves of characters."""

from __future__ import annotations


def is_whole(text: str) -> bool:
    """Tells whether UTF-8 can write a text: JSON lets halves of characters (surrogates) through."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def whole(text: str) -> str:
    """Returns a text that UTF-8 can write: halves of characters become what stands for them."""
    return text.encode(errors="backslashreplace").decode()


def json_bytes(text: str) -> bytes:
    """Returns JSON text as UTF-8, with halves of characters escaped as JSON has them."""
    # They stand in strings alone, where this is JSON's own way to write them.
    return text.encode(errors="backslashreplace")
