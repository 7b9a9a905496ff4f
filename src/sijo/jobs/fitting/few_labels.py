"""A few labels on some texts, checked: what a head is fitted to, and what is labelled when more are asked for.

What is wrong is told by row, before any model is opened. Rows without a label stay, as unlabelled texts.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.names import INVISIBLE, NameCells, apart, by_number, cautions, folded, is_blank, label_in
from sijo.zeroshot.labels import Labels, LabelSet

MOST_LABELS = 2_000
"""Of a head: more are names, numbers or texts of their own, out of another column than was meant."""
SEVERAL = "what is fitted is one label a text: say multi_label (--multi-label) where there are several"


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """Texts, and the labels of some of them."""

    labels: LabelSet
    """All there are to choose from, those that no row has included."""
    multi_label: bool
    """Whether a text may have several labels, or none."""
    texts: tuple[str, ...]
    """Those with a label, each once."""
    right: np.ndarray
    """(n, L) bool: which labels each of them has."""
    rows: tuple[int, ...]
    """Of each the row where it was first labelled, counted from 1."""
    unlabelled: tuple[str, ...]
    """The other texts, each once."""

    def part(self, places: np.ndarray) -> "FewLabels":
        """The same with some of the labelled texts alone, by their places (or a mask); the others are left out."""
        chosen = np.arange(len(self.texts))[places]
        return replace(
            self,
            texts=tuple(self.texts[place] for place in chosen),
            rows=tuple(self.rows[place] for place in chosen),
            right=self.right[chosen],
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many texts have each label."""
        return dict(zip(self.labels.names, self.right.sum(0).tolist(), strict=True))


def few_labels(
    texts: Sequence[str],
    cells: Sequence[object],
    *,
    column: str = "label",
    labels: Labels | None = None,
    multi_label: bool = False,
    separator: str | None = None,
) -> FewLabels:
    """What some rows say, checked.

    texts        one a row
    cells        the value of the label column in each row; an empty one for a row that is not labelled
    column       what that column is called, for errors
    labels       what there is to choose from; None for the labels that occur. One that occurs and is not among them
                 is added, with a warning; one row alone with one that is nearly another is refused as misspelt
    multi_label  whether a cell may hold several labels, or by an empty list none
    separator    what stands between them

    Raises TextError, with the rows, for no label at all, one label alone, more than 2,000, one label spelled in two
    ways, and equal texts that contradict each other.

    >>> some = few_labels(["a goal", "a tax", "rain"], ["sport", "money", None])
    >>> some.labels.names, some.right.astype(int).tolist(), some.unlabelled
    (('money', 'sport'), [[0, 1], [1, 0]], ('rain',))
    """
    if len(texts) != len(cells):
        raise SettingError(f"there are {len(texts)} texts and {len(cells)} labels; give one for each, or None")
    parts = NameCells(separator) if multi_label else None
    given: dict[int, tuple[str, ...]] = {}
    for row, (text, cell) in enumerate(zip(texts, cells, strict=True), start=1):
        if is_blank(cell):
            continue
        if not alike(text):
            raise TextError(f"row {row} has a label and no text; leave it out")
        given[row] = _names_in(cell, column, row, parts)
    if not given:
        raise TextError(
            f"the column {column!r} holds no label in any of {len(texts):,} rows; label some of them (sijo suggest "
            "tells which), or name another column (--labels-column)"
        )
    if parts is not None and (caution := parts.caution()) is not None:
        warn(f"column {column!r}: {caution}")
    if numbers := by_number({name for names in given.values() for name in names}):
        given = {row: tuple(numbers[name] for name in names) for row, names in given.items()}
    chosen = _label_set(given, column, labels, multi_label=multi_label)
    return _gathered(texts, given, chosen, multi_label=multi_label)


def _names_in(cell: object, column: str, row: int, parts: NameCells | None) -> tuple[str, ...]:
    if parts is None:
        return (label_in(cell, column, f"row {row}", "--multi-label"),)
    try:
        return tuple({folded(name): name for name in parts.names(cell)}.values())
    except TextError as error:
        raise TextError(f"row {row}, column {column!r}: {error}") from None


