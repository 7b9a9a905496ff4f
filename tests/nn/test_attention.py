"""Plain attention against the formula. Each test names the fault it is to catch."""

import pytest
import torch

from battery import scramble
from reference import attention as plain
from sijo.nn.architecture import Architecture, Disentangled
from sijo.nn.attention import SelfAttention, View, view


def architecture(**changes):
    sizes = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}
    return Architecture(**(sizes | {"schedule": (0,)} | changes))


def scrambled(part):
    """Every weight set, in double precision."""
    return scramble(part.double(), 1.0)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("reads", ["both_sides", "left"])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_attention_matches_the_formula(reads, heads):
    # kills: a wrong scale, heads split the wrong way, query and key swapped, padding or the future read, and
    # queries taken from where keys are
    a = architecture(heads=heads, reads=reads)
    part = scrambled(SelfAttention(a))
    hidden, asking = draw(1, 6, 12), draw(1, 6, 12, seed=2)
    keep = [True, True, False, True, True, False]
    got = part(asking, hidden, view(a, torch.tensor([keep]), hidden))
    may = [[keep[j] and (reads == "both_sides" or j <= i) for j in range(6)] for i in range(6)]
    maps = {name: (m.weight.tolist(), m.bias.tolist()) for name, m in part.named_children()}
    want = plain.attention(asking[0].tolist(), hidden[0].tolist(), maps, heads, may)
    torch.testing.assert_close(got, got.new_tensor([want]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("distances", [None, Disentangled(span=4)])
def test_a_row_of_padding_alone_attends_evenly(distances):
    # kills: minus infinity as the mask: such a row is then NaN or zeros, unlike the released code
    a = architecture(distances=distances)
    part = scrambled(SelfAttention(a)).float()
    hidden = draw(1, 4, 12).float()
    seen = view(a, torch.zeros(1, 4, dtype=torch.bool), hidden)
    got = part(hidden, hidden, View(seen.unseen, seen.bias, None if distances is None else draw(8, 12).float()))
    want = part.out(part.value(hidden).mean(1, keepdim=True)).expand_as(got)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_what_may_be_read():
    # kills: a mask that is turned round, and one that a batch without padding pays for
    keep = torch.tensor([[True, True, False]])
    like = torch.zeros(1, 3, 2)
    assert view(architecture(), None, like) == View()
    assert view(architecture(), keep, like).unseen[0, 0].tolist() == [[False, False, True]]
    apart = view(architecture(distances=Disentangled(span=4)), keep, like).unseen[0, 0]
    assert apart.tolist() == [[False, False, True], [False, False, True], [True, True, True]]
    left = view(architecture(reads="left"), keep, like).unseen[0, 0]
    assert left.tolist() == [[False, True, True], [False, False, True], [False, False, True]]
    assert view(architecture(reads="left"), None, like).unseen.tolist() == torch.ones(3, 3).triu(1).bool().tolist()


def test_attention_weights_are_dropped_in_training_alone():
    # kills: dropout that a model in eval mode still has, or one in training lacks
    a = architecture()
    part = scrambled(SelfAttention(a))
    hidden = draw(1, 6, 12)
    quiet = [part(hidden, hidden, View()) for _ in range(2)]
    assert torch.equal(*quiet)
    part.train()
    assert not torch.equal(part(hidden, hidden, View()), part(hidden, hidden, View()))


@pytest.mark.parametrize("distances", [None, Disentangled(span=6), Disentangled(span=6, key_bias=False)])
def test_one_product_of_three_matrices_is_the_three(distances):
    # kills: query, key and value in another order, a bias that keys have not, heads cut across the three, gradients
    # that land on a copy
    part = scrambled(SelfAttention(architecture(distances=distances)))
    hidden, apart = draw(2, 6, 12).requires_grad_(), None if distances is None else draw(12, 12)
    with torch.no_grad():
        want = part(hidden, hidden, View(distances=apart))
    got = part(hidden, hidden, View(distances=apart))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    three = part(hidden.clone(), hidden, View(distances=apart))  # from two sources there is no one product
    gradients = []
    for out in (got, three):
        part.zero_grad()
        hidden.grad = None
        (out * torch.arange(12)).sum().backward()
        gradients.append([hidden.grad, *(weight.grad for weight in part.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_part_that_is_another_module_is_called():
    # kills: a projection of 8 bits, or one with something trained beside it, of which the bare weight is taken
    class Twice(torch.nn.Linear):
        def forward(self, states):
            return 2 * super().forward(states)

    part = scrambled(SelfAttention(architecture()))
    hidden = draw(1, 6, 12)
    before = part(hidden, hidden, View())
    value = Twice(12, 12).double()
    value.load_state_dict(part.value.state_dict())
    part.value = value
    torch.testing.assert_close(part(hidden, hidden, View()) - part.out.bias, 2 * (before - part.out.bias))
