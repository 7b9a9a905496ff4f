"""Rows that people labelled, as inputs of a network: what stands in a table, checked, cut and kept as numbers.

    classification      a text, or two, and the name of its class
    multi-label         a text, or two, and the names of all that fit: a list, or names parted by ";"
    regression          a text, or two, and a number
    tagging             a list of words and a list of their tags; a word's first piece gets its tag
    question-answering  a question, a text, and the answers that stand in it (SQuAD 1 and 2, also their own file)
    multiple-choice     a question or beginning, the choices, and which is right: its place, letter or text

What is wrong with a file is told by its row, before any model is moved. The order of an epoch is a
function of (seed, epoch), so a run's place in its data is one number.

Letters: B batch, C choices, L length, N names.
"""

import difflib
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sijo.batching import padded_length
from sijo.data.samples import Batch
from sijo.errors import SettingError, TextError, nearest
from sijo.files.tables import records
from sijo.random import permuted, rng
from sijo.tokenizers.tokenizer import Tokenizer

Task = Literal["classification", "multi-label", "regression", "tagging", "question-answering", "multiple-choice"]
TASKS: tuple[Task, ...] = get_args(Task)
NOT_ASKED = -100
"""In place of a tag where none is asked for."""
PAIRS = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text": "text2",
    "text1": "text2",
    "text_a": "text_b",
}
"""Columns that are read as one input with another, where the file has both."""
USUAL = {
    "text": ("text", "sentence", "sentence1", "premise", "question1", "text1", "text_a", "review", "content"),
    "label": ("label", "labels", "class", "category", "target", "answer", "answerKey", "score", "gold_label"),
    "words": ("words", "tokens"),
    "tags": ("tags", "ner_tags", "labels", "pos_tags", "label"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph"),
    "answers": ("answers", "answer"),
    "choices": ("choices", "options", "endings"),
    "beginning": ("question", "context", "prompt", "premise", "text"),
}
"""What columns are usually called, by what they hold; the first that is there is taken."""


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


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """How texts become inputs."""

    length: int = 128
    """Tokens of an input at most, special ones included."""
    stride: int = 128
    """Tokens from the start of a window over a long text to that of the next, for question-answering."""
    question: int = 64
    """Tokens of a question at most."""

    def __post_init__(self) -> None:
        if not 8 <= self.length <= 100_000:
            raise SettingError(f"cutting.length={self.length} tokens is no length for an input; give 8 to 100,000")
        if min(self.stride, self.question) < 1:
            raise SettingError(
                f"cutting.stride={self.stride} and cutting.question={self.question} must be 1 or more"
            )


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
    """A name, names, a number, tags, answers, or the place of the right choice."""
    name: str = ""
    """The row's own id, where it has one."""


def read_rows(file: str | Path, task: Task, columns: ColumnNames | None = None) -> list[LabelledRow]:
    """The rows of a file for one task.

    file     .csv, .tsv, .json, .jsonl or .parquet, compressed or not
    columns  what stands where; guessed where it is not said

    Raises SettingError for a column that is not there and TextError for a row that cannot be.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "rows.csv").write_text("text,topic\\nit rained,weather\\n")
    ...     [(row.texts, row.label) for row in read_rows(Path(place) / "rows.csv", "classification")]
    [(('it rained',), 'weather')]
    """
    rows = _unnested(records(file)) if task == "question-answering" else records(file)
    first = next(rows, None)
    if first is None:
        raise TextError(f"{file} has no rows; give it at least one")
    make = _READERS[task](_Finder(str(file), first[1], columns or ColumnNames()))
    found = [make(*first)]
    found += [make(where, record) for where, record in rows]
    return found


class _Finder:
    """Finds the columns of a file."""

    def __init__(self, name: str, record: Mapping[str, Any], asked: ColumnNames) -> None:
        self.name, self.record, self.asked = name, record, asked

    def column(self, what: str, usual: Iterable[str] = (), *, only: Sequence[str] = ()) -> str:
        """The column that holds it: as asked, else of a usual name, else the only one besides `only`."""
        asked = getattr(self.asked, what)
        if asked is not None:
            if asked not in self.record:
                raise SettingError(
                    f"{self.name} has no column {asked!r}{nearest(asked, self.record) or '.'} "
                    f"Columns: {', '.join(self.record)}"
                )
            return str(asked)
        found = next((name for name in usual or USUAL[what] if name in self.record), None)
        left = [name for name in self.record if name not in only]
        if found is None and only and len(left) == 1:
            found = left[0]
        if found is None:
            raise SettingError(
                f"{self.name} has no column {' or '.join(repr(name) for name in (usual or USUAL[what])[:3])}; say "  # type: ignore[index]
                f"which one holds the {what} by columns.{what}=NAME. Columns: {', '.join(self.record)}"
            )
        return found

    def texts(self) -> tuple[str, ...]:
        """The column of the text, and of a second one where there is one."""
        first = self.column("text")
        if self.asked.second is not None:
            return first, self.column("second")
        second = PAIRS.get(first, "")
        return (first, second) if second in self.record and self.asked.text is None else (first,)


def _field(record: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in record:
        raise TextError(f"{where} has no {column!r}{nearest(column, record)}")
    return record[column]


def _text(record: Mapping[str, Any], column: str, where: str) -> str:
    value = _field(record, column, where)
    if not isinstance(value, str):
        raise TextError(f"{where}: {column!r} holds {_short(value)}, not a text; put quotes around it")
    return value


def _short(value: Any) -> str:
    """A value as an error shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _name(value: Any, column: str, where: str) -> str:
    if isinstance(value, bool | int | str) and str(value).strip():
        return str(value).strip()
    raise TextError(f"{where}: {column!r} holds {_short(value)}, not the name of a label; leave such rows out")


def _listed(record: Mapping[str, Any], column: str, where: str, parted_by: str | None) -> list[Any]:
    """A list as such, as JSON in a string, or as words in a string, parted."""
    value = _field(record, column, where)
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise TextError(f"{where}: {column!r} begins as JSON and is none: {_short(value)}") from None
    if isinstance(value, str):
        value = [part.strip() for part in value.split(parted_by) if part.strip()]
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # of ARC and its like
        value = value["text"]
    if not isinstance(value, list):
        raise TextError(f"{where}: {column!r} holds {_short(value)}, not a list")
    return value


def _classified(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    texts = find.texts()
    label = find.column("label", only=texts)

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        said = _name(_field(record, label, where), label, where)
        return LabelledRow(where, tuple(_text(record, column, where) for column in texts), label=said)

    return make


def _many(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    texts = find.texts()
    label = find.column("label", only=texts)

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        said = [_name(one, label, where) for one in _listed(record, label, where, ";")]
        if len(set(said)) < len(said):
            raise TextError(f"{where}: {label!r} names a label twice: {_short(said)}; name each once")
        return LabelledRow(where, tuple(_text(record, column, where) for column in texts), label=tuple(said))

    return make


def _measured(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    texts = find.texts()
    label = find.column("label", ("score", *USUAL["label"]), only=texts)

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        value = _field(record, label, where)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise TextError(f"{where}: {label!r} holds {_short(value)}, not a number; leave such rows out")
        return LabelledRow(where, tuple(_text(record, column, where) for column in texts), label=number)

    return make


def _tagged(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    words, tags = find.column("words"), find.column("tags")

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        said = [str(word) for word in _listed(record, words, where, None)]
        given = [_name(tag, tags, where) for tag in _listed(record, tags, where, None)]
        if len(said) != len(given):
            raise TextError(f"{where}: {len(said)} words and {len(given)} tags; give each word one tag")
        if not said or not all(word.strip() for word in said):
            raise TextError(f"{where}: {words!r} has {'a blank word' if said else 'no words'}; leave it out")
        return LabelledRow(where, words=tuple(said), label=tuple(given))

    return make


def _asked(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    question, context, answers = find.column("question"), find.column("context"), find.column("answers")

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        text = _text(record, context, where)
        said = tuple(_answers(_field(record, answers, where), answers, where))
        for answer in said:
            if text[answer.start : answer.start + len(answer.text)] != answer.text or answer.start < 0:
                there = text.find(answer.text)
                hint = f"it stands at {there}" if there >= 0 else "it stands nowhere in the text"
                raise TextError(
                    f"{where}: the answer {_short(answer.text)} does not stand at character {answer.start} of its "
                    f"text; {hint}"
                )
        return LabelledRow(
            where, (_text(record, question, where), text), label=said, name=str(record.get("id", ""))
        )

    return make


def _answers(value: Any, column: str, where: str) -> Iterator[Answer]:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise TextError(f"{where}: {column!r} begins as JSON and is none: {_short(value)}") from None
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        texts, starts = value["text"], value.get("answer_start") or value.get("start") or []
        if len(texts) != len(starts):
            raise TextError(f"{where}: {len(texts)} answers and {len(starts)} places; give each answer its place")
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if isinstance(value, dict):
        value = [value]
    for one in value or ():
        start = one.get("answer_start", one.get("start")) if isinstance(one, dict) else None
        if type(start) is not int or not isinstance(one.get("text"), str):
            raise TextError(
                f'{where}: {column!r} holds {_short(one)}, not an answer such as {{"text": "in Paris", '
                '"answer_start": 17}'
            )
        if one["text"]:
            yield Answer(one["text"], start)


def _unnested(rows: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The questions of SQuAD's own file, each a row; other rows as they are."""
    for where, record in rows:
        if not isinstance(record.get("data"), list):
            yield where, record
            continue
        file = where.rpartition(", ")[0]
        for article in record["data"]:
            for paragraph in article.get("paragraphs", ()):
                for asked in paragraph.get("qas", ()):
                    said = [] if asked.get("is_impossible") else asked.get("answers", [])
                    yield (
                        f"{file}, question {asked.get('id')}",
                        {"id": asked.get("id"), "context": paragraph.get("context")}
                        | {"question": asked.get("question"), "answers": said},
                    )


def _choosing(find: _Finder) -> Callable[[str, Mapping[str, Any]], LabelledRow]:
    text, choices = find.column("text", USUAL["beginning"]), find.column("choices")
    second = find.asked.second and find.column("second")
    label = find.column("label", only=(text, choices, "id"))

    def make(where: str, record: Mapping[str, Any]) -> LabelledRow:
        said = [str(choice) for choice in _listed(record, choices, where, ";")]
        marks = record[choices].get("label", ()) if isinstance(record[choices], dict) else ()
        if len(said) < 2:
            raise TextError(f"{where}: {choices!r} has {len(said)} to choose from; give two or more")
        right = _right(_field(record, label, where), said, [str(mark) for mark in marks])
        if right is None:
            raise TextError(
                f"{where}: {label!r} holds {_short(record[label])}, which is neither the place (0 to "
                f"{len(said) - 1}) nor the text of a choice"
            )
        before = " ".join(_text(record, column, where) for column in (text, second) if column)
        return LabelledRow(where, (before,), choices=tuple(said), label=right, name=str(record.get("id", "")))

    return make


def _right(value: Any, choices: Sequence[str], marks: Sequence[str]) -> int | None:
    """The place of the right choice, from a mark, a place, its text or a letter."""
    word = str(value).strip()
    if word in marks:
        return marks.index(word)
    if word in choices:
        return choices.index(word)
    place = int(word) if word.isdecimal() else ord(word.upper()) - ord("A") if len(word) == 1 else -1
    return place if 0 <= place < len(choices) else None


_READERS: dict[Task, Callable[[_Finder], Callable[[str, Mapping[str, Any]], LabelledRow]]] = {
    "classification": _classified,
    "multi-label": _many,
    "regression": _measured,
    "tagging": _tagged,
    "question-answering": _asked,
    "multiple-choice": _choosing,
}


def names_of(rows: Sequence[LabelledRow], task: Task) -> tuple[str, ...]:
    """Every label that occurs, in the order of numbers or letters; ("score",) for a number, none for the rest.

    >>> names_of([LabelledRow("1", label="10"), LabelledRow("2", label="9")], "classification")
    ('9', '10')
    """
    if task == "regression":
        return ("score",)
    if task in ("question-answering", "multiple-choice"):
        return ()
    found = {name for row in rows for name in _names(row, task)}
    if all(name.removeprefix("-").isdecimal() for name in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))


def _names(row: LabelledRow, task: Task) -> tuple[str, ...]:
    return (row.label,) if task == "classification" else tuple(row.label)


def check_labels(
    train: Sequence[LabelledRow],
    evaluation: Sequence[LabelledRow],
    task: Task,
    *,
    allow_rare: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Refuse labels that cannot be learned or measured; say what can be measured poorly alone.

    allow_rare  whether a class may have one row
    """
    names = names_of(train, task)
    if task in ("classification", "tagging") and len(names) < 2:
        raise TextError(
            f"the training rows have {len(names)} label{'s' * (len(names) != 1)} ({', '.join(names)}), so there is "
            "nothing to tell apart; give rows of two or more, or another columns.label"
        )
    if task == "multi-label" and not names:
        raise TextError("no training row has a label; give another columns.label")
    if task not in ("classification", "multi-label", "tagging"):
        return
    known = set(names)
    for row in evaluation:
        for name in _names(row, task):
            if name not in known:
                raise TextError(
                    f"{row.where}: the label {name!r} is in no training row{_near(name, names)}. Mend it, add rows "
                    "of that label to the training file, or leave them out of the evaluation"
                )
    if task == "tagging":
        return
    rare = _with_one(train, task)
    if rare and not allow_rare:
        raise TextError(
            f"one row alone has the label {', '.join(map(repr, rare[:4]))}{', …' if len(rare) > 4 else ''}, from "
            "which nothing general can be learned; add rows, put it together with another label, leave it out, or "
            "allow it by allow_rare=true"
        )
    if few := _with_one(evaluation, task):
        tell(
            f"one evaluation row alone has the label {', '.join(map(repr, few[:4]))}"
            f"{', …' if len(few) > 4 else ''}: what is measured of it says little"
        )


def _near(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return nearest(name, names) or (f"; the nearest is {close[0]!r}" if close else "")


def _with_one(rows: Sequence[LabelledRow], task: Task) -> list[str]:
    counts = Counter(name for row in rows for name in _names(row, task))
    return sorted(name for name, count in counts.items() if count == 1)


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
    return (
        [row for number, row in enumerate(rows) if number not in aside],
        [row for number, row in enumerate(rows) if number in aside],
    )


class LabelledInputs:
    """Labelled rows as inputs of a network, kept as numbers: what the loop reads, and what is measured on.

    rows       of one task
    names      of the labels, in the order of the head's columns
    tokenizer  of the network
    cutting    how long an input is

    A row is one input, but for long texts of tagging, whose words are parted among several, and of
    question-answering, whose windows overlap; `owners` says of which row each input is.
    """

    def __init__(
        self,
        rows: Sequence[LabelledRow],
        task: Task,
        names: Sequence[str],
        tokenizer: Tokenizer,
        cutting: InputSettings,
    ) -> None:
        self.rows, self.task, self.names = list(rows), task, tuple(names)
        self.cutting = cutting
        self.pad_id = tokenizer.pad_id
        self._special = np.array(tokenizer.special_ids, dtype=np.int64)
        self._place = {name: place for place, name in enumerate(names)}
        self.truncated = 0
        """Rows of which the end was not read."""
        made = _Flat()
        self._read(tokenizer, made)
        self._ids = np.array(made.ids, dtype=np.int32)
        self._types = np.array(made.types, dtype=np.uint8)
        self._edges = np.cumsum([0, *made.lengths])
        self._inputs = np.cumsum([0, *made.inputs])
        self._tags = np.array(made.tags, dtype=np.int32)
        self.words = np.array(made.words, dtype=np.int32)
        """For tagging, of each token the number of the word in its row that it is asked for, or NOT_ASKED."""
        self.places = np.array(made.places, dtype=np.int32).reshape(-1, 2)
        """For question-answering, of each token the characters of the text that it stands for, or (-1, -1)."""
        self.owners = np.array(made.owners, dtype=np.int64)
        """The row of each input."""
        kind = np.float32 if task in ("multi-label", "regression") else np.int64
        self.labels = np.array(made.labels, dtype=kind)
        """A row for each input; of tagging they are with the tokens."""

    def __len__(self) -> int:
        return len(self._inputs) - 1

    @cached_property
    def fingerprint(self) -> str:
        """Of all that is read, equal for equal rows under one tokenizer."""
        digest = hashlib.blake2b(f"{self.task} {self.names}".encode(), digest_size=16)
        for part in (self._ids, self._types, self._edges, self._inputs, self._tags, self.labels):
            digest.update(part.tobytes())
        return digest.hexdigest()

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each input, its choices together."""
        counted: list[int] = np.diff(self._edges[self._inputs]).tolist()
        return counted

    def batch(self, position: int, count: int, *, seed: int) -> Batch:
        """The inputs at places position, …, position + count - 1 of a run that reads all again and again."""
        epochs, places = np.divmod(np.arange(position, position + count), len(self))
        numbers = [
            permuted(places[epochs == epoch], len(self), seed=seed, epoch=int(epoch)) for epoch in np.unique(epochs)
        ]
        return self.at(np.concatenate(numbers), epochs)

    def at(self, numbers: np.ndarray, epochs: np.ndarray | None = None) -> Batch:
        """These inputs side by side, padded on the right."""
        inputs = [range(self._inputs[number], self._inputs[number + 1]) for number in numbers]
        edges = [[(int(self._edges[one]), int(self._edges[one + 1])) for one in some] for some in inputs]
        choices = max(map(len, inputs))
        width = padded_length(max(end - start for some in edges for start, end in some))
        shape = (len(numbers), choices, min(width, self.cutting.length))
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        types, keep = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        tags = np.full(shape, NOT_ASKED, dtype=np.int64)
        for row, some in enumerate(edges):
            for choice, (start, end) in enumerate(some):
                here = (row, choice, slice(0, end - start))
                ids[here], types[here], keep[here] = self._ids[start:end], self._types[start:end], True
                if self.task == "tagging":
                    tags[here] = self._tags[start:end]
        if self.task != "multiple-choice":
            ids, types, keep, tags = ids[:, 0], types[:, 0], keep[:, 0], tags[:, 0]
        return Batch(
            input_ids=ids,
            keep=keep,
            token_type_ids=types,
            special=~keep | np.isin(ids, self._special),
            parts=np.zeros((len(numbers), 2), dtype=np.int64),
            next_ids=np.full(len(numbers), -1, dtype=np.int64),
            numbers=np.asarray(numbers, dtype=np.int64),
            epochs=np.zeros(len(numbers), dtype=np.int64) if epochs is None else epochs,
            labels=tags if self.task == "tagging" else self.labels[numbers],
        )

    def span(self, number: int) -> slice:
        """Where the tokens of an input stand in `words` and `places`."""
        return slice(int(self._edges[self._inputs[number]]), int(self._edges[self._inputs[number + 1]]))

    def _read(self, tokenizer: Tokenizer, made: "_Flat") -> None:
        match self.task:
            case "tagging":
                self._read_tagged(tokenizer, made)
            case "question-answering":
                self._read_asked(tokenizer, made)
            case "multiple-choice":
                self._read_choices(tokenizer, made)
            case _:
                self._read_texts(tokenizer, made)

    def _read_texts(self, tokenizer: Tokenizer, made: "_Flat") -> None:
        pair = len(self.rows[0].texts) == 2
        room = tokenizer.room(self.cutting.length, pair=pair)
        firsts = tokenizer.ids([row.texts[0] for row in self.rows])
        seconds = tokenizer.ids([row.texts[1] for row in self.rows]) if pair else [None] * len(firsts)
        for number, (row, one, other) in enumerate(zip(self.rows, firsts, seconds, strict=True)):
            first, second, cut = fitted(one, other, room)
            self.truncated += cut
            framed = tokenizer.framed(first, second)
            made.add(number, [(framed.ids, framed.types)], self._label(row))

    def _label(self, row: LabelledRow) -> Any:
        match self.task:
            case "classification":
                return self._place[row.label]
            case "multi-label":
                return [float(name in row.label) for name in self.names]
        return row.label

    def _read_choices(self, tokenizer: Tokenizer, made: "_Flat") -> None:
        room = tokenizer.room(self.cutting.length, pair=True)
        for number, row in enumerate(self.rows):
            before, *choices = tokenizer.ids([row.texts[0], *row.choices])
            inputs, any_cut = [], False
            for choice in choices:
                first, second, cut = fitted(before, choice, room)
                framed = tokenizer.framed(first, second)
                inputs.append((framed.ids, framed.types))
                any_cut |= cut
            self.truncated += any_cut
            made.add(number, inputs, row.label)

    def _read_tagged(self, tokenizer: Tokenizer, made: "_Flat") -> None:
        room = tokenizer.room(self.cutting.length, pair=False)
        spelled = tokenizer.spelled([" ".join(row.words) for row in self.rows])
        for number, (row, text) in enumerate(zip(self.rows, spelled, strict=True)):
            ends = np.cumsum([len(word) + 1 for word in row.words]) - 1  # of each word in the joined text
            word_of = [int(np.searchsorted(ends, max(start, end - 1), side="right")) for start, end in text.places]
            begins = [at for at, word in enumerate(word_of) if at == 0 or word != word_of[at - 1]]
            first = dict(zip(begins, (word_of[at] for at in begins), strict=True))
            for start, end in _parted([*begins, len(word_of)], room):
                words = [first.get(at, NOT_ASKED) for at in range(start, end)]
                tags = [NOT_ASKED if word == NOT_ASKED else self._place[row.label[word]] for word in words]
                framed = tokenizer.framed(text.ids[start:end])
                before, after = framed.starts[0], len(framed.ids) - framed.starts[0] - (end - start)
                made.add(number, [(framed.ids, framed.types)], 0)
                made.words += [NOT_ASKED] * before + words + [NOT_ASKED] * after
                made.tags += [NOT_ASKED] * before + tags + [NOT_ASKED] * after

    def _read_asked(self, tokenizer: Tokenizer, made: "_Flat") -> None:
        questions = tokenizer.ids([row.texts[0] for row in self.rows])
        contexts = tokenizer.spelled([row.texts[1] for row in self.rows])
        for number, (row, asked, context) in enumerate(zip(self.rows, questions, contexts, strict=True)):
            question = asked[: self.cutting.question]
            room = tokenizer.room(self.cutting.length, pair=True) - len(question)
            if room < 1:
                raise TextError(
                    f"{row.where}: the question has {len(question)} tokens, and of cutting.length="
                    f"{self.cutting.length} that leaves no room for its text; raise that, or lower cutting.question"
                )
            answer = _tokens_of(row.label[0], context.places) if row.label else None
            for start in windows(len(context.ids), room, self.cutting.stride):
                places = context.places[start : start + room]
                framed = tokenizer.framed(question, context.ids[start : start + room])
                at = framed.starts[1]
                inside = answer is not None and start <= answer[0] and answer[1] < start + len(places)
                shift = at - start
                made.add(
                    number,
                    [(framed.ids, framed.types)],
                    [answer[0] + shift, answer[1] + shift] if answer is not None and inside else [0, 0],
                )
                after = len(framed.ids) - at - len(places)
                made.places += [(-1, -1)] * at + list(places) + [(-1, -1)] * after


class _Flat:
    """Inputs one behind the other, while they are made."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.types: list[int] = []
        self.tags: list[int] = []
        self.words: list[int] = []
        self.places: list[tuple[int, int]] = []
        self.lengths: list[int] = []
        self.inputs: list[int] = []
        self.owners: list[int] = []
        self.labels: list[Any] = []

    def add(self, row: int, inputs: Sequence[tuple[Sequence[int], Sequence[int]]], label: Any) -> None:
        for ids, types in inputs:
            self.ids += ids
            self.types += types
            self.lengths.append(len(ids))
        self.inputs.append(len(inputs))
        self.owners.append(row)
        self.labels.append(label)


def fitted(first: list[int], second: list[int] | None, room: int) -> tuple[list[int], list[int] | None, bool]:
    """Two texts cut to the room they have, the longer one first; and whether anything was cut.

    >>> fitted([1, 2, 3, 4], [5, 6], 4)
    ([1, 2], [5, 6], True)
    """
    if second is None:
        return first[:room], None, len(first) > room
    if len(first) + len(second) <= room:
        return first, second, False
    half = room // 2
    if len(second) <= half:
        return first[: room - len(second)], second, True
    if len(first) <= room - half:
        return first, second[: room - len(first)], True
    return first[: room - half], second[:half], True


def windows(tokens: int, room: int, stride: int) -> list[int]:
    """Where windows over a text begin: each `stride` tokens after the one before, until one holds the end.

    A stride longer than the room would leave tokens out, and is shortened to it.

    >>> windows(10, 4, 3), windows(3, 4, 3), windows(9, 4, 9)
    ([0, 3, 6], [0], [0, 4, 8])
    """
    starts = [0]
    while starts[-1] + room < tokens:
        starts.append(starts[-1] + min(stride, room))
    return starts


def _parted(borders: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Runs of whole words that fit, as token places; of a word that is longer, as much as fits."""
    start = borders[0]
    for border, following in pairwise(borders):
        if following - start > room and border > start:
            yield start, min(border, start + room)
            start = border
    yield start, min(borders[-1], start + room)


def _tokens_of(answer: Answer, places: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The first and the last token of an answer; None where no token stands for any of it."""
    start, end = answer.start, answer.start + len(answer.text)
    touched = [at for at, (low, high) in enumerate(places) if low < end and high > start]
    return (touched[0], touched[-1]) if touched else None
