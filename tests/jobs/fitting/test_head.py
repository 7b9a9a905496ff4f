"""The head: against the loss in plain numbers, at both ends of its strength, and where a class has no label."""

import math

import numpy as np
import pytest

from sijo.inference.outputs import unit
from sijo.jobs.fitting.head import (
    CANDIDATES,
    DEFAULT,
    ZERO_SHOT,
    Prior,
    Strength,
    _Problem,
    _some_of_each,
    fit_head,
    folds,
    share_right,
    stand_ins,
)


def drawn(count, labels, width, *, seed, noise=0.6):
    """Unit vectors about one centre a label, what is right, and vectors of labels that lie beside the centres."""
    chance = np.random.default_rng(seed)
    centres = unit(chance.normal(size=(labels, width)))
    gold = np.arange(count) % labels
    texts = unit(centres[gold] + noise * chance.normal(size=(count, width)))
    return texts, np.eye(labels, dtype=bool)[gold], unit(centres + 0.8 * chance.normal(size=centres.shape))


def plain_loss(weight, bias, texts, right, prior, strength, *, multi_label):
    """The loss of the docstring, in loops: prior logits times s, plus w z and c, against the labels that occur."""
    seen = [label for label in range(right.shape[1]) if any(row[label] for row in right)]
    total = 0.0
    for x, row in zip(texts, right, strict=True):
        z = [(a - m) / prior.spread for a, m in zip(x, prior.mean_D, strict=True)]
        logits = {}
        for y in seen:
            zero = math.fsum(a * w for a, w in zip(x, prior.weight_LD[y], strict=True)) + prior.bias_L[y]
            logits[y] = (
                strength.prior * zero + math.fsum(w * a for w, a in zip(weight[y], z, strict=True)) + bias[y]
            )
        if multi_label:
            for y, logit in logits.items():
                total += math.log1p(math.exp(-logit if row[y] else logit))
        else:
            total += math.log(math.fsum(map(math.exp, logits.values()))) - sum(logits[y] for y in seen if row[y])
    squares = sum(math.fsum(w * w for w in weight[y]) + 100 * bias[y] ** 2 for y in seen)
    return total + strength.penalty / 2 * squares


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_head_is_the_best_by_the_formula(multi_label):
    # kills: the prior left out or doubled; biases as loose as weights; the mean or the spread of z left out;
    # a softmax over labels that nobody gave
    texts, right, labels = drawn(9, 4, 5, seed=1)
    right[:, 3] = False
    right[3] = [True, False, False, False]
    right[7] = [True, multi_label, False, False]
    prior = Prior.of(labels, texts, multi_label=multi_label, none_score=0.2)
    strength = Strength(0.5, 0.3)
    problem = _Problem(texts, right, prior, multi_label=multi_label)
    weight_LR, bias = problem.solved(strength)
    weight = weight_LR @ problem.basis_RD
    loss = plain_loss(weight, bias, texts, right, prior, strength, multi_label=multi_label)
    chance = np.random.default_rng(0)
    for _ in range(20):
        step = 1e-2 * chance.normal(size=weight.shape), 1e-2 * chance.normal(size=bias.shape)
        for sign in (1, -1):
            moved = weight + sign * step[0], bias + sign * step[1]
            assert plain_loss(*moved, texts, right, prior, strength, multi_label=multi_label) > loss
    assert not weight[3].any() and bias[3] == 0


def test_the_matrix_answers_as_its_parts_do():
    # kills: mean, spread or scale folded into the wrong place
    texts, right, labels = drawn(40, 3, 6, seed=2)
    prior = Prior.of(labels, texts)
    head = fit_head(texts, right, prior)
    problem = _Problem(texts, right, prior, multi_label=False)
    weight_LR, bias = problem.solved(head.strength)
    z = (texts - prior.mean_D) / prior.spread
    want = head.strength.prior * prior.logits(texts) + z @ (weight_LR @ problem.basis_RD).T + bias
    np.testing.assert_allclose(head.logits(texts), head.scale * want, atol=1e-9)


