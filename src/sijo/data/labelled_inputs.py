"""Labelled rows as inputs of a network: cut, checked and kept as numbers.

A text, or two read as one; a question and a window of its text; a beginning and a choice. Of tagging, a word's
first piece gets its tag. The order of an epoch is a function of (seed, epoch), so a run's place in its data
is one number.

Letters: B batch, C choices, L length, N names.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sijo.batching import padded_length
from sijo.data.labelled_rows import Answer, LabelledRow, Task
from sijo.data.samples import Batch, epoch_order
from sijo.errors import SettingError, TextError
from sijo.tokenizers.tokenizer import FramedInput, Tokenizer

Value = TypeVar("Value")

NOT_ASKED = -100
"""In place of a tag where none is asked for."""


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
        self.tokens = np.zeros(len(rows), dtype=np.int64)
        """Tokens of each row: of its texts, or words, and choices; of a question's text alone."""
        self.is_cut = np.zeros(len(rows), dtype=bool)
        """Whether some of a row was not read."""
        read = {"tagging": self._read_tags, "question-answering": self._read_questions}
        inputs = list(read.get(task, self._read_texts)(tokenizer))
        parts = [part for each in inputs for part in each.parts]
        flat = chain.from_iterable
        self._ids = np.fromiter(flat(part.ids for part in parts), dtype=np.int32)
        self._types = np.fromiter(flat(part.types for part in parts), dtype=np.uint8)
        self._edges = np.cumsum([0, *(len(part.ids) for part in parts)])
        self._inputs = np.cumsum([0, *(len(each.parts) for each in inputs)])
        self.lengths: list[int] = np.diff(self._edges[self._inputs]).tolist()
        """Tokens of each input, its choices together."""
        self._tags = np.fromiter(flat(each.tags for each in inputs), dtype=np.int32)
        self.words = np.fromiter(flat(each.words for each in inputs), dtype=np.int32)
        """For tagging, of each token the number of the word in its row that it is asked for, or NOT_ASKED."""
        self.places = np.array([*flat(each.places for each in inputs)], dtype=np.int32).reshape(-1, 2)
        """For question-answering, of each token the characters of the text that it stands for, or (-1, -1)."""
        self.owners = np.array([each.row for each in inputs], dtype=np.int64)
        """The row of each input."""
        kind = np.float32 if task in ("multi-label", "regression") else np.int64
        self.labels = np.array([each.label for each in inputs], dtype=kind)
        """A row for each input; of tagging they are with the tokens."""

    def __len__(self) -> int:
        return len(self._inputs) - 1

    @property
    def truncated(self) -> int:
        """Rows of which some was not read."""
        return int(self.is_cut.sum())

    @property
    def sequences(self) -> list[tuple[list[int], list[int]]]:
        """The token ids and token types of each sequence that a network reads: of each input, or of its choices."""
        edges = list(pairwise(self._edges.tolist()))
        return [(self._ids[start:end].tolist(), self._types[start:end].tolist()) for start, end in edges]

    @cached_property
    def fingerprint(self) -> str:
        """Of all that is read, equal for equal rows under one tokenizer."""
        digest = hashlib.blake2b(f"{self.task} {self.names}".encode(), digest_size=16)
        for part in (self._ids, self._types, self._edges, self._inputs, self._tags, self.labels):
            digest.update(part.tobytes())
        return digest.hexdigest()

    def batch(self, position: int, count: int, *, seed: int) -> Batch:
        """The inputs at places position, …, position + count - 1 of a run that reads all again and again."""
        return self.at(*epoch_order(position, count, len(self), seed=seed))

    def at(self, numbers: np.ndarray, epochs: np.ndarray | None = None) -> Batch:
        """These inputs side by side, padded on the right."""
        edges = [self._edges[self._inputs[number] : self._inputs[number + 1] + 1] for number in numbers]
        width = padded_length(max(int(np.diff(ends).max()) for ends in edges))
        shape = (len(numbers), max(map(len, edges)) - 1, min(width, self.cutting.length))
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        types, keep = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        tags = np.full(shape, NOT_ASKED, dtype=np.int64)
        for row, ends in enumerate(edges):
            for choice, (start, end) in enumerate(pairwise(ends)):
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

    def sequences_of(self, number: int) -> tuple[int, int]:
        """Which of the `sequences` are of an input: the first, and that behind the last."""
        return int(self._inputs[number]), int(self._inputs[number + 1])

    def input_of(self, sequence: int) -> int:
        """Of which input a sequence is."""
        return int(np.searchsorted(self._inputs, sequence, side="right")) - 1

    def _read_texts(self, tokenizer: Tokenizer) -> Iterator["_Input"]:
        """A text alone, with another, or with each of its choices."""
        others = [row.choices or row.texts[1:] for row in self.rows]
        room = tokenizer.room(self.cutting.length, pair=bool(others[0]))
        firsts = tokenizer.ids([row.texts[0] for row in self.rows])
        seconds: Iterator[list[int] | None] = iter(tokenizer.ids(list(chain.from_iterable(others))))
        for number, (row, first, texts) in enumerate(zip(self.rows, firsts, others, strict=True)):
            own = [*islice(seconds, len(texts))]
            self.tokens[number] = len(first) + sum(len(second) for second in own if second is not None)
            pairs = [fitted(first, second, room) for second in own or [None]]
            self.is_cut[number] = any(cut for *_, cut in pairs)
            yield _Input(number, [tokenizer.framed(left, right) for left, right, _ in pairs], self._label(row))

    def _label(self, row: LabelledRow) -> Any:
        if row.label is None:
            return [0.0] * len(self.names) if self.task == "multi-label" else 0
        match self.task:
            case "classification":
                return self._place[row.label]
            case "multi-label":
                return [float(name in row.label) for name in self.names]
        return row.label

    def _read_tags(self, tokenizer: Tokenizer) -> Iterator["_Input"]:
        room = tokenizer.room(self.cutting.length, pair=False)
        spelled = tokenizer.spelled([" ".join(row.words) for row in self.rows])
        for number, (row, text) in enumerate(zip(self.rows, spelled, strict=True)):
            self.tokens[number] = len(text.ids)
            ends = np.cumsum([len(word) + 1 for word in row.words]) - 1  # of each word in the joined text
            word_of = [int(np.searchsorted(ends, max(start, end - 1), side="right")) for start, end in text.places]
            starts = [at for at, word in enumerate(word_of) if at == 0 or word != word_of[at - 1]]
            is_start = frozenset(starts)
            pieces = list(_whole_words([*starts, len(word_of)], room))
            self.is_cut[number] = sum(end - start for start, end in pieces) < len(word_of)
            for start, end in pieces:
                words = [word_of[at] if at in is_start else NOT_ASKED for at in range(start, end)]
                framed = tokenizer.framed(text.ids[start:end])
                words = _around(words, framed, 0, NOT_ASKED)
                tags = [
                    NOT_ASKED if word == NOT_ASKED else 0 if row.label is None else self._place[row.label[word]]
                    for word in words
                ]
                yield _Input(number, [framed], 0, tags=tags, words=words)

    def _read_questions(self, tokenizer: Tokenizer) -> Iterator["_Input"]:
        questions = tokenizer.ids([row.texts[0] for row in self.rows])
        contexts = tokenizer.spelled([row.texts[1] for row in self.rows])
        for number, (row, whole, context) in enumerate(zip(self.rows, questions, contexts, strict=True)):
            question = whole[: self.cutting.question]
            self.tokens[number], self.is_cut[number] = len(context.ids), len(whole) > len(question)
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
                label = [0, 0]
                if answer is not None and start <= answer[0] and answer[1] < start + len(places):
                    label = [token - start + framed.starts[1] for token in answer]
                yield _Input(number, [framed], label, places=_around(places, framed, 1, (-1, -1)))


class _Input(NamedTuple):
    """What is kept of one input."""

    row: int
    parts: Sequence[FramedInput]
    """One for each choice; else only one."""
    label: Any
    tags: Sequence[int] = ()
    words: Sequence[int] = ()
    places: Sequence[tuple[int, int]] = ()


def _around(values: Sequence[Value], framed: FramedInput, text: int, fill: Value) -> list[Value]:
    """A value for each token of an input: those of its text number `text`, and `fill` around them."""
    before = framed.starts[text]
    return [fill] * before + [*values] + [fill] * (len(framed.ids) - before - len(values))


def fitted(first: list[int], second: list[int] | None, room: int) -> tuple[list[int], list[int] | None, bool]:
    """Two texts cut to the room they have, the longer one first; and whether anything was cut.

    >>> fitted([1, 2, 3, 4], [5, 6], 4)
    ([1, 2], [5, 6], True)
    """
    if second is None:
        return first[:room], None, len(first) > room
    is_cut = len(first) + len(second) > room
    second = second[: max(room // 2, room - len(first))]
    return first[: room - len(second)], second, is_cut


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


def _whole_words(borders: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
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
