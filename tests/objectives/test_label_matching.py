"""Matching of texts and labels against plain numbers: each text read by itself, cosines and softmax by hand."""

import math
from dataclasses import replace

import pytest
import torch

from sijo.checkpoints.load import load
from sijo.data.samples import Batch
from sijo.errors import SettingError
from sijo.objectives.label_matching import LabelMatching
from sijo.objectives.posed_batch import unposed

TEXTS = [
    "the sea was old",
    "we lost money",
    "a game of two",
    "it is raining on land and sea and not in a bank",
    "tax",
]
LABELS = ["the sea", "money and tax", "a ball game is good"]
RIGHT = [0, 1, 2, 0, 1]


@pytest.fixture
def model(tiny_model):
    model = load(tiny_model)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def batch_of(tokenizer, texts, **more):
    import numpy as np

    rows = [tokenizer.framed(ids).ids for ids in tokenizer.ids(texts)]
    width = max(map(len, rows)) + 3
    ids, keep = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), bool)
    for row, own in enumerate(rows):
        ids[row, : len(own)], keep[row, : len(own)] = own, True
    zeros = np.zeros_like(ids)
    flat = np.arange(len(rows))
    return Batch(ids, keep, zeros, ~keep, np.zeros((len(rows), 2), np.int64), flat, flat, flat * 0, **more)


@pytest.fixture
def posed(model):
    import numpy as np

    beside = batch_of(model.tokenizer, LABELS)
    return unposed(batch_of(model.tokenizer, TEXTS, labels=np.array(RIGHT), beside=beside))


def plain_loss(model, *, temperature, skip=0, dimensions=None):
    """The sum over texts, every input read alone and without padding; cosines and softmax in loops."""

    def vector(text):
        ids = torch.tensor([model.tokenizer.framed(model.tokenizer.ids([text])[0]).ids])
        states = model.transformer(ids).last_hidden_state[0]
        rows = [states[place] for place in range(min(skip, len(states) - 1), len(states))]
        return (sum(rows[1:], rows[0]) / len(rows))[:dimensions]

    def cosine(one, other):
        return (one * other).sum() / torch.sqrt((one * one).sum()) / torch.sqrt((other * other).sum())

    labels = [vector(label) for label in LABELS]
    total = torch.zeros(())
    for text, right in zip(TEXTS, RIGHT, strict=True):
        own = vector(text)
        scores = [cosine(own, label) / temperature for label in labels]
        total = total + torch.log(sum(torch.exp(score) for score in scores)) - scores[right]
    return total


@pytest.mark.parametrize("options", [{}, {"skip": 2}, {"dimensions": 7}])
def test_loss_and_gradient_in_plain_numbers(model, posed, options):
    # kills: a temperature that multiplies, vectors that are not unit, padding that is pooled, labels' vectors
    # without a gradient, a mean in place of a sum, targets of another order, tokens skipped that should not be
    model.eval()
    objective = LabelMatching(model, temperature=0.3, **options)
    tally = objective(posed)["labels"]
    assert tally.count == 5 and objective.counts(posed) == {"labels": 5}
    tally.total.backward()
    got = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    want = plain_loss(model, temperature=0.3, **options)
    assert math.isclose(tally.total.item(), want.item(), rel_tol=1e-5)
    want.backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(
                got[name], weight.grad, rtol=1e-3, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
    cosines = objective.cosines(posed)
    assert int(tally.right) == int((cosines.argmax(1) == torch.tensor(RIGHT)).sum())


def test_pieces_add_up_to_the_batch(model, posed):
    # kills: a piece that sees some of the labels alone, labels cut with the rows
    model.eval()
    objective = LabelMatching(model)
    whole = objective(posed)["labels"]
    whole.total.backward()
    want = model.transformer.blocks[0].widen.weight.grad.clone()
    model.zero_grad()
    totals = []
    for rows in ([3], [0, 4], [2, 1]):
        piece = objective(posed.rows(rows).to(torch.device("cpu")))["labels"]
        piece.total.backward()
        totals.append(piece.total.item())
    assert math.isclose(sum(totals), whole.total.item(), rel_tol=1e-5)
    torch.testing.assert_close(model.transformer.blocks[0].widen.weight.grad, want, rtol=1e-3, atol=1e-4)


def test_nothing_is_dropped_unless_asked(model, posed):
    # kills: dropout that is on by default, or cannot be had
    assert model.architecture.dropout.hidden > 0
    torch.manual_seed(0)
    still, shaken = LabelMatching(model), LabelMatching(model, dropout=True)
    still.train()
    assert still.training and still(posed)["labels"].total == still(posed)["labels"].total
    shaken.train()
    assert shaken(posed)["labels"].total != shaken(posed)["labels"].total
    shaken.eval()
    assert shaken(posed)["labels"].total == still(posed)["labels"].total


def test_labels_go_where_texts_go(posed):
    # kills: labels left on another device
    moved = posed.to(torch.device("meta"))
    assert moved.input_ids.is_meta and moved.beside.input_ids.is_meta and moved.beside.keep.is_meta
    assert (
        posed.rows([1]).beside is posed.beside
        and replace(posed, beside=None).to(torch.device("cpu")).beside is None
    )


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_cannot_be(model, temperature):
    # kills: a division by zero, a NaN that teaches nothing
    with pytest.raises(SettingError, match="temperature="):
        LabelMatching(model, temperature=temperature)


def test_a_teachers_opinion_in_plain_numbers(model, posed):
    # kills: the divergence the other way round, a teacher's scores divided once more, their order lost, a mean
    model.eval()
    wanted = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 2.0], [1.0, 1.0, 1.0], [0.5, -1.0, 0.0], [0.0, 9.0, 1.0]])
    objective = LabelMatching(model, temperature=0.3)
    taught = replace(posed, labels=wanted)
    tally = objective(taught)["labels"]
    cosines, total = objective.cosines(posed).tolist(), 0.0
    for theirs, ours in zip(wanted.tolist(), cosines, strict=True):
        p, q = ([math.exp(score) for score in row] for row in (theirs, [cosine / 0.3 for cosine in ours]))
        total += sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    assert math.isclose(tally.total.item(), total, rel_tol=1e-4) and tally.count == 5
    best = [row.index(max(row)) for row in cosines]
    first = [row.index(max(row)) for row in wanted.tolist()]
    assert int(tally.right) == sum(one == other for one, other in zip(best, first, strict=True))
    pieces = [objective(taught.rows(rows))["labels"].total.item() for rows in ([3], [0, 4], [2, 1])]
    assert math.isclose(sum(pieces), total, rel_tol=1e-4)
