"""Each token gathers from the others what it needs.

Letters: B batch, H heads, Q queries, K keys, L length, D width, C width of one head (D / H).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sijo.nn.architecture import Architecture


def padding_bias(attention_mask: Tensor, like: Tensor) -> Tensor:
    """What is added to a score so that padding is not read: 0 at real tokens, the lowest number elsewhere.

    A finite number rather than minus infinity: a row that is all padding then attends evenly
    instead of turning into NaN, as in the released code.

    attention_mask  (B, K), 1 or True at real tokens
    like            a tensor of the dtype wanted

    Returns (B, 1, 1, K).

    >>> padding_bias(torch.tensor([[1, 0]]), torch.zeros(())).tolist()[0][0][0]
    [0.0, -3.4028234663852886e+38]
    """
    pad_BK = ~attention_mask.bool()
    bias_BK = torch.zeros(pad_BK.shape, dtype=like.dtype, device=like.device)
    return bias_BK.masked_fill(pad_BK, torch.finfo(like.dtype).min)[:, None, None, :]


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence on itself (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.hidden_size
        self.heads = architecture.heads
        self.dropout = architecture.attention_dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden_BLD: Tensor, bias_BHQK: Tensor | None) -> Tensor:
        """hidden_BLD (B, L, D); bias added to the scores, broadcast to (B, H, Q, K). Returns (B, L, D)."""
        q_BHLC, k_BHLC, v_BHLC = (
            part(hidden_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        read_BHLC = scaled_dot_product_attention(
            q_BHLC, k_BHLC, v_BHLC, attn_mask=bias_BHQK, dropout_p=self.dropout if self.training else 0.0
        )
        out_BLD: Tensor = self.out(read_BHLC.transpose(1, 2).flatten(2))
        return out_BLD
