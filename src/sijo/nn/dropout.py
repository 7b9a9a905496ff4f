"""Dropout whose random draws cost little on a processor.

torch draws once for each value, on one thread: a seventh of a training step on two cores. Here one 64-bit random
integer supplies four 16-bit draws.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DRAWS = 2**16
"""Outcomes of the draw for one value, equally likely: a share to drop is rounded to so many parts."""


def dropped(states: Tensor, share: float) -> Tensor:
    """Some values set to 0, drawn with torch's default generator, the others scaled up so that the mean stays.

    states  of any shape and floating dtype
    share   how many are set to 0, from 0 to below 1; on a processor to the nearest 1 / 65,536

    Source: Srivastava et al. 2014, section 10, dividing in training.

    >>> _ = torch.manual_seed(0)
    >>> dropped(torch.ones(1000), 0.5).unique(return_counts=True)
    (tensor([0., 2.]), tensor([513, 487]))
    """
    if states.device.type != "cpu":
        return F.dropout(states, share)
    least = min(round(share * DRAWS), DRAWS - 1)
    draws = torch.empty(-(-states.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: states.numel()].view(states.shape) >= least - DRAWS // 2
    return states * kept.to(states.dtype).mul_(DRAWS / (DRAWS - least))


class Dropout(nn.Module):
    """`dropped` while the network is in training, nothing otherwise."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        """The states, of the same shape and dtype."""
        return dropped(states, self.share) if self.training and self.share else states
