"""Several evaluations beside each other: data sets labelled in several ways, their means, and which way is better.

A way is a model, a scorer and a calibration. Here are the few numbers of each run that stand in a table, and the
answers that ways are compared by; `run_tables.py` shows them.

Letters: N rows, K classes, C columns: one of a class a row, or one for each label that a row may have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError
from sijo.evaluation.comparison import Draws, Gap, draws
from sijo.evaluation.intervals import Interval, Metric
from sijo.evaluation.metrics import classified, multi_labelled
from sijo.evaluation.multi_label import MultiLabelEvaluation
from sijo.evaluation.zero_shot import Evaluation

AnyEvaluation = Evaluation | MultiLabelEvaluation
COMPARED = "macro_f1"
"""What ways are compared by."""
DRAWN = {False: ("accuracy", COMPARED), True: ("micro_f1", COMPARED)}
"""Whose means over data sets have an interval, where rows have one label, and where they may have several."""
SHOWN = {
    "accuracy": "accuracy",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "subset_accuracy": "all right",
    "lrap": "LRAP",
    "ece": "ECE",
    "brier": "Brier",
    "aurc": "AURC",
    "none_auroc": "none AUROC",
}
"""The numbers of a run, with what a table calls them."""


class Way(NamedTuple):
    """How texts were labelled."""

    model: str
    scorer: str
    calibrate: str

    def __str__(self) -> str:
        return ", ".join(self)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What was right, and what was given, in numbers: what ways are compared by."""

    gold_NC: NDArray[np.int64]
    """The class of each row (N, 1), or for each label whether the row has it (N, C)."""
    given_NC: NDArray[np.int64]
    classes: int
    """How many there are."""
    several: bool
    """Whether a row may have several labels."""

    def metrics(self) -> Mapping[str, Metric]:
        """What is measured of any of the rows."""
        if self.several:
            return multi_labelled(self.gold_NC > 0, self.given_NC > 0)
        return classified(self.gold_NC[:, 0], self.given_NC[:, 0], self.classes)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One data set labelled in one way."""

    data: str
    way: Way
    rows: int
    numbers: Mapping[str, Interval]
    """By the keys of `SHOWN`; those that were measured."""
    seconds: float
    """That scoring the texts and fitting the calibration took. Calibrations of the same scores share the first."""
    read: int
    """Texts, or pairs of a text and a label's sentence, that the network read for it."""
    kept: int
    """Those that were known from an earlier run."""
    answers: Answers = field(repr=False)

    @property
    def rows_per_second(self) -> float | None:
        """None where what was kept answered a part: it would tell nothing of the network."""
        return None if self.kept else self.rows / max(self.seconds, 1e-9)


class MeanRun(NamedTuple):
    """The plain mean over the data sets that a way could label."""

    way: Way
    sets: tuple[str, ...]
    rows: int
    numbers: dict[str, Interval]
    """Those of every set; without an interval (NaN) where nothing was drawn."""


