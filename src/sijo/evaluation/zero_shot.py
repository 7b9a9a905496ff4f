"""How well texts were labelled, and how sure one may be of it.

`evaluate` takes the gold labels and the probabilities, from any classifier, and measures what was
right (accuracy, F1, confusion) and whether the probabilities can be believed (calibration).
`table` shows it in a terminal; `plots.py` draws it. Nothing here has heard of a model.

Letters: N rows, L labels, R resamples, U distinct confidences.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, TextError, nearest

if TYPE_CHECKING:
    from rich.console import RenderableType

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TAILS = (0.025, 0.975)  # what a 95 % interval leaves on each side


@dataclass(frozen=True)
class Interval:
    """A value measured on these rows, and where it could have fallen on others like them (95 %)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """How one label fared. What divides by no rows at all is None, not zero."""

    label: str
    precision: Interval | None
    """Share of the rows given this label that deserve it; None when it was never given."""
    recall: Interval | None
    """Share of the rows that deserve this label and got it; None when no row deserves it."""
    f1: Interval | None
    """Harmonic mean of the two; None when the label is in neither column."""
    support: int
    """Rows whose gold label this is."""
    predicted: int
    """Rows given this label."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows of like confidence: a calibrated model is right as often as it says."""

    confidence: float
    """Mean of the largest probability."""
    accuracy: Interval
    """Share of the rows whose most probable label is gold."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything `evaluate` measured; the same object for the terminal, the plot and the report."""

    rows: int
    resamples: int
    seed: int
    confidence_level: float = 0.95
    accuracy: Interval
    macro_f1: Interval
    ece: Interval
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Counts of rows, [gold][predicted], in the order of `labels`."""
    labels: tuple[str, ...]
    reliability: tuple[Bin, ...]
    """From the least to the most confident; bins that ties left empty are not listed."""

    def to_dict(self) -> dict[str, Any]:
        """The same in dicts, lists and plain numbers, as strict JSON gives them back; undefined is None."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def evaluate(
    gold: Sequence[str],
    probabilities: NDArray[np.floating[Any]],
    labels: Sequence[str],
    *,
    predicted: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    bins: int = 15,
) -> Evaluation:
    """Accuracy, F1, confusion and calibration of one label a row, each with a 95 % bootstrap interval.

    gold           the right label of each row; "none of these" is a label like any other
    probabilities  of each label, shape (N, L), columns in the order of `labels`
    labels         all that could be given
    predicted      the label given to each row; by default the most probable, the first of equals
    resamples      bootstrap draws of N rows, at least 100
    bins           how many bins of equal mass calibration is measured over

    Macro-F1 is the plain mean over all of `labels`, as in scikit-learn with `zero_division=0`: a
    label with no gold row, or never given, counts as 0 and lowers it.

    ECE, the expected calibration error, is the sum over bins of count / N x |accuracy - mean confidence|.
    It judges the probabilities: confidence is the largest one, and right means that *its* label is
    gold, whatever `predicted` says. Rows of equal confidence share a bin, the one where the middle of
    their ranks falls, so row order changes nothing; ties make bins uneven. **ECE is biased upward**:
    noise within a bin never cancels. A perfectly calibrated model reads about 0.06 on 400 rows
    and 0.01 on 10,000.

    Intervals are percentiles of the resamples, each of which measures all anew, its bins too. For ECE
    a resample adds the upward bias once more, so its percentiles are reflected about the value (the
    "basic" bootstrap), not below 0, and stretched to hold the value. In simulation, with 15 bins on
    200 to 10,000 rows, percentiles held the true ECE in 0 to 52 % of samples, reflected ones in 40
    to 88 %: better, and still not 95 %. The intervals of a label are too narrow below some 30 rows
    of support, and have no width where all its rows agree.

    Raises TextError when there is no row, or a gold label is not one of `labels`;
    SettingError when the arguments do not fit together.

    >>> found = evaluate(["a", "b", "b", "a"], np.array([[.9, .1], [.9, .1], [.4, .6], [.6, .4]]), ["a", "b"])
    >>> found.accuracy.value, found.confusion, round(found.ece.value, 3)
    (0.75, ((2, 0), (1, 1)), 0.4)
    """
    from sklearn import metrics  # here, because it takes a second to import

    if not gold:
        raise TextError("there are no rows to evaluate; give at least one text with its gold label")
    column = _columns(labels)
    gold_N = np.array([_place(label, row, column) for row, label in enumerate(gold, start=1)])
    _check(probabilities, rows=len(gold), labels=len(labels))
    if resamples < 100 or bins < 1 or seed < 0:
        raise SettingError(
            f"resamples={resamples}, bins={bins}, seed={seed}: an interval needs at least 100 resamples, "
            "calibration at least 1 bin, and a seed is not negative"
        )
    top_N = probabilities.argmax(axis=1)
    given_N = top_N if predicted is None else _given(predicted, column, rows=len(gold))
    right_N, confidence_N = top_N == gold_N, probabilities.max(axis=1).astype(np.float64)
    order_N = np.lexsort((given_N, gold_N, right_N, confidence_N))  # so row order cannot reach the dice
    rows = _Rows(gold_N[order_N], given_N[order_N], confidence_N[order_N], right_N[order_N], bins)

    every = np.arange(len(labels))
    confusion_LL: Integers = metrics.confusion_matrix(rows.gold_N, rows.given_N, labels=every)
    by_class = metrics.precision_recall_fscore_support(
        rows.gold_N, rows.given_N, labels=every, zero_division=np.nan
    )[:3]
    macro_f1 = metrics.f1_score(rows.gold_N, rows.given_N, labels=every, average="macro", zero_division=0)
    drawn = _resample(rows, len(labels), resamples, seed)

    def class_row(place: int) -> ClassRow:
        precision, recall, f1 = (
            None if np.isnan(values_L[place]) else _interval(values_L[place], drawn_RL[:, place])
            for values_L, drawn_RL in zip(by_class, drawn.by_class, strict=True)
        )
        return ClassRow(
            label=labels[place],
            precision=precision,
            recall=recall,
            f1=f1,
            support=int(confusion_LL[place].sum()),
            predicted=int(confusion_LL[:, place].sum()),
        )

    return Evaluation(
        rows=len(gold),
        resamples=resamples,
        seed=seed,
        accuracy=_interval(metrics.accuracy_score(rows.gold_N, rows.given_N), drawn.accuracy),
        macro_f1=_interval(macro_f1, drawn.macro_f1),
        ece=_reflected(rows.ece(np.ones(rows.count)), drawn.ece),
        classes=tuple(map(class_row, range(len(labels)))),
        confusion=tuple(map(tuple, confusion_LL.tolist())),
        labels=tuple(labels),
        reliability=rows.reliability(resamples, seed),
    )


