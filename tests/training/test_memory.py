"""Memory that is kept while a run lasts. Each test names the fault it is to catch."""

import ctypes
import platform
import resource

import pytest
import torch

from sijo.training import memory
from sijo.training.memory import memory_kept

GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """An environment that says nothing of memory."""
    for name in ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)


def fresh_pages(rounds):
    """Pages that the system had to clear for so many blocks of 40 MB, one after another."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not GLIBC, reason="of glibc alone")
def test_blocks_are_used_again_and_given_back():
    # kills: a threshold that glibc does not take, settings that outlast the run
    with memory_kept() as kept:
        assert kept
        fresh_pages(1)
        again = fresh_pages(5)
    plain = fresh_pages(5)
    assert again < 1_000 and plain > 3 * 9_000


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_what_the_environment_says_stands(monkeypatch, name):
    # kills: a user's own settings that are overruled
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("the C library was asked"))
    with memory_kept() as kept:
        assert not kept


def test_another_library_is_left_alone(monkeypatch):
    # kills: a call that musl or macOS do not have
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("the C library was asked"))
    with memory_kept() as kept:
        assert not kept
