"""Attention of a network that only reads, over packed rows: nothing is masked, and nothing of size L x L is kept.

Letters: R rows, H heads, L length, T tokens, D width, C width of one head, P distances, Q queries, W a window of
distances.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

from sijo.nn.architecture import Disentangled
from sijo.nn.attention import SelfAttention
from sijo.nn.distances import skew, table_rows
from sijo.nn.packing import Group
from sijo.nn.rotary import rotated
from sijo.nn.window import local_attention

SHORT = 96
"""Tokens of a row up to which it is read together with others, by all its distances at once."""
SHORT_PLAIN = 128
"""The same where there are no distances."""
TOGETHER = 2**17
"""Scores of short rows that are computed together, at most: of all heads, and of one row at least."""
QUERIES = 256
"""Queries of a longer row whose scores are kept at a time."""
STRIP = 64
"""Queries, or keys, whose products with distances are taken at a time."""


def _by_head(states: Tensor, *sizes: int) -> Tensor:
    """The last dimension split into so many parts, and each of them into so many."""
    return states.view(*states.shape[:-1], *sizes, -1)


DistanceRows = tuple[Tensor, Tensor]
"""Rows of the table of distances, falling and rising; see `distance_rows`."""


class LayerSight(NamedTuple):
    """What a layer makes of where the tokens of a longest row stand."""

    turn: Tensor | None = None
    """By what queries and keys are turned, (2, L, C / 2); None for not at all."""
    reach: int | None = None
    """How far it reads, in tokens; None for all."""
    bias: Tensor | None = None
    """What is added to scores, (H, L, L); None for nothing, as where it reads near tokens alone."""


def distance_rows(distances: Disentangled, length: int, device: torch.device) -> DistanceRows:
    """Rows of the table for the distances among `length` tokens: from length - 1 downwards, and from 1 - length up.

    Returns two int64 tensors of shape (2 · length - 1,).

    >>> [rows.tolist() for rows in distance_rows(Disentangled(span=2), 3, torch.device("cpu"))]
    [[3, 3, 2, 1, 1], [1, 1, 2, 3, 3]]
    """
    falling_P = table_rows(distances, torch.arange(length - 1, -length, -1, device=device))
    return falling_P, falling_P.flip(0)


class PreparedAttention:
    """Attention of packed rows on themselves, with queries scaled beforehand, and with distances or without.

    score(i, j) = q_i · k_j + q_i · Kr[i - j] + Qr[i - j] · k_j (DeBERTa, section 3.1), where Kr and Qr are known
    beforehand: what the layer makes of the table of distances, Qr scaled as queries are.
    """

    def __init__(self, attention: SelfAttention, table_PD: Tensor | None) -> None:
        """table_PD is the network's table of distances, (rows, D) float32, before a layer projects it."""
        self.heads, own = attention.heads, attention.distances
        self.key: Tensor | None = None
        """Kr, (rows, D); None where c2p is no term."""
        self.query: Tensor | None = None
        """Qr, (rows, D); None where p2c is no term."""
        if own is not None and table_PD is not None:
            if "c2p" in own.terms:
                self.key = _projected(own.key or attention.key, table_PD)
            if "p2c" in own.terms:
                self.query = _projected(own.query or attention.query, table_PD) * attention.scale

    def __call__(
        self, qkv_TE: Tensor, group: Group, rows: DistanceRows | None, out_TD: Tensor, seen: LayerSight
    ) -> None:
        """Attention of each row of a group on itself, written to its part of out_TD; qkv_TE is turned in place.

        qkv_TE  (T, 3 D): queries, already scaled, keys and values of each token side by side
        rows    what `distance_rows` gives for the group's length; None where there are no distances
        """
        bias = None if seen.bias is None else seen.bias[None, :, : group.length, : group.length]
        kr_HCP, qr_HCP = (
            None if table is None or rows is None else _by_head(table[rows[side]], self.heads).permute(1, 2, 0)
            for side, table in enumerate((self.key, self.query))
        )
        apart = kr_HCP is not None or qr_HCP is not None
        qkv = _by_head(group.of(qkv_TE), 3, self.heads)
        if seen.turn is not None:
            qkv[:, :, :2] = rotated(qkv[:, :, :2], seen.turn[:, : group.length, None, None])
        out = _by_head(group.of(out_TD), self.heads)
        if seen.reach is not None and group.length > seen.reach + 1:
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            out.copy_(local_attention(q, k, v, seen.reach).transpose(1, 2))
        elif group.length <= (SHORT if apart else SHORT_PLAIN):
            step = max(1, TOGETHER // (self.heads * group.length**2))
            for start in range(0, group.rows, step):
                self._short(qkv[start : start + step], kr_HCP, qr_HCP, bias, out[start : start + step])
        elif apart:
            for row in range(group.rows):
                self._long(qkv[row], kr_HCP, qr_HCP, out[row])
        else:
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            out.copy_(scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0).transpose(1, 2))

    def _short(
        self, qkv: Tensor, kr_HCP: Tensor | None, qr_HCP: Tensor | None, bias: Tensor | None, out: Tensor
    ) -> None:
        """Some rows, (R, L, 3, H, C), at once; written to `out`, (R, L, H, C)."""
        rows, length, _, heads, width = qkv.shape
        by_token = qkv.flatten(0, 1).permute(1, 2, 0, 3)  # (3, H, R L, C)
        parts = [] if bias is None else [bias.expand(rows, -1, -1, -1)]
        for states, table, across in ((0, kr_HCP, True), (1, qr_HCP, False)):
            if table is None:
                continue
            by_distance = torch.bmm(by_token[states], table)
            window = by_distance.shape[2]
            down, along = (window - 1, 1) if across else (1, window - 1)  # the skewed view, or it turned over
            strides = (length * window, rows * length * window, down, along)
            parts.append(by_distance.as_strided((rows, heads, length, length), strides, length - 1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, rows * heads, length, width)
        scores = qkv.new_empty(rows, heads, length, length)
        flat = scores.view(rows * heads, length, length)
        if parts:
            torch.add(parts[0], parts[-1] if len(parts) == 2 else 0, out=scores)
            flat.baddbmm_(q, k.transpose(1, 2))
        else:
            torch.bmm(q, k.transpose(1, 2), out=flat)
        torch.softmax(flat, -1, out=flat)
        out.copy_(torch.bmm(flat, v).view(rows, heads, length, width).transpose(1, 2))

    def _long(self, qkv: Tensor, kr_HCP: Tensor | None, qr_HCP: Tensor | None, out: Tensor) -> None:
        """One row, (L, 3, H, C), some queries at a time; written to `out`, (L, H, C)."""
        q, k, v = qkv.permute(1, 2, 0, 3)
        heads, length, _ = q.shape
        most = min(QUERIES, length)
        held = qkv.new_empty(heads * most * length)
        out_HLC = out.transpose(0, 1)
        for first in range(0, length, most):
            queries = min(most, length - first)
            scores_HQL = held[: heads * queries * length].view(heads, queries, length)
            if kr_HCP is None:
                scores_HQL.zero_()
            else:
                for at in range(first, first + queries, STRIP):
                    count = min(STRIP, first + queries - at)
                    window = kr_HCP[:, :, length - at - count : 2 * length - 1 - at]
                    by_distance = torch.bmm(q[:, at : at + count], window)
                    scores_HQL[:, at - first : at - first + count].copy_(skew(by_distance, length))
            if qr_HCP is not None:
                for at in range(0, length, STRIP):
                    count = min(STRIP, length - at)
                    lowest = first + length - at - count
                    window = qr_HCP[:, :, lowest : lowest + queries + count - 1]
                    by_distance = torch.bmm(k[:, at : at + count], window)
                    scores_HQL[:, :, at : at + count].add_(skew(by_distance, queries).transpose(1, 2))
            scores_HQL.baddbmm_(q[:, first : first + queries], k.transpose(1, 2))
            torch.softmax(scores_HQL, -1, out=scores_HQL)
            out_HLC[:, first : first + queries].copy_(torch.bmm(scores_HQL, v))


def _projected(linear: nn.Linear, table_PD: Tensor) -> Tensor:
    """A table of distances through a linear map, in float32."""
    bias = None if linear.bias is None else linear.bias.detach().float()
    return F.linear(table_PD, linear.weight.detach().float(), bias)
