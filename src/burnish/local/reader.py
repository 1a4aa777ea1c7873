"""The local reader: chooses the label that the prompt's own evidence speaks for most.

It classifies. It does not reason, compute, write or extract: a task that needs more than choosing
among labels needs a real model. Without any label or demonstration in the prompt it makes a label
up from the query's words, which is nearly always wrong, as it should be.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np

from burnish.local.answer import AnswerForm, write_answer
from burnish.local.lexical import Floats, LexicalIndex
from burnish.local.prompt import Contrast, Prompt, Source, read_prompt
from burnish.local.text import STOP_WORDS, stems, words

# Best calibrated sharpness of the softmax over scores at temperature 1.
_SHARPNESS: Final = 20.0
_CONTRAST_STEP: Final = 0.04
_CACHED_PROMPTS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the reader made of a query: labels, log probabilities at temperature 1."""

    labels: tuple[str, ...]
    logprobs: tuple[float, ...]
    form: AnswerForm
    query: str

    def pick(self, *, temperature: float, rng: Random) -> int:
        """Returns the position of the chosen label: the best at temperature 0, else drawn."""
        if temperature <= 0.0 or len(self.labels) == 1:
            return 0
        weights = [math.exp((each - self.logprobs[0]) / temperature) for each in self.logprobs]
        return rng.choices(range(len(weights)), weights=weights)[0]

    def write(self, position: int) -> str:
        """Returns the answer that gives the label at this position."""
        return write_answer(self.form, self.labels[position], self.query)


class _Indexed:
    """A prompt made ready for queries."""

    def __init__(self, prompt: Prompt) -> None:
        evidence = sorted(prompt.evidence, key=lambda each: each.label)
        self.prompt = prompt
        self._index = LexicalIndex([each.text for each in evidence])
        counts = np.bincount([each.label for each in evidence], minlength=len(prompt.labels))
        self._counts = counts
        self._starts = np.concatenate(([0], np.cumsum(counts)[:-1]))

    def scores(self, query: str) -> Floats:
        """Returns half the mean plus half the best similarity of each label's evidence."""
        similar = self._index.similarities(query)
        best = np.maximum.reduceat(similar, self._starts)
        mean = np.add.reduceat(similar, self._starts) / self._counts
        scores: Floats = 0.5 * best + 0.5 * mean
        if self.prompt.contrasts:
            _apply_contrasts(scores, self.prompt.contrasts, stems(query))
        return scores


class LocalReader:
    """Reads prompts and answers queries; prompts stay indexed, the least recently used go first."""

    def __init__(self, *, cached_prompts: int = _CACHED_PROMPTS) -> None:
        """Starts with no prompt known; the cache holds at most `cached_prompts` prompts."""
        self._limit = cached_prompts
        self._cache: OrderedDict[bytes, _Indexed] = OrderedDict()

    def read(self, key: bytes, source: Source, query: str) -> Reading:
        """Scores a query under a prompt; equal keys must mean equal sources."""
        indexed = self._cache.get(key)
        if indexed is None:
            indexed = _Indexed(read_prompt(source))
            self._cache[key] = indexed
            if len(self._cache) > self._limit:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        prompt = indexed.prompt
        if not prompt.labels:
            return Reading(
                labels=(_made_up(query),), logprobs=(0.0,), form=prompt.form, query=query
            )
        scores = indexed.scores(query) * _SHARPNESS
        shifted = scores - scores.max()
        logprobs = shifted - math.log(float(np.exp(shifted).sum()))
        order = np.argsort(-logprobs, kind="stable")
        return Reading(
            labels=tuple(prompt.labels[i] for i in order),
            logprobs=tuple(logprobs[order].tolist()),
            form=prompt.form,
            query=query,
        )


def _apply_contrasts(scores: Floats, contrasts: tuple[Contrast, ...], query: list[str]) -> None:
    winner = int(np.argmax(scores))
    for rule in contrasts:
        # A rule speaks only against the label that would win without it; always applied, rules do
        # harm.
        if rule.rather_than == winner and any(_occurs(term, query) for term in rule.terms):
            scores[rule.choose] += _CONTRAST_STEP
            scores[rule.rather_than] -= _CONTRAST_STEP
            return


def _occurs(term: tuple[str, ...], query: list[str]) -> bool:
    size = len(term)
    return any(tuple(query[i : i + size]) == term for i in range(len(query) - size + 1))


def _made_up(query: str) -> str:
    content = [word for word in words(query) if word not in STOP_WORDS]
    return "_".join((content or ["unclear"])[:3])
