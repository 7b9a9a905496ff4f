"""The page of `sijo evaluate --report FILE.html`: every run in tables, and each data set in drawings."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from sijo.app.numbers import percent
from sijo.app.report.answers import RIGHT, WRONG, ShownAnswers, confusion_shown, label_bars
from sijo.app.report.curves import COLOURS, FAINT, RUNS, svg
from sijo.app.report.explanations import LABELS, LONGEST, ShownRow, clipped, shown_row
from sijo.app.report.page import rendered
from sijo.evaluation.run_tables import WordTable, evaluation_tables, word_tables
from sijo.evaluation.runs import COMPARED, Results
from sijo.evaluation.zero_shot import Evaluation
from sijo.texts import shortened
from sijo.version import __version__

if TYPE_CHECKING:
    from sijo.app.evaluation.runs import FinishedRun

LONGEST_LABEL = 80
"""Characters of a label beside a row."""


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
    answers: ShownAnswers
    explained: bool
    """Whether the words that decided are marked in some rows."""


def evaluation_page(runs: Sequence["FinishedRun"], results: Results, *, texts: bool) -> str:
    """The whole page.

    texts  show rows right and wrong
    """
    groups = groupby(runs, key=lambda run: run.summary.data)
    sections = [section(name, list(group), texts=texts) for name, group in groups]
    title = ", ".join(part.name for part in sections)
    return rendered(
        "evaluation.html.j2",
        title=title,
        tables=list(word_tables(results)),
        sections=sections,
        panels=LABELS + 1,
        texts=texts,
        version=__version__,
    )


def section(name: str, runs: Sequence["FinishedRun"], *, texts: bool) -> DataSection:
    """What is shown of one data set; of many runs those with the highest macro-F1, in the order they were made."""
    best = sorted(range(len(runs)), key=lambda place: -runs[place].summary.numbers[COMPARED].value)[:COLOURS]
    drawn = [runs[place] for place in sorted(best)]
    run, figures = runs[best[0]], []
    single = [found for one in drawn if isinstance(found := one.measured.evaluation, Evaluation)]
    if single:
        figures = [("Reliability: accuracy by confidence", reliability(single))]
        figures.append(("Risk by coverage: errors among the surest rows", risk_coverage(single)))
    legend = [(number, str(one.summary.way)) for number, one in enumerate(drawn, 1)]
    return DataSection(
        name,
        len(runs),
        legend,
        figures,
        str(run.summary.way),
        list(evaluation_tables(run.measured.evaluation)),
        answers_of(run, texts=texts),
        bool(run.explained) and texts,
    )


def answers_of(run: "FinishedRun", *, texts: bool) -> ShownAnswers:
    """Label by label, what was taken for what, and some rows right and wrong."""
    answers, names = run.measured.answers, run.measured.names
    matrix = confused = None
    if isinstance(run.measured.evaluation, Evaluation):
        bars, matrix, confused = confusion_shown(names, np.array(run.measured.evaluation.confusion))
    else:
        gold_NC, given_NC = answers.gold_NC > 0, answers.given_NC > 0
        counts = (gold_NC & given_NC).sum(0), gold_NC.sum(0), given_NC.sum(0)
        bars = label_bars(names, *(column.tolist() for column in counts))
    wrong_n, right_n = run.measured.told_rows()
    return ShownAnswers(
        bars=bars,
        matrix=matrix,
        confused=confused,
        wrong=[row_shown(run, row) for row in wrong_n[:WRONG].tolist()] if texts else (),
        right=[row_shown(run, row) for row in right_n[:RIGHT].tolist()] if texts else (),
        counts=(len(wrong_n), len(right_n)),
    )


def row_shown(run: "FinishedRun", row: int) -> ShownRow:
    """A row with its answer and, where it is wrong, what it should be; with the words that decided, if known."""
    measured, answers = run.measured, run.measured.answers
    chances_C = measured.probabilities[row]
    gold, given = (
        np.flatnonzero(labels_NC[row]).tolist() if answers.several else [int(labels_NC[row, 0])]
        for labels_NC in (answers.gold_NC, answers.given_NC)
    )
    short = [shortened(name, LONGEST_LABEL) for name in measured.names]
    answer = ", ".join(f"{short[place]} {percent(float(chances_C[place]))}" for place in given) or "no label"
    notes = [] if gold == given else [f"gold: {', '.join(short[place] for place in gold) or 'no label'}"]
    explanation, number = run.explained.get(row), run.rows.numbers[row]
    if explanation is None:
        return ShownRow(number, answer, notes, clipped(run.rows.texts[row], LONGEST // 6), [])
    shown = shown_row(number, explanation)
    return shown._replace(answer=answer, notes=[*notes, *shown.notes])


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
