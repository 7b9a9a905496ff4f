"""What stands between the two maps of a feed-forward layer. Letters: F width inside it."""

from collections.abc import Callable

from torch import Tensor

from sijo.nn.architecture import PARTS, FeedForward


def between(kind: FeedForward, activation: Callable[[Tensor], Tensor], wide: Tensor) -> Tensor:
    """What is narrowed again, (…, F): all that was widened, after the activation; or half of it, times the other.

    Source: Shazeer 2020 (arXiv:2002.05202), equation 5, with the gate second as ModernBERT released it.

    >>> import torch
    >>> between("gated", torch.relu, torch.tensor([3.0, -1.0, 2.0, 5.0])).tolist()
    [6.0, 0.0]
    """
    first, *gate = wide.chunk(PARTS[kind], dim=-1)
    return activation(first) * gate[0] if gate else activation(first)
