"""Rows that people labelled, as they stand in a file; and rows held out.

    classification      a text, or two, and the name of its class
    multi-label         a text, or two, and the names of all that fit: a list, or names parted by ";" or ","
    regression          a text, or two, and a number
    tagging             a list of words and a list of their tags
    question-answering  a question, a text, and the answers that stand in it (SQuAD 1 and 2, also their own file)
    multiple-choice     a question or beginning, the choices, and which is right: its place, letter or text

What is wrong with a file is told by its row, before any model is moved.
"""

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.files.inputs.columns import no_column, parted_at
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD, records
from sijo.names import NameCells, column_named, folded, label_in, list_in, short
from sijo.random import rng

Task = Literal["classification", "multi-label", "regression", "tagging", "question-answering", "multiple-choice"]
TASKS: tuple[Task, ...] = get_args(Task)
HEADS: Mapping[Task, str] = {
    "classification": "sequence-classification",
    "multi-label": "sequence-classification",
    "regression": "sequence-classification",
    "tagging": "token-classification",
    "question-answering": "question-answering",
    "multiple-choice": "multiple-choice",
}
"""Which head answers."""
OPTIONS = {
    "--text-column": ("text", "words", "context"),
    "--label-column": ("label", "tags", "answers"),
    "--second-column": ("second",),
}
"""What names a column on the command line that fine-tunes."""
_Record = Mapping[str, Any]
COLUMNS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("columns.toml").read_text(encoding="utf-8"))
"""What the columns of public data sets are called."""


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Where in a file what stands; None for the usual names."""

    text: str | None = None
    """The text; for multiple-choice what the choices go on from."""
    second: str | None = None
    """A second text, read as one input with the first."""
    label: str | None = None
    """The label: a name, a list of names, a number, or which choice is right."""
    words: str | None = None
    """For tagging, the list of words."""
    tags: str | None = None
    """For tagging, the list of their tags."""
    question: str | None = None
    """For question-answering."""
    context: str | None = None
    """For question-answering, the text that the answer stands in."""
    answers: str | None = None
    """For question-answering: {text, answer_start}, each a list; or a list of such objects."""
    choices: str | None = None
    """For multiple-choice, the list of choices."""
    separator: str | None = None
    """For multi-label, what stands between the names in a cell that is no list; None for semicolons or commas."""


@dataclass(frozen=True)
class Answer:
    """Words of a text that answer a question."""

    text: str
    start: int
    """The first character in the text."""


@dataclass(frozen=True)
class LabelledRow:
    """What a person said of something, as it stands in a file."""

    where: str
    """Which row of which file, in words."""
    texts: tuple[str, ...] = ()
    """One or two; of question-answering the question and the text; of multiple-choice the beginning."""
    words: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    label: Any = None
    """A name, names, a number, tags, answers, or the place of the right choice; None for a row that nobody
    labelled."""
    places: tuple[tuple[int, int], ...] = ()
    """Of words that were found in a text, the characters of each."""
    name: str = ""
    """The row's own id, where it has one."""


def read_rows(
    file: str | Path, task: Task, columns: ColumnNames | None = None, how: TextReading = AS_TOLD
) -> list[LabelledRow]:
    """The rows of a file for one task.

    file     .csv, .tsv, .json, .jsonl, .parquet or .xlsx, compressed or not
    columns  what stands where; guessed where it is not said
    how      what was said of the table

    Raises SettingError for a column that is not there and TextError for a row that cannot be.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "rows.csv").write_text("text,topic\\nit rained,weather\\n")
    ...     [(row.texts, row.label) for row in read_rows(Path(place) / "rows.csv", "classification")]
    [(('it rained',), 'weather')]
    """
    rows, in_file = _opened(file, task, columns, how)
    read = [_READERS[task](in_file, where, record) for where, record in rows]
    if (caution := in_file.cells.caution()) is not None:
        warn(f"{file}: {caution}")
    return read


def columns_read(
    file: str | Path, task: Task, columns: ColumnNames | None = None, how: TextReading = AS_TOLD
) -> ColumnNames:
    """What stands where in a file, as `read_rows` reads it, label columns left out; arguments as for it."""
    _, in_file = _opened(file, task, columns, how)
    if task in ("classification", "multi-label", "regression"):
        return ColumnNames(**dict(zip(("text", "second"), in_file.texts, strict=False)))
    if task == "multiple-choice":
        text = in_file.column("text", "beginning")
        return ColumnNames(text=text, second=in_file.names.second, choices=in_file.column("choices"))
    parts = ("words",) if task == "tagging" else ("question", "context")
    return ColumnNames(**{part: in_file.column(part) for part in parts})


def _opened(
    file: str | Path, task: Task, columns: ColumnNames | None, how: TextReading
) -> tuple[Iterator[tuple[str, dict[str, Any]]], "RowColumns"]:
    """The records of a file and what its columns hold, by the first of them."""
    rows = records(file, how)
    rows = _unnested(rows) if task == "question-answering" else rows
    first = next(rows, None)
    if first is None:
        raise TextError(f"{file} has no rows; give it at least one")
    return chain([first], rows), RowColumns(str(file), first[1], columns or ColumnNames())


