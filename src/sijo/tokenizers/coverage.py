"""Whether a tokenizer knows the words of some texts, or only their letters.

A tokenizer that was learned on another language loses a word in an unknown token, or spells it: letter by letter,
or in pieces of letters, such as single bytes or the parts of a Hangul syllable. A network has learned nothing of
words from such a row of signs, and still gives an answer that looks like any other.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sijo.tokenizers.tokenizer import TokenizedText, Tokenizer

TEXTS, CHARACTERS = 100, 300
"""How many texts are looked at, and how much of each."""
HAN = ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Characters each of which is a word, or part of one with a sense of its own."""
SYLLABLES = (0xAC00, 0xD7A3)
"""Of Hangul, each of two or three letters."""
ABBREVIATION = 3
"""Capital letters that are a word at most, as QA and VAT are."""
VOWELS = frozenset("aeiouyAEIOUY")
"""Of a word in ASCII, one at least."""


@dataclass(frozen=True)
class Coverage:
    """How many words of some texts a tokenizer knows nothing of."""

    words: int
    """Of two letters or more, without digits, as codes have them; each character of Han is one."""
    unread: int
    """Those that are unknown, or cut into single letters or pieces of letters alone."""
    lost: float = field(default=0.0, repr=False, compare=False)
    """Share of the texts with tokens of which all are unknown, so that nothing is told apart in them."""

    @property
    def share(self) -> float:
        """Unread words among all, from 0 to 1; 0 where there are no words."""
        return self.unread / max(self.words, 1)


def coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> Coverage:
    """How many of the words in some texts a tokenizer knows.

    Of many texts a hundred are looked at, evenly spaced, and of each its beginning: some milliseconds. Numbers,
    signs, emoji, single letters, abbreviations and words with digits in them are no words here.

    >>> from sijo.checkpoints.locate import locate
    >>> english = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    >>> coverage(english, ["I paid 20 € for part QX-1100 👍", "오늘은 비가 옵니다"])
    Coverage(words=6, unread=3)
    """
    chosen = [text[:CHARACTERS] for text in texts[:: -(-len(texts) // TEXTS) or 1]]
    words = unread = some = lost = 0
    for text, tokenized in zip(chosen, tokenizer.spelled(chosen), strict=True):
        read = _read(text, tokenized, tokenizer.unk_id)
        for start, end in _words(text):
            words += 1
            unread += not any(read[start:end])
        some += bool(tokenized.ids)
        lost += {*tokenized.ids} == {tokenizer.unk_id}
    return Coverage(words, unread, lost / max(some, 1))


def _read(text: str, tokenized: TokenizedText, unknown: int | None) -> bytearray:
    """Of each character, 1 where a token that is known holds it whole, unless it was spelled out.

    That is, the token holds more than a letter, or it was not cut at all: a tokenizer may part the letters of
    a script that joins them to words by marks.
    """
    whole = Counter(tokenized.words)
    tokens = bytearray(len(text))
    for start, end in tokenized.places:
        for place in range(start, end):
            tokens[place] = min(tokens[place] + 1, 2)
    read = bytearray(len(text))
    for number, word, (start, end) in zip(tokenized.ids, tokenized.words, tokenized.places, strict=True):
        if number == unknown:
            continue
        letters = [place for place in range(start, end) if tokens[place] == 1 and _is_letter(text[place])]
        if len(letters) > 1 or whole[word] == 1 or any(_is_more(text[place]) for place in letters):
            for place in letters:
                read[place] = 1
    return read


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Where words begin and end: runs of letters, and each character of Han by itself; codes are left out.

    >>> text = "it's a 3D x_y well-fed AX-10 -- 日本です"
    >>> [text[start:end] for start, end in _words(text)]
    ['it', 'well', 'fed', '日', '本', 'です']
    """
    start = 0
    for place, sign in enumerate(f"{text} "):
        if _is_letter(sign) or sign.isdigit() or sign in "-_":
            continue
        run = text[start:place]
        if not any(inside == "_" or inside.isdigit() for inside in run):
            for begin, end in _parts(run):
                if _in(run[begin], HAN) or _is_word(run[begin:end]):
                    yield start + begin, start + end
        start = place + 1


def _parts(run: str) -> Iterator[tuple[int, int]]:
    """A run of letters and hyphens, parted at hyphens and around each character of Han."""
    begin = 0
    for place, sign in enumerate(f"{run}-"):
        if sign == "-" or _in(sign, HAN):
            if place > begin:
                yield begin, place
            if sign != "-":
                yield place, place + 1
            begin = place + 1


def _is_word(run: str) -> bool:
    """Whether it is more than a letter, and no abbreviation, which tokenizers spell in their own language too.

    >>> [_is_word(run) for run in ("x", "QA", "nvm", "SEA", "sea", "why", "바다")]
    [False, False, False, False, True, True, True]
    """
    if run.isascii() and ((run.isupper() and len(run) <= ABBREVIATION) or VOWELS.isdisjoint(run)):
        return False
    return len(run) > 1 and any(map(str.isalpha, run))


def _is_letter(sign: str) -> bool:
    """Whether it is a letter, or a mark that belongs to one, as vowels do in many scripts."""
    return sign.isalpha() or (sign > "\u02ff" and unicodedata.category(sign).startswith("M"))


def _is_more(letter: str) -> bool:
    """Whether a character holds as much as several letters."""
    return _in(letter, (SYLLABLES, *HAN))


def _in(letter: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return letter > "\u2fff" and any(first <= ord(letter) <= last for first, last in ranges)
