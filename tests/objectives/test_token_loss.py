"""The loss of tokens by pieces of the vocabulary, beside the plain way in double precision."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sijo.objectives import token_loss as module
from sijo.objectives.token_loss import token_loss

N, V, E = 37, 1_300, 8


def plain_draw(logits, throw):
    """One token by inverting the distribution function, from lists of floats."""
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    left = throw * math.fsum(weights)
    for token, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return token
    return len(logits) - 1


@pytest.fixture(params=[(2**21, 2**26), (1, 2**26), (1, 0)], ids=["one piece", "pieces", "pieces, computed again"])
def cut(request, monkeypatch):
    """Pieces of 512, 512 and 276 tokens, or one; kept or computed again."""
    monkeypatch.setattr(module, "PIECE", request.param[0])
    monkeypatch.setattr(module, "KEPT", request.param[1])


@pytest.fixture
def asked():
    """States, table, bias and targets, some of them at a piece's edges."""
    chance = torch.Generator().manual_seed(0)
    states, table, bias = (torch.randn(size, generator=chance) for size in ((N, E), (V, E), (V,)))
    targets = torch.randint(V, (N,), generator=chance)
    targets[:6] = torch.tensor([0, 511, 512, 1023, 1024, V - 1])
    targets[6:20] = (states @ table.T + bias).argmax(1)[6:20]  # some are right
    return [part.requires_grad_() for part in (states, table, bias)], targets


def plain(parts, targets, scale):
    """The sum of losses, how many are right, and the gradients of `scale` times the sum, in float64."""
    wide = [part.detach().double().requires_grad_() for part in parts]
    logits = wide[0] @ wide[1].T + wide[2]
    total = F.cross_entropy(logits, targets, reduction="sum")
    (scale * total).backward()
    return total.item(), int((logits.argmax(1) == targets).sum()), [part.grad for part in wide], logits.detach()


@pytest.mark.usefixtures("cut")
def test_loss_and_gradients_are_those_of_all_logits(asked):
    # kills: a piece left out, its top not taken off again, a target one piece too far, a guess counted from the
    # piece's start, a gradient that is not scaled, or of what was computed again
    parts, targets = asked
    total, right, drawn = token_loss(*parts, targets)
    (0.37 * total).backward()
    want, want_right, gradients, _ = plain(parts, targets, 0.37)
    assert total.item() == pytest.approx(want, rel=1e-6) and int(right) == want_right >= 14 and drawn is None
    for mine, theirs in zip(parts, gradients, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("cut")
def test_a_sample_inverts_the_distribution(asked):
    # kills: a draw by the wrong piece's edge, from the piece's first token, or that takes the loss's gradient
    parts, targets = asked
    throws = torch.from_numpy(np.random.Generator(np.random.Philox(key=1)).random(N))
    throws[:3] = torch.tensor([0.0, 1 - 1e-16, 0.5], dtype=torch.float64)
    _, _, drawn = token_loss(*parts, targets, throws)
    logits = plain(parts, targets, 1.0)[3]
    assert drawn.tolist() == [
        plain_draw(row.tolist(), float(throw)) for row, throw in zip(logits, throws, strict=True)
    ]
    with torch.no_grad():
        assert torch.equal(token_loss(*parts, targets, throws)[2], drawn)


@pytest.mark.usefixtures("cut")
def test_samples_are_distributed_as_the_softmax():
    # kills: argmax in place of a draw, edges without the last token
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    throws = torch.from_numpy(np.random.Generator(np.random.Philox(key=1)).random(100_000))
    states = torch.ones(len(throws), 1)
    none = torch.zeros(len(throws), dtype=torch.int64)
    _, _, drawn = token_loss(states, logits[:, None], torch.zeros(4), none, throws)
    counts = np.bincount(drawn.numpy(), minlength=4)
    expected = torch.softmax(logits.double(), -1).numpy() * len(throws)
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-squared, 3 degrees, p = 0.001
    flat, last = torch.zeros(128_000), torch.tensor([0.999999999, 1 - 1e-17], dtype=torch.float64)
    _, _, drawn = token_loss(torch.ones(2, 1), flat[:, None], flat, none[:2], last)
    assert drawn.tolist() == [127_999, 127_999]


class Watching(TorchDispatchMode):
    """The shapes of all tensors that are made."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        several = made if isinstance(made, tuple) else (made,)
        if not func.is_view:
            self.shapes += [tuple(part.shape) for part in several if torch.is_tensor(part)]
        return made


def test_nothing_as_wide_as_the_vocabulary_is_written(asked, monkeypatch):
    # kills: logits of all tokens, or their softmax in double precision, beside the pieces
    monkeypatch.setattr(module, "PIECE", 1)
    monkeypatch.setattr(module, "KEPT", 0)
    parts, targets = asked
    with Watching() as watching:
        token_loss(*parts, targets, torch.zeros(N, dtype=torch.float64))[0].backward()
    assert max(map(math.prod, watching.shapes)) <= max(V * E, N * module.NARROWEST) < N * V


@pytest.mark.parametrize("kept, again, held", [(N * V, True, 3), (N * V - 1, True, 0), (N * V, False, 0)])
def test_pieces_are_kept_while_they_are_few(asked, monkeypatch, kept, again, held):
    # kills: pieces that together are all logits after all, where there are many or nothing asks for them again
    monkeypatch.setattr(module, "PIECE", 1)
    monkeypatch.setattr(module, "KEPT", kept)
    states, table, bias = (part.detach() for part in asked[0])
    pieces = module._Pieces(states, table, bias, again=again)
    assert sum(part is not None for part in pieces._kept) == held and len(pieces._kept) == 3


def test_low_precision_rounds_products_alone(asked):
    # kills: sums or gradients kept in bfloat16, a gradient of another dtype than the weight's
    parts, targets = asked
    with torch.autocast("cpu", torch.bfloat16):
        total, _, _ = token_loss(*parts, targets)
    total.backward()
    want, _, gradients, _ = plain(parts, targets, 1.0)
    assert total.dtype == torch.float32 and total.item() == pytest.approx(want, rel=0.01)
    for mine, theirs in zip(parts, gradients, strict=True):
        assert mine.grad.dtype == torch.float32
        assert (mine.grad - theirs).norm() < 0.03 * theirs.norm()


def test_a_gradient_is_taken_once(asked):
    # kills: gradients that were scaled in place and are used again
    parts, targets = asked
    total, _, _ = token_loss(*parts, targets)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="formed anew"):
        total.backward()


def test_a_table_that_does_not_learn_costs_nothing(asked):
    # kills: a gradient as large as the table where only the states learn
    (states, table, bias), targets = asked
    table.requires_grad_(False)
    with Watching() as watching:
        token_loss(states, table, bias, targets)[0].backward()
    assert table.grad is None and (V, E) not in watching.shapes
    torch.testing.assert_close(
        states.grad.double(), plain((states, table, bias), targets, 1.0)[2][0], rtol=1e-5, atol=1e-5
    )
