"""Two outputs for the same rows: which rows have another label than they had, and why.

The earlier one is an output of `sijo classify`: .csv, .jsonl or .parquet. Rows are matched by their number, and
their texts must be the same, but for some that were edited. What it was made with stands beside it in its
`.sijo-id`, where it was written by --output; without that, the labels there were to choose from are told by
label_scores, or by what occurs.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from sijo.errors import SettingError, TextError
from sijo.files.inputs.joined_tables import FILE_DIGEST
from sijo.files.inputs.sources import readable
from sijo.files.output_job import content_digest, made_with
from sijo.files.tables import RowBlock, TextTable
from sijo.names import folded, list_in

DIGEST_BYTES = 12
DECIDES_NOTHING = frozenset(
    {
        *("sijo", "labels", "labels_column", "labels_separator", "all_scores", "top_k", "compare"),
        "spreadsheet_safe",
        *("input format", "column", "delimiter", "header"),
    }
)
"""Settings of a run that change no label by themselves, or are told apart otherwise."""


class RowAnswer(Protocol):
    """What is read of a row's answer."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All there was to choose from."""
        ...

    @property
    def fitting(self) -> tuple[str, ...]:
        """The label, or labels, given."""
        ...

    @property
    def score(self) -> float:
        """The highest of their probabilities."""
        ...

    @property
    def tokens(self) -> int:
        """Of the text; 0 where there was nothing to label."""
        ...


def digest_of(path: Path) -> str:
    """What an earlier output holds, in a few letters. Raises SettingError where there is none that can be read."""
    return content_digest(readable(path))


@dataclass(frozen=True)
class OldAnswers:
    """What an earlier output says of each row."""

    name: str
    texts: tuple[bytes, ...]
    """A digest of each text."""
    labels: tuple[tuple[str, ...], ...]
    """The label, or labels, of each row; none for a row that got none."""
    scores: tuple[float | None, ...]
    """The highest score of each row's labels, where one is there."""
    known: frozenset[str] | None
    """What there was to choose from, folded; None where nobody knows."""
    settings: Mapping[str, Any]
    """What it was made with; empty where nothing tells."""

    @classmethod
    def read(cls, path: Path, *, column: str, multi_label: bool) -> "OldAnswers":
        """From an output of the command.

        column       the one with the text
        multi_label  whether rows have lists of labels

        Raises SettingError for a file without these columns, and TextError for one that cannot be read.
        """
        table = TextTable(path, column=column)
        texts: list[bytes] = []
        labels: list[tuple[str, ...]] = []
        scores: list[float | None] = []
        offered: list[str] | None = None
        for block in table.blocks():
            texts += map(_digest, block.texts)
            kind = ("labels", "scores") if multi_label else ("label", "score")
            columns = [_column(block, name, path) for name in kind]
            if columns[0] is None:
                other = "without --multi-label" if multi_label else "with --multi-label"
                lacks = f"--compare {path} has no column {kind[0]!r}"
                raise SettingError(
                    f"{lacks}: it is no output of sijo classify, or was made {other}; give an "
                    "output of the same command"
                )
            labels += [tuple(_items(value)) for value in columns[0]]
            scores += [_highest(value) for value in columns[1] or [None] * len(block.texts)]
            if offered is None and (every := _column(block, "label_scores", path)):
                offered = [str(name) for name in _names(every[0])]
        made = made_with(path) or {}
        if isinstance(made.get("labels"), dict):
            offered = list(made["labels"])
        names = offered if offered is not None else sorted({name for row in labels for name in row})
        if made.get("none_label"):
            names = [*names, made["none_label"]]
        known = None if made.get("labels_column") else frozenset(map(folded, names))
        return cls(str(path), tuple(texts), tuple(labels), tuple(scores), known, made)

    def check_fit(self, texts: Iterable[Sequence[str]]) -> None:
        """Raise TextError where the rows now, in blocks of texts, are others than there were."""
        count = same = 0
        for block in texts:
            digests = map(_digest, block)
            same += sum(old == new for old, new in zip(self.texts[count:], digests, strict=False))
            count += len(block)
        self.check_count(count)
        if same * 2 < count:
            raise TextError(
                f"--compare {self.name} holds other texts: {same:,} of {count:,} rows are the same; give an output "
                "for the same rows in the same order"
            )

    def check_count(self, rows: int) -> None:
        """Raise TextError where there are not so many rows now."""
        if rows != len(self.texts):
            raise TextError(
                f"--compare {self.name} has {len(self.texts):,} rows, and the input {rows:,}; give an output for "
                "the same rows in the same order"
            )


@dataclass(frozen=True)
class Move:
    """A row that has another label than it had."""

    row: int
    """Counted from 0."""
    text: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    score_before: float | None
    score_after: float | None
    why: str

    def to_dict(self) -> dict[str, object]:
        """As a record of JSON; rows counted from 1."""
        scores = {"old_score": self.score_before, "new_score": self.score_after}
        return {"row": self.row + 1, "from": said(self.before), "to": said(self.after), **scores, "why": self.why}


