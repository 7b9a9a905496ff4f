"""Texts whose labels somebody knows, read from a table: one right label a row, or several, or none.

All rows are read, and what is wrong with them told, before any model is opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.names import (
    NameCells,
    apart,
    by_number,
    cautions,
    composed,
    folded,
    in_other_form,
    is_blank,
    label_in,
    name_of,
    short,
)
from sijo.zeroshot.labels import LabelSet

if TYPE_CHECKING:
    from sijo.files.inputs.joined_tables import JoinedTables
    from sijo.files.tables import RowBlock, TextTable

YES, NO = {"1", "true", "yes", "y"}, {"0", "false", "no", "n"}
"""What a column of one label says, in small letters."""


@dataclass(frozen=True, kw_only=True)
class GoldRows:
    """A data set: texts, and what is right of them."""

    source: str
    """Its path, or - for standard input."""
    texts: list[str]
    gold: list[tuple[str, ...]]
    """The right labels of each text; one, unless there may be several."""
    numbers: list[int]
    """Which rows of the table they are, from 1: those whose label nobody has written yet are left out."""
    several: bool
    """Whether a text may have several labels, or none."""
    labels: LabelSet | None
    """What to choose from, where that was said; None for the labels that occur."""
    other_form: str | None = None
    """A right label that is in another Unicode form than NFC, as it stands there."""

    def occurring(self, none_label: str | None) -> tuple[list[str], TextError | None]:
        """The labels that occur, but for the none label, sorted; and what is wrong where one is spelled twice."""
        spelled, twice = _spellings(self.gold, self.numbers)
        none = folded(none_label or "")
        return sorted(name for key, name in spelled.items() if key != none), twice

    def cautions(self) -> list[str]:
        """What a person should know of labels that are taken from the rows."""
        return list(cautions((name for names in self.gold for name in names), SEVERAL))

    def by_place(self, names: Sequence[str]) -> "GoldRows":
        """The same, with the name at that place for each label where these are numbers and no name is one.

        names  the labels to choose from, in the order of a model's columns or as they were given

        Warns of what each number is read as. Raises TextError for numbers that are no places, as those that count
        from 1.
        """
        given = {label for labels in self.gold for label in labels}
        numbers = {int(label) for label in given if label.isdecimal() and len(label) < 10}
        if not given or {*map(str, numbers)} != given or not given.isdisjoint(map(folded, names)):
            return self
        if min(numbers) != 0 or max(numbers) >= len(names):
            raise TextError(
                f"{self.source} has numbers for labels ({', '.join(map(str, sorted(numbers)[:6]))}), and the "
                f"{len(names)} labels to choose from are names: numbers are read as places from 0 to "
                f"{len(names) - 1}, and only where 0 is among them. Write the names into the rows, or say by "
                "--labels what to choose from"
            )
        read_as = ", ".join(f"{number} as {names[number]!r}" for number in sorted(numbers)[:6])
        warn(
            f"the labels of {self.source} are numbers, read as places among the labels to choose from: {read_as}"
            f"{', …' if len(numbers) > 6 else ''}"
        )
        return replace(self, gold=[tuple(names[int(number)] for number in labels) for labels in self.gold])

    def check(self, names: Sequence[str]) -> None:
        """Tell of right labels in another spelling than the labels to choose from; refuse one that is none of
        these."""
        spelled, known = {folded(name): name for name in names}, {*names}
        for row, labels in zip(self.numbers, self.gold, strict=True):
            for label in labels:
                if label in known:
                    continue
                known.add(label)
                if folded(label) not in spelled:
                    raise TextError(
                        f"row {row}: the label {label!r} is not one of the {len(names)} labels"
                        f"{nearest(label, names)}. Mend the row, or add the label"
                    )
                one, other = apart(label, spelled[folded(label)])
                warn(f"row {row}: the label {one} is read as {other}, as the labels to choose from spell it")


SEVERAL = "what is measured here is one label a text: say --multi-label where there are several"


def gold_rows(
    table: "TextTable | JoinedTables",
    source: str,
    column: str,
    *,
    multi_label: bool = False,
    label_columns: Sequence[str] = (),
    separator: str | None = None,
    labels: LabelSet | None = None,
) -> GoldRows:
    """All rows of a table, with their right labels.

    column         holds the label of each row, or with `multi_label` its labels, as `NameCells` reads them
    label_columns  a column for each label in its place, which says 1 or 0, true or false, yes or no
    separator      what stands between labels in a cell
    labels         what to choose from, where that was said

    Of one label a row, rows without it are left out, with a warning. Raises TextError where all are, and one that
    names the row for what is no label, and for a row without text.
    """
    blocks = list(table.blocks())  # texts that somebody labelled by hand fit in memory
    reader: Callable[[RowBlock], list[tuple[str, ...]]]
    if label_columns:
        reader = partial(_of_columns, columns=label_columns)
    elif multi_label:
        cells = NameCells(separator)
        reader = partial(_several, column=column, cells=cells)
    else:
        reader = partial(_one, column=column)
    gold = [names for block in blocks for names in reader(block)]
    if multi_label and not label_columns and (caution := cells.caution()) is not None:
        warn(f"column {column!r}: {caution}")
    texts = [text for block in blocks for text in block.texts]
    several = multi_label or bool(label_columns)
    numbers = [row for row, names in enumerate(gold, start=1) if names or several]
    if len(numbers) < len(gold):
        if not numbers:
            raise TextError(f"no row of {source} has a label in the column {column!r}; write some")
        left = f"{len(gold) - len(numbers):,} of {len(gold):,} rows of {source}"
        warn(f"{left} have no label in the column {column!r}, and are left out")
        texts, gold = [texts[row - 1] for row in numbers], [gold[row - 1] for row in numbers]
    for row, text in zip(numbers, texts, strict=True):
        if not text.strip():
            raise TextError(f"row {row} has no text to label; leave it out of the measurement")
    if labels is None and label_columns:
        labels = LabelSet.of(list(label_columns))
    if whole := by_number({name for names in gold for name in names}):
        gold = [tuple(whole[name] for name in names) for names in gold]
    values = label_columns or (value for block in blocks for value in block.values(column))
    return GoldRows(
        source=source,
        texts=texts,
        gold=gold,
        numbers=numbers,
        several=several,
        labels=labels,
        other_form=in_other_form(values),
    )


def _one(block: "RowBlock", column: str) -> list[tuple[str, ...]]:
    """The right label of each row of a block; none where nobody has written it."""
    return [
        () if is_blank(value) else (label_in(value, column, f"row {row}", "--multi-label"),)
        for row, value in enumerate(block.values(column, option="--label-column"), start=block.first_row + 1)
    ]


def _several(block: "RowBlock", column: str, cells: NameCells) -> list[tuple[str, ...]]:
    """The right labels of each row of a block, each once."""
    names = []
    for place, value in enumerate(block.values(column, option="--label-column")):
        try:
            found = cells.names(value)
        except TextError as error:
            raise TextError(f"row {block.first_row + place + 1}, column {column!r}: {error}") from None
        names.append(tuple({folded(name): name for name in found}.values()))
    return names


def _of_columns(block: "RowBlock", columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The labels whose column says yes in each row of a block."""
    names: list[list[str]] = [[] for _ in block.texts]
    for column in columns:
        for place, value in enumerate(block.values(column, option="--label-columns")):
            said = folded(name_of(value) or "")
            if said not in YES | NO:
                raise TextError(
                    f"row {block.first_row + place + 1}: the column {column!r} holds {short(value)}; a column of "
                    "one label says 1 or 0, true or false, yes or no"
                )
            if said in YES:
                names[place].append(composed(column))
    return [tuple(row) for row in names]


def label_columns_of(line: str | None, separator: str | None) -> tuple[str, ...]:
    """The columns in the words of --label-columns."""
    if line is None:
        return ()
    from sijo.zeroshot.labels import names_of_line

    columns = tuple(str(name) for name in names_of_line(line, separator, option="--label-columns"))
    if not all(columns) or len(set(columns)) < len(columns):
        raise SettingError(f"--label-columns {line!r} names a column twice, or a blank one; give each once")
    return columns


def _spellings(gold: Sequence[Sequence[str]], numbers: Sequence[int]) -> tuple[dict[str, str], TextError | None]:
    """The first spelling of each label, by what all share; and what is wrong where one has two."""
    first: dict[str, tuple[str, int]] = {}
    twice: TextError | None = None
    for row, labels in zip(numbers, gold, strict=True):
        for label in labels:
            other, earlier = first.setdefault(folded(label), (label, row))
            if other != label and twice is None:
                shown = apart(label, other)
                twice = TextError(
                    f"row {row}: the label {shown[0]} is the label {shown[1]} of row {earlier}, spelled otherwise; "
                    "spell it alike in all rows, or say how by --labels"
                )
    return {key: label for key, (label, _) in first.items()}, twice
