"""What a network that reads to the left has read before, so that one more token costs one token's work.

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
    new: slice | tuple[Tensor, Tensor]
    """The places of new tokens, the same in every row; or rows and the place of the one new token of each, (B,)."""
    width: int
    """Of the room, so much is in use: nobody reads further."""

    def extend(self, k_BHQC: Tensor, v_BHQC: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the new keys and values; returns all there are, (B, H, width, C)."""
        for kept, fresh in ((self.keys, k_BHQC), (self.values, v_BHQC)):
            if isinstance(self.new, slice):
                kept[:, :, self.new] = fresh
            else:
                rows_B, places_B = self.new
                kept[rows_B, :, places_B] = fresh[:, :, 0]
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
    >>> cache.keys.shape, cache.lengths
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
        self.lengths = [0] * rows

    @property
    def places(self) -> int:
        """Tokens that each text may have."""
        return self.keys.shape[3]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, in this order; a row named twice may be continued in two ways."""
        chosen = list(rows)
        self.keys, self.values = self.keys[:, chosen], self.values[:, chosen]
        self.lengths = [self.lengths[row] for row in chosen]

    def open(self, new: int) -> list[Layer]:
        """The part of each layer, for so many new tokens a row: one, or a whole prompt into an empty cache."""
        least, width = min(self.lengths), max(self.lengths) + new
        at: slice | tuple[Tensor, Tensor] = slice(least, width)
        if width - new > least:
            device = self.keys.device
            at = torch.arange(len(self.lengths), device=device), torch.tensor(self.lengths, device=device)
        return [Layer(keys, values, at, width) for keys, values in zip(self.keys, self.values, strict=True)]

    def read(self, keep_BL: Tensor | None, new: int) -> None:
        """Count what was read: `new` tokens a row, or as many as are real."""
        more = [new] * len(self.lengths) if keep_BL is None else keep_BL.sum(1).tolist()
        self.lengths = [length + count for length, count in zip(self.lengths, more, strict=True)]
