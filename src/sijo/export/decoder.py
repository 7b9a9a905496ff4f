"""A decoder behind an encoder as a graph, as `nn/decoder.py` has it: it reads the text again beside its states.

Letters: B batch, L length, D width of the hidden states.
"""

from sijo.export.attention import LOWEST, plain_attention
from sijo.export.encoder import (
    EncoderGraph,
    EncoderInputs,
    Weights,
    add_encoder,
    feed_forward,
    first_places,
    norm,
    skip_norm,
    token_rows,
    weight,
)
from sijo.export.graph import GraphBuilder
from sijo.export.products import Products
from sijo.nn.architecture import Architecture
from sijo.nn.encoder_decoder import EncoderDecoder


def add_network(
    graph: GraphBuilder, architecture: Architecture, weights: Weights, products: Products
) -> EncoderGraph:
    """Write an encoder into a graph, and the decoder behind it where there is one, whose states are then the last.

    weights  of an encoder as of `add_encoder`; those of a decoder begin with decoder.

    The hidden states are the encoder's and behind them the decoder's, as of `EncoderDecoderTransformer`.
    """
    encoder = add_encoder(graph, architecture, weights, products)
    if not isinstance(architecture, EncoderDecoder):
        return encoder
    a, inputs, g = architecture.second, encoder.inputs, graph
    rows = token_rows(a, weights, products, shifted(g, inputs, architecture.decoder.start))
    places = first_places(g, architecture, weight(g, weights, "decoder.places.weight"), inputs)
    hidden = norm(g, weights, "decoder.norm", g.op("Add", rows, places), a.norm.eps)
    states = [*encoder.hidden_states, hidden]
    keep = g.op("Cast", inputs.attention_mask, to=6)  # int32
    ahead = not_yet(g, inputs)
    for block in a.schedule:
        name = f"decoder.blocks.{block}"
        added, bias = plain_attention(g, a, products, f"{name}.attention", (hidden, hidden), keep, ahead)
        hidden = skip_norm(g, weights, f"{name}.attention_norm", hidden, added, bias, a.norm.eps)
        read = (hidden, encoder.last_hidden_state)
        added, bias = plain_attention(g, a, products, f"{name}.cross", read, keep)
        hidden = skip_norm(g, weights, f"{name}.cross_norm", hidden, added, bias, a.norm.eps)
        added, bias = feed_forward(g, a, products, name, hidden)
        hidden = skip_norm(g, weights, f"{name}.output_norm", hidden, added, bias, a.norm.eps)
        states.append(hidden)
    return EncoderGraph(inputs, hidden, states)


def shifted(graph: GraphBuilder, inputs: EncoderInputs, first: int) -> str:
    """The ids (B, L) one place to the right, with `first` before each row's first real token."""
    g, start, end = graph, graph.integers(0), graph.integers(1)
    real = g.op("Cast", inputs.attention_mask, to=9)  # bool
    before = g.op("Where", real, inputs.input_ids, g.integer(first))
    column = g.slice(before, start, end, 1)
    firsts = g.op("Add", g.op("Mul", column, g.integer(0)), g.integer(first))
    return g.op("Concat", firsts, g.slice(before, start, graph.integers(-1), 1), axis=1)


def not_yet(graph: GraphBuilder, inputs: EncoderInputs) -> str:
    """What is added to scores, (1, 1, L, L): 0, or half the lowest number where a key stands ahead of its query.

    Half, for padding may stand there too.
    """
    g = graph
    place = g.op("Range", g.integer(0), g.op("Squeeze", inputs.length), g.integer(1))
    rows, columns = (g.op("Unsqueeze", place, g.integers(axis)) for axis in (1, 0))
    bias = g.op("Where", g.op("Greater", columns, rows), g.floats(LOWEST / 2), g.floats(0.0))
    return g.op("Unsqueeze", bias, g.integers(0, 1))
