"""What can be left out of a text: its words, and runs of them.

Words are told by what letters are, without a dictionary. A Korean eojeol, a Latin word and a number are whole, with
the apostrophes, hyphens and points within them; an emoji is whole with all that is joined to it; punctuation stands
apart. Of scripts without spaces each Chinese character is a word, as is a Thai, Lao, Khmer or Burmese letter with
its signs; Hiragana, Katakana and, beside these, Kanji are words by runs.

Source: Unicode Standard Annex 29, of which this is a part; hyphens, and Kanji beside kana, are decided otherwise.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

WORD = re.compile(
    "[LDH][MZ]*(?:[LDH][MZ]*|(?<=[LDMZ])J(?=[LD])|(?<=D)N(?=D))*"  # as café, 가, don't, zero-shot, 1,000
    "|(?:RM*)+|(?:KM*)+|(?:IM*)+"  # Hiragana, Katakana, Kanji
    "|[CS]M*"  # a Chinese or a Thai character
    "|FF?M*|E(?:(?<=Z)E|[MZ])*"  # a flag; an emoji
    "|(?P<signs>[JNPMZ]+)"
)
"""Words in a text whose characters are written as their kinds."""
ENDS = re.compile("[.!?\u2026\u2025\u3002\uff01\uff1f\uff61]")
"""What ends a sentence; so does the end of a line."""
MEANT = re.compile("[%\u2030\u00b0$\u00a2-\u00a5\u20a0-\u20cf]")
"""Signs that say something by themselves: per cent, degrees, money."""
KINDS = (
    ("J", "'", "'"),
    ("J", "-", "."),
    ("J", "\u2010", "\u2010"),  # hyphen
    ("J", "\u2019", "\u2019"),  # apostrophe
    ("N", ",", ","),
    ("L", "_", "_"),
    ("Z", "\u200d", "\u200d"),  # joins emoji, and letters of India
    ("S", "\u0e00", "\u0eff"),  # Thai, Lao
    ("S", "\u1000", "\u109f"),  # Burmese
    ("S", "\u1780", "\u17ff"),  # Khmer
    ("H", "\u1100", "\u11ff"),
    ("R", "\u3040", "\u309f"),
    ("K", "\u30a0", "\u30ff"),
    ("H", "\u3130", "\u318f"),
    ("K", "\u31f0", "\u31ff"),
    ("C", "\u3400", "\u4dbf"),
    ("C", "\u4e00", "\u9fff"),
    ("H", "\ua960", "\ua97f"),
    ("H", "\uac00", "\ud7ff"),
    ("C", "\uf900", "\ufaff"),
    ("K", "\uff66", "\uff9f"),
    ("F", "\U0001f1e6", "\U0001f1ff"),
    ("M", "\U0001f3fb", "\U0001f3ff"),  # tones of skin
    ("E", "\U0001f000", "\U0001faff"),
    ("C", "\U00020000", "\U0003ffff"),
)
"""Kinds that are told by their place in Unicode: J stands within words, N within numbers, Z joins, H Hangul,
R Hiragana, K Katakana, C Han, S spaceless scripts, F halves of flags, E emoji, M marks on what is before."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, an emoji, or a run of punctuation, by where it stands in its text."""

    start: int
    """Its first character, counted from 0."""
    end: int
    """The one behind its last."""
    spoken: bool
    """Whether it says something: it is more than punctuation."""


@lru_cache(maxsize=16_384)
def kind(letter: str) -> str:
    """What a character is: one of `KINDS`, a letter L, a digit D, another sign P, or a space.

    >>> "".join(map(kind, "ab가字い! ☂8"))
    'LLHCRP ED'
    """
    category = unicodedata.category(letter)
    if letter.isspace() or category == "Cc":
        return " "
    if category[0] == "M":  # accents, vowel signs
        return "M"
    for name, first, last in KINDS:
        if first <= letter <= last:
            return name
    if category == "Cf":  # the tags of a flag
        return "M"
    return {"L": "L", "N": "D"}.get(category[0], "E" if category == "So" else "P")


def kinds(text: str) -> str:
    """The kinds of a text's characters. Kanji beside kana are I, and Hanja beside Hangul are as Hangul."""
    all_kinds = "".join(map(kind, text))
    if "C" in all_kinds:
        if "R" in all_kinds or "K" in all_kinds:
            return all_kinds.replace("C", "I")
        if "H" in all_kinds:
            return all_kinds.replace("C", "H")
    return all_kinds


class Words:
    """The words of a text, in their order, and where sentences begin among them.

    >>> [word for word in Words("금리가 0.5%p 올랐다! 👩‍🚀").texts]
    ['금리가', '0.5', '%', 'p', '올랐다', '!', '👩\\u200d🚀']
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = tuple(
            Word(*match.span(), match["signs"] is None or MEANT.search(text, *match.span()) is not None)
            for match in WORD.finditer(kinds(text))
        )
        self._sentences = [
            place
            for place, (before, word) in enumerate(pairwise(self.words), start=1)
            if "\n" in text[before.end : word.start]
            or (not before.spoken and word.spoken and ENDS.search(text, before.start, before.end) is not None)
        ]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def texts(self) -> list[str]:
        """Each word as it is written."""
        return [self.text[word.start : word.end] for word in self.words]

    def parts(self, first: int, last: int, most: int) -> list[tuple[int, int]]:
        """The words from `first` to before `last` as at most so many runs: sentences, or where it is one, words.

        Where there are more, neighbours share a run, as many in each as can be.

        >>> Words("Tides turn. Boats wait for it.").parts(0, 8, 2), Words("one two three").parts(0, 3, 9)
        ([(0, 3), (3, 8)], [(0, 1), (1, 2), (2, 3)])
        """
        inside = [place for place in self._sentences if first < place < last]
        bounds = [first, *inside, last] if inside else list(range(first, last + 1))
        pieces = len(bounds) - 1
        if pieces > most:
            bounds = [bounds[number * pieces // most] for number in range(most + 1)]
        return list(pairwise(bounds))

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Where the words from `first` to before `last` stand in the text."""
        return self.words[first].start, self.words[last - 1].end

    def without(self, *runs: tuple[int, int]) -> str:
        """The text without some runs of words, each from its first to before its last, nor the space behind them.

        >>> Words("The old (red) boat").without((1, 2)), Words("ice/snow").without((1, 2))
        ('The (red) boat', 'ice snow')
        """
        rest = self.text
        for first, last in sorted(runs, reverse=True):
            start, end = self.span(first, last)
            before, after = (
                rest[:start],
                rest[end:].lstrip() if not start or rest[start - 1].isspace() else rest[end:],
            )
            if before and after and _joins(before[-1]) and _joins(after[0]):
                before += " "  # letters that punctuation parted are no word
            rest = before + after if after else before.rstrip()
        return rest


def _joins(letter: str) -> bool:
    """Whether a letter would become one word with another beside it."""
    return kind(letter) in "LDHM"
