"""What this machine's processor says it has: told by the system, never by a clock."""

import os
import platform
import sys
from functools import cache
from pathlib import Path

INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Instructions that add products of 8-bit integers in 32 bits, on x86 and on Arm."""
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that multiply bfloat16."""
APPLE = frozenset({"asimddp"})
"""What all of Apple's own processors have."""


def flags_in(cpuinfo: str) -> frozenset[str]:
    """The abilities that Linux lists for the first processor.

    cpuinfo  what /proc/cpuinfo holds

    >>> sorted(flags_in("processor : 0\\nflags\\t\\t: fpu avx2 avx512_vnni\\n"))
    ['avx2', 'avx512_vnni', 'fpu']
    """
    for line in cpuinfo.splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


@cache
def abilities() -> frozenset[str]:
    """What the processor has, by the names of Linux; nothing where the system does not tell."""
    if sys.platform == "darwin":
        return APPLE if platform.machine() == "arm64" else frozenset()
    try:
        return flags_in(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return frozenset()


def may_have_gpu() -> bool:
    """Whether the system has what a GPU for torch needs; torch itself, a second to import, tells more."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return True
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))


def has_int8() -> bool:
    """Whether products of 8-bit integers are several times as fast as of float32."""
    return bool(abilities() & INT8)


def adds_bytes_exactly() -> bool:
    """Whether sums of products of bytes are exact; x86 without VNNI adds pairs in 16 bits, which saturate."""
    return platform.machine().lower() not in ("x86_64", "amd64", "i686") or has_int8()


def has_bf16() -> bool:
    """Whether it multiplies bfloat16 itself; where not, that is several times slower than float32."""
    return bool(abilities() & BF16)
