"""Which precision a network computes in: as it is named, or the fastest that decides as float32 does.

`auto` ranks precisions by what the device says it has, and takes the first whose decisions on the user's own first
texts are those of float32 in 99 of 100 cases. No clock is asked, so a run that is resumed chooses as it did before.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from sijo.checkpoints.describe import FolderDescription
from sijo.errors import SettingError, warn
from sijo.evaluation.intervals import Interval, share_interval
from sijo.inference.backends.backend import Precision
from sijo.inference.backends.registry import BACKENDS, chosen_backend, device_for
from sijo.processor import has_bf16

Dtype = Literal["float32", "bfloat16", "float16"]
OF_DTYPE: dict[Dtype, Precision] = {"float32": "exact", "bfloat16": "bf16", "float16": "fp16"}
ALIKE = 0.99
"""Share of decisions that must be those of float32."""
FIRST_TEXTS = 256
"""Texts that are looked at."""
LEAST_TEXTS = 32
"""Of fewer nothing could be told, and there is little to gain."""


@dataclass(frozen=True)
class PrecisionChoice:
    """What `auto` has taken, and why."""

    precision: Precision
    texts: int
    """How many were looked at."""
    share: Interval | None = None
    """Of its decisions that are those of float32; None for float32 itself."""

    def __str__(self) -> str:
        if self.share is not None:
            return (
                f"{self.precision}: on the first {self.texts:,} texts {self.share.value:.1%} of its decisions are "
                f"those of float32 (95 %: {self.share.low:.1%} to {self.share.high:.1%})"
            )
        if self.texts < LEAST_TEXTS:
            return f"exact: {self.texts:,} texts are too few to try another on"
        return f"exact: nothing faster decides as float32 does in {ALIKE:.0%} of the first {self.texts:,} texts"


def ranked(
    described: FolderDescription, *, head: str | None = None, backend: str = "auto", device: str = "auto"
) -> list[Precision]:
    """The precisions that a folder can be run in, and that are worth trying, the fastest first; exact is left out.

    By what the processor says it has: int8, then bf16 where it multiplies that; on a GPU bf16.
    """
    able: list[Precision] = []
    device = device_for(described, backend, device)
    wanted: dict[Precision, bool] = {"int8": device == "cpu", "bf16": device != "cpu" or has_bf16()}
    for precision in (precision for precision, worth in wanted.items() if worth):
        with suppress(SettingError):
            name = chosen_backend(described, backend, device, precision, head)
            if BACKENDS[name].suits(described, precision, described.network_head(head)):
                able.append(precision)
    return able


def choose(
    candidates: Sequence[Precision], texts: int, decide: Callable[[Precision], Sequence[object]]
) -> PrecisionChoice:
    """The first of some precisions that decides as float32 does.

    texts   how many texts decisions are made on
    decide  what is decided in a precision: as many values as there are decisions, in the same order

    >>> choose(["int8", "bf16"], 200, lambda precision: [precision == "int8"] * 200).precision
    'bf16'
    """
    if texts < LEAST_TEXTS or not candidates:
        return PrecisionChoice("exact", texts)
    exact = decide("exact")
    for precision in candidates:
        same = sum(one == other for one, other in zip(decide(precision), exact, strict=True))
        share = share_interval(same, len(exact))
        if share.value >= ALIKE:
            return PrecisionChoice(precision, texts, share)
    return PrecisionChoice("exact", texts)


def named_precision(precision: str, dtype: Dtype | None) -> str:
    """The precision that is asked for, where it may be called by its old name.

    dtype  what it was called before it was a precision; None in all newer calls

    Raises SettingError where both are given, and for a dtype that there is not.

    >>> named_precision("bf16", None)
    'bf16'
    """
    if dtype is None:
        return precision
    if dtype not in OF_DTYPE:
        raise SettingError(
            f"no dtype {dtype!r}; use precision= (--precision): auto, {', '.join(get_args(Precision))}"
        )
    if precision not in ("exact", OF_DTYPE[dtype]):
        raise SettingError(f"dtype={dtype!r} and precision={precision!r} both say how to compute; leave dtype out")
    warn(
        f"dtype={dtype!r} (--dtype) is called precision={OF_DTYPE[dtype]!r} (--precision) from this release on, "
        "and goes with the next"
    )
    return OF_DTYPE[dtype]
