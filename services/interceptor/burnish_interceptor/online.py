"""A call of online traffic: a candidate by weight, kept for a whole rollout; no ledger.

A call whose policy and prompts are here is served in callbacks from its first to its last byte.
Only what has to be fetched first is awaited in a task.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from burnish_interceptor import app_error
from burnish_interceptor.answers import Answers, Labels
from burnish_interceptor.asked import Asked, lines_of
from burnish_interceptor.dialects import Forced, Shown
from burnish_interceptor.ended import Ended
from burnish_interceptor.policies.arms import Assignments
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Arm, Policy, Prompts, Stage
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import NO_EDIT
from burnish_interceptor.prompts.match import Recogniser, Recognition
from burnish_interceptor.prompts.notices import Notices, told
from burnish_interceptor.prompts.stages import hinted
from burnish_interceptor.providers import Providers
from burnish_interceptor.refused import CallRefused
from burnish_interceptor.routes import Shape
from burnish_interceptor.seen import ONLINE, SeenCall, Served
from burnish_interceptor.telemetry import Recorder
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.upstream import Passage, request, target_head
from burnish_runtime.settings import Secret

_log = structlog.get_logger("burnish.interceptor.online")
_MAX_PLANS = 4096
# What an access log calls an answer that nobody waited for.
_CLIENT_LEFT = 499


class OnlineCall(NamedTuple):
    """A call as it came.

    Attributes:
        asked: What the app asks for.
        policy: Id of the policy.
        rollout: What the candidate is kept for.
        lasting: Whether the app named the rollout, so that more of its calls may come.
        hint: Stage id that the app names, or empty.
        shape: Whose URL was called.
    """

    asked: Asked
    policy: str
    rollout: str
    lasting: bool
    hint: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all calls of a policy's stage and arm have in common, put together once.

    Attributes:
        policy: Policy that it was made of.
        origin: Where the calls go.
        head: Head of each, up to the length of its body.
        forced: Settings that win over the app's.
        shown: How answers are shown.
        labels: Header lines of the answers.
        served: What traces and metrics tell.
    """

    policy: Policy
    origin: Origin
    head: bytes
    forced: Forced
    shown: Shown
    labels: str
    served: Served


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineParts:
    """What online calls are made with.

    Attributes:
        policies: Policies and prompts.
        providers: Where calls go.
        client: Makes them.
        answers: How they are answered.
        recorder: Told of each.
    """

    policies: PolicyCache
    providers: Providers
    client: Client
    answers: Answers
    recorder: Recorder


