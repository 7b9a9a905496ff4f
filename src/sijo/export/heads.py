"""What a head, or a sentence encoder's pooling, makes of the last states, in a graph.

Letters: B batch, L length, D width of the hidden states, N labels.
"""

import numpy as np

from sijo.export.encoder import EncoderInputs, activation, norm
from sijo.export.graph import GraphBuilder
from sijo.export.products import Products
from sijo.nn.architecture import Architecture
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.nn.head_specs import ClassifierHeadSpec, Pooling, PoolingMode, pooling_modes

LOWEST = float(np.finfo(np.float32).min)


def add_classifier(
    graph: GraphBuilder,
    head: ClassifierHeadSpec,
    architecture: Architecture,
    products: Products,
    hidden: str,
    inputs: EncoderInputs,
) -> str:
    """The scores of a head, (B, N) for a text or (B, L, N) for tokens, as `nn/heads.py` has them.

    products  with the head's own matrices: head.dense.weight, head.out.weight, …
    """
    match head.reads:
        case "first":
            states = _first(graph, hidden)
        case "last":
            states = _last(graph, hidden, inputs.attention_mask, inputs)
        case "end":
            assert isinstance(architecture, EncoderDecoder)
            end = graph.op("Equal", inputs.input_ids, graph.integer(architecture.decoder.end))
            ends = graph.op("Mul", graph.op("Cast", end, to=7), inputs.attention_mask)
            states = _last(graph, hidden, ends, inputs)
        case "mean":
            states = _pooled(graph, "mean", hidden, inputs)
        case "each":
            states = hidden
        case "each_with_first":
            first = graph.slice(hidden, graph.integers(0), graph.integers(1), 1)
            states = norm(
                graph, products.weights, "head.norm", graph.op("Add", hidden, first), architecture.norm.eps
            )
    if head.dense is not None:
        product, bias = products.apart("head.dense", states)
        states = activation(graph, head.dense, product, bias)
    if head.dense_norm == "layer_norm":
        states = norm(graph, products.weights, "head.dense_norm", states, architecture.norm.eps)
    return products.whole("head.out", states)


def add_pooling(graph: GraphBuilder, pooling: Pooling, hidden: str, inputs: EncoderInputs) -> str:
    """One vector for each row, (B, D) or (B, n D) for n modes, as `nn/pooling.py` has them."""
    vectors = [_pooled(graph, mode, hidden, inputs) for mode in pooling_modes(pooling)]
    return vectors[0] if len(vectors) == 1 else graph.op("Concat", *vectors, axis=-1)


def _pooled(graph: GraphBuilder, mode: PoolingMode, hidden: str, inputs: EncoderInputs) -> str:
    g, along = graph, graph.integers(1)
    if mode == "cls":
        return _first(g, hidden)
    if mode == "lasttoken":
        return _last(g, hidden, inputs.attention_mask, inputs)
    if mode == "max":
        unseen = g.op("Equal", inputs.keep, g.floats(0.0))
        return g.op("ReduceMax", g.op("Where", unseen, g.floats(LOWEST), hidden), along, keepdims=0)
    share = inputs.keep
    if mode == "weightedmean":
        place = g.op("Range", g.integer(0), g.op("Squeeze", inputs.length), g.integer(1))
        place = g.op("Add", g.op("Cast", place, to=1), g.floats(1.0))
        share = g.op("Mul", share, g.op("Unsqueeze", place, g.integers(1)))
    count = g.op("Max", g.op("ReduceSum", share, along, keepdims=0), g.floats(1.0))  # (B, 1)
    if mode == "mean_sqrt_len_tokens":
        count = g.op("Sqrt", count)
    row = g.op("Transpose", share, perm=[0, 2, 1])  # (B, 1, L): the sum over tokens is a product
    summed = g.op("Squeeze", g.op("MatMul", row, hidden), along)
    return g.op("Div", summed, count)


def _first(graph: GraphBuilder, hidden: str) -> str:
    return graph.op("Gather", hidden, graph.integer(0), axis=1)


def _last(graph: GraphBuilder, hidden: str, among: str, inputs: EncoderInputs) -> str:
    """The states (B, D) at the last place of each row where `among`, (B, L) int64, is 1."""
    g = graph
    place = g.op("Range", g.integer(0), g.op("Squeeze", inputs.length), g.integer(1))
    last = g.op("ArgMax", g.op("Mul", among, place), axis=1, keepdims=1)  # (B, 1)
    return g.op("GatherND", hidden, last, batch_dims=1)