def _label_set(
    given: dict[int, tuple[str, ...]], column: str, labels: Labels | None, *, multi_label: bool
) -> LabelSet:
    """What there is to choose from; labels as they were given first, then those that only rows have."""
    wanted = None if labels is None else LabelSet.of(labels)
    if wanted is not None and not multi_label:
        wanted = wanted.leaves()
    spelled = {} if wanted is None else {folded(name): (name, 0) for name in wanted.names}
    for row, names in given.items():
        for name in names:
            other, earlier = spelled.setdefault(folded(name), (name, row))
            if other != name and earlier:
                one, first = apart(name, other)
                raise TextError(
                    f"row {row}: the label {one} is the label {first} of row {earlier}, spelled otherwise; spell "
                    "it alike in all rows, or say how by labels= (--labels)"
                )
    occurring = sorted(name for name, row in spelled.values() if row)
    if by_number(occurring):
        occurring.sort(key=int)
    if len(spelled) > MOST_LABELS:
        raise TextError(
            f"the column {column!r} holds {len(occurring):,} different labels in {len(given):,} labelled rows, and "
            f"a head has {MOST_LABELS:,} at most; is it the column of the labels? For more use sijo classify, "
            "which takes any number of labels in words"
        )
    if wanted is None:
        for caution in () if multi_label else cautions(occurring, SEVERAL):
            warn(caution)
        chosen = LabelSet.of(occurring)
    else:
        counts = Counter(folded(name) for names in given.values() for name in names)
        for name in occurring:
            row = spelled[folded(name)][1]
            what = f"row {row}: the label {name!r} is not among those to choose from"
            hint = "" if by_number([name]) else nearest(name, wanted.names)
            if hint and counts[folded(name)] == 1:
                raise TextError(
                    f"{what}, and no other row has it{hint} Mend the row, or name the label by labels= (--labels), "
                    "too"
                )
            warn(f"{what}, and is added to them{hint}")
        chosen = wanted.add(*occurring) if occurring else wanted
    if len(chosen.names) < 2 and not multi_label:
        raise TextError(
            f"every label in the column {column!r} is {chosen.names[0]!r}, so there is nothing to tell apart; "
            "label texts of another kind too, or name the other labels by labels= (--labels)"
        )
    return chosen


def _gathered(
    texts: Sequence[str], given: dict[int, tuple[str, ...]], labels: LabelSet, *, multi_label: bool
) -> FewLabels:
    """Each text once; TextError where two rows of one text have other labels."""
    places = {folded(name): place for place, name in enumerate(labels.names)}
    first: dict[str, tuple[int, tuple[int, ...]]] = {}
    for row, names in given.items():
        own = tuple(sorted(places[folded(name)] for name in names))
        text = texts[row - 1].strip()
        earlier, other = first.setdefault(alike(text), (row, own))
        if other != own:
            told = [", ".join(labels.names[place] for place in set_) or "none" for set_ in (other, own)]
            way = "" if multi_label else ", or say multi_label (--multi-label) if both are right"
            raise TextError(
                f"rows {earlier} and {row} hold the same text ({text[:60]!r}), labelled {told[0]!r} and {told[1]!r}"
                f"; mend one of the two{way}"
            )
    right = np.zeros((len(first), len(labels.names)), bool)
    for place, (_, own) in enumerate(first.values()):
        right[place, list(own)] = True
    return FewLabels(
        labels=labels,
        multi_label=multi_label,
        texts=tuple(texts[row - 1].strip() for row, _ in first.values()),
        right=right,
        rows=tuple(row for row, _ in first.values()),
        unlabelled=tuple(text for key, text in distinct(texts).items() if key not in first),
    )


def alike(text: str) -> str:
    """What texts share that are one to a reader: blanks, what nobody sees, and how Unicode writes a letter, tell
    none apart.

    >>> alike(" two  words ") == alike("two words"), alike("e\\u0301") == alike("\\u00e9")
    (True, True)
    """
    return unicodedata.normalize("NFC", " ".join(INVISIBLE.sub("", text).split()))


def distinct(texts: Iterable[str]) -> dict[str, str]:
    """The first of texts that are alike, by what they share; blank ones are left out."""
    first: dict[str, str] = {}
    for text in filter(alike, texts):
        first.setdefault(alike(text), text.strip())
    return first


def none_yet(labels: Labels, texts: Sequence[str], *, multi_label: bool = False) -> FewLabels:
    """Labels that nobody has given to any text yet.

    >>> none_yet(["sport", "tax"], ["a goal"]).counts
    {'sport': 0, 'tax': 0}
    """
    chosen = LabelSet.of(labels)
    chosen = chosen if multi_label else chosen.leaves()
    return FewLabels(
        labels=chosen,
        multi_label=multi_label,
        texts=(),
        right=np.zeros((0, len(chosen.names)), bool),
        rows=(),
        unlabelled=tuple(distinct(texts).values()),
    )


def told_of(some: FewLabels) -> list[str]:
    """What a person should know of the labels before a head is fitted: a sentence each."""
    counts = Counter(some.counts)
    lines = []
    ways = (
        (0, "no text has", "any of the", "it stays as its name has it", "they stay as their names have them"),
        (
            1,
            "one text alone has",
            "each of the",
            "it is close to what its name says",
            "they are close to their names",
        ),
    )
    for number, words, which, one, several in ways:
        names = [name for name, count in counts.items() if count == number]
        shown = ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        if len(names) == 1:
            lines.append(f"{words} the label {shown}: {one}")
        elif names:
            lines.append(f"{words} {which} labels {shown}: {several}")
    return lines
