"""A decoder behind an encoder against the formulas. Each test names the fault it is to catch."""

from dataclasses import replace

import pytest
import torch

from battery import scramble
from reference import attention as plain
from reference.plain import activation, add, linear, norm
from sijo.errors import SettingError
from sijo.nn.architecture import (
    Architecture,
    ConvolutionSpec,
    Disentangled,
    DropoutRates,
    Learned,
    PreNorm,
    Sinusoidal,
)
from sijo.nn.attention import view
from sijo.nn.cost import flops_per_token
from sijo.nn.decoder import DecoderBlock, EncoderDecoderTransformer, shifted
from sijo.nn.encoder_decoder import DecoderSpec, EncoderDecoder

SIZES = {"vocab_size": 31, "embedding_size": 12, "hidden_size": 12, "heads": 3, "intermediate_size": 10}
DECODER = DecoderSpec(schedule=(0, 1), heads=2, intermediate_size=14, start=2, end=3)


def two(**changes):
    plain = SIZES | {"schedule": (0,), "positions": Learned(count=12), "first_place": 2, "decoder": DECODER}
    return EncoderDecoder(**plain | changes)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_block_matches_the_formulas():
    # kills: cross-attention whose queries are the encoder's, or whose keys or values are the decoder's own; padding
    # of the encoder read; what stands to the right read; norms in another place
    a = two().second
    block = scramble(DecoderBlock(a, 0).double(), 0.7)
    hidden, encoded = draw(1, 5, 12), draw(1, 7, 12, seed=2)
    keep = [True, True, False, True, True, False, False]
    both = Architecture(**SIZES, schedule=(0,))
    own, other = view(a, None, hidden), view(both, torch.tensor([keep]), encoded)
    got = block(hidden, own, encoded, other)[0]

    def maps(part):
        return {name: (m.weight.tolist(), m.bias.tolist()) for name, m in part.named_children()}

    def normed(rows, part):
        return [norm(row, part.weight.tolist(), part.bias.tolist(), a.norm.eps) for row in rows]

    x, y = hidden[0].tolist(), encoded[0].tolist()
    left = [[j <= i for j in range(5)] for i in range(5)]
    read = plain.attention(x, x, maps(block.attention), a.heads, left)
    x = normed(map(add, x, read), block.attention_norm)
    read = plain.attention(x, y, maps(block.cross), a.heads, [keep] * 5)
    x = normed(map(add, x, read), block.cross_norm)
    wide, narrow = ((part.weight.tolist(), part.bias.tolist()) for part in (block.widen, block.narrow))
    fed = [linear(activation(a.activation, linear(row, *wide)), *narrow) for row in x]
    want = normed(map(add, x, fed), block.output_norm)
    torch.testing.assert_close(got, got.new_tensor(want), rtol=0, atol=1e-12)


def test_what_the_decoder_reads():
    # kills: a token that the decoder is to answer for shown to it; padding, or nothing, before the first real one
    ids = torch.tensor([[5, 6, 7, 1], [1, 1, 8, 9]])
    keep = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]]).bool()
    assert shifted(ids, keep, 2).tolist() == [[2, 5, 6, 7], [2, 2, 2, 8]]
    assert shifted(ids, None, 2).tolist() == [[2, 5, 6, 7], [2, 1, 1, 8]]


def test_its_cost_is_what_torch_counts():
    # kills: a decoder, or its attention to the encoder, that costs nothing in estimates of time
    from torch.utils.flop_counter import FlopCounterMode

    a = two()
    network = EncoderDecoderTransformer(a).train()  # where attention is written out, so that torch counts it
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.randint(31, (2, 9)))
    assert counter.get_total_flops() == flops_per_token(a, 9, training=False) * 18


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"reads": "left"}, "reads both sides"),
        ({"norm": PreNorm()}, "LayerNorm after each addition"),
        ({"distances": Disentangled(span=4)}, "no distances"),
        ({"convolution": ConvolutionSpec()}, "no distances, rotary, window, convolution"),
        ({"token_types": 2}, "segments"),
        ({"embedding_size": 8, "widening": "after_norm"}, "narrow table"),
        ({"positions": Sinusoidal(count=12)}, "learned positions"),
        ({"positions": Learned(count=12, padding=1)}, "none of them padding's"),
        ({"positions": None}, "learned positions"),
        ({"entry": "scale"}, "a norm over the sum"),
        ({"first_place": 12}, "first_place=12 is no row of 12"),
        ({"decoder": DecoderSpec(schedule=(0,), heads=5, intermediate_size=2, start=2, end=2)}, "heads=5"),
        ({"decoder": DecoderSpec(schedule=(1,), heads=2, intermediate_size=2, start=2, end=2)}, "without a gap"),
        (
            {"decoder": DecoderSpec(schedule=(0,), heads=2, intermediate_size=2, start=31, end=2)},
            "decoder.start=31",
        ),
        ({"decoder": DecoderSpec(schedule=(0,), heads=2, intermediate_size=2, start=2, end=-1)}, "decoder.end=-1"),
    ],
)
def test_what_a_decoder_cannot_stand_behind(changes, words):
    # kills: a part of the encoder that the decoder would leave out without a word
    with pytest.raises(SettingError, match=words):
        two(**changes)


def test_layers_may_share_weights():
    # kills: a decoder's schedule that is not followed
    shared = two(decoder=DecoderSpec(schedule=(0, 0, 0), heads=2, intermediate_size=14, start=2, end=3))
    network = EncoderDecoderTransformer(shared)
    assert len(network.decoder.blocks) == 1
    assert len(network(torch.tensor([[5, 6]]), output_hidden_states=True).hidden_states) == 2 + 4


def test_dropout_inside_the_feed_forward_layer():
    # kills: an activation_dropout that is read and never used
    kept = DropoutRates(embeddings=0, attention=0, attention_output=0, hidden=0, inner=0)
    networks = [EncoderDecoderTransformer(two(dropout=rates)) for rates in (kept, replace(kept, inner=0.5))]
    networks[1].load_state_dict(networks[0].state_dict())
    one, other = (network.train()(torch.tensor([[5, 6, 7]])).last_hidden_state for network in networks)
    assert not torch.equal(one, other)
    one, other = (network.eval()(torch.tensor([[5, 6, 7]])).last_hidden_state for network in networks)
    assert torch.equal(one, other)
