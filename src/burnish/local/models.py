"""The served models by id, and the way from a valid chat request to its answers.

`local-reader` classifies, `local-proposer` writes instructions for an optimiser, `local-judge`
checks rubric criteria. None of them is a language model; each module says what its own can and
cannot do.
"""

import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from burnish.local.chat import BadChatRequest, ChatRequest
from burnish.local.completion import Choice, TokenChance, cut
from burnish.local.demos import Turn
from burnish.local.judge import judge
from burnish.local.prompt import Source, cut_query
from burnish.local.proposer import propose
from burnish.local.reader import LocalReader, Reading

READER: Final = "local-reader"
PROPOSER: Final = "local-proposer"
JUDGE: Final = "local-judge"
MODEL_IDS: Final = (READER, PROPOSER, JUDGE)


class LocalModels:
    """Answers chat requests, repeatably when a seed is given or the temperature is 0."""

    def __init__(self) -> None:
        """Starts with an empty prompt cache."""
        self._reader = LocalReader()
        self._calls = 0

    def answer(self, request: ChatRequest) -> tuple[Choice, ...]:
        """Returns one choice for each one asked for.

        Raises:
            BadChatRequest: No such model, or the meta-prompt lacks a part that its model needs.
        """
        sampling = request.sampling
        if request.model == READER:
            drawn = self._read(request)
        elif request.model == PROPOSER:
            drawn = (_plain(propose(_meta_prompt(request), max_tokens=sampling.max_tokens)),)
            drawn *= sampling.choice_count
        elif request.model == JUDGE:
            drawn = (_plain(judge(_meta_prompt(request))),) * sampling.choice_count
        else:
            raise unknown_model(request.model)
        return tuple(
            cut(choice, max_tokens=sampling.max_tokens, stop=sampling.stop) for choice in drawn
        )

    def _read(self, request: ChatRequest) -> tuple[Choice, ...]:
        turns = [
            Turn(role=message.role, text=message.text, calls=message.calls)
            for message in request.messages
        ]
        query, hollow = cut_query(turns)
        source = Source(
            turns=hollow,
            tools=request.tools,
            tool_choice=request.tool_choice,
            response_format=request.response_format,
        )
        key = _digest(source, request.extra_text)
        reading = self._reader.read(key, source, query)
        sampling = request.sampling
        rng = Random(self._seed(key, query, sampling.seed))  # noqa: S311 - not for secrets
        picks = [
            reading.pick(temperature=sampling.temperature, rng=rng)
            for _ in range(sampling.choice_count)
        ]
        return tuple(_choice(reading, pick, sampling.top_logprobs) for pick in picks)

    def _seed(self, key: bytes, query: str, seed: int | None) -> str:
        if seed is not None:
            return f"{seed}:{key.hex()}:{query}"
        self._calls += 1
        return f"call {self._calls}:{key.hex()}:{query}"


def unknown_model(model: str) -> BadChatRequest:
    """Returns the error for a model id that is not served; it is answered with 404."""
    return BadChatRequest(
        f"the model `{model}` does not exist here; use one of {', '.join(MODEL_IDS)}",
        param="model",
        status=404,
        kind="model_not_found",
    )


def _meta_prompt(request: ChatRequest) -> str:
    return "\n\n".join(message.text for message in request.messages if message.role == "user")


def _digest(source: Source, tools_text: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    parts = [f"{turn.role}\x1e{turn.text}\x1e{turn.calls}" for turn in source.turns]
    rest = json.dumps([source.tool_choice, source.response_format])
    digest.update("\x1d".join([*parts, tools_text, rest]).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _plain(text: str) -> Choice:
    return Choice(text=text, pieces=(TokenChance(text=text, logprob=0.0),))


def _choice(reading: Reading, position: int, top_count: int) -> Choice:
    text = reading.write(position)
    label = reading.labels[position]
    tops = tuple(zip(reading.labels[:top_count], reading.logprobs[:top_count], strict=True))
    chosen = TokenChance(text=label, logprob=reading.logprobs[position], top=tops)
    start = text.find(label)
    if start < 0:
        # The form changed the label's spelling: the answer as a whole stands for it.
        pieces = [TokenChance(text=text, logprob=chosen.logprob, top=tops)]
    else:
        around = (text[:start], text[start + len(label) :])
        before, after = (TokenChance(text=each, logprob=0.0) for each in around)
        pieces = [piece for piece in (before, chosen, after) if piece.text]
    tool = reading.form.tool if reading.form.kind == "tool" else ""
    return Choice(text=text, tool=tool, pieces=tuple(pieces))


def describe_model(model: str) -> Mapping[str, Any]:
    """Returns the entry of a model in the list of models."""
    return {"id": model, "object": "model", "created": 0, "owned_by": "burnish"}
