"""Products in pieces, and matrices laid out another way: the same numbers."""

import pytest
import torch
from torch.nn import functional as F

import sijo
from sijo.nn import linear
from sijo.nn.architecture import Architecture, PreNorm, Sinusoidal
from sijo.nn.linear import FEW, Linear, lay_out, product

SIZES = {"vocab_size": 40, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 20}


def network():
    positions = Sinusoidal(count=16, layout="halves")
    a = Architecture(**SIZES, schedule=(0, 1), positions=positions, reads="left", entry="scale", norm=PreNorm())
    torch.manual_seed(0)
    return sijo.create(a, "lm")


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(linear, "LEAST", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 5, FEW, FEW + 1])
@pytest.mark.parametrize("outputs", [127, 128, 257, 300])
def test_products_in_pieces(rows, outputs, columns, bias, threads):
    # kills: a last piece left out, or counted twice; pieces in another order; rows of states exchanged; a bias
    # forgotten, or added to the pieces alone; columns read as rows
    torch.manual_seed(0)
    part = Linear(24, outputs, bias=bias)
    if columns:
        part.weight.data = part.weight.data.T.contiguous().T
    states = torch.randn(rows, 1, 24)
    exact = F.linear(states.double(), part.weight.double(), part.bias.double() if bias else None)
    with torch.inference_mode():
        got = part(states)
    assert got.shape == (rows, 1, outputs)
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=1e-5)


def test_where_a_product_is_in_pieces(threads, monkeypatch):
    # kills: training by other sums than before; numbers of another kind taken in pieces; a single row on one
    # thread where there are more, or in pieces where there are not; many rows by columns in pieces
    counts = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda one, other: counts.append(len(one)) or bmm(one, other))
    weight, columns = torch.randn(256, 24), torch.randn(24, 256).T
    with torch.inference_mode():
        for matrix, rows in ((weight, 5), (weight, FEW + 1), (weight, 1), (columns, 1), (columns, 5)):
            product(torch.randn(rows, 24), matrix, None)
        for other in (weight.bfloat16(), weight.double(), weight[:, :20]):
            product(torch.randn(5, other.shape[1], dtype=other.dtype), other, None)
    assert counts == [2, *([] if threads == 1 else [2, threads])]
    product(torch.randn(5, 24), weight.requires_grad_(), None).square().sum().backward()
    assert weight.grad is not None and len(counts) == (1 if threads == 1 else 3)


def test_nothing_but_the_order_changes(tmp_path):
    # kills: a matrix transposed for good, or saved as it lies; a network that cannot be laid out twice
    model = network()
    ids = torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    want = model(ids).logits
    for rows in (1, 1, 8, 1):
        lay_out(model, rows=rows)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        torch.testing.assert_close(model(ids).logits, want, rtol=0, atol=1e-5)
    by_rows, by_columns = (
        (sijo.save(one, tmp_path / str(number)) / "model.safetensors").read_bytes()
        for number, one in enumerate((network(), model))
    )
    assert by_rows == by_columns


def test_a_network_that_has_written_may_be_trained():
    # kills: weights that belong to inference for ever
    model = network()
    with torch.inference_mode():
        lay_out(model, rows=1)
    model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    gradients = [weight.grad for weight in model.parameters()]
    lay_out(fresh := network(), rows=1)
    torch.optim.AdamW(model.parameters(), lr=0.1).step()
    changed = [not torch.equal(*pair) for pair in zip(model.parameters(), fresh.parameters(), strict=True)]
    assert all(changed) and all(gradient is not None for gradient in gradients)


def test_the_longer_side_lies_in_one_piece():
    # kills: the shorter side in one piece, or for many rows of states; a square or another dtype moved for nothing
    model = network()
    for alone in (True, False):
        lay_out(model, rows=1 if alone else 3)
        for weight in model.parameters():
            if weight.dim() == 2:
                rows, columns = weight.shape
                assert weight.stride() == ((1, rows) if alone and rows > columns else (columns, 1))
    half = network().bfloat16()
    lay_out(half, rows=1)
    assert all(weight.is_contiguous() for weight in half.parameters())