class AnswerMoves:
    """New answers held against old ones, block by block.

    old          the earlier answers
    settings     what the new ones are made with, as `OutputJob` keeps it
    multi_label  whether rows have lists of labels
    """

    def __init__(self, old: OldAnswers, settings: Mapping[str, Any], *, multi_label: bool) -> None:
        self.old, self.multi_label = old, multi_label
        self.rows = 0
        """Rows looked at, and so the number of the next."""
        self.changes: Counter[tuple[tuple[str, ...], tuple[str, ...], str]] = Counter()
        """How many rows moved from what to what, and why."""
        self._block: dict[int, Move] = {}
        self._reworded = _reworded(old.settings.get("labels"), settings.get("labels"))
        self._changed = _changed(old.settings, settings)

    def look(self, block: RowBlock, rows: Sequence[RowAnswer]) -> list[Move]:
        """The rows of a block that moved. Raises TextError where the earlier output has no such row."""
        if block.first_row + len(rows) > len(self.old.texts):
            self.old.check_count(block.first_row + len(rows))
        self._block = {}
        for place, (text, row) in enumerate(zip(block.texts, rows, strict=True)):
            number = block.first_row + place
            before = self.old.labels[number]
            if Counter(map(folded, before)) == Counter(map(folded, row.fitting)):
                continue
            why = self._why(before, row, edited=_digest(text) != self.old.texts[number])
            score = row.score if row.fitting and row.tokens else None
            move = Move(number, text, before, row.fitting, self.old.scores[number], score, why)
            self._block[place] = move
            self.changes[before, row.fitting, why] += 1
        self.rows = block.first_row + len(rows)
        return list(self._block.values())

    def columns(self, added: pa.Table) -> pa.Table:
        """The columns added to the block that was looked at last, with what its rows moved from, and why."""
        moves = [self._block.get(place) for place in range(added.num_rows)]
        kind = pa.list_(pa.string()) if self.multi_label else pa.string()
        before = [None if m is None else list(m.before) if self.multi_label else said(m.before) for m in moves]
        added = added.append_column("moved_from", pa.array(before, kind))
        return added.append_column("moved_why", pa.array([m and m.why for m in moves], pa.string()))

    def _why(self, before: Sequence[str], row: RowAnswer, *, edited: bool) -> str:
        """The first reason that holds, from the surest on."""
        if edited:
            return "the text changed"
        offered = set(map(folded, row.labels))
        lost = [name for name in before if folded(name) not in offered]
        if lost:
            return f"label removed: {', '.join(lost)}"
        was = set(map(folded, before))
        won = [name for name in row.fitting if folded(name) not in was]
        new = [name for name in won if self.old.known is not None and folded(name) not in self.old.known]
        if new:
            return f"new label won: {', '.join(new)}"
        touched = [name for name in (*before, *row.fitting) if folded(name) in self._reworded]
        if touched:
            return f"label described otherwise: {', '.join(dict.fromkeys(touched))}"
        if self._changed:
            return f"other settings: {', '.join(self._changed)}"
        if self.old.known is not None and offered != self.old.known:
            return "same label, other labels beside it"
        return "other scores or calibration"


def said(labels: Sequence[str]) -> str | None:
    """Labels as one text; None for none.

    >>> said(("sea", "sun"))
    'sea, sun'
    """
    return ", ".join(labels) or None


def _reworded(old: object, new: object) -> frozenset[str]:
    """Labels in both sets of which other things are said."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return frozenset()
    before = {folded(name): said for name, said in old.items()}
    return frozenset(folded(name) for name, said in new.items() if before.get(folded(name), said) != said)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that decide answers, and are not what they were."""
    names = [name for name in dict.fromkeys((*old, *new)) if name not in DECIDES_NOTHING]
    names = [name for name in names if not name.startswith(FILE_DIGEST)]
    return [name for name in names if old and old.get(name) != new.get(name)]


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def _column(block: RowBlock, name: str, path: Path) -> list[object] | None:
    """The values of a column of ours; under its other name where the input had one of that name."""
    for own in (f"predicted_{name}", name):
        try:
            return block.values(own)
        except SettingError:
            continue
        except TextError as error:
            raise TextError(f"--compare {path}: {error}") from None
    return None


def _items(value: object) -> list[str]:
    """The labels in a cell: one, or a list."""
    if isinstance(value, str) and value.lstrip().startswith("[") and (listed := list_in(value)) is not None:
        value = listed
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return [] if value is None or value == "" else [str(value)]


def _highest(value: object) -> float | None:
    """The highest of the scores in a cell."""
    items = _items(value) if not isinstance(value, int | float) else [str(value)]
    try:
        return max(map(float, items), default=None)
    except ValueError:
        return None


def _names(value: object) -> Iterable[object]:
    """The labels of a cell of label_scores: a map, pairs, or JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    if isinstance(value, Mapping):
        return value
    return [pair[0] for pair in value] if isinstance(value, list) else []