class RowColumns:
    """The columns of a file, by what they hold."""

    def __init__(self, file: str, record: _Record, names: ColumnNames) -> None:
        self.file, self.record, self.names = file, record, names
        self.column = cache(self._column)  # asked anew for each row
        self.cells = NameCells(names.separator)

    def _column(self, what: str, usual: str = "", *, only: Sequence[str] = ()) -> str:
        """The column that holds it: the one named, else of a usual name, else the only one besides `only`."""
        if (name := getattr(self.names, what)) is not None:
            if (column := column_named(name, self.record)) is not None:
                return column
            raise SettingError(f"{self.file} has {no_column(name, [*self.record])}")
        names = COLUMNS["usual"][usual or what]
        if matches := [column for name in names if (column := column_named(name, self.record)) is not None]:
            return matches[0]
        left = [name for name in self.record if name not in only]
        if only and len(left) == 1:
            return left[0]
        if parted_at([*self.record]) is not None:
            raise SettingError(f"{self.file} has {no_column(names[0], [*self.record])}")
        option = next((f"{option} NAME, or " for option, parts in OPTIONS.items() if what in parts), "")
        raise SettingError(
            f"{self.file} has no column {' or '.join(map(repr, names[:3]))}; say which one holds the {what} by "
            f"{option}columns.{what}=NAME. Columns: {', '.join(self.record)}"
        )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The column of the text, and of a second one where there is one."""
        first = self.column("text")
        if self.names.second is not None:
            return first, self.column("second")
        second = COLUMNS["pairs"].get(first, "")
        return (first, second) if second in self.record and self.names.text is None else (first,)


def _text(record: _Record, column: str, where: str) -> str:
    value = _field(record, column, where)
    if not isinstance(value, str):
        raise TextError(f"{where}: {column!r} holds {short(value)}, not a text; put quotes around it")
    return value


def _field(record: _Record, column: str, where: str) -> Any:
    if column not in record:
        raise TextError(f"{where} has no {column!r}{nearest(column, record)}")
    return record[column]


_name = partial(label_in, several="--task multi-label")


def _list(value: Any, column: str, where: str, separator: str | None = None) -> list[Any]:
    return list_of(value, f"{where}: {column!r}", separator)


def list_of(value: Any, place: str, separator: str | None = None) -> list[Any]:
    """A list as such, as JSON in a string, or as words in a string.

    place  where it stands, in words

    >>> list_of('["in Seoul", "in Busan"]', "row 1"), list_of("to be", "row 2")
    (['in Seoul', 'in Busan'], ['to', 'be'])
    """
    value = _parsed(value, place)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(separator) if part.strip()]
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # of ARC and its like
        value = value["text"]
    if isinstance(value, tuple):
        value = list(value)
    elif hasattr(value, "tolist"):  # NumPy's, as pandas has them
        value = value.tolist()
    if not isinstance(value, list):
        raise TextError(f"{place} holds {short(value)}, not a list")
    return value


def _parsed(value: Any, place: str) -> Any:
    """What JSON in a string means; other values as they are."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        if (items := list_in(value)) is not None:
            return items
        raise TextError(f"{place} begins as JSON and is none: {short(value)}") from None


def _text_row(
    columns: RowColumns, where: str, record: _Record, label_of: Callable[[Any, str, str], Any], usual: str = ""
) -> LabelledRow:
    """A text, or two, and what `label_of` makes of (value, column, where)."""
    texts = columns.texts
    label = columns.column("label", usual, only=texts)
    value = label_of(_field(record, label, where), label, where)
    return LabelledRow(where, tuple(_text(record, column, where) for column in texts), label=value)


def _many_labelled_row(columns: RowColumns, where: str, record: _Record) -> LabelledRow:
    def names_in(value: Any, column: str, where: str) -> tuple[str, ...]:
        try:
            names = columns.cells.names(value)
        except TextError as error:
            raise TextError(f"{where}, column {column!r}: {error}") from None
        if len(set(map(folded, names))) < len(names):
            raise TextError(f"{where}: {column!r} names a label twice: {short(names)}; name each once")
        return tuple(names)

    return _text_row(columns, where, record, names_in)


