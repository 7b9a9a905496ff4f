"""Where a value could have fallen on other rows like these: 95 % intervals by the bootstrap.

Letters: N rows, R resamples, M values measured together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Metric = Callable[[Integers], float]
"""From the numbers of some rows, drawn with repetition, to a value; NaN where it has none."""

TAILS = (0.025, 0.975)
"""What a 95 % interval leaves on each side."""


@dataclass(frozen=True)
class Interval:
    """A value measured on these rows, and where it could have fallen on others like them (95 %)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, drawn_R: Floats) -> "Interval":
        """The value with the percentiles of its resamples; those in which it is undefined are passed over."""
        defined = drawn_R[np.isfinite(drawn_R)]
        low, high = np.quantile(defined, TAILS) if len(defined) else (math.nan, math.nan)
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float | None]:
        """For JSON, which knows no NaN."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


def resampled(
    measure: Callable[[Integers], Sequence[float] | Floats],
    rows: int,
    *,
    resamples: int,
    seed: int | Sequence[int],
) -> Floats:
    """What is measured on N rows drawn with replacement, again and again: (R, M).

    measure  from the numbers of the rows drawn, (N,), to M values
    seed     where the draws start from; several numbers for one of several that should differ
    """
    random = np.random.default_rng(seed)
    return np.array([measure(random.integers(rows, size=rows)) for _ in range(resamples)], dtype=np.float64)


def intervals(
    metrics: Mapping[str, Metric], rows: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Each metric of all rows, with the interval that holds it in 95 of 100 resamples.

    >>> right = np.array([1.0, 0.0, 1.0, 1.0])
    >>> str(intervals({"accuracy": lambda rows: right[rows].mean()}, 4)["accuracy"])
    '0.750 [0.250, 1.000]'
    """
    drawn_RM = resampled(
        lambda chosen: [metric(chosen) for metric in metrics.values()], rows, resamples=resamples, seed=seed
    )
    return {
        name: Interval.of(value, drawn_R)
        for (name, value), drawn_R in zip(values(metrics, rows).items(), drawn_RM.T, strict=True)
    }


def values(metrics: Mapping[str, Metric], rows: int) -> dict[str, float]:
    """Each metric of all rows."""
    every = np.arange(rows)
    return {name: metric(every) for name, metric in metrics.items()}


def share_interval(count: int, rows: int) -> Interval:
    """The share of `count` among `rows`, with Wilson's 95 % interval, which is honest where nearly all are alike.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.

    >>> str(share_interval(300, 300)), str(share_interval(1, 2))
    ('1.000 [0.987, 1.000]', '0.500 [0.095, 0.905]')
    """
    if rows == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = 1.959963984540054  # of the normal distribution, 95 %
    share, weight = count / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / rows + weight / (4 * rows))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def share_at_most(count: int, rows: int, confidence: float = 0.95) -> float:
    """What a share is at most, at that confidence, where `count` of `rows` had it, by Clopper and Pearson's limit.

    It is one-sided: the share at which so few, or fewer, come with probability 1 - confidence. So it errs in no
    more than that part of all draws, however rare the thing is.

    Source: Clopper and Pearson 1934, Biometrika 26, 404-413.

    >>> round(share_at_most(0, 300), 6), share_at_most(5, 5)
    (0.009936, 1.0)
    """
    from scipy.special import betaincinv

    return 1.0 if count >= rows else float(betaincinv(count + 1, rows - count, confidence))
