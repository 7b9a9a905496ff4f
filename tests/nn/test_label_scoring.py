"""Labels beside a text: how a fresh head begins, and labels hidden from each other, in every kind of network."""

import pytest
import torch

from battery import scramble
from sijo.errors import SettingError
from sijo.nn.architecture import (
    Architecture,
    ConvolutionSpec,
    Disentangled,
    Learned,
    RelativeBias,
    Rotary,
    Sinusoidal,
    Window,
)
from sijo.nn.encoder_decoder import DecoderSpec, EncoderDecoder
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.nn.heads import Network
from sijo.nn.label_scoring import Projector
from sijo.nn.prepared import prepared

SIZES = {
    "vocab_size": 61,
    "embedding_size": 16,
    "hidden_size": 16,
    "heads": 2,
    "intermediate_size": 32,
    "schedule": (0, 1, 0),
}
NETWORKS = {
    "places": {"positions": Learned(count=64)},
    "places from padding on": {"positions": Learned(count=66, padding=1)},
    "waves": {"positions": Sinusoidal(count=64)},
    "deberta": {"distances": Disentangled(span=16, buckets=8, norm="layer_norm")},
    "deberta, v1": {"distances": Disentangled(span=5, projections="own", key_bias=False)},
    "mpnet": {"positions": Learned(count=64), "relative_bias": RelativeBias(buckets=8, span=4)},
    "modernbert": {"rotary": Rotary(count=64), "window": Window(reach=3)},
}
HIDDEN = {"label_mark": 58, "text_mark": 59, "inner": 9, "starts": "mark", "neighbours": "hidden"}
DECODER = {"schedule": (0,), "heads": 2, "intermediate_size": 32, "start": 3, "end": 3}
LABELS = ([58, 7, 12], [58, 8, 9, 10, 11], [58, 10])
TEXT = [59, 11, 12, 7, 14, 15, 16, 17, 3]


def network(changes, **head):
    a = Architecture(**SIZES, **changes)
    return scramble(Network(a, {OPEN_LABELS: OnePassHeadSpec(**(HIDDEN | head))}), 0.3).double()


@torch.inference_mode()
def scores(model, labels, text=TEXT, left=0, right=0):
    ids = [*[58] * left, 2, *(number for label in labels for number in label), *text, *[58] * right]
    keep = torch.tensor([[left <= place < len(ids) - right for place in range(len(ids))]])
    return model(torch.tensor([ids]), keep if left or right else None).logits[0]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("label, pooled", [("first", "first"), ("average", "avg"), ("average", "max")])
def test_a_score_is_of_text_and_label_alone(kind, label, pooled):
    # kills: a label or the text that reads another label; places or distances counted along the input; a label or a
    # pooling that goes on into the padding; a label that does not read the text
    model = network(NETWORKS[kind], label=label, text=pooled)
    want = scores(model, LABELS)
    assert want.std() > 1e-4
    for order in ([2, 0, 1], [1], [0, 2], [1, 0, 1, 2, 2]):
        for sides in ({}, {"left": 3}, {"right": 5}):
            got = scores(model, [LABELS[place] for place in order], **sides)
            assert (got - want[order]).abs().max() < 1e-10
    other = scores(model, LABELS, [*TEXT[:-2], 20, 3])
    assert (other - want).abs().min() > 1e-6
    seen = network(NETWORKS[kind], label=label, text=pooled, neighbours="seen")
    seen.load_state_dict(model.state_dict())
    assert (scores(seen, LABELS[::-1]).flip(0) - scores(seen, LABELS)).abs().max() > 1e-6
    ids = torch.tensor([[2, *LABELS[0], *LABELS[1], *TEXT]])
    ready = prepared(model.float())(ids).logits[0]
    assert (ready - want[:2]).abs().max() < 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_label_stands_behind_the_text(kind):
    # kills: a place too many, a text that sees a label, a label that does not read the text; a bias, a turn
    # or a window by columns in place of places
    model = network(NETWORKS[kind])
    text, label = [2, *TEXT], LABELS[1]
    with torch.inference_mode():
        plain = model.transformer(torch.tensor([text])).last_hidden_state[0]
        got = model.head_input(torch.tensor([[2, *LABELS[0], *label, *LABELS[2], *TEXT]])).output.last_hidden_state[
            0
        ]
        assert (got[[0, *range(-len(TEXT), 0)]] - plain).abs().max() < 1e-10
        ids = torch.tensor([[*text, *label]])
        parts = torch.tensor([[0] * len(text) + [1] * len(label)])
        behind = model.transformer(ids, position_ids=torch.arange(ids.shape[1])[None], parts=parts)
        own = got[1 + len(LABELS[0]) :][: len(label)]
        want = behind.last_hidden_state[0, len(text) :]
        assert (own - want).abs().max() < 1e-10
        ids[0, 5] = 33
        read = model.transformer(ids, position_ids=torch.arange(ids.shape[1])[None], parts=parts)
        assert (read.last_hidden_state[0, len(text) :] - want).abs().max() > 1e-6


@pytest.mark.parametrize(
    "changes, head, why",
    [
        ({"distances": Disentangled(span=9), "convolution": ConvolutionSpec()}, {}, "a convolution mixes"),
        ({"positions": Sinusoidal(count=9), "reads": "left"}, {}, "reads to the left"),
        ({}, {"starts": "input"}, "the last label would"),
        ({}, {"order": "text_first"}, "the last label would"),
    ],
)
def test_where_labels_would_meet_they_cannot_be_hidden(changes, head, why):
    # kills: a score that hangs on other labels after all, in silence
    with pytest.raises(SettingError, match=why):
        network(changes, **head)


def test_with_a_decoder_labels_cannot_be_hidden():
    # kills: a pass that fails far from the setting
    a = EncoderDecoder(**SIZES, positions=Learned(count=64), decoder=DecoderSpec(**DECODER))
    with pytest.raises(SettingError, match="a decoder counts places by columns"):
        Network(a, {OPEN_LABELS: OnePassHeadSpec(**HIDDEN)})


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_a_projector_begins_as_no_change(activation):
    # kills: projectors that begin apart, so that what the encoder knows of text and label is lost
    projector = Projector(OnePassHeadSpec(**HIDDEN | {"inner": 33, "activation": activation}), 16).double().eval()
    with torch.no_grad():
        torch.nn.init.normal_(projector.first.weight)
        torch.nn.init.zeros_(projector.first.bias)
        torch.nn.init.zeros_(projector.second.bias)
        projector.start()
        states = torch.randn(5, 16, dtype=torch.float64)
        assert (projector(states) - states).abs().max() < 1e-12


def test_a_fresh_head_is_the_cosine_of_text_and_label():
    # kills: two projectors that are not alike, a mean that holds labels or marks of others
    head = HIDDEN | {
        "inner": 32,
        "label": "average",
        "text": "avg",
        "vectors": "unit",
        "scale": 3.0,
        "offset": -1.0,
    }
    model = Network(
        Architecture(**SIZES, positions=Learned(count=64)), {OPEN_LABELS: OnePassHeadSpec(**head)}
    ).eval()
    ids = torch.tensor([[2, *LABELS[0], *LABELS[1], *TEXT]])
    with torch.inference_mode():
        states = model.head_input(ids).output.last_hidden_state[0]
        text, one, two = states[9:].mean(0), states[1:4].mean(0), states[4:9].mean(0)
        want = [3 * torch.cosine_similarity(text, label, dim=0).item() - 1 for label in (one, two)]
        assert model(ids).logits[0].tolist() == pytest.approx(want, abs=1e-5)
