"""What a token costs in arithmetic, told by an architecture alone.

Multiplications of matrices are counted and nothing else: norms, activations and softmax take time, but
no share of the arithmetic worth naming. Letters: D width, E width of the tables, F width inside the
feed-forward layer, L length, V tokens.
"""

from collections.abc import Mapping

from sijo.nn.architecture import PARTS, Architecture
from sijo.nn.encoder_decoder import stacks
from sijo.nn.head_specs import HeadSpec


def flops_per_token(
    architecture: Architecture,
    length: float,
    *,
    training: bool,
    answers: Mapping[HeadSpec, float] | None = None,
    sequences: int = 1,
    recompute: bool = False,
) -> float:
    """Floating-point operations for one token among `length`: two for each multiply-add of a matrix product.

    length     tokens of a sequence, with or without its padding; the cost is then that with or without padding
    training   the gradient too, which costs twice the forward pass
    answers    of each head, the share of tokens it answers at: 0.15 for masked ones, 1 / length for one
               answer a text
    sequences  how many are read at once: they share one projection of DeBERTa's 2 L distances
    recompute  the layers run once more before their gradient (activation checkpointing)

    Attention to the left, or to near tokens, is counted like attention to all, since as much is computed. Exact on
    every family beside what torch counts by itself (tests/training/test_cost.py).

    >>> from sijo.nn.architecture import Learned
    >>> bert = Architecture(vocab_size=30_522, embedding_size=768, hidden_size=768, heads=12,
    ...                     intermediate_size=3072, schedule=(*range(12),), positions=Learned(count=512))
    >>> flops_per_token(bert, 128, training=False) / 1e6      # two for each of 85 M weights, and attention
    174.587904
    """
    a = architecture
    layer = _layer(a, length, sequences)
    entry = a.embedding_size * a.hidden_size if a.widening else 0
    if a.convolution is not None:
        entry += a.convolution.kernel * a.hidden_size**2 // a.convolution.groups
    heads, decoder = 0.0, 0
    for head, share in (answers or {}).items():
        heads += share * _head(head, a)
        decoder = 2 if head.kind == "vocabulary" and head.places else decoder
    layers = a.layers + decoder
    cross = 4 * a.hidden_size**2 + 2 * length * a.hidden_size  # of each layer of a second stack
    second = sum(stack.layers * (_layer(stack, length, sequences) + cross) for stack in stacks(a)[1:])
    forward = entry + layers * layer + second + heads
    if not training:
        return 2 * forward
    layers -= bool(decoder)  # the mask decoder runs the last layer again; the first output of that is not used
    backward = 2 * (entry + layers * layer + second + heads)
    again = (layers - decoder) * layer + second if recompute else 0
    return 2 * (forward + backward + again)


def _layer(a: Architecture, length: float, sequences: int) -> float:
    """Multiply-adds of one layer for one token."""
    projections = 4 * a.hidden_size**2
    scores = values = length * a.hidden_size
    terms = len(a.distances.terms) if a.distances else 0
    distances = terms * (2 * length * a.hidden_size + 2 * a.hidden_size**2 / sequences)
    fed = (PARTS[a.feed_forward] + 1) * a.hidden_size * a.intermediate_size
    return projections + scores + values + distances + fed


def _head(head: HeadSpec, a: Architecture) -> int:
    """Multiply-adds of one answer, without those of a mask decoder in the last layer."""
    if head.kind == "vocabulary":
        dense = a.hidden_size * a.embedding_size if head.activation is not None else 0
        return dense + a.embedding_size * a.vocab_size
    if head.kind == "labels":  # of one label, and the text
        return 4 * a.hidden_size * head.inner
    dense = a.hidden_size**2 if head.dense else 0
    return dense + (0 if head.answers == "vector" else a.hidden_size * head.labels)
