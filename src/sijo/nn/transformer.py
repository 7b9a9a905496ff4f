"""The one Transformer: embeddings, then blocks in the order of the schedule.

Letters: B batch, L length, D width of the hidden states, F width inside the feed-forward part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from sijo.errors import TextError
from sijo.nn.architecture import Activation, Architecture
from sijo.nn.attention import SelfAttention, padding_bias
from sijo.nn.embeddings import Embeddings

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class Output:
    """What a forward pass gives back."""

    last_hidden_state: Tensor
    """(B, L, D) float, after the last layer."""
    hidden_states: tuple[Tensor, ...] | None = None
    """Each (B, L, D): the embeddings, then the states after each layer; only when asked for."""
    logits: Tensor | None = None
    """What the loaded head answers; None without a head."""


class Block(nn.Module):
    """Attention, then a feed-forward part; each is added to its input and then normalised (post-norm)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.attention = SelfAttention(a)
        self.attention_norm = nn.LayerNorm(a.hidden_size, eps=a.norm_eps)
        self.widen = nn.Linear(a.hidden_size, a.intermediate_size)
        self.narrow = nn.Linear(a.intermediate_size, a.hidden_size)
        self.output_norm = nn.LayerNorm(a.hidden_size, eps=a.norm_eps)
        self.dropout = nn.Dropout(a.dropout)
        self.activation = ACTIVATIONS[a.activation]

    def forward(self, hidden_BLD: Tensor, bias_BHQK: Tensor | None) -> Tensor:
        """hidden_BLD (B, L, D) and the bias on attention scores; returns (B, L, D)."""
        read_BLD = self.dropout(self.attention(hidden_BLD, bias_BHQK))
        hidden_BLD = self.attention_norm(hidden_BLD + read_BLD)
        fed_BLD = self.dropout(self.narrow(self.activation(self.widen(hidden_BLD))))
        out_BLD: Tensor = self.output_norm(hidden_BLD + fed_BLD)
        return out_BLD


class Transformer(nn.Module):
    """An encoder built from an `Architecture`.

    >>> import torch
    >>> from sijo.nn.architecture import Activation, Architecture, Learned
    >>> tiny = Transformer(Architecture(vocab_size=99, embedding_size=8, hidden_size=16, heads=2,
    ...     intermediate_size=32, schedule=(0, 1), positions=Learned(count=64)))
    >>> tiny(torch.tensor([[5, 6, 7]])).last_hidden_state.shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embeddings = Embeddings(architecture)
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.blocks))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Output:
        """Read a batch of token ids.

        input_ids             (B, L) int64
        attention_mask        (B, L), 1 or True at real tokens; None when there is no padding
        token_type_ids        (B, L) int64; None when all are 0
        output_hidden_states  keep the states after every layer too

        Raises TextError when L exceeds the places the architecture knows.
        """
        limit = self.architecture.positions.count
        if input_ids.shape[1] > limit:
            raise TextError(
                f"an input of {input_ids.shape[1]} tokens is longer than the {limit} places this "
                "model knows; cut it into windows, as sijo.encode does"
            )
        hidden_BLD = self.embeddings(input_ids, token_type_ids)
        bias = None if attention_mask is None else padding_bias(attention_mask, like=hidden_BLD)
        states = [hidden_BLD]
        for block in self.architecture.schedule:
            hidden_BLD = self.blocks[block](hidden_BLD, bias)
            if output_hidden_states:
                states.append(hidden_BLD)
        return Output(hidden_BLD, tuple(states) if output_hidden_states else None)
