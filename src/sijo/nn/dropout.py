"""Dropout whose random draws cost little on a processor.

torch draws once for each value, on one thread: a seventh of a training step on two cores. Here torch's generator
gives a seed for each call, and of numpy's SFC64, which is twice as quick, one 64-bit integer supplies four draws of
16 bits. They are compared as the integers they are: a comparison that gives booleans, and floats made of those,
take torch eight times as long.
"""

import numpy as np
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
    (tensor([0., 2.]), tensor([496, 504]))
    """
    if states.device.type != "cpu":
        return F.dropout(states, share)
    least = min(round(share * DRAWS), DRAWS - 1)
    chance = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
    draws = torch.from_numpy(chance.random_raw(-(-states.numel() // 4)).view(np.int16))
    kept = draws[: states.numel()].ge_(least - DRAWS // 2).view(states.shape)  # 1 and 0, still of 16 bits
    return states * kept.to(states.dtype).mul_(DRAWS / (DRAWS - least))


class Dropout(nn.Module):
    """`dropped` while the network is in training, nothing otherwise."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        """The states, of the same shape and dtype."""
        return dropped(states, self.share) if self.training and self.share else states
