"""What a network is, as a value: its sizes, and a choice among a few mechanisms.

A field is a dimension or a choice of part, never a switch inside a part. What papers brought as
models are values here: ALBERT is a `schedule` that repeats and a narrow `embedding_size`; BERT is
the plain case.
"""

from dataclasses import dataclass
from typing import Literal

from sijo.errors import SettingError

Activation = Literal["gelu", "gelu_new", "relu", "silu"]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A learned vector for each place, added to the token's own (BERT, section 3.2)."""

    count: int
    """How many places there are: the longest input in tokens."""


Positions = Learned  # the next parts (sinusoidal, disentangled) join here as a union


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes of a Transformer encoder and the mechanisms it is made of.

    >>> tiny = Architecture(vocab_size=99, embedding_size=8, hidden_size=16, heads=2,
    ...                     intermediate_size=32, schedule=(0, 0, 0), positions=Learned(count=64))
    >>> tiny.layers, tiny.blocks        # three layers that share one block's weights, as ALBERT
    (3, 1)
    """

    vocab_size: int
    """Rows of the token table."""
    embedding_size: int
    """Width of the embedding tables; where it differs from `hidden_size`, a projection follows them."""
    hidden_size: int
    """Width of the hidden states."""
    heads: int
    """Attention heads a layer."""
    intermediate_size: int
    """Width inside the feed-forward part."""
    schedule: tuple[int, ...]
    """Which block of weights each layer uses, in order: (0, 1, 2) shares nothing, (0, 0, 0) all."""
    positions: Positions
    """How a token learns where it stands."""
    token_types: int = 0
    """Rows of the segment table; 0 for none."""
    activation: Activation = "gelu"
    """The bend in the feed-forward part; `gelu_new` is the tanh approximation."""
    norm_eps: float = 1e-12
    """Added to the variance in each LayerNorm."""
    dropout: float = 0.1
    """Share of hidden values dropped in training."""
    attention_dropout: float = 0.1
    """Share of attention weights dropped in training."""

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise SettingError(
                f"hidden_size={self.hidden_size} cannot be split into heads={self.heads} equal heads; "
                f"choose a number of heads that divides it"
            )
        if not self.schedule or sorted(set(self.schedule)) != list(range(self.blocks)):
            raise SettingError(
                f"schedule={self.schedule} must name blocks 0, 1, 2, … without a gap; "
                "(0, 1, 2) gives each of three layers its own weights"
            )

    @property
    def layers(self) -> int:
        """How many layers a token passes through."""
        return len(self.schedule)

    @property
    def blocks(self) -> int:
        """How many layers have weights of their own."""
        return max(self.schedule, default=-1) + 1
