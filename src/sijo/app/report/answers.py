"""What became of rows whose labels are known: a bar for each label, what was taken for what, rows right and wrong.

`evaluation.py` shows it of an evaluation, `run_results.py` of a run of fine-tuning. Nothing here reads a file.

Letters: L labels.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sijo.app.report.explanations import ShownRow
from sijo.evaluation.intervals import Interval, share_interval
from sijo.evaluation.run_tables import WordTable
from sijo.evaluation.tables import LARGEST_MATRIX, confusions

Row = TypeVar("Row")

SHADES = 9
"""Of a cell of the confusion matrix: `shade0` to `shade9` in the style sheet."""
NAMED = 72
"""Letters of all labels together that fit as headings above the matrix; of longer ones the numbers stand there."""
OPEN = 30
"""Bars that are shown at once; the others are folded away."""
WRONG, RIGHT = 12, 6
"""Rows of each kind that are shown."""
SUREST = ("the surest first", "the least sure first")
"""How the wrong rows and the right ones are ordered, where a row has a probability."""


class Bar(NamedTuple):
    """A share as a bar, its 95 % interval as a line over its end."""

    title: str
    share: Interval
    of: str
    """What it is a share of."""

    @property
    def words(self) -> str:
        """The numbers; a dash where it is a share of nothing."""
        return f"{self.title} {self.share if math.isfinite(self.share.value) else '–'}{self.of}"


class BarItem(NamedTuple):
    """What is shown by bars, such as a label."""

    name: str
    value: str
    bars: tuple[Bar, ...]


class ConfusionCells(NamedTuple):
    """The matrix of few labels: of each gold label, how many rows got each label."""

    headings: tuple[str, ...]
    """The labels or, where they are long, their numbers."""
    rows: list[tuple[str, list[tuple[int, int]]]]
    """Of each gold label its name, and for each label given the count and the shade of its share."""


@dataclass(frozen=True, kw_only=True)
class ShownAnswers:
    """All of it, as far as a task has it."""

    what: str = "Each label"
    bars: Sequence[BarItem] = ()
    matrix: ConfusionCells | None = None
    confused: WordTable | None = None
    """The commonest confusions, where there are too many labels for a matrix."""
    wrong: Sequence[ShownRow] = ()
    right: Sequence[ShownRow] = ()
    counts: tuple[int, int] = (0, 0)
    """How many rows are wrong and right in all."""
    order: tuple[str, str] = SUREST

    @property
    def open_bars(self) -> Sequence[BarItem]:
        """Those that are shown at once."""
        return self.bars if len(self.bars) <= OPEN + 5 else self.bars[:OPEN]

    @property
    def folded_bars(self) -> Sequence[BarItem]:
        """The others."""
        return self.bars[len(self.open_bars) :]


def label_bars(
    labels: Sequence[str], right_L: Sequence[int], gold_L: Sequence[int], given_L: Sequence[int]
) -> list[BarItem]:
    """The bars of each label, those with the lowest F1 first; with Wilson's 95 % intervals.

    right_L  rows that have the label and got it
    gold_L   rows that have it
    given_L  rows that got it

    >>> for item in label_bars(["a", "b", "c"], [9, 1, 0], [10, 1, 0], [9, 2, 0]):
    ...     print(item.name, item.value, item.bars[0].words)
    b 0.667 found 1.000 [0.207, 1.000] of 1 rows
    a 0.947 found 0.900 [0.596, 0.982] of 10 rows
    c – found – of 0 rows
    """
    counts = [
        (2 * right / (gold + given) if gold + given else math.inf, -gold, label, right, gold, given)
        for label, right, gold, given in zip(labels, right_L, gold_L, given_L, strict=True)
    ]
    return [
        BarItem(
            label,
            f"{f1:.3f}" if math.isfinite(f1) else "–",
            (
                Bar("found", share_interval(right, gold), f" of {gold:,} rows"),
                Bar("right", share_interval(right, given), f" of {given:,} given"),
            ),
        )
        for f1, _, label, right, gold, given in sorted(counts, key=lambda one: one[:2])
    ]


def confusion_shown(
    labels: Sequence[str], confusion_LL: NDArray[np.int64]
) -> tuple[list[BarItem], ConfusionCells | None, WordTable | None]:
    """Of labels of which each row has one: their bars, the matrix of few, and of many the commonest confusions."""
    counts = np.diag(confusion_LL), confusion_LL.sum(1), confusion_LL.sum(0)
    bars = label_bars(labels, *(column.tolist() for column in counts))
    if len(labels) <= LARGEST_MATRIX:
        return bars, confusion_cells(labels, confusion_LL), None
    return bars, None, confusions(labels, confusion_LL.tolist())


def confusion_cells(labels: Sequence[str], confusion_LL: NDArray[np.int64]) -> ConfusionCells:
    """The confusion matrix, each cell with the shade of its share of the gold label."""
    share_LL = confusion_LL / np.maximum(confusion_LL.sum(1, keepdims=True), 1)
    shades_LL = np.ceil(share_LL * SHADES).astype(int)
    numbered = sum(map(len, labels)) > NAMED
    names = [f"{number} {label}" for number, label in enumerate(labels, 1)] if numbered else labels
    rows = [
        (name, list(zip(counts, shades, strict=True)))
        for name, counts, shades in zip(names, confusion_LL.tolist(), shades_LL.tolist(), strict=True)
    ]
    return ConfusionCells(tuple(map(str, range(1, len(labels) + 1))) if numbered else tuple(labels), rows)


class HighestRows(Generic[Row]):
    """Of rows that come one after another, the few with the highest of some number.

    most  how many are kept

    >>> highest = HighestRows(2)
    >>> for number, value in enumerate([0.5, 0.9, 0.1, 0.9]):
    ...     highest.add(value, number)
    >>> list(highest), highest.count
    ([1, 3], 4)
    """

    def __init__(self, most: int) -> None:
        self.most, self.count = most, 0
        self._heap: list[tuple[float, int, Row]] = []

    def add(self, value: float, row: Row) -> None:
        """Look at the next row; of equals the earlier ones are kept."""
        self.count += 1
        entry = (value, -self.count, row)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def __iter__(self) -> Iterator[Row]:
        """The rows that are kept, highest first."""
        return (row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))
