"""Which words are an entity: the schemes by which tags say so, and which of them some tags follow.

A tag is a letter and a kind, such as B-place: the word begins a place, is inside of one, ends one, or is one by
itself. Schemes differ in which letters they have and in what may follow what. The one that rows follow is found
by trying all: it is the one that the fewest of their words break.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import NamedTuple

from sijo.errors import TextError, warn

OUTSIDE = "O"
KINDLESS = "_"
"""The kind of a tag that is its letter alone."""
FORMS = (
    re.compile(r"(?P<letter>[BIESLUMW])-(?P<kind>.+)", re.DOTALL),
    re.compile(r"(?P<letter>[BIESLUMW])[-_:](?P<kind>.+)", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?P<kind>.+)[-_:](?P<letter>[BIESLUMW])", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?P<letter>[BIESLUMW])", re.IGNORECASE),
)
"""How letter and kind are written: B-place, b_place, place-B, B. All tags of a file must be written alike."""
NOISE = 0.05
"""Share of the words in entities that may break a scheme; rows with more follow none."""


class _Word(NamedTuple):
    """A tag that was read: its letter as IOB2 and BIOES have it, and its kind."""

    letter: str
    kind: str


_NO_WORD = _Word(OUTSIDE, KINDLESS)


@dataclass(frozen=True)
class TagScheme:
    """How tags say where entities are: IOB1, IOB2, IOE2, or BIOES and its other spellings.

    Entities, their precision and their recall are those of seqeval with mode="strict" and the scheme of that name.
    """

    name: str
    """IOB1: B- only between two of a kind; IOB2: B- at each beginning; IOE2: E- at each end; BIOES, BILOU, BMES,
    BMEW: both ends, and words alone."""
    letters: str
    """Its own letters for begin, inside, end and alone; a blank for one that it lacks."""
    form: re.Pattern[str] = FORMS[0]
    """How its tags are written."""

    def entities(self, tags: Sequence[str]) -> set[tuple[str, int, int]]:
        """The entities among the words of a row: (kind, first word, word behind the last).

        What breaks the scheme is read strictly: of IOB2 an I- that goes on with nothing is no entity, of BIOES
        one that has no end is none.

        >>> sorted(IOB2.entities(["B-place", "I-place", "O", "I-place", "B-name"]))
        [('name', 4, 5), ('place', 0, 2)]
        """
        words = {tag: self._read(tag) for tag in {*tags}}
        entities, begin, before = set(), None, _NO_WORD
        for place, word in enumerate([*(words[tag] for tag in tags), _NO_WORD]):
            if begin is not None and not self._goes_on(before, word):
                if self._closes(before, word):
                    entities.add((before.kind, begin, place))
                begin = None
            if begin is None and self._begins(before, word):
                begin = place
            before = word
        return entities

    def allows(self, before: str, tag: str) -> bool:
        """Whether one tag may stand behind another in rows of this scheme, which end and begin with O."""
        return self._allows(self._read(before), self._read(tag))

    def knows(self, tags: Iterable[str]) -> bool:
        """Whether all tags are written with its letters."""
        matches = [self.form.fullmatch(tag) for tag in tags if tag.upper() != OUTSIDE]
        return all(match is not None and match["letter"].upper() in self.letters for match in matches)

    def _read(self, tag: str) -> _Word:
        match = self.form.fullmatch(tag)
        if match is None or match["letter"].upper() not in self.letters:
            return _NO_WORD
        letter = "BIES"[self.letters.index(match["letter"].upper())]
        return _Word(letter, match.groupdict().get("kind", KINDLESS))

    def _begins(self, before: _Word, word: _Word) -> bool:
        """Whether a word that goes on with no entity begins one."""
        same = before.kind == word.kind
        match self.name:
            case "IOB1":  # by B- only behind one of its kind; by I- wherever it does not go on
                return same and before.letter in "BI" if word.letter == "B" else word.letter == "I"
            case "IOB2":
                return word.letter == "B"
            case "IOE2":
                return word.letter in "IE"
        return word.letter in "BS"

    def _goes_on(self, before: _Word, word: _Word) -> bool:
        return before.kind == word.kind and before.letter in "BI" and word.letter in "IE"

    def _closes(self, before: _Word, word: _Word) -> bool:
        """Whether an entity that ends with the word before is one."""
        match self.name:
            case "IOB1":  # as in seqeval, B-x before B-y is none: IOB1 has B- only between two of a kind
                return not (before.letter == word.letter == "B" and before.kind != word.kind)
            case "IOB2":
                return True
        return before.letter in "ES"

    def _allows(self, before: _Word, word: _Word) -> bool:
        """Whether one word may stand behind another; the scheme's own rule, by which it is recognised."""
        goes_on = self._goes_on(before, word)
        match self.name:
            case "IOB1":
                return word.letter != "B" or (before.letter in "BI" and before.kind == word.kind)
            case "IOB2":
                return word.letter != "I" or goes_on
            case "IOE2":
                return before.letter != "I" or goes_on
        return (before.letter in "BI") == (word.letter in "IE") and (goes_on or before.letter not in "BI")


