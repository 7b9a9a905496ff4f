"""Calls of the operating system that fail: a full disk, or a process that is gone."""

import builtins
import errno
import io
import os
import sqlite3
import sys
from contextlib import contextmanager

import pytest


class Killed(BaseException):
    """Stands for kill -9: nothing of the process happens after it."""


@contextmanager
def failing(at, error, names, *, for_ever):
    """Let the call number `at` of some functions in os fail, or that one and all after it."""
    calls = 0

    def instead(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at or (for_ever and calls > at):
                raise error
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, instead(getattr(os, name)))
        yield lambda: calls


@contextmanager
def full_disk(at):
    """Let the disk be full in the middle of the write number `at` to files opened for bytes."""
    real, writes = os.fdopen, 0

    class Disk(io.FileIO):
        def write(self, raw):
            nonlocal writes
            writes += 1
            if writes == at:
                super().write(bytes(raw)[: len(raw) // 2])
                raise OSError(errno.ENOSPC, "full")
            return super().write(raw)

    def opened(handle, mode="r", *args, **kwargs):
        return (
            io.BufferedWriter(Disk(handle, mode)) if mode in ("wb", "ab") else real(handle, mode, *args, **kwargs)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdopen", opened)
        yield


ASKED = ("open", "read", "pread", "fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir", "truncate")
"""Functions of os by which sijo asks something of the system; of `open`, files that are written."""
FAULTS = {
    "full": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "failing": lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    "memory": MemoryError,
}
"""What can be raised of any call."""
TOLD = {
    "full": (74, "No space left on device"),
    "failing": (74, "Input/output error"),
    "memory": (1, "the memory is full; close other programs"),
}
"""The exit code and the words of a command then; SQLite has words of its own."""


@contextmanager
def fault(at, error):
    """Let the call number `at` of all that sijo asks of the system fail once: ASKED, a read, a write, or SQLite's.

    error  gives what is raised: an OSError with its number, or a MemoryError. Half of what is written gets to the
           disk before; SQLite says it in its own words

    Yields a function that says how many calls there were.
    """
    names = []

    def asked(name):
        if not by_sijo():
            return False
        names.append(name)
        return len(names) == at

    def instead(name, real):
        def call(*args, **kwargs):
            looks = name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR)
            if not looks and asked(name):
                raise error()
            return real(*args, **kwargs)

        return call

    class Disk(io.FileIO):
        def readinto(self, buffer):
            if asked("readinto"):
                raise error()
            return super().readinto(buffer)

        def readall(self):
            if asked("readall"):
                raise error()
            return super().readall()

        def write(self, raw):
            if asked("write"):
                super().write(bytes(raw)[: len(raw) // 2])
                raise error()
            return super().write(raw)

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if not by_sijo():
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Disk(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        kind = io.BufferedReader if mode.strip("bt") == "r" else io.BufferedWriter
        return kind(raw) if "b" in mode else io.TextIOWrapper(kind(raw), encoding, errors, newline)

    class Database(sqlite3.Connection):
        def execute(self, *args):
            self.must_work("SQLite's execute")
            return super().execute(*args)

        def executemany(self, *args):
            self.must_work("SQLite's executemany")
            return super().executemany(*args)

        def must_work(self, name):
            if asked(name):
                cause = error()
                if not isinstance(cause, OSError):
                    raise cause
                told = sqlite3.OperationalError("database or disk is full")
                full = cause.errno == errno.ENOSPC
                told.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR_WRITE
                raise told

    real_open, connect = io.open, sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        for name in ASKED:
            patch.setattr(os, name, instead(name, getattr(os, name)))
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs, factory=Database))
        yield lambda: names


OF_THE_SYSTEM = ("failing", "os", "io", "pathlib", "shutil", "contextlib", "sqlite3", "_pyio", "hashlib")
"""Modules between sijo and the system."""


def by_sijo():
    """Whether it is sijo that asks, not the tests, Python's imports or another library."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").rpartition(".")[2] in OF_THE_SYSTEM:
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sijo"
