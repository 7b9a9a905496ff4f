"""How well texts were labelled, and how sure one may be of it.

`evaluate` takes the gold labels and the probabilities, from any classifier, and measures what was
right (accuracy, F1, confusion) and whether the probabilities can be believed (`confidence.py`).
`tables.py` shows it in a terminal; `plots.py` draws it. Nothing here has heard of a model.

Letters: N rows, L labels, R resamples.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, TextError, nearest
from sijo.evaluation.confidence import ConfidenceBins, RankedRows, none_score, reflected, rows_at
from sijo.evaluation.intervals import Floats, Integers, Interval, resampled
from sijo.evaluation.metrics import MACRO_F1_OVER, class_scores, confusion, macro_f1
from sijo.names import apart, folded, name_of

MOST_RESAMPLES = 100_000
"""Of which all are kept at once."""
COVERAGES = (0.8, 0.9)
"""Shares of the rows, the most confident ones, whose accuracy is told."""
RECALL = 0.95
"""Share of the rows that no label fits at which false alarms are counted."""
CURVE_POINTS = 50
"""Of the risk-coverage curve."""


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
class RiskCoverage:
    """What is gained by answering only where the largest probability is high."""

    aurc: Interval
    """Area under the curve: the mean, over all numbers of rows, of the errors among so many most confident."""
    accuracy_at_80: Interval
    """Accuracy of the most confident 80 % of the rows."""
    accuracy_at_90: Interval
    """Accuracy of the most confident 90 %."""
    curve: tuple[tuple[float, float], ...]
    """Share of the rows that are answered, and share of errors among them."""


@dataclass(frozen=True, kw_only=True)
class NoneDetection:
    """How well texts that no label fits are told from the others, by `none_score`."""

    rows: int
    """Rows whose gold label is the none label."""
    auroc: Interval
    """How often such a row has the higher score than another one."""
    fpr_at_95_recall: Interval
    """Share of the other rows that are given up where 95 % of such rows are found."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything `evaluate` measured; the same object for the terminal, the plot and the report."""

    rows: int
    resamples: int
    seed: int
    confidence_level: float = 0.95
    accuracy: Interval
    macro_f1: Interval
    macro_f1_over: str = MACRO_F1_OVER
    """Which labels macro-F1 is the mean of."""
    ece: Interval
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Counts of rows, [gold][predicted], in the order of `labels`."""
    labels: tuple[str, ...]
    reliability: tuple[Bin, ...]
    """From the least to the most confident; bins that ties left empty are not listed."""
    risk_coverage: RiskCoverage
    none: NoneDetection | None
    """None where no label stands for none of these, or all rows, or no row, are of it."""

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
    none_label: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    bins: int = 15,
) -> Evaluation:
    """Accuracy, F1, confusion, calibration and risk of one label a row, each with a 95 % bootstrap interval.

    gold           the right label of each row, in any spelling of it; "none of these" is a label like any other
    probabilities  of each label, shape (N, L), columns in the order of `labels`
    labels         all that could be given
    predicted      the label given to each row; by default the most probable, the first of equals
    none_label     the one of them that means none of the others
    resamples      bootstrap draws of N rows, at least 100
    bins           how many bins of equal mass calibration is measured over

    Macro-F1 is the plain mean over the labels that are gold or predicted, scikit-learn's default: a label
    that is one but never the other counts as 0 and lowers it; one that is neither does not count.

    ECE (`ConfidenceBins`) and the risk-coverage curve judge the probabilities: confidence is the largest one, and
    right means that *its* label is gold, whatever `predicted` says. **ECE is biased upward**: noise within a bin
    never cancels. A perfectly calibrated model reads about 0.06 on 400 rows and 0.01 on 10,000.

    Intervals are percentiles of the resamples, each of which measures all anew, its bins too. For ECE
    a resample adds the upward bias once more, so its percentiles are reflected about the value (the
    "basic" bootstrap), not below 0, and stretched to hold the value. In simulation, with 15 bins on
    200 to 10,000 rows, percentiles held the true ECE in 0 to 52 % of samples, reflected ones in 40
    to 88 %: better, and still not 95 %. The intervals of a label are too narrow below some 30 rows
    of support, and have no width where all its rows agree.

    Raises TextError when there is no row, or a gold label is not one of `labels`;
    SettingError when the arguments do not fit together.

    >>> measured = evaluate(["a", "b", "b", "a"], np.array([[.9, .1], [.9, .1], [.4, .6], [.6, .4]]), ["a", "b"])
    >>> measured.accuracy.value, measured.confusion, round(measured.ece.value, 3)
    (0.75, ((2, 0), (1, 1)), 0.4)
    """
    if not gold:
        raise TextError("there are no rows to evaluate; give at least one text with its gold label")
    columns = label_columns(labels)
    gold_N = np.array([gold_column(label, row, columns, labels) for row, label in enumerate(gold, start=1)])
    check_probabilities(probabilities, rows=len(gold), labels=len(labels))
    check_resamples(resamples, seed)
    if not 1 <= bins <= MOST_RESAMPLES:
        raise SettingError(f"bins={bins}: calibration is measured over at least 1 bin, such as 15")
    predicted_N = None if predicted is None else _predicted_columns(predicted, columns, labels, rows=len(gold))
    none = None if none_label is None else _predicted_columns([none_label], columns, labels, rows=1).item()
    rows = _Rows(gold_N, predicted_N, probabilities, bins=bins, none=none)
    measured = rows.measures(np.arange(len(gold)))
    drawn_RM = resampled(rows.measures, len(gold), resamples=resamples, seed=seed)
    accuracy, f1, ece, *others = map(Interval.of, measured.tolist(), drawn_RM.T)
    confusion_LL = confusion(rows.gold_N, rows.predicted_N, len(labels)).astype(int)
    return Evaluation(
        rows=len(gold),
        resamples=resamples,
        seed=seed,
        accuracy=accuracy,
        macro_f1=f1,
        ece=reflected(ece),
        risk_coverage=rows.risk_coverage(*others[:3]),
        none=rows.none_detection(*others[3:5]),
        classes=_class_rows(labels, confusion_LL, others[5:]),
        confusion=tuple(map(tuple, confusion_LL.tolist())),
        labels=tuple(labels),
        reliability=rows.reliability(resamples, seed),
    )


def check_resamples(resamples: int, seed: int) -> None:
    """Raise SettingError for what no interval can be made of, before there are rows to make it of."""
    if not 100 <= resamples <= MOST_RESAMPLES or seed < 0:
        raise SettingError(
            f"resamples={resamples}, seed={seed}: an interval needs at least 100 resamples, and up to "
            f"{MOST_RESAMPLES:,}; a seed is not negative"
        )


def label_columns(labels: Sequence[str], *, fewest: int = 2) -> dict[str, int]:
    """Which column of the probabilities belongs to each label, by what its spellings share.

    Raises SettingError for fewer labels than `fewest`, and for two that are one.
    """
    columns: dict[str, int] = {}
    for place, label in enumerate(labels):
        first = columns.setdefault(folded(label), place)
        if first != place:
            one, other = apart(label, labels[first])
            raise SettingError(f"labels repeat {one} (the other is {other}); give each label once")
    if len(columns) < fewest:
        raise SettingError(f"with {len(columns)} labels there is nothing to choose between; give two or more")
    return columns


def gold_column(label: str, row: int, columns: dict[str, int], labels: Sequence[str]) -> int:
    """The column of a gold label; `row` counts from 1. Raises TextError for one that is none of the labels."""
    if (column := columns.get(folded(name_of(label) or ""))) is None:
        raise TextError(
            f"row {row}: gold label {label!r} is not one of the {len(columns)} labels"
            f"{nearest(str(label), labels)}. Mend the row, or add the label."
        )
    return column


def _predicted_columns(
    predicted: Sequence[str], columns: dict[str, int], labels: Sequence[str], *, rows: int
) -> Integers:
    """The columns of the labels a caller chose."""
    if len(predicted) != rows:
        raise SettingError(f"{len(predicted)} predicted labels for {rows} gold labels; give one for each")
    names = [folded(name_of(label) or "") for label in predicted]
    unknown = next((label for label, name in zip(predicted, names, strict=True) if name not in columns), None)
    if unknown is not None:
        raise SettingError(f"predicted label {unknown!r} is not one of labels{nearest(str(unknown), labels)}")
    return np.array([columns[name] for name in names])


def check_probabilities(probabilities: NDArray[np.floating[Any]], *, rows: int, labels: int) -> None:
    """Raise SettingError for what cannot be the probabilities of these rows and labels."""
    if probabilities.shape != (rows, labels):
        raise SettingError(
            f"probabilities have shape {probabilities.shape}, but {rows} rows and {labels} labels "
            f"need {(rows, labels)}"
        )
    valid_N = ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all(axis=1)  # a softmax may round past 1
    if not valid_N.all():
        raise SettingError(
            f"row {int(valid_N.argmin()) + 1} of the probabilities is not between 0 and 1: "
            f"{probabilities[valid_N.argmin()].tolist()[:5]}. Pass probabilities, not scores."
        )


def _class_rows(labels: Sequence[str], confusion_LL: Integers, scores: Sequence[Interval]) -> tuple[ClassRow, ...]:
    """A row for each label; `scores` are the precision, recall and F1 of one label after another."""
    defined = iter([None if np.isnan(score.value) else score for score in scores])  # each row takes three
    counts = confusion_LL.sum(1).tolist(), confusion_LL.sum(0).tolist()
    return tuple(
        ClassRow(label=label, precision=precision, recall=recall, f1=f1, support=support, predicted=predicted)
        for label, precision, recall, f1, support, predicted in zip(
            labels, defined, defined, defined, *counts, strict=True
        )
    )


class _Rows:
    """All rows, from the least confident to the most, with what is measured of any of them drawn again."""

    def __init__(
        self,
        gold_N: Integers,
        predicted_N: Integers | None,
        probabilities_NL: NDArray[Any],
        *,
        bins: int,
        none: int | None,
    ) -> None:
        top_N, confidence_N = probabilities_NL.argmax(1), probabilities_NL.max(1).astype(np.float64)
        none_N = np.zeros(len(gold_N)) if none is None else none_score(probabilities_NL, none)
        # equals are sorted by all that is known of them, so that row order cannot reach the resamples
        chosen_N = top_N if predicted_N is None else predicted_N
        order_N = np.lexsort((none_N, chosen_N, gold_N, top_N == gold_N, confidence_N))
        self.predicted_N, self.gold_N = chosen_N[order_N], gold_N[order_N]
        right_N = (top_N == gold_N)[order_N]
        none_N, confidence_N = none_N[order_N], confidence_N[order_N]
        self.count, self.labels = len(gold_N), probabilities_NL.shape[1]
        self.bins = ConfidenceBins(confidence_N, right_N, bins)
        self.ranked = RankedRows(confidence_N, ~right_N)
        is_none_N = self.gold_N == none if none is not None else np.zeros(self.count, bool)
        self.none_rows = int(is_none_N.sum())
        self.none = RankedRows(none_N, is_none_N) if 0 < self.none_rows < self.count else None

    def measures(self, chosen_N: Integers) -> Floats:
        """Accuracy, macro-F1, ECE, risks, none detection, and then precision, recall and F1 of each label, of the
        rows with these numbers."""
        counts_N = np.bincount(chosen_N, minlength=self.count)
        confusion_LL = confusion(self.gold_N[chosen_N], self.predicted_N[chosen_N], self.labels)
        risks_N = self.ranked.risks(counts_N)
        summary = [np.trace(confusion_LL) / self.count, macro_f1(confusion_LL), self.bins.ece(counts_N)]
        summary += [risks_N.mean(), *(1 - risks_N[rows_at(coverage, self.count) - 1] for coverage in COVERAGES)]
        summary += (
            [np.nan] * 2
            if self.none is None
            else [self.none.auroc(counts_N), self.none.false_positive_rate(counts_N, RECALL)]
        )
        return np.concatenate([summary, class_scores(confusion_LL).T.ravel()])

    def risk_coverage(self, aurc: Interval, *accuracies: Interval) -> RiskCoverage:
        """The curve of all rows, beside what was measured of it."""
        risks_N = self.ranked.risks(np.ones(self.count, np.int64))
        shown = sorted({rows_at(point / CURVE_POINTS, self.count) for point in range(1, CURVE_POINTS + 1)})
        curve = tuple((count / self.count, float(risks_N[count - 1])) for count in shown)
        return RiskCoverage(aurc=aurc, accuracy_at_80=accuracies[0], accuracy_at_90=accuracies[1], curve=curve)

    def none_detection(self, auroc: Interval, false_alarms: Interval) -> NoneDetection | None:
        """What was measured of it, where there is anything to tell apart."""
        if self.none is None:
            return None
        return NoneDetection(rows=self.none_rows, auroc=auroc, fpr_at_95_recall=false_alarms)

    def reliability(self, resamples: int, seed: int) -> tuple[Bin, ...]:
        """The bins, empty ones left out; a resample of a bin's accuracy is one binomial draw."""
        random, bins = np.random.default_rng(seed), []
        for start, end in pairwise(self.bins.edges(np.ones(self.count, dtype=np.int64))):
            if start == end:
                continue
            accuracy = float(self.bins.right_N[start:end].mean())
            drawn_R = random.binomial(end - start, accuracy, size=resamples) / (end - start)
            confidence = float(self.bins.confidence_N[start:end].mean())
            bins.append(Bin(confidence=confidence, accuracy=Interval.of(accuracy, drawn_R), count=int(end - start)))
        return tuple(bins)
