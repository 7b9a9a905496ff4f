"""`sijo classify --compare OLD`: the rows that moved since an earlier output are told, beside the rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table
from rich.text import Text

from sijo.app.results import print_json, print_shown, tell
from sijo.app.table_job import TableJob
from sijo.texts import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from sijo.evaluation.moves import AnswerMoves, Move
    from sijo.files.tables import RowBlock
    from sijo.zeroshot.labeller import LabelPrediction

MOST_SHOWN = 200
"""Rows that are shown at a terminal."""
MOST_CHANGES = 20
"""Lines of the summary."""


@contextmanager
def comparing(
    job: TableJob[list["LabelPrediction"]],
    path: Path,
    settings: Mapping[str, Any],
    *,
    multi_label: bool,
    shows: bool,
    as_table: bool,
) -> Iterator[TableJob[list["LabelPrediction"]]]:
    """The same job, whose rows also tell what they moved from; a summary on standard error when it is done.

    path      the earlier output
    settings  what the new answers are made with
    shows     whether rows that moved are printed, since the output itself is not
    as_table  whether for a person
    """
    from sijo.evaluation.moves import AnswerMoves, OldAnswers
    from sijo.files.writing.cells import six_digits

    old = OldAnswers.read(path, column=job.table.column, multi_label=multi_label)
    if job.table.rereadable:
        old.check_fit(block.texts for block in job.table.blocks())
    comparison = AnswerMoves(old, settings, multi_label=multi_label)
    moved: list[Move] = []

    def answered(blocks: Iterable["RowBlock"]) -> Iterator[tuple["RowBlock", list["LabelPrediction"]]]:
        for block, rows in job.answered(blocks):
            moves = comparison.look(block, rows)
            if shows and not as_table:
                print_json(*(six_digits(move.to_dict()) for move in moves))
            moved.extend(moves[: MOST_SHOWN - len(moved)])
            yield block, rows
        if not job.table.rereadable:
            old.check_count(comparison.rows)

    def columns(rows: list["LabelPrediction"]) -> "pa.Table":
        return comparison.columns(job.columns(rows))

    yield replace(job, answered=answered, columns=columns)
    if shows and as_table and moved:
        _print_moves(moved, sum(comparison.changes.values()))
    _tell_summary(comparison, path)


def _print_moves(moves: Sequence["Move"], count: int) -> None:
    """A line for each row that moved."""
    from sijo.evaluation.moves import said

    number, text = Column("row", justify="right"), Column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    table = Table(number, "from", "to", Column("scores", style="cyan"), "why", text, box=None, pad_edge=False)
    for move in moves:
        scores = " → ".join(
            "–" if score is None else f"{score:.4f}" for score in (move.score_before, move.score_after)
        )
        cells = (said(move.before) or "–", said(move.after) or "–", scores, move.why, move.text)
        table.add_row(f"{move.row + 1:,}", *(Text(printable(cell)) for cell in cells))
    print_shown(table)
    if count > len(moves):
        print_shown(Text(f"and {count - len(moves):,} more; --format jsonl, or the output, has all"))


def _tell_summary(comparison: "AnswerMoves", path: Path) -> None:
    from sijo.evaluation.moves import said

    count = sum(comparison.changes.values())
    tell(f"{count:,} of {comparison.rows:,} rows moved since {path}")
    if not count:
        return
    table = Table(Column("rows", justify="right"), "from", "to", "why", box=None, pad_edge=False)
    for (before, after, why), rows in comparison.changes.most_common(MOST_CHANGES):
        cells = (said(before) or "–", said(after) or "–", why)
        table.add_row(f"{rows:,}", *(Text(printable(cell)) for cell in cells))
    print_shown(table, stderr=True)
    if (more := len(comparison.changes) - MOST_CHANGES) > 0:
        tell(f"and {more:,} other ways")
