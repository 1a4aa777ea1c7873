"""How answers are shown and labelled: what is told of tokens, and the `x-burnish-*` headers.

The headers say what a developer needs to find a call again, and never a word of a prompt. A
candidate is named by a keyed hash of its id: the id itself is a hash of its content, by which an
app could test a guess of the prompt.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from burnish_interceptor.dialects import Shown, UsageMode
from burnish_interceptor.environment import choice
from burnish_interceptor.routes import Shape
from burnish_runtime.settings import ServiceSettings

_SAFE = re.compile(r"[\x21-\x7e]{1,200}")
_SYNTH_CANDIDATE = {
    Shape.MIPRO: "x-mipro-candidate-id",
    Shape.GEPA: "x-gepa-candidate-id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is told of a call in the headers of its answer.

    Attributes:
        shape: Whose URL was called.
        job: Resource name of the job.
        policy_version: Version of the policy.
        candidate_id: Candidate substituted; empty when passed through.
        rollout: Rollout that the call belongs to.
        model: Model that is called.
        arm: Name that the candidate is served as; without one it is named by a keyed hash.
    """

    shape: Shape
    job: str
    policy_version: int
    candidate_id: str
    rollout: str
    model: str
    arm: str = ""


class Answers:
    """How an interceptor answers.

    Attributes:
        usage: What is told of tokens.
    """

    def __init__(self, *, key: str = "", usage: UsageMode = UsageMode.EXACT) -> None:
        """Takes the settings.

        Args:
            key: Secret that candidates are named with; without one names differ with each start.
            usage: What is told of tokens.
        """
        self._key = key.encode() or secrets.token_bytes(32)
        self.usage = usage
        self.name_of = lru_cache(maxsize=10_000)(self._name_of)

    @classmethod
    def from_settings(cls, settings: ServiceSettings, environ: Mapping[str, str]) -> Answers:
        """Reads the settings.

        Args:
            settings: Holds the key.
            environ: `BURNISH_USAGE` says what is told of tokens: `exact`, `app-only` or `off`.

        Raises:
            SettingsInvalid: A variable has a value that it cannot have.
        """
        key = settings.token_key or settings.auth_token or ""
        usage = choice(environ, "BURNISH_USAGE", *(mode.value for mode in UsageMode))
        return cls(key=str(key), usage=UsageMode(usage))

    def shown(self, model: str) -> Shown:
        """Returns how an answer of a model is shown."""
        return Shown(model=model, usage=self.usage)

    def headers(self, labels: Labels, request_id: str) -> dict[str, str]:
        """Returns the headers of an answer; what could break a header is left out."""
        candidate = labels.arm
        if labels.candidate_id and not candidate:
            candidate = self.name_of(labels.candidate_id)
        told = {
            "x-request-id": request_id,
            "x-burnish-request-id": request_id,
            "x-burnish-job-id": labels.job.rpartition("/")[2],
            "x-burnish-candidate-id": candidate,
            "x-burnish-policy-version": str(labels.policy_version),
            "x-burnish-upstream-model": labels.model,
        }
        synth = _SYNTH_CANDIDATE.get(labels.shape)
        if synth is not None:
            told[synth] = candidate
        if labels.shape is Shape.GEPA:
            told["x-gepa-rollout-id"] = labels.rollout
        return {name: value for name, value in told.items() if safe(value)}

    def _name_of(self, candidate_id: str) -> str:
        digest = hmac.new(self._key, b"candidate\0" + candidate_id.encode(), hashlib.sha256)
        return "c_" + digest.hexdigest()[:24]


def safe(value: str) -> bool:
    """Tells whether a header may have a value: it can neither end the header nor be unreadable."""
    return _SAFE.fullmatch(value) is not None
