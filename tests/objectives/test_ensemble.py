"""The ensemble of a network's own answers: its numbers, which rows it trusts, and what is learned from them."""

import math

import numpy as np
import pytest
import torch

from objectives.test_supervised import network, rows_of
from sijo.data.labelled_inputs import InputSettings, LabelledInputs
from sijo.errors import SettingError
from sijo.objectives.ensemble import Ensemble, Ensembling, trusted
from sijo.objectives.posed_batch import unposed
from sijo.objectives.supervised import Supervised

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def samples(tokenizer):
    """Nine rows of four classes."""
    return LabelledInputs(
        rows_of("classification", 9, 0), "classification", NAMES, tokenizer, InputSettings(length=32)
    )


def learning(tiny_model, samples, smoothing=0.15, **settings):
    """A network under an ensemble, without dropout's chance, and a question of all rows."""
    ensemble = Ensemble(Ensembling(**{"every": 10, "fewest": 0} | settings), samples)
    ours = Supervised(
        network(tiny_model, "classification"), "classification", smoothing=smoothing, ensemble=ensemble
    )
    return ours.eval(), ours.pose(unposed(samples.at(np.arange(len(samples)))), 0)


def softmax(row):
    total = math.fsum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_numbers_of_the_reference(samples):
    # kills: momentum on the wrong side, no correction for the start, a ramp that is linear or ends elsewhere
    ensemble = Ensemble(Ensembling(every=100), samples)
    for share, want in ((0.9, 0.9), (0.6, 0.733333)):
        ensemble.take_in(torch.tensor([[share, 1 - share, 0, 0]]).repeat(9, 1))
        assert ensemble.shares()[4].tolist() == pytest.approx([want, 1 - want, 0, 0], abs=1e-6)
    settings = Ensembling()
    assert settings.ramp(5) == pytest.approx(0.286505, abs=1e-6) and settings.ramp(10) == settings.ramp(99) == 1
    assert settings.ramp(1) == pytest.approx(math.exp(-4.05)) and settings.ramp(0) == 0
    assert (settings.momentum, settings.threshold, settings.fewest, settings.weight) == (0.8, 0.8, 16, 10)
    assert settings.every is None


def test_smoothed_targets_of_the_reference():
    # kills: smoothing that leaves its share off the truth's own column
    for classes, want in ((2, (0.925, 0.075)), (3, (0.90, 0.05))):
        scores = torch.zeros(1, classes, requires_grad=True)
        torch.nn.functional.cross_entropy(scores, torch.tensor([0]), label_smoothing=0.15).backward()
        targets = 1 / classes - scores.grad[0]  # the gradient of a cross-entropy is softmax less target
        assert targets[:2].tolist() == pytest.approx(want)


def test_which_rows_are_trusted():
    # kills: rows that are trusted for another label, a threshold that is met, the half that is worse, of all rows
    shares = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.81, 0.19], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    assert trusted(shares, labels, Ensembling(fewest=0)).tolist() == [True, False, True, False, False, False, True]
    assert trusted(shares, labels, Ensembling(fewest=2)).tolist() == [True, False, True, False, True, False, True]
    half = trusted(shares, labels, Ensembling(fewest=2, threshold=0.999))
    assert half.tolist() == [True, False, True, False, True, False, True]
    # where few agree, a class is not left with less than its half, nor without one that is trusted
    most = trusted(shares[:3], labels[:3], Ensembling(fewest=9, threshold=0.5))
    assert most.tolist() == [True, True, True]
    # no majority of one's own label: not trusted, whatever the threshold
    assert (
        trusted(torch.tensor([[0.3, 0.4, 0.3]]), torch.tensor([0]), Ensembling(fewest=0, threshold=0.1)).any() == 0
    )


def test_a_reading_is_of_all_rows_without_dropout(tiny_model, samples):
    # kills: rows in the order of their lengths, dropout in what is averaged, a network that stays in eval
    ours, question = learning(tiny_model, samples)
    ours.train()
    assert not ours.before(0) and not ours.before(9) and ours.before(10) and ours.training
    assert not ours.before(10)  # as when a run goes on from a checkpoint that holds this reading
    with torch.no_grad():
        want = ours.eval().scores(question).softmax(-1)
    torch.testing.assert_close(ours.ensemble.shares(), want)
    assert ours.before(20) and int(ours.ensemble.readings) == 2
    torch.testing.assert_close(ours.ensemble.shares(), want)


def test_the_loss_in_plain_numbers(tiny_model, samples):
    # kills: the divergence the other way round, a ramp left out, rows that are not trusted in a part of the loss,
    # a sum that is divided by all rows, the average of another row
    ours, question = learning(tiny_model, samples, smoothing=0.0, rise=2, threshold=0.5)
    assert ours.weights == {"label": 1.0, "ensemble": 10.0}
    before = ours(ours.prepare(question))
    assert before["ensemble"].total == 0 and before["label"].count == 9 == ours.counts(question)["ensemble"]
    said = torch.full((9, 4), 0.1)
    for row, label in enumerate(samples.labels):
        said[row, label if row % 3 else (label + 1) % 4] = 0.7 - 0.01 * row
    ours.ensemble.take_in(said / said.sum(-1, keepdim=True))
    kept = [row for row in range(9) if row % 3]
    assert ours.ensemble.among(question) == kept and ours.counts(question) == {"label": 6, "ensemble": 6}
    tallies = ours(ours.prepare(question))
    label, apart = 0.0, 0.0
    for row in kept:
        p = softmax(ours.scores(question)[row].tolist())
        label -= math.log(p[samples.labels[row]])
        z = [value / sum(said[row].tolist()) for value in said[row].tolist()]
        apart += math.fsum(a * (math.log(a) - math.log(b)) for a, b in zip(z, p, strict=True))
    assert tallies["label"].total.item() == pytest.approx(label, rel=1e-5)
    assert tallies["ensemble"].total.item() == pytest.approx(math.exp(-5 / 4) * apart, rel=1e-4)
    assert {tally.count for tally in tallies.values()} == {6}
    pieces = [ours(ours.prepare(question.rows(piece))) for piece in ([8, 0, 1, 2], [3], [7, 4, 5, 6])]
    for name, tally in tallies.items():
        assert sum(piece[name].total.item() for piece in pieces) == pytest.approx(tally.total.item(), rel=1e-4)
        assert [piece[name].count for piece in pieces] == [3, 0, 3]
    sum(tally.total for tally in pieces[1].values()).backward()
    assert all(weight.grad.count_nonzero() == 0 for weight in ours.parameters() if weight.grad is not None)


def test_what_cannot_be(tiny_model, samples):
    # kills: a setting that is found out to be none after an hour
    for wrong, words in (
        ({"every": 0}, "ensemble.every=0"),
        ({"momentum": 1.0}, "ensemble.momentum=1.0"),
        ({"threshold": -0.1}, "ensemble.threshold=-0.1"),
        ({"fewest": -1}, "ensemble.fewest=-1"),
        ({"rise": 0}, "ensemble.rise=0"),
        ({"weight": math.inf}, "ensemble.weight=inf"),
    ):
        with pytest.raises(SettingError, match=words):
            Ensembling(**wrong)
    with pytest.raises(SettingError, match="for classification, not multi-label"):
        Supervised(
            network(tiny_model, "multi-label"), "multi-label", ensemble=Ensemble(Ensembling(every=1), samples)
        )
