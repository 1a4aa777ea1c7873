"""Holds a process to the files that it may read, where it can have no root of its own.

A container mostly refuses namespaces of users, and with them a root of one's own. Landlock needs
no privilege: what is not named here can then be neither read nor listed, the environment of other
processes and the secrets beside them included.

Only the standard library is imported, as this runs in the process that is being closed in.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
# Rights over files of the first version: to run, write, read, list, and to remove or make any kind.
_EVERY_RIGHT = (1 << 13) - 1
_READ = (1 << 2) | (1 << 3)
_TRUNCATE = 1 << 14
_KNOWS_TRUNCATE = 3


def version() -> int:
    """Returns the version of Landlock that the kernel has; 0 when it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    found: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(0, found)


def hold_to(folders: Sequence[str]) -> bool:
    """Takes every file from this process for good, but for reading in some folders.

    Files that are open already stay open.

    Args:
        folders: What may be read and listed, with all that is in it.

    Returns:
        Whether it is so; False where the kernel has no Landlock, and then nothing is changed.
    """
    known = version()
    if not known:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    rights = _EVERY_RIGHT | (_TRUNCATE if known >= _KNOWS_TRUNCATE else 0)
    attributes = struct.pack("Q", rights)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        if not all([_allowed(libc, ruleset, folder) for folder in folders]):
            return False
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        restricted: int = libc.syscall(_RESTRICT_SELF, ruleset, 0)
        return restricted == 0
    finally:
        os.close(ruleset)


def _allowed(libc: ctypes.CDLL, ruleset: int, folder: str) -> bool:
    try:
        opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # struct landlock_path_beneath_attr is packed: the rights, and the folder.
        rule = struct.pack("=Qi", _READ, opened)
        added: int = libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        return added == 0
    finally:
        os.close(opened)
