"""The loss of pairs against the formula in loops, and what a batch is made of."""

import math

import numpy as np
import pytest
import torch

import sijo
from sijo.errors import SettingError
from sijo.inference.encode import engine_of
from sijo.jobs.fitting.few_labels import few_labels
from sijo.jobs.fitting.pairs import (
    LONGEST,
    ContrastiveSettings,
    _batches,
    _inputs,
    pair_loss,
    trained_on_pairs,
    trained_scorer,
)
from sijo.zeroshot.scorers.open import open_scorer


def plain_loss(vectors, same, temperature):
    """Khosla et al. 2020, equation 2, in loops; the mean over texts that have a pair."""
    losses = []
    for i, anchor in enumerate(vectors):
        scores = [math.fsum(a * b for a, b in zip(anchor, other, strict=True)) / temperature for other in vectors]
        below = math.fsum(math.exp(score) for a, score in enumerate(scores) if a != i)
        positive = [p for p in range(len(vectors)) if p != i and same[i][p]]
        if positive:
            losses.append(-math.fsum(scores[p] - math.log(below) for p in positive) / len(positive))
    return math.fsum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 1], [0, 1, 2, 2, 0], [0, 1, 2, 3, 4]])
def test_the_loss_is_the_formula(groups):
    # kills: a text as its own pair; itself among the others; a mean over texts without a pair
    vectors = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    same = torch.tensor([[a == b for a in groups] for b in groups])
    ours = pair_loss(vectors.double(), same, temperature=0.3).item()
    assert ours == pytest.approx(plain_loss(vectors.double().tolist(), same.tolist(), 0.3), abs=1e-12)


def test_batches_have_pairs_and_every_text_comes_up():
    # kills: batches of one label; labels' own sentences left out; texts that are never drawn; draws that change
    right = np.eye(3, dtype=bool)[[0] * 9 + [1] * 4 + [2]]
    batches = list(_batches(right, 14, 6, 12, seed=0))
    assert batches == list(_batches(right, 14, 6, 12, seed=0)) != list(_batches(right, 14, 6, 12, seed=1))
    for batch in batches:
        texts, sentences = [place for place in batch if place < 14], [place - 14 for place in batch if place >= 14]
        assert {int(right[place].argmax()) for place in texts} == {*sentences} and len(sentences) == 3
        assert len(texts) == len({*texts})
    assert {place for batch in batches for place in batch} == {*range(17)}


def test_many_labels_take_turns():
    # kills: the same eight labels in every batch
    right = np.eye(20, dtype=bool)[np.repeat(np.arange(20), 2)]
    drawn = [{place - 40 for place in batch if place >= 40} for batch in _batches(right, 40, 16, 5, seed=0)]
    assert all(len(labels) == 8 for labels in drawn) and len(set.union(*drawn)) == 20


def test_long_texts_are_cut(tiny_model):
    # kills: the end token cut off; memory for a whole article
    engine = engine_of(tiny_model)
    ids = _inputs(engine, ["rain " * 500])[0]
    assert len(ids) <= LONGEST and ids[-1] == engine.model.tokenizer.windows(["rain"])[0][0][-1]


def test_the_same_seed_gives_the_same_weights(tiny_model):
    # kills: dropout, or an order, that nobody can repeat
    def weights(seed):
        texts, right = ["rain", "sun", "tax", "bank"], np.eye(2, dtype=bool)[[0, 0, 1, 1]]
        few = ContrastiveSettings(fewest=5, passes=1)
        model = trained_on_pairs(sijo.load(tiny_model), texts, right, ["a", "b"], seed=seed, settings=few)
        return torch.cat([weight.flatten() for weight in model.parameters()])

    first = weights(0)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))


def test_texts_of_a_label_come_near(tiny_model):
    # kills: a gradient that never reaches the network; texts driven from their own label's
    texts, right = ["rain", "sun", "tax", "bank"], np.eye(2, dtype=bool)[[0, 0, 1, 1]]

    def apart(model):
        cosines = sijo.encode(model, texts) @ sijo.encode(model, texts).T
        return cosines[0, 1] + cosines[2, 3] - cosines[:2, 2:].mean() * 2

    quick = ContrastiveSettings(fewest=20, passes=1, rate=3e-3)
    model = trained_on_pairs(sijo.load(tiny_model), texts, right, ["sea", "money"], settings=quick)
    assert apart(model) > apart(sijo.load(tiny_model)) + 0.2


def test_an_encoder_without_a_folder_is_refused(tiny_model):
    # kills: an error of torch in place of a sentence
    scorer = open_scorer("embedding", sijo.load(tiny_model))
    scorer.engine.model.source = None
    some = few_labels(["rain", "tax"], ["sea", "money"])
    with pytest.raises(SettingError, match="has no folder to begin from"):
        trained_scorer(scorer, some)
