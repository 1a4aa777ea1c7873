"""One call of online traffic on its way through: read, recognised, rewritten, sent, answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from burnish_interceptor import app_error
from burnish_interceptor.answers import safe
from burnish_interceptor.asked import JSON, Asked, lines_of
from burnish_interceptor.calls import Problem
from burnish_interceptor.dialects import PARSERS, Forced, Shown
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.ended import Ended
from burnish_interceptor.policies.policy import Arm, Model, Policy, Prompts, Stage
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import NO_EDIT, Message, PromptEdit
from burnish_interceptor.refused import CallRefused
from burnish_interceptor.repeats import Form, Raw
from burnish_interceptor.routes import Shape, Tail
from burnish_interceptor.seen import SeenCall, Served
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.transport.outbox import Data
from burnish_interceptor.upstream import LONG, Passage, request

if TYPE_CHECKING:
    from burnish_interceptor.online import OnlineCalls

# Status of the reply, whether it is events, its usage, and why there is no answer.
_Told = tuple[int, bool, tuple[int, int] | None, Problem | None]
_GEPA = Shape.GEPA
# What an access log calls an answer that nobody waited for.
_CLIENT_LEFT = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What the head of a call says.

    Attributes:
        tail: Which API.
        policy: Id of the policy.
        rollout: What the candidate is kept for; empty when the app named none.
        hint: Stage id that the app names, or empty.
        shape: Whose URL was called.
        traceparent: Of the app's trace; empty when it sent none.
    """

    tail: Tail
    policy: str
    rollout: str
    hint: str
    shape: Shape
    traceparent: str


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


@dataclass(frozen=True, slots=True)
class LikeSent:
    """How the calls of a form and an arm leave.

    Attributes:
        arm: The arm, kept so that its identity means something.
        shape: Whose URL was called, which their answers tell by headers of its own.
        plan: What they have in common.
        before: Bytes of the body before what the user says.
        after: Bytes behind it.
        fixed: Length of the two.
    """

    arm: Arm
    shape: Shape
    plan: Plan
    before: bytes
    after: bytes
    fixed: int

    def request(self, raw: Raw) -> Data:
        """Returns the bytes of a request; see `upstream.request`."""
        head, size = self.plan.head, self.fixed + len(raw)
        if size < LONG:
            return b"".join((head, b"%d\r\n\r\n" % size, self.before, raw, self.after))
        return b"%b%d\r\n\r\n%b" % (head, size, self.before), raw, self.after


