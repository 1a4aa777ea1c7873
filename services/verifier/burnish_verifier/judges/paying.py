"""Opens judge models: calls of a job go through the call ledger, which pays, books and keeps them.

Here alone the judges meet protobuf and providers. Models of the suite's own cost nothing, so they
judge without a job too, past the ledger; an address that a request names is never one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition
from burnish_runtime.llm.accounts import Account, CallDesk
from burnish_runtime.llm.base import (
    Completion,
    CompletionRequest,
    JsonSchema,
    LlmProvider,
    ProviderError,
)
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_verifier.judges.asking import Question
from burnish_verifier.judges.replies import unbounded
from burnish_verifier.nodes.base import NOTHING, Spending
from burnish_verifier.steps import ModelRef

_Shape = Literal["schema", "unbounded schema", "JSON"]
_FREE: Final = "local"
# What servers answer to a schema, or to a part of one, that they do not take.
_NO_SCHEMA: Final = frozenset({400, 422})
# How a reply is asked for, from the closest to the loosest.
_SHAPES: Final[tuple[_Shape, ...]] = ("schema", "unbounded schema", "JSON")


class JudgeUnpaid(FailedPrecondition):
    """A judge that costs money, and no job to pay for it. Do not retry."""

    default_reason = "JUDGE_WITHOUT_JOB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Who pays for a judgement.

    Attributes:
        job: Resource name of the job; empty when no job does.
        rollout_id: Rollout that is judged.
        timeout: Seconds for one reply.
    """

    job: str
    rollout_id: str
    timeout: float


class _Completes(Protocol):
    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model."""


class PaidModel:
    """A judge model whose calls are paid for; one for each judgement."""

    def __init__(
        self, model: _Completes, *, ref: ModelRef, timeout: float, shapes: dict[ModelRef, int]
    ) -> None:
        """Takes a model.

        Args:
            model: What answers.
            ref: Which model that is.
            timeout: Seconds for one reply.
            shapes: The closest way to ask that a model is known to take, by its place in the list
                of ways; what is found out is put there.
        """
        self._model = model
        self._ref = ref
        self._timeout = timeout
        self._shapes = shapes

    async def ask(self, question: Question) -> Completion:
        """Asks by the closest way that the model takes: by a schema, or for JSON alone.

        Raises:
            BurnishError: There is no reply; says whether a retry may help.
        """
        key = _unpriced(self._ref)
        refused: list[ProviderError] = []
        for place in range(self._shapes.get(key, 0), len(_SHAPES)):
            try:
                completion = await self._model.complete(self._request(question, _SHAPES[place]))
            except ProviderError as error:
                if error.status not in _NO_SCHEMA:
                    raise
                refused.append(error)
            else:
                self._shapes[key] = place
                return completion
        # What was said to the closest way tells most.
        raise refused[0]

    def _request(self, question: Question, shape: _Shape) -> CompletionRequest:
        schema = question.schema if shape == "schema" else unbounded(question.schema)
        asked = JsonSchema(name=f"judge_{question.name}", schema=schema)
        return CompletionRequest(
            model=self._ref.model,
            messages=question.messages,
            max_output_tokens=question.max_output_tokens,
            temperature=0.0 if self._ref.temperature is None else self._ref.temperature,
            seed=question.seed,
            json_mode=shape == "JSON",
            json_schema=None if shape == "JSON" else asked,
            timeout_seconds=self._timeout,
        )


class _FreeModel:
    """A model that costs nothing, asked past the ledger."""

    def __init__(self, provider: LlmProvider) -> None:
        self._provider = provider
        self.spent = NOTHING

    async def complete(self, request: CompletionRequest) -> Completion:
        completion = await self._provider.complete(request)
        usage = completion.usage
        self.spent = self.spent.plus(
            Spending(
                input_tokens=0 if usage is None else usage.input_tokens,
                output_tokens=0 if usage is None else usage.output_tokens,
                call_count=1,
                estimated=usage is None,
            )
        )
        return completion


@dataclass(slots=True)
class Opened:
    """A model that was opened for one judgement.

    Attributes:
        model: The model.
    """

    model: PaidModel
    _account: _FreeModel | _Ledgered

    @property
    def spent(self) -> Spending:
        """What its calls cost so far."""
        return self._account.spent


class Bank:
    """Opens judge models."""

    def __init__(self, registry: ProviderRegistry, desk: CallDesk | None) -> None:
        """Takes what the calls are made with.

        Args:
            registry: Providers.
            desk: Where paid calls are made; None where there is no ledger.
        """
        self._registry = registry
        self._desk = desk
        self._shapes: dict[ModelRef, int] = {}
        self._providers: dict[tuple[str, str], LlmProvider] = {}

    async def open(self, ref: ModelRef, payer: Payer) -> Opened:
        """Opens a model for one judgement.

        Raises:
            JudgeUnpaid: The model costs money, and no job pays.
            BurnishError: The provider cannot be used.
        """
        provider = await self._provider(ref)
        account: _FreeModel | _Ledgered
        if self._desk is not None and payer.job:
            account = _Ledgered(self._desk, provider, spec=_spec(ref), payer=payer)
        elif ref.provider == _FREE and not ref.base_url:
            account = _FreeModel(provider)
        else:
            raise JudgeUnpaid(
                f"judge `{ref.model}` of `{ref.provider}` costs money and no job pays for it; name "
                "the job, or use a model of provider `local`",
                metadata={"provider": ref.provider, "model": ref.model},
            )
        model = PaidModel(account, ref=ref, timeout=payer.timeout, shapes=self._shapes)
        return Opened(model, account)

    async def _provider(self, ref: ModelRef) -> LlmProvider:
        key = (ref.provider, ref.base_url)
        if key not in self._providers:
            # The first one imports the provider's package, which takes long.
            self._providers[key] = await asyncio.to_thread(
                self._registry.get, ref.provider, base_url=ref.base_url
            )
        return self._providers[key]


class _Ledgered:
    """A model whose calls go on the account of a rollout's judgements."""

    def __init__(
        self, desk: CallDesk, provider: LlmProvider, *, spec: types_v1.ModelSpec, payer: Payer
    ) -> None:
        account = Account(
            job=payer.job,
            scope=f"judgements/{payer.job.removeprefix('jobs/')}/{payer.rollout_id}",
            attempt=1,
            role=ledger_v1.CALL_ROLE_JUDGE,
        )
        self._model = desk.model(provider, spec=spec, account=account)

    @property
    def spent(self) -> Spending:
        usage = self._model.spent
        return Spending(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd if usage.HasField("cost_usd") else None,
            call_count=usage.call_count,
            possibly_paid_call_count=usage.possibly_paid_call_count,
            estimated=usage.estimated,
        )

    async def complete(self, request: CompletionRequest) -> Completion:
        return await self._model.complete(request)


def _unpriced(ref: ModelRef) -> ModelRef:
    """Returns a model without what does not tell it from another, and cannot be hashed."""
    return ModelRef(provider=ref.provider, model=ref.model, base_url=ref.base_url)


def _spec(ref: ModelRef) -> types_v1.ModelSpec:
    spec = types_v1.ModelSpec(
        provider=ref.provider,
        model=ref.model,
        temperature=ref.temperature,
        max_output_tokens=ref.max_output_tokens,
        base_url=ref.base_url,
    )
    price: Mapping[str, float] | None = ref.price
    if price is not None:
        spec.price.CopyFrom(types_v1.Price(**dict(price)))
    return spec
