"""A batch without its padding: the real tokens of all rows one after another, rows of equal length together.

Linear maps, norms and activations take a token by itself, so they need no rows. Attention needs them: it reads a
group of rows of one length as a tensor (R, L, …), which lies in the packed states as it is, and needs no mask.

Letters: B batch, L length, T tokens of the whole batch, R rows of a group, D width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

PIECE = 1024
"""Tokens that pass through linear maps at a time: what is between two maps then stays near the processor."""
FINEST = 8
"""Sizes of a last piece between one power of two and the next; see `rounded`."""


def rounded(tokens: int) -> int:
    """The number of tokens that so many are filled up to, so that few sizes of pieces occur.

    A processor's library makes a kernel for each size, and keeps it. A last piece of 512 tokens and more is filled
    up to a multiple of 64, one of 256 and more to a multiple of 32, and so on.

    >>> [rounded(tokens) for tokens in (1, 17, 33, 600, 1024, 4097)]
    [1, 18, 36, 640, 1024, 4097]
    """
    whole, last = tokens // PIECE * PIECE, tokens % PIECE
    step = max(1, 2 ** (last.bit_length() - 1) // FINEST) if last else 1
    return whole + -(-last // step) * step


def pieces(tokens: int) -> Iterator[slice]:
    """Slices of so many packed tokens, of `PIECE` each but the last.

    >>> [(piece.start, piece.stop) for piece in pieces(1030)]
    [(0, 1024), (1024, 1030)]
    """
    for start in range(0, tokens, PIECE):
        yield slice(start, min(start + PIECE, tokens))


@dataclass(frozen=True)
class Group:
    """Rows of one length, one after another."""

    start: int
    """Where its first token stands among the packed ones."""
    rows: int
    length: int
    """Tokens of each row."""

    def of(self, states_TD: Tensor) -> Tensor:
        """Its part of packed states, as a view (R, L, D)."""
        part_TD = states_TD[self.start : self.start + self.rows * self.length]
        return part_TD.view(self.rows, self.length, -1)


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch stand once they are packed."""

    shape: tuple[int, int]
    """(B, L) of the batch."""
    order_B: Tensor
    """(B,) int64, which row of the batch comes first, second, … : the longest first."""
    place_T: Tensor
    """(T,) int64, which of the B · L tokens is the first, second, …; then the first again, up to a round number."""
    tokens: int
    """How many are real."""
    groups: tuple[Group, ...]
    """All of them, the longest first."""

    def pack(self, states_BL: Tensor) -> Tensor:
        """Of one value for each token, (B, L), those of the packed ones, (T,)."""
        return states_BL.reshape(-1)[self.place_T]

    def unpack(self, states_TD: Tensor) -> Tensor:
        """The states (B, L, D) of packed ones; 0 at padding."""
        places, width = self.shape[0] * self.shape[1], states_TD.shape[1]
        if self.tokens == places and len(self.groups) == 1:
            return states_TD[: self.tokens].view(*self.shape, width)
        out_TD = states_TD.new_zeros(places, width)
        out_TD[self.place_T[: self.tokens]] = states_TD[: self.tokens]
        return out_TD.view(*self.shape, width)


def packing(shape: tuple[int, int], keep_BL: Tensor | None, device: torch.device) -> Packing | None:
    """How a batch is packed; None where it cannot be: a row is empty, or has padding before or between its tokens.

    shape    (B, L)
    keep_BL  True at real tokens; None when there is no padding

    >>> packed = packing((2, 3), torch.tensor([[True, False, False], [True, True, True]]), torch.device("cpu"))
    >>> packed.place_T.tolist(), [(group.rows, group.length) for group in packed.groups]
    ([3, 4, 5, 0], [(1, 3), (1, 1)])
    """
    rows, width = shape
    if not rows or not width:
        return None
    if keep_BL is None:
        order_B, lengths = torch.arange(rows, device=device), [width] * rows
        place_T = torch.arange(rows * width, device=device)
    else:
        count_B = keep_BL.sum(1)
        column_L = torch.arange(width, device=device)
        if not int(count_B.min()) or not torch.equal(keep_BL, column_L < count_B[:, None]):
            return None
        count_B, order_B = count_B.sort(descending=True, stable=True)
        place_T = (order_B[:, None] * width + column_L)[column_L < count_B[:, None]]
        lengths = count_B.tolist()
    tokens = len(place_T)
    if filling := rounded(tokens) - tokens:
        place_T = torch.cat([place_T, place_T[:1].expand(filling)])
    return Packing((rows, width), order_B, place_T, tokens, tuple(_groups(lengths)))


def _groups(lengths: list[int]) -> Iterator[Group]:
    """Runs of equal lengths."""
    start = first = 0
    for row in range(1, len(lengths) + 1):
        if row == len(lengths) or lengths[row] != lengths[first]:
            yield Group(start, row - first, lengths[first])
            start, first = start + (row - first) * lengths[first], row
