"""A network and what it answers as one ONNX model: what goes in, the encoder, and the outputs by their names.

Letters: B batch, L length, D width of the hidden states, N labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sijo.checkpoints.vectors.steps import VectorStep, width_after
from sijo.errors import SettingError
from sijo.export.decoder import add_network
from sijo.export.encoder import Weights
from sijo.export.graph import GraphBuilder
from sijo.export.heads import add_classifier, add_pooling
from sijo.export.products import Products
from sijo.export.quantize import BITS, BlockProducts
from sijo.export.static import InputRange, StaticProducts
from sijo.export.stored import StoredBlocks, StoredProducts
from sijo.export.vector_steps import add_steps
from sijo.nn.architecture import Architecture
from sijo.nn.head_specs import ClassifierHeadSpec, Pooling, pooling_modes

if TYPE_CHECKING:
    import onnx

HEADS = ("sequence-classification", "token-classification")
"""The heads that an ONNX file can have, the first first."""


@dataclass(frozen=True, kw_only=True)
class NetworkParts:
    """What a network is made of, without torch."""

    architecture: Architecture
    weights: Weights
    """By the names of `Transformer`'s tensors; those of a decoder behind it begin with decoder."""
    head: str | None = None
    """The name of a head, one of `HEADS`; None for the encoder alone."""
    head_spec: ClassifierHeadSpec | None = None
    head_weights: Weights | None = None
    """By the names of the head's tensors."""
    pooling: Pooling = "mean"
    """How a sentence's vector is made."""
    steps: tuple[VectorStep, ...] = ()
    """What is done to it then."""


def onnx_model(
    parts: NetworkParts,
    metadata: Mapping[str, str],
    *,
    precision: str = "float32",
    ranges: Mapping[str, InputRange] | None = None,
    stored: Mapping[str, StoredBlocks] | None = None,
    states: bool = False,
) -> "onnx.ModelProto":
    """A network as an ONNX model, with its weights inside.

    metadata   what the file says of itself
    precision  float32, int8 or int4: of the products with the encoder's matrices
    ranges     of the inputs of each linear map, for products of 8 bits by them; None for others
    stored     the matrices that the weights are held in as blocks, to be read as they are; None for others
    states     whether the states after the embeddings and every layer come out too, as hidden_states.0 and so on

    Inputs are input_ids, attention_mask and, of a network with segments, token_type_ids, each (B, L) int64.
    Outputs are last_hidden_state (B, L, D); of an encoder alone sentence_embedding (B, D); of a head logits (B, N)
    or (B, L, N).
    """
    graph, a = GraphBuilder(), parts.architecture
    products = Products(graph, parts.weights)
    if ranges is not None:
        gelu = a.feed_forward == "plain" and a.activation in ("gelu", "gelu_new", "gelu_pytorch_tanh")
        products = StaticProducts(graph, parts.weights, ranges, gelu=gelu)
    elif stored is not None:
        products = StoredProducts(graph, parts.weights, stored)
    elif precision in BITS:
        products = BlockProducts(graph, parts.weights, bits=BITS[precision])
    encoder = add_network(graph, a, parts.weights, products)
    tokens = ("batch_size", "sequence_length")
    graph.output("last_hidden_state", encoder.last_hidden_state, np.float32, (*tokens, a.hidden_size))
    if parts.head is None:
        vector = add_pooling(graph, parts.pooling, encoder.last_hidden_state, encoder.inputs)
        vector = add_steps(graph, parts.steps, vector)
        width = width_after(parts.steps, len(pooling_modes(parts.pooling)) * a.hidden_size)
        graph.output("sentence_embedding", vector, np.float32, (tokens[0], width))
    else:
        if parts.head not in HEADS or parts.head_spec is None or parts.head_weights is None:
            raise SettingError(f"no ONNX file can have a {parts.head} head; it can have {' or '.join(HEADS)}")
        own = {f"head.{name}": tensor for name, tensor in parts.head_weights.items()}
        of_head = Products(graph, own) if stored is None else StoredProducts(graph, own, {})
        logits = add_classifier(graph, parts.head_spec, a, of_head, encoder.last_hidden_state, encoder.inputs)
        each = tokens if parts.head_spec.reads.startswith("each") else tokens[:1]
        graph.output("logits", logits, np.float32, (*each, parts.head_spec.labels))
    if states:
        for depth, value in enumerate(encoder.hidden_states):
            graph.output(f"hidden_states.{depth}", value, np.float32, (*tokens, a.hidden_size))
    return graph.model("sijo", dict(metadata))
