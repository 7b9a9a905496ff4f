"""What is added to the score of two tokens for how far apart they stand: a number a head, the same in all layers.

Letters: H heads, L length, P distances.
"""

import torch
from torch import Tensor, nn

from sijo.nn.architecture import Architecture, RelativeBias
from sijo.nn.embeddings import table


class RelativeBiasTable(nn.Module):
    """A number for each bucket of distances and each head.

    Source: T5 (Raffel et al. 2019, arXiv:1910.10683), section 2.1, in the form of MPNet's released code.
    """

    def __init__(self, architecture: Architecture, bias: RelativeBias) -> None:
        super().__init__()
        self.bias = bias
        self.rows = table(bias.buckets, architecture.heads)

    def forward(self, places_BL: Tensor) -> Tensor:
        """What is added to the score of query i and key j of tokens at such places, (B, H, L, L).

        >>> sizes = {"vocab_size": 9, "embedding_size": 2, "hidden_size": 2, "intermediate_size": 2}
        >>> made = RelativeBiasTable(Architecture(**sizes, heads=1, schedule=(0,)), RelativeBias(buckets=4, span=2))
        >>> made.rows.weight.data = torch.arange(4.0)[:, None]
        >>> made(torch.tensor([[0, 1, 2]]))[0, 0].tolist()
        [[0.0, 3.0, 3.0], [1.0, 0.0, 3.0], [1.0, 1.0, 0.0]]
        """
        span = self.bias.span
        distance_BLL = (places_BL[:, :, None] - places_BL[:, None]).clamp(-span, span)
        rows_P = torch.tensor(self.bias.rows, device=places_BL.device)
        bias_BLLH: Tensor = self.rows(rows_P[distance_BLL + span])
        return bias_BLLH.permute(0, 3, 1, 2).contiguous()
