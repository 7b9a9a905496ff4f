"""An encoder as a graph: embeddings, then blocks in the order of the schedule, as `nn/transformer.py` has them.

Letters: B batch, L length, E width of the tables, D width of the hidden states.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sijo.errors import SettingError
from sijo.export.attention import Attention
from sijo.export.graph import GraphBuilder
from sijo.export.products import Products
from sijo.nn.architecture import Activation, Architecture, ConvolutionSpec, Learned, PreNorm, Sinusoidal
from sijo.nn.encoder_decoder import EncoderDecoder

Weights = Mapping[str, np.ndarray]
"""The tensors of a network by its own names, float32."""


@dataclass
class EncoderInputs:
    """What goes into the graph, and what is made of it once for all layers."""

    input_ids: str
    """(B, L) int64."""
    attention_mask: str
    """(B, L) int64, 1 at real tokens."""
    token_type_ids: str | None
    """(B, L) int64; None for an encoder of fewer than two segments."""
    length: str
    """(1,) int64, L."""
    keep: str
    """(B, L, 1) float32, 1 at real tokens."""


@dataclass
class EncoderGraph:
    """An encoder in a graph."""

    inputs: EncoderInputs
    last_hidden_state: str
    """(B, L, D)."""
    hidden_states: list[str] = field(default_factory=list)
    """After the embeddings and each layer."""


def add_encoder(
    graph: GraphBuilder, architecture: Architecture, weights: Weights, products: Products
) -> EncoderGraph:
    """Write an encoder into a graph.

    weights   by the names of `nn/transformer.py`: embeddings.tokens.weight, blocks.0.attention.query.weight, …
    products  how the products with its matrices are written

    Raises SettingError for a network that reads to the left.
    """
    if architecture.reads == "left":
        raise SettingError(
            "this network reads to the left, to write text, and only encoders, which read both sides, become ONNX "
            "files; use it with sijo generate"
        )
    inputs = _inputs(graph, architecture)
    embedded = hidden = _embeddings(graph, architecture, weights, products, inputs)
    states = [embedded]
    attention = Attention(graph, architecture, weights, products, inputs.attention_mask, inputs.length)
    for layer, block in enumerate(architecture.schedule):
        hidden = _block(graph, architecture, weights, products, attention, block, layer, hidden)
        if layer == 0 and architecture.convolution is not None:
            hidden = _convolution(graph, architecture, architecture.convolution, weights, embedded, hidden, inputs)
        states.append(hidden)
    if isinstance(architecture.norm, PreNorm):
        hidden = norm(graph, weights, "final_norm", hidden, architecture.norm.final_eps)
        states[-1] = hidden
    return EncoderGraph(inputs, hidden, states)


def norm(graph: GraphBuilder, weights: Weights, name: str, states: str, eps: float) -> str:
    """LayerNorm with the weights of that name."""
    return graph.op("LayerNormalization", states, *_norm_weights(graph, weights, name), axis=-1, epsilon=eps)


def skip_norm(
    graph: GraphBuilder, weights: Weights, name: str, states: str, added: str, bias: str, eps: float
) -> str:
    """LayerNorm of a sum of two, and a bias, in one pass.

    bias  of the product that gave `added`; "" where it has none
    """
    inputs = (states, added, *_norm_weights(graph, weights, name), bias)
    return graph.op("SkipLayerNormalization", *inputs[: None if bias else -1], epsilon=eps)


def activation(graph: GraphBuilder, kind: Activation, states: str, bias: str = "") -> str:
    """What follows a product, with the product's bias added first; "" for none."""
    match kind:
        case "gelu":
            return graph.op("BiasGelu", states, bias) if bias else graph.op("Gelu", states)
        case "gelu_new" | "gelu_pytorch_tanh":
            return graph.op("FastGelu", *([states, bias] if bias else [states]))
    states = graph.op("Add", states, bias) if bias else states
    match kind:
        case "relu":
            return graph.op("Relu", states)
        case "silu" | "swish":
            return graph.op("QuickGelu", states, alpha=1.0)  # x · sigmoid(alpha · x)
        case "tanh":
            return graph.op("Tanh", states)
    return states


def weight(graph: GraphBuilder, weights: Weights, name: str) -> str:
    """A tensor of the network as a constant, by its name."""
    return graph.constant(name, weights[name])


def _norm_weights(graph: GraphBuilder, weights: Weights, name: str) -> tuple[str, str]:
    bias = weights.get(f"{name}.bias")
    bias = np.zeros_like(weights[f"{name}.weight"]) if bias is None else bias
    return weight(graph, weights, f"{name}.weight"), graph.constant(f"{name}.bias", bias)


def _inputs(graph: GraphBuilder, architecture: Architecture) -> EncoderInputs:
    dims = ("batch_size", "sequence_length")
    ids = graph.input("input_ids", np.int64, dims)
    mask = graph.input("attention_mask", np.int64, dims)
    types = graph.input("token_type_ids", np.int64, dims) if architecture.token_types > 1 else None
    length = graph.op("Shape", ids, start=1, end=2)
    keep = graph.op("Unsqueeze", graph.op("Cast", mask, to=1), graph.integers(2))
    return EncoderInputs(ids, mask, types, length, keep)


