"""What a network that reads to the left has read before, so that a token more costs one token's work.

Letters: B batch, H heads, T room in tokens, Q new tokens, C width of one head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sijo.nn.architecture import Architecture


@dataclass(frozen=True)
class Layer:
    """The part of a cache that belongs to one layer."""

    keys: Tensor
    """(B, H, T, C), in the order of places."""
    values: Tensor
    """(B, H, T, C)."""
    place_B: Tensor | None
    """(B,) int64: where the one new token of each row stands; None while whole prompts are read."""
    width: int
    """Of the room, so much is in use: nobody reads further."""

    def extend(self, k_BHQC: Tensor, v_BHQC: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the new keys and values; returns all there are, (B, H, width, C)."""
        new = k_BHQC.shape[2]
        for kept, fresh in ((self.keys, k_BHQC), (self.values, v_BHQC)):
            if self.place_B is None:
                kept[:, :, :new] = fresh
            else:
                kept[torch.arange(len(kept), device=kept.device), :, self.place_B] = fresh[:, :, 0]
        return self.keys[:, :, : self.width], self.values[:, :, : self.width]


class Cache:
    """Room for the keys and values of every layer, made once.

    architecture  of a network that reads to the left
    rows          texts at once
    places        tokens of each at most

    >>> from sijo.models import published
    >>> from dataclasses import replace
    >>> small = replace(published("ctrl")[1].architecture(), vocab_size=9, embedding_size=8, hidden_size=8, heads=2,
    ...                 schedule=(0, 0))
    >>> cache = Cache(small, rows=3, places=16)
    >>> cache.keys.shape, cache.lengths_B.tolist()
    (torch.Size([2, 3, 2, 16, 4]), [0, 0, 0])
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        rows: int,
        places: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        a = architecture
        shape = (a.layers, rows, a.heads, places, a.hidden_size // a.heads)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths_B = torch.zeros(rows, dtype=torch.int64, device=device)

    @property
    def places(self) -> int:
        """Tokens that each text may have."""
        return self.keys.shape[3]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in this order; one that is given twice may go on in two ways."""
        chosen = list(rows)
        self.keys, self.values = self.keys[:, chosen], self.values[:, chosen]
        self.lengths_B = self.lengths_B[chosen]

    def layer(self, number: int, new: int) -> Layer:
        """The part of a layer, for so many new tokens a row: one, or a whole prompt into an empty cache."""
        first = not bool(self.lengths_B.any())
        width = new if first else int(self.lengths_B.max()) + 1
        return Layer(self.keys[number], self.values[number], None if first else self.lengths_B, width)

    def read(self, keep_BL: Tensor | None, new: int) -> None:
        """Count what was read: `new` tokens a row, or as many as are real."""
        self.lengths_B += new if keep_BL is None else keep_BL.sum(1)
