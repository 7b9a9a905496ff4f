"""Every encoder of the battery as an ONNX graph, after every layer, with every weight moved.

The truth is the public model, or plain numbers where there is none; nothing here compares us with ourselves.
"""

import numpy as np
import pytest
import torch

from battery import SETTINGS, cases
from onnx_sessions import answers, opened, parts
from sijo.checkpoints.load import load
from sijo.errors import SettingError
from sijo.export.network import HEADS
from sijo.models import FAMILIES
from sijo.nn.architecture import PreNorm

pytest.importorskip("transformers")
GAP = 6e-5
"""What float32 leaves after each layer; its kernels differ by processor: 4.1e-5 at most on an AMD EPYC (Zen 4)."""


def drawn(*, left=False):
    """Cases of all families whose networks read both sides, or only to the left."""
    return [
        pytest.param(case, id=str(case).replace(", ", "-"))
        for name in FAMILIES
        if name in SETTINGS
        for case in cases(name, "public")
        if (case.config.architecture().reads == "left") is left
        and (case.layout is None or case.layout.name != "multiple-choice")
    ]


@pytest.mark.parametrize("case", drawn())
def test_every_layer_is_the_reference_s(shelf, case):
    """Catches, when planted: distances mirrored in one term, a bias lost, segments left out, a wrong scale."""
    truth = shelf.truth(case)
    head = next((name for name in truth.heads if name in HEADS), None)
    batch = {name: None if value is None else value.numpy() for name, value in case.batch().items()}
    ids, keep = batch["input_ids"], batch["attention_mask"]
    session = opened(parts(load(truth.folder, head), head), states=True)
    got = answers(session, ids, keep, batch["token_type_ids"])
    real = np.ones(ids.shape, bool) if keep is None else keep
    piled, limit = isinstance(case.config.architecture().norm, PreNorm), GAP
    with torch.inference_mode():
        own = load(truth.folder)(*case.batch().values(), output_hidden_states=True).hidden_states
    for depth, states in enumerate(truth.states):
        if piled:  # states that no norm bounds grow, and what is rounded with them
            limit = max(limit, GAP * states.abs().max().item() / 4)
        if not truth.public:  # in double precision: a mix may double what float32 rounds, layer by layer
            limit = max(limit, (own[depth] - states).abs()[torch.from_numpy(real)].max().item())
        gap = np.abs(got[f"hidden_states.{depth}"] - states.numpy())[real].max()
        assert gap < limit, f"after layer {depth}: off by {gap:.1e}"
    if head is not None and real[:, 0].all():  # a head that reads the first state wants a token there
        each = head == "token-classification"
        want = truth.answers[head].numpy()
        assert got["logits"].shape == want.shape
        assert np.abs(got["logits"] - want)[real if each else ...].max() < limit


@pytest.mark.parametrize("case", drawn(left=True)[:1])
def test_a_network_that_writes_is_refused(shelf, case):
    """Catches a file in which every token sees what is yet to be written."""
    model = load(shelf.truth(case).folder)
    with pytest.raises(SettingError, match="reads to the left"):
        opened(parts(model))
