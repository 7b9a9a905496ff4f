"""An evaluation, or several beside each other, as tables for a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sijo.evaluation.intervals import Interval
from sijo.evaluation.multi_label import LabelRow, MultiLabelEvaluation
from sijo.evaluation.run_tables import WordTable
from sijo.evaluation.runs import AnyEvaluation
from sijo.evaluation.zero_shot import ClassRow, Evaluation
from sijo.texts import printable

LARGEST_MATRIX = 12
"""Labels beyond which the commonest confusions stand in for the matrix."""
SHOWN_CONFUSIONS = 10
WIDEST_NAME = 24
"""Of a column of names, in a terminal that has no room for more."""


def table(evaluation: AnyEvaluation) -> RenderableType:
    """The evaluation for a terminal of 80 columns or more.

    The headline with its sample size, a line for each label, and where each row has one label the confusion
    matrix; with more than 12 labels the ten commonest confusions stand in for the matrix.
    """
    if isinstance(evaluation, MultiLabelEvaluation):
        return Group(_headline(evaluation, _several(evaluation)), Text(), _class_table(evaluation.classes))
    risk, none = evaluation.risk_coverage, evaluation.none
    lines = [
        ("accuracy", evaluation.accuracy, ""),
        ("macro-F1", evaluation.macro_f1, f" over {evaluation.macro_f1_over}"),
        ("ECE", evaluation.ece, ""),
        ("AURC", risk.aurc, ""),
        ("accuracy", risk.accuracy_at_90, " of the surest 90 % of the rows"),
        ("accuracy", risk.accuracy_at_80, " of the surest 80 %"),
    ]
    if none is not None:
        lines.append(("AUROC", none.auroc, f" of none of these, {none.rows:,} rows"))
        lines.append(("FPR", none.fpr_at_95_recall, " where 95 % of them are found"))
    confused = _matrix(evaluation) if len(evaluation.labels) <= LARGEST_MATRIX else _commonest(evaluation)
    return Group(_headline(evaluation, lines), Text(), _class_table(evaluation.classes), Text(), confused)


def tables(words: Sequence[WordTable], *, width: int) -> RenderableType:
    """Tables of words for a terminal of that width, with blank lines between.

    Names wrap, so that numbers need not; numbers that do not fit beside the names follow in a table of their own.
    """
    parts: list[RenderableType] = []
    for shown in words:
        parts.append(Text(printable(shown.title), style="bold"))
        for columns in _parted(shown, width):
            headings = [shown.headings[place] for place in (*range(shown.names), *columns)]
            drawn = _columns(headings[: shown.names], headings[shown.names :], left=0, narrowest=6)
            for row in shown.rows:  # as Text, because [brackets] are not markup
                drawn.add_row(*(Text(printable(row[place])) for place in (*range(shown.names), *columns)))
            parts += [drawn, Text()]
        parts[-1:] = [Text(shown.note, style="dim"), Text()] if shown.note else [Text()]
    return Group(*parts)


def _parted(table: WordTable, width: int) -> list[list[int]]:
    """The columns of numbers, in as many parts as a terminal of that width needs."""
    lines = [table.headings, *table.rows]
    widths = [max(cell_len(line[place]) for line in lines) + 1 for place in range(len(table.headings))]
    names = sum(min(taken, WIDEST_NAME) for taken in widths[: table.names])
    parts: list[list[int]] = [[]]
    for place in range(table.names, len(table.headings)):
        if parts[-1] and names + sum(widths[other] for other in (*parts[-1], place)) > width:
            parts.append([])
        parts[-1].append(place)
    return parts


def _headline(evaluation: AnyEvaluation, lines: Sequence[tuple[str, Interval, str]]) -> Text:
    headline = Text()
    for name, interval, note in lines:
        headline.append(f"{name:<9}", style="bold").append(f"{interval}").append(f"{note}\n", style="dim")
    return headline.append(
        f"{evaluation.rows:,} rows, {len(evaluation.labels)} labels; "
        f"95 % intervals from {evaluation.resamples:,} resamples",
        style="dim",
    )


def _several(evaluation: MultiLabelEvaluation) -> list[tuple[str, Interval, str]]:
    return [
        ("micro-F1", evaluation.micro_f1, f" at probabilities from {evaluation.threshold:g}"),
        ("macro-F1", evaluation.macro_f1, f" over {evaluation.macro_f1_over}"),
        ("exact", evaluation.subset_accuracy, " rows whose labels are all right"),
        ("LRAP", evaluation.lrap, " of the ranking of labels"),
        ("ECE", evaluation.ece, " mean over labels"),
        ("Brier", evaluation.brier, " mean over labels"),
    ]


def _columns(names: Sequence[str], numbers: Sequence[str], *, left: int, narrowest: int = 12) -> Table:
    """A table without rows: names wrap, so that the numbers beside them need not."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, left))
    for heading in names:
        drawn.add_column(heading, min_width=narrowest)
    for heading in numbers:
        drawn.add_column(heading, justify="right", no_wrap=True)
    return drawn


def _class_table(rows: Sequence[ClassRow | LabelRow]) -> Table:
    headings = ["precision", "recall", "F1 [95 %]", "support", "predicted"]
    alone = [row for row in rows if isinstance(row, LabelRow)]
    drawn = _columns(("label",), ("P", "R", *headings[2:4], "given", "ECE", "Brier") if alone else headings, left=1)
    for row in rows:
        own = [f"{row.ece.value:.3f}", f"{row.brier.value:.3f}"] if isinstance(row, LabelRow) else []
        drawn.add_row(
            Text(printable(row.label)),  # as Text, because a label in [brackets] is not markup
            f"{row.precision.value:.3f}" if row.precision else "–",
            f"{row.recall.value:.3f}" if row.recall else "–",
            str(row.f1) if row.f1 else "–",
            f"{row.support:,}",
            f"{row.predicted:,}",
            *own,
        )
    return drawn


def _matrix(evaluation: Evaluation) -> RenderableType:
    drawn = _columns(("gold",), tuple(str(place + 1) for place in range(len(evaluation.labels))), left=0)
    for place, (label, counts) in enumerate(zip(evaluation.labels, evaluation.confusion, strict=True)):
        cells = [
            Text(str(count) if count else "·", style="bold" if place == column else "" if count else "dim")
            for column, count in enumerate(counts)
        ]
        drawn.add_row(Text(f"{place + 1:>2} {printable(label)}"), *cells)
    return Group(Text("Rows by gold label, and by the number of the label predicted", style="bold"), drawn)


def _commonest(evaluation: Evaluation) -> RenderableType:
    commonest = confusions(evaluation.labels, evaluation.confusion)
    if not commonest.rows:
        return Text("No row was given a wrong label.")
    drawn = _columns(commonest.headings[:2], commonest.headings[2:], left=1)
    for row in commonest.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return Group(Text(commonest.title, style="bold"), drawn)


def confusions(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> WordTable:
    """The commonest confusions, at most ten, from counts of rows [gold][predicted]."""
    found = sorted(
        (-count, gold, predicted)
        for gold, counts in enumerate(confusion)
        for predicted, count in enumerate(counts)
        if count and gold != predicted
    )
    rows = [
        [labels[gold], labels[predicted], f"{-count:,}", f"{-count / sum(confusion[gold]):.0%}"]
        for count, gold, predicted in found[:SHOWN_CONFUSIONS]
    ]
    title = f"The {len(rows)} commonest of {len(found):,} confusions"
    return WordTable(title=title, headings=("gold", "predicted", "rows", "of gold"), rows=rows, names=2)
