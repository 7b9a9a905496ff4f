"""One vector for a sequence of hidden states.

Letters: B batch, L length, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sijo.nn.head_specs import Pooling, PoolingMode, pooling_modes


def pool(hidden_BLD: Tensor, attention_mask: Tensor | None, pooling: Pooling, skip: Sequence[int] = ()) -> Tensor:
    """One vector for each row, made of its real tokens.

    cls                   the first
    max                   the largest of each dimension
    mean                  their mean
    mean_sqrt_len_tokens  their sum over the root of their number
    weightedmean          their mean, where the first weighs 1, the second 2, and so on
    lasttoken             the last

    hidden_BLD      (B, L, D) float
    attention_mask  (B, L), 1 or True at real tokens; None when there is no padding, which stands on the right
    pooling         a mode, or several, whose vectors then stand one after another
    skip            how many tokens at the start of each row are left out, fewer than it has, or nothing; they
                    count where the places of the others are weights

    Returns (B, D), or (B, n D) for n modes.
    Source: Reimers & Gurevych 2019 (arXiv:1908.10084), section 3, and for the last three their library.

    >>> states = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> pool(states, torch.tensor([[1, 1, 0]]), ("mean", "max")).tolist()
    [[2.0, 3.0, 3.0, 4.0]]
    >>> pool(states, None, "mean", skip=[1]).tolist()
    [[6.0, 5.5]]
    """
    keep_BL, first_B = None if attention_mask is None else attention_mask.bool(), None
    if any(skip):
        first_B = torch.tensor(skip, device=hidden_BLD.device)
        after_BL = torch.arange(hidden_BLD.shape[1], device=hidden_BLD.device) >= first_B[:, None]
        keep_BL = after_BL if keep_BL is None else keep_BL & after_BL
    vectors = [_pooled(hidden_BLD, keep_BL, first_B, mode) for mode in pooling_modes(pooling)]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def _pooled(hidden_BLD: Tensor, keep_BL: Tensor | None, first_B: Tensor | None, mode: PoolingMode) -> Tensor:
    """By one mode, over what is kept, of which the first stands at `first_B`; None for 0."""
    rows_B, length = torch.arange(len(hidden_BLD), device=hidden_BLD.device), hidden_BLD.shape[1]
    if mode == "cls":
        return hidden_BLD[:, 0] if first_B is None else hidden_BLD[rows_B, first_B]
    place_L = torch.arange(length, device=hidden_BLD.device)
    if mode == "lasttoken":
        return hidden_BLD[:, -1] if keep_BL is None else hidden_BLD[rows_B, (keep_BL * place_L).argmax(1)]
    if mode == "weightedmean":
        weight_BL = (place_L + 1).expand(hidden_BLD.shape[:2]) * (1 if keep_BL is None else keep_BL)
        share_BL1 = (weight_BL / weight_BL.sum(1, keepdim=True).clamp(min=1))[
            ..., None
        ]  # float32, which half is not
        return (hidden_BLD * share_BL1).sum(1).to(hidden_BLD.dtype)
    if mode == "max":
        return (hidden_BLD if keep_BL is None else hidden_BLD.masked_fill(~keep_BL[..., None], -torch.inf)).amax(1)
    if keep_BL is None:
        mean_BD: Tensor = hidden_BLD.mean(1)
        return mean_BD if mode == "mean" else mean_BD * length**0.5
    keep_BL1 = keep_BL[..., None]
    count_B1 = keep_BL1.sum(1).clamp(min=1)
    return (hidden_BLD * keep_BL1).sum(1) / (count_B1 if mode == "mean" else count_B1.sqrt())
