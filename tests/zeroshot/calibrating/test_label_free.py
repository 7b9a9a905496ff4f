"""Calibration without labels against numbers worked out by hand, and against its own equations."""

import math

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.zeroshot.calibrating.label_free import (
    Adjustment,
    agreeing_temperature,
    balanced,
    check_background,
    disagreement,
    estimated_prior,
    expected_errors,
    log_probabilities,
    matched_prior,
    share_of_labels_in_use,
    standardised,
)
from sijo.zeroshot.calibration import Calibration

LOGITS = Calibration(1.0, 0.0, "")
TWO_ROWS = np.log([[0.9, 0.1], [0.7, 0.3]])
RIVALS = ("labels", "labels and none", "none")


@pytest.fixture
def scores():
    """400 texts, 4 labels; the second one scores high on everything, the third varies most."""
    chance = np.random.default_rng(0)
    return chance.normal([0.1, 0.4, 0.1, 0.2], [0.1, 0.1, 0.3, 0.05], size=(400, 4))


def shares(rows, numbers, rivals):
    """The mean probability of each label, from plain lists of floats."""
    means = [0.0] * len(rows[0])
    none = math.exp(numbers.none_score / numbers.temperature)
    for row in rows.tolist():
        raised = [math.exp(s / numbers.temperature) for s in row]
        total = math.fsum(raised) + (none if rivals == "labels and none" else 0.0)
        for place, r in enumerate(raised):
            means[place] += r / (r + none if rivals == "none" else total) / len(rows)
    return means


def test_dc_pmi_by_hand():
    # kills: p(y|domain) added instead of taken away, under which the raw winner stays
    domain, text = np.log([[0.01, 0.05]]), np.log([[0.02, 0.04]])
    pmi = balanced(domain, LOGITS).apply(text) - np.log(sum((0.01, 0.05)) / 2)
    assert (pmi[0] - pmi[0, 0] + math.log(2)).round(6).tolist() == [0.693147, -0.223144]
    normalised = LOGITS.softmax(balanced(np.log([[1 / 6, 5 / 6]]), LOGITS).apply(np.log([[1 / 3, 2 / 3]])))
    assert normalised.round(6).tolist() == [[0.714286, 0.285714]]


def test_batch_calibration_by_hand():
    # kills: the mean of scores in place of that of probabilities (0.337 for 0.368), a temperature that is forgotten
    want = [[0.692308, 0.307692], [0.368421, 0.631579]]
    assert LOGITS.softmax(balanced(TWO_ROWS, LOGITS).apply(TWO_ROWS)).round(6).tolist() == want
    tenth, numbers = TWO_ROWS / 10, Calibration(0.1, 0.0, "")
    assert numbers.softmax(balanced(tenth, numbers).apply(tenth)).round(6).tolist() == want
    alone = LOGITS.softmax(balanced(TWO_ROWS[:1], LOGITS).apply(TWO_ROWS[:1]))
    assert alone.round(6).tolist() == [[0.5, 0.5]]  # which is why so few are refused
    with pytest.raises(SettingError, match="at least 32 texts and has 31"):
        check_background(np.zeros((31, 2)))


def test_an_even_background_changes_nothing():
    # kills: a shift that is not relative to the other labels
    even = np.log(np.full((1, 3), 1 / 3))
    for rivals in RIVALS:
        np.testing.assert_allclose(
            balanced(even, LOGITS, rivals).apply(TWO_ROWS[:, [0, 1, 1]]), TWO_ROWS[:, [0, 1, 1]]
        )


def test_prior_matching_by_hand():
    matched = matched_prior(TWO_ROWS, LOGITS)
    assert float(np.exp(matched.shift[0] - matched.shift[1])) == pytest.approx(4.582576, abs=1e-6)
    chances = LOGITS.softmax(matched.apply(TWO_ROWS))
    assert chances[:, 1].round(6).tolist() == [0.337386, 0.662614]
    assert chances.mean(0) == pytest.approx([0.5, 0.5], abs=1e-9)
    same = matched_prior(TWO_ROWS, LOGITS, shares=np.array([0.8, 0.2]))
    assert same.shift == pytest.approx([0, 0], abs=1e-6)  # the shares it has already: w = 1


@pytest.mark.parametrize("rivals", RIVALS)
def test_matched_shares_are_the_ones_asked_for(scores, rivals):
    # kills: none's own weight moved, a sigmoid matched as a softmax, a sum over texts in place of the mean
    numbers = Calibration(0.07, 0.15, "")
    asked = np.array([0.1, 0.2, 0.3, 0.4]) * (0.5 if rivals == "labels and none" else 1)
    adjusted = matched_prior(scores, numbers, rivals, shares=asked).apply(scores)
    assert shares(adjusted, numbers, rivals) == pytest.approx(asked.tolist(), abs=1e-4)
    total = sum(shares(scores, numbers, rivals))
    even = shares(matched_prior(scores, numbers, rivals).apply(scores), numbers, rivals)
    assert even == pytest.approx([total / 4] * 4, abs=1e-4)  # what labels have together stays


