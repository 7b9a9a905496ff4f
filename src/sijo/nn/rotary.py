"""Queries and keys turned by where a token stands, so that a score depends on how far apart two are.

Channels c and c + C / 2 of a head are a point in a plane, which is turned by place / base^(2 c / C).
Letters: C width of one head. Source: RoFormer (Su et al. 2021, arXiv:2104.09864), section 3.2; pairs half a head
apart as ModernBERT released them.
"""

import torch
from torch import Tensor


def rotation(places: Tensor, width: int, base: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """The cosines, then the sines, by which heads of a width C are turned at places (…): (2, …, C / 2).

    In float64 for a network of that dtype, and for others in float32, as released weights were trained.

    >>> cosines, sines = rotation(torch.tensor([0, 1]), 4, 100.0)
    >>> [round(float(sine), 4) for sine in sines[1]]        # of 1, and of 1 / 100^(2/4)
    [0.8415, 0.0998]
    """
    wide = torch.promote_types(dtype, torch.float32)
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, device=places.device).to(wide) / width)
    angles = places[..., None].to(wide) * frequencies
    return torch.stack([angles.cos(), angles.sin()])


def rotated(states: Tensor, turn: Tensor) -> Tensor:
    """States (…, C) turned by what `rotation` gives, of the dtype of the states.

    >>> rotated(torch.tensor([1.0, 0.0]), torch.tensor([[0.0], [1.0]])).tolist()       # a quarter of a turn
    [0.0, 1.0]
    """
    (cosines, sines), (one, two) = turn, states.chunk(2, dim=-1)
    return torch.cat([one * cosines - two * sines, two * cosines + one * sines], dim=-1).to(states.dtype)
