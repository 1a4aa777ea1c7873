"""A call of an offline rollout: recognised, substituted, booked, made, journaled, answered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

import structlog

from burnish.errors import BurnishError
from burnish_interceptor import app_error
from burnish_interceptor import ended as ends
from burnish_interceptor.answers import Answers, Labels
from burnish_interceptor.asked import Asked, lines_of
from burnish_interceptor.calls import Call, CallRecord, Outcome, Problem
from burnish_interceptor.dialects import Outgoing
from burnish_interceptor.ended import Ended
from burnish_interceptor.journal import Journal, Retries, key_of
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Policy, Stage
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import NO_EDIT
from burnish_interceptor.prompts.notices import told
from burnish_interceptor.prompts.stages import CallSite, StageFinder
from burnish_interceptor.providers import Providers
from burnish_interceptor.refused import CallRefused, told_of
from burnish_interceptor.routes import Shape
from burnish_interceptor.seen import OFFLINE, SeenCall, Served
from burnish_interceptor.telemetry import Recorder
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.unmade import unbound, unusable
from burnish_interceptor.upstream import Upstream
from burnish_runtime.rollout_token import RolloutGrant

_log = structlog.get_logger("burnish.interceptor.offline")
# Stage of a call whose API has no conversation, such as embeddings.
NO_STAGE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A call as it came from the app.

    Attributes:
        asked: What the app asks for.
        grant: What the token grants.
        headers: The app's, by lower-case name.
        shape: Whose URL was called.
    """

    asked: Asked
    grant: RolloutGrant
    headers: Mapping[str, str] = field(repr=False)
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A call ready to be made, or known to be impossible.

    Attributes:
        stage_id: Stage it was matched to; empty when unmatched.
        candidate_id: Candidate substituted; empty when passed through.
        outgoing: What leaves.
        bindings: Values of the stage's wildcards.
        problem: Why nothing may leave.
        match_ratio: How well the messages fitted the stage; None when nothing was compared.
    """

    stage_id: str
    candidate_id: str
    outgoing: Outgoing
    bindings: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: Problem | None = None
    match_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What offline calls are made with.

    Attributes:
        policies: Policies and prompts.
        providers: Where calls go.
        upstream: Makes them.
        journal: Books and keeps them.
        answers: How they are answered.
        recorder: Told of each.
    """

    policies: PolicyCache
    providers: Providers
    upstream: Upstream
    journal: Journal
    answers: Answers
    recorder: Recorder