class OnlineCalls:
    """Serves online traffic."""

    def __init__(
        self,
        parts: OnlineParts,
        *,
        token: Secret | None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes its parts; without a token nobody is let in."""
        self._parts = parts
        self._token = str(token).encode() if token else b""
        self._recogniser = Recogniser()
        self._editor = substitute.Editor()
        self._notices = Notices()
        self._assignments = Assignments()
        self._plans: dict[tuple[int, int, str, str, bool, str, Shape], Plan] = {}
        self._wall_clock = wall_clock

    def authorise(self, headers: Mapping[str, str]) -> None:
        """Checks the app's bearer token: an online URL alone opens nothing.

        Raises:
            CallRefused: It is missing or wrong.
        """
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = bearer or headers.get("x-api-key", "").strip()
        if not self._token or not hmac.compare_digest(given.encode(), self._token):
            raise CallRefused(
                app_error.invalid(
                    "the API key is not the suite's", status=401, code="invalid_api_key"
                )
            )

    def serve(self, call: OnlineCall, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Serves one call, or returns what has to be awaited first.

        Raises:
            CallRefused: It was not made.
            BurnishError: It cannot be made.
        """
        policy = self._parts.policies.known(call.policy)
        if policy is None:
            return self._fetched(call, exchange)
        return self._routed(policy, call, exchange)

    async def _fetched(self, call: OnlineCall, exchange: Exchange) -> None:
        policy = await self._parts.policies.policy(call.policy)
        call.asked.watch.start()
        rest = self._routed(policy, call, exchange)
        if rest is not None:
            await rest

    def _routed(
        self, policy: Policy, call: OnlineCall, exchange: Exchange
    ) -> Coroutine[Any, Any, None] | None:
        if policy.synchronous or policy.learning_baseline:
            # Its calls have a budget, which only the ledger can hold.
            raise CallRefused(
                app_error.invalid(
                    "this policy serves rollout URLs only", status=403, code="policy_offline"
                )
            )
        found = self._recognised(policy, call)
        stage = found.stage if found is not None else None
        arm = None
        if stage is not None and stage.optimised:
            arm = self._assignments.choose(policy, call.rollout, lasting=call.lasting)
        route = Routed(policy, call, exchange, found)
        if arm is None:
            self._go(route, None, None)
            return None
        prompts = self._parts.policies.known_prompts(policy.policy_id, arm.candidate_id)
        if prompts is None:
            return self._prompted(route, arm)
        self._go(route, arm, prompts)
        return None

    async def _prompted(self, route: Routed, arm: Arm) -> None:
        policies = self._parts.policies
        prompts = await policies.candidate(route.policy.policy_id, arm.candidate_id)
        route.call.asked.watch.start()
        self._go(route, arm, prompts)

    def _recognised(self, policy: Policy, call: OnlineCall) -> Recognition | None:
        messages = call.asked.request.messages
        if not messages:
            return None
        found = self._recogniser.recognise(policy.stages, messages)
        if found.stage is None and call.hint:
            found = hinted(policy.stages, found, call.hint)
        if found.stage is None:
            count = self._notices.due(policy, found)
            if count:
                _log.warning("stage_unmatched", count=count, **told(policy, found))
        return found

    def _go(self, route: Routed, arm: Arm | None, prompts: Prompts | None) -> None:
        """Puts the candidate in and sends the call."""
        _, call, exchange, found = route
        asked = call.asked
        if exchange.left:
            exchange.abort()
            return
        edit, applied = NO_EDIT, False
        bindings: Mapping[str, str] | None = found.bindings if found is not None else None
        stage = found.stage if found is not None else None
        prompt = None
        if stage is not None and arm is not None and prompts is not None:
            prompt = prompts.stages.get(stage.stage_id)
        if found is not None and stage is not None and prompt is not None:
            try:
                made = self._editor.edited(
                    asked.request.messages, stage=stage, prompt=prompt, bindings=found.bindings
                )
            except substitute.NotSubstitutable as error:
                raise CallRefused(app_error.unfit(error.reason)) from None
            edit, bindings, applied = made.edit, made.bindings, made.applied
        plan = self._plan(route, stage, arm, applied=applied)
        body = asked.request.rewritten(edit, plan.forced).body
        asked.shown, asked.labels = plan.shown, plan.labels
        if call.shape is Shape.GEPA:
            asked.labels += lines_of({"x-gepa-rollout-id": call.rollout})
        sent = Sent(plan.served, body, self._wall_clock(), found, bindings)
        passage = Passage(asked, exchange, lambda _, ended: self._over(call, sent, passage, ended))
        exchange.on_gone = lambda: self._left(call, sent, passage)
        passage.begin(self._parts.client, plan.origin, request(plan.head, body))

    def _plan(self, route: Routed, stage: Stage | None, arm: Arm | None, *, applied: bool) -> Plan:
        """Returns the plan of a call; the arm is told though it leaves the stage as it is."""
        policy, call = route.policy, route.call
        api = call.asked.request
        model = stage.model if stage is not None else policy.model_for(api.model)
        if model is None:
            raise CallRefused(
                app_error.unavailable("the policy names no model", code="policy_without_model")
            )
        api = call.asked.request = self._parts.providers.spoken(api, model)
        name = arm.name if arm is not None else ""
        candidate_id = arm.candidate_id if arm is not None and applied else ""
        stage_id = stage.stage_id if stage is not None else ""
        key = (id(policy), id(model), stage_id, name, applied, api.path, call.shape)
        plan = self._plans.get(key)
        if plan is not None and plan.policy is policy:
            return plan
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        parts = self._parts
        target = parts.providers.target(model, api.path)
        labels = Labels(
            shape=call.shape,
            job=policy.job,
            policy_version=policy.version,
            candidate_id=candidate_id,
            rollout="",
            model=model.name,
            arm=name,
        )
        plan = self._plans[key] = Plan(
            policy=policy,
            origin=target.origin,
            head=target_head(target),
            forced=parts.providers.forced(model),
            shown=parts.answers.shown(model.name),
            labels=lines_of(parts.answers.headers(labels, "")),
            served=Served(
                mode=ONLINE,
                api=api.api,
                provider=model.provider,
                model=model.name,
                policy_id=policy.policy_id,
                policy_version=policy.version,
                stage_id=stage_id,
                candidate_id=candidate_id,
                arm=name,
                price=model.price,
            ),
        )
        return plan

    def _over(self, call: OnlineCall, sent: Sent, passage: Passage, ended: Ended) -> None:
        """Gives the app the rest of its answer, and tells of the call."""
        status = ended.deliver(passage.exchange, call.asked)
        self._tell(call, sent, passage, ended, status)

    def _left(self, call: OnlineCall, sent: Sent, passage: Passage) -> None:
        """Ends the provider's work at once when the app has gone."""
        passage.leave()
        passage.exchange.abort()
        call.asked.watch.start()
        ended = Ended(raw=passage.raw, events=call.asked.request.stream)
        self._tell(call, sent, passage, ended, _CLIENT_LEFT)

    def _tell(
        self, call: OnlineCall, sent: Sent, passage: Passage, ended: Ended, status: int
    ) -> None:
        asked = call.asked
        found = sent.found
        self._parts.recorder.put(
            SeenCall(
                sent.served,
                asked.request_id,
                call.rollout,
                status,
                sent.time,
                time.monotonic() - passage.sent_at,
                passage.first_byte,
                asked.watch.now,
                asked.request.body,
                sent.body,
                ended.raw,
                ended.status,
                ended.events,
                ended.usage,
                ended.problem,
                found.ratio if found is not None else None,
                asked.trace,
                sent.bindings,
            )
        )


class Routed(NamedTuple):
    """A call, and what it was taken for."""

    policy: Policy
    call: OnlineCall
    exchange: Exchange
    found: Recognition | None


class Sent(NamedTuple):
    """A call as it left.

    Attributes:
        served: What it has in common with others.
        body: What the provider was sent.
        time: Unix seconds.
        found: What it was taken for.
        bindings: Values of the stage's wildcards.
    """

    served: Served
    body: bytes
    time: float
    found: Recognition | None
    bindings: Mapping[str, str] | None