def _number(value: Any, column: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TextError(f"{where}: {column!r} holds {short(value)}, not a number; leave such rows out")
    return number


def _tagged_row(columns: RowColumns, where: str, record: _Record) -> LabelledRow:
    words_column, tags_column = columns.column("words"), columns.column("tags")
    words = [str(word) for word in _list(_field(record, words_column, where), words_column, where)]
    tags = _list(_field(record, tags_column, where), tags_column, where)
    tags = [_name(tag, tags_column, where) for tag in tags]
    if len(words) != len(tags):
        raise TextError(f"{where}: {len(words)} words and {len(tags)} tags; give each word one tag")
    if not words or not all(word.strip() for word in words):
        fault = "a blank word" if words else "no words"
        raise TextError(f"{where}: {words_column!r} has {fault}; leave it out")
    return LabelledRow(where, words=tuple(words), label=tuple(tags))


def _question_row(columns: RowColumns, where: str, record: _Record) -> LabelledRow:
    question, context, answers_column = map(columns.column, ("question", "context", "answers"))
    text = _text(record, context, where)
    answers = tuple(_answers(_field(record, answers_column, where), answers_column, where))
    for answer in answers:
        if answer.start < 0 or not text.startswith(answer.text, answer.start):
            start = text.find(answer.text)
            hint = f"it stands at {start}" if start >= 0 else "it stands nowhere in the text"
            raise TextError(
                f"{where}: the answer {short(answer.text)} does not stand at character {answer.start} of its "
                f"text; {hint}"
            )
    texts = (_text(record, question, where), text)
    return LabelledRow(where, texts, label=answers, name=str(record.get("id", "")))


def _answers(value: Any, column: str, where: str) -> Iterator[Answer]:
    value = _parsed(value, f"{where}: {column!r}")
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        texts, starts = value["text"], value.get("answer_start") or value.get("start") or []
        if len(texts) != len(starts):
            raise TextError(f"{where}: {len(texts)} answers and {len(starts)} places; give each answer its place")
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if isinstance(value, dict):
        value = [value]
    for answer in value or ():
        start = answer.get("answer_start", answer.get("start")) if isinstance(answer, dict) else None
        if type(start) is not int or not isinstance(answer.get("text"), str):
            raise TextError(
                f'{where}: {column!r} holds {short(answer)}, not an answer such as {{"text": "in Paris", '
                '"answer_start": 17}'
            )
        if answer["text"]:
            yield Answer(answer["text"], start)


def _unnested(rows: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The questions of SQuAD's own file, each a row; other rows as they are."""
    for where, record in rows:
        if not isinstance(record.get("data"), list):
            yield where, record
            continue
        file = where.rpartition(", ")[0]
        for article in record["data"]:
            for paragraph in article.get("paragraphs", ()):
                for entry in paragraph.get("qas", ()):
                    row = {"id": entry.get("id"), "context": paragraph.get("context")}
                    row["question"] = entry.get("question")
                    row["answers"] = [] if entry.get("is_impossible") else entry.get("answers", [])
                    yield f"{file}, question {entry.get('id')}", row


def _choice_row(columns: RowColumns, where: str, record: _Record) -> LabelledRow:
    text, choices_column = columns.column("text", "beginning"), columns.column("choices")
    second = columns.names.second and columns.column("second")
    label = columns.column("label", only=(text, choices_column, "id"))
    value = _field(record, choices_column, where)
    choices = [str(choice) for choice in _list(value, choices_column, where, ";")]
    marks = value.get("label", ()) if isinstance(value, dict) else ()
    if len(choices) < 2:
        raise TextError(f"{where}: {choices_column!r} has {len(choices)} to choose from; give two or more")
    right = _right_choice(_field(record, label, where), choices, [str(mark) for mark in marks])
    if right is None:
        raise TextError(
            f"{where}: {label!r} holds {short(record[label])}, which is neither the place (0 to "
            f"{len(choices) - 1}) nor the text of a choice"
        )
    before = " ".join(_text(record, column, where) for column in (text, second) if column)
    return LabelledRow(where, (before,), choices=tuple(choices), label=right, name=str(record.get("id", "")))


def _right_choice(value: Any, choices: Sequence[str], marks: Sequence[str]) -> int | None:
    """The place of the right choice, from a mark, a place, its text or a letter."""
    word = str(value).strip()
    if word in marks:
        return marks.index(word)
    if word in choices:
        return choices.index(word)
    place = int(word) if word.isdecimal() else ord(word.upper()) - ord("A") if len(word) == 1 else -1
    return place if 0 <= place < len(choices) else None


_READERS: dict[Task, Callable[[RowColumns, str, _Record], LabelledRow]] = {
    "classification": partial(_text_row, label_of=_name),
    "multi-label": _many_labelled_row,
    "regression": partial(_text_row, label_of=_number, usual="number"),
    "tagging": _tagged_row,
    "question-answering": _question_row,
    "multiple-choice": _choice_row,
}


def held_out(
    rows: Sequence[LabelledRow], task: Task, share: float, *, seed: int
) -> tuple[list[LabelledRow], list[LabelledRow]]:
    """Rows for training and rows kept from it, of each class the same share; a function of the seed.

    Raises TextError where the share is of no row.
    """
    groups: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.label if task == "classification" else None, []).append(number)
    aside: set[int] = set()
    owed = 0.0
    for number, members in enumerate(groups.values()):  # what rounding takes from one class, the next one gives
        owed += share * len(members)
        count = min(round(owed), len(members) - 1)
        owed -= count
        order = rng(seed, "held out", number).permutation(len(members))
        aside |= {members[place] for place in order[:count]}
    if not aside:
        raise TextError(
            f"{len(rows)} rows are too few to hold {share:g} of them out for evaluation; give a file for that "
            "(--eval), or a greater held_out"
        )
    kept = [row for number, row in enumerate(rows) if number not in aside]
    return kept, [rows[number] for number in sorted(aside)]
