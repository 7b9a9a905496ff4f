"""Texts read side by side through a network's cache, each row as if it were alone.

Letters: R rows, V tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sijo.checkpoints.load import Model
from sijo.inference.engine import padded
from sijo.nn.cache import Cache
from sijo.nn.heads import LMHead
from sijo.nn.linear import lay_out

HEAD = "lm"
LONG = 64
"""Tokens that a text may yet have, from which on it pays to lay the network out for them first."""


class ReaderRow(NamedTuple):
    """A text behind one of its prefixes."""

    prefix: tuple[int, ...]
    """The tokens of its control code, which stay in place however long the text becomes."""
    ids: tuple[int, ...]
    """All tokens of the text so far."""
    remaining: int
    """Tokens that it may yet have."""


class CachedReader:
    """Rows of tokens in a network's key-value cache.

    model   with an lm head, reading to the left
    rows    what is read at first
    window  tokens that are read at once, of prefix and text together
    slide   how many old tokens leave when a row outgrows that
    """

    def __init__(self, model: Model, rows: Sequence[ReaderRow], *, window: int, slide: int) -> None:
        self.model, self.window, self.slide = model, window, slide
        if max(row.remaining for row in rows) >= LONG:
            lay_out(model, rows=len(rows))
        self._read(rows)

    def logits(self) -> Tensor:
        """The logits (R, V) of each row's next token, float32."""
        head: LMHead = self.model.head[HEAD]  # type: ignore[assignment]
        return head.decode(self.states_RD, self.model.transformer).float()

    def step(self, rows: Sequence[ReaderRow], parents: Sequence[int]) -> None:
        """Read the newest token of each row.

        parents  which of the rows before it each goes on from: some may have ended, others have several children
        """
        if max(self.cache.lengths[row] for row in parents) == self.cache.places:
            self._read(rows)
            return
        if list(parents) != list(range(len(self.cache.lengths))):
            self.cache.keep(parents)
        ids = torch.tensor([row.ids[-1:] for row in rows])
        self.states_RD = self.model.transformer.step(ids, self.cache)[:, 0]

    def _read(self, rows: Sequence[ReaderRow]) -> None:
        """Read all rows into a new cache: whole, or where one has outgrown the window, its prefix and its end.

        Where that end begins depends on the row's own length alone, whichever row made them all be read again.
        """
        sequences, longest = [], 0
        for prefix, ids, remaining in rows:
            limit = self.window - len(prefix)
            slide = min(self.slide, limit)
            dropped = -(-max(0, len(ids) - limit) // slide) * slide
            sequences.append([*prefix, *ids[dropped:]])
            longest = max(longest, len(sequences[-1]) + remaining)
        ids_RL, keep_RL = padded(sequences)
        places, dtype = min(self.window, longest), next(self.model.parameters()).dtype
        self.cache = Cache(self.model.architecture, rows=len(rows), places=places, dtype=dtype)
        states_RLD = self.model.transformer.step(ids_RL, self.cache, keep_RL)
        self.states_RD = states_RLD[torch.arange(len(rows)), torch.tensor(self.cache.lengths) - 1]
