"""What confidence is good for: how often it is right, and whether it tells right from wrong and known from none.

`ConfidenceBins` measures the expected calibration error; `RankedRows` how many errors the most confident rows hold
(risk and coverage), and how well a score ranks some rows above all others (the area under the ROC curve).

Every number is a function of how many times each row is there, so that a resample is one array of counts; and rows
of equal confidence are one group, so that the order in which they came changes nothing.

Letters: N rows, U distinct scores.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sijo.evaluation.intervals import Floats, Integers, Interval


class ConfidenceBins:
    """The expected calibration error (ECE) over bins of equal mass.

    confidence_N  how likely each answer is said to be right
    right_N       whether it is
    bins          how many

    ECE is the sum over bins of count / N x |share right - mean confidence|. Rows of equal confidence share a bin,
    the one where the middle of their ranks falls; ties make bins uneven.

    >>> round(ConfidenceBins(np.array([.9, .9, .6, .6]), np.array([1, 0, 1, 1]), 10).ece(np.ones(4, int)), 3)
    0.4
    """

    def __init__(self, confidence_N: NDArray[np.floating], right_N: NDArray[np.generic], bins: int) -> None:
        self.order_N = np.argsort(confidence_N, kind="stable")
        self.confidence_N = confidence_N[self.order_N].astype(np.float64)
        self.right_N = right_N[self.order_N].astype(np.float64)
        self.count = len(confidence_N)
        self.gap_N = self.right_N - self.confidence_N
        starts_U = np.unique(self.confidence_N, return_index=True)[1]
        self.bounds = np.append(starts_U, self.count)  # rows of equal confidence lie between two of these
        # where bins meet, in doubled ranks so that the middle of an even group is whole; -(-a // b) rounds up
        self.cuts = -(-2 * self.count * np.arange(bins + 1) // bins)

    def edges(self, counts_N: Integers) -> Integers:
        """The rows, in the order of `order_N`, at which bins begin and end; counts in the order the rows came."""
        upto_U = np.cumsum(counts_N[self.order_N])[self.bounds[1:] - 1]
        middle_U = upto_U.copy()  # doubled: the rows before this confidence, and those up to its last
        middle_U[1:] += upto_U[:-1]
        edges: Integers = self.bounds[np.searchsorted(middle_U, self.cuts)]
        return edges

    def ece(self, counts_N: Integers) -> float:
        """The error where each row is there so many times, N in all."""
        # count / N x |accuracy - confidence| is |sum of right - confidence| / N, bin by bin
        gap_upto = np.concatenate(([0.0], np.cumsum(counts_N[self.order_N] * self.gap_N)))
        return float(np.abs(np.diff(gap_upto[self.edges(counts_N)])).sum() / self.count)


def reflected(ece: Interval) -> Interval:
    """The basic interval of a value that only errs upward and is never below 0: see `evaluate` on ECE."""
    value, low, high = ece.value, 2 * ece.value - ece.high, 2 * ece.value - ece.low
    return Interval(value, min(value, max(0.0, low)), max(value, high))


class RankedRows:
    """Rows from the highest score to the lowest; those of equal score are one group.

    score_N  of each row
    marked_N whether a row is one of those that are counted: an error, or a row that none of the labels fits

    >>> rows = RankedRows(np.array([.9, .8, .7, .6]), np.array([0, 1, 0, 1]))
    >>> rows.risks(np.ones(4, int)).round(3).tolist()
    [0.0, 0.5, 0.333, 0.5]
    """

    def __init__(self, score_N: NDArray[np.floating], marked_N: NDArray[np.generic]) -> None:
        values_U, self.group_N = np.unique(-score_N.astype(np.float64), return_inverse=True)
        self.groups = len(values_U)
        self.marked_N = marked_N.astype(np.float64)

    def _sums(self, counts_N: Integers) -> tuple[Floats, Floats]:
        """How many rows each group has, and how many of them are marked; both (U,)."""
        all_U = np.bincount(self.group_N, weights=counts_N, minlength=self.groups)
        marked_U = np.bincount(self.group_N, weights=counts_N * self.marked_N, minlength=self.groups)
        return all_U.astype(np.float64), marked_U.astype(np.float64)

    def risks(self, counts_N: Integers) -> Floats:
        """The share of marked rows among the first 1, 2, ... N rows.

        Where the border parts a group, what is expected of rows drawn from it: its own share for each.

        Source: Geifman and El-Yaniv 2017 (arXiv:1705.08500), risk at a coverage; the mean of what is returned is
        their area under the risk-coverage curve (AURC, arXiv:1805.08206).
        """
        all_U, marked_U = self._sums(counts_N)
        share_U = np.divide(marked_U, all_U, out=np.zeros_like(all_U), where=all_U > 0)
        expected_N = np.repeat(share_U, all_U.astype(np.int64))
        risks: Floats = np.cumsum(expected_N) / np.arange(1, len(expected_N) + 1)
        return risks

    def auroc(self, counts_N: Integers) -> float:
        """How often a marked row scores higher than one that is not, ties by half; NaN without both kinds.

        >>> RankedRows(np.array([.9, .8, .7]), np.array([1, 0, 1])).auroc(np.ones(3, int))
        0.5
        """
        all_U, marked_U = self._sums(counts_N)
        others_U = all_U - marked_U
        pairs = marked_U.sum() * others_U.sum()
        below_U = others_U.sum() - np.cumsum(others_U)
        return float((marked_U * (below_U + others_U / 2)).sum() / pairs) if pairs else math.nan

    def false_positive_rate(self, counts_N: Integers, recall: float = 0.95) -> float:
        """The share of rows that are not marked at or above the highest score that holds so many of the marked.

        >>> RankedRows(np.array([.9, .8, .7, .6]), np.array([1, 0, 1, 0])).false_positive_rate(np.ones(4, int))
        0.5
        """
        all_U, marked_U = self._sums(counts_N)
        marked, others = marked_U.sum(), (all_U - marked_U).sum()
        if not marked or not others:
            return math.nan
        reached = int(np.argmax(np.cumsum(marked_U) / marked >= recall))
        return float(np.cumsum(all_U - marked_U)[reached] / others)


def rows_at(coverage: float, rows: int) -> int:
    """How many rows a share of all is, rounded up and at least one.

    >>> rows_at(0.8, 10), rows_at(0.9, 1), rows_at(0.1, 101)
    (8, 1, 11)
    """
    return max(1, math.ceil(round(coverage * rows, 9)))


def none_score(probabilities_NL: NDArray[np.floating], none: int) -> Floats:
    """How much more likely "none of these" is than the best of the labels: p_none / (p_none + max p), (N,).

    none  its column

    Under any temperature it ranks texts as the none threshold does: none wins where it passes a half, and a text
    whose score is higher is given up earlier as the threshold rises. 1 - max p would rank by how labels compete,
    though two labels that fit a text alike are no sign that none does.

    >>> none_score(np.array([[.6, .2, .2], [.5, .0, .5]]), 2).tolist()
    [0.25, 0.5]
    """
    none_N = probabilities_NL[:, none].astype(np.float64)
    best_N = np.delete(probabilities_NL, none, axis=1).max(1).astype(np.float64)
    total_N = none_N + best_N
    score_N: Floats = np.divide(none_N, total_N, out=np.full(len(total_N), 0.5), where=total_N > 0)
    return score_N
