"""DAP, ConSE and ESZSL: cases computed by hand, formulas again in plain numbers, and what they cannot do."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sijo.errors import SettingError, SijoWarning
from sijo.zeroshot.class_vectors.linear import logistic, softmax
from sijo.zeroshot.class_vectors.methods import (
    DAP,
    ESZSL,
    METHODS,
    ConSE,
    conse_scores,
    dap_scores,
    eszsl_weights,
)

RANDOM = np.random.default_rng(0)


def test_hand_computed():
    # kills: priors left out or of the absent value, a sum in place of Z, V transposed or one factor left out
    dap = dap_scores(np.array([[0.9, 0.2]]), np.full(2, 0.5), np.eye(2))
    assert np.exp(dap) == pytest.approx(np.array([[2.88, 0.08]]))
    unseen = np.array([[0.8, 0.6], [0.6, 0.8]])
    conse = conse_scores(np.array([[0.6, 0.3]]), np.eye(2), unseen)
    assert conse == pytest.approx(np.array([[0.983870, 0.894427]]), abs=1e-6)
    weights = eszsl_weights(np.eye(2), np.eye(2), np.eye(2), gamma=1, lam=1)
    assert weights == pytest.approx(np.eye(2) / 4) and np.array([1, 0]) @ weights @ np.ones(2) == 0.25


def test_eszsl_is_the_formula():
    # kills: γ and λ exchanged, a side solved twice, Y without its -1, means of what is scored
    texts, seen = RANDOM.normal(size=(9, 4)), RANDOM.normal(size=(3, 5))
    columns = np.arange(9) % 3
    method = ESZSL(gamma=0.3, lam=2.0).fit(texts, columns, seen)
    signs = np.where(columns[:, None] == np.arange(3), 1.0, -1.0)
    other = RANDOM.normal(size=(2, 5)) - seen.mean(0)
    new = RANDOM.normal(size=(3, 4)) - texts.mean(0)
    scores = method.scores(new + texts.mean(0), other + seen.mean(0))
    texts, seen = texts - texts.mean(0), seen - seen.mean(0)
    left = np.linalg.inv(texts.T @ texts + 0.3 * np.eye(4))
    right = np.linalg.inv(seen.T @ seen + 2.0 * np.eye(5))
    want = left @ texts.T @ signs @ seen @ right
    assert scores == pytest.approx(new @ want @ other.T)


def test_conse_takes_the_likeliest():
    # kills: a top that keeps the least likely, or all; Z over all classes, which the cosine alone hides
    chances, seen = np.array([[0.5, 0.3, 0.2]]), np.eye(3)
    scores = conse_scores(chances, seen, np.eye(3), top=2)
    assert scores == pytest.approx(np.array([[0.5, 0.3, 0.0]]) / math.hypot(0.5, 0.3))
    assert conse_scores(chances, seen, np.eye(3), top=7) == pytest.approx(conse_scores(chances, seen, np.eye(3)))


def test_conse_learns_once(monkeypatch):
    # kills: the same regression fitted for each `top`; settings that share one `top`
    from sijo.zeroshot.class_vectors import methods

    calls = []
    monkeypatch.setattr(methods, "logistic", lambda *args, **how: calls.append(how) or logistic(*args, **how))
    random = np.random.default_rng(1)
    texts, seen, columns = random.normal(size=(30, 4)), random.normal(size=(3, 5)), np.arange(30) % 3
    found = list(ConSE.fitted(texts, columns, seen))
    assert [method.top for method in found] == [1, 10, 100] and len(calls) == len(ConSE.choices["strength"])
    alone = ConSE(top=1).fit(texts, columns, seen)
    np.testing.assert_array_equal(found[0].scores(texts, seen), alone.scores(texts, seen))
    assert not np.allclose(found[0].scores(texts, seen), found[1].scores(texts, seen))


def test_the_regression_is_sklearns():
    # kills: a penalty of another size, a descent that stops too early, vectors not centred at prediction
    texts = RANDOM.normal(size=(200, 5)) + 3
    columns = (texts[:, 0] + 0.5 * RANDOM.normal(size=200) > 3).astype(int) + (texts[:, 1] > 3.5)
    ours = logistic(texts, np.eye(3)[columns], exclusive=True, strength=0.01)
    theirs = LogisticRegression(C=1 / (200 * 0.01), tol=1e-8, max_iter=2000).fit(texts, columns)
    assert softmax(ours.logits(texts)) == pytest.approx(theirs.predict_proba(texts), abs=0.01)


@pytest.mark.parametrize("name", ["conse", "eszsl", "dap"])
def test_an_unseen_class_is_told_by_its_attributes(name):
    # kills: a method that answers seen classes alone, or reads another class's attributes
    table = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 0.0]])  # the last two unseen
    mixing = RANDOM.normal(size=(3, 8))
    columns = np.repeat(np.arange(6), 40)
    texts = (table[columns] - 0.5) @ mixing + 0.1 * RANDOM.normal(size=(240, 8))
    method = METHODS[name]().fit(texts[:160], columns[:160], table[:4])
    scores = method.scores(texts[160:], table[4:])
    assert (scores.argmax(1) == columns[160:] - 4).mean() > 0.95


def test_attributes_that_seen_classes_share():
    # kills: log 0 for an attribute that no seen class has; one left out of the factors but not of the classes
    seen = np.array([[1, 0, 1], [0, 0, 1.0]])
    texts, columns = np.array([[1.0], [-1.0], [1.1], [-0.9]]), np.array([0, 1, 0, 1])
    with pytest.warns(SijoWarning, match="2 of 3 attributes are the same for all 2 seen classes"):
        method = DAP().fit(texts, columns, seen)
    scores = method.scores(texts, np.array([[1, 1, 0], [0, 0, 0.0]]))
    assert np.isfinite(scores).all() and scores.argmax(1).tolist() == [0, 1, 0, 1]
    with pytest.raises(SettingError, match="the seen classes have the same attributes"):
        DAP().fit(texts, columns, np.ones((2, 3)))


def test_dap_cuts_vectors_at_the_mean_of_the_seen():
    # kills: the sign in place of the mean, or each class cut at its own
    seen = np.array([[0.9, 0.2], [0.7, 0.4]])
    texts, columns = np.array([[1.0], [-1.0]] * 4), np.array([0, 1] * 4)
    method = DAP().fit(texts, columns, seen)
    assert method.scores(texts[:1], np.array([[0.81, 0.1], [0.79, 9.0]])).argmax() == 0


def test_cosine_needs_one_space():
    with pytest.raises(SettingError, match="no cosine between them"):
        METHODS["cosine"]().fit(np.ones((2, 3)), np.array([0, 1]), np.ones((2, 4)))
    with pytest.raises(SettingError, match="must be above 0"):
        ESZSL(gamma=0)
    assert ConSE(top=3).settings == {"top": 3, "strength": 1e-4}
