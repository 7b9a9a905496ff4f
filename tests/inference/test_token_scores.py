"""What heads say at some places of inputs given as ids, against what they say at all of them."""

import numpy as np
import pytest
import torch

import sijo
from battery import SETTINGS, cases
from sijo.errors import SettingError
from sijo.inference.backends import torch_backend
from sijo.inference.backends.backend import Backend, IdBatch, TokenPlaces
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.encode import engine_of
from sijo.inference.engine import AskedInput
from sijo.models import FAMILIES

TOKEN_HEADS = ("mlm", "rtd")


def every():
    """The battery's cases of all families with a head that answers for tokens, whatever its layout."""
    made = [
        case for name in FAMILIES if name in SETTINGS for case in (*cases(name, "public"), *cases(name, "plain"))
    ]
    return [case for case in made if case.layout is not None and case.layout.name in TOKEN_HEADS]


@pytest.mark.parametrize("case", every(), ids=lambda case: str(case).replace(", ", "-"))
def test_scores_at_places_are_those_of_the_whole(shelf, case, monkeypatch):
    # kills: another place's or another row's score, a token's logit not held against all others, rows mixed up
    # where places come in several steps, the mask decoder left out, the other head's answer
    monkeypatch.setattr(torch_backend, "MOST_LOGITS", 3 * case.config.architecture().vocab_size)
    truth, head = shelf.truth(case), case.layout.name
    model, batch = truth.open(), case.batch()
    backend = TorchBackend(model)
    keep = batch["attention_mask"]
    ids, types = batch["input_ids"], batch["token_type_ids"]
    if not model.architecture.token_types:
        types = torch.zeros_like(types)
    real = torch.ones_like(ids, dtype=torch.bool) if keep is None else keep
    chance = np.random.default_rng(case.number)
    rows, columns = (index.numpy() for index in real.nonzero(as_tuple=True))
    picked = chance.integers(len(rows), size=11)  # some of them twice
    rows, columns = rows[picked], columns[picked]
    tokens = chance.integers(model.architecture.vocab_size, size=11) if head == "mlm" else None
    got = backend.scores_at(
        IdBatch(ids.numpy(), None if keep is None else keep.numpy(), types.numpy()),
        head,
        TokenPlaces(rows, columns, tokens),
    )
    whole = truth.answers[head].double()
    want = whole[rows, columns] if tokens is None else whole.log_softmax(-1)[rows, columns, tokens]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def engine():
    torch.manual_seed(0)
    return engine_of(sijo.load(head="new:mlm"))


ASKED = [
    AskedInput((101, 103, 102), places=(1, 1), tokens=(5961, 7117)),
    AskedInput((101, 2023, 103, 103, 102), places=(2, 3), tokens=(5961, 7117)),
    AskedInput((101, 103, 102), places=(1,), tokens=(2023,)),
    AskedInput((101, *range(2000, 2040), 103, 102), places=(41,), tokens=(2023,)),
    AskedInput((101, 2024, 103, 103, 102), places=(3,), tokens=(5961,)),
]


def test_the_order_of_inputs_changes_no_bit(engine, monkeypatch):
    # kills: answers that come back in the order of the batches, batches made in the order of what is asked
    read, inner = [], engine.backend.scores_at
    monkeypatch.setattr(
        engine.backend, "scores_at", lambda batch, *a: read.append(batch.input_ids.tolist()) or inner(batch, *a)
    )
    want = engine.scores_at("mlm", ASKED)
    assert [part.shape for part in want] == [(2,), (2,), (1,), (1,), (1,)]
    first = [*read]
    got = engine.scores_at("mlm", ASKED[::-1])[::-1]
    assert read == first * 2
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one, other)
    for ask, part in zip(ASKED, want, strict=True):
        np.testing.assert_allclose(engine.scores_at("mlm", [ask])[0], part, atol=1e-5)


def test_equal_inputs_are_read_once(engine, monkeypatch):
    # kills: a pass for each label that is asked about at one and the same blank
    rows, inner = [], engine.backend.scores_at
    monkeypatch.setattr(
        engine.backend, "scores_at", lambda batch, *a: rows.append(len(batch.input_ids)) or inner(batch, *a)
    )
    engine.scores_at("mlm", ASKED)
    assert sum(rows) == 4
    assert engine.scores_at("mlm", []) == []


def test_what_cannot_be_asked_is_said(engine):
    # kills: a KeyError for a head that was not opened, and a backend that answers by another head
    with pytest.raises(SettingError, match=r"opened without a head that answers for tokens.*head='rtd'"):
        engine.scores_at("rtd", ASKED)
    with pytest.raises(SettingError, match=r"the torch backend runs no head.*--backend"):
        Backend.scores_at(engine.backend, IdBatch.of([[1]]), "mlm", TokenPlaces(np.array([0]), np.array([0])))