def _columns(labels: Sequence[str]) -> dict[str, int]:
    """Which column of the probabilities belongs to each label."""
    column = {label: place for place, label in enumerate(labels)}
    if len(column) < len(labels):
        twice = next(label for place, label in enumerate(labels) if column[label] != place)
        raise SettingError(f"labels repeat {twice!r}; give each label once")
    if len(column) < 2:
        raise SettingError(f"with {len(column)} labels there is nothing to choose between; give two or more")
    return column


def _place(label: str, row: int, column: dict[str, int]) -> int:
    """The column of a gold label; `row` counts from 1."""
    if label not in column:
        raise TextError(
            f"row {row}: gold label {label!r} is not one of the {len(column)} labels"
            f"{nearest(str(label), column)}. Mend the row, or add the label."
        )
    return column[label]


def _given(predicted: Sequence[str], column: dict[str, int], *, rows: int) -> Integers:
    """The columns of the labels a caller chose."""
    if len(predicted) != rows:
        raise SettingError(f"{len(predicted)} predicted labels for {rows} gold labels; give one for each")
    strange = next((label for label in predicted if label not in column), None)
    if strange is not None:
        raise SettingError(f"predicted label {strange!r} is not one of labels{nearest(str(strange), column)}")
    return np.array([column[label] for label in predicted])


