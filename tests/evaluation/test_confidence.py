"""Risk and coverage, and none of these, against scikit-learn, loops of plain numbers and figures by hand."""

from itertools import permutations

import numpy as np
import pytest
from sklearn import metrics

from sijo.evaluation.confidence import RankedRows, none_score, rows_at
from sijo.evaluation.zero_shot import evaluate


def ones(rows):
    return np.ones(rows, int)


def scored(rows, seed, decimals=1):
    """Scores of which many are alike, and marks that lean towards the high ones."""
    chance = np.random.default_rng(seed)
    score = chance.random(rows).round(decimals)
    return score, chance.random(rows) < score


# --- risk and coverage


def test_the_curve_by_hand():
    # kills: errors counted from the least confident, a mean over all rows in place of those answered
    # most confident first: right, wrong, right, wrong -> 0/1, 1/2, 1/3, 2/4, and their mean 1/3
    gold = ["yes", "no", "yes", "no"]
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    measured = evaluate(gold, chances, ["yes", "no"], resamples=100).risk_coverage
    assert measured.curve == pytest.approx(np.array([(0.25, 0), (0.5, 0.5), (0.75, 1 / 3), (1, 0.5)]))
    assert measured.aurc.value == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert (measured.accuracy_at_80.value, measured.accuracy_at_90.value) == (
        0.5,
        0.5,
    )  # all 4 rows: 3.2, rounded up


def test_a_share_of_rows_is_rounded_up_but_not_past_itself():
    # kills: 0.8 x 10 = 8.000000000000002 rows taken for 9, and none of one row
    assert [rows_at(share / 100, 10) for share in (80, 81, 90, 1)] == [8, 9, 9, 1]
    assert [rows_at(0.9, rows) for rows in (10, 100, 1000)] == [9, 90, 900]


def test_ties_are_what_is_expected_of_all_their_orders():
    # kills: rows of equal confidence taken in the order of the file
    confidence, wrong = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([0, 1, 0, 1, 1])
    orders = [(0, *middle, 4) for middle in permutations([1, 2, 3])]
    want = np.mean([np.cumsum(wrong[list(order)]) / np.arange(1, 6) for order in orders], axis=0)
    assert RankedRows(confidence, wrong).risks(ones(5)) == pytest.approx(want)


@pytest.mark.parametrize("seed", range(3))
def test_rows_drawn_again_are_counted_as_often_as_they_were_drawn(seed):
    # kills: a resample measured as if each row were there once
    score, marked = scored(40, seed)
    chosen = np.random.default_rng(seed).integers(40, size=40)
    counts, again = np.bincount(chosen, minlength=40), RankedRows(score[chosen], marked[chosen])
    rows = RankedRows(score, marked)
    assert rows.risks(counts) == pytest.approx(again.risks(ones(40)))
    assert rows.auroc(counts) == pytest.approx(again.auroc(ones(40)))
    assert rows.false_positive_rate(counts) == again.false_positive_rate(ones(40))


def test_a_perfect_and_a_reversed_confidence():
    # kills: an area that does not tell a good confidence from a bad one
    right = [1] * 80 + [0] * 20
    for confidence, low, high in ((np.linspace(1, 0.5, 100), 0, 0.03), (np.linspace(0.5, 1, 100), 0.4, 0.6)):
        gold = ["yes" if hit else "no" for hit in right]
        chances = np.column_stack([confidence, 1 - confidence])
        chances[confidence == 0.5, 0] += 1e-9
        measured = evaluate(gold, chances, ["yes", "no"], resamples=100).risk_coverage
        assert low <= measured.aurc.value <= high
        assert measured.aurc.low <= measured.aurc.value <= measured.aurc.high


# --- none of these


@pytest.mark.parametrize("seed", range(6))
def test_the_area_and_the_false_alarms_are_those_of_scikit_learn(seed):
    # kills: ties counted whole or not at all, the two kinds exchanged, a recall just missed taken for reached
    score, marked = scored(60 + seed, seed)
    rows = RankedRows(score, marked)
    assert rows.auroc(ones(len(score))) == pytest.approx(metrics.roc_auc_score(marked, score), abs=1e-12)
    false, true, _ = metrics.roc_curve(marked, score, drop_intermediate=False)
    for recall in (0.5, 0.95, 1.0):
        want = false[np.argmax(true >= recall)]
        assert rows.false_positive_rate(ones(len(score)), recall) == pytest.approx(want, abs=1e-12)


def test_none_by_hand():
    # kills: 1 - max p, in which the none label's own probability counts as confidence in a label; rows of the none
    # label taken for the others. Scores: .7/(.7+.2), .5/(.5+.5), .1/(.1+.8), .4/(.4+.3) = .78, .5, .11, .57
    chances = np.array([[0.2, 0.1, 0.7], [0.5, 0, 0.5], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4]])
    assert none_score(chances, 2) == pytest.approx([7 / 9, 1 / 2, 1 / 9, 4 / 7])
    measured = evaluate(["none", "None", "a", "b"], chances, ["a", "b", "none"], none_label="none", resamples=100)
    assert measured.none.rows == 2
    assert measured.none.auroc.value == 0.75  # .78 beats both others, .5 one of them
    assert measured.none.fpr_at_95_recall.value == 0.5  # at .5, where both are found, .57 is a false alarm
    assert measured.to_dict()["none"]["auroc"]["value"] == 0.75


def test_without_none_there_is_nothing_to_tell_apart():
    # kills: an area of 0 or NaN in the record where no row, or every row, is of the none label
    chances = np.full((3, 3), 1 / 3)
    for gold, none in ((["a", "b", "a"], "none"), (["none"] * 3, "none"), (["a", "b", "none"], None)):
        measured = evaluate(gold, chances, ["a", "b", "none"], none_label=none, resamples=100)
        assert measured.none is None and measured.to_dict()["none"] is None


def test_the_none_score_ranks_as_the_none_threshold_does():
    # kills: a score that depends on the temperature, or on how many labels fit a text
    from sijo.zeroshot.calibration import Calibration

    scores = np.random.default_rng(0).normal(0.3, 0.2, (50, 4))
    for temperature in (0.05, 1.0):
        chances = Calibration(temperature, 0.16, "").with_none(scores)
        assert np.array_equal(np.argsort(none_score(chances, 4)), np.argsort(-scores.max(1)))
    assert np.array_equal(none_score(chances, 4) > 0.5, scores.max(1) < 0.16)


def test_the_order_of_rows_changes_no_interval_of_none():
    # kills: resamples that depend on row numbers where rows differ in the none score alone
    chance = np.random.default_rng(3)
    chances = chance.dirichlet([1, 1, 1], 60)
    gold = [["a", "b", "none"][place] for place in chance.integers(3, size=60)]
    order = chance.permutation(60)
    first = evaluate(gold, chances, ["a", "b", "none"], none_label="none", resamples=100)
    again = evaluate(
        [gold[row] for row in order], chances[order], ["a", "b", "none"], none_label="none", resamples=100
    )
    assert first.none is not None and first == again
