"""Turns a text into weighted features: stems, word pairs and pieces of words.

Everything here is language-light on purpose: a short English stop list only lowers a weight and
never removes a word, and the pieces of words keep typos, compounds and other languages comparable.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

# Question words are kept out of the list: "how long" and "why" tell intents apart.
STOP_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those i me my mine we us our ours you your yours he him his she "
        "her hers it its they them their theirs is are was were be been being am do does did "
        "doing done have has had having will would can could shall should may might must to of in "
        "on at by for from with about into onto over under as and or but so if then than there "
        "here just also too very really please some any all each such same own s t d m re ve ll "
        "im ive dont",
    )
)

_WORD_WEIGHT: Final = 1.0
_STOP_WEIGHT: Final = 0.15
_PAIR_WEIGHT: Final = 0.5
_PIECES_WEIGHT: Final = 1.0
_PIECE_SIZES: Final = (3, 4, 5)
_VOWEL: Final = re.compile("[aeiouy]")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Returns a lower-case word without its common English endings; short words stay."""
    word = word.removesuffix("'s").removesuffix("\u2019s").replace("'", "").replace("\u2019", "")
    if len(word) <= 3:
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and _VOWEL.search(root):
            doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
            word = root[:-1] if doubled else root
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def words(text: str) -> list[str]:
    """Returns the lower-case words of a text in order; underscores and camelCase separate words."""
    return WORD.findall(_CAMEL.sub(" ", text).lower())


def stems(text: str) -> list[str]:
    """Returns the stems of the words of a text in order."""
    return [stem(word) for word in words(text)]


def features(text: str) -> dict[str, float]:
    """Returns feature -> weight before inverse frequency; repeats add up as the root of squares."""
    squares: dict[str, float] = {}
    for name, weight in _stream(text):
        squares[name] = squares.get(name, 0.0) + weight * weight
    return {name: square**0.5 for name, square in squares.items()}


def _stream(text: str) -> Iterator[tuple[str, float]]:
    before, before_is_stop = "", True
    for word in words(text):
        is_stop = word in STOP_WORDS
        root = stem(word)
        yield root, _STOP_WEIGHT if is_stop else _WORD_WEIGHT
        if not is_stop:
            yield from _pieces(root)
        if before:
            yield f"{before} {root}", _STOP_WEIGHT if is_stop and before_is_stop else _PAIR_WEIGHT
        before, before_is_stop = root, is_stop


@lru_cache(maxsize=65536)
def _pieces(root: str) -> tuple[tuple[str, float], ...]:
    padded = f"#{root}#"
    found = [padded[i : i + n] for n in _PIECE_SIZES for i in range(len(padded) - n + 1)]
    # The weight is shared out so that a long word does not weigh more than a short one.
    return tuple((f"~{piece}", _PIECES_WEIGHT / len(found) ** 0.5) for piece in found)
