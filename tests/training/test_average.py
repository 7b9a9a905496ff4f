"""The moving average of the weights; over shards in test_optimizers.py. Each test names what it is to catch."""

import pytest
import torch
from torch import nn

from sijo.errors import CheckpointError, SettingError
from sijo.training.average import Average


class Tied(nn.Module):
    """A table used twice, a frozen one, and a bias."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.table = nn.Embedding(3, 2, dtype=dtype)
        self.out = nn.Linear(2, 3, dtype=dtype)
        self.out.weight = self.table.weight
        self.places = nn.Embedding(3, 2, dtype=dtype).requires_grad_(False)


def learn(model, chance):
    """Move every weight, frozen ones too, and return them in plain numbers."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=chance, dtype=torch.float64))
    return plain(model)


def plain(model):
    return {name: weight.flatten().tolist() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_it_is_the_formula_in_plain_numbers(decay):
    # kills: decay and its complement exchanged, no warm start, the count begun at 1, an average that begins at zero
    model, chance = Tied(), torch.Generator().manual_seed(0)
    want = learn(model, chance)
    average = Average(model, decay)
    for n in range(20):
        now, d = learn(model, chance), min(decay, (1 + n) / (10 + n))
        want = {
            name: [d * old + (1 - d) * new for old, new in zip(want[name], now[name], strict=True)] for name in want
        }
        average.update(model)
    own = plain(model)
    with average.swapped_into(model):
        got = plain(model)
    assert plain(model) == own
    for name in ("table.weight", "out.bias"):
        assert got[name] == pytest.approx(want[name], rel=0, abs=1e-12)


def test_what_is_shared_is_there_once_and_what_is_frozen_not_at_all():
    # kills: a shared weight averaged twice an update, memory for what never moves
    average = Average(Tied(), 0.9)
    assert sorted(average.tensors()) == ["out.bias", "table.weight", "updates"]


def test_weights_come_back_to_the_bit_even_after_an_error():
    # kills: a model left with its average, weights rounded on the way through float32
    model, chance = Tied(torch.bfloat16), torch.Generator().manual_seed(0)
    average = Average(model, 0.999)
    for _ in range(3):
        learn(model, chance)
        average.update(model)
    own = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), average.swapped_into(model):
        assert not torch.equal(model.out.bias, own["out.bias"])
        raise KeyboardInterrupt
    assert all(torch.equal(weight, own[name]) for name, weight in model.state_dict().items())


def test_it_is_finer_than_the_weights():
    # kills: an average in bfloat16, which a decay of 0.999 can no longer move
    model = Tied(torch.bfloat16)
    average = Average(model, 0.999)
    assert average.weights["out.bias"].dtype == torch.float32
    average.updates.fill_(1_000_000)
    before = average.weights["out.bias"].clone()
    nn.init.constant_(model.out.bias, 2.0)
    average.update(model)
    assert average.weights["out.bias"].tolist() == pytest.approx((before * 0.999 + 0.002).tolist(), abs=1e-7)


def test_it_does_not_follow_the_weights_by_itself():
    # kills: a view of the weights in place of a copy
    model = Tied()
    average = Average(model, 0.9)
    before = average.weights["out.bias"].clone()
    nn.init.constant_(model.out.bias, 7.0)
    assert torch.equal(average.weights["out.bias"], before)


def test_another_goes_on_where_it_stopped():
    # kills: the count of updates not kept, a tensor that is not restored to the bit
    model, chance = Tied(torch.float32), torch.Generator().manual_seed(0)
    one, other = Average(model, 0.999), Average(Tied(torch.float32), 0.999)
    for _ in range(3):
        learn(model, chance)
        one.update(model)
    other.load({name: tensor.clone() for name, tensor in one.tensors().items()})
    learn(model, chance)
    one.update(model)
    other.update(model)
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    with pytest.raises(CheckpointError, match=r"average of the weights: 1 of 3 tensors are missing \(out.bias\)"):
        other.load({name: tensor for name, tensor in one.tensors().items() if name != "out.bias"})


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_a_decay_that_is_none_is_refused(decay):
    # kills: an average that never moves, or grows
    with pytest.raises(SettingError, match=r"such as 0\.999"):
        Average(Tied(), decay)
