"""Calls of the operating system that fail: a full disk, or a process that is gone."""

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
