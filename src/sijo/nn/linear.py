"""Linear maps on a processor: how their matrices lie in memory, and how a few rows of states pass through them.

Nothing here changes a number by more than rounding does. It changes how soon a token is through where a network
writes one after another: every weight is then read for a handful of rows, and reading is what takes the time.

Measured with torch 2.13 and MKL on an AMD processor, float32, matrices that no cache held. MKL reads long stretches
of memory fastest, and multiplies a single row of states on one thread. One row by (32,000, 768), as saved: 10.3 ms
on one thread as on two; laid out by columns, 6.7 on one, and in two pieces on two threads 4.5. One by (768, 3,072):
0.7 on one thread, and by columns longer; in pieces on two threads 0.6. Eight rows by (32,000, 768), one thread:
29 ms whole, and 18 in pieces of 128 rows.

Letters: R rows of states, N rows of a matrix (its outputs), D its columns, C pieces.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 64
"""Rows of states up to which a product is taken in pieces."""
PIECE = 128
"""Rows of a matrix in a piece at least, where it lies by rows."""
LEAST = 2**18
"""Weights of a matrix from which on pieces are worth it."""


def product(states: Tensor, weight_ND: Tensor, bias_N: Tensor | None) -> Tensor:
    """What `F.linear` gives, from states (…, D) to (…, N); sooner for a few rows, where nothing is learned.

    >>> states, weight = torch.randn(8, 768), torch.randn(2000, 768)
    >>> with torch.inference_mode():
    ...     torch.allclose(product(states, weight, None), F.linear(states, weight), atol=1e-3)
    True
    """
    rows = states.shape[:-1].numel()
    count = 1 if torch.is_grad_enabled() else _pieces(rows, weight_ND)
    if count == 1:
        return F.linear(states, weight_ND, bias_N)
    states_RD, size = states.reshape(rows, -1), len(weight_ND) // count
    whole, rest = count * size, len(weight_ND) % count
    pieces = weight_ND[:whole].reshape(count, size, -1).transpose(1, 2)
    each = states_RD.expand(count, -1, -1)
    bias_C1N = None if bias_N is None else bias_N[:whole].view(count, 1, size)
    out_CRN = torch.bmm(each, pieces) if bias_C1N is None else torch.baddbmm(bias_C1N, each, pieces)
    out_RN = out_CRN.transpose(0, 1).flatten(1)
    if rest:
        last = F.linear(states_RD, weight_ND[-rest:], None if bias_N is None else bias_N[-rest:])
        out_RN = torch.cat([out_RN, last], 1)
    return out_RN.view(*states.shape[:-1], -1)


def _pieces(rows: int, weight_ND: Tensor) -> int:
    """In how many pieces a matrix is quickest; 1 for as it is."""
    threads = torch.get_num_threads()
    plain = weight_ND.dtype == torch.float32 and weight_ND.device.type == "cpu"
    if not plain or weight_ND.numel() < LEAST or rows > FEW or rows == threads == 1:
        return 1
    if weight_ND.is_contiguous():
        return max(1, len(weight_ND) // PIECE)
    return threads if rows == 1 else 1


class Linear(nn.Linear):
    """A linear map whose products are taken with `product`."""

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
