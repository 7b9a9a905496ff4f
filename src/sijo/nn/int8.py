"""Matrices of eight bits: a quarter of the memory of float32, and of what is read for one token more.

Each row of a matrix is integers from -127 to 127 times a scale of its own. States are float32, rounded to
bfloat16 on their way into a product and out of it, as torch's product of few states with integers wants it;
many states are to come out as few do.

Letters: R rows of states, N rows of a matrix (its outputs, or tokens), D its columns.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 16
"""Rows of states up to which integers are multiplied as they are; for more, floats are made of them first."""
STEP = 64
"""Columns are a multiple of it where integers are multiplied as they are: of others torch reads past the end."""
PIECE = 2**21
"""Weights of which floats are made at a time, so that they stay near the processor."""


def quantized(weight_ND: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as integers (N, D) int8 and a scale for each row, (N,) bfloat16.

    The largest of a row becomes 127. A scale is rounded before weights are divided by it, so that no row becomes
    larger or smaller as a whole.

    >>> numbers, scales = quantized(torch.tensor([[1.27, -0.02, 0.0], [0.0, 0.0, 0.0]]))
    >>> numbers.tolist(), round(scales[0].item(), 4)
    ([[127, -2, 0], [0, 0, 0]], 0.01)
    """
    numbers_ND = torch.empty(weight_ND.shape, dtype=torch.int8)
    scales_N = torch.empty(len(weight_ND), dtype=torch.bfloat16)
    for part in parts(weight_ND):
        floats = weight_ND[part].float()
        scales_N[part] = (floats.abs().amax(1) / 127).clamp_min(torch.finfo(torch.bfloat16).tiny).bfloat16()
        numbers_ND[part] = (floats / scales_N[part, None]).round()
    return numbers_ND, scales_N


def parts(matrix_ND: Tensor) -> Iterator[slice]:
    """Slices of a matrix's rows, of `PIECE` weights each."""
    rows = max(1, PIECE // matrix_ND.shape[1])
    for start in range(0, len(matrix_ND), rows):
        yield slice(start, start + rows)


class Int8Matrix(nn.Module):
    """A matrix of int8 integers, in place of one of floats; not trained."""

    def __init__(self, weight_ND: Tensor) -> None:
        super().__init__()
        numbers_ND, scales_N = quantized(weight_ND)
        self.register_buffer("numbers", numbers_ND)
        self.register_buffer("scales", scales_N)

    numbers: Tensor
    """(N, D) int8."""
    scales: Tensor
    """(N,) bfloat16."""

    def times(self, states: Tensor) -> Tensor:
        """The products (…, N) of states (…, D), float32."""
        states_RD = states.flatten(0, -2).bfloat16()
        if len(states_RD) <= FEW and not states_RD.shape[1] % STEP:
            products_RN = torch._weight_int8pack_mm(states_RD, self.numbers, self.scales)
        else:
            each = [states_RD.float() @ self.numbers[part].float().T for part in parts(self.numbers)]
            products_RN = (torch.cat(each, dim=1) * self.scales).bfloat16()
        return products_RN.float().view(*states.shape[:-1], -1)


class Int8Linear(Int8Matrix):
    """A linear map of int8 integers, made of one of floats."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.weight.detach())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float(), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """From (…, D) to (…, N)."""
        products = self.times(states)
        return products if self.bias is None else products.add_(self.bias)


class Int8Table(Int8Matrix):
    """A table of tokens of int8 integers, for lookup and for the logits."""

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors (…, D) of tokens, float32."""
        return F.embedding(ids, self.numbers).float() * self.scales[ids, None]