@pytest.mark.parametrize(
    "given, rivals, words",
    [
        ([0.5, 0.6], "labels", "sum to 1.1"),
        ([0.5, 0.5], "labels and none", "leave nothing"),
        ([0.0, 1.0], "labels", "above 0"),
        ([float("nan"), 0.5], "none", "above 0"),
    ],
)
def test_shares_that_cannot_be_are_refused(given, rivals, words):
    with pytest.raises(SettingError, match=words):
        matched_prior(TWO_ROWS, LOGITS, rivals, shares=np.array(given))


def test_standardised_labels_have_one_mean_and_one_spread(scores):
    # kills: a spread multiplied instead of divided, a level that moves all scores
    adjusted = standardised(scores).apply(scores)
    assert adjusted.mean(0) == pytest.approx([scores.mean()] * 4)
    assert adjusted.std(0) == pytest.approx([scores.std(0).mean()] * 4)
    with pytest.raises(SettingError, match="label 2 scores the same"):
        standardised(np.array([[0.1, 0.5], [0.2, 0.5]]))


@pytest.mark.parametrize("fit", [balanced, matched_prior, lambda scores, numbers, rivals: standardised(scores)])
@pytest.mark.parametrize("rivals", RIVALS)
def test_a_label_that_scores_high_on_everything_gets_no_more_than_its_share(scores, fit, rivals):
    # kills: an adjustment of the wrong sign
    numbers = Calibration(0.07, 0.15, "")
    won = (
        np.bincount(scores.argmax(1), minlength=4)[1],
        np.bincount(fit(scores, numbers, rivals).apply(scores).argmax(1), minlength=4)[1],
    )
    assert won[0] > 250 and won[1] < 200


def test_labels_in_another_order_get_the_same_adjustment(scores):
    # kills: numbers kept by column
    adjustment = balanced(scores, LOGITS)
    order = [2, 0, 3]
    np.testing.assert_array_equal(
        adjustment.columns(order).apply(scores[:, order]), adjustment.apply(scores)[:, order]
    )
    infinite = Adjustment(np.array([1.0]), np.array([2.0]), 3.0).apply(np.array([[-np.inf]]))
    assert infinite.tolist() == [[-np.inf]]  # a pair that was not scored


def test_expectation_maximisation_collapses_unless_labels_are_given_texts():
    # kills: a guard that guards nothing
    rows = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]])
    assert estimated_prior(rows, each=0.0, steps=10_000).round(3).tolist() == [1.0, 0.0]
    guarded = estimated_prior(rows, each=1.0, steps=10_000)
    assert guarded.sum() == pytest.approx(1) and 0.15 < guarded[1] < 0.4


def test_logarithms_stay_exact_where_probabilities_round_to_nothing():
    # kills: log of a softmax, -inf for a label that is never likely
    far = np.array([[0.0, -2000.0]])
    assert log_probabilities(far, LOGITS, "labels").tolist() == [[0.0, -2000.0]]
    assert np.isfinite(balanced(far, LOGITS).shift).all()


def test_evenness_does_not_see_few_texts():
    # kills: shares squared, which 60 texts over 60 labels would make uneven
    chance = np.random.default_rng(0)
    few = np.mean([share_of_labels_in_use(chance.random((120, 60))) for _ in range(50)])
    assert few == pytest.approx(1, abs=0.15)
    assert share_of_labels_in_use(np.eye(5)[[0] * 50]) == pytest.approx(1 / 5)


def test_confidence_is_what_agreement_makes_expect():
    # kills: a search in the wrong direction; agreement taken for accuracy; confidence below chance
    chance = np.random.default_rng(0)
    scores = chance.normal(0.2, 0.1, size=(500, 4))
    others = np.where(chance.random((500, 1)) < 0.2, scores[:, ::-1], scores)
    apart = disagreement(scores, others)
    assert apart == (scores.argmax(1) != others.argmax(1)).mean()
    fitted = Calibration(agreeing_temperature(scores, expected_errors(apart)), 0.0, "")
    assert fitted.softmax(scores).max(1).mean() == pytest.approx(1 - 2 * apart, abs=1e-6)
    lost = Calibration(agreeing_temperature(scores, 1.0), 0.0, "")
    assert lost.softmax(scores).max(1).mean() == pytest.approx(0.25 + 0.1 * 0.75, abs=1e-6)
