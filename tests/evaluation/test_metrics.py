"""Each number beside scikit-learn, scipy's ranks, or a case that was worked out by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as known

from sijo.data.labelled_rows import Answer, LabelledRow
from sijo.errors import SettingError
from sijo.evaluation.intervals import values
from sijo.evaluation.metrics import (
    SpanAnswer,
    answered,
    best_span,
    best_threshold,
    classified,
    exact,
    metrics_of,
    multi_labelled,
    normalised,
    numbers,
    overlap,
    tagged,
)
from sijo.evaluation.tag_schemes import IOB2


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_classes_are_counted_as_scikit_learn_counts_them(rng):
    # kills: rows and columns of the confusion exchanged, classes that nobody has counted as 0
    gold, predicted = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
    gold[gold == 3] = 2
    measured = values(classified(gold, predicted, 7), 60)
    assert measured["accuracy"] == pytest.approx(known.accuracy_score(gold, predicted), abs=1e-12)
    assert measured["macro_f1"] == pytest.approx(
        known.f1_score(gold, predicted, average="macro", zero_division=0), abs=1e-12
    )
    assert measured["micro_f1"] == pytest.approx(known.f1_score(gold, predicted, average="micro"), abs=1e-12)
    assert measured["matthews"] == pytest.approx(known.matthews_corrcoef(gold, predicted), abs=1e-12)
    same = values(classified(gold, np.zeros(60, dtype=int), 7), 60)
    assert same["matthews"] == known.matthews_corrcoef(gold, np.zeros(60)) == 0.0


def test_many_labels_are_counted_as_scikit_learn_counts_them(rng):
    # kills: micro and macro exchanged, empty rows left out, a label in neither column counted as 0
    gold, predicted = rng.random((40, 6)) < 0.3, rng.random((40, 6)) < 0.3
    measured = values(multi_labelled(gold, predicted), 40)
    for average in ("micro", "macro"):
        want = known.f1_score(gold, predicted, average=average, zero_division=0)
        assert measured[f"{average}_f1"] == pytest.approx(want, abs=1e-12)
    assert measured["exact_match"] == known.accuracy_score(gold, predicted)
    gold[:, 2] = predicted[:, 2] = False  # a label in neither column counts here as little as with one class a row
    want = known.f1_score(gold, predicted, average="macro", zero_division=np.nan)
    assert values(multi_labelled(gold, predicted), 40)["macro_f1"] == pytest.approx(want, abs=1e-12)
    assert values(multi_labelled(gold & False, predicted & False), 40)["macro_f1"] == 0.0


def test_numbers_are_correlated_as_elsewhere(rng):
    # kills: equal numbers that are ranked in order of rows, a correlation of values in place of ranks
    gold = rng.integers(0, 6, 50).astype(float)
    predicted = gold**3 + rng.integers(0, 9, 50)
    measured = values(numbers(gold, predicted), 50)
    assert measured["pearson"] == pytest.approx(np.corrcoef(gold, predicted)[0, 1], abs=1e-12)

    def ranks(column):
        return np.array([(column < value).sum() + ((column == value).sum() + 1) / 2 for value in column])

    assert measured["spearman"] == pytest.approx(np.corrcoef(ranks(gold), ranks(predicted))[0, 1], abs=1e-12)
    assert measured["mean_squared_error"] == pytest.approx(known.mean_squared_error(gold, predicted))
    assert math.isnan(values(numbers(gold, np.ones(50)), 50)["pearson"])


def test_tags_by_hand():
    # kills: entities counted word by word, rows weighed alike whatever their words
    gold = [["B-x", "I-x", "O", "O"], ["B-y", "O"], ["O", "O", "O"]]
    predicted = [["B-x", "O", "O", "O"], ["B-y", "O"], ["B-x", "O", "O"]]
    measured = values(tagged(gold, predicted, ["B-x", "B-y", "I-x", "O"], IOB2), 3)
    assert measured["accuracy"] == pytest.approx(7 / 9)
    assert measured["entity_precision"] == pytest.approx(1 / 3)  # given: x(0,1), y, x
    assert measured["entity_recall"] == pytest.approx(1 / 2)  # gold: x(0,2), y
    assert measured["entity_f1"] == pytest.approx(2 / 5)
    flat = [[tag for row in column for tag in row] for column in (gold, predicted)]
    assert measured["macro_f1"] == pytest.approx(known.f1_score(*flat, average="macro", zero_division=0))
    assert "entity_f1" not in tagged([["N"]], [["V"]], ["N", "V"])


def test_answers_by_the_rules_of_squad():
    # kills: articles inside words removed, punctuation that parts words, words counted once however often
    assert normalised("The U.S.A., an  ideal\tThe-ater") == "usa ideal theater"
    assert exact("the Sea!", "sea") == 1.0 and exact("a seal", "sea") == 0.0
    assert overlap("in the old sea", "old sea of salt") == pytest.approx(2 * 2 / (3 + 4))
    assert overlap("ha ha ha", "ha ha") == pytest.approx(2 * 2 / (3 + 2))
    assert overlap("", "") == 1.0 and overlap("", "sea") == 0.0 and overlap("the", "a") == 1.0


def test_the_best_of_answers_and_rows_without_one():
    # kills: the first answer alone, the mean of answers, a wrong answer forgiven where there is none
    gold = [["old sea", "the sea"], ["rain"], [], []]
    predicted = ["sea", "acid rain", "", "rain"]
    measured = values(answered(gold, predicted), 4)
    assert measured["exact_match"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert measured["f1"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert measured["f1_with_answer"] == pytest.approx((1 + 2 / 3) / 2)
    assert measured["right_without_answer"] == 0.5
    assert "right_without_answer" not in answered(gold[:2], predicted[:2])


def span(start, end, places):
    """A window of scores, all -9 but for those that are named."""
    starts, ends = np.full(len(places), -9.0), np.full(len(places), -9.0)
    for place, score in start.items():
        starts[place] = score
    for place, score in end.items():
        ends[place] = score
    return starts, ends, np.array(places, dtype=np.int32)


def test_the_best_span_over_windows():
    # kills: an end before its start, an answer in the question or longer than allowed, windows that are looked at
    # one by one, a null score of the last or the surest window
    text = "one two three four five"
    here = [(-1, -1), (-1, -1), (0, 3), (4, 7), (8, 13)]
    there = [(-1, -1), (-1, -1), (8, 13), (14, 18), (19, 23)]
    first = span({0: 1, 1: 99, 4: 5}, {0: 1, 2: 50, 4: 1}, here)  # end 2 lies before start 4, and goes with 2 alone
    second = span({0: -2, 2: 7}, {0: -1, 3: 40, 4: 30}, there)

    def found(windows, **settings):
        best = best_span(windows, text, **settings)
        assert 0 <= best.share <= 1 and 0 <= best.none_share <= 1 and text[slice(*best.place)] == best.text
        return best.text, best.score, best.none

    assert found([first, second]) == ("three four", 47.0, -3.0)
    assert found([first, second], longest=1) == ("one", 41.0, -3.0)
    assert best_span([first], text).text == "one" and best_span([first], text).none == 2.0
    assert found([second], most=1) == ("three four", 47.0, -3.0)


def test_the_threshold_of_no_answer():
    # kills: a threshold on the wrong side, answers that are counted although none was right
    assert SpanAnswer("sea", 5.0, 6.0).answer(0.0) == "" and SpanAnswer("sea", 5.0, 6.0).answer(1.0) == "sea"
    answers = [SpanAnswer("sea", 9, 0), SpanAnswer("rain", 5, 4), SpanAnswer("salt", 1, 4), SpanAnswer("oil", 0, 9)]
    gold = [["sea"], [], ["salt"], []]
    threshold, f1 = best_threshold(answers, gold)
    assert (
        f1 == 0.75
        and sum(answer.answer(threshold) == (texts or [""])[0] for answer, texts in zip(answers, gold, strict=True))
        == 3
    )
    nothing = best_threshold(answers, [[], [], [], []])
    assert nothing[1] == 1.0 and [answer.answer(nothing[0]) for answer in answers] == [""] * 4


def test_each_task_is_measured_by_its_own_numbers():
    # kills: gold and given exchanged, a place that is taken for a name
    texts = [LabelledRow("1", label="a"), LabelledRow("2", label="b")]
    assert values(metrics_of("classification", texts, ["a", "a"], ["a", "b"]), 2)["accuracy"] == 0.5
    many = [LabelledRow("1", label=("a", "b")), LabelledRow("2", label=())]
    assert values(metrics_of("multi-label", many, [["a"], []], ["a", "b"]), 2)["micro_f1"] == pytest.approx(2 / 3)
    choices = [LabelledRow("1", choices=("x", "y"), label=1), LabelledRow("2", choices=("x", "y"), label=0)]
    assert values(metrics_of("multiple-choice", choices, [1, 1], []), 2) == {"accuracy": 0.5}
    rows = [LabelledRow("1", label=(Answer("sea", 0),))]
    assert values(metrics_of("question-answering", rows, ["the sea"], []), 1) == {"exact_match": 1.0, "f1": 1.0}
    with pytest.raises(SettingError, match="1 answers to 2 rows"):
        metrics_of("classification", texts, ["a"], ["a", "b"])
