"""How far the parts of a tokenizer may go, whatever file they come from.

The `tokenizers` library takes any size and number: a piece of 300,000 letters overflows its stack, an added token
of 50 MB fills 4 GB, a merge of unknown pieces is a panic. What is checked here, it never sees.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sijo.files.json_files import parse_json

LARGEST = 1 << 26
"""Bytes of a file; a tokenizer.json of 250,000 pieces has 17 million."""
MOST_VALUES = 1 << 22
"""Values in a JSON file, which take 0.4 GB to read; 900,000 pieces with their scores are 2.7 million."""
MOST_TOKENS = 1 << 20
"""Of a vocabulary, or merges; the largest known, XLM-V's, has 901,629."""
MOST_IDS = 1 << 22
"""The library runs through all numbers up to the largest id."""
LONGEST_TOKEN = 1 << 12
"""Letters of a token; the longest known have a few hundred."""
LONGEST_PIECE = 128
"""Letters of a unigram model's piece: it looks that far ahead at each letter. The longest known has 32."""
MOST_ADDED = 1 << 14
"""Added tokens; published tokenizers have up to 6,500."""
MOST_ADDED_LETTERS = 1 << 20
"""In all added tokens together, which take 80 times as many bytes."""
LARGEST_SCORE = 1e30
"""Of a piece, so that no sum of scores is infinite."""


class BeyondBoundsError(ValueError):
    """What is whole, yet more than sijo will run: to be told as a `RefusedError` with the file's name before it."""


def json_object(content: bytes) -> dict[str, Any]:
    """The fields of a strict JSON object; ValueError when it is something else, BeyondBoundsError when too long.

    >>> json_object(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the name 'a' stands twice in one object
    """
    if len(content) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST >> 20} MB")
    if sum(map(content.count, (b"[", b"{", b","))) > MOST_VALUES:
        raise BeyondBoundsError(f"holds more than {MOST_VALUES:,} values")
    fields = parse_json(content)
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    return fields


def check_tokens(tokens: Collection[Any], *, most_letters: int = LONGEST_TOKEN) -> None:
    """Make sure that tokens are texts, not too many and none too long."""
    if len(tokens) > MOST_TOKENS:
        raise BeyondBoundsError(f"holds {len(tokens):,} tokens, and sijo takes up to {MOST_TOKENS:,}")
    if not all(type(token) is str for token in tokens):
        raise ValueError("a token is no text")
    longest = max(map(len, tokens), default=0)
    if longest > most_letters:
        raise BeyondBoundsError(f"holds a token of {longest:,} letters, and sijo takes up to {most_letters:,}")


def check_ids(ids: Mapping[str, Any], *, steps: int = 0) -> None:
    """Make sure that a vocabulary gives each token a number of its own.

    steps  from here on numbers are steps of merging, and may go as far again; 0 where there are none
    """
    check_tokens(ids.keys())
    if not all(type(number) is int and number >= 0 for number in ids.values()):
        raise ValueError("an id is not a whole number from 0 on")
    if len(set(ids.values())) < len(ids):
        raise ValueError("two tokens have one id")
    largest = max((n - steps if steps and n >= steps else n for n in ids.values()), default=0)
    if largest >= MOST_IDS:
        raise BeyondBoundsError(f"has an id as large as {largest:,}, and sijo takes ids below {MOST_IDS:,}")


def check_pieces(pieces: Any) -> None:
    """Make sure that a unigram model is pieces and their scores."""
    if not isinstance(pieces, list) or not all(type(pair) is list and len(pair) == 2 for pair in pieces):
        raise ValueError("its pieces are not each a text with a score")
    texts, scores = [pair[0] for pair in pieces], [pair[1] for pair in pieces]
    check_tokens(texts, most_letters=LONGEST_PIECE)
    if "" in texts:
        raise ValueError("a piece is empty")
    if not all(type(score) in (int, float) and math.fabs(score) < LARGEST_SCORE for score in scores):
        raise ValueError("a score is not a number of some sense")


def check_merges(merges: Collection[Any], ids: Mapping[str, Any], *, prefix: str = "") -> None:
    """Make sure that merges join two tokens of a vocabulary to a third: the library panics where they do not.

    prefix  of tokens inside words, which goes where one is joined to another
    """
    if len(merges) > MOST_TOKENS:
        raise BeyondBoundsError(f"holds {len(merges):,} merges, and sijo takes up to {MOST_TOKENS:,}")
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(part) is str for part in pair):
            raise ValueError(f"{merge!r:.60} is not a pair")
        left, right = pair
        if not right.startswith(prefix) or not {left, right, left + right.removeprefix(prefix)} <= ids.keys():
            raise ValueError(f"of the merge {left!r:.40} {right!r:.40} the vocabulary lacks a part or the whole")


def check_added(contents: Iterable[Any]) -> None:
    """Make sure that added tokens are texts, not too many and none too long."""
    texts = list(contents)
    check_tokens(texts)
    if len(texts) > MOST_ADDED:
        raise BeyondBoundsError(f"adds {len(texts):,} tokens, and sijo takes up to {MOST_ADDED:,}")
    if sum(map(len, texts)) > MOST_ADDED_LETTERS:
        raise BeyondBoundsError(f"adds tokens of more than {MOST_ADDED_LETTERS:,} letters in all")
