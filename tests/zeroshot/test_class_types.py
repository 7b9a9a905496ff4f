"""Labels that are numbers, or true and false, in y: answered as they were given, by every estimator."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

import sijo
from sijo.errors import TextError
from sijo.zeroshot.class_types import NAMES, as_given, label_dtype, label_names
from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier

TEXTS = ["the sun and the sea", "a game of ball", "the sea", "the ball and the goal", "salt in the sea", "a goal"]


@pytest.mark.parametrize(("y", "names"), [([0, 1], ["0", "1"]), ([0.0, 1.0], ["0", "1"]), ([False, True], None)])
@pytest.mark.filterwarnings("ignore:100% of the words in the labels")
def test_zero_shot_answers_by_numbers(tiny_model, y, names):
    # kills: '1' answered for 1, which scikit-learn counts as wrong; the type of an earlier fit kept
    gold = np.array([y[0], y[1]] * 3)
    classifier = sijo.ZeroShotClassifier(names and names[::-1], tiny_model).fit(TEXTS, gold)
    assert classifier.classes_.tolist() == y and classifier.classes_.dtype == gold.dtype
    answers = classifier.predict(TEXTS)
    assert answers.dtype == gold.dtype
    assert classifier.score(TEXTS, gold) == (classifier.predict_proba(TEXTS).argmax(-1) == [0, 1] * 3).mean()
    best = np.array([row.label for row in classifier.classify(TEXTS)])
    assert (best == [str(answer) if names is None else f"{answer:.0f}" for answer in answers]).all()
    assert np.isfinite(cross_val_score(classifier, TEXTS, gold, cv=2, scoring="neg_log_loss")).all()
    assert classifier.fit(TEXTS, [str(label) for label in gold]).classes_.dtype.kind == "U"


def test_names_and_abstentions_stay(tiny_model):
    # kills: a none label, or None for an abstention, turned into a number; labels in words turned into 0 and 1; 10
    # sorted before 2
    assert sijo.ZeroShotClassifier(["10", "2"], tiny_model).fit(TEXTS, [2, 10] * 3).classes_.tolist() == [2, 10]
    classifier = sijo.ZeroShotClassifier(["0", "1"], tiny_model, none_label="none", none_threshold=2.0)
    assert set(classifier.fit(TEXTS, [0, 1] * 3).predict(TEXTS)) == {"none"}
    assert classifier.set_params(none_label="-1").predict(TEXTS).tolist() == [-1] * 6
    words = sijo.ZeroShotClassifier(["sea", "game"], tiny_model).fit(TEXTS, [0, 1] * 3)
    assert words.classes_.tolist() == ["game", "sea"] and set(words.predict(TEXTS)) <= {"game", "sea"}
    risky = sijo.ZeroShotClassifier(["0", "1"], tiny_model, risk=0.5).fit(TEXTS * 10, [0, 1] * 30)
    assert {type(answer) for answer in risky.predict(TEXTS)} <= {np.int64, type(None)}
    several = sijo.ZeroShotClassifier(["sea", "game"], tiny_model, multi_label=True)
    assert several.fit(TEXTS, np.eye(2, dtype=int)[[0, 1] * 3]).predict(TEXTS).shape == (6, 2)


def test_class_vectors_answer_by_numbers():
    # kills: the seen classes told as text beside numbers; a class without texts that cannot be answered
    classifier = ClassVectorClassifier(["1", "2", "3"], method="eszsl", gamma=0.0)
    vectors = np.eye(3, classifier.scorer.engine.width)[[0, 1] * 3]
    classifier.fit_vectors(vectors, np.array([1, 2] * 3))
    assert classifier.classes_.tolist() == [1, 2, 3] and classifier.seen_.tolist() == [1, 2]
    assert classifier.predict(TEXTS).dtype == classifier.classes_.dtype
    assert classifier.with_labels(["2", "9"]).classes_.tolist() == [2, 9]
    assert classifier.with_labels(["2", "9"]).is_seen_.tolist() == [True, False]


def test_what_is_no_label():
    # kills: a fraction or nothing taken for a name; numpy's numbers refused; a column (n, 1) refused
    for value in (1.5, None, float("nan"), ["sea"]):
        with pytest.raises(TextError, match="y: label 2"):
            label_names(["sea", value])
    assert label_names(np.array([[1.0], [2.0]], np.float32)) == ["1", "2"]
    assert label_names(np.array([True, False])) == ["True", "False"]
    assert label_dtype(np.array([1, 2], np.int8)) == np.int8 and label_dtype(["1"]) == NAMES == label_dtype([])
    assert label_dtype([1, None]) == NAMES  # one of them is no number
    assert as_given(("0", "300"), np.dtype(np.int8)).tolist() == [0, 300]
