"""Pooling in numpy: the numbers of torch, for every mode."""

import numpy as np
import pytest
import torch

from sijo.inference.pooling import pooled
from sijo.nn.head_specs import POOLING_MODES
from sijo.nn.pooling import pool

CHANCE = np.random.default_rng(0)
STATES = CHANCE.normal(0, 3, (4, 9, 5)).astype(np.float32)
KEEP = np.arange(9) < np.array([[9], [6], [2], [1]])


@pytest.mark.parametrize("pooling", [*POOLING_MODES, ("max", "cls", "mean")], ids=str)
@pytest.mark.parametrize("keep", [KEEP, None], ids=["padded", "full"])
@pytest.mark.parametrize("skip", [(), (3, 2, 1, 0)], ids=["whole", "skipping"])
def test_every_mode_is_torchs(pooling, keep, skip):
    # kills: a mode that counts padding, or the tokens that are left out, or weighs by another place
    mask = None if keep is None else torch.from_numpy(keep)
    want = pool(torch.from_numpy(STATES), mask, pooling, skip).numpy()
    got = pooled(STATES, keep, pooling, skip)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_padding_changes_no_bit(mode):
    # kills: a sum whose order hangs on the width
    alone = pooled(STATES[:1, :6], None, mode)
    beside = pooled(np.concatenate([STATES[:1, :6], STATES[:1]], 1), np.arange(15)[None] < 6, mode)
    np.testing.assert_array_equal(alone, beside)
