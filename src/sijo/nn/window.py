"""What each layer sees: where tokens stand, and in some layers near ones alone.

Letters: B batch, H heads, Q queries, K keys, L length, C width of one head.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sijo.nn.architecture import Architecture, Sight
from sijo.nn.attention import View, hiding
from sijo.nn.rotary import rotation

TOGETHER = 128
"""Queries of a local layer that look at one stretch of keys."""


def turns(architecture: Architecture, places: Tensor, dtype: torch.dtype) -> dict[Sight, Tensor]:
    """By what tokens at places (…) are turned in layers of either sight, (2, …, C / 2); empty without rotary."""
    rotary, width = architecture.rotary, architecture.hidden_size // architecture.heads
    if rotary is None:
        return {}
    bases: dict[Sight, float] = {"global": rotary.base, "local": rotary.local_base or rotary.base}
    return {sight: rotation(places, width, base, dtype) for sight, base in bases.items()}


def far(queries_BQ: Tensor, keys_BK: Tensor, reach: int) -> Tensor:
    """True where a key is out of reach of a query, by where they stand: (B, 1, Q, K).

    >>> far(torch.tensor([[0, 2]]), torch.tensor([[0, 1, 2]]), 1)[0, 0].tolist()
    [[False, False, True], [True, False, False]]
    """
    return ((queries_BQ[..., None] - keys_BK[:, None]).abs() > reach)[:, None]


def by_layer(
    architecture: Architecture, seen: View, like: Tensor, queries_BQ: Tensor, keys_BK: Tensor, places_BQ: Tensor
) -> list[View]:
    """The view of each layer; `seen` is what may be read unless it is far, `like` a tensor of the scores' dtype.

    queries_BQ  where the queries stand, integers; of one row for all
    keys_BK     where the keys do
    places_BQ   by which queries and keys are turned, of the shape of `queries_BQ`
    """
    a, window = architecture, architecture.window
    turn = {sight: both[:, :, None] for sight, both in turns(a, places_BQ, like.dtype).items()}
    views = {"global": replace(seen, turn=turn.get("global")), "local": replace(seen, turn=turn.get("local"))}
    if window is not None and keys_BK.shape[1] > window.reach + 1:
        unseen = far(queries_BQ, keys_BK, window.reach)
        bias = hiding(unseen, like).bias
        if seen.bias is not None:
            bias = seen.bias.masked_fill(unseen, torch.finfo(seen.bias.dtype).min)
        unseen = unseen if seen.unseen is None else unseen | seen.unseen
        views["local"] = replace(views["local"], unseen=unseen, bias=bias)
    return [views["global" if window is None else window.sight(layer)] for layer in range(a.layers)]


def local_attention(q_BHLC: Tensor, k_BHLC: Tensor, v_BHLC: Tensor, reach: int) -> Tensor:
    """Attention to tokens within reach, of rows without padding: (B, H, L, C), at the cost of L and not its square.

    q_BHLC  queries, scaled beforehand
    """
    length, out = q_BHLC.shape[2], torch.empty_like(q_BHLC)
    for start in range(0, length, TOGETHER):
        at = slice(start, min(start + TOGETHER, length))
        keys = slice(max(0, start - reach), min(at.stop + reach, length))
        queries_1Q, keys_1K = (torch.arange(part.start, part.stop, device=out.device)[None] for part in (at, keys))
        near = ~far(queries_1Q, keys_1K, reach)
        out[:, :, at] = scaled_dot_product_attention(
            q_BHLC[:, :, at], k_BHLC[:, :, keys], v_BHLC[:, :, keys], attn_mask=near, scale=1.0
        )
    return out
