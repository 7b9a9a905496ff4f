"""A jail: a process that can do no more than compute, read what it was handed and hand something back.

The kernel holds it, so that nothing that runs inside can undo it, be it Python or compiled code.

seccomp   the system calls of `CALLS` are left, and every other is answered with EPERM: no path is opened or
          looked at, nothing is executed, no process, thread, socket, signal or descriptor is made, no
          limit is raised. No memory can be made executable.
Landlock  a second wall, without a door: whatever path is opened, changed or executed, the answer is EACCES.
limits    on memory, seconds and bytes written; and root is no more than any user.

Where one of the walls is not to be had there is no jail, and RefusedError is raised.
"""

import contextlib
import ctypes
import errno
import math
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sijo.errors import RefusedError

with contextlib.suppress(ImportError):  # of Windows, where nothing can be jailed
    import resource

LIBC = ctypes.CDLL(None if os.name == "posix" else "kernel32", use_errno=True)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The architectures whose system calls are known here, by the number that a filter sees."""
CREATE_RULESET, RESTRICT_SELF = 444, 446
"""Landlock's system calls, of the same number on every architecture."""
VERSION_FLAG = 1
CAPABILITIES_3 = 0x20080522
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
PROT_EXEC, MAP_ANONYMOUS = 4, 0x20
Call = tuple[int, int, tuple[tuple[int, int, int], ...]]
CALLS: Mapping[str, Call] = {
    "read": (0, 63, ()),
    "write": (1, 64, ()),
    "lseek": (8, 62, ()),
    "mmap": (9, 222, ((2, PROT_EXEC, 0), (3, MAP_ANONYMOUS, MAP_ANONYMOUS))),
    "mprotect": (10, 226, ((2, PROT_EXEC, 0),)),
    "munmap": (11, 215, ()),
    "mremap": (25, 216, ()),
    "madvise": (28, 233, ()),
    "brk": (12, 214, ()),
    "futex": (202, 98, ()),
    "sched_yield": (24, 124, ()),
    "clock_gettime": (228, 113, ()),
    "getrandom": (318, 278, ()),
    "rt_sigreturn": (15, 139, ()),
    "exit": (60, 93, ()),
    "exit_group": (231, 94, ()),
}
"""What is left: its number on x86_64, on aarch64, and what arguments must be: (which, of these bits, these)."""
LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
"""Instructions of the kernel's packet filter: BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JEQ|K, BPF_RET|K."""
AT_NUMBER, AT_ARCH, AT_ARGUMENTS = 0, 4, 16
"""Where they lie in `struct seccomp_data`."""
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def landlock_version() -> int:
    """The version of Landlock here; RefusedError where there is none, or where the jail does not know the system.

    The error's text continues the name of what would have been read.
    """
    if sys.platform != "linux":
        raise _lacking(f"this is {platform.system()}")
    if platform.machine() not in AUDIT_ARCH:
        raise _lacking(f"this is {platform.machine()}")
    try:
        return _done("Landlock", LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG))
    except OSError as error:
        raise _lacking(error.strerror or str(error)) from None


def enter(*, memory: int, written: int, seconds: float) -> None:
    """From here on this process, of one thread, computes, reads descriptor 0 and writes 1 and 2, for good.

    memory   bytes that it may take beside what it has
    written  bytes that a file may grow to
    seconds  how long it may compute

    What is to be used later must have been imported. Each wall is tried once it stands, and RefusedError
    raised where it does not hold.
    """
    version = landlock_version()
    try:
        if (threads := len([*Path("/proc/self/task").iterdir()])) > 1:  # Landlock holds the one that calls
            raise _lacking(f"the reader has {threads} threads")
        memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _done("capset", LIBC.capset(struct.pack("=Ii", CAPABILITIES_3, 0), bytes(24)))
        for descriptor in Path("/proc/self/fd").iterdir():
            if int(descriptor.name) > 2:
                with contextlib.suppress(OSError):  # the list's own is closed by now
                    os.close(int(descriptor.name))
        _landlock(version)
        _must_fail("Landlock", errno.EACCES, FILES)
        _limit(memory, written, seconds)
        _seccomp()
        _must_fail("seccomp", errno.EPERM, {**FILES, **OTHERS})
    except OSError as error:
        raise _lacking(error.strerror or str(error)) from None


