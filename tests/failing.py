"""Calls of the operating system that fail: a full disk, or a process that is gone."""

import errno
import io
import os
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
