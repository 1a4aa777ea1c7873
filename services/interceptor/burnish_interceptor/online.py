"""A call of online traffic: a candidate by weight, kept for a whole rollout; no ledger."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish_interceptor import app_error
from burnish_interceptor.answers import Answers, Labels
from burnish_interceptor.dialects import AppRequest, Forced, Outgoing
from burnish_interceptor.offline import CallRefused
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Policy
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import NO_EDIT
from burnish_interceptor.prompts.match import Recogniser, Recognition
from burnish_interceptor.prompts.stages import hinted
from burnish_interceptor.providers import Providers
from burnish_interceptor.routes import Shape
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
        request: The body.
        hint: Stage id that the app names, or empty.
        shape: Whose URL was called.
    """

    request_id: str
    policy: str
    rollout: str
    request: AppRequest
    hint: str
    shape: Shape


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
        answers: Answers,
    ) -> None:
        """Takes its parts; without a token nobody is let in."""
        self._policies = policies
        self._providers = providers
        self._upstream = upstream
        self._token = token
        self._answers = answers
        self._recogniser = Recogniser()
        self._editor = substitute.Editor()

    def authorise(self, headers: Mapping[str, str]) -> None:
        """Checks the app's bearer token: an online URL alone opens nothing.

        Raises:
            CallRefused: It is missing or wrong.
        """
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = bearer or headers.get("x-api-key", "").strip()
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
        outgoing, candidate_id = await self._outgoing(policy, call)
        labels = Labels(
            shape=call.shape,
            job=policy.job,
            policy_version=policy.version,
            candidate_id=candidate_id,
            rollout=call.rollout,
            model=outgoing.model.name,
        )
        asked = Asked(
            request_id=call.request_id,
            request=call.request,
            shown=self._answers.shown(outgoing.model.name),
            labels=self._answers.headers(labels, call.request_id),
        )
        target = self._providers.target(outgoing.model, call.request.path)
        ended = await self._upstream.call(target, outgoing.body, asked, exchange)
        ended.deliver(exchange, asked)

    async def _outgoing(self, policy: Policy, call: OnlineCall) -> tuple[Outgoing, str]:
        """Returns what leaves, and the candidate that it carries."""
        found = self._recognised(policy, call)
        stage = found.stage if found is not None else None
        model = stage.model if stage is not None else policy.model_for(call.request.model)
        if model is None:
            raise CallRefused(
                app_error.unavailable("the policy names no model", code="policy_without_model")
            )
        forced = Forced(model=model, ask_usage=self._providers.asks_usage(model))
        plain = call.request.rewritten(NO_EDIT, forced)
        if found is None or stage is None or not stage.optimised or not policy.weights:
            return plain, ""
        candidate_id = chosen(policy.weights, call.rollout)
        prompts = await self._policies.candidate(policy.policy_id, candidate_id)
        prompt = prompts.stages.get(stage.stage_id)
        if prompt is None:
            return plain, ""
        try:
            made = self._editor.edited(
                call.request.messages, stage=stage, prompt=prompt, bindings=found.bindings
            )
        except substitute.NotSubstitutable as error:
            raise CallRefused(app_error.unfit(error.reason)) from None
        if not made.applied:
            return plain, ""
        return call.request.rewritten(made.edit, forced), candidate_id

    def _recognised(self, policy: Policy, call: OnlineCall) -> Recognition | None:
        if not call.request.messages:
            return None
        found = self._recogniser.recognise(policy.stages, call.request.messages)
        if found.stage is None and call.hint:
            return hinted(policy.stages, found, call.hint)
        return found
