"""How much of what was written the other end has not taken yet, by which its progress is seen."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios

_INT = struct.Struct("i")


def unsent(transport: asyncio.Transport) -> int:
    """Returns the bytes that wait in a transport and in the kernel.

    The kernel holds megabytes, and takes more from a transport only when a good part of them is
    gone: a slow reader's progress is seen there first. Behind TLS it is not seen anywhere else.
    """
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None:
        return size
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):
        return size  # It is closed already, or its kernel does not tell.
    return size + int(_INT.unpack(answer)[0])
