"""One call of online traffic on its way through: read, recognised, rewritten, sent, answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from burnish_interceptor import app_error
from burnish_interceptor.asked import Asked, lines_of
from burnish_interceptor.dialects import PARSERS, Forced, Shown
from burnish_interceptor.ended import Ended
from burnish_interceptor.policies.policy import Arm, Model, Policy, Prompts, Stage
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import NO_EDIT, Message, PromptEdit
from burnish_interceptor.refused import CallRefused
from burnish_interceptor.repeats import Form
from burnish_interceptor.routes import Shape, Tail
from burnish_interceptor.seen import SeenCall, Served
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.upstream import Passage, request

if TYPE_CHECKING:
    from burnish_interceptor.online import OnlineCalls

# What an access log calls an answer that nobody waited for.
_CLIENT_LEFT = 499


class Arrival(NamedTuple):
    """A call as it came.

    Attributes:
        asked: What the app asks for, not parsed yet.
        tail: Which API.
        policy: Id of the policy.
        rollout: What the candidate is kept for; empty when the app named none.
        hint: Stage id that the app names, or empty.
        shape: Whose URL was called.
    """

    asked: Asked
    tail: Tail
    policy: str
    rollout: str
    hint: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all calls of a policy's stage and arm have in common, put together once.

    Attributes:
        policy: Policy that it was made of.
        model: Model that is called.
        native: Whether its provider has to be spoken to in another API than the app speaks.
        origin: Where the calls go.
        head: Head of each, up to the length of its body.
        forced: Settings that win over the app's.
        shown: How answers are shown.
        labels: Header lines of the answers.
        served: What traces and metrics tell.
    """

    policy: Policy
    model: Model
    native: bool
    origin: Origin
    head: bytes
    forced: Forced
    shown: Shown
    labels: str
    served: Served


class OnlineCall(Passage):
    """One call.

    Attributes:
        policy: Policy in force.
        rollout: What the candidate is kept for.
        shape: Whose URL was called.
        stage: Stage that it was matched to; None when unmatched.
    """

    __slots__ = (
        "_bindings",
        "_calls",
        "_form",
        "_messages",
        "_ratio",
        "_raw",
        "_sent",
        "_served",
        "_tail",
        "_time",
        "policy",
        "rollout",
        "shape",
        "stage",
    )

    def __init__(
        self, calls: OnlineCalls, policy: Policy, arrival: Arrival, exchange: Exchange
    ) -> None:
        """Reads the call and recognises its stage.

        Raises:
            BadRequest: The body is no call.
        """
        asked, self._tail, _, rollout, hint, self.shape = arrival
        super().__init__(asked, exchange)
        self._calls = calls
        self.policy = policy
        self.rollout = rollout or asked.request_id
        self._form: Form | None = None
        self._raw = b""
        self._messages: Sequence[Message]
        repeats = calls.repeats(policy, self._tail)
        repeated = repeats.find(asked.body) if repeats is not None else None
        if repeated is not None:
            self._form, self._raw, self._messages = repeated
            asked.request = self._form.request
        else:
            asked.request = PARSERS[self._tail](asked.body)
            self._messages = asked.request.messages
            if repeats is not None:
                repeats.missed(asked.request)
        found = calls.recognised(policy, self._messages, hint)
        self.stage: Stage | None = None
        self._ratio: float | None = None
        self._bindings: Mapping[str, str] | None = None
        if found is not None:
            self.stage, self._bindings, self._ratio = found.stage, found.bindings, found.ratio

    def go(self, arm: Arm | None, prompts: Prompts | None) -> None:
        """Puts the candidate in and sends the call.

        Args:
            arm: Arm of the call's rollout.
            prompts: What its candidate says.

        Raises:
            CallRefused: It was not made.
            BurnishError: It cannot be made.
        """
        exchange, asked, calls, stage = self.exchange, self.asked, self._calls, self.stage
        if exchange.left:
            exchange.abort()
            return
        edit, applied, prompt = NO_EDIT, False, None
        if stage is not None and prompts is not None:
            prompt = prompts.stages.get(stage.stage_id)
        if stage is not None and prompt is not None:
            try:
                made = calls.editor.edited(
                    self._messages, stage=stage, prompt=prompt, bindings=self._bindings
                )
            except substitute.NotSubstitutable as error:
                raise CallRefused(app_error.unfit(error.reason)) from None
            edit, self._bindings, applied = made.edit, made.bindings, made.applied
        plan = calls.plan(self, arm, applied=applied)
        self._sent = body = self._rewritten(edit, plan)
        asked.shown, asked.labels, self._served = plan.shown, plan.labels, plan.served
        if self.shape is Shape.GEPA:
            asked.labels += lines_of({"x-gepa-rollout-id": self.rollout})
        self._time = calls.wall_clock()
        exchange.on_gone = self._left
        self.begin(calls.parts.client, plan.origin, request(plan.head, body))

    def finished(self, ended: Ended) -> None:
        """Gives the app the rest of its answer, and tells of the call."""
        self._tell(ended, ended.deliver(self.exchange, self.asked))

    def _rewritten(self, edit: PromptEdit, plan: Plan) -> bytes:
        """Returns what leaves: without parsing where the call repeats another."""
        asked, form, calls = self.asked, self._form, self._calls
        if form is not None and not plan.native:
            repeats = calls.repeats(self.policy, self._tail)
            if repeats is not None:
                body = repeats.rewritten(form, self._raw, edit, plan.forced)
                if body is not None:
                    return body
        if form is not None:
            asked.request = PARSERS[self._tail](asked.body)
        if plan.native:
            asked.request = calls.parts.providers.spoken(asked.request, plan.model)
        return asked.request.rewritten(edit, plan.forced).body

    def _left(self) -> None:
        """Ends the provider's work at once when the app has gone."""
        self.leave()
        self.exchange.abort()
        self.asked.go_on()
        self._tell(Ended(raw=self.raw, events=self.asked.request.stream), _CLIENT_LEFT)

    def _tell(self, ended: Ended, status: int) -> None:
        asked = self.asked
        self._calls.parts.recorder.put(
            SeenCall(
                self._served,
                asked.request_id,
                self.rollout,
                status,
                self._time,
                monotonic() - self.sent_at,
                self.first_byte,
                asked.overhead,
                asked.body,
                self._sent,
                ended.raw,
                ended.status,
                ended.events,
                ended.usage,
                ended.problem,
                self._ratio,
                asked.trace,
                self._bindings,
            )
        )