def _check(probabilities: NDArray[np.floating[Any]], *, rows: int, labels: int) -> None:
    """Refuses what cannot be the probabilities of these rows and labels."""
    if probabilities.shape != (rows, labels):
        raise SettingError(
            f"probabilities have shape {probabilities.shape}, but {rows} rows and {labels} labels "
            f"need {(rows, labels)}"
        )
    fine_N = ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all(axis=1)  # a softmax may round past 1
    if not fine_N.all():
        raise SettingError(
            f"row {int(fine_N.argmin()) + 1} of the probabilities is not between 0 and 1: "
            f"{probabilities[fine_N.argmin()].tolist()[:5]}. Pass probabilities, not scores."
        )


def _interval(value: float, drawn_R: Floats) -> Interval:
    """The value with the percentiles of its resamples; those in which it is undefined are passed over."""
    low, high = np.nanquantile(drawn_R, TAILS)
    return Interval(float(value), float(low), float(high))


def _reflected(value: float, drawn_R: Floats) -> Interval:
    """The same for a value that only errs upward and is never below 0: see `evaluate` on ECE."""
    high, low = 2 * value - np.quantile(drawn_R, TAILS)
    return Interval(value, min(value, max(0.0, float(low))), max(value, float(high)))


class _Rows:
    """All rows, from the least confident to the most, so that a bin is a slice."""

    def __init__(
        self,
        gold_N: Integers,
        given_N: Integers,
        confidence_N: Floats,
        right_N: NDArray[np.bool_],
        bins: int,
    ) -> None:
        self.gold_N, self.given_N, self.confidence_N, self.right_N = gold_N, given_N, confidence_N, right_N
        self.count = len(gold_N)
        self.gap_N = right_N - confidence_N
        starts_U = np.unique(confidence_N, return_index=True)[1]
        self.bounds = np.append(starts_U, self.count)  # rows of equal confidence lie between two of these
        # where bins meet, in doubled ranks so that the middle of an even group is whole; -(-a // b) rounds up
        self.cuts = -(-2 * self.count * np.arange(bins + 1) // bins)

    def edges(self, drawn_N: Floats) -> Integers:
        """The rows at which bins begin and end, when each row is there so many times."""
        upto_N = np.cumsum(drawn_N)
        upto_U = upto_N[self.bounds[1:] - 1]
        middle_U = upto_U.copy()  # doubled: the rows before this confidence, and those up to its last
        middle_U[1:] += upto_U[:-1]
        edges: Integers = self.bounds[np.searchsorted(middle_U, self.cuts)]
        return edges

    def ece(self, drawn_N: Floats) -> float:
        """ECE when each row is there so many times."""
        # count / N x |accuracy - confidence| is |sum of right - confidence| / N, bin by bin
        gap_upto = np.concatenate(([0.0], np.cumsum(drawn_N * self.gap_N)))
        return float(np.abs(np.diff(gap_upto[self.edges(drawn_N)])).sum() / self.count)

    def reliability(self, resamples: int, seed: int) -> tuple[Bin, ...]:
        """The bins, empty ones left out; a resample of a bin's accuracy is one binomial draw."""
        chance, found = np.random.default_rng(seed), []
        for start, end in pairwise(self.edges(np.ones(self.count))):
            if start == end:
                continue
            accuracy = float(self.right_N[start:end].mean())
            drawn_R = chance.binomial(end - start, accuracy, size=resamples) / (end - start)
            confidence = float(self.confidence_N[start:end].mean())
            found.append(Bin(confidence=confidence, accuracy=_interval(accuracy, drawn_R), count=int(end - start)))
        return tuple(found)


@dataclass(frozen=True)
class _Drawn:
    """Each measure in each resample, shape (R); NaN where a resample leaves it undefined."""

    accuracy: Floats
    macro_f1: Floats
    ece: Floats
    by_class: tuple[Floats, Floats, Floats]
    """Precision, recall and F1, each (R, L)."""


def _resample(rows: _Rows, labels: int, resamples: int, seed: int) -> _Drawn:
    """Draws N rows with replacement, `resamples` times, and measures all anew; memory stays O(N + R L)."""
    chance = np.random.default_rng(seed)
    hit_N = (rows.gold_N == rows.given_N).astype(np.float64)
    ece_R = np.empty(resamples)
    hits_RL, support_RL, given_RL = np.empty((3, resamples, labels))
    for draw in range(resamples):
        chosen_N = chance.integers(rows.count, size=rows.count)
        drawn_N = np.bincount(chosen_N, minlength=rows.count).astype(np.float64)
        ece_R[draw] = rows.ece(drawn_N)
        hits_RL[draw] = np.bincount(rows.gold_N, weights=drawn_N * hit_N, minlength=labels)
        support_RL[draw] = np.bincount(rows.gold_N, weights=drawn_N, minlength=labels)
        given_RL[draw] = np.bincount(rows.given_N, weights=drawn_N, minlength=labels)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: undefined in this resample
        f1_RL = 2 * hits_RL / (support_RL + given_RL)
        return _Drawn(
            accuracy=hits_RL.sum(axis=1) / rows.count,
            macro_f1=np.nan_to_num(f1_RL).mean(axis=1),
            ece=ece_R,
            by_class=(hits_RL / given_RL, hits_RL / support_RL, f1_RL),
        )


def table(evaluation: Evaluation) -> "RenderableType":
    """The evaluation for a terminal of 80 columns or more.

    The headline with its sample size, a line for each label, and the confusion matrix; with more
    than 12 labels the ten commonest confusions stand in for the matrix.
    """
    from rich.console import Group
    from rich.text import Text

    headline = Text()
    for name, interval in (
        ("accuracy", evaluation.accuracy),
        ("macro-F1", evaluation.macro_f1),
        ("ECE", evaluation.ece),
    ):
        headline.append(f"{name:<9}", style="bold").append(f"{interval}\n")
    headline.append(
        f"{evaluation.rows:,} rows, {len(evaluation.labels)} labels; "
        f"95 % intervals from {evaluation.resamples:,} resamples",
        style="dim",
    )
    confused = _matrix(evaluation) if len(evaluation.labels) <= 12 else _commonest(evaluation)
    return Group(headline, Text(), _class_table(evaluation), Text(), confused)


def _class_table(evaluation: Evaluation) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    drawn.add_column("label", min_width=12)  # wraps, so that the numbers need not
    for heading in ("precision", "recall", "F1 [95 %]", "support", "predicted"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for row in evaluation.classes:
        drawn.add_row(
            Text(row.label),  # as Text, because a label in [brackets] is not markup
            f"{row.precision.value:.3f}" if row.precision else "–",
            f"{row.recall.value:.3f}" if row.recall else "–",
            str(row.f1) if row.f1 else "–",
            f"{row.support:,}",
            f"{row.predicted:,}",
        )
    return drawn


def _matrix(evaluation: Evaluation) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    drawn.add_column("gold", min_width=12)
    for number, _ in enumerate(evaluation.labels, start=1):
        drawn.add_column(str(number), justify="right", no_wrap=True)
    for place, (label, counts) in enumerate(zip(evaluation.labels, evaluation.confusion, strict=True)):
        cells = [
            Text(str(count) if count else "·", style="bold" if place == column else "" if count else "dim")
            for column, count in enumerate(counts)
        ]
        drawn.add_row(Text(f"{place + 1:>2} {label}"), *cells)
    return Group(Text("Rows by gold label, and by the number of the label predicted", style="bold"), drawn)


def _commonest(evaluation: Evaluation) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    wrong = sorted(
        (-count, gold, given)
        for gold, counts in enumerate(evaluation.confusion)
        for given, count in enumerate(counts)
        if count and gold != given
    )
    if not wrong:
        return Text("No row was given a wrong label.")
    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("gold", "predicted"):
        drawn.add_column(heading, min_width=12)
    drawn.add_column("rows", justify="right", no_wrap=True)
    drawn.add_column("of gold", justify="right", no_wrap=True)
    for count, gold, given in wrong[:10]:
        support = evaluation.classes[gold].support
        drawn.add_row(
            Text(evaluation.labels[gold]),
            Text(evaluation.labels[given]),
            f"{-count:,}",
            f"{-count / support:.0%}",
        )
    title = f"The {min(10, len(wrong))} commonest of {len(wrong):,} confusions"
    return Group(Text(title, style="bold"), drawn)
