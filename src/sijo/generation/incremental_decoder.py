"""The text of tokens that come one by one, given out as soon as nothing that follows can change it.

How a token is spelled depends on its neighbours: the first of a text has no space before it, and a letter may need
the bytes of several. So the newest token waits for the next, and is decoded behind one that is settled, never with
the whole text: a token costs the same after ten thousand as at the start.
"""

import re
from dataclasses import dataclass, replace

from sijo.tokenizers.tokenizer import Tokenizer

BYTE = re.compile("<0x[0-9A-F]{2}>")
"""A token that is one byte: a run of them is decoded as a whole, to other letters with each that joins it."""
BROKEN = "\ufffd"
"""What stands for the first bytes of a letter."""


@dataclass(frozen=True)
class IncrementalDecoder:
    """What is known of a text; `after` gives another with a token more.

    >>> from sijo.checkpoints.locate import built_in
    >>> tokenizer = Tokenizer.load(built_in() / "tokenizer.json", max_length=9)
    >>> spelling, pieces = IncrementalDecoder(tokenizer, stops=(" of",)), []
    >>> for token in tokenizer.ids(["a poem of three lines"])[0]:
    ...     if not spelling.stopped:
    ...         spelling = spelling.after(token)
    ...         pieces.append(spelling.piece)
    >>> pieces, spelling.stopped
    (['', '', 'a poem'], True)
    """

    tokenizer: Tokenizer
    stops: tuple[str, ...] = ()
    """The text ends before the first of these."""
    settled: tuple[int, ...] = ()
    """The last token that nothing changes any more, if there is one."""
    open: tuple[int, ...] = ()
    """Tokens behind it that the next one may change."""
    tail: str = ""
    """How these are spelled, if nothing follows."""
    held: str = ""
    """Settled text in which a stop string may have begun."""
    piece: str = ""
    """What the newest token has made sure of the text."""
    stopped: bool = False
    """Whether a stop string has come."""

    def after(self, token: int, *, last: bool = False) -> "IncrementalDecoder":
        """With one token more, which is not a special one; none comes after the `last`."""
        tokens = (*self.open, token)
        tail = self._spelled((*self.settled, *tokens))[len(self._spelled(self.settled)) :]
        text = self.held + tail
        places = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if places or last:
            return replace(self, piece=text[: min(places, default=None)], stopped=bool(places))
        if not self._settles(token, tail):
            return replace(self, open=tokens, tail=tail, piece="")
        text = self.held + self.tail
        sure = max(0, len(text) - max(map(len, self.stops), default=1) + 1)
        return replace(
            self,
            settled=self.open[-1:],
            open=(token,),
            tail=tail[len(self.tail) :],
            held=text[sure:],
            piece=text[:sure],
        )

    def _settles(self, token: int, tail: str) -> bool:
        """Whether a new token, with which the tail is spelled so, leaves the open ones as they are for good."""
        if self.tail.endswith(BROKEN) or not tail.startswith(self.tail):
            return False
        return not (self._byte(token) and any(map(self._byte, self.open)))

    def _byte(self, token: int) -> bool:
        return BYTE.fullmatch(self.tokenizer.token(token) or "") is not None

    def _spelled(self, tokens: tuple[int, ...]) -> str:
        return self.tokenizer.decode(tokens)
