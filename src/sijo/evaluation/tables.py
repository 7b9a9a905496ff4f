"""An evaluation as tables for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sijo.evaluation.zero_shot import Evaluation
from sijo.texts import printable

LARGEST_MATRIX = 12
"""Labels beyond which the commonest confusions stand in for the matrix."""
SHOWN_CONFUSIONS = 10


def table(evaluation: Evaluation) -> RenderableType:
    """The evaluation for a terminal of 80 columns or more.

    The headline with its sample size, a line for each label, and the confusion matrix; with more
    than 12 labels the ten commonest confusions stand in for the matrix.
    """
    headline = Text()
    for name, interval, note in (
        ("accuracy", evaluation.accuracy, ""),
        ("macro-F1", evaluation.macro_f1, f" over {evaluation.macro_f1_over}"),
        ("ECE", evaluation.ece, ""),
    ):
        headline.append(f"{name:<9}", style="bold").append(f"{interval}").append(f"{note}\n", style="dim")
    headline.append(
        f"{evaluation.rows:,} rows, {len(evaluation.labels)} labels; "
        f"95 % intervals from {evaluation.resamples:,} resamples",
        style="dim",
    )
    confused = _matrix(evaluation) if len(evaluation.labels) <= LARGEST_MATRIX else _commonest(evaluation)
    return Group(headline, Text(), _class_table(evaluation), Text(), confused)


def _columns(names: tuple[str, ...], numbers: tuple[str, ...], *, left: int) -> Table:
    """A table without rows: names wrap, so that the numbers beside them need not."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, left))
    for heading in names:
        drawn.add_column(heading, min_width=12)
    for heading in numbers:
        drawn.add_column(heading, justify="right", no_wrap=True)
    return drawn


def _class_table(evaluation: Evaluation) -> Table:
    drawn = _columns(("label",), ("precision", "recall", "F1 [95 %]", "support", "predicted"), left=1)
    for row in evaluation.classes:
        drawn.add_row(
            Text(printable(row.label)),  # as Text, because a label in [brackets] is not markup
            f"{row.precision.value:.3f}" if row.precision else "–",
            f"{row.recall.value:.3f}" if row.recall else "–",
            str(row.f1) if row.f1 else "–",
            f"{row.support:,}",
            f"{row.predicted:,}",
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
    confusions = sorted(
        (-count, gold, predicted)
        for gold, counts in enumerate(evaluation.confusion)
        for predicted, count in enumerate(counts)
        if count and gold != predicted
    )
    if not confusions:
        return Text("No row was given a wrong label.")
    drawn = _columns(("gold", "predicted"), ("rows", "of gold"), left=1)
    for count, gold, predicted in confusions[:SHOWN_CONFUSIONS]:
        drawn.add_row(
            Text(printable(evaluation.labels[gold])),
            Text(printable(evaluation.labels[predicted])),
            f"{-count:,}",
            f"{-count / evaluation.classes[gold].support:.0%}",
        )
    title = f"The {min(SHOWN_CONFUSIONS, len(confusions))} commonest of {len(confusions):,} confusions"
    return Group(Text(title, style="bold"), drawn)