class WayComparison(NamedTuple):
    """A way beside the baseline, on one data set, or in the mean over those that both could label."""

    sets: tuple[str, ...]
    way: Way
    baseline: Way
    gap: Gap
    """Of macro-F1."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data": self.sets[0] if len(self.sets) == 1 else list(self.sets),
            "way": str(self.way),
            "baseline": str(self.baseline),
            "metric": COMPARED,
            "difference": self.gap.difference.to_dict(),
            "p": self.gap.p,
        }


class ImpossibleRun(NamedTuple):
    """A way that cannot label a data set."""

    data: str
    way: Way
    why: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """All runs, what is the mean of each way, and how they compare."""

    runs: tuple[RunSummary, ...]
    impossible: tuple[ImpossibleRun, ...]
    means: tuple[MeanRun, ...]
    """None where there is one data set."""
    comparisons: tuple[WayComparison, ...]
    resamples: int


def numbers_of(evaluation: AnyEvaluation) -> dict[str, Interval]:
    """The numbers of an evaluation that stand in a table."""
    if isinstance(evaluation, MultiLabelEvaluation):
        return {name: getattr(evaluation, name) for name in SHOWN if hasattr(evaluation, name)}
    numbers = {name: getattr(evaluation, name) for name in ("accuracy", "macro_f1", "ece")}
    numbers["aurc"] = evaluation.risk_coverage.aurc
    return numbers | ({} if evaluation.none is None else {"none_auroc": evaluation.none.auroc})


def results(
    runs: Sequence[RunSummary],
    impossible: Sequence[ImpossibleRun] = (),
    *,
    baseline: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Results:
    """Runs beside each other: the mean of each way, and each way's difference to the baseline on the same rows.

    baseline  words by which to find it among the ways, such as "built-in none"; the first way by default

    A way is compared on each data set that it and the baseline could label, and over all of these. Raises
    SettingError for a baseline that is none of the ways.
    """
    ways = list(dict.fromkeys(run.way for run in runs))
    if not ways:
        return Results(runs=(), impossible=tuple(impossible), means=(), comparisons=(), resamples=resamples)
    first = ways[0] if baseline is None else found_way(ways, baseline)
    if first is None:
        shown = "; ".join(map(str, ways[:8]))
        raise SettingError(f"baseline={baseline!r} is none of the ways that were measured: {shown}")
    sets = list(dict.fromkeys(run.data for run in runs))
    by_set = {data: [run for run in runs if run.data == data] for data in sets}
    drawn = {data: _drawn(group, resamples, seed, number) for number, (data, group) in enumerate(by_set.items())}
    means = [] if len(sets) == 1 else [_mean(way, by_set, drawn) for way in ways]
    comparisons = []
    for way in ways:
        shared = [data for data in sets if {way, first} <= {run.way for run in by_set[data]}]
        if way == first or not shared:
            continue
        for parts in ([data] for data in shared):
            comparisons.append(_compared(parts, way, first, by_set, drawn))
        if len(shared) > 1:
            comparisons.append(_compared(shared, way, first, by_set, drawn))
    return Results(
        runs=tuple(runs),
        impossible=tuple(impossible),
        means=tuple(means),
        comparisons=tuple(comparisons),
        resamples=resamples,
    )


def found_way(ways: Sequence[Way], words: str) -> Way | None:
    """The first way that has all of these words among its model, scorer and calibration, if one has.

    >>> found_way([Way("built-in", "embedding", "none"), Way("e5", "embedding", "none")], "e5, none")
    Way(model='e5', scorer='embedding', calibrate='none')
    """
    asked = words.replace(",", " ").split()
    return next((way for way in ways if str(way) == words or (asked and all(word in way for word in asked))), None)


Drawn = dict[str, Draws]
"""By the name of a metric."""


def _drawn(group: Sequence[RunSummary], resamples: int, seed: int, number: int) -> Drawn:
    """The metrics of all ways on one data set, over shared resamples."""
    answers = [run.answers for run in group]
    return draws(
        [answer.metrics() for answer in answers],
        np.hstack([answers[0].gold_NC, *(answer.given_NC for answer in answers)]),
        names=DRAWN[answers[0].several],
        resamples=resamples,
        seed=seed,
        number=number,
    )


def _place(group: Sequence[RunSummary], way: Way) -> int:
    return next(place for place, run in enumerate(group) if run.way == way)


def _mean(way: Way, by_set: Mapping[str, Sequence[RunSummary]], drawn: Mapping[str, Drawn]) -> MeanRun:
    """The mean of one way over the sets that it could label."""
    own = {data: _place(group, way) for data, group in by_set.items() if way in {run.way for run in group}}
    runs = [by_set[data][place] for data, place in own.items()]
    numbers = {}
    for name in SHOWN:
        if not all(name in run.numbers for run in runs):
            continue
        if name in DRAWN[runs[0].answers.several]:
            parts = [_only(drawn[data][name], [place]) for data, place in own.items()]
            numbers[name] = Draws.mean(parts).interval(0)
        else:
            numbers[name] = Interval(fmean(run.numbers[name].value for run in runs), np.nan, np.nan)
    return MeanRun(way, tuple(own), sum(run.rows for run in runs), numbers)


def _compared(
    sets: Sequence[str],
    way: Way,
    first: Way,
    by_set: Mapping[str, Sequence[RunSummary]],
    drawn: Mapping[str, Drawn],
) -> WayComparison:
    parts = [
        _only(drawn[data][COMPARED], [_place(by_set[data], way), _place(by_set[data], first)]) for data in sets
    ]
    return WayComparison(tuple(sets), way, first, Draws.mean(parts).gap(0, 1))


def _only(all_ways: Draws, places: list[int]) -> Draws:
    """Some of the ways."""
    return Draws(value_S=all_ways.value_S[places], drawn_RS=all_ways.drawn_RS[:, places])