def test_a_class_without_labels_keeps_its_texts():
    # kills: a class that nobody has labelled yet given to none of its texts; stand-ins of another class, or none;
    # stand-ins that are held out, and told of as if somebody had labelled them
    texts, right, labels = drawn(160, 4, 16, seed=3, noise=0.3)
    known, rows = np.flatnonzero(~right[:, 3]), right[:, 3]
    prior, few, others = Prior.of(labels, texts), known[:12], texts[80:]
    vectors, own = stand_ins(right[few], prior, labels, others)
    assert len(vectors) == 4 and own[:, 3].all() and own.sum() == 4
    assert all((others == vector).all(-1).any() for vector in vectors)
    zero = (prior.logits(texts)[rows].argmax(-1) == 3).mean()
    alone = fit_head(texts[few], right[few], prior)
    head = fit_head(texts[few], right[few], prior, beside=(vectors, own))
    recall = [(one.logits(texts)[rows].argmax(-1) == 3).mean() for one in (alone, head)]
    assert recall[0] < zero - 0.1 <= recall[1] - 0.1
    assert head.tried == 12
    problem = _Problem(texts[few], right[few], prior, multi_label=False, beside=(vectors, own))
    folds_n = folds(right[few], 3, seed=0)
    held = problem.held_out_logits([DEFAULT], folds_n)[0]
    weight_LR, bias = problem.solved(DEFAULT, np.concatenate([folds_n != 0, np.ones(4, bool)]))
    want = DEFAULT.prior * problem.prior_nL[:12] + problem.z_nR[:12] @ weight_LR.T + bias
    np.testing.assert_allclose(held[folds_n == 0], want[folds_n == 0], atol=1e-9)
    words, _ = stand_ins(right[few], prior, labels, texts[:0])
    assert (words == labels[3:]).all()


def test_many_labels_outweigh_the_prior():
    # kills: a prior that is never let go of; cross-validation that cannot leave the default
    texts, right, _ = drawn(400, 3, 8, seed=4, noise=0.5)
    wrong = unit(np.random.default_rng(9).normal(size=(3, 8)))  # what the labels' names say is of no use
    head = fit_head(texts[:300], right[:300], Prior.of(wrong, texts))
    assert head.chosen and head.strength.prior < DEFAULT.prior
    assert share_right(head.logits(texts[300:]), right[300:], multi_label=False).value > 0.75
    assert share_right(Prior.of(wrong, texts).logits(texts), right, multi_label=False).value < 0.6


def test_labels_that_say_nothing_leave_the_zero_shot_answer():
    # kills: a head that answers worse than what it began at, because labels were drawn at random
    texts, right, labels = drawn(90, 3, 30, seed=5, noise=0.2)
    mixed = right[np.random.default_rng(0).permutation(90)]
    head = fit_head(texts, mixed, Prior.of(labels, texts))
    assert head.held_out is not None and head.held_out.value < 0.6
    assert CANDIDATES.count(ZERO_SHOT) == 1 and DEFAULT in CANDIDATES


def test_a_dozen_texts_choose_nothing():
    # kills: thirty settings compared on three texts a class
    texts, right, labels = drawn(12, 4, 6, seed=6)
    head = fit_head(texts, right, Prior.of(labels, texts))
    assert not head.chosen and head.strength == DEFAULT and head.tried == 12
    alone = fit_head(texts[:4], right[:4], Prior.of(labels, texts))
    assert alone.held_out is None and alone.tried == 0 and alone.scale == 1.0


def test_nobody_is_surer_than_a_few_texts_allow():
    # kills: probabilities of 0.99998 out of four texts that are all answered right
    texts, right, labels = drawn(8, 2, 4, seed=7, noise=0.01)
    head = fit_head(texts, right, Prior.of(labels, texts))
    logits = head.logits(texts)
    chances = 1 / (1 + np.exp(-np.abs(logits[:, 0] - logits[:, 1])))
    assert head.held_out is not None and head.held_out.value == 1 and chances.mean() < 0.97


