"""TLS on both sides: a certificate that is read again when its files change, and whom to trust."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import structlog

_log = structlog.get_logger("burnish.interceptor.tls")


class Certificate:
    """A certificate and its key in files, and the context that serves them.

    Attributes:
        context: For the listener; a new certificate counts from the next handshake on, and
            connections that are open go on with the one they began with.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Reads the files.

        Raises:
            OSError: One of them cannot be read.
            ssl.SSLError: They are no certificate with its key.
        """
        self._cert_file = cert_file
        self._key_file = key_file
        self._seen = self._stamp()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.load_cert_chain(cert_file, key_file)

    def refresh(self) -> bool:
        """Reads the files again if they have changed; returns whether a new certificate is served.

        Files that do not fit each other, as in the middle of a change, are left for the next look.
        """
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            # A context is left without its old key when loading fails, so a spare one tries first.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert_file, self._key_file)
            self.context.load_cert_chain(self._cert_file, self._key_file)
        except (OSError, ssl.SSLError) as error:
            _log.warning("certificate_not_read", error=type(error).__name__)
            return False
        self._seen = stamp
        _log.info("certificate_read")
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = [os.stat(file) for file in (self._cert_file, self._key_file)]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


def upstream_context(ca_file: Path | None) -> ssl.SSLContext:
    """Returns the context for calls to providers: always verified.

    Args:
        ca_file: Certificates to trust besides the system's, for a provider with a CA of its own.

    Raises:
        OSError: The file cannot be read.
        ssl.SSLError: It holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
