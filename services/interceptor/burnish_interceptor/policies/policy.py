"""What an interceptor knows of a policy: its stages, its models and a candidate's prompts."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish.templates import Pattern


class Mode(enum.Enum):
    """How a matched call is rewritten."""

    SYSTEM = "system"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model behind a provider.

    Attributes:
        provider: Such as `openai` or `local`.
        name: The provider's model id.
        temperature: Forced on every call; None leaves what the app sent.
        max_output_tokens: Forced on every call; 0 leaves what the app sent.
        base_url: Base URL ending in `/v1`; empty means the provider's own.
        price: US dollars per million tokens in and out, when the job gives it.
        whole_price: That price with the rates of cached and other tokens, as the ledger is told it;
            opaque here.
    """

    provider: str
    name: str
    temperature: float | None = None
    max_output_tokens: int = 0
    base_url: str = ""
    price: tuple[float, float] | None = None
    whole_price: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePattern:
    """One message that a stage is expected to send."""

    role: str
    pattern: Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One call site of the program.

    Attributes:
        stage_id: Unique within the policy.
        messages: What the app is expected to send, in order.
        optional: Wildcards that bind to the empty string when absent; all others are required.
        mode: How a matched call is rewritten.
        model: Where its calls go.
        optimised: Whether a candidate changes it.
    """

    stage_id: str
    messages: tuple[MessagePattern, ...]
    optional: frozenset[str]
    mode: Mode
    model: Model
    optimised: bool

    @property
    def wildcards(self) -> frozenset[str]:
        """Names of all wildcards of all messages."""
        return frozenset(name for message in self.messages for name in message.pattern.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A candidate that online traffic is served, and its share.

    Attributes:
        name: What apps and metrics are shown in place of the candidate's id.
        candidate_id: The candidate.
        weight: Relative; 0 serves nobody.
    """

    name: str
    candidate_id: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to do with the calls that name this policy.

    Attributes:
        policy_id: Last segment of its resource name.
        version: Grows with every change.
        job: Resource name of the job that pays.
        stages: In the program's order.
        arms: Online: what is served. Empty offline.
        synchronous: Whether every call is journaled before its last byte is answered.
        learning_baseline: Whether calls go through unchanged, to be learnt from.
    """

    policy_id: str
    version: int
    job: str
    stages: tuple[Stage, ...]
    arms: tuple[Arm, ...] = ()
    synchronous: bool = True
    learning_baseline: bool = False

    @property
    def weights(self) -> tuple[tuple[str, float], ...]:
        """Candidates and weights of its arms."""
        return tuple((arm.candidate_id, arm.weight) for arm in self.arms)

    def arm_of(self, candidate_id: str) -> str:
        """Returns the name that a candidate is served as; empty when it is no arm's."""
        return next((arm.name for arm in self.arms if arm.candidate_id == candidate_id), "")

    def model_for(self, name: str) -> Model | None:
        """Returns the model for an unmatched call: the one that the app names, else the first.

        Only models of the policy are ever used, so that a URL is no relay on the operator's keys.
        """
        models = [stage.model for stage in self.stages]
        return next(
            (model for model in models if model.name == name), models[0] if models else None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One worked example.

    Attributes:
        bindings: Values for the wildcards of the stage's user pattern.
        messages: What follows the user turn, each a chat message as JSON.
    """

    bindings: Mapping[str, str]
    messages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReplacement:
    """One replacement of text.

    Attributes:
        old_text: What is replaced; None replaces the whole message.
        new_text: What it is replaced by.
        role: Role of the messages that are looked through; `system` and `developer` are one.
        position: Place among the messages of that role, from 0; None means all of them.
    """

    old_text: str | None
    new_text: str
    role: str = "system"
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Replacements of text in the app's own messages.

    Attributes:
        replacements: In the order they are applied.
        whole: Whether an old text has to be the whole message, not only a part of it.
        case_sensitive: Whether upper and lower case are told apart.
        strict: Whether a replacement that finds nothing keeps the call from being made.
    """

    replacements: tuple[TextReplacement, ...]
    whole: bool = False
    case_sensitive: bool = True
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a candidate that brings its own messages.

    Attributes:
        role: `system`, `developer`, `user` or `assistant`.
        content: Text with the stage's `{wildcards}`.
        order: Sections are laid out by it, equal ones as given.
    """

    role: str
    content: str
    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePrompt:
    """What a candidate says for one stage.

    Attributes:
        instruction: Text of the system message; None leaves the app's own.
        demos: Worked examples, in the order they are sent.
        transform: Replacements in the app's messages, in place of an instruction.
        sections: Messages of its own, in place of an instruction.
    """

    instruction: str | None
    demos: tuple[Demo, ...] = ()
    transform: Transform | None = None
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """A candidate's prompts by stage id."""

    candidate_id: str
    stages: Mapping[str, StagePrompt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a policy, or its last change, is not served here."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the online policies.

    Attributes:
        revision: Revision of the whole set afterwards.
        snapshot: Whether policies not listed are gone.
        policies: Added or changed.
        removed: Ids removed.
        unread: Policies that could not be read, by id, and why.
    """

    revision: int
    snapshot: bool
    policies: tuple[Policy, ...] = ()
    removed: frozenset[str] = frozenset()
    unread: Mapping[str, Rejection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What one replica serves.

    Attributes:
        node_id: Stable id of the replica.
        applied_revision: Revision of its online policies.
        inflight_calls: Calls in flight.
        buffered_traces: Reports that the controller has not acknowledged.
        public_url: Base URL of its data path.
        buffered_bytes: Bytes of the traces of online calls among them.
        dropped_traces: Traces of online calls lost since the start.
        rejected: Policies whose last change was refused, by id, and why.
        watching: Whether changes of the online policies arrive.
    """

    node_id: str
    applied_revision: int
    inflight_calls: int
    buffered_traces: int
    public_url: str
    buffered_bytes: int = 0
    dropped_traces: int = 0
    rejected: Mapping[str, Rejection] = field(default_factory=dict)
    watching: bool = False
