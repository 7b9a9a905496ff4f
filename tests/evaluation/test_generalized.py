"""Generalised zero-shot learning: a case computed by hand, the curve against plain loops, and what cannot be."""

from itertools import pairwise

import numpy as np
import pytest

from sijo.errors import SettingError, TextError
from sijo.evaluation.generalized import StackingRows, area, evaluate_generalized, harmonic_mean
from sijo.evaluation.plots import plot_generalized

SCORES = np.array([[0.6, 0.1, 0.3], [0.2, 0.5, 0.4], [0.5, 0.2, 0.45], [0.7, 0.1, 0.5]])
GOLD, SEEN = [0, 1, 2, 2], [True, True, False]


@pytest.mark.parametrize(
    ("gamma", "seen", "unseen", "mean"),
    [
        (-9, 1, 0, 0),
        (0, 1, 0, 0),
        (0.07, 1, 0.5, 2 / 3),
        (0.15, 0.5, 0.5, 0.5),
        (0.25, 0.5, 1, 2 / 3),
        (0.31, 0, 1, 0),
        (9, 0, 1, 0),
    ],
)
def test_hand_computed(gamma, seen, unseen, mean):
    # kills: γ added in place of taken, accuracies among the labels of a kind alone, a mean that is not harmonic
    made = evaluate_generalized(GOLD, SCORES, SEEN, gamma=gamma, resamples=100)
    assert (made.seen.value, made.unseen.value) == pytest.approx((seen, unseen))
    assert made.harmonic_mean.value == pytest.approx(mean)
    assert made.ausuc.value == pytest.approx(0.75) and made.best_harmonic_mean == pytest.approx(2 / 3)
    assert made.seen_classes == 2 and made.unseen_classes == 1 and made.rows == 4


def test_harmonic_mean():
    for one, other, want in ((23.8, 53.0, 32.85), (1.7, 67.9, 3.32), (0.2, 72.8, 0.40), (0, 1, 0)):
        assert harmonic_mean(one, other) == pytest.approx(want, abs=0.005) == harmonic_mean(other, one)


def plain(gold, scores, seen, gamma):
    """Both accuracies at γ by plain loops: one text after another, averaged over classes."""
    right = {}
    for own, row in zip(gold, scores, strict=True):
        taken = [score - gamma * is_seen for score, is_seen in zip(row, seen, strict=True)]
        right.setdefault(own, []).append(taken.index(max(taken)) == own)
    means = {own: sum(hits) / len(hits) for own, hits in right.items()}
    kinds = [[mean for own, mean in means.items() if seen[own] == kind] for kind in (True, False)]
    return [sum(kind) / len(kind) for kind in kinds]


def test_the_curve_against_plain_loops():
    # kills: accuracies averaged over rows, a row that turns at another's margin, seen and unseen exchanged
    random = np.random.default_rng(1)
    seen = np.array([True, False, True, True, False])
    gold, scores = random.integers(5, size=60), random.integers(-20, 20, size=(60, 5)) / 8  # with ties
    rows = StackingRows(gold, scores, seen)
    ones = np.ones(60, np.int64)
    curve = np.array(rows.curve(ones))
    margins = np.unique(rows.margins_N)
    points = [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]
    want = np.array([plain(gold.tolist(), scores.tolist(), seen.tolist(), gamma) for gamma in points])
    np.testing.assert_allclose(curve.T, want, atol=1e-12)
    assert (np.diff(curve[0]) <= 1e-12).all() and (np.diff(curve[1]) >= -1e-12).all()
    best = rows.best_gamma()
    means = [harmonic_mean(*pair) for pair in want]
    assert harmonic_mean(*plain(gold.tolist(), scores.tolist(), seen.tolist(), best)) == pytest.approx(max(means))
    by_hand = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in pairwise(want))
    assert area(*curve) == pytest.approx(by_hand)


def test_drawn_rows_are_counted_as_often_as_they_are_drawn():
    # kills: resamples that forget how often a row was drawn, or count classes that were not
    random = np.random.default_rng(2)
    seen = np.array([True, True, False, False])
    gold, scores = np.arange(24) % 4, random.normal(size=(24, 4))
    rows = StackingRows(gold, scores, seen)
    drawn = random.integers(24, size=24)
    counts = np.bincount(drawn, minlength=24)
    repeated = np.repeat(np.arange(24), counts)
    again = StackingRows(rows.gold_N[repeated], _scores_of(rows, seen)[repeated], seen)
    got, want = rows.curve(counts), again.curve(np.ones(24, np.int64))
    assert area(*got) == pytest.approx(area(*want))


def _scores_of(rows, seen):
    """Scores that have these margins, and are right where the rows are."""
    scores = np.full((len(rows.gold_N), len(seen)), -9.0)
    for place, (own, right, is_seen) in enumerate(zip(rows.gold_N, rows.right_N, rows.is_seen_N, strict=True)):
        same = [label for label in range(len(seen)) if seen[label] == is_seen]
        other = [label for label in range(len(seen)) if seen[label] != is_seen]
        winner = own if right else next(label for label in same if label != own)
        best = {True: rows.margins_N[place], False: 0.0}
        scores[place, winner], scores[place, other[0]] = best[bool(is_seen)], best[not is_seen]
    return scores


def test_intervals_hold_the_value_and_are_the_same_again():
    random = np.random.default_rng(3)
    gold = random.integers(6, size=300)
    scores = random.normal(size=(300, 6)) + 2 * np.eye(6)[gold]
    seen = np.arange(6) < 4
    one, again = (evaluate_generalized(gold, scores, seen, resamples=200, seed=1) for _ in range(2))
    turned = evaluate_generalized(gold[::-1], scores[::-1], seen, resamples=200, seed=1)
    assert one == again == turned
    for figure in (one.seen, one.unseen, one.harmonic_mean, one.ausuc):
        assert figure.low < figure.value < figure.high


def test_bad_input(tmp_path):
    # kills: an area over one kind of class, NaN that wins or loses in silence
    with pytest.raises(TextError, match="every row is of a seen class"):
        evaluate_generalized(GOLD, SCORES, [True] * 3)
    with pytest.raises(TextError, match="every row is of a seen class"):
        evaluate_generalized([0, 1, 1, 0], SCORES, SEEN)
    with pytest.raises(SettingError, match="scores have shape"):
        evaluate_generalized(GOLD[:3], SCORES, SEEN)
    with pytest.raises(SettingError, match="finite"):
        evaluate_generalized(GOLD, np.where(SCORES > 0.6, np.nan, SCORES), SEEN)
    with pytest.raises(SettingError, match="none of the 3"):
        evaluate_generalized([0, 1, 2, 3], SCORES, SEEN)
    made = evaluate_generalized(GOLD, SCORES, SEEN, resamples=100)
    plot_generalized({"cosine": made}, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_a_row_whose_margin_is_gamma_stays_with_its_seen_class():
    # kills: the unseen class winning a tie, or γ on the wrong side of a margin
    scores = np.array([[0.5, 0.125], [0.25, 0.125]])  # margins of exactly 0.375 and 0.125
    at, above = (
        evaluate_generalized([0, 1], scores, [True, False], gamma=gamma, resamples=100) for gamma in (0.125, 0.25)
    )
    assert (at.seen.value, at.unseen.value) == (1, 0) and (above.seen.value, above.unseen.value) == (1, 1)
