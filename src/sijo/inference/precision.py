"""Which precision a network computes in: as it is named, under its names of today and of the last release."""

from typing import Literal

from sijo.errors import SettingError, warn
from sijo.inference.backends.backend import Precision

Dtype = Literal["float32", "bfloat16", "float16"]
OF_DTYPE: dict[Dtype, Precision] = {"float32": "exact", "bfloat16": "bf16", "float16": "fp16"}


def named_precision(precision: Precision, dtype: Dtype | None) -> Precision:
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
            f"no dtype {dtype!r}; use precision= (--precision): exact, bf16, fp16, int8, int4 or auto"
        )
    if precision not in ("exact", OF_DTYPE[dtype]):
        raise SettingError(f"dtype={dtype!r} and precision={precision!r} both say how to compute; leave dtype out")
    warn(
        f"dtype={dtype!r} (--dtype) is called precision={OF_DTYPE[dtype]!r} (--precision) from this release on, "
        "and goes with the next"
    )
    return OF_DTYPE[dtype]