def test_vectors_learned_from_the_texts_judge_nothing():
    # kills: a strength chosen on texts that the encoder was trained on; their accuracy told as if held out
    texts, right, labels = drawn(60, 3, 8, seed=8)
    judged = np.array([[5.0, 0, 0], [0, 5.0, 0]]), np.eye(3, dtype=bool)[[0, 2]]
    head = fit_head(texts, right, Prior.of(labels, texts), judged=judged)
    assert head.strength == DEFAULT and head.tried == 2 and head.held_out is not None and head.held_out.value == 0.5


def test_folds_share_each_label_out():
    # kills: all texts of a label in one fold; folds that change from run to run
    right = np.eye(3, dtype=bool)[np.repeat([0, 1, 2], [20, 10, 3])]
    folds_n = folds(right, 5, seed=0)
    for label, least in ((0, 4), (1, 2)):
        assert np.bincount(folds_n[right[:, label]], minlength=5).tolist() == [least] * 5
    assert len(set(folds_n[right[:, 2]].tolist())) == 3
    assert (folds(right, 5, seed=0) == folds_n).all() and (folds(right, 5, seed=1) != folds_n).any()
    assert folds(right[:2], 5, seed=0).tolist() in ([0, 1], [1, 0])


def test_some_of_each_label_are_tried():
    # kills: a sample that leaves rare labels out
    right = np.eye(2, dtype=bool)[np.repeat([0, 1], [900, 100])]
    places = _some_of_each(right, 100, seed=0)
    assert len(places) == 100 and right[places].sum(0).tolist() == [90, 10]


def test_labels_without_words_and_texts_alike():
    # kills: a division by a spread of 0
    texts = unit(np.ones((4, 3)))
    head = fit_head(texts, np.eye(2, dtype=bool)[[0, 1, 0, 1]], Prior.of(np.zeros((2, 3)), texts))
    assert np.isfinite(head.logits(texts)).all()


def test_texts_that_have_no_label_leave_the_zero_shot_answer():
    # kills: a crash where each text is labelled with an empty list
    texts, right, labels = drawn(6, 2, 5, seed=10)
    prior = Prior.of(labels, texts, multi_label=True, none_score=0.2)
    head = fit_head(texts, np.zeros_like(right), prior, multi_label=True)
    np.testing.assert_allclose(head.logits(texts), DEFAULT.prior * prior.logits(texts))
    assert head.held_out is None


def test_of_many_sigmoids_some_choose(monkeypatch):
    # kills: all of hundreds of labels solved for each strength in turn; answers held out of those few alone
    texts, right, labels = drawn(240, 12, 16, seed=11)
    prior, solved, numbers = Prior.of(labels, texts, multi_label=True, none_score=0.2), _Problem.solved, []

    def counted(self, strength, *rest):
        numbers.append((strength, self.right_nL.shape[1]))
        return solved(self, strength, *rest)

    monkeypatch.setattr(_Problem, "solved", counted)
    fit_head(texts, right, prior, multi_label=True)
    assert [labels for _, labels in numbers] == [12] * (5 * len(CANDIDATES) + 1)
    monkeypatch.setattr("sijo.jobs.fitting.head.MOST_SIGMOIDS", 4)
    numbers.clear()
    head = fit_head(texts, right, prior, multi_label=True)
    assert [labels for _, labels in numbers] == [4] * 5 * len(CANDIDATES) + [12] * 6
    assert head.chosen and {strength for strength, _ in numbers[-6:]} == {head.strength}
    problem = _Problem(texts, right, prior, multi_label=True)
    held = problem.held_out_logits([head.strength], folds(right, 5, 0))[0]
    assert head.held_out == share_right(held, right, multi_label=True)
    weight_LR, _ = solved(problem, head.strength)
    some = problem.of_labels(np.array([7, 3]))
    alone, _ = solved(some, head.strength)
    np.testing.assert_allclose(alone, weight_LR[[7, 3]], atol=1e-2)
    np.testing.assert_allclose(some.prior_nL, prior.logits(texts)[:, [7, 3]])
