"""Incremental decoding: the text of tokens that come one by one, emitted once no later token can change it.

How a token is decoded depends on its neighbours: the first of a text has no space before it, and a letter may need
the bytes of several. So the newest token waits for the next, and is decoded behind one that is settled, never with
the whole text: a token costs the same after ten thousand as at the start.
"""

import re
from dataclasses import dataclass, replace

from sijo.tokenizers.tokenizer import Tokenizer

BYTE = re.compile("<0x[0-9A-F]{2}>")
"""A token that is one byte: a run of them is decoded as a whole, and another byte may change all its letters."""
BROKEN = "\ufffd"
"""How the first bytes of an incomplete letter are decoded."""


@dataclass(frozen=True)
class IncrementalDecoder:
    """The state of decoding after some tokens; `after` gives that with a token more.

    >>> from sijo.checkpoints.locate import locate
    >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=9)
    >>> decoder, pieces = IncrementalDecoder(tokenizer, stops=(" of",)), []
    >>> for token in tokenizer.ids(["a poem of three lines"])[0]:
    ...     if not decoder.stopped:
    ...         decoder = decoder.after(token)
    ...         pieces.append(decoder.piece)
    >>> pieces, decoder.stopped
    (['', '', 'a poem'], True)
    """

    tokenizer: Tokenizer
    stops: tuple[str, ...] = ()
    """The text ends before the first of these."""
    settled: tuple[int, ...] = ()
    """The last token whose text is final, if there is one."""
    open: tuple[int, ...] = ()
    """Tokens behind it that the next one may change."""
    tail: str = ""
    """The text of these, if nothing follows."""
    held: str = ""
    """Settled text in which a stop string may have begun."""
    piece: str = ""
    """The text that has become final with the newest token."""
    stopped: bool = False
    """Whether a stop string has come."""

    def after(self, token: int, *, last: bool = False) -> "IncrementalDecoder":
        """The state with one token more, which is not a special one; none comes after the `last`."""
        tokens = (*self.open, token)
        decode = self.tokenizer.decode
        tail = decode((*self.settled, *tokens))[len(decode(self.settled)) :]
        text = self.held + tail
        ends = [end for stop in self.stops if (end := text.find(stop)) >= 0]
        if ends or last:
            return replace(self, piece=text[: min(ends, default=None)], stopped=bool(ends))
        changed = self.tail.endswith(BROKEN) or not tail.startswith(self.tail)
        if changed or (self._byte(token) and any(map(self._byte, self.open))):  # the open tokens' text is not final
            return replace(self, open=tokens, tail=tail, piece="")
        text = self.held + self.tail
        final = max(0, len(text) - max(map(len, self.stops), default=1) + 1)
        return replace(
            self,
            settled=self.open[-1:],
            open=(token,),
            tail=tail[len(self.tail) :],
            held=text[final:],
            piece=text[:final],
        )

    def _byte(self, token: int) -> bool:
        return BYTE.fullmatch(self.tokenizer.token(token) or "") is not None
