"""Which text a vocabulary is learned from, which is held back to measure it on, and the letters of its alphabet.

A stream larger than memory is read once: random numbers choose as much of it as a budget allows.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, filterfalse
from typing import Generic, TypeVar

import tokenizers
from sijo.errors import TextError
from sijo.random import random_bits
from sijo.texts import texts_in
from sijo.tokenizers.pipelines import SPACE

PIECE = 1_000
"""Characters of a text that are chosen or left together."""
HELD_SHARE, MOST_HELD = 20, 1_000_000
"""One piece in so many is held back to measure on, up to so many characters."""
COVERAGE = 0.9995
"""Of all letters of the text are in the alphabet, as in SentencePiece; the rarest are not."""


Piece = TypeVar("Piece", bound=Sized)
"""A piece of a text: its characters, or its tokens."""


class PieceSample(Generic[Piece]):
    """Of all pieces that come, those with the smallest numbers, as many as a budget of characters allows.

    Numbers differ. Which pieces they are does not depend on the order in which they come, and memory holds
    the budget and no more.

    >>> sample = PieceSample(10)
    >>> for number, piece in [(7, "line"), (3, "three"), (5, "short")]:
    ...     sample.add(number, piece)
    >>> list(sample), sample.characters
    (['three', 'short'], 10)
    """

    def __init__(self, budget: int) -> None:
        self.characters = 0
        self._budget = budget
        self._heap: list[tuple[int, Piece]] = []
        self._end = math.inf  # a piece with this number or more was too much once

    def add(self, number: int, piece: Piece) -> None:
        """Take a piece, and drop those with the largest numbers while it is too much."""
        if number >= self._end:
            return
        heappush(self._heap, (-number, piece))
        self.characters += len(piece)
        while self.characters > self._budget:
            largest, dropped = heappop(self._heap)
            self.characters -= len(dropped)
            self._end = -largest

    def __iter__(self) -> Iterator[Piece]:
        """In the order of their numbers."""
        return (piece for _, piece in sorted(self._heap, reverse=True))


@dataclass
class TextSample:
    """What was read, and what was chosen of it."""

    learned: PieceSample[str]
    held: PieceSample[str]
    texts: int = 0
    characters: int = 0


def choose_text(texts: Iterable[str], *, characters: int, seed: int) -> TextSample:
    """Of a stream of texts up to so many characters to learn from, and some to measure on.

    texts  in whatever `texts_in` reads

    Raises what that raises, and TextError where there is no text.
    """
    chosen = TextSample(PieceSample(characters), PieceSample(min(characters // HELD_SHARE, MOST_HELD)))
    pieces = 0
    for text in texts_in(texts):
        if not text.strip():
            continue
        chosen.texts += 1
        chosen.characters += len(text)
        for piece in _pieces(text):
            number, learned = divmod(random_bits(seed, "vocabulary", pieces), HELD_SHARE)
            pieces += 1
            (chosen.learned if learned else chosen.held).add(number, piece)
    if not chosen.texts:
        raise TextError("there is no text to learn a vocabulary from; give at least one that is not blank")
    if not chosen.learned.characters:  # so short that all was held back
        chosen.learned, chosen.held = chosen.held, chosen.learned
    return chosen


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most PIECE characters, cut at spaces where there are any."""
    start = 0
    while len(text) - start > PIECE:
        space = text.rfind(" ", start + 1, start + PIECE)
        end = space if space > start else start + PIECE
        yield text[start:end]
        start = end
    yield text[start:]


@dataclass(frozen=True)
class Alphabet:
    """The letters of a text, without the rarest."""

    kept: list[str]
    """In order."""
    left_out: int
    """How many others the text has."""
    blanks: dict[int, str]
    """A space for each character that would become one of those."""

    def texts(self, sample: PieceSample[str]) -> Iterator[str]:
        """The pieces of a sample without the letters that are left out."""
        return (piece.translate(self.blanks) for piece in sample) if self.blanks else iter(sample)


def alphabet_of(sample: PieceSample[str], form: tokenizers.Tokenizer) -> Alphabet:
    """All of ASCII that the text has, and of other letters the most frequent, so that COVERAGE of it remains.

    form  what the text is made into before it is cut
    """
    raw = Counter(chain.from_iterable(sample))
    normalized = form.normalizer.normalize_str if form.normalizer else str
    become = {
        letter: "".join(part for part in normalized(letter) if not part.isspace() and part != SPACE)
        for letter in raw
    }
    counts: Counter[str] = Counter()
    for letter, count in raw.items():
        counts.update(dict.fromkeys(become[letter], count))
    if not counts:
        raise TextError("the text has no letter in it to learn from; give other text")
    spare, kept = (1 - COVERAGE) * counts.total(), set(counts)
    for letter in sorted(filterfalse(str.isascii, counts), key=lambda letter: (counts[letter], letter)):
        spare -= counts[letter]
        if spare < 0:
            break
        kept.remove(letter)
    blanks = {ord(letter): " " for letter, parts in become.items() if not kept.issuperset(parts)}
    return Alphabet(sorted(kept), len(counts) - len(kept), blanks)
