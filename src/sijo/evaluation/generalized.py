"""Generalised zero-shot learning measured: texts of classes with labelled texts, and without, told from each other.

Classes with labelled texts, the seen ones, win too often. Calibrated stacking takes γ from their scores; as γ
grows, the accuracy of seen classes falls and that of unseen ones rises. What is measured is both at one γ, their
harmonic mean H, and the area under the whole curve, which no choice of γ can flatter.

Letters: N rows, L classes, C points of the curve.
Sources: Chao et al. 2016 (arXiv:1605.04253), sections 3 and 4, for calibrated stacking and the area (AUSUC); Xian
et al. 2017 (arXiv:1707.00600), section 4, for accuracies averaged over classes and H.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, TextError
from sijo.evaluation.intervals import Floats, Integers, Interval, resampled
from sijo.evaluation.zero_shot import check_resamples

Booleans = NDArray[np.bool_]
CURVE_POINTS = 200
"""Of the curve that is kept, at most."""


def harmonic_mean(one: float, other: float) -> float:
    """2ab / (a + b); 0 where either is.

    >>> round(harmonic_mean(23.8, 53.0), 2), harmonic_mean(0.0, 1.0)
    (32.85, 0.0)
    """
    return 2 * one * other / (one + other) if one > 0 and other > 0 else 0.0


class StackingRows:
    """Rows by the γ at which each turns from the best seen class to the best unseen one.

    gold_N     the number of each row's class
    scores_NL  of every class
    seen_L     True at the classes with labelled texts

    Raises TextError where no row is of a seen class, or none of an unseen one.
    """

    def __init__(self, gold_N: Integers, scores_NL: Floats, seen_L: Booleans) -> None:
        is_seen_N = seen_L[gold_N]
        if is_seen_N.all() or not is_seen_N.any():
            raise TextError(
                f"every row is of {'a seen' if is_seen_N.all() else 'an unseen'} class, and what is measured is "
                "how both are told apart; give rows of both kinds"
            )
        seen, unseen = np.flatnonzero(seen_L), np.flatnonzero(~seen_L)
        best_N = seen[scores_NL[:, seen].argmax(1)], unseen[scores_NL[:, unseen].argmax(1)]
        rows = np.arange(len(gold_N))
        margins_N = scores_NL[rows, best_N[0]] - scores_NL[rows, best_N[1]]
        own_N = np.where(is_seen_N, best_N[0], best_N[1]) == gold_N
        # equals are sorted by all that is known of them, so that row order cannot reach the resamples
        order = np.lexsort((own_N, gold_N, margins_N))
        self.margins_N, self.gold_N = margins_N[order], gold_N[order]
        self.is_seen_N, self.right_N = is_seen_N[order], own_N[order]
        self.last_N = np.flatnonzero(np.append(self.margins_N[1:] != self.margins_N[:-1], True))
        """The last row of each margin: where γ may stand."""

    def curve(self, counts_N: Integers) -> tuple[Floats, Floats]:
        """Accuracy of seen and of unseen classes, (C,) each, before the first margin and behind each.

        counts_N  how often each row is drawn, in this order
        """
        of_class_L = np.bincount(self.gold_N, counts_N)
        shares_N = counts_N * self.right_N / np.maximum(of_class_L, 1)[self.gold_N]
        drawn_L = of_class_L > 0
        is_seen_L = np.zeros(len(of_class_L), bool)
        is_seen_L[self.gold_N[self.is_seen_N]] = True
        lost = np.cumsum(np.where(self.is_seen_N, shares_N, 0))
        won = np.cumsum(np.where(self.is_seen_N, 0, shares_N))
        seen, unseen = (drawn_L & is_seen_L).sum(), (drawn_L & ~is_seen_L).sum()
        seen_C = np.append(lost[-1], lost[-1] - lost[self.last_N]) / max(seen, 1)
        unseen_C = np.append(0.0, won[self.last_N]) / max(unseen, 1)
        return np.maximum(seen_C, 0), unseen_C

    def place(self, gamma: float) -> int:
        """The point of the curve that γ falls on; a row whose margin is γ stays with its seen class."""
        return int(np.searchsorted(self.margins_N[self.last_N], gamma, side="left"))

    def best_gamma(self) -> float:
        """The γ of the greatest H: in the middle between two margins, of equals the one nearest to 0."""
        seen_C, unseen_C = self.curve(np.ones(len(self.gold_N), np.int64))
        means = np.array([harmonic_mean(*pair) for pair in zip(seen_C, unseen_C, strict=True)])
        margins = self.margins_N[self.last_N]
        edges = np.concatenate([[margins[0] - 1], margins, [margins[-1] + 1]])
        middles = (edges[1:] + edges[:-1]) / 2
        places = np.flatnonzero(means >= means.max() - 1e-12)
        return float(middles[places[np.abs(middles[places]).argmin()]])


def area(seen_C: Floats, unseen_C: Floats) -> float:
    """The area under the accuracy of seen classes as a function of that of unseen ones, from 0 to 1."""
    return float((np.diff(unseen_C) * (seen_C[1:] + seen_C[:-1]) / 2).sum())


@dataclass(frozen=True, kw_only=True)
class GeneralizedEvaluation:
    """How well seen and unseen classes are told apart, each figure with its 95 % interval."""

    rows: int
    seen_classes: int
    unseen_classes: int
    gamma: float
    """What is taken from the scores of seen classes."""
    seen: Interval
    """Accuracy of rows of seen classes among all classes, averaged over these."""
    unseen: Interval
    harmonic_mean: Interval
    ausuc: Interval
    best_harmonic_mean: float
    """At the γ that suits these rows best, which nobody knows beforehand."""
    curve: tuple[tuple[float, float], ...]
    """Accuracy of unseen and of seen classes, as γ grows."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": self.rows,
            "seen_classes": self.seen_classes,
            "unseen_classes": self.unseen_classes,
            "gamma": self.gamma,
            **{name: getattr(self, name).to_dict() for name in ("seen", "unseen", "harmonic_mean", "ausuc")},
            "best_harmonic_mean": self.best_harmonic_mean,
            "curve": [list(point) for point in self.curve],
        }