class OfflineCalls:
    """Serves the calls of offline rollouts."""

    def __init__(
        self,
        parts: Parts,
        *,
        alone: bool = True,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes its parts, which are started and stopped elsewhere.

        Args:
            parts: What calls are made with.
            alone: Whether all calls of an attempt come to this process.
            wall_clock: Unix seconds.
            clock: Monotonic seconds.
        """
        self._parts = parts
        self._stages = StageFinder(since=wall_clock(), alone=alone)
        self._editor = substitute.Editor()
        self._retries = Retries()
        self._wall_clock = wall_clock
        self._clock = clock

    async def serve(self, incoming: Incoming, exchange: Exchange) -> None:
        """Serves one call to its end.

        Raises:
            CallRefused: It was not made.
            BurnishError: The policy or the ledger could not be asked.
        """
        grant = incoming.grant
        attempt = (grant.rollout_id, grant.attempt)
        site = CallSite(
            policy=grant.policy,
            attempt=attempt,
            body_hash=hashlib.sha256(incoming.asked.body).hexdigest(),
            retry=self._retries.is_retry(incoming.headers, attempt=attempt),
            hint=incoming.headers.get("x-burnish-stage", ""),
            issue_time=grant.issue_time,
        )
        try:
            await self._serve(incoming, site, exchange)
        finally:
            self._stages.ended(site)

    async def _serve(self, incoming: Incoming, site: CallSite, exchange: Exchange) -> None:
        grant = incoming.grant
        policy = await self._parts.policies.policy(grant.policy, learnt=bool(grant.candidate_id))
        prepared = await self._prepare(policy, incoming, site)
        call = Call(
            job=policy.job,
            rollout_id=grant.rollout_id,
            attempt=grant.attempt,
            body=prepared.outgoing.body,
            retry=site.retry,
            model=prepared.outgoing.model,
            max_output_tokens=prepared.outgoing.max_output_tokens,
            client_key=key_of(incoming.headers),
        )
        asked = incoming.asked
        asked.wait()
        decision = await self._parts.journal.begin(call)
        asked.go_on()
        if decision.refused is not None:
            raise CallRefused(told_of(decision.refused))
        self._label(policy, prepared, incoming)
        if decision.replay is not None:
            ends.replayed(decision.replay, asked).deliver(exchange, asked)
            return
        ended, record = await self._make(decision.call_id, prepared, incoming, exchange)
        status = ended.deliver(exchange, asked)
        self._tell(policy, prepared, incoming, (ended, record, status))

    def _tell(
        self,
        policy: Policy,
        prepared: Prepared,
        incoming: Incoming,
        told: tuple[Ended, CallRecord, int],
    ) -> None:
        """Tells metrics and spans; the call's trace is with the ledger."""
        asked, model, (ended, record, status) = incoming.asked, prepared.outgoing.model, told
        served = Served(
            mode=OFFLINE,
            api=asked.request.api,
            provider=model.provider,
            model=model.name,
            policy_id=policy.policy_id,
            policy_version=policy.version,
            stage_id=prepared.stage_id,
            candidate_id=prepared.candidate_id,
            price=model.price,
        )
        self._parts.recorder.put(
            SeenCall(
                served=served,
                call_id=asked.request_id,
                rollout_id=incoming.grant.rollout_id,
                status=status,
                start_time=record.start_time,
                latency=record.latency,
                first_byte_latency=record.first_byte_latency,
                overhead=asked.overhead(perf_counter()),
                match_ratio=prepared.match_ratio,
                reply_status=ended.status,
                stream=ended.events,
                usage=ended.usage,
                problem=ended.problem,
                traceparent=asked.traceparent,
            )
        )

    def _label(self, policy: Policy, prepared: Prepared, incoming: Incoming) -> None:
        """Says how the answer is shown, and what its headers tell."""
        answers, asked = self._parts.answers, incoming.asked
        labels = Labels(
            shape=incoming.shape,
            job=policy.job,
            policy_version=policy.version,
            candidate_id=prepared.candidate_id,
            rollout=incoming.grant.rollout_id,
            model=prepared.outgoing.model.name,
        )
        asked.shown = answers.shown(prepared.outgoing.model.name)
        asked.labels = lines_of(answers.headers(labels, ""))

    async def _prepare(self, policy: Policy, incoming: Incoming, site: CallSite) -> Prepared:
        request = incoming.asked.request
        ratio = None
        if request.messages and not policy.learning_baseline:
            found = self._stages.match(policy.stages, request.messages, site)
            if found.stage is not None:
                put = await self._put_on(policy, found.stage, found.bindings, incoming)
                return replace(put, match_ratio=found.ratio)
            ratio = found.ratio
            rollout = incoming.grant.rollout_id
            _log.warning("stage_unmatched", rollout=rollout, **told(policy, found))
        model = policy.model_for(request.model)
        if model is None:
            raise CallRefused(
                app_error.unavailable("the policy names no model", code="policy_without_model")
            )
        request = incoming.asked.request = self._parts.providers.spoken(request, model)
        outgoing = request.rewritten(NO_EDIT, self._parts.providers.forced(model))
        # Without a conversation there is no stage that the call could have missed.
        stage_id = "" if request.conversational else NO_STAGE
        return Prepared(stage_id=stage_id, candidate_id="", outgoing=outgoing, match_ratio=ratio)

    async def _put_on(
        self,
        policy: Policy,
        stage: Stage,
        bindings: Mapping[str, str] | None,
        incoming: Incoming,
    ) -> Prepared:
        grant, providers = incoming.grant, self._parts.providers
        request = providers.spoken(incoming.asked.request, stage.model)
        incoming.asked.request = request
        forced = providers.forced(stage.model)
        plain = Prepared(
            stage_id=stage.stage_id,
            candidate_id="",
            outgoing=request.rewritten(NO_EDIT, forced),
            bindings=bindings or {},
        )
        if not stage.optimised or not grant.candidate_id:
            return plain
        prompts = await self._parts.policies.candidate(policy.policy_id, grant.candidate_id)
        prompt = prompts.stages.get(stage.stage_id)
        if prompt is None:
            return replace(plain, stage_id="")
        try:
            made = self._editor.edited(
                request.messages, stage=stage, prompt=prompt, bindings=bindings
            )
        except substitute.NotSubstitutable as error:
            problem = Problem(
                reason=error.reason,
                message=f"the candidate could not be put on a call of stage `{stage.stage_id}`",
                retryable=False,
            )
            return replace(plain, problem=problem)
        if not made.applied:
            return replace(plain, stage_id="")
        return Prepared(
            stage_id=stage.stage_id,
            candidate_id=grant.candidate_id,
            outgoing=request.rewritten(made.edit, forced),
            bindings=made.bindings,
        )

    async def _make(
        self, call_id: str, prepared: Prepared, incoming: Incoming, exchange: Exchange
    ) -> tuple[Ended, CallRecord]:
        """Makes a call and journals how it ended; only then may the rest go to the app."""
        start_time, start = self._wall_clock(), self._clock()
        asked, outgoing, first_byte = incoming.asked, prepared.outgoing, 0.0
        target = None
        if prepared.problem is not None:
            ended = unbound(prepared.problem)
        else:
            try:
                target = self._parts.providers.target(outgoing.model, asked.request.path)
            except BurnishError as error:
                _log.warning("provider_unusable", reason=error.reason, error=error.message)
                ended = unusable(error)
        if target is not None:
            passage, ended = await self._parts.upstream.call(target, outgoing.body, asked, exchange)
            first_byte = passage.first_byte
        record = CallRecord(
            stage_id=prepared.stage_id,
            candidate_id=prepared.candidate_id,
            app_request=asked.body,
            provider_request=b"" if prepared.problem is not None else outgoing.body,
            bindings=prepared.bindings,
            start_time=start_time,
            latency=self._clock() - start,
            first_byte_latency=first_byte,
            trace_id=asked.trace.trace_id,
            match_ratio=prepared.match_ratio,
            overhead=asked.overhead(perf_counter()),
            api=asked.request.api,
        )
        outcome = Outcome(
            reply=ended.reply,
            usage=ended.usage,
            problem=ended.problem,
            not_sent=ended.not_sent,
            record=record,
        )
        asked.wait()
        await self._parts.journal.finish(call_id, outcome)
        asked.go_on()
        return ended, record
