"""How well texts were given several labels each, or none, and how sure one may be of it.

Each label is judged by itself: its probability is held against a threshold, and calibration is measured label by
label. Nothing here has heard of a model.

Letters: N rows, L labels, R resamples.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, TextError
from sijo.evaluation.confidence import ConfidenceBins, reflected
from sijo.evaluation.intervals import Floats, Integers, Interval, resampled
from sijo.evaluation.metrics import MACRO_F1_OVER
from sijo.evaluation.zero_shot import ClassRow, check_probabilities, check_resamples, gold_column, label_columns

LRAP_CELLS = 4_000_000
"""Of comparisons between labels of a row that are held at a time."""


@dataclass(frozen=True, kw_only=True)
class LabelRow(ClassRow):
    """How one label fared, judged by itself."""

    ece: Interval
    """Expected calibration error of its probability."""
    brier: Interval
    """Mean squared difference between its probability and 1 where it is right, 0 where it is not."""


@dataclass(frozen=True, kw_only=True)
class MultiLabelEvaluation:
    """Everything `evaluate_multi_label` measured."""

    rows: int
    resamples: int
    seed: int
    threshold: float
    """The probability from which a label is given."""
    confidence_level: float = 0.95
    micro_f1: Interval
    """F1 over all pairs of a row and a label."""
    macro_f1: Interval
    """The mean F1 of the labels."""
    macro_f1_over: str = MACRO_F1_OVER
    """Which labels macro-F1 is the mean of."""
    subset_accuracy: Interval
    """Share of the rows whose labels are all right and complete."""
    lrap: Interval
    """Label ranking average precision: see `ranking_precision`."""
    ece: Interval
    """The mean over labels."""
    brier: Interval
    """The mean over labels."""
    classes: tuple[LabelRow, ...]
    labels: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same in dicts, lists and plain numbers, as strict JSON gives them back; undefined is None."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def evaluate_multi_label(
    gold: Sequence[Collection[str]],
    probabilities: NDArray[np.floating[Any]],
    labels: Sequence[str],
    *,
    threshold: float = 0.5,
    predicted: NDArray[np.bool_] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    bins: int = 15,
) -> MultiLabelEvaluation:
    """F1, exactness, ranking and calibration of several labels a row, each with a 95 % bootstrap interval.

    gold           the right labels of each row, in any spelling of them; there may be none
    probabilities  of each label by itself, shape (N, L), columns in the order of `labels`
    labels         all that could be given
    threshold      the probability from which a label is given
    predicted      (N, L), whether each was given, where that is not told by the threshold alone
    resamples      bootstrap draws of N rows, at least 100
    bins           how many bins of equal mass calibration is measured over

    Macro-F1 and its labels are those of `evaluate`; ECE and its intervals too, with a label's probability for
    confidence and its being gold for right. Labels that every row has, or none, count in ECE and Brier.

    Raises TextError when there is no row, or a gold label is not one of `labels`; SettingError when the arguments
    do not fit together.

    >>> chances = np.array([[.9, .2], [.6, .1], [.8, .4]])
    >>> measured = evaluate_multi_label([["a"], [], ["a", "b"]], chances, ["a", "b"])
    >>> round(measured.micro_f1.value, 3), round(measured.subset_accuracy.value, 3), measured.lrap.value
    (0.667, 0.333, 1.0)
    """
    if not gold:
        raise TextError("there are no rows to evaluate; give at least one text with its gold labels")
    columns = label_columns(labels, fewest=1)
    gold_NL = np.zeros((len(gold), len(labels)), bool)
    for row, names in enumerate(gold):
        gold_NL[row, [gold_column(name, row + 1, columns, labels) for name in names]] = True
    check_probabilities(probabilities, rows=len(gold), labels=len(labels))
    check_resamples(resamples, seed)
    if not 0 <= threshold <= 1:
        raise SettingError(f"threshold={threshold} is no probability; give a number from 0 to 1")
    predicted_NL = probabilities >= threshold if predicted is None else predicted
    cells = _Cells(gold_NL, predicted_NL, probabilities.astype(np.float64), bins)
    measured = cells.measures(np.arange(len(gold)))
    drawn_RM = resampled(cells.measures, len(gold), resamples=resamples, seed=seed)
    micro, macro, exact, lrap, ece, brier, *by_label = map(Interval.of, measured.tolist(), drawn_RM.T)
    return MultiLabelEvaluation(
        rows=len(gold),
        resamples=resamples,
        seed=seed,
        threshold=threshold,
        micro_f1=micro,
        macro_f1=macro,
        subset_accuracy=exact,
        lrap=lrap,
        ece=reflected(ece),
        brier=brier,
        classes=_label_rows(labels, gold_NL, predicted_NL, by_label),
        labels=tuple(labels),
    )


def ranking_precision(gold_NL: NDArray[np.bool_], scores_NL: NDArray[np.floating[Any]]) -> Floats:
    """Of each row, how much of what is ranked as high as a right label is right itself: (N,), their mean is LRAP.

    For each right label of a row, the share of right ones among all labels that score as high or higher; the mean
    of these. A row without right labels, or where all are right, counts as 1, as in scikit-learn's
    `label_ranking_average_precision_score`.

    >>> ranking_precision(np.array([[True, False, False]]), np.array([[.5, .6, .1]])).tolist()
    [0.5]
    """
    rows, labels = gold_NL.shape
    precision_N = np.ones(rows)
    step = max(1, LRAP_CELLS // labels**2)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        right_NL = gold_NL[part]
        above_NLL = (
            scores_NL[part, None, :] >= scores_NL[part, :, None]
        )  # [row][label][whether this other is as high]
        rank_NL, hits_NL = above_NLL.sum(-1), (above_NLL & right_NL[:, None, :]).sum(-1)
        count_N = right_NL.sum(1)
        some_N = count_N > 0
        share_N = (hits_NL / rank_NL * right_NL).sum(1)
        precision_N[part][some_N] = share_N[some_N] / count_N[some_N]
    return precision_N


class _Cells:
    """All pairs of a row and a label, with what is measured of any rows drawn again."""

    def __init__(
        self, gold_NL: NDArray[np.bool_], predicted_NL: NDArray[np.bool_], probabilities_NL: Floats, bins: int
    ) -> None:
        # equal rows beside each other, so that row order cannot reach the resamples
        order_N = np.lexsort((*gold_NL.T, *predicted_NL.T, *probabilities_NL.T))
        gold_NL, predicted_NL, probabilities_NL = gold_NL[order_N], predicted_NL[order_N], probabilities_NL[order_N]
        self.gold_NL = gold_NL.astype(np.float64)
        self.predicted_NL = predicted_NL.astype(np.float64)
        self.right_NL = (gold_NL & predicted_NL).astype(np.float64)
        self.exact_N = (gold_NL == predicted_NL).all(1).astype(np.float64)
        self.ranking_N = ranking_precision(gold_NL, probabilities_NL)
        self.error_NL = np.square(probabilities_NL - gold_NL)
        self.bins = [
            ConfidenceBins(probability_N, gold_N, bins)
            for probability_N, gold_N in zip(probabilities_NL.T, gold_NL.T, strict=True)
        ]

    def measures(self, chosen_N: Integers) -> Floats:
        """Micro- and macro-F1, exactness, ranking, mean ECE and Brier, and then precision, recall, F1, ECE and
        Brier of each label, of the rows with these numbers."""
        rows = len(self.exact_N)
        counts_N = np.bincount(chosen_N, minlength=rows)
        weights_N = counts_N.astype(np.float64)
        right_L, gold_L, given_L = (weights_N @ t for t in (self.right_NL, self.gold_NL, self.predicted_NL))
        with np.errstate(invalid="ignore"):
            scores_3L = np.array([right_L / given_L, right_L / gold_L, 2 * right_L / (gold_L + given_L)])
        seen_L = gold_L + given_L > 0
        total = (gold_L + given_L).sum()
        ece_L = np.array([bins.ece(counts_N) for bins in self.bins])
        brier_L = weights_N @ self.error_NL / rows
        summary = [
            2 * right_L.sum() / total if total else 0.0,
            scores_3L[2][seen_L].mean() if seen_L.any() else 0.0,
            weights_N @ self.exact_N / rows,
            weights_N @ self.ranking_N / rows,
            ece_L.mean(),
            brier_L.mean(),
        ]
        return np.concatenate([summary, np.vstack([scores_3L, ece_L, brier_L]).T.ravel()])


def _label_rows(
    labels: Sequence[str],
    gold_NL: NDArray[np.bool_],
    predicted_NL: NDArray[np.bool_],
    scores: Sequence[Interval],
) -> tuple[LabelRow, ...]:
    """A row for each label; `scores` are the precision, recall, F1, ECE and Brier of one after another."""
    rows = []
    for place, label in enumerate(labels):
        precision, recall, f1, ece, brier = scores[5 * place : 5 * place + 5]
        shares = [None if np.isnan(share.value) else share for share in (precision, recall, f1)]
        rows.append(
            LabelRow(
                label=label,
                precision=shares[0],
                recall=shares[1],
                f1=shares[2],
                support=int(gold_NL[:, place].sum()),
                predicted=int(predicted_NL[:, place].sum()),
                ece=reflected(ece),
                brier=brier,
            )
        )
    return tuple(rows)
