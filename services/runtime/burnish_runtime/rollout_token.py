"""The token in a rollout URL: all that offline routing needs, sealed so that no app can read it.

A candidate's content hash must never be shown to an app, so the token is not merely signed but
encrypted and authenticated (AES-256-GCM). It is bound to one rollout and one attempt, and expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from burnish.errors import PermissionDenied

_NONCE_BYTES = 12
_PURPOSE = b"burnish rollout token v1"


class TokenRefused(PermissionDenied):
    """A rollout token that was tampered with, belongs to another suite, or has expired."""

    default_reason = "ROLLOUT_TOKEN_REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGrant:
    """What a token grants.

    Attributes:
        rollout_id: Rollout that the calls belong to.
        attempt: Attempt of the rollout, from 1.
        policy: Id of the policy, the last segment of its name.
        candidate_id: Candidate to put on the wire; empty while the baseline is being learnt.
        expire_time: Unix seconds after which the token is refused.
        issue_time: Unix seconds when the attempt was begun; 0 when unknown.
    """

    rollout_id: str
    attempt: int
    policy: str
    candidate_id: str
    expire_time: int
    issue_time: float = 0.0


class TokenSealer:
    """Seals and opens rollout tokens under the suite's shared key."""

    def __init__(self, key: str) -> None:
        """Derives the cipher's key.

        Args:
            key: Shared secret of controller and interceptor, at least 32 characters.

        Raises:
            ValueError: The key is too short.
        """
        if len(key) < 32:
            raise ValueError("the token key has fewer than 32 characters; generate a longer one")
        self._cipher = AESGCM(
            hashlib.blake2b(key.encode(), digest_size=32, person=b"burnish").digest()
        )

    def seal(self, grant: RolloutGrant) -> str:
        """Returns the token for a grant: URL-safe text of about 200 characters."""
        plain = json.dumps(
            [
                grant.rollout_id,
                grant.attempt,
                grant.policy,
                grant.candidate_id,
                grant.expire_time,
                round(grant.issue_time, 3),
            ],
            separators=(",", ":"),
        ).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, _PURPOSE)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, token: str, *, now: float) -> RolloutGrant:
        """Returns what a token grants.

        Args:
            token: Text from the URL.
            now: Unix seconds.

        Raises:
            TokenRefused: The token is not ours, was changed, or has expired.
        """
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            # One text for one token: the decoder skips what it does not know, and loose bits.
            if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != token:
                raise ValueError
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _PURPOSE)
        except (InvalidTag, ValueError, binascii.Error):
            raise TokenRefused(
                "the rollout URL is not valid; use the one given for the rollout"
            ) from None
        rollout, attempt, policy, candidate, expire_time, issue_time = json.loads(plain)
        if now >= expire_time:
            raise TokenRefused("the rollout URL has expired; the rollout is over")
        return RolloutGrant(
            rollout_id=rollout,
            attempt=attempt,
            policy=policy,
            candidate_id=candidate,
            expire_time=expire_time,
            issue_time=issue_time,
        )
