"""Memory that one step has used and the next will want again.

The C library of Linux hands every large block back to the system as soon as it is free, and the system clears each
page anew when it is asked for it. A training step asks for the same blocks as the one before: a hundred thousand
pages of them, a seventh of the time of a step (docs/log.md). While a run lasts, they are kept.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

LARGEST = 2**31 - 1
"""Of the numbers that `mallopt` takes."""
TRIM, MAPPED = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h)."""
USUAL = {MAPPED: 32 * 2**20, TRIM: 64 * 2**20}
"""What glibc itself comes to by and by: blocks from 32 MB on are mapped each by itself, 64 MB may lie idle."""


@contextmanager
def memory_kept() -> Iterator[bool]:
    """A block in which this process keeps the memory that it frees, for what it will ask for next.

    Peak memory grows little, since blocks are used again; only at the end is the rest given back. Gives whether it
    is so: nothing is done where the C library is not glibc, or where the environment already says how it is to go
    about (GLIBC_TUNABLES, or a variable MALLOC_…). Numbers do not change.

    >>> with memory_kept() as kept:
    ...     sum(range(3))
    3
    """
    chosen = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if platform.libc_ver()[0] != "glibc" or chosen:
        yield False
        return
    library, usual = ctypes.CDLL(None), tuple(USUAL.items())  # at Python's end the names of a module are gone
    answers = [library.mallopt(which, LARGEST) for which, _ in usual]
    try:
        yield all(answers)
    finally:
        for which, size in usual:
            library.mallopt(which, size)
        library.malloc_trim(0)
