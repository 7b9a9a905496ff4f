"""Linear maps on a processor: how their matrices lie in memory, and how a few rows of states pass through them.

Nothing here changes a number by more than rounding does. It changes how soon a token is through where a network
writes one after another: every weight is then read for a handful of rows, and reading is what takes the time.

Measured with torch 2.13 and MKL on an AMD processor, one thread, float32. For one row, a product reads long
stretches of memory fastest: a matrix of (3,072, 768) at 8 GB a second by rows, as it is saved, and at 12 by
columns, where a sum of the same numbers reached 11; it was the other way round for (768, 3,072). For eight rows,
the same matrix took 3.3 ms whole and 2.3 in pieces of 128 rows; 32,000 tokens of width 768 took 39 ms and 21.

Letters: R rows of states, N rows of a matrix (its outputs), D its columns.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 64
"""Rows of states up to which a product is taken in pieces."""
PIECE = 128
"""Rows of a matrix in a piece."""
LEAST = 2**20
"""Weights of a matrix from which on pieces are worth it."""


def product(states: Tensor, weight_ND: Tensor, bias_N: Tensor | None) -> Tensor:
    """What `F.linear` gives, from states (…, D) to (…, N); sooner for a few rows, where nothing is learned.

    >>> states, weight = torch.randn(8, 768), torch.randn(2000, 768)
    >>> with torch.inference_mode():
    ...     torch.allclose(product(states, weight, None), F.linear(states, weight), atol=1e-3)
    True
    """
    rows = states.shape[:-1].numel()
    few = 1 < rows <= FEW and weight_ND.numel() >= LEAST and len(weight_ND) >= PIECE
    if not few or torch.is_grad_enabled() or not _plain(weight_ND):
        return F.linear(states, weight_ND, bias_N)
    states_RD = states.reshape(rows, -1)
    count, rest = divmod(len(weight_ND), PIECE)
    pieces = weight_ND[: count * PIECE].view(count, PIECE, -1).transpose(1, 2)
    out_RN = torch.bmm(states_RD.expand(count, -1, -1), pieces).transpose(0, 1).flatten(1)
    if rest:
        out_RN = torch.cat([out_RN, F.linear(states_RD, weight_ND[-rest:])], 1)
    return (out_RN if bias_N is None else out_RN.add_(bias_N)).view(*states.shape[:-1], -1)


def _plain(weight_ND: Tensor) -> bool:
    return weight_ND.dtype == torch.float32 and weight_ND.device.type == "cpu" and weight_ND.is_contiguous()


class Linear(nn.Linear):
    """A linear map whose products are taken so."""

    def forward(self, states: Tensor) -> Tensor:
        """From (…, D) to (…, N)."""
        return product(states, self.weight, self.bias)


@torch.inference_mode(mode=False)  # whoever calls this: a network that has written may be trained
def lay_out(network: nn.Module, *, rows: int) -> None:
    """Let the float32 matrices of a network lie as products with so many rows of states want them, in place.

    By rows, as they are saved; for a single row of states the longer side lies in one piece. A matrix that was
    mapped from a file is in memory of its own once it is moved. Those of other dtypes stay as they are: their
    products are quick by rows alone.

    >>> wide = nn.Linear(2, 3)
    >>> lay_out(wide, rows=1)
    >>> tuple(wide.weight.shape), wide.weight.stride()
    ((3, 2), (1, 3))
    """
    for weight in network.parameters():
        if weight.dim() == 2 and weight.dtype == torch.float32 and weight.shape[0] > weight.shape[1]:
            weight.data = weight.data.T.contiguous().T if rows == 1 else weight.data.contiguous()
