"""A sentence in tokens, and where the text is kept what was written: what a shard is made of."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from sijo.batching import groups
from sijo.tokenizers.tokenizer import Tokenizer


class TokenizedSentence(NamedTuple):
    """A sentence in tokens."""

    ids: list[int]
    """Without special tokens."""
    text: bytes = b""
    """What was written, in UTF-8, with a blank behind it; empty where it is not kept."""
    places: Sequence[int] = ()
    """Where in it the text of each token begins."""


def tokenized_sentences(
    tokenizer: Tokenizer, sentences: Iterable[str], *, keep_text: bool
) -> Iterator[TokenizedSentence]:
    """Each sentence in tokens; many are cut at once.

    >>> from sijo.checkpoints.locate import locate
    >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=9)
    >>> list(tokenized_sentences(tokenizer, ["A Poem!"], keep_text=True))
    [TokenizedSentence(ids=[1037, 5961, 999], text=b'A Poem! ', places=[0, 2, 6])]
    """
    if not keep_text:
        yield from map(TokenizedSentence, chain.from_iterable(map(tokenizer.ids, groups(sentences))))
        return
    for group in groups(sentences):
        for text, whole in zip(group, tokenizer.spelled(group), strict=True):
            places = in_bytes(text, [start for start, _ in whole.places])
            yield TokenizedSentence(whole.ids, f"{text} ".encode(), places)


def in_bytes(text: str, places: Sequence[int]) -> list[int]:
    """Places in a text, rising or not, as places in its UTF-8, none before an earlier one.

    >>> in_bytes("비가 온다", [0, 3, 4])
    [0, 7, 10]
    """
    starts = np.cumsum([0, *(len(letter.encode()) for letter in text)])
    counted: list[int] = np.maximum.accumulate(starts[np.array(places, np.int64)]).tolist()
    return counted
