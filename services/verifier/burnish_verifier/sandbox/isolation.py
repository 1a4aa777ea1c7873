"""Takes from a process what it does not need: network, files, new processes, privileges.

What holds depends on the platform. On Linux with user namespaces: no network but a loopback that
leads nowhere, none of the machine's files but the interpreter's own, read-only, and none of its
processes. Without them, but with Landlock: the same files and no others. On Linux on x86-64 and
ARM64, whether or not there are namespaces: a filter of system calls that refuses sockets, changes
of files, new processes and programs, signals, mounts and tracing. Everywhere: limits on CPU time,
memory, written and open files. A process that has none but those limits can still reach the
network, and whoever runs the verifier has to allow it expressly.

Only the standard library is imported, as this runs in the process that is being closed in.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable

_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_ALLOW = 0x7FFF0000
_SECCOMP_EPERM = 0x00050001
_SECCOMP_ENOSYS = 0x00050026
_SECCOMP_KILL = 0x80000000
_OPEN_FILES = 32
_SIGKILL = 9
_X32_BIT = 0x40000000

# Numbers of refused calls on x86-64 and on ARM64, in the order of the names.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206),
    "sendmsg": (46, 211), "fork": (57, None), "vfork": (58, None), "clone": (56, 220),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273),
    "setuid": (105, 146), "setgid": (106, 144), "setrlimit": (160, 164), "prlimit64": (302, 261),
    "personality": (135, 92), "fsopen": (430, 430), "move_mount": (429, 429),
    "open_tree": (428, 428), "mount_setattr": (442, 442),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "truncate": (76, 45), "ftruncate": (77, 46), "creat": (85, None), "mknod": (133, None),
    "mknodat": (259, 33), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
}  # fmt: skip
# The C library then takes an older call, which is refused or looked at.
_UNKNOWN = {"clone3": 435, "openat2": 437}
# Calls that open a file, with the place of their flags: refused unless it is only read.
_OPENS: dict[str, tuple[int | None, int | None, int]] = {
    "open": (2, None, 1), "openat": (257, 56, 2),
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_ARGUMENTS = 16
_ARGUMENT_BYTES = 8


def enter_namespaces(root: str) -> bool:
    """Moves the process, without threads, into namespaces of its own, and to a root of its own.

    Args:
        root: An empty directory to build the root on.

    Returns:
        Whether it is there: without network, and with the interpreter's files only.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWNS) != 0:
        return False
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"65534 {user} 1")
        _write("/proc/self/gid_map", f"65534 {group} 1")
        _new_root(libc, root)
    except OSError:
        return False
    return True


def drop_privileges() -> None:
    """Gives up capabilities, and what a new program could gain."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # Version 3 of the header, for this process; three words twice, all of them 0.
    header = struct.pack("Ii", 0x20080522, 0)
    libc.capset(header, bytes(24))


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def limit(*, cpu_seconds: int, memory: int) -> None:
    """Limits this process for good: CPU time, memory, files written, files open, core dumps."""
    wanted = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform.startswith("linux"):
        # macOS has the limit and does not keep it.
        wanted[resource.RLIMIT_AS] = memory
    for which, value in wanted.items():
        _, hard = resource.getrlimit(which)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (least, least))


def refuse_system_calls() -> bool:
    """Installs the filter of system calls; tells whether it is in force."""
    place = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
    if not sys.platform.startswith("linux") or place is None:
        return False
    refused = [pair[place] for pair in _REFUSED.values()]
    opens = [(pair[place], pair[2]) for pair in _OPENS.values()]
    program = _program(
        architecture=(0xC000003E, 0xC00000B7)[place],
        refused=[number for number in refused if number is not None],
        opens=[(number, argument) for number, argument in opens if number is not None],
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the count, padding up to a pointer, and the pointer.
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    done: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0)
    return done == 0


def _program(*, architecture: int, refused: list[int], opens: list[tuple[int, int]]) -> bytes:
    """Writes the filter: BPF instructions of a code, two jumps and a value each."""

    def load(offset: int) -> bytes:
        return struct.pack("HBBI", 0x20, 0, 0, offset)

    def answer(value: int) -> bytes:
        return struct.pack("HBBI", 0x06, 0, 0, value)

    def unless_equal(value: int, *, skip: int = 1) -> bytes:
        return struct.pack("HBBI", 0x15, 0, skip, value)

    def unless_from(value: int) -> bytes:
        return struct.pack("HBBI", 0x35, 0, 1, value)

    def unless_any_bit(value: int) -> bytes:
        return struct.pack("HBBI", 0x45, 0, 1, value)

    parts = [load(4), struct.pack("HBBI", 0x15, 1, 0, architecture), answer(_SECCOMP_KILL)]
    # The other way to call on x86-64, whose numbers have this bit.
    parts += [load(0), unless_from(_X32_BIT), answer(_SECCOMP_EPERM)]
    for number in _UNKNOWN.values():
        parts += [unless_equal(number), answer(_SECCOMP_ENOSYS)]
    for number in refused:
        parts += [unless_equal(number), answer(_SECCOMP_EPERM)]
    for number, argument in opens:
        parts += [unless_equal(number, skip=4), load(_ARGUMENTS + _ARGUMENT_BYTES * argument)]
        parts += [unless_any_bit(_WRITES), answer(_SECCOMP_EPERM), answer(_SECCOMP_ALLOW)]
    parts.append(answer(_SECCOMP_ALLOW))
    return b"".join(parts)


def _new_root(libc: ctypes.CDLL, root: str) -> None:
    mount = _mounter(libc)
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV)
    for path in needed_paths():
        target = root + path
        os.makedirs(target, exist_ok=True)
        mount(path, target, None, _MS_BIND | _MS_REC)
        mount(path, target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    mount("tmpfs", root, "tmpfs", _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    os.chroot(root)
    os.chdir("/")


def _mounter(libc: ctypes.CDLL) -> Callable[[str, str, str | None, int], None]:
    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        done = libc.mount(
            source.encode(), target.encode(), None if kind is None else kind.encode(), flags, None
        )
        if done != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    return mount


def needed_paths() -> list[str]:
    """Returns the directories that the standard library is loaded from."""
    found = {os.path.realpath(os.path.dirname(os.__file__))}
    found |= {path for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64") if os.path.isdir(path)}
    found.add(os.path.realpath(os.path.join(sys.base_prefix, "lib")))
    real = {os.path.realpath(path) for path in found if os.path.isdir(path)}
    kept = [path for path in found if path in real or not os.path.islink(path)]
    return sorted(path for path in kept if not any(_inside(path, other) for other in real))


def _inside(path: str, other: str) -> bool:
    return path != other and path.startswith(other.rstrip("/") + "/")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
