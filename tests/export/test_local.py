"""Layers that read near tokens alone, in a file: at every edge of a stretch, beside the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from battery import scramble
from onnx_sessions import answers, opened, parts
from sijo.checkpoints.load import create
from sijo.export.local import TOGETHER
from sijo.nn.architecture import Architecture, Learned, Rotary, Window

TURNED = Architecture(
    vocab_size=99,
    embedding_size=24,
    hidden_size=24,
    heads=2,
    intermediate_size=32,
    schedule=(0, 1),
    rotary=Rotary(count=400),
    window=Window(reach=5, pattern=("local", "global")),
)
KINDS = {
    "turned": TURNED,
    "by places": replace(TURNED, rotary=None, positions=Learned(count=400)),
    "farther than a stretch": replace(TURNED, window=Window(reach=TOGETHER + 9, pattern=("local",))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_near_tokens_are_read_and_no_others(kind):
    # kills: a stretch that begins or ends one token off, keys of the next one unread, padding read, a row of
    # padding that becomes NaN, a length that is no multiple of a stretch
    model = scramble(create(KINDS[kind]), 0.15)
    session, chance = opened(parts(model)), np.random.default_rng(0)
    for rows, length in ((1, 1), (2, 9), (1, TOGETHER), (3, TOGETHER + 1), (2, 3 * TOGETHER - 1)):
        ids, keep = chance.integers(1, 99, (rows, length)), np.ones((rows, length), np.int64)
        keep[1:, max(1, length // 3) :] = 0
        with torch.inference_mode():
            want = model(torch.from_numpy(ids), torch.from_numpy(keep)).last_hidden_state.numpy()
        got = answers(session, ids, keep)["last_hidden_state"]
        assert np.isfinite(got).all() and np.abs(got - want)[keep > 0].max() < 2e-5
