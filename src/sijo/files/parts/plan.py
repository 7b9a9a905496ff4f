"""How an input becomes parts, and a part a file: what a worker does, on whatever machine.

A part is a run of the very blocks that one process makes of the file: they end where the content says, whoever
reads them. So parts behind each other hold the rows, and in JSON Lines the bytes, of one output of that input.

A worker keeps its input open and reads on: whoever takes the parts of a file in order reads it once.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import pyarrow as pa

from sijo.errors import SettingError, SijoError, TextError
from sijo.files.limits import BLOCK_BYTES
from sijo.files.output_job import content_digest
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, added_names, key_holders
from sijo.files.tables import RowBlock, TextTable
from sijo.files.urls import fetched, shown, stamp

PartFormat = Literal["parquet", "jsonl", "csv", "tsv"]
PART_BYTES = 4 * BLOCK_BYTES
"""Of the texts and columns of a part, at most but for one block: a part travels whole."""
Added = Callable[[RowBlock], tuple[pa.Table, Counter[str]]]
"""Gives the columns that are added to a block, and what is counted of it."""


@dataclass(frozen=True, kw_only=True)
class PlannedInput:
    """What was found in an input, read once from end to end."""

    digest: str
    """Of its bytes."""
    stamp: str
    """What its system tells of it without reading."""
    size: int
    """In bytes."""
    columns: Sequence[str] | None
    """None for JSON Lines."""
    holders: Mapping[str, Sequence[str]]
    """Of JSON Lines, where parts are tables: each key with the types of columns that hold its values."""
    blocks: Sequence[int] = field(default=())
    """Of each part, how many."""
    rows: Sequence[int] = field(default=())
    """Of each part."""


@dataclass(frozen=True)
class FileAsked:
    """The question what is in an input."""

    place: int
    """Which of the inputs, from 0."""
    file: str


@dataclass(frozen=True)
class PartAsked:
    """The question for a part."""

    place: int
    file: str
    number: int
    """Which of the input's parts, from 0."""
    first_block: int
    blocks: int
    digest: str
    """Of the input, which must not have changed since it was planned."""
    keys: Mapping[str, str] | None
    """Of JSON Lines, where parts are tables: every key of all inputs, with the type of its column."""


@dataclass(frozen=True)
class MadePart:
    """A part as it is to be written."""

    content: bytes
    digest: str
    """SHA-256."""
    counts: Counter[str]


@dataclass(frozen=True)
class Fault:
    """Why an input cannot be read, or a part not be made."""

    sentence: str
    exit_code: int


Asked = FileAsked | PartAsked
Made = PlannedInput | MadePart | Fault


class PartMaker:
    """Answers `Asked`, one after another; made anew in each process.

    opens        opens the model, when the first part is asked for
    how          how inputs are read, as `TextTable` has it
    rows         of a block, at most
    part_rows    of a part, from which it ends with its block
    format       of parts
    layout       more that writers are told
    """

    def __init__(
        self,
        opens: Callable[[], Added],
        *,
        how: Mapping[str, Any],
        rows: int,
        part_rows: int,
        format: PartFormat,
        layout: Mapping[str, Any],
    ) -> None:
        self._opens, self._how, self._rows = opens, how, rows
        self._part_rows, self._format, self._layout = part_rows, format, layout
        self._added: Added | None = None
        self._input: OpenInput | None = None

    def __call__(self, asked: Asked) -> Made:
        """What is asked for, or why it cannot be."""
        try:
            return self._planned(asked.file) if isinstance(asked, FileAsked) else self._made(asked)
        except (SijoError, OSError) as error:
            self.close()
            sentence = (
                f"{shown(asked.file)}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            )
            return Fault(sentence, error.exit_code if isinstance(error, SijoError) else 74)

    def close(self) -> None:
        """Close the input that is open."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def _planned(self, file: str) -> PlannedInput:
        before = stamp(file)
        with fetched(file) as copy:
            table = TextTable(copy, called=shown(file), **self._how)
            parts: list[list[int]] = []
            holders: dict[str, set[str]] = {}
            weight = 0
            for block in table.blocks(rows=self._rows):
                if not parts or parts[-1][1] >= self._part_rows or weight >= PART_BYTES:
                    parts.append([0, 0])
                    weight = 0
                parts[-1][0] += 1
                parts[-1][1] += len(block.texts)
                weight += block.columns.nbytes
                if block.kind == "jsonl" and self._format != "jsonl":
                    key_holders(OutputRows(block.columns, pa.table({}), block.kind), holders)
            return PlannedInput(
                digest=content_digest(copy),
                stamp=before,
                size=copy.stat().st_size,
                columns=table.columns,
                holders={key: sorted(kinds) for key, kinds in holders.items()},
                blocks=[part[0] for part in parts],
                rows=[part[1] for part in parts],
            )

    def _made(self, asked: PartAsked) -> MadePart:
        if self._input is None or not self._input.leads_to(asked):
            self.close()
            self._input = OpenInput(asked.file, asked.digest, self._how, self._rows)
        self._added = self._added or self._opens()
        content, counts = io.BytesIO(), Counter[str]()
        pieces: list[OutputRows] = []
        for block in self._input.run(asked.first_block, asked.blocks):
            columns, counted = self._added(block)
            pieces.append(OutputRows(block.columns, columns, block.kind))
            counts += counted
        plan = ColumnPlan.of(pieces)
        if asked.keys is not None:
            plan = ColumnPlan(added_names(asked.keys, pieces[0].added.column_names), dict(asked.keys))
        with closing(WRITERS[self._format](content, plan, **self._layout)) as writer:
            for piece in pieces:
                writer.write(piece)
        made = content.getvalue()
        return MadePart(made, sha256(made).hexdigest(), counts)


class OpenInput:
    """An input that is read on from block to block."""

    def __init__(self, file: str, digest: str, how: Mapping[str, Any], rows: int) -> None:
        self._file, self._digest = file, digest
        self._next = 0
        with ExitStack() as stack:
            copy = stack.enter_context(fetched(file))
            if content_digest(copy) != digest:
                raise TextError(
                    f"{shown(file)} has changed since the run began; put it back, or start over with --overwrite"
                )
            self._blocks: Iterator[RowBlock] = TextTable(copy, called=shown(file), **how).blocks(rows=rows)
            self._stack = stack.pop_all()

    def leads_to(self, asked: PartAsked) -> bool:
        """Whether that part is still to come."""
        return (asked.file, asked.digest) == (self._file, self._digest) and asked.first_block >= self._next

    def run(self, first: int, count: int) -> Iterator[RowBlock]:
        """So many blocks from that one on."""
        while self._next < first + count:
            block = next(self._blocks, None)
            if block is None:
                raise SettingError(f"{shown(self._file)} is shorter than it was; start over with --overwrite")
            self._next += 1
            if block.number >= first:
                yield block

    def close(self) -> None:
        """Close it, and take away its copy."""
        self._blocks.close()  # type: ignore[attr-defined] # a generator
        self._stack.close()
