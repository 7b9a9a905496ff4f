"""How matrices lie in memory, which changes no number, but how soon a single token is through.

A product with one row of states reads every weight once, and is as fast as memory is, if it reads long stretches of
it. By rows, as matrices are saved, MKL's product read one of (3,072, 768) at 8 GB a second, and by columns at 12,
where a sum of the same numbers reached 11; it was the other way round for (768, 3,072).
"""

import torch
from torch import nn


@torch.inference_mode(mode=False)  # whoever calls this: a network that has written may be trained
def lay_out(network: nn.Module) -> None:
    """Let the longer side of each float32 matrix lie in one piece, in place, one after another.

    A matrix that was mapped from a file is in memory of its own after that. Other dtypes stay as they are: their
    products are only quick by rows.

    >>> wide = nn.Linear(2, 3)
    >>> lay_out(wide)
    >>> tuple(wide.weight.shape), wide.weight.stride()
    ((3, 2), (1, 3))
    """
    for weight in network.parameters():
        if weight.dim() == 2 and weight.dtype == torch.float32 and weight.shape[0] > weight.shape[1]:
            weight.data = weight.data.T.contiguous().T
