"""What a token costs in arithmetic, how much of it this machine can do, and so how well a run uses it.

Multiplications of matrices are counted and nothing else: norms, activations and softmax take time, but
no share of the arithmetic worth naming. Letters: D width, E width of the tables, F width inside the
feed-forward layer, L length, V tokens.
"""

import statistics
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from sijo.nn.architecture import Architecture
from sijo.nn.head_specs import HeadSpec
from sijo.nn.heads import Network
from sijo.objectives.registry import answers_by_head

SECONDS = 0.2
"""That measuring a machine takes, or three products where one takes longer."""
LATELY = 20
"""Steps over which the present speed is taken."""


class Speed(NamedTuple):
    """How fast a run is."""

    tokens_per_second: float
    """Real tokens, over all processes."""
    matmul_share: float
    """Of what the processors would do if they multiplied matrices and nothing else, from 0 to 1."""


class SpeedMeter:
    """Tells how fast a run is, by what its tokens cost and what this machine can do.

    networks      that learn
    share         of the tokens that are masked
    batch         inputs of a step
    micro_tokens  tokens read at once
    peak          operations a second of matrix products, over all processes
    """

    def __init__(
        self, networks: Iterable[Network], *, share: float, batch: int, micro_tokens: int, peak: float
    ) -> None:
        self.networks, self.share, self.batch, self.micro_tokens = list(networks), share, batch, micro_tokens
        self.peak = peak
        self._lately: deque[tuple[int, float]] = deque(maxlen=LATELY)

    def add(self, tokens: int, seconds: float) -> Speed:
        """Take in a step; returns the speed over the last ones."""
        self._lately.append((tokens, seconds))
        counts, times = zip(*self._lately, strict=True)
        return self.speed(len(counts), sum(counts), sum(times))

    def speed(self, steps: float, tokens: float, seconds: float) -> Speed:
        """Of so many steps, tokens and seconds."""
        length = tokens / steps / self.batch
        sequences = max(1, int(self.micro_tokens / length))
        flops = training_flops(self.networks, length, share=self.share, sequences=sequences)
        return Speed(tokens / seconds, flops * tokens / seconds / self.peak)


def training_flops(networks: Iterable[Network], length: float, *, share: float, sequences: int = 1) -> float:
    """Operations for one token that all these networks learn from: one, or a generator and a discriminator.

    networks   with the heads they learn by; may be on the meta device
    length     tokens of a sequence
    share      of the tokens that are masked
    sequences  read at once

    >>> from sijo.nn.head_specs import LMHeadSpec
    >>> tiny = Architecture(vocab_size=99, embedding_size=16, hidden_size=16, heads=2, intermediate_size=32,
    ...                     schedule=(0,))
    >>> training_flops([Network(tiny, {"mlm": LMHeadSpec(activation="gelu")})], 8, share=0.15)
    15480.0
    """
    answers = answers_by_head(share, length)
    return sum(
        flops_per_token(
            network.architecture,
            length,
            training=True,
            answers={head: answers.get(name, 1.0) for name, head in network.head_values.items()},
            sequences=sequences,
            recompute=network.transformer.recompute,
        )
        for network in networks
    )


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

    Attention to the left is counted like attention to both sides, since as much is computed. Exact on
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
    forward = entry + layers * layer + heads
    if not training:
        return 2 * forward
    layers -= bool(decoder)  # the mask decoder runs the last layer again; the first output of that is not used
    backward = 2 * (entry + layers * layer + heads)
    again = (layers - decoder) * layer if recompute else 0
    return 2 * (forward + backward + again)


def _layer(a: Architecture, length: float, sequences: int) -> float:
    """Multiply-adds of one layer for one token."""
    projections = 4 * a.hidden_size**2
    scores = values = length * a.hidden_size
    terms = len(a.distances.terms) if a.distances else 0
    distances = terms * (2 * length * a.hidden_size + 2 * a.hidden_size**2 / sequences)
    return projections + scores + values + distances + 2 * a.hidden_size * a.intermediate_size


def _head(head: HeadSpec, a: Architecture) -> int:
    """Multiply-adds of one answer, without those of a mask decoder in the last layer."""
    if head.kind == "vocabulary":
        dense = a.hidden_size * a.embedding_size if head.activation is not None else 0
        return dense + a.embedding_size * a.vocab_size
    dense = a.hidden_size**2 if head.dense else 0
    return dense + (0 if head.answers == "vector" else a.hidden_size * head.labels)


def matmul_peak(threads: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """Operations a second of square matrix products here: what a run can hope for, not a data sheet.

    threads  of torch, as the run has them
    dtype    of the matrices
    device   "cpu" or "cuda"

    The median of products that take 10 ms or more each, some 0.2 s in all. No chance is drawn. A processor
    without instructions for bfloat16 was measured at a sixtieth of what it does in float32.

    >>> matmul_peak(1) > 1e8
    True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        size, seconds = 128, 0.0
        while seconds < 0.01 and size < 8192:
            size *= 2
            matrix = torch.ones(size, size, dtype=dtype, device=device)
            _seconds(matrix)  # the first one of a size also fetches memory
            seconds = _seconds(matrix)
        taken = [seconds]
        while sum(taken) < SECONDS or len(taken) < 3:
            taken.append(_seconds(matrix))
    finally:
        torch.set_num_threads(before)
    return 2 * size**3 / statistics.median(taken)


def _seconds(matrix: torch.Tensor) -> float:
    """That its product with itself takes."""
    started = time.perf_counter()
    torch.mm(matrix, matrix)
    if matrix.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
