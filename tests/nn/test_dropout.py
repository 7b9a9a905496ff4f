"""Dropout: how many values, which ones, and what becomes of the rest."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sijo.nn.architecture import Architecture, DropoutRates, Learned
from sijo.nn.attention import SelfAttention, View
from sijo.nn.dropout import Dropout, dropped


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.001])
def test_the_share_is_dropped_and_the_mean_stays(share):
    # kills: the share kept instead of dropped, no or a wrong division, values that a throw's last bits decide
    torch.manual_seed(0)
    out = dropped(torch.ones(1_000_001), share)
    rounded = round(share * 65_536) / 65_536
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - rounded), rel=1e-6)]
    for part in (out, *(out[start::4] for start in range(4))):  # four values come of one throw
        error = (rounded * (1 - rounded) / len(part)) ** 0.5
        assert abs((part == 0).double().mean().item() - rounded) < 4 * error


def test_neighbours_are_dropped_apart():
    # kills: one throw that decides about four values alike, or about every second one the other way round
    torch.manual_seed(0)
    gone = (dropped(torch.ones(400_000), 0.5) == 0).double()
    for apart in (1, 2, 3, 4, 5):
        both = (gone[:-apart] * gone[apart:]).mean().item()
        assert abs(both - 0.25) < 4 * (0.25 * 0.75 / 400_000) ** 0.5, apart


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_shape_and_dtype(shape, dtype):
    # kills: shapes whose size four does not divide, and a dtype that comes back wider
    out = dropped(torch.ones(shape, dtype=dtype), 0.5)
    assert (out.shape, out.dtype) == (torch.Size(shape), dtype)


def test_the_gradient_passes_where_the_values_did():
    # kills: a gradient of other places, or one that is not made larger too
    states = torch.full((1000,), 3.0, requires_grad=True)
    out = dropped(states, 0.25)
    out.sum().backward()
    assert torch.equal(states.grad * 3, out.detach())


def test_chance_is_torchs_and_only_in_training():
    # kills: a chance that manual_seed does not rule, dropout in eval mode, the same places at each call
    part = Dropout(0.5).train()
    states = torch.ones(64)
    torch.manual_seed(3)
    one, other = part(states), part(states)
    torch.manual_seed(3)
    assert torch.equal(part(states), one)
    assert not torch.equal(one, other)
    assert part.eval()(states) is states
    assert Dropout(0.0).train()(states) is states


def test_attention_in_training_is_attention_with_dropped_weights():
    # kills: a scale, a mask or a softmax that training alone would miss; weights dropped before the softmax
    sizes = {"vocab_size": 9, "embedding_size": 8, "hidden_size": 8, "intermediate_size": 8, "heads": 2}
    layer = SelfAttention(
        Architecture(**sizes, schedule=(0,), positions=Learned(count=8), dropout=DropoutRates(attention=0.25))
    ).double()
    states = torch.randn(2, 5, 8, dtype=torch.float64)
    bias = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
    bias[1, ..., 3:] = torch.finfo(torch.float64).min
    seen = View(bias < 0, bias)
    torch.manual_seed(1)
    given = layer.train()(states, states, seen)
    q, k, v = (part(states).unflatten(-1, (2, 4)).transpose(1, 2) for part in (layer.query, layer.key, layer.value))
    eye = torch.eye(5, dtype=torch.float64).expand(2, 2, 5, 5)
    weights = scaled_dot_product_attention(q, k, eye, attn_mask=bias)
    torch.manual_seed(1)
    wanted = layer.out((dropped(weights, 0.25) @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(given, wanted, atol=1e-12)
