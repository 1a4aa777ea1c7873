"""Seals the keys that are kept at rest, such as a task app's, under the suite's token key."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_PURPOSE = b"burnish secret at rest v1"


class SecretBox:
    """Seals and opens short secrets."""

    def __init__(self, key: str) -> None:
        digest = hashlib.blake2b(key.encode(), digest_size=32, person=b"burnish rest").digest()
        self._cipher = AESGCM(digest)

    def seal(self, secret: str) -> bytes:
        """Returns a secret sealed."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), _PURPOSE)

    def open(self, sealed: bytes) -> str:
        """Returns a sealed secret.

        Raises:
            cryptography.exceptions.InvalidTag: It was sealed under another key.
        """
        plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _PURPOSE)
        return plain.decode()
