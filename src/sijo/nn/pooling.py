"""One vector for a sequence of hidden states.

Letters: B batch, L length, D width.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["mean", "cls", "max"]


def pool(hidden_BLD: "Tensor", attention_mask: "Tensor | None", pooling: Pooling) -> "Tensor":
    """One vector for each row: the mean of its real tokens, its first token, or the largest of each dimension.

    hidden_BLD      (B, L, D) float
    attention_mask  (B, L), 1 or True at real tokens; None when there is no padding
    pooling         mean, cls or max

    Returns (B, D).
    Source: Reimers & Gurevych 2019 (arXiv:1908.10084), section 3.

    >>> import torch
    >>> states = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> pool(states, torch.tensor([[1, 1, 0]]), "mean").tolist()
    [[2.0, 3.0]]
    """
    if pooling == "cls":
        return hidden_BLD[:, 0]
    if attention_mask is None:
        return hidden_BLD.mean(1) if pooling == "mean" else hidden_BLD.amax(1)
    keep_BL1 = attention_mask.bool()[..., None]
    if pooling == "max":
        return hidden_BLD.masked_fill(~keep_BL1, float("-inf")).amax(1)
    return (hidden_BLD * keep_BL1).sum(1) / keep_BL1.sum(1).clamp(min=1)
