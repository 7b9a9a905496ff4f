"""What a network has read of texts that are written side by side, each row as if it were alone.

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
    """A text behind one of its fronts."""

    front: tuple[int, ...]
    """The tokens of its control code, which stay in place however long the text becomes."""
    ids: tuple[int, ...]
    """All tokens of the text so far."""
    more: int
    """Tokens that it may yet have."""


class CachedReader:
    """Rows in a network's cache.

    model   with an lm head, and reading to the left
    rows    what is read at first
    window  tokens that are read at once, of front and text together
    slide   how many old tokens leave when a row outgrows that
    """

    def __init__(self, model: Model, rows: Sequence[ReaderRow], *, window: int, slide: int) -> None:
        self.model, self.window, self.slide = model, window, slide
        if max(row.more for row in rows) >= LONG:
            lay_out(model, rows=len(rows))
        self._anew(rows)

    def logits(self) -> Tensor:
        """The logits (R, V) of each row's next token, float32."""
        head: LMHead = self.model.head[HEAD]  # type: ignore[assignment]
        return head.decode(self.states_RD, self.model.transformer).float()

    def go_on(self, rows: Sequence[ReaderRow], came: Sequence[int]) -> None:
        """Read the newest token of each row.

        came  which of the rows before it each goes on from: some may have ended, and one may go on in several ways
        """
        if max(self.cache.lengths[row] for row in came) == self.cache.places:
            self._anew(rows)
            return
        if list(came) != list(range(len(self.cache.lengths))):
            self.cache.keep(came)
        ids = torch.tensor([row.ids[-1:] for row in rows])
        self.states_RD = self.model.transformer.step(ids, self.cache)[:, 0]

    def _anew(self, rows: Sequence[ReaderRow]) -> None:
        """Read all rows from their fronts on; of one that has outgrown the window, its front and its end.

        Where that end begins is told by the row's own length: it does not matter who made it be read again.
        """
        read, room = [], 0
        for front, ids, more in rows:
            limit = self.window - len(front)
            step = min(self.slide, limit)
            gone = -(-max(0, len(ids) - limit) // step) * step
            read.append([*front, *ids[gone:]])
            room = max(room, len(read[-1]) + more)
        ids_RL, keep_RL = padded(read)
        places, kind = min(self.window, room), next(self.model.parameters()).dtype
        self.cache = Cache(self.model.architecture, rows=len(read), places=places, dtype=kind)
        states_RLD = self.model.transformer.step(ids_RL, self.cache, keep_RL)
        self.states_RD = states_RLD[torch.arange(len(read)), torch.tensor(self.cache.lengths) - 1]
