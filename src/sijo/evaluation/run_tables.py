"""Several evaluations as tables of words: for a terminal, for Markdown, for a page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sijo.evaluation.intervals import Interval
from sijo.evaluation.multi_label import LabelRow, MultiLabelEvaluation
from sijo.evaluation.runs import COMPARED, SHOWN, Results, RunSummary, Way, WayComparison
from sijo.evaluation.zero_shot import Evaluation
from sijo.texts import printable

WITH_INTERVAL = {"accuracy", "micro_f1", "macro_f1"}
"""Those whose interval is shown beside them."""
NAMES = ("data", "model", "scorer", "calibration")
MARKDOWN = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>|#~!&"} | {"\n": " ", "\r": " "})


@dataclass(frozen=True, kw_only=True)
class WordTable:
    """Rows of words under headings."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    """How many columns hold names, on the left; the others are numbers."""
    note: str = ""


class _Named(NamedTuple):
    """Where a row belongs, and its numbers in words."""

    names: tuple[str, ...]
    numbers: tuple[str, ...]


def word_tables(results: Results) -> Iterator[WordTable]:
    """All runs, the mean of each way, how ways compare, and what could not be; those that there are."""
    if results.runs:
        yield _runs(results)
    if results.means:
        yield _means(results)
    if results.comparisons:
        yield _comparisons(results)
    if results.impossible:
        yield _impossible(results)


def data_set_table(results: Results) -> WordTable:
    """Macro-F1 of each way, data set by data set, with its mean and how that differs from the baseline's.

    A way that could not label a set has a dash there, and no mean where another way has one over more sets.
    """
    sets = list(dict.fromkeys(run.data for run in results.runs))
    ways = list(dict.fromkeys(run.way for run in results.runs))
    values = {(run.data, run.way): run.numbers.get(COMPARED) for run in results.runs}
    means = {mean.way: mean.numbers[COMPARED] for mean in results.means if mean.sets == tuple(sets)}
    gaps = {one.way: one.gap for one in results.comparisons if one.sets == tuple(sets)}
    rows = []
    for way in ways:
        gap = gaps.get(way)
        differs = "–" if gap is None else f"{_signed(gap.difference)}, p {gap.p:.3f}"
        rows.append(
            _Named(
                ("", *way), (*(_short(values.get((data, way))) for data in sets), _short(means.get(way)), differs)
            )
        )
    titles = (*sets, "mean", "mean, less the baseline's")
    return _narrowed("Macro-F1", rows, titles, "", _varied(results))


def _impossible(results: Results) -> WordTable:
    """Each reason once, in its first sentence, with all that it forbids."""
    reasons: dict[tuple[str, str, str], list[dict[str, None]]] = {}
    for run in results.impossible:
        why = run.why.partition(". ")[0].rstrip(".")
        data, methods = reasons.setdefault((run.way.model, run.way.scorer, why), [{}, {}])
        data[run.data] = methods[run.way.calibrate] = None
    rows = [
        [", ".join(data), model, scorer, ", ".join(methods), why]
        for (model, scorer, why), (data, methods) in reasons.items()
    ]
    return WordTable(title="Not possible", headings=(*NAMES, "why"), rows=rows, names=5)


def evaluation_tables(evaluation: Evaluation | MultiLabelEvaluation) -> Iterator[WordTable]:
    """The numbers of one evaluation, and a line for each label."""
    several = isinstance(evaluation, MultiLabelEvaluation)
    interval = f"95 % interval, {evaluation.resamples:,} resamples"
    yield WordTable(
        title="In all",
        headings=("measure", "value", interval),
        rows=[[name, _short(value), _range(value)] for name, value in _headline(evaluation)],
        note=f"{evaluation.rows:,} rows, {len(evaluation.labels)} labels; macro-F1 over {evaluation.macro_f1_over}",
    )
    headings = ("label", "precision", "recall", "F1", "F1, 95 %", "rows", "given")
    rows = []
    for row in evaluation.classes:
        shares = [_short(share) for share in (row.precision, row.recall, row.f1)]
        own = [_short(row.ece), _short(row.brier)] if isinstance(row, LabelRow) else []
        rows.append([row.label, *shares, _range(row.f1), f"{row.support:,}", f"{row.predicted:,}", *own])
    yield WordTable(title="Each label", headings=(*headings, "ECE", "Brier") if several else headings, rows=rows)


def _headline(evaluation: Evaluation | MultiLabelEvaluation) -> list[tuple[str, Interval]]:
    if isinstance(evaluation, MultiLabelEvaluation):
        return [(title, getattr(evaluation, name)) for name, title in SHOWN.items() if hasattr(evaluation, name)]
    risk, none = evaluation.risk_coverage, evaluation.none
    lines = [(SHOWN[name], getattr(evaluation, name)) for name in ("accuracy", "macro_f1", "ece")]
    lines += [
        (SHOWN["aurc"], risk.aurc),
        ("accuracy, surest 90 %", risk.accuracy_at_90),
        ("accuracy, surest 80 %", risk.accuracy_at_80),
    ]
    if none is not None:
        lines += [(SHOWN["none_auroc"], none.auroc), ("none FPR at 95 % recall", none.fpr_at_95_recall)]
    return lines


def _runs(results: Results) -> WordTable:
    keys = _keys(results.runs)
    rows = [
        _Named(
            (run.data, *run.way),
            (f"{run.rows:,}", *(_number(key, run.numbers.get(key)) for key in keys), *_cost(run)),
        )
        for run in results.runs
    ]
    titles = ("n", *(_title(key) for key in keys), "texts/s", "seconds", "read")
    note = (
        f"95 % intervals in brackets, from {results.resamples:,} resamples of the rows. read: texts, or pairs of a "
        "text and a label's sentence, that the network read; texts/s only where none was kept from another run."
    )
    return _narrowed("Runs", rows, titles, note, [0, *_varied(results)])


def _means(results: Results) -> WordTable:
    keys = [key for key in _keys(results.runs) if any(key in mean.numbers for mean in results.means)]
    rows = [
        _Named(
            ("", *mean.way),
            (f"{len(mean.sets)}", f"{mean.rows:,}", *(_number(key, mean.numbers.get(key)) for key in keys)),
        )
        for mean in results.means
    ]
    titles = ("sets", "n", *map(_title, keys))
    return _narrowed("Mean over data sets", rows, titles, "Each data set counts alike.", _varied(results))


def _comparisons(results: Results) -> WordTable:
    every = len({run.data for run in results.runs})
    rows = [
        _Named((_sets_of(one, every), *one.way), (_signed(one.gap.difference), f"{one.gap.p:.3f}"))
        for one in results.comparisons
    ]
    baseline: Way = results.comparisons[0].baseline
    note = (
        "Above 0 the way is better. Both ways are measured on the same resamples of the same rows; p is two-sided, "
        "and not corrected for the number of comparisons."
    )
    titles = ("difference [95 %]", "p")
    return _narrowed(f"Macro-F1 less the baseline's: {baseline}", rows, titles, note, [0, *_varied(results)])


def _sets_of(comparison: WayComparison, every: int) -> str:
    if len(comparison.sets) == 1:
        return comparison.sets[0]
    count = len(comparison.sets)
    return f"mean of all {count}" if count == every else f"mean of {count} of {every}"


def _varied(results: Results) -> list[int]:
    """The columns of names in which the ways differ: model, scorer, calibration; the model where none does."""
    ways = [run.way for run in results.runs]
    return [place + 1 for place in range(3) if len({way[place] for way in ways}) > 1] or [1]


def _narrowed(
    title: str, rows: list[_Named], titles: Sequence[str], note: str, columns: Sequence[int]
) -> WordTable:
    """A table with those columns of names; what all rows share of the others stands behind a title of one word."""
    shared = [rows[0].names[place] for place in range(4) if place not in columns and rows[0].names[place]]
    return WordTable(
        title=f"{title}: {', '.join(shared)}" if shared and ":" not in title else title,
        headings=(*(NAMES[place] for place in columns), *titles),
        rows=[[*(row.names[place] for place in columns), *row.numbers] for row in rows],
        names=len(columns),
        note=note,
    )


def _keys(runs: Sequence[RunSummary]) -> list[str]:
    return [key for key in SHOWN if any(key in run.numbers for run in runs)]


def _title(key: str) -> str:
    return f"{SHOWN[key]} [95 %]" if key in WITH_INTERVAL else SHOWN[key]


def _number(key: str, value: Interval | None) -> str:
    if value is None:
        return "–"
    return str(value) if key in WITH_INTERVAL and math.isfinite(value.low) else f"{value.value:.3f}"


def _short(value: Interval | None) -> str:
    return "–" if value is None else f"{value.value:.3f}"


def _range(value: Interval | None) -> str:
    return "–" if value is None else f"[{value.low:.3f}, {value.high:.3f}]"


def _signed(value: Interval) -> str:
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def _cost(run: RunSummary) -> tuple[str, str, str]:
    speed = run.rows_per_second
    return "–" if speed is None else f"{speed:,.0f}", f"{run.seconds:.1f}", f"{run.read:,}"


def markdown(tables: Sequence[WordTable], *, level: int = 2) -> str:
    """Tables as Markdown that GitHub shows; names, which may come from data, stand for themselves in any case.

    >>> print(markdown([WordTable(title="", headings=("a|b", "n"), rows=[["<i>", "1"]])]), end="")
    | a\\|b | n |
    | --- | ---: |
    | \\<i\\> | 1 |
    """
    parts = []
    for table in tables:
        lines = [f"{'#' * level} {_escaped(table.title)}", ""] if table.title else []
        marks = ["---" if place < table.names else "---:" for place in range(len(table.headings))]
        lines.append(f"| {' | '.join(map(_escaped, table.headings))} |".replace("\\[95 %\\]", "[95 %]"))
        lines.append(f"| {' | '.join(marks)} |")
        for cells in table.rows:
            own = map(_escaped, cells[: table.names])
            lines.append(f"| {' | '.join([*own, *cells[table.names :]])} |")
        parts.append("\n".join([*lines, *(["", table.note] if table.note else [])]))
    return "\n\n".join(parts) + "\n"


def _escaped(words: str) -> str:
    return printable(words).translate(MARKDOWN)
