"""How fast a model reads on this machine, beside what the machine can do: plain products of matrices.

Every cell is measured in turns with the others, and the median of its rounds is taken: what else the machine does
meanwhile then slows all of them alike. Letters: B inputs of a batch, L tokens of each.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sijo.checkpoints.describe import FolderDescription
from sijo.inference.backends.backend import Backend, IdBatch
from sijo.nn.cost import flops_per_token
from sijo.nn.encoder_decoder import EncoderDecoder
from sijo.nn.head_specs import CLASSIFIER

SHAPES = ((1, 16), (32, 16), (1, 128), (16, 128), (1, 512), (4, 512))
"""Inputs of a batch, and tokens of each: a request, a paragraph, a page; one at a time, and 512 to 2,048 tokens."""
PRODUCT = 1024
"""Rows and columns of the matrices whose product is measured."""


@dataclass(frozen=True)
class Reading:
    """How fast one backend reads batches of one shape."""

    backend: str
    precision: str
    device: str
    batch: int
    """Inputs."""
    tokens: int
    """Of each input, special ones counted."""
    texts_per_second: float
    tokens_per_second: float
    gflops: float
    """Billions of operations a second in products of matrices."""
    peak_share: float
    """Of what plain products in float32 reach on the processor in the same run."""


def in_turns(works: Sequence[Callable[[], object]], *, rounds: int) -> list[float]:
    """The median seconds of each work, all of them once a round, after one round that is not counted.

    >>> in_turns([lambda: sum(range(1000))], rounds=3)[0] > 0
    True
    """
    taken: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, seconds in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            if number:
                seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def read_speeds(
    model: FolderDescription,
    backends: Sequence[Backend],
    products: Mapping[str, Callable[[], object]],
    *,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    rounds: int = 5,
) -> tuple[list[Reading], dict[str, float]]:
    """How fast some backends read a model, and how many operations a second plain products reach, by name.

    backends  of one model, with the head that is to answer, or none for vectors
    products  each multiplies two square matrices of `PRODUCT` rows in float32; at least one
    shapes    inputs and tokens of a batch; of one longer than the model reads, what it reads

    The ids are drawn from a fixed seed: how long a network takes does not depend on the words.
    """
    longest = model.tokenizer.max_length if model.has_tokenizer else model.architecture.places or 512
    kept = list(dict.fromkeys((rows, min(tokens, longest)) for rows, tokens in shapes))
    cells = [(backend, rows, tokens) for rows, tokens in kept for backend in backends]
    works = [*products.values(), *(_work(model, *cell) for cell in cells)]
    seconds = in_turns(works, rounds=rounds)
    peaks = {name: 2 * PRODUCT**3 / taken for name, taken in zip(products, seconds, strict=False)}
    peak, readings = max(peaks.values()), []
    for (backend, rows, tokens), taken in zip(cells, seconds[len(peaks) :], strict=True):
        flops = flops_per_token(model.architecture, tokens, training=False, sequences=rows) * rows * tokens / taken
        readings.append(
            Reading(
                backend=backend.name,
                precision=backend.precision,
                device=backend.device,
                batch=rows,
                tokens=tokens,
                texts_per_second=rows / taken,
                tokens_per_second=rows * tokens / taken,
                gflops=flops / 1e9,
                peak_share=flops / peak,
            )
        )
    return readings, peaks


def numpy_product() -> Callable[[], object]:
    """A product of two matrices in float32, as numpy's BLAS makes it.

    >>> numpy_product()().shape
    (1024, 1024)
    """
    matrix = np.ones((PRODUCT, PRODUCT), np.float32)
    return lambda: matrix @ matrix


def _work(model: FolderDescription, backend: Backend, rows: int, tokens: int) -> Callable[[], object]:
    """Reads one batch of that shape."""
    chance = np.random.default_rng(0)
    a = model.architecture
    ids = chance.integers(a.vocab_size, size=(rows, tokens))
    if isinstance(a, EncoderDecoder):  # whose head looks for where a text ends
        ids[:, -1] = a.decoder.end
    batch = IdBatch(ids)
    answer = backend.logits if CLASSIFIER in backend.heads else backend.vectors
    return lambda: answer(batch)