def _landlock(version: int) -> None:
    """Take every right that this version of Landlock knows; no rule gives one back."""
    files = 2 ** (13 + (version >= 2) + (version >= 3) + (version >= 5)) - 1  # and: link across, truncate, ioctl
    network = 3 if version >= 4 else 0  # bind and connect by TCP
    scoped = 3 if version >= 6 else 0  # abstract sockets and signals to others
    rights = struct.pack("=QQQ", files, network, scoped)  # older versions take zeros at its end
    ruleset = _done("Landlock", LIBC.syscall(CREATE_RULESET, rights, ctypes.c_size_t(len(rights)), 0))
    _done("Landlock", LIBC.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _limit(memory: int, written: int, seconds: float) -> None:
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: written,
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for which, limit in limits.items():
        _, most = resource.getrlimit(which)
        lower = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(which, (lower, lower))


def _seccomp() -> None:
    instructions = filter_program(platform.machine())
    program = Program(len(instructions) // 8, instructions)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def filter_program(machine: str) -> bytes:
    """The filter of system calls for an architecture, as the kernel reads it: 8 bytes an instruction.

    Numbers of another architecture, by which 32-bit code could call, end the process. Those of x32 are on no list.
    """

    def instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, operand)

    program = (
        instruction(LOAD, AT_ARCH) + instruction(EQUAL, AUDIT_ARCH[machine], if_true=1) + instruction(RETURN, KILL)
    )
    program += instruction(LOAD, AT_NUMBER)
    for *numbers, conditions in CALLS.values():
        steps = b""
        for argument, bits, wanted in conditions:
            steps += instruction(LOAD, AT_ARGUMENTS + 8 * argument) + instruction(AND, bits)
            steps += instruction(EQUAL, wanted, if_true=1) + instruction(RETURN, DENY)
        steps += instruction(RETURN, ALLOW)
        number = numbers[[*AUDIT_ARCH].index(machine)]
        program += instruction(EQUAL, number, if_false=len(steps) // 8) + steps
    return program + instruction(RETURN, DENY)


def _run() -> None:
    """Become another program, which tells that it could."""
    told = "import os; os.write(2, b'can run other programs in its jail'); os._exit(4)"
    os.execv(sys.executable, [sys.executable, "-I", "-c", told])  # noqa: S606


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


FILES: Mapping[str, Callable[[], Any]] = {
    "open a folder": lambda: os.open("/", os.O_RDONLY),
    "open a device": lambda: os.open(os.devnull, os.O_WRONLY),
    "run other programs": _run,
}
OTHERS: Mapping[str, Callable[[], Any]] = {
    "look at a path": lambda: Path("/").stat(),
    "start a process": _fork,
    "signal another process": lambda: os.kill(0, 0),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "reach its limits": lambda: resource.getrlimit(resource.RLIMIT_CORE),
}
"""What is tried once the walls stand, and must fail."""


def _must_fail(wall: str, code: int, attempts: Mapping[str, Callable[[], Any]]) -> None:
    for what, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            if error.errno == code:
                continue
            raise _lacking(f"{wall} answers {error} where its reader tries to {what}") from None
        raise _lacking(f"{wall} lets its reader {what}")


def _prctl(option: int, value: int, more: int = 0) -> None:
    arguments = map(ctypes.c_ulong, (value, more, 0, 0))
    _done("prctl", LIBC.prctl(option, *arguments))


def _done(what: str, result: int) -> int:
    """The result of a call of the C library; OSError for a negative one."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _lacking(reason: str) -> RefusedError:
    return RefusedError(
        "can be read only in a jail of the Linux kernel, 5.13 or later with Landlock and seccomp, on x86_64 or "
        f"aarch64, and here {reason}"
    )
