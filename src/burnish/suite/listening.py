"""Addresses to listen on: their form, whether they are free, and what to say when they are not."""

from __future__ import annotations

import contextlib
import errno
import socket

from burnish.errors import BurnishError, FailedPrecondition, InvalidArgument

_MAX_PORT = 65_535


class AddressInvalid(InvalidArgument):
    """An address that nothing can listen on here."""

    default_reason = "LISTEN_INVALID"


class AddressTaken(FailedPrecondition):
    """Another program listens on the address."""

    default_reason = "ADDRESS_IN_USE"


def host_and_port(address: str, *, flag: str) -> tuple[str, int]:
    """Returns host and port of an address such as `127.0.0.1:50051` or `[::1]:50051`.

    Args:
        address: The address; the host is never empty.
        flag: What the user gave it by, for the message.

    Raises:
        AddressInvalid: It has another form.
    """
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host == f"[{bare}]"
    # `int` alone takes underscores, blanks and the digits of every script.
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= len("65535") else 0
    if not bare or not 1 <= number <= _MAX_PORT or (":" in bare and not bracketed) or "/" in host:
        raise AddressInvalid(
            f"{flag} `{address}`: is not host:port with a port from 1 to {_MAX_PORT}; write it "
            "like 127.0.0.1:50051, or leave it out",
            metadata={"address": address},
        )
    return bare, number


def require_free(address: str, *, flag: str) -> None:
    """Makes sure that an address can be listened on, by doing so for a moment.

    Raises:
        AddressInvalid: It has another form, or is none of this machine's.
        AddressTaken: Another program listens there.
    """
    host, port = host_and_port(address, flag=flag)
    try:
        probe(host, port)
    except (OSError, UnicodeError) as error:
        raise refused(f"{flag} `{address}`", error) from None


def probe(host: str, port: int) -> None:
    """Binds an address for a moment.

    Raises:
        OSError: It cannot be bound.
        UnicodeError: The host can be nobody's name.
    """
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = entries[0]
    with contextlib.closing(socket.socket(family, kind, protocol)) as bound:
        # Connections of the process before, still in TIME_WAIT, are no listener.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)


def refused(place: str, error: OSError | UnicodeError) -> BurnishError:
    """Returns what to tell when an address cannot be listened on.

    Args:
        place: What names the address, such as `--port 8100`.
        error: What the operating system said.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return AddressTaken(
            f"{place}: another program listens there; stop that, or give another address"
        )
    if number in {errno.EACCES, errno.EPERM}:
        return AddressInvalid(
            f"{place}: you may not listen there; give a port from 1024 on, or another address"
        )
    if number == errno.EADDRNOTAVAIL:
        return AddressInvalid(f"{place}: is no address of this machine; give one of its own")
    if isinstance(error, socket.gaierror | UnicodeError):
        return AddressInvalid(f"{place}: no host of that name is known; give another address")
    return AddressInvalid(f"{place}: cannot be listened on: {error}")
