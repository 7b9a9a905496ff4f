"""Each token gathers from the others what it needs.

Letters: B batch, H heads, Q queries, K keys, L length, P distances, D width, C width of one head.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

from sijo.nn.architecture import Architecture
from sijo.nn.cache import Layer
from sijo.nn.distances import DistanceScores
from sijo.nn.dropout import dropped
from sijo.nn.linear import Linear
from sijo.nn.rotary import rotated


@dataclass(frozen=True)
class View:
    """What a token may read in this batch, the same in every layer."""

    unseen: Tensor | None = None
    """True where a query must not read a key, broadcast to (B, H, Q, K); None where all read all."""
    bias: Tensor | None = None
    """The same as numbers to add to scores: 0, or the lowest there is."""
    distances: Tensor | None = None
    """(P, D): the vector of each distance between two tokens of the batch."""
    pairs: Tensor | None = None
    """(B, 1, Q, K) int64: which of these each query and key are apart, where places are not columns."""
    turn: Tensor | None = None
    """(2, 1 or B, 1, Q, C / 2), by which queries and keys are turned (`rotation`); None for not at all."""


def hiding(unseen: Tensor, like: Tensor) -> View:
    """The view in which `unseen` is not read, with a bias of the dtype of scores: of `like`, or of half float32."""
    dtype = torch.float32 if like.dtype == torch.float16 else like.dtype
    bias = torch.zeros(unseen.shape, dtype=dtype, device=like.device)
    return View(unseen, bias.masked_fill(unseen, torch.finfo(dtype).min))


def behind(place_B: Tensor, width: int, like: Tensor) -> View:
    """What one new token of each row may read: itself and what stands before it, of `width` tokens kept.

    place_B  (B,) int64, where the new tokens stand
    like     a tensor of the dtype the scores will have

    >>> behind(torch.tensor([0, 2]), 3, torch.zeros(1)).unseen[:, 0, 0].tolist()
    [[False, True, True], [False, False, False]]
    """
    return hiding((torch.arange(width, device=place_B.device) > place_B[:, None])[:, None, None, :], like)


def view(architecture: Architecture, keep_BL: Tensor | None, like: Tensor, parts_BL: Tensor | None = None) -> View:
    """What may be read: no padding, nothing to the right where the network reads to the left, and no other part.

    keep_BL   True at real tokens; None when there is no padding
    like      a tensor (B, L, …) of the dtype the scores will have
    parts_BL  integers: what is of part 0 is read by all, and any other part by itself alone; None for one part

    The lowest number rather than minus infinity is added: a row that is all padding then attends
    evenly instead of turning into NaN, as in the released code.

    >>> sizes = {"vocab_size": 9, "embedding_size": 2, "hidden_size": 2, "intermediate_size": 2}
    >>> tiny = Architecture(**sizes, heads=1, schedule=(0,))
    >>> view(tiny, torch.tensor([[True, False]]), torch.zeros(1, 2)).bias.tolist()[0][0][0]
    [0.0, -3.4028234663852886e+38]
    """
    unseen = None
    if keep_BL is not None:
        unseen = ~keep_BL[:, None, None, :]
        if architecture.distances is not None:  # DeBERTa hides every key from a padded query
            unseen = unseen | ~keep_BL[:, None, :, None]
    if architecture.reads == "left":
        length = like.shape[1]
        ahead = torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)
        unseen = ahead if unseen is None else unseen | ahead
    if parts_BL is not None:
        other = (parts_BL[:, None, None] != 0) & (parts_BL[:, None, None] != parts_BL[:, None, :, None])
        unseen = other if unseen is None else unseen | other
    return View() if unseen is None else hiding(unseen, like)


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence on itself (Vaswani et al. 2017, section 3.2).

    With distances, the score of a pair is the sum of up to three products, each divided by the root
    of their number too (DeBERTa, section 3.1).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, apart = architecture.hidden_size, architecture.distances
        self.heads = architecture.heads
        self.dropout = architecture.dropout.attention
        biased = "attention" in architecture.biases
        self.query = Linear(width, width, bias=biased)
        self.key = Linear(width, width, bias=biased and (apart is None or apart.key_bias))
        self.value = Linear(width, width, bias=biased)
        self.out = Linear(width, width, bias=biased)
        self.distances = None if apart is None else DistanceScores(architecture, apart)
        products = 1 + (len(apart.terms) if apart else 0)
        self.scale = 1 / math.sqrt(width // self.heads * products)

    def forward(self, query_BQD: Tensor, hidden_BKD: Tensor, view: View, kept: Layer | None = None) -> Tensor:
        """Queries from query_BQD, keys and values from hidden_BKD, with distances of the same L. Returns (B, Q, D).

        kept  the cache's part of this layer: read too, and added to
        """
        q_BHQC, k_BHKC, v_BHKC = (
            states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)
            for states in self._projected(query_BQD, hidden_BKD)
        )
        if q_BHQC.dtype == torch.float16:  # whose largest number is 65,504: sums of scores pass it
            q_BHQC, k_BHKC, v_BHKC = q_BHQC.float(), k_BHKC.float(), v_BHKC.float()
        if view.turn is not None:
            q_BHQC, k_BHKC = rotated(q_BHQC, view.turn), rotated(k_BHKC, view.turn)
        if kept is not None:
            k_BHKC, v_BHKC = kept.extend(k_BHKC, v_BHKC)
        bias = view.bias
        if self.distances is not None and view.distances is not None:
            apart = self.distances(q_BHQC, k_BHKC, view.distances, self.query, self.key, self.scale, view.pairs)
            if apart is not None:
                lowest = torch.finfo(apart.dtype).min
                bias = apart if view.unseen is None else apart.masked_fill(view.unseen, lowest)
        bias = None if bias is None else bias.to(q_BHQC.dtype)
        share = self.dropout if self.training else 0.0
        learned = bias is not None and bias.requires_grad  # by distances: torch would look for empty rows first
        if q_BHQC.device.type == "cpu" and (share or learned):  # where torch draws more slowly than it multiplies
            scores = q_BHQC * self.scale @ k_BHKC.transpose(-1, -2)
            weights = (scores if bias is None else scores + bias).softmax(-1)
            read_BHQC = (dropped(weights, share) if share else weights) @ v_BHKC
        else:
            read_BHQC = scaled_dot_product_attention(
                q_BHQC, k_BHKC, v_BHKC, attn_mask=bias, dropout_p=share, scale=self.scale
            )
        out_BQD: Tensor = self.out(read_BHQC.transpose(1, 2).flatten(2).to(query_BQD.dtype))
        return out_BQD

    def _projected(self, query_BQD: Tensor, hidden_BKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, L, D) each; where a network learns, from one product if they read the same.

        One product of three matrices side by side, and one of its gradient, is quicker than three; where nothing is
        learned the matrices would be put side by side for every call.
        """
        parts = (self.query, self.key, self.value)
        plain = all(type(part) is Linear for part in parts)  # and not in 8 bits, or partly trained
        if query_BQD is not hidden_BKD or not plain or not torch.is_grad_enabled():
            return self.query(query_BQD), self.key(hidden_BKD), self.value(hidden_BKD)
        weight = torch.cat(tuple(part.weight for part in parts))
        biases = (part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias for part in parts)
        joined = F.linear(hidden_BKD, weight, torch.cat(tuple(biases)))
        query, key, value = joined.chunk(3, dim=-1)
        return query, key, value
