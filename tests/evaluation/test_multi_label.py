"""Several labels a row: what `evaluate_multi_label` measures, against scikit-learn and figures by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics

from sijo.errors import SettingError, TextError
from sijo.evaluation.confidence import ConfidenceBins
from sijo.evaluation.multi_label import evaluate_multi_label, ranking_precision

NAMES = ["sea", "rain", "sun", "tax"]


def sample(rows, seed=0, *, unused=0, decimals=1):
    """Gold labels that avoid the last `unused`, and probabilities of which many are alike."""
    chance = np.random.default_rng(seed)
    chances = chance.random((rows, len(NAMES))).round(decimals)
    gold_NL = chance.random((rows, len(NAMES))) < chances
    gold_NL[:, len(NAMES) - unused :] = False
    return gold_NL, [[name for name, has in zip(NAMES, row, strict=True) if has] for row in gold_NL], chances


@pytest.mark.parametrize("seed", range(4))
def test_every_number_is_that_of_scikit_learn(seed):
    # kills: micro taken for macro, a label that is never gold counted as 1, ties that rank a label too high, a row
    # without labels counted as 0 in the ranking, "more than" the threshold
    gold_NL, gold, chances = sample(40 + seed, seed)
    predicted_NL = chances >= 0.4
    measured = evaluate_multi_label(gold, chances, NAMES, threshold=0.4, resamples=100)
    assert measured.micro_f1.value == pytest.approx(metrics.f1_score(gold_NL, predicted_NL, average="micro"))
    macro = metrics.f1_score(gold_NL, predicted_NL, average="macro", zero_division=np.nan)
    assert measured.macro_f1.value == pytest.approx(macro)
    assert measured.subset_accuracy.value == pytest.approx(metrics.accuracy_score(gold_NL, predicted_NL))
    want = metrics.label_ranking_average_precision_score(gold_NL, chances)
    assert measured.lrap.value == pytest.approx(want)
    for place, row in enumerate(measured.classes):
        column, given, chance = gold_NL[:, place], predicted_NL[:, place], chances[:, place]
        assert (row.label, row.support, row.predicted) == (NAMES[place], column.sum(), given.sum())
        assert row.precision.value == pytest.approx(metrics.precision_score(column, given))
        assert row.recall.value == pytest.approx(metrics.recall_score(column, given))
        assert row.f1.value == pytest.approx(metrics.f1_score(column, given))
        assert row.brier.value == pytest.approx(metrics.brier_score_loss(column, chance))
        assert row.ece.value == pytest.approx(ConfidenceBins(chance, column, 15).ece(np.ones(len(gold), int)))
    assert measured.ece.value == pytest.approx(np.mean([row.ece.value for row in measured.classes]))
    assert measured.brier.value == pytest.approx(np.mean([row.brier.value for row in measured.classes]))


def test_ranking_by_hand():
    # kills: ties broken in a label's favour; a row without labels, or of all labels, left out of the mean
    # right: 2nd of three (1/2) and 3rd of three (2/3) -> 7/12; tied with a wrong one -> 1/2; none, or all -> 1
    gold = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool)
    scores = np.array([[0.9, 0.8, 0.7], [0.5, 0.5, 0.1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    assert ranking_precision(gold, scores) == pytest.approx([7 / 12, 1 / 2, 1, 1])


def test_rows_in_pieces_rank_alike(monkeypatch):
    # kills: a last piece left out, or written over the first
    gold_NL, _, chances = sample(23)
    whole = ranking_precision(gold_NL, chances)
    monkeypatch.setattr("sijo.evaluation.multi_label.LRAP_CELLS", 5 * len(NAMES) ** 2)
    assert np.array_equal(ranking_precision(gold_NL, chances), whole)


def test_intervals_are_of_rows_not_of_cells():
    # kills: labels resampled apart from each other, by which the interval of micro-F1 is too narrow
    chance = np.random.default_rng(0)
    hits = chance.random(100) < 0.5  # a row is all right or all wrong
    gold = [["sea", "rain"] if hit else ["sun", "tax"] for hit in hits]
    chances = np.tile([0.9, 0.9, 0.1, 0.1], (100, 1))
    measured = evaluate_multi_label(gold, chances, NAMES, resamples=400)
    assert measured.micro_f1.value == measured.subset_accuracy.value == hits.mean()
    assert (measured.micro_f1.low, measured.micro_f1.high) == pytest.approx(
        (measured.subset_accuracy.low, measured.subset_accuracy.high)
    )
    assert measured.micro_f1.high - measured.micro_f1.low == pytest.approx(4 * 0.05, abs=0.04)


def test_the_order_of_rows_changes_nothing():
    # kills: draws that depend on row numbers
    _, gold, chances = sample(80)
    order = np.random.default_rng(1).permutation(80)
    shuffled = evaluate_multi_label([gold[row] for row in order], chances[order], NAMES, resamples=100)
    assert shuffled == evaluate_multi_label(gold, chances, NAMES, resamples=100)


def test_what_is_undefined_is_none_in_strict_json():
    # kills: NaN in the record, a label in neither column that lowers macro-F1
    _, gold, chances = sample(30, unused=1)
    chances[:, 3] = 0.01
    measured = evaluate_multi_label(gold, chances, NAMES, resamples=100)
    record = measured.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [record["classes"][3][key] for key in ("precision", "recall", "f1")] == [None] * 3
    assert measured.macro_f1.value == pytest.approx(np.mean([row.f1.value for row in measured.classes[:3]]))
    assert record["macro_f1_over"] == "labels in gold or predictions"


def test_labels_that_were_given_replace_the_threshold():
    # kills: a text without tokens that is given labels by their probabilities all the same
    gold, chances = [["sea"], []], np.full((2, 4), 0.9)
    given = np.array([[True, False, False, False], [False] * 4])
    measured = evaluate_multi_label(gold, chances, NAMES, predicted=given, resamples=100)
    assert measured.subset_accuracy.value == 1 and measured.brier.value > 0.5


def test_refusals():
    # kills: a gold label dropped in silence, a threshold that nothing reaches, a mean of nothing
    chances = np.full((2, 2), 0.5)
    with pytest.raises(TextError, match=r"row 2: gold label 'sae' .* did you mean 'sea'"):
        evaluate_multi_label([["sea"], ["sae"]], chances, ["sea", "rain"])
    with pytest.raises(TextError, match="no rows"):
        evaluate_multi_label([], np.empty((0, 2)), ["sea", "rain"])
    with pytest.raises(SettingError, match="threshold"):
        evaluate_multi_label([["sea"], []], chances, ["sea", "rain"], threshold=1.5)
    with pytest.raises(SettingError, match="row 1 of the probabilities"):
        evaluate_multi_label([["sea"], []], chances * 4, ["sea", "rain"])
    assert (
        evaluate_multi_label([["sea"], []], chances[:, :1], ["sea"], resamples=100).rows == 2
    )  # one label will do
