"""Where one token stands from another, and what attention makes of it.

DeBERTa gives a token no position of its own. It scores each pair of tokens three times: word on
word, word on distance, and distance on word. This module turns distances into rows of a table and
those rows into scores; `attention.py` adds them to its own.

Letters: B batch, H heads, Q queries, K keys, L length, P distances, D width, C width of one head.
"""

import math

import torch
from torch import Tensor, nn

from sijo.nn.architecture import Architecture, Disentangled
from sijo.nn.dropout import Dropout
from sijo.nn.embeddings import table
from sijo.nn.norm import layer_norm


def distance_bucket(distance: Tensor, *, buckets: int, span: int, ahead: int | None = None) -> Tensor:
    """The bucket of each signed distance: exact close by, coarser further off.

    Distances up to buckets / 2 keep their own value. Beyond that, buckets widen with distance;
    everything `span` - 1 tokens away or more shares the last.

    distance  integers, tokens from key to query (i - j), any shape
    buckets   how many buckets on each side of zero; 0 keeps every distance apart
    span      the furthest distance told apart, in tokens
    ahead     the furthest to the right; None for `span` - 1

    Returns integers of the same shape, in (-buckets, buckets), or without buckets in [-ahead, span).
    Source: released DeBERTa-v2 code, da_utils.py, and of `ahead` disentangled_attention.py, where it is `span`; the
    paper gives no formula.

    >>> distance_bucket(torch.tensor([0, 128, -130, 9000]), buckets=256, span=512).tolist()
    [0, 128, -130, 255]
    """
    near = distance.clamp(1 - span if ahead is None else -ahead, span - 1)
    if not buckets:
        return near
    half = buckets // 2
    far = near.abs().clamp(min=half).double()
    steps = (far / half).log() / math.log((span - 1) / half) * (half - 1)
    rounded = (steps - 1e-9).ceil().long()  # a step that is whole may come out a hair above, and one too far
    return torch.where(near.abs() <= half, near, (half + rounded) * near.sign())


