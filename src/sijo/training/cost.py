"""How much arithmetic this machine can do, and so how well a run uses it."""

import statistics
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import torch

from sijo.nn.cost import flops_per_token
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

    >>> from sijo.nn.architecture import Architecture
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
