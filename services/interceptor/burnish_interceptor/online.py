"""A call of online traffic: a candidate by weight, kept for a whole rollout; no ledger."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish_interceptor import app_error
from burnish_interceptor.dialects.request import ChatRequest
from burnish_interceptor.offline import CallRefused
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Policy, Stage
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.match import Recogniser
from burnish_interceptor.prompts.substitute import Outgoing
from burnish_interceptor.providers import Providers
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.upstream import Asked, Upstream
from burnish_runtime.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCall:
    """A call as it came.

    Attributes:
        request_id: Ours.
        policy: Id of the policy.
        rollout: What the candidate is kept for.
        chat: The body.
        hint: Stage id that the app names, or empty.
    """

    request_id: str
    policy: str
    rollout: str
    chat: ChatRequest
    hint: str


def chosen(weights: Sequence[tuple[str, float]], rollout: str) -> str:
    """Returns the candidate for a rollout by weighted rendezvous hashing.

    The same rollout keeps its candidate as long as no weight changes; a changed weight moves only
    the share of rollouts that it has to.

    Args:
        weights: Candidates and weights, at least one; those not above 0 are never chosen.
        rollout: Id of the rollout.
    """

    def draw(pair: tuple[str, float]) -> float:
        candidate, weight = pair
        digest = hashlib.blake2b(f"{candidate}\0{rollout}".encode(), digest_size=8).digest()
        uniform = (int.from_bytes(digest, "big") + 0.5) / 2**64
        return -weight / math.log(uniform) if weight > 0 else -1.0

    return max(weights, key=draw)[0]


class OnlineCalls:
    """Serves online traffic."""

    def __init__(
        self,
        *,
        policies: PolicyCache,
        providers: Providers,
        upstream: Upstream,
        token: Secret | None,
    ) -> None:
        """Takes its parts; without a token nobody is let in."""
        self._policies = policies
        self._providers = providers
        self._upstream = upstream
        self._token = token
        self._recogniser = Recogniser()

    def authorise(self, headers: Mapping[str, str]) -> None:
        """Checks the app's bearer token: an online URL alone opens nothing.

        Raises:
            CallRefused: It is missing or wrong.
        """
        given = headers.get("authorization", "").removeprefix("Bearer ").strip()
        wanted = self._token or ""
        if not wanted or not hmac.compare_digest(given.encode(), str(wanted).encode()):
            raise CallRefused(
                app_error.invalid(
                    "the API key is not the suite's", status=401, code="invalid_api_key"
                )
            )

    async def serve(self, call: OnlineCall, exchange: Exchange) -> None:
        """Serves one call to its end.

        Raises:
            CallRefused: It was not made.
            BurnishError: The policy could not be asked.
        """
        policy = await self._policies.policy(call.policy)
        if policy.synchronous or policy.learning_baseline:
            # Its calls have a budget, which only the ledger can hold.
            raise CallRefused(
                app_error.invalid(
                    "this policy serves rollout URLs only", status=403, code="policy_offline"
                )
            )
        outgoing = await self._outgoing(policy, call)
        asked = Asked(
            request_id=call.request_id,
            model=outgoing.model.name,
            stream=call.chat.stream,
            choices=call.chat.choices,
            include_usage=call.chat.include_usage,
        )
        target = self._providers.target(outgoing.model)
        ended = await self._upstream.call(target, outgoing.body, asked, exchange)
        ended.deliver(exchange, asked)

    async def _outgoing(self, policy: Policy, call: OnlineCall) -> Outgoing:
        stage = self._stage(policy, call)
        if stage is None or not stage.optimised or not policy.weights:
            model = stage.model if stage is not None else policy.model_for(call.chat.model)
            if model is None:
                raise CallRefused(
                    app_error.unavailable("the policy names no model", code="policy_without_model")
                )
            return substitute.passed_through(call.chat, model)
        candidate_id = chosen(policy.weights, call.rollout)
        prompts = await self._policies.candidate(policy.policy_id, candidate_id)
        prompt = prompts.stages.get(stage.stage_id)
        if prompt is None:
            return substitute.passed_through(call.chat, stage.model)
        try:
            return substitute.substituted(call.chat, stage=stage, prompt=prompt)
        except substitute.WildcardUnbound:
            raise CallRefused(app_error.WILDCARD_UNBOUND) from None

    def _stage(self, policy: Policy, call: OnlineCall) -> Stage | None:
        clear = self._recogniser.rank(policy.stages, call.chat.messages).clear
        if clear is not None:
            return clear
        return next((one for one in policy.stages if one.stage_id == call.hint), None)