def merged_words(tags: Sequence[str], names: Iterable[str]) -> list[tuple[str, int, int]] | None:
    """The entities that a model's tags make: (kind, first word, word behind the last), in order.

    names  all tags that the model has, by which it is told how they are written

    Leniently, as conlleval and most programs read what a model says, where `TagScheme.entities` is strict: a word
    inside goes on with one before it of its kind, or else begins one. Tags that are no scheme's but have an O, as
    place, name and O, are kinds: words of one kind side by side are one. None where they have no O either.

    >>> merged_words(["B-place", "I-place", "O", "I-place", "B-place"], ["O", "B-place", "I-place"])
    [('place', 0, 2), ('place', 3, 4), ('place', 4, 5)]
    >>> merged_words(["NOUN", "VERB"], ["NOUN", "VERB"]) is None
    True
    """
    names = list(names)
    form = _form_of(dict.fromkeys(names, ""))
    if form is None and not any(name.upper() == OUTSIDE for name in names):
        return None
    merged: list[tuple[str, int, int]] = []
    is_open = False
    for place, tag in enumerate(tags):
        if tag.upper() == OUTSIDE:
            is_open = False
            continue
        match = None if form is None else form.fullmatch(tag)
        letter = "I" if match is None else match["letter"].upper()
        kind = tag if match is None else match.groupdict().get("kind", KINDLESS)
        if is_open and letter not in "BSUW" and merged[-1][0] == kind:
            merged[-1] = (kind, merged[-1][1], place + 1)
        else:
            merged.append((kind, place, place + 1))
        is_open = letter not in "ELSUW"
    return merged


IOB2 = TagScheme("IOB2", "BI  ")
SCHEMES = (
    IOB2,
    TagScheme("IOB1", "BI  "),
    TagScheme("IOE2", " IE "),
    TagScheme("BIOES", "BIES"),
    TagScheme("BILOU", "BILU"),
    TagScheme("BMES", "BMES"),
    TagScheme("BMEW", "BMEW"),
)
"""Those that are known; of two that rows break alike the first is taken."""


def scheme_of(*files: Sequence[tuple[str, Sequence[str]]]) -> TagScheme | None:
    """The scheme that the tags of rows follow; None for tags that are about words alone, such as NOUN.

    files  the rows of each: where a row stands, in words, and its tags

    Warns of words that break the scheme. Raises TextError, with a row, for tags that are partly of a scheme, and
    for files that follow none, or two.

    >>> scheme_of([("row 1", ["I-place", "I-place", "B-place", "O"])]).name
    'IOB1'
    >>> scheme_of([("row 1", ["NOUN", "VERB"])])
    """
    first: dict[str, str] = {}
    for where, tags in chain.from_iterable(files):
        for tag in tags:
            first.setdefault(tag, where)
    form = _form_of(first)
    if form is None:
        return None
    candidates = [replace(scheme, form=form) for scheme in SCHEMES]
    candidates = [scheme for scheme in candidates if scheme.knows(first)]
    if not candidates:
        raise TextError(_odd_letters(first, form))
    pairs = [Counter(pair for _, tags in rows for pair in pairwise([OUTSIDE, *tags, OUTSIDE])) for rows in files]
    best = min(candidates, key=lambda scheme: _broken(scheme, sum(pairs, Counter())))
    for rows, of_file in zip(files, pairs, strict=True):
        broken = _broken(best, of_file)
        inside = sum(form.fullmatch(tag) is not None for _, tags in rows for tag in tags)
        if broken > NOISE * inside and form is FORMS[-1]:
            return None
        if broken:
            told = f"{broken:,} of {inside:,} words in entities break it; {_first_broken(best, rows)}"
            if broken > NOISE * inside:
                raise TextError(
                    f"the tags follow no one scheme: {best.name} is nearest, and {told}. Write all rows in one "
                    "scheme, such as IOB2, or measure words alone by metric=accuracy"
                )
            warn(f"the tags are {best.name}, and {told}. What breaks it is read strictly, as no entity")
    return best


def _broken(scheme: TagScheme, pairs: Counter[tuple[str, str]]) -> int:
    """How many pairs of neighbours a scheme does not allow."""
    return sum(times for (before, tag), times in pairs.items() if not scheme.allows(before, tag))


def _first_broken(scheme: TagScheme, rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The first place where rows break a scheme, in words."""
    return next(
        f"the first is {tag!r} behind {before!r} in {where}"
        for where, tags in rows
        for before, tag in pairwise([OUTSIDE, *tags, OUTSIDE])
        if not scheme.allows(before, tag)
    )


def _form_of(first: Mapping[str, str]) -> re.Pattern[str] | None:
    """How the tags write letter and kind; None where they are about words alone."""
    tags = [tag for tag in first if tag.upper() != OUTSIDE]
    if any(tag.startswith(("B-", "I-")) and len(tag) > 2 for tag in tags):
        return FORMS[0]
    has_outside = len(tags) < len(first)
    for form in FORMS:
        letters = {match["letter"].upper() for tag in tags if (match := form.fullmatch(tag))}
        if tags and all(map(form.fullmatch, tags)) and (letters & {*"BI"} or (has_outside and form in FORMS[:2])):
            return form
    return None


def _odd_letters(first: Mapping[str, str], form: re.Pattern[str]) -> str:
    """The refusal of tags whose letters no scheme has together."""
    tags = [tag for tag in first if tag.upper() != OUTSIDE]
    odd = next((tag for tag in tags if form.fullmatch(tag) is None), None)
    if odd is not None:
        return (
            f"{first[odd]} has the tag {odd!r} beside {next(filter(form.fullmatch, tags))!r}: tags are all of a "
            "scheme such as IOB2, or none is. Write O for words in no entity, or measure words alone by "
            "metric=accuracy"
        )
    by_letter = {form.fullmatch(tag)["letter"].upper(): tag for tag in tags}  # type: ignore[index]
    shown = ", ".join(f"{by_letter[letter]!r} ({first[by_letter[letter]]})" for letter in sorted(by_letter))
    return (
        f"no scheme has these tags together: {shown}. Known are {', '.join(s.name for s in SCHEMES)}; write all "
        "rows in one of them, or measure words alone by metric=accuracy"
    )
