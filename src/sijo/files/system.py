"""What systems differ in, in one place: how a file is opened, locked and owned.

Linux and macOS have all of it. Windows has no handles of folders, no owners by number and no modes: there a file is
looked at by its path, right before and after it is opened, and a folder is not locked. That much was tested by
taking the rest away on Linux, and never on Windows itself.
"""

import os
from contextlib import suppress
from importlib import import_module
from types import ModuleType

resource: ModuleType | None = None
with suppress(ImportError):  # absent on Windows; here, so that opening a folder imports nothing
    resource = import_module("resource")

CLOEXEC: int = getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))
NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
WITHOUT_WAITING: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A pipe put there since it was looked at is not waited on."""
BINARY: int = getattr(os, "O_BINARY", 0)
"""Without which Windows would change the ends of lines."""
OPENS_FOLDERS = bool(DIRECTORY and NOFOLLOW) and os.open in os.supports_dir_fd
"""Whether a folder can be opened, and names looked up in it by its handle."""
MODES = hasattr(os, "fchmod") and hasattr(os, "geteuid")
"""Whether files have owners and modes that can be told and set."""


def lock(handle: int, *, wait: bool = False) -> None:
    """Hold a lock on an open file, or folder, that ends with this process; OSError where it cannot be had.

    wait  for another process to let go, rather than give up
    """
    try:
        import fcntl
    except ImportError:
        import msvcrt  # one byte stands for the file

        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_ours(owner: int) -> bool:
    """Whether the owner of a file is this user; where files have none, each is.

    >>> is_ours(os.stat(os.devnull).st_uid) or os.geteuid() != 0
    True
    """
    return not MODES or owner == os.geteuid()


def is_ours_or_systems(owner: int) -> bool:
    """Whether the owner is this user, or root."""
    return not MODES or owner in (0, os.geteuid())


def set_mode(handle: int, mode: int) -> None:
    """Give an open file a mode, where files have any."""
    if MODES:
        os.fchmod(handle, mode)


def read_at(handle: int, count: int, begin: int) -> bytes:
    """Some bytes of an open file, and none beyond its end; where it is read on stays as it was."""
    if hasattr(os, "pread"):
        return os.pread(handle, count, begin)
    place = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, begin, os.SEEK_SET)
    pieces = []
    while count > 0 and (piece := os.read(handle, count)):
        pieces.append(piece)
        count -= len(piece)
    os.lseek(handle, place, os.SEEK_SET)
    return b"".join(pieces)


def allow_open_files(count: int) -> None:
    """Let this process have so many files open, as far as it may; Windows lets it have all it needs."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def to_disk(path: str | os.PathLike[str]) -> None:
    """Bring a file, or the list of names in a folder, to the disk; Windows does so by itself."""
    if not OPENS_FOLDERS:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