def _embeddings(
    graph: GraphBuilder, a: Architecture, weights: Weights, products: Products, inputs: EncoderInputs
) -> str:
    """(B, L, D), as `nn/embeddings.py` makes them."""
    summed = token_rows(a, weights, products, inputs.input_ids)
    places = _places(graph, a, weights, inputs)
    if a.token_types:
        rows = weight(graph, weights, "embeddings.segments.weight")  # of one segment, that one for all
        rows = rows if inputs.token_type_ids is None else graph.op("Gather", rows, inputs.token_type_ids)
        summed = graph.op("Add", summed, rows)
    before = a.widening == "before_norm"
    if places is not None:
        summed = graph.op("Add", summed, places)
    if before:
        summed = graph.op("MatMul", summed, products.turned("embeddings.project.weight"))
    if a.entry != "scale":
        summed = norm(graph, weights, "embeddings.norm", summed, a.norm.eps)
    if a.distances is not None:
        summed = graph.op("Mul", summed, inputs.keep)
    if a.widening == "after_norm":
        summed = graph.op("MatMul", summed, products.turned("embeddings.project.weight"))
        summed = graph.op("Add", summed, weight(graph, weights, "embeddings.project.bias"))
    return summed


def token_rows(a: Architecture, weights: Weights, products: Products, ids: str) -> str:
    """The tokens' own vectors (B, L, E), multiplied where the entry says so."""
    table = weights["embeddings.tokens.weight"]
    if a.entry != "norm":
        table = table * np.float32(math.sqrt(a.embedding_size))
    return products.rows("embeddings.tokens.weight", table, ids)


def _places(graph: GraphBuilder, a: Architecture, weights: Weights, inputs: EncoderInputs) -> str | None:
    """(L, E), the first rows of a table of places, or (B, L, E), those after padding's; None for no table."""
    if a.positions is None:
        return None
    if isinstance(a.positions, Sinusoidal) and a.positions.layout == "halves":
        table = graph.constant("embeddings.places.weight", _waves(a.positions.count, a.embedding_size))
    else:
        table = weight(graph, weights, "embeddings.places.weight")
    if isinstance(a.positions, Learned) and a.positions.padding is not None:
        g, padding = graph, graph.integer(a.positions.padding)
        counted = g.op("Cast", g.op("Not", g.op("Equal", inputs.input_ids, padding)), to=7)  # int64
        before = g.op("Mul", g.op("CumSum", counted, g.integer(1)), counted)
        return g.op("Gather", table, g.op("Add", before, padding))
    return first_places(graph, a, table, inputs)


def first_places(graph: GraphBuilder, a: Architecture, table: str, inputs: EncoderInputs) -> str:
    """(L, E), the rows of a table of places that belong to the first L tokens."""
    first = a.first_place if isinstance(a, EncoderDecoder) else 0
    end = graph.op("Add", inputs.length, graph.integers(first)) if first else inputs.length
    return graph.slice(table, graph.integers(first), end, 0)


def _waves(count: int, width: int) -> np.ndarray:
    """All sines before all cosines, (count, width) float32, as `waves` in `nn/embeddings.py` has them."""
    angles = np.arange(count)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles[:, : width // 2])], axis=1).astype(np.float32)


def _block(
    graph: GraphBuilder,
    a: Architecture,
    weights: Weights,
    products: Products,
    attention: Attention,
    block: int,
    layer: int,
    hidden: str,
) -> str:
    """Attention, then a feed-forward layer; (B, L, D) in and out."""
    name, eps = f"blocks.{block}", a.norm.eps
    before = isinstance(a.norm, PreNorm)
    normed = before and f"{name}.attention_norm.weight" in weights
    read = norm(graph, weights, f"{name}.attention_norm", hidden, eps) if normed else hidden
    added, bias = attention.added(block, layer, read)
    if before:
        hidden = graph.op("Add", hidden, graph.op("Add", added, bias) if bias else added)
        read = norm(graph, weights, f"{name}.output_norm", hidden, eps)
    else:
        read = hidden = skip_norm(graph, weights, f"{name}.attention_norm", hidden, added, bias, eps)
    added, bias = feed_forward(graph, a, products, name, read)
    if before:
        return graph.op("Add", hidden, graph.op("Add", added, bias) if bias else added)
    return skip_norm(graph, weights, f"{name}.output_norm", hidden, added, bias, eps)


def feed_forward(
    graph: GraphBuilder, a: Architecture, products: Products, name: str, states: str
) -> tuple[str, str]:
    """What the feed-forward layer of a block adds to states (B, L, D), without the last bias; and that bias."""
    wide, wide_bias = products.apart(f"{name}.widen", states)
    if a.feed_forward == "gated":
        wide = graph.op("Add", wide, wide_bias) if wide_bias else wide
        ends = [graph.integers(part * a.intermediate_size) for part in range(3)]
        first, gate = (graph.slice(wide, ends[part], ends[part + 1], 2) for part in range(2))
        wide = graph.op("Mul", activation(graph, a.activation, first), gate)
    else:
        wide = activation(graph, a.activation, wide, wide_bias)
    return products.apart(f"{name}.narrow", wide)


def _convolution(
    graph: GraphBuilder,
    a: Architecture,
    spec: ConvolutionSpec,
    weights: Weights,
    embedded: str,
    layer: str,
    inputs: EncoderInputs,
) -> str:
    """What takes the place of the first layer's output, (B, L, D); of padding not what torch has, and unread."""
    kept = graph.op("Transpose", graph.op("Mul", embedded, inputs.keep), perm=[0, 2, 1])
    half = spec.kernel // 2
    mixed = graph.op(
        "Conv",
        kept,
        weight(graph, weights, "convolution.mix.weight"),
        weight(graph, weights, "convolution.mix.bias"),
        group=spec.groups,
        kernel_shape=[spec.kernel],
        pads=[half, half],
    )
    mixed = activation(graph, spec.activation, graph.op("Transpose", mixed, perm=[0, 2, 1]))
    return skip_norm(graph, weights, "convolution.norm", layer, mixed, "", a.norm.eps)
