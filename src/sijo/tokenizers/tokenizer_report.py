"""What a vocabulary was learned from, and what it is worth on text it has not seen."""

import re
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

import tokenizers
from sijo.batching import groups
from sijo.tokenizers.choose_text import PieceSample
from sijo.tokenizers.style import Kind

LONGEST = 10
"""Tokens that a report shows."""


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What a vocabulary was learned from, and how well it suits text it has not seen."""

    kind: Kind
    """How words are cut."""
    family: str
    """Whose published tokenizers it is made like."""
    vocab_size: int
    """Tokens it has."""
    vocab_size_asked: int
    """Tokens it was to have."""
    texts: int
    """That were read and not empty."""
    characters: int
    """In all of them."""
    characters_learned_from: int
    """Of those; the rest is held back, or beyond the budget."""
    characters_measured: int
    """What the following shares are of."""
    held_back: bool
    """Whether that is text it has not learned from; a very short one leaves none."""
    letters: int
    """In its alphabet: characters, or 256 bytes."""
    letters_left_out: int
    """Characters of the text that are too rare for it."""
    characters_covered: float
    """Share of the characters, spaces not counted, that are not lost in an unknown token."""
    words_covered: float
    """Share of the words, as spaces part them, that hold no unknown token."""
    tokens_per_word: float
    """Words as spaces part them."""
    tokens_per_character: float
    """Spaces counted."""
    single_letters: float
    """Share of the tokens of the text that are one letter, or a part of one."""
    unknown: float
    """Share of the tokens of the text that are unknown."""
    longest: tuple[str, ...]
    """The longest tokens, longest first."""
    seed: int
    """What decided which part of the text was chosen."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"longest": list(self.longest)}


def measured(inner: tokenizers.Tokenizer, unknown: str, sample: PieceSample[str]) -> dict[str, Any]:
    """The fields of a report that are about the texts of a sample."""
    number = inner.token_to_id(unknown)
    counts = np.zeros(inner.get_vocab_size(), dtype=np.int64)
    words = letters = lost_words = lost_letters = 0
    for texts in groups(sample):
        encodings = inner.encode_batch(texts, add_special_tokens=False)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int64)
        counts += np.bincount(ids, minlength=len(counts))
        for text, encoding in zip(texts, encodings, strict=True):
            parted = text.split()
            words += len(parted)
            letters += sum(map(len, parted))
            if number not in encoding.ids:
                continue
            lost = bytearray(len(text))
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == number:
                    lost[start:end] = bytes([1]) * (end - start)
            inside = [sum(lost[word.start() : word.end()]) for word in re.finditer(r"\S+", text)]
            lost_letters += sum(inside)
            lost_words += sum(map(bool, inside))
    shown = [inner.decode([n], skip_special_tokens=False).removeprefix("##").strip() for n in range(len(counts))]
    tokens = max(int(counts.sum()), 1)
    special = {token.content for token in inner.get_added_tokens_decoder().values()}
    long = sorted((token for token in {*shown} - special if len(token) > 1), key=lambda token: (-len(token), token))
    return {
        "characters_measured": sample.characters,
        "characters_covered": 1 - lost_letters / max(letters, 1),
        "words_covered": 1 - lost_words / max(words, 1),
        "tokens_per_word": tokens / max(words, 1),
        "tokens_per_character": tokens / max(sample.characters, 1),
        "single_letters": int(counts[[len(token) < 2 for token in shown]].sum()) / tokens,
        "unknown": int(counts[number]) / tokens,
        "longest": tuple(long[:LONGEST]),
    }
