"""Online traffic: a candidate by weight, kept for a whole rollout; no ledger.

A call whose policy and prompts are here is served in callbacks from its first to its last byte.
Only what has to be fetched first is awaited in a task.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from burnish_interceptor import app_error
from burnish_interceptor.answers import Answers, Labels
from burnish_interceptor.asked import Asked, lines_of
from burnish_interceptor.dialects import PARSERS, UsageMode
from burnish_interceptor.online_call import Arrival, OnlineCall, Plan
from burnish_interceptor.policies.arms import Assignments
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Arm, Model, Policy
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import How, Recogniser, Recognition
from burnish_interceptor.prompts.notices import Notices, told
from burnish_interceptor.prompts.stages import hinted
from burnish_interceptor.providers import Providers
from burnish_interceptor.refused import CallRefused
from burnish_interceptor.repeats import TEXT, Form, Repeats, Sure
from burnish_interceptor.routes import Tail
from burnish_interceptor.seen import ONLINE, Served
from burnish_interceptor.telemetry import Recorder
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.upstream import target_head
from burnish_runtime.settings import Secret

_log = structlog.get_logger("burnish.interceptor.online")
_MAX_PLANS = 4096
_MAX_POLICIES = 256
Work = Coroutine[Any, Any, None]


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
    """Serves online traffic.

    Attributes:
        parts: What calls are made with.
        keeps_sent: Whether traces hold something of what providers were sent.
        editor: Puts candidates in.
        wall_clock: Unix seconds.
    """

    def __init__(
        self,
        parts: OnlineParts,
        *,
        token: Secret | None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes its parts; without a token nobody is let in."""
        self._token = str(token).encode() if token else b""
        self._recogniser = Recogniser()
        self._notices = Notices()
        self._assignments = Assignments()
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._repeats: dict[int, tuple[Policy, Repeats]] = {}
        # Whose calls have forms.
        lengths_told = parts.answers.usage is UsageMode.APP_ONLY
        self._formed = None if lengths_told else Tail.CHAT
        self.parts = parts
        self.keeps_sent = parts.recorder.traces.keeps_sent
        self.editor = substitute.Editor()
        self.wall_clock = wall_clock

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

    def serve(self, arrival: Arrival, asked: Asked, exchange: Exchange) -> Work | None:
        """Serves one call, or returns what has to be awaited first.

        Raises:
            BadRequest: The body is no call.
            CallRefused: It was not made.
            BurnishError: It cannot be made.
        """
        policy = self.parts.policies.known(arrival.policy)
        if policy is None:
            return self._fetched(arrival, asked, exchange)
        return self._routed(policy, arrival, asked, exchange)

    async def _fetched(self, arrival: Arrival, asked: Asked, exchange: Exchange) -> None:
        policy = await self.parts.policies.policy(arrival.policy)
        asked.go_on()
        rest = self._routed(policy, arrival, asked, exchange)
        if rest is not None:
            await rest

    def _routed(
        self, policy: Policy, arrival: Arrival, asked: Asked, exchange: Exchange
    ) -> Work | None:
        if policy.synchronous or policy.learning_baseline:
            # Its calls have a budget, which only the ledger can hold.
            raise CallRefused(
                app_error.invalid(
                    "this policy serves rollout URLs only", status=403, code="policy_offline"
                )
            )
        call = OnlineCall(self, policy, arrival, asked, exchange)
        stage, arm = call.stage, None
        if stage is not None and stage.optimised:
            lasting = bool(arrival.rollout)
            arm = self._assignments.choose(policy, call.rollout, lasting=lasting)
        if arm is None:
            call.go(None, None)
            return None
        if call.repeat(arm):
            return None
        prompts = self.parts.policies.known_prompts(policy.policy_id, arm.candidate_id)
        if prompts is None:
            return self._prompted(call, arm)
        call.go(arm, prompts)
        return None

    async def _prompted(self, call: OnlineCall, arm: Arm) -> None:
        prompts = await self.parts.policies.candidate(call.policy.policy_id, arm.candidate_id)
        call.asked.go_on()
        call.go(arm, prompts)

    # What calls use.

    def recognised(
        self, policy: Policy, messages: Sequence[Message], hint: str
    ) -> Recognition | None:
        """Returns what a call is taken for; None when its API has no conversation."""
        if not messages:
            return None
        found = self._recogniser.recognise(policy.stages, messages)
        if found.stage is None and hint:
            found = hinted(policy.stages, found, hint)
        if found.stage is None:
            count = self._notices.due(policy, found)
            if count:
                _log.warning("stage_unmatched", count=count, **told(policy, found))
        return found

    def repeats(self, policy: Policy, tail: Tail) -> Repeats | None:
        """Returns the forms of a policy's calls; None where each call is better parsed.

        Only chat completions have forms: their answers say nothing of what the user said, unless
        its length is told.
        """
        if tail is not self._formed:
            return None
        known = self._repeats.get(id(policy))
        if known is None or known[0] is not policy:
            if len(self._repeats) >= _MAX_POLICIES:
                self._repeats.clear()
            known = self._repeats[id(policy)] = (policy, Repeats(PARSERS[Tail.CHAT]))
        return known[1]

    def sure(self, policy: Policy, form: Form) -> Sure | None:
        """Returns what all calls of a form are, or None when it depends on what the user says.

        It does not where the policy has one stage, and that stage takes whatever the user says for
        the value of one wildcard.
        """
        if len(policy.stages) != 1:
            return None
        found = self._recogniser.recognise(policy.stages, form.messages(TEXT))
        if found.how is not How.EXACT:
            return None
        stage, bindings = policy.stages[0], dict(found.bindings or {})
        names = [name for name, value in bindings.items() if value == TEXT]
        lone = [
            pattern
            for pattern in (message.pattern for message in stage.messages)
            if len(pattern.parts) == 1 and pattern.names == frozenset(names)
        ]
        if len(names) != 1 or len(lone) != 1:
            return None
        bindings.pop(names[0])
        return Sure(stage, names[0], bindings)

    def plan(self, call: OnlineCall, arm: Arm | None, *, applied: bool) -> Plan:
        """Returns what a call has in common with others of its stage and arm.

        Args:
            call: The call.
            arm: Arm of its rollout, told though it leaves the stage as it is.
            applied: Whether it changes the call.

        Raises:
            CallRefused: The policy has no model for it.
            BurnishError: The model cannot be called.
        """
        policy, stage, request = call.policy, call.stage, call.asked.request
        model = stage.model if stage is not None else policy.model_for(request.model)
        if model is None:
            raise CallRefused(
                app_error.unavailable("the policy names no model", code="policy_without_model")
            )
        key = (
            id(policy),
            id(stage),
            id(model),
            id(arm),
            applied,
            request.api,
            request.stream,
            id(call.shape),
        )
        plan = self._plans.get(key)
        if plan is not None and plan.policy is policy:
            return plan
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        plan = self._plans[key] = self._planned(call, arm, model, applied=applied)
        return plan

    def _planned(self, call: OnlineCall, arm: Arm | None, model: Model, *, applied: bool) -> Plan:
        policy, stage, request, parts = call.policy, call.stage, call.asked.request, self.parts
        spoken = parts.providers.spoken(request, model)
        target = parts.providers.target(model, spoken.path)
        name = arm.name if arm is not None else ""
        candidate_id = arm.candidate_id if arm is not None and applied else ""
        labels = Labels(
            shape=call.shape,
            job=policy.job,
            policy_version=policy.version,
            candidate_id=candidate_id,
            rollout="",
            model=model.name,
            arm=name,
        )
        return Plan(
            policy=policy,
            model=model,
            native=spoken is not request,
            origin=target.origin,
            head=target_head(target),
            forced=parts.providers.forced(model),
            shown=parts.answers.shown(model.name),
            labels=lines_of(parts.answers.headers(labels, "")),
            served=Served(
                mode=ONLINE,
                api=request.api,
                provider=model.provider,
                model=model.name,
                policy_id=policy.policy_id,
                policy_version=policy.version,
                stage_id=stage.stage_id if stage is not None else "",
                candidate_id=candidate_id,
                arm=name,
                price=model.price,
            ),
        )
