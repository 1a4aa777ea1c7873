"""Asks embedding models of providers that speak OpenAI's API, through the call ledger.

An embedding is a call like any other: reserved before, booked after, and replayed when it is asked
for again. So it is shaped as a provider of its own, whose reply is the list of vectors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from burnish.api.ledger import v1 as ledger_v1
from burnish.errors import BurnishError, FailedPrecondition, MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.accounts import Account, CallDesk
from burnish_runtime.llm.base import (
    ChatMessage,
    Completion,
    CompletionRequest,
    ProviderAccess,
    ProviderError,
    TokenUsage,
)
from burnish_runtime.llm.failures import malformed_error
from burnish_runtime.llm.openai import OPENAI_URL
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_runtime.llm.sdk_http import SdkClient
from burnish_verifier.convert_judge import model_message
from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import NodeFailed, NodeTask, Spending
from burnish_verifier.nodes.similarity import Vectors
from burnish_verifier.steps import ModelRef

PROVIDERS = ("openai", "openai_compatible")


class EmbeddingUnpaid(FailedPrecondition):
    """An embedding that costs money, and no job to pay for it. Do not retry."""

    default_reason = "EMBEDDING_WITHOUT_JOB"


class EmbeddingProvider:
    """A provider's embeddings, as a provider whose reply has vectors for a text."""

    def __init__(self, access: ProviderAccess, *, name: str) -> None:
        """Opens the adapter.

        Raises:
            MissingExtra: `openai` is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise MissingExtra(package="openai", extra="llm") from error
        self._name = name
        self._sdk = SdkClient(openai, openai.AsyncOpenAI, access, name=name, own_url=OPENAI_URL)

    @property
    def name(self) -> str:
        """The provider's name in a model spec."""
        return self._name

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(_fields(request))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model for the vectors of every message, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        create = self._sdk.client.embeddings.with_streaming_response.create
        body = await self._sdk.body(create, request.timeout_seconds, **_fields(request))
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: They are no list of vectors.
        """
        vectors, usage = _reply(self._name, body)
        read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        return Completion(
            text=json.dumps(vectors),
            body=body,
            usage=TokenUsage(input_tokens=read, output_tokens=0) if isinstance(read, int) else None,
            finish_reason="stop",
        )

    async def close(self) -> None:
        """Closes connections."""
        await self._sdk.close()


class ModelEmbedder:
    """Asks embedding models, each call on the account of the rollout's judgements."""

    def __init__(self, registry: ProviderRegistry, desk: CallDesk | None) -> None:
        """Takes what calls are made with.

        Args:
            registry: Knows keys and addresses.
            desk: Where paid calls are made; None where there is no ledger.
        """
        self._registry = registry
        self._desk = desk
        self._open: dict[tuple[str, str], EmbeddingProvider] = {}

    async def embed(
        self, texts: Sequence[str], *, model: ModelRef, task: NodeTask
    ) -> tuple[Vectors, Spending] | Failed:
        """Returns a vector per text, in order, and what they cost; or why there are none."""
        try:
            return await self._asked(texts, model, task)
        except BurnishError as error:
            return NodeFailed(
                reason=error.reason,
                message=error.message,
                retryable=error.can_retry if isinstance(error, ProviderError) else error.retryable,
                metadata=error.metadata,
            )

    async def close(self) -> None:
        """Closes connections."""
        opened, self._open = list(self._open.values()), {}
        for provider in opened:
            await provider.close()

    async def _asked(
        self, texts: Sequence[str], model: ModelRef, task: NodeTask
    ) -> tuple[Vectors, Spending]:
        if self._desk is None or not task.job:
            raise EmbeddingUnpaid(
                f"embedding model `{model.model}` costs money and no job pays for it; name the "
                "job, or leave `model` out for the built-in embedding",
                metadata={"provider": model.provider, "model": model.model},
            )
        key = (model.provider, model.base_url)
        if key not in self._open:
            access = self._registry.access(*key)
            # The first one imports the provider's package, which takes long.
            self._open[key] = await asyncio.to_thread(
                EmbeddingProvider, access, name=model.provider
            )
        account = Account(
            job=task.job,
            scope=f"judgements/{task.job.removeprefix('jobs/')}/{task.rollout_id}",
            attempt=1,
            role=ledger_v1.CALL_ROLE_JUDGE,
        )
        paid = self._desk.model(self._open[key], spec=model_message(model), account=account)
        request = CompletionRequest(
            model=model.model,
            messages=tuple(ChatMessage(role="user", content=text) for text in texts),
            # An embedding writes nothing; the ledger wants a bound all the same.
            max_output_tokens=1,
            timeout_seconds=task.options.timeout,
        )
        completion = await paid.complete(request)
        vectors: Vectors = json.loads(completion.text)
        if len(vectors) != len(texts) or len({len(each) for each in vectors}) != 1:
            raise malformed_error(model.provider, "vectors that do not go with the texts")
        usage = paid.spent
        return vectors, Spending(
            input_tokens=usage.input_tokens,
            cost_usd=usage.cost_usd if usage.HasField("cost_usd") else None,
            call_count=usage.call_count,
            possibly_paid_call_count=usage.possibly_paid_call_count,
            estimated=usage.estimated,
        )


def refusal(provider: str) -> str:
    """Returns why a provider is asked for no embeddings; empty for one that is."""
    if provider in PROVIDERS:
        return ""
    return (
        f"provider `{provider}` is asked for no embeddings; use one of {', '.join(PROVIDERS)}, or "
        "leave `model` out for the built-in embedding"
    )


def _fields(request: CompletionRequest) -> dict[str, Any]:
    return {
        "model": request.model,
        "input": [message.content for message in request.messages],
        "encoding_format": "float",
    }


def _reply(provider: str, body: bytes) -> tuple[list[list[float]], object]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        raise malformed_error(provider, "no JSON") from None
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not rows:
        raise malformed_error(provider, "no vectors")
    by_index: dict[int, list[float]] = {}
    for row in rows:
        place, vector = (
            (row.get("index"), row.get("embedding")) if isinstance(row, dict) else (0, 0)
        )
        if not isinstance(place, int) or not _is_vector(vector):
            raise malformed_error(provider, "a vector that is none")
        by_index[place] = vector
    return [by_index[place] for place in sorted(by_index)], reply.get("usage")


def _is_vector(value: object) -> TypeGuard[list[float]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    )
