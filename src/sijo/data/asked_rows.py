"""Rows that nobody has labelled: what a fine-tuned model is asked about.

They are read from the columns that the model was fine-tuned with, or from those that are named, and become
`LabelledRow`s without a label, so that the inputs made of them are those of fine-tuning.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import accumulate, groupby
from typing import Any

from sijo.data.labelled_rows import COLUMNS, ColumnNames, LabelledRow, Task, list_of
from sijo.errors import SettingError, TextError, nearest
from sijo.files.inputs.columns import no_column, parted_at
from sijo.names import short
from sijo.texts import half_character, is_missing, plain

PARTS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("text", "second"),
    "multi-label": ("text", "second"),
    "regression": ("text", "second"),
    "tagging": ("words",),
    "question-answering": ("context", "question"),
    "multiple-choice": ("text", "choices", "second"),
}
"""What a row has of each task, the first of which decides how much of a file is read at once."""
BY_HAND: Mapping[Task, tuple[str, ...]] = {"question-answering": ("question", "context")}
"""The order in which a row that is no mapping has its parts, where it is another."""
FORMS: Mapping[Task, str] = {
    "classification": "a text, or (text, second text) where the model judges pairs",
    "multi-label": "a text, or (text, second text) where the model judges pairs",
    "regression": "a text, or (text, second text) where the model judges pairs",
    "tagging": "a text, or a list of words",
    "question-answering": "(question, text)",
    "multiple-choice": "(beginning, [choice, choice, …])",
}
OPTIONS = {"second": "--second-column", "question": "--question-column", "choices": "--choices-column"}


def main_columns(task: Task, named: ColumnNames, recorded: ColumnNames | None) -> tuple[str, ...]:
    """The columns that a file may be read by, of which the first that is there is taken.

    named     by a person: it alone is taken
    recorded  that the model was fine-tuned with

    >>> main_columns("tagging", ColumnNames(), ColumnNames(words="단어"))[:3]
    ('단어', 'words', 'tokens')
    """
    part = PARTS[task][0]
    if (name := getattr(named, part)) is not None:
        return (name,)
    own = getattr(recorded, part, None)
    usual = COLUMNS["usual"]["beginning" if task == "multiple-choice" else part]
    more = COLUMNS["usual"]["text"] if task == "tagging" else []
    return tuple(dict.fromkeys([*([] if own is None else [own]), *usual, *more]))


@dataclass(frozen=True)
class AskedColumns:
    """Where in the rows of a file stands what a model is asked about."""

    task: Task
    names: ColumnNames
    """Of what the task has."""
    parted: bool = False
    """Whether a text of words was parted by whoever wrote it, so that blanks alone part them."""

    @classmethod
    def of(
        cls,
        task: Task,
        known: Sequence[str],
        named: ColumnNames,
        recorded: ColumnNames | None,
        *,
        main: str | None = None,
        where: str = "the rows",
    ) -> "AskedColumns":
        """By the names of a person, of the model's record, and those that are usual.

        known  the columns that there are
        main   that of the task's first part, where it is settled
        where  the columns are, for errors

        Raises SettingError for a column that is not there.
        """
        first, *others = PARTS[task]
        if main is None:
            candidates = main_columns(task, named, recorded)
            main = next((name for name in candidates if name in known), None)
            if main is None and len(known) == 1:
                main = known[0]
            if main is None:
                _refuse(first, candidates[0], known, where)
        found: dict[str, Any] = {first: main}
        for part in others:
            name = getattr(named, part) or getattr(recorded, part, None)
            usual = COLUMNS["usual"].get(part, [])
            if part == "second" and recorded is None and named.text is None and task != "multiple-choice":
                usual = [COLUMNS["pairs"].get(main, "")]
            if name is None or (getattr(named, part) is None and name not in known):
                name = next((one for one in usual if one in known and one != main), name)
            if name is None and part == "second":
                continue
            if name is None or name not in known:
                _refuse(part, name or usual[0], known, where)
            found[part] = name
        words = (getattr(recorded, "words", None), *COLUMNS["usual"]["words"])
        return cls(task, ColumnNames(**found), parted=found.get("words") in words)

    @property
    def others(self) -> tuple[str, ...]:
        """The columns that are read besides the first."""
        names = (getattr(self.names, part) for part in PARTS[self.task][1:])
        return tuple(name for name in names if name is not None)

    def row(self, where: str, record: Mapping[str, Any]) -> LabelledRow:
        """What is asked about in a row; TextError for a value that it cannot be."""
        values = {}
        for part in PARTS[self.task]:
            if (name := getattr(self.names, part)) is not None:
                values[part] = (record.get(name), f"{where}: {name!r}")
        return _row(self.task, where, values, parted=self.parted)


def recorded_names(names: ColumnNames) -> dict[str, str]:
    """The names that there are, by what their columns hold."""
    values = ((field.name, getattr(names, field.name)) for field in fields(names))
    return {name: value for name, value in values if value is not None}


def _refuse(part: str, name: str, known: Sequence[str], where: str) -> None:
    if parted_at(known) is not None:
        raise SettingError(f"{where} has {no_column(name, known)}")
    option = OPTIONS.get(part, "--column")
    raise SettingError(
        f"{where} has no column {name!r}{nearest(name, known) or ''}, which held the {part} when the model was "
        f"fine-tuned, or usually does; name the one that does with {option} (in Python: columns=). Columns: "
        f"{', '.join(known)}"
    )


def asked_rows(
    task: Task, rows: Iterable[Any], named: ColumnNames, recorded: ColumnNames | None, *, first: int = 0
) -> Iterator[LabelledRow]:
    """Rows as they stand in Python: mappings by the names of columns, or what `FORMS` says of a task.

    first  how many rows came before

    >>> [row] = asked_rows("tagging", ["김민수는 서울에 산다."], ColumnNames(), None)
    >>> row.words, row.places
    (('김민수는', '서울에', '산다', '.'), ((0, 4), (5, 8), (9, 11), (11, 12)))
    """
    columns: AskedColumns | None = None
    for number, row in enumerate(rows, first + 1):
        where = f"row {number}"
        if isinstance(row, Mapping):
            if columns is None:
                columns = AskedColumns.of(task, list(map(str, row)), named, recorded, where=where)
            yield columns.row(where, row)
            continue
        parts = BY_HAND.get(task, PARTS[task])
        is_list = isinstance(row, list | tuple) and task != "tagging"
        values = dict(zip(parts, row if is_list else [row], strict=False))
        if (is_list and len(row) > len(parts)) or not {*PARTS[task]} - {"second"} <= values.keys():
            raise TextError(f"{where} is {short(row)}; of {task} a row is {FORMS[task]}, or a dict of columns")
        yield _row(task, where, {part: (value, where) for part, value in values.items()}, parted=False)


def _row(task: Task, where: str, values: Mapping[str, tuple[Any, str]], *, parted: bool) -> LabelledRow:
    """A row of the values of its parts, each with the words that say where it stands."""
    match task:
        case "tagging":
            return _words(where, *values["words"], parted=parted)
        case "question-answering":
            return LabelledRow(where, (_text(*values["question"]), _text(*values["context"])), label=())
        case "multiple-choice":
            value, place = values["choices"]
            choices = tuple(_text(choice, place) for choice in list_of(value, place, ";"))
            if len(choices) < 2:
                raise TextError(f"{place} has {len(choices)} to choose from; give two or more")
            before = [_text(*values[part]) for part in ("text", "second") if part in values]
            return LabelledRow(where, (" ".join(before),), choices=choices)
    texts = [_text(*values[part]) for part in ("text", "second") if part in values]
    return LabelledRow(where, tuple(texts))


def _text(value: Any, place: str) -> str:
    """A text; "" where it is missing."""
    if is_missing(value):
        return ""
    value = plain(value)
    if not isinstance(value, str):
        raise TextError(f"{place} holds {short(value)}, not a text; put quotes around it")
    if half := half_character(value):
        raise TextError(f"{place} holds half of a character (U+{half}), which no text has; remove it")
    return value


def _words(where: str, value: Any, place: str, *, parted: bool) -> LabelledRow:
    """The words of a list, of JSON in a text, or of a text."""
    if isinstance(value, str) and (listed := _words_in_json(value)) is not None:
        value = listed
    if isinstance(value, str):
        text = _text(value, place)
        places = [match.span() for match in re.finditer(r"\S+", text)]
        if not parted:
            places = [part for start, end in places for part in without_marks(text, start, end)]
        words = [text[start:end] for start, end in places]
        return LabelledRow(where, (text,), tuple(words), places=tuple(places))
    words = [] if is_missing(value) else [_text(word, place) for word in list_of(value, place)]
    if not all(word.strip() for word in words):
        raise TextError(f"{place} has a blank word; leave it out")
    return LabelledRow(where, (" ".join(words),), tuple(words), places=word_places(words))


def _words_in_json(text: str) -> list[str] | None:
    """The words of a list in JSON; None for any other text, which may begin with a bracket too."""
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            if isinstance(value, list) and all(isinstance(word, str) for word in value):
                return value
    return None


def word_places(words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where each word stands in all of them, joined by blanks.

    >>> word_places(["in", "서울"])
    ((0, 2), (3, 5))
    """
    begins = accumulate((len(word) + 1 for word in words), initial=0)
    return tuple((begin, begin + len(word)) for begin, word in zip(begins, words, strict=False))


def without_marks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A run of signs without a blank as a word and the punctuation around it, as characters of the text.

    What stands within a word stays there; marks that are alike stay together.

    >>> text = "(서울,...)"
    >>> [text[start:end] for start, end in without_marks(text, 0, len(text))]
    ['(', '서울', ',', '...', ')']
    >>> [text[start:end] for text in ("U.S.-led,",) for start, end in without_marks(text, 0, len(text))]
    ['U.S.-led', ',']
    """
    is_mark = [unicodedata.category(text[place]).startswith("P") for place in range(start, end)]
    inner = [place for place, mark in enumerate(is_mark, start) if not mark]
    low, high = (inner[0], inner[-1] + 1) if inner else (end, end)
    yield from _marks(text, start, low)
    if low < high:
        yield low, high
    yield from _marks(text, high, end)


def _marks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for _, group in groupby(range(start, end), key=text.__getitem__):
        places = list(group)
        yield places[0], places[-1] + 1
