"""Matrices of eight bits, against plain numbers."""

import pytest
import torch
from torch import nn

from sijo.nn import int8
from sijo.nn.int8 import FEW, Int8Linear, Int8Table, quantized


def matrix(rows, columns, seed=0):
    """Rows of very different sizes; one of them all zeros."""
    chance = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, columns, generator=chance) * torch.logspace(-6, 3, rows)[:, None]
    weights[rows // 2] = 0
    return weights


def test_every_weight_is_the_nearest_number_times_its_rows_scale():
    # kills: a scale for all rows, or of another row; a number cut off in place of rounded; a scale that is rounded
    # after weights were divided by it; a row of zeros that becomes NaN; a number that wraps round at 128
    weights = matrix(9, 40)
    numbers, scales = quantized(weights)
    assert numbers.dtype == torch.int8 and scales.dtype == torch.bfloat16 and (scales > 0).all()
    for row, whole, scale in zip(weights.tolist(), numbers.tolist(), scales.tolist(), strict=True):
        largest = max(map(abs, row))
        assert scale == pytest.approx(largest / 127, rel=2**-8) or largest == 0
        for weight, number in zip(row, whole, strict=True):
            assert -127 <= number <= 127
            assert abs(weight - number * scale) <= 0.5001 * scale
        assert largest == 0 or 127 in map(abs, whole)


@pytest.mark.parametrize("piece", [int8.PIECE, 300])
def test_rows_are_rounded_some_at_a_time(piece, monkeypatch):
    # kills: a last part that is left out, a part written to another's place
    monkeypatch.setattr(int8, "PIECE", piece)
    weights = matrix(23, 64)
    numbers, scales = quantized(weights)
    for row in range(23):
        alone = quantized(weights[row : row + 1])
        assert torch.equal(numbers[row], alone[0][0]) and scales[row] == alone[1][0]


@pytest.mark.parametrize("columns", [64, 24])
@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, 40])
@pytest.mark.parametrize("piece", [int8.PIECE, 300])
def test_products(columns, rows, piece, monkeypatch):
    # kills: a scale forgotten, or of another row; a bias forgotten, or added twice; columns that torch reads past;
    # rows of states mixed up
    monkeypatch.setattr(int8, "PIECE", piece)
    chance = torch.Generator().manual_seed(1)
    linear = nn.Linear(columns, 23)
    linear.weight.data, linear.bias.data = matrix(23, columns), torch.randn(23, generator=chance)
    states = torch.randn(rows, 1, columns, generator=chance)
    rounded = Int8Linear(linear)
    exact = rounded.numbers.double() * rounded.scales.double()[:, None]
    want = states.double() @ exact.T + linear.bias.double()
    got = rounded(states)
    assert got.dtype == torch.float32 and got.shape == (rows, 1, 23)
    size = states.double().abs() @ exact.abs().T + linear.bias.abs()
    assert ((got - want).abs() <= 2**-8 * size).all()  # of bfloat16's 8 bits, on the way in and out
    few = torch.cat([rounded(some) for some in states.split(5)])
    torch.testing.assert_close(got, few, rtol=2**-7, atol=1e-6)
    without = Int8Linear(nn.Linear(columns, 23, bias=False))
    assert without.bias is None and without(states).shape == (rows, 1, 23)


def test_a_table_is_looked_up_and_multiplied():
    # kills: a scale by place in place of token, tokens told by another table than they are looked up in
    weights = matrix(23, 64)
    tokens = Int8Table(weights)
    ids = torch.tensor([[3, 22], [0, 3]])
    found = tokens(ids)
    assert found.dtype == torch.float32 and found.shape == (2, 2, 64)
    torch.testing.assert_close(found, weights[ids], rtol=0, atol=float(weights.abs().amax() / 200))
    torch.testing.assert_close(found[0, 0], weights[3], rtol=0, atol=float(weights[3].abs().amax() / 200))
    states = torch.eye(64)[:20]
    torch.testing.assert_close(tokens.times(states).T, tokens(torch.arange(23))[:, :20], rtol=2**-8, atol=0)


def test_nothing_of_it_is_trained():
    # kills: a bias that an optimizer would move alone
    rounded = Int8Linear(nn.Linear(64, 8))
    assert not any(weight.requires_grad for weight in rounded.parameters())
    assert set(rounded.state_dict()) == {"numbers", "scales", "bias"}
