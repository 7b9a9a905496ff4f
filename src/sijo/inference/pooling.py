"""One vector for a sequence of hidden states, in numpy: what `nn/pooling.py` does in torch, for backends without
it.

Letters: B batch, L length, D width.
"""

from collections.abc import Sequence

import numpy as np

from sijo.nn.head_specs import Pooling, PoolingMode, pooling_modes


def pooled(
    hidden_BLD: np.ndarray, keep_BL: np.ndarray | None, pooling: Pooling, skip: Sequence[int] = ()
) -> np.ndarray:
    """One vector for each row, made of its real tokens by the modes that `sijo.nn.pooling.pool` tells of.

    hidden_BLD  (B, L, D) float32
    keep_BL     (B, L) bool, True at real tokens; None when there is no padding, which stands on the right
    pooling     a mode, or several, whose vectors then stand one after another
    skip        how many tokens at the start of each row are left out, fewer than it has, or nothing

    Returns (B, D) float32, or (B, n D) for n modes. Tokens are added up in their order, one by one: what padding
    stands behind them changes no bit.

    >>> states = np.array([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]], np.float32)
    >>> pooled(states, np.array([[True, True, False]]), ("mean", "max")).tolist()
    [[2.0, 3.0, 3.0, 4.0]]
    >>> pooled(states, None, "mean", skip=[1]).tolist()
    [[6.0, 5.5]]
    """
    keep = np.ones(hidden_BLD.shape[:2], bool) if keep_BL is None else keep_BL
    first_B = np.zeros(len(hidden_BLD), np.int64)
    if any(skip):
        first_B = np.asarray(skip, np.int64)
        keep = keep & (np.arange(hidden_BLD.shape[1]) >= first_B[:, None])
    vectors = [_by_mode(hidden_BLD, keep, first_B, mode) for mode in pooling_modes(pooling)]
    return vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=-1)


def _by_mode(hidden_BLD: np.ndarray, keep_BL: np.ndarray, first_B: np.ndarray, mode: PoolingMode) -> np.ndarray:
    rows_B, place_L = np.arange(len(hidden_BLD)), np.arange(hidden_BLD.shape[1])
    if mode == "cls":
        first_BD: np.ndarray = hidden_BLD[rows_B, first_B]
        return first_BD
    if mode == "lasttoken":
        last_BD: np.ndarray = hidden_BLD[rows_B, (keep_BL * place_L).argmax(1)]
        return last_BD
    if mode == "max":
        largest: np.ndarray = np.where(keep_BL[..., None], hidden_BLD, np.float32(-np.inf)).max(1)
        return largest
    weight_BL = keep_BL * (place_L + 1 if mode == "weightedmean" else np.ones_like(place_L))
    total_B1 = np.maximum(weight_BL.sum(1, keepdims=True), 1).astype(np.float32)
    if mode == "mean_sqrt_len_tokens":
        total_B1 = np.sqrt(total_B1)
    if mode == "weightedmean":  # shares first, as in torch: weights of long texts are large
        share_BL1 = (weight_BL / total_B1).astype(np.float32)[..., None]
        return _sum(hidden_BLD * share_BL1)
    real_BLD = hidden_BLD if keep_BL.all() else hidden_BLD * keep_BL[..., None]
    mean: np.ndarray = _sum(real_BLD) / total_B1
    return mean


def _sum(states_BLD: np.ndarray) -> np.ndarray:
    """The sum over the tokens, one after another."""
    total: np.ndarray = states_BLD.sum(1, dtype=np.float32)
    return total