def evaluate_generalized(
    gold: Sequence[int] | Integers,
    scores: Floats,
    seen: Sequence[bool] | Booleans,
    *,
    gamma: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
) -> GeneralizedEvaluation:
    """Accuracies of seen and unseen classes at γ, H, and AUSUC, over rows of both kinds.

    gold    (N,) the number of each row's class
    scores  (N, L) of every class; any scale
    seen    (L,) whether a class had labelled texts
    gamma   taken from the scores of seen classes before the greatest wins; of equals the seen class wins

    Intervals are percentiles of the bootstrap over rows; classes are taken as they are. Raises SettingError and
    TextError as `StackingRows` does, and SettingError for shapes that do not fit or scores that are not finite.

    >>> scores = np.array([[.6, .1, .3], [.2, .5, .4], [.5, .2, .45], [.7, .1, .5]])
    >>> made = evaluate_generalized([0, 1, 2, 2], scores, [True, True, False], gamma=0.07)
    >>> made.seen.value, made.unseen.value, round(made.harmonic_mean.value, 6), made.ausuc.value
    (1.0, 0.5, 0.666667, 0.75)
    """
    check_resamples(resamples, seed)
    gold_N, scores_NL, seen_L = np.asarray(gold, np.int64), np.asarray(scores, np.float64), np.asarray(seen, bool)
    if scores_NL.shape != (len(gold_N), len(seen_L)) or not len(gold_N):
        raise SettingError(
            f"scores have shape {scores_NL.shape}, but {len(gold_N)} rows and {len(seen_L)} classes need "
            f"{(len(gold_N), len(seen_L))}, with one row or more"
        )
    if not np.isfinite(scores_NL).all() or np.isnan(gamma):
        raise SettingError("scores and gamma must be finite numbers, so that classes can be compared")
    if not ((gold_N >= 0) & (gold_N < len(seen_L))).all():
        raise SettingError(f"gold holds a class that is none of the {len(seen_L)}; number them from 0")
    rows = StackingRows(gold_N, scores_NL, seen_L)
    place = rows.place(gamma)

    def measures(chosen_N: Integers) -> list[float]:
        seen_C, unseen_C = rows.curve(np.bincount(chosen_N, minlength=len(gold_N)))
        at = float(seen_C[place]), float(unseen_C[place])
        return [*at, harmonic_mean(*at), area(seen_C, unseen_C)]

    every = np.arange(len(gold_N))
    drawn_RM = resampled(measures, len(gold_N), resamples=resamples, seed=seed)
    figures = [Interval.of(value, drawn_R) for value, drawn_R in zip(measures(every), drawn_RM.T, strict=True)]
    seen_C, unseen_C = rows.curve(np.ones(len(gold_N), np.int64))
    kept = np.unique(np.linspace(0, len(seen_C) - 1, min(CURVE_POINTS, len(seen_C))).round().astype(int))
    return GeneralizedEvaluation(
        rows=len(gold_N),
        seen_classes=int(seen_L.sum()),
        unseen_classes=int((~seen_L).sum()),
        gamma=float(gamma),
        seen=figures[0],
        unseen=figures[1],
        harmonic_mean=figures[2],
        ausuc=figures[3],
        best_harmonic_mean=max(harmonic_mean(*pair) for pair in zip(seen_C, unseen_C, strict=True)),
        curve=tuple((float(unseen_C[point]), float(seen_C[point])) for point in kept),
    )
