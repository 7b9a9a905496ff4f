"""The pieces of a unigram model (Kudo 2018, arXiv:1804.10959), learned from words and their counts.

Many substrings of the words to begin with; then, again and again, each word is cut in its likeliest way,
a piece's score becomes the logarithm of its share, and the pieces that would be missed least go. That is
SentencePiece's way, but for counting the one best cut of a word where that weighs all of them: then counts
are whole numbers, and nothing depends on the order in which they are summed. On English text the cuts are as
short as SentencePiece's (docs/tokenizers.md).

The trainer of the `tokenizers` library is not used. Its scores differ from run to run in their last bits,
and it begins with substrings that stand in two different words, which leaves out most whole words.
"""

import math
from collections.abc import Iterator, Mapping
from heapq import nlargest

from tokenizers import Tokenizer, models

LONGEST_PIECE = 16
"""Letters, as in SentencePiece."""
SEEDS = 10
"""Times as many substrings to begin with as pieces asked for; with 4 cuts are 5 % longer, with 30 no shorter."""
MOST_SUBSTRINGS = 3_000_000
"""Counted at once, in about 0.4 GB; beyond it, the rarest are forgotten."""
KEPT_SHARE = 0.75
"""Of the pieces that are longer than a letter, after each round."""
LAST_ROUND = 1.1
"""Times as many pieces as asked for, or less, are made as many as asked for in one go."""
GRAIN = 1024
"""Scores are multiples of 1/1024: sums of them are exact, and with them each comparison."""
NONE = "\0"
"""What no text holds: the library wants a piece for what is unknown, and here nothing is."""

Words = list[tuple[str, int]]
Scores = dict[str, float]


def learn(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """Pieces and their scores, natural logarithms of their shares, best first.

    words  how often each stands in the text
    size   pieces to be had; all letters of the words are among them, so there may be no fewer

    Fewer come back where the words do not hold as many. The same words give the same pieces and scores.

    >>> pieces = learn({"▁sea": 9, "▁seas": 3, "▁oar": 5, "▁oars": 1}, 20)
    >>> [piece for piece, _ in pieces if len(piece) > 1], len(pieces)
    (['▁sea', '▁oar', '▁seas'], 9)
    """
    text = sorted(words.items())
    scores = _scores(_seeds(text, SEEDS * size))
    while True:
        for _ in range(2):
            counts = _counts(text, scores)
            scores = _scores({piece: max(count, len(piece) == 1) for piece, count in counts.items()})
        letters = sum(len(piece) == 1 for piece in scores)
        longer, room = len(scores) - letters, size - letters
        if longer <= room:
            break
        if longer * KEPT_SHARE > room * LAST_ROUND:
            scores = _pruned(scores, counts, int(longer * KEPT_SHARE))
            continue
        scores = _pruned(scores, counts, room)
        scores = _scores({piece: max(count, 1) for piece, count in _counts(text, scores).items()})
        break
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def _seeds(text: Words, size: int) -> dict[str, int]:
    """Letters with their counts, and the substrings that cover most of the text, with that much as their count."""
    letters: dict[str, int] = {}
    substrings: dict[str, int] = {}
    rare = 1
    for word, count in text:
        for letter in word:
            letters[letter] = letters.get(letter, 0) + count
        for piece in _substrings(word):
            substrings[piece] = substrings.get(piece, 0) + count
        while len(substrings) > MOST_SUBSTRINGS:
            substrings = {piece: count for piece, count in substrings.items() if count > rare}
            rare += len(substrings) > MOST_SUBSTRINGS // 2
    covers = ((count * len(piece), piece) for piece, count in substrings.items() if count > 1)
    return letters | {piece: cover for cover, piece in nlargest(size, covers)}


def _substrings(word: str) -> Iterator[str]:
    for start in range(len(word)):
        for end in range(start + 2, min(len(word), start + LONGEST_PIECE) + 1):
            yield word[start:end]


def _scores(counts: Mapping[str, int]) -> Scores:
    """The score of each piece that is used at all."""
    whole = math.log(sum(counts.values()))
    return {piece: round((math.log(count) - whole) * GRAIN) / GRAIN for piece, count in counts.items() if count}


def _counts(text: Words, scores: Scores) -> dict[str, int]:
    """How often each piece stands in the text, each word cut in its likeliest way."""
    pieces = sorted(scores)
    ranked = [(NONE, min(scores.values()) - 1), *((piece, scores[piece]) for piece in pieces)]
    model = Tokenizer(models.Unigram(ranked, 0))
    counts = [0] * len(ranked)
    for start in range(0, len(text), 100_000):
        batch = text[start : start + 100_000]
        encodings = model.encode_batch_fast([word for word, _ in batch], add_special_tokens=False)
        for encoding, (_, count) in zip(encodings, batch, strict=True):
            for number in encoding.ids:
                counts[number] += count
    return dict(zip(pieces, counts[1:], strict=True))


def _pruned(scores: Scores, counts: Mapping[str, int], room: int) -> Scores:
    """All letters, and of the longer pieces the `room` without which the text would be least likely."""
    missed = {
        piece: counts[piece] * (scores[piece] - _without(piece, scores)) for piece in scores if len(piece) > 1
    }
    kept = set(nlargest(room, missed, key=lambda piece: (missed[piece], piece)))
    return {piece: score for piece, score in scores.items() if len(piece) == 1 or piece in kept}


def _without(piece: str, scores: Scores) -> float:
    """The score of the best way to write a piece in others."""
    best = [0.0]
    for end in range(1, len(piece) + 1):
        starts = range(1 if end == len(piece) else 0, end)
        best.append(max(best[start] + scores.get(piece[start:end], -math.inf) for start in starts))
    return best[-1]