def table_rows(distances: Disentangled, distance: Tensor) -> Tensor:
    """The row of the table for each signed distance."""
    bucket = distance_bucket(distance, buckets=distances.buckets, span=distances.span, ahead=distances.ahead)
    return (bucket + distances.rows // 2).clamp(0, distances.rows - 1)


class DistanceTable(nn.Module):
    """A vector for each bucket of distances, shared by all layers."""

    def __init__(self, architecture: Architecture, distances: Disentangled) -> None:
        super().__init__()
        self.distances = distances
        self.rows = table(distances.rows, architecture.hidden_size)
        norm = layer_norm(architecture, architecture.hidden_size)
        self.norm = norm if distances.norm == "layer_norm" else None

    def forward(self, length: int) -> Tensor:
        """The vectors of the distances length - 1, …, 0, …, 1 - length, and one more for even strides.

        Only these occur among `length` tokens; nothing is computed for the rest of the table.
        Returns (P, D) with P = 2 · length.
        """
        distance_P = torch.arange(length - 1, -length - 1, -1, device=self.rows.weight.device)
        rows_PD: Tensor = self.rows(table_rows(self.distances, distance_P))
        return rows_PD if self.norm is None else self.norm(rows_PD)


def pairs(places_BL: Tensor) -> Tensor:
    """Which of the distances that `DistanceTable` gives each query and key are apart, (B, 1, L, L) int64.

    places_BL  where tokens stand, each below L

    >>> pairs(torch.tensor([[0, 1, 1]]))[0, 0].tolist()
    [[2, 3, 3], [1, 2, 2], [1, 2, 2]]
    """
    return (places_BL.shape[1] - 1 - places_BL[:, :, None] + places_BL[:, None])[:, None]


def skew(scores: Tensor, width: int | None = None) -> Tensor:
    """From scores by distance to scores by place: out[i, j] = scores[i, Q - 1 - i + j].

    A view: row i of the result begins one score earlier than row i - 1 did, so rows that are one score shorter
    fall into place. As a single step, whose gradient is written once: slices would each fill and copy the whole,
    which took a third of what attention costs in training.

    scores  (…, Q, W), its last dimension ordered from the largest distance downwards
    width   K, the places of the result: W + 1 - Q, or less; None for Q

    Returns (…, Q, K).

    >>> skew(torch.arange(8.0).view(1, 1, 2, 4))[0, 0].tolist(), skew(torch.arange(6.0).view(1, 2, 3))[0].tolist()
    ([[1.0, 2.0], [4.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]])
    """
    flat, (queries, window) = scores.contiguous(), scores.shape[-2:]
    shape, strides = (*flat.shape[:-1], width or queries), (*flat.stride()[:-2], window - 1, 1)
    return flat.as_strided(shape, strides, flat.storage_offset() + queries - 1)


def at(scores_BHLP: Tensor, rows_B1LL: Tensor) -> Tensor:
    """From scores by distance to scores by place, (B, H, L, L), where each pair is some row apart."""
    return scores_BHLP.gather(-1, rows_B1LL.expand(-1, scores_BHLP.shape[1], -1, -1))


class DistanceScores(nn.Module):
    """What the distance of a query and a key adds to their score.

    score(i, j) += q_i · Kr[d] (c2p) + Qr[d] · k_j (p2c), both at the distance d = i - j. The paper's
    equation 4 has j - i in the second; the released weights need i - j (docs/deberta.md).

    Source: DeBERTa (He et al. 2020, arXiv:2006.03654), section 3.1.
    """

    def __init__(self, architecture: Architecture, distances: Disentangled) -> None:
        super().__init__()
        width, own = architecture.hidden_size, distances.projections == "own"
        self.terms = distances.terms
        self.heads = architecture.heads
        self.dropout = Dropout(architecture.dropout.hidden)
        self.key = nn.Linear(width, width, bias=distances.key_bias) if own and "c2p" in self.terms else None
        self.query = nn.Linear(width, width) if own and "p2c" in self.terms else None

    def forward(
        self,
        q_BHLC: Tensor,
        k_BHLC: Tensor,
        rows_PD: Tensor,
        query: nn.Linear,
        key: nn.Linear,
        scale: float,
        pairs: Tensor | None = None,
    ) -> Tensor | None:
        """Scores (B, H, L, L), or None where no term was chosen.

        q_BHLC, k_BHLC  queries and keys of the words
        rows_PD         what DistanceTable gives for L
        query, key      the words' projections, for distances that have none of their own
        scale           what every product is multiplied by
        pairs           which row each query and key are apart, as `pairs` gives it; None where places are columns
        """
        rows_PD = self.dropout(rows_PD).view_as(rows_PD)  # a node: a layer's two gradients are added before others'
        scores: Tensor | None = None
        if "c2p" in self.terms:
            kr_HPC = self._split((self.key or key)(rows_PD) * scale).to(q_BHLC.dtype)
            by_query = q_BHLC @ kr_HPC.transpose(-1, -2)
            scores = skew(by_query) if pairs is None else at(by_query, pairs)
        if "p2c" in self.terms:
            # the same view with keys as rows wants distances that rise, and gives the scores transposed
            qr_HPC = self._split((self.query or query)(rows_PD) * scale).to(k_BHLC.dtype)
            if pairs is None:
                by_key = skew(k_BHLC @ qr_HPC.roll(1, dims=-2).flip(-2).transpose(-1, -2)).transpose(-1, -2)
            else:
                by_key = at(k_BHLC @ qr_HPC.transpose(-1, -2), pairs.transpose(-1, -2)).transpose(-1, -2)
            scores = by_key if scores is None else scores + by_key
        return scores

    def _split(self, rows_PD: Tensor) -> Tensor:
        return rows_PD.view(len(rows_PD), self.heads, -1).transpose(0, 1)
