"""Similarity of the answer to what was wanted: exact, or by the cosine of two embeddings.

Without a model the embedding is made here: words, and letter n-grams of words, hashed into a vector
of fixed length. It is deterministic, offline and free. It sees shared spelling, so inflections and
typing errors come near each other, and knows nothing of meaning: synonyms are strangers to it.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from burnish.errors import BurnishError
from burnish_verifier.checks.base import CannotJudge, Subject, as_text, at
from burnish_verifier.evaluate import failed_by, subject_of
from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import NodeResult, NodeTask, Spending
from burnish_verifier.steps import ModelRef, Similarity

_DIMENSIONS = 2**18
_GRAM_LENGTHS = (3, 4)
_MAX_TEXT = 100_000
_WORD = re.compile(r"\w+")

Vector = Mapping[int, float]
Vectors = Sequence[Sequence[float]]


class Embedder(Protocol):
    """Asks an embedding model."""

    async def embed(
        self, texts: Sequence[str], *, model: ModelRef, task: NodeTask
    ) -> tuple[Vectors, Spending] | Failed:
        """Returns a vector per text, in order and of one length, and what they cost."""

    async def close(self) -> None:
        """Closes connections."""


class SimilarityEvaluator:
    """Evaluates similarity nodes."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def evaluate(self, task: NodeTask) -> NodeResult | Failed:
        """Compares the answer of one rollout with what was wanted."""
        step = task.node.step
        if not isinstance(step, Similarity):
            raise TypeError(f"node {task.node.node_id} is no similarity")
        subject = subject_of(task.evidence, task.node.scope)
        if isinstance(subject, Failed):
            return subject
        try:
            answer, wanted = _texts(step, subject)
        except BurnishError as error:
            return failed_by(error)
        if step.method == "exact":
            return NodeResult(score=float(answer == wanted))
        if step.model is None:
            near = _sparse_cosine(hashed(answer), hashed(wanted))
            return NodeResult(score=_stretched(near, step.floor))
        found = await self._embedder.embed([answer, wanted], model=step.model, task=task)
        if isinstance(found, Failed):
            return found
        (one, other), spent = found
        return NodeResult(score=_stretched(_cosine(one, other), step.floor), spent=spent)

    async def close(self) -> None:
        """Closes connections."""
        await self._embedder.close()


def hashed(text: str) -> Vector:
    """Returns the built-in embedding of a text: hashed words and letter n-grams, by place."""
    clean = unicodedata.normalize("NFKC", text[:_MAX_TEXT]).casefold()
    counts: Counter[int] = Counter()
    for word in _WORD.findall(clean):
        counts[_place(f"w:{word}")] += 2
        padded = f"<{word}>"
        for length in _GRAM_LENGTHS:
            for start in range(len(padded) - length + 1):
                counts[_place(padded[start : start + length])] += 1
    # The tenth repeat of a word says less than the first.
    return {place: 1 + math.log(count) for place, count in counts.items()}


def _place(feature: str) -> int:
    return zlib.crc32(feature.encode()) % _DIMENSIONS


def _texts(step: Similarity, subject: Subject) -> tuple[str, str]:
    if not subject.has_output:
        raise CannotJudge(
            "the rollout has no output; let the task app return one", reason="OUTPUT_MISSING"
        )
    if not subject.has_reference:
        raise CannotJudge(
            "the rollout has no reference; let the task app return one", reason="REFERENCE_MISSING"
        )
    answer = as_text(at(subject.output, step.answer_path, what="output"))
    wanted = as_text(at(subject.reference, step.wanted_path, what="reference"))
    if wanted is None:
        raise CannotJudge("the reference is null; return a text", reason="REFERENCE_INVALID")
    return answer or "", wanted


def _stretched(near: float, floor: float) -> float:
    return min(max((near - floor) / (1 - floor), 0.0), 1.0)


def _sparse_cosine(one: Vector, other: Vector) -> float:
    if not one or not other:
        return float(one == other)
    dot = math.fsum(weight * other.get(place, 0.0) for place, weight in one.items())
    return dot / (_length(one.values()) * _length(other.values()))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = _length(one) * _length(other)
    if lengths == 0:
        return 0.0
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


def _length(weights: Iterable[float]) -> float:
    return math.sqrt(math.fsum(weight * weight for weight in weights))
