"""The page of `sijo evaluate --report FILE.html`: every run in tables, and each data set in drawings."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from sijo.app.report.curves import COLOURS, FAINT, RUNS, svg
from sijo.app.report.page import rendered
from sijo.evaluation.run_tables import WordTable, evaluation_tables, word_tables
from sijo.evaluation.runs import COMPARED, AnyEvaluation, Results, RunSummary
from sijo.evaluation.tables import LARGEST_MATRIX, confusions
from sijo.evaluation.zero_shot import Evaluation
from sijo.version import __version__

Shown = tuple[RunSummary, AnyEvaluation]
SHADES = 9
"""Of a cell of the confusion matrix: `shade0` to `shade9` in the style sheet."""


class DataSection(NamedTuple):
    """One data set: its best runs in drawings, and the best of all label by label."""

    name: str
    total: int
    """How many runs there are."""
    legend: list[tuple[int, str]]
    """The number of each run that is drawn, and its way."""
    figures: list[tuple[str, Markup]]
    best: str
    tables: list[WordTable]
    confusion: "ConfusionCells | None"


class ConfusionCells(NamedTuple):
    """The matrix of few labels: of each gold label, how many rows got each label."""

    labels: tuple[str, ...]
    rows: list[tuple[str, list[tuple[int, int]]]]
    """Of each gold label its name, and for each label given the count and the shade of its share."""


def evaluation_page(runs: Sequence[Shown], results: Results) -> str:
    """The whole page."""
    sections = [section(name, list(group)) for name, group in groupby(runs, key=lambda run: run[0].data)]
    title = ", ".join(part.name for part in sections)
    return rendered(
        "evaluation.html.j2", title=title, tables=list(word_tables(results)), sections=sections, version=__version__
    )


def section(name: str, runs: Sequence[Shown]) -> DataSection:
    """What is shown of one data set; of many runs those with the highest macro-F1, in the order they were made."""
    best = sorted(range(len(runs)), key=lambda place: -runs[place][0].numbers[COMPARED].value)[:COLOURS]
    drawn = [runs[place] for place in sorted(best)]
    summary, evaluation = runs[best[0]]
    figures, confusion, tables = [], None, list(evaluation_tables(evaluation))
    single = [found for _, found in drawn if isinstance(found, Evaluation)]
    if single:
        figures = [("Reliability: accuracy by confidence", reliability(single))]
        figures.append(("Risk by coverage: errors among the surest rows", risk_coverage(single)))
    if isinstance(evaluation, Evaluation):
        if len(evaluation.labels) <= LARGEST_MATRIX:
            confusion = confusion_cells(evaluation)
        else:
            tables.append(confusions(evaluation))
    legend = [(number, str(run.way)) for number, (run, _) in enumerate(drawn, 1)]
    return DataSection(name, len(runs), legend, figures, str(summary.way), tables, confusion)


def reliability(runs: Sequence[Evaluation]) -> Markup:
    """How often each run is right where it is so sure; on the dashed line it is right as often as it says."""

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=FAINT, linestyle="--", linewidth=1)
        for run, colour in zip(runs, RUNS, strict=False):
            confidence = [group.confidence for group in run.reliability]
            accuracy = [group.accuracy.value for group in run.reliability]
            axes.plot(confidence, accuracy, color=colour, linewidth=1.2)
            for x, y in zip(confidence, accuracy, strict=True):  # a dot: matplotlib's own are drawn by reference
                axes.plot((x, x), (y, y), color=colour, linewidth=4, solid_capstyle="round")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy")

    return svg(draw)


def risk_coverage(runs: Sequence[Evaluation]) -> Markup:
    """The share of errors where only the surest rows are answered."""

    def draw(axes: Any) -> None:
        for run, colour in zip(runs, RUNS, strict=False):
            axes.plot(*zip(*run.risk_coverage.curve, strict=True), color=colour, linewidth=1.5)
        axes.set(xlim=(0, 1.02), xlabel="share of rows answered", ylabel="errors")
        axes.set_ylim(bottom=0)

    return svg(draw)


def confusion_cells(evaluation: Evaluation) -> ConfusionCells:
    """The confusion matrix, each cell with the shade of its share of the gold label."""
    counts_LL = np.array(evaluation.confusion)
    share_LL = counts_LL / np.maximum(counts_LL.sum(1, keepdims=True), 1)
    shades_LL = np.ceil(share_LL * SHADES).astype(int)
    rows = [
        (label, list(zip(counts, shades, strict=True)))
        for label, counts, shades in zip(evaluation.labels, counts_LL.tolist(), shades_LL.tolist(), strict=True)
    ]
    return ConfusionCells(evaluation.labels, rows)
