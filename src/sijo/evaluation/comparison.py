"""Several ways of answering the same rows: is one better than another, and by how much?

The bootstrap draws the same rows for all ways at once, so what makes a row hard for two falls out of their
difference.

Letters: N rows, R resamples, S ways, M metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.evaluation.intervals import Floats, Interval, Metric, resampled


@dataclass(frozen=True, kw_only=True)
class Draws:
    """One metric of several ways, over all rows and over resamples that they share."""

    value_S: Floats
    """Of all rows."""
    drawn_RS: Floats
    """Of each resample; in a row of it, all ways are measured on the same rows."""

    @classmethod
    def mean(cls, parts: Sequence["Draws"]) -> "Draws":
        """The mean over data sets of what the same ways gave on each, drawn anew in each."""
        value_S = np.mean([part.value_S for part in parts], axis=0)
        return cls(value_S=value_S, drawn_RS=np.mean([part.drawn_RS for part in parts], axis=0))

    def interval(self, way: int) -> Interval:
        """Where a way's metric could have fallen on other rows like these."""
        return Interval.of(float(self.value_S[way]), self.drawn_RS[:, way])

    def gap(self, way: int, baseline: int) -> "Gap":
        """How much better a way is than another on the same rows."""
        value = float(self.value_S[way] - self.value_S[baseline])
        drawn_R = self.drawn_RS[:, way] - self.drawn_RS[:, baseline]
        return Gap(Interval.of(value, drawn_R), two_sided(drawn_R))


@dataclass(frozen=True)
class Gap:
    """A difference between two ways on the same rows."""

    difference: Interval
    """Above 0 where the first is better."""
    p: float
    """How often it would look so far from 0, in either direction, if there were none: see `two_sided`."""


def two_sided(drawn_R: Floats) -> float:
    """The p-value of a difference from its resamples: twice the smaller share on one side of 0, which is on both.

    One is added to the count and to the number of resamples, so that p is never 0: with 1,000 at least 0.002. That
    the share estimates p supposes that the difference is spread about 0, were there none, as it is about its value:
    on a few hundred rows a fair approximation, and no more.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 15.4 and 16.4; Davison and Hinkley
    1997, section 4.2, for the one that is added.

    >>> two_sided(np.full(999, 0.1)), two_sided(np.zeros(999))
    (0.002, 1.0)
    """
    least = min(int((drawn_R <= 0).sum()), int((drawn_R >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (len(drawn_R) + 1))


def draws(
    ways: Sequence[Mapping[str, Metric]],
    answers_NC: NDArray[Any],
    *,
    names: Sequence[str],
    resamples: int,
    seed: int,
    number: int = 0,
) -> dict[str, Draws]:
    """The named metrics of several ways, over all rows and over shared resamples.

    ways        what measures each, from the numbers of rows
    answers_NC  all that is known of the rows, such as their gold label and what each way gave; rows are drawn in
                the order of these, so that the order in which they came changes nothing
    number      of the data set: sets of as many rows are drawn apart from each other

    >>> right, wrong = ({"accuracy": lambda rows, hit=hit: hit[rows].mean()} for hit in (np.ones(3), np.zeros(3)))
    >>> both = draws([right, wrong], np.zeros((3, 1)), names=["accuracy"], resamples=100, seed=0)["accuracy"]
    >>> str(both.gap(0, 1).difference), round(both.gap(0, 1).p, 3)
    ('1.000 [1.000, 1.000]', 0.02)
    """
    order_N = np.lexsort(answers_NC.T)

    def measure(chosen_N: NDArray[np.int64]) -> list[float]:
        rows_N = order_N[chosen_N]
        return [way[name](rows_N) for name in names for way in ways]

    every_N = np.arange(len(answers_NC))
    value_MS = np.array(measure(every_N)).reshape(len(names), len(ways))
    drawn_RM = resampled(measure, len(every_N), resamples=resamples, seed=(seed, number))
    drawn_RMS = drawn_RM.reshape(resamples, len(names), len(ways))
    return {name: Draws(value_S=value_MS[place], drawn_RS=drawn_RMS[:, place]) for place, name in enumerate(names)}