class OnlineCall(Passage):
    """One call.

    Attributes:
        policy: Policy in force.
        rollout: What the candidate is kept for.
        stage: Stage that it was matched to; None when unmatched.
    """

    __slots__ = (
        "_arrival",
        "_bindings",
        "_calls",
        "_form",
        "_plan",
        "_ratio",
        "_raw",
        "_sent",
        "_text",
        "_time",
        "policy",
        "rollout",
        "stage",
    )

    _plan: Plan
    _sent: bytes
    _time: float

    def __init__(
        self,
        calls: OnlineCalls,
        policy: Policy,
        arrival: Arrival,
        asked: Asked,
        exchange: Exchange,
    ) -> None:
        """Reads the call and recognises its stage.

        Raises:
            BadRequest: The body is no call.
        """
        super().__init__(asked, exchange)
        self._calls = calls
        self._arrival = arrival
        self.policy = policy
        self.rollout = arrival.rollout or asked.request_id
        self.stage: Stage | None
        self._ratio: float | None
        self._bindings: Mapping[str, str] | None
        repeats = calls.repeats(policy, arrival.tail)
        repeated = repeats.find(asked.body) if repeats is not None else None
        if repeated is None:
            self._form: Form | None = None
            self._raw: Raw = b""
            self._text = ""
            request = asked.request = PARSERS[arrival.tail](asked.body)
            form = repeats.missed(request) if repeats is not None else None
            if form is not None:
                form.sure = calls.sure(policy, form)
        else:
            form, self._raw, text = repeated
            self._form, self._text, asked.request, sure = form, text, form.request, form.sure
            if sure is not None and text:
                self.stage, self._ratio = sure.stage, 1.0
                self._bindings = {**sure.fixed, sure.name: text}
                return
        found = calls.recognised(policy, self._conversation(), arrival.hint)
        if found is None:
            self.stage = self._bindings = self._ratio = None
        else:
            self.stage, self._bindings, self._ratio = found.stage, found.bindings, found.ratio

    @property
    def shape(self) -> Shape:
        """Whose URL was called."""
        return self._arrival.shape

    def repeat(self, arm: Arm) -> bool:
        """Sends the call as others of its form and arm were sent; False when none was yet."""
        form = self._form
        if form is None or form.sure is None or not self._text or self.exchange.left:
            return False
        like = form.sent.get(id(arm))
        if type(like) is not LikeSent or like.arm is not arm or like.shape is not self.shape:
            return False
        raw, calls = self._raw, self._calls
        self._sent = b"".join((like.before, raw, like.after)) if calls.keeps_sent else b""
        self._send(like.plan, like.request(raw))
        return True

    def go(self, arm: Arm | None, prompts: Prompts | None) -> None:
        """Puts the candidate in and sends the call.

        Args:
            arm: Arm of the call's rollout.
            prompts: What its candidate says.

        Raises:
            CallRefused: It was not made.
            BurnishError: It cannot be made.
        """
        exchange, calls, stage = self.exchange, self._calls, self.stage
        if exchange.left:
            exchange.abort()
            return
        edit, applied, prompt = NO_EDIT, False, None
        if stage is not None and prompts is not None:
            prompt = prompts.stages.get(stage.stage_id)
        if stage is not None and prompt is not None:
            try:
                made = calls.editor.edited(
                    self._conversation(), stage=stage, prompt=prompt, bindings=self._bindings
                )
            except substitute.NotSubstitutable as error:
                raise CallRefused(app_error.unfit(error.reason)) from None
            edit, self._bindings, applied = made.edit, made.bindings, made.applied
        plan = calls.plan(self, arm, applied=applied)
        sure = applied or prompt is None
        body = self._sent = self._rewritten(edit, plan, arm if sure else None)
        self._send(plan, request(plan.head, body))

    def _conversation(self) -> Sequence[Message]:
        if self._form is not None:
            return self._form.messages(self._text)
        return self.asked.request.messages

    def _send(self, plan: Plan, data: Data) -> None:
        asked, calls = self.asked, self._calls
        self._plan = plan
        asked.shown, asked.labels = plan.shown, plan.labels
        if self._arrival.shape is _GEPA and safe(self.rollout):
            asked.labels += lines_of({"x-gepa-rollout-id": self.rollout})
        self._time = calls.wall_clock()
        self.exchange.on_gone = self._left
        self._raw = b""
        self.begin(calls.parts.client, plan.origin, data)

    def end(self) -> None:
        """Takes the end of the reply; a plain answer in one piece goes straight to the app."""
        self._call = None
        asked = self.asked
        if self._status != 200 or asked.request.stream or "content-encoding" in self._headers:
            super().end()
            return
        asked.go_on()
        raw = self.raw
        try:
            body, usage = asked.request.answer(raw, asked.shown)
        except NotAnAnswer:
            super().end()
            return
        self.exchange.send(200, asked.lines(JSON), body)
        events = not self._headers.get("content-type", JSON).startswith(JSON)
        self._put(200, raw, (200, events, usage, None))

    def finished(self, ended: Ended) -> None:
        """Gives the app the rest of its answer, and tells of the call."""
        self._tell(ended, ended.deliver(self.exchange, self.asked))

    def _rewritten(self, edit: PromptEdit, plan: Plan, arm: Arm | None) -> bytes:
        """Returns what leaves: without parsing where the call repeats another.

        Args:
            edit: What the candidate changes.
            plan: The call's plan.
            arm: Arm whose later calls of the form leave likewise; None when that is not sure.
        """
        asked, form, calls, tail = self.asked, self._form, self._calls, self._arrival.tail
        repeats = calls.repeats(self.policy, tail) if form is not None else None
        if form is not None and repeats is not None and not plan.native:
            around = repeats.around(form, edit, plan.forced)
            if around is not None:
                if arm is not None:
                    fixed = sum(map(len, around))
                    form.sent[id(arm)] = LikeSent(arm, self.shape, plan, *around, fixed)
                return b"".join((around[0], self._raw, around[1]))
        if form is not None:
            asked.request = PARSERS[tail](asked.body)
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
        told = (ended.status, ended.events, ended.usage, ended.problem)
        self._put(status, ended.raw, told)

    def _put(self, status: int, raw: bytes, told: _Told) -> None:
        """Tells metrics, traces and spans of the call."""
        asked, now = self.asked, perf_counter()
        reply_status, events, usage, problem = told
        self._calls.parts.recorder.put(
            SeenCall(
                self._plan.served,
                asked.request_id,
                self.rollout,
                status,
                self._time,
                now - self.sent_at,
                self.first_byte,
                asked.overhead(now),
                asked.body,
                self._sent,
                raw,
                reply_status,
                events,
                usage,
                problem,
                self._ratio,
                asked.traceparent,
                self._bindings,
            )
        )
