"""Rows with one text each, read in order from a file or a pipe, in memory bounded by a block.

Plain lines, CSV, JSON Lines and Parquet become the same thing here: blocks of texts beside the
input columns as they were given, so that a caller can write them out again unchanged. What is
wrong with a file is told with its line, and as much of it as can be is told before a model loads.
What the texts are for, and how results are written, belongs elsewhere.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, get_args

import pyarrow as pa

from sijo.batching import groups
from sijo.errors import SettingError, TextError, nearest, warn
from sijo.files import input_kind
from sijo.files import table_formats as formats
from sijo.files.encodings.detect import form_told
from sijo.files.encodings.recode import TextForm
from sijo.files.inputs.sources import TextReading, listed, readable, usual_delimiter
from sijo.names import column_named

NO_ROWS = {
    "text": "is empty",
    "csv": "has a header but no rows (where line 1 is a row: --no-header)",
    "jsonl": "has no records",
    "parquet": "has no rows",
}


@dataclass(frozen=True)
class RowBlock:
    """Rows that stand next to each other: their texts, and every column they came with."""

    number: int
    """0, 1, 2, … in reading order."""
    first_row: int
    """How many rows stand before it."""
    texts: list[str]
    """The text column, with "" where a value is null."""
    columns: pa.Table
    """Every input column as it was read. CSV is all strings (007 stays 007), Parquet keeps its
    types, plain text is one column `text`, JSON Lines one column `record` of raw objects."""
    kind: formats.Kind
    """What the rows were read from."""

    def values(self, name: str) -> list[object]:
        """Another input column, as Python values, one for each text, named as `column_named` has it.

        In JSON Lines a record without the key `name` gives None.
        Raises SettingError when no row of the block has the column.
        """
        known, records = self.columns.column_names, []
        if self.kind == "jsonl":
            records = [json.loads(raw) for raw in self.columns["record"].to_pylist()]
            known = list(dict.fromkeys(chain.from_iterable(records)))
        column = column_named(name, known)
        if column is None:
            raise SettingError(f"no column {name!r}{_known(name, known, 'Columns')}")
        if self.kind == "jsonl":
            return [record.get(column) for record in records]
        return list(self.columns[column].to_pylist())


class TextTable:
    """A file, or standard input, of rows with one text each.

    source     a path, or "-" for standard input; .gz, .bz2, .xz and .zst are decompressed on the way
    kind       what it holds; by default told from the suffix, and for "-" and .txt by `input_kind.py`
    column     where the text is; by default the first of `preferred` that is there, `text`, else the only column
               (of strings)
    preferred  columns that are taken, where there are several, before `text`
    lists      whether the column may hold lists, as of words: their text is JSON
    delimiter, header, encoding   as `TextReading` has them

    Columns are named as `column_named` has it. Plain text has a row for every line, blank ones too, and lines end
    only at a line feed, or in a file without any at a carriage return. In CSV and JSON Lines a blank line is no
    row; an empty text in a CSV of one column is written as two quotes.

    Raises SettingError for a path or setting that will not do, and TextError for a source without rows or whose
    first rows are broken. Later rows are checked as read. Warns where line 1 of a CSV is taken for a header but
    looks like a row, and where a row repeats the header.
    """

    kind: formats.Kind
    """What the source holds."""
    name: str
    """What messages call it: the path, or "standard input"."""
    column: str
    """The column, or JSON key, that holds the text."""
    columns: tuple[str, ...] | None
    """Every column in order; None for JSON Lines, where records may differ."""

    def __init__(
        self,
        source: str | Path,
        *,
        kind: formats.Kind | None = None,
        column: str | None = None,
        delimiter: str | None = None,
        header: bool = True,
        encoding: str | None = None,
        preferred: Sequence[str] = (),
        lists: bool = False,
    ) -> None:
        self._preferred, self._lists = preferred, lists
        self._path = None if str(source) == "-" else Path(source)
        self.name = "standard input" if self._path is None else str(self._path)
        if self._path is None and sys.stdin is None:
            raise SettingError("standard input is closed; name a file, or send the text through a pipe")
        if self._path is not None:
            self._path = readable(self._path)
        suffix, self._packed = ("", None) if self._path is None else formats.ending(self._path)
        if kind is None and (delimiter is not None or not header) and suffix in ("", ".txt"):
            kind = "csv"  # nothing else has a delimiter or a header
        self.kind = self._checked_kind(kind, suffix)
        as_text = TextReading(delimiter=delimiter, header=header, encoding=encoding).checked(self.kind, self.name)
        self._header, self._delimiter, self._encoding = header, as_text.delimiter, as_text.encoding
        self._usual = usual_delimiter(suffix)
        self._form: TextForm | None = None
        self._rereadable = self._path is not None and self._path.is_file()
        self._column = column

        self._by_content = by_content = kind is None and self.kind == "text"
        try:
            reading = self._open()
        except (SettingError, TextError) as error:
            if not by_content or self.kind == "text":
                raise
            taken = f"{self.name} was taken for {self.kind} by its first lines; --input-format says otherwise"
            raise type(error)(f"{error} ({taken})") from None
        self.column, self.columns = reading.column, reading.columns
        usual = ("text", *preferred)
        guessed = self.kind == "csv" and header and column is None and self.column not in usual
        if guessed and not input_kind.is_header(self.column):
            warn(
                f"line 1 of {self.name} is taken for the header, and looks like a row: {self.column[:60]!r}; pass "
                "--no-header if it is one, or name the column with --column"
            )
        self._share = None if reading.share(0) is None else 0.0
        self._reading = None if self._rereadable else reading  # a pipe gives its first rows once
        if self._rereadable:
            reading.close()

    def first_block(self, count: int) -> RowBlock:
        """The first rows, or as many as stand before a broken one; `blocks` gives them all the same."""
        faults = list[TextError]()
        reading = self._open() if self._reading is None else self._reading
        rows = list(islice(_up_to_fault(reading.rows, faults), count))
        if self._rereadable:
            reading.close()
        else:
            self._reading = reading._replace(rows=chain(rows, _raised(faults), reading.rows))
        texts, cells = zip(*rows, strict=True) if rows else ((), ())
        columns = reading.columns or ("record",)
        table = formats.of_batches(cells) if self.kind == "parquet" else formats.of_strings(columns, cells)
        return RowBlock(0, 0, list(texts), table, self.kind)

    def blocks(
        self, *, rows: int = 2048, characters: int = 250_000, up_to_fault: bool = False
    ) -> Iterator[RowBlock]:
        """Every row in order, in blocks whose borders depend on nothing but the content.

        rows         a block closes after so many rows
        characters   or once its texts hold so many characters, so that it exceeds them by less
                     than its last text
        up_to_fault  give the rows between the last border and a broken row too, as a shorter block; a
                     mended file then has another block in its place

        A file can be read again and gives the same blocks; a pipe raises SettingError.
        Raises TextError at the first row that is broken, after the blocks before it.
        """
        if min(rows, characters) < 1:
            raise SettingError(f"a block of {rows} rows and {characters} characters holds nothing; use 1 or more")
        reading, self._reading = self._reading, None
        if reading is None and not self._rereadable:
            raise SettingError(f"{self.name} is a pipe and was read already; save it to a file to read it again")
        return self._blocks(reading, rows, characters, up_to_fault)

    @property
    def rereadable(self) -> bool:
        """Whether it is a file, whose rows can be read again."""
        return self._rereadable

    @property
    def settings(self) -> dict[str, object]:
        """How the source is read, for the record of a run: whatever of it was said and whatever was found."""
        how: dict[str, object] = {"input format": self.kind, "column": self.column}
        return how | ({"delimiter": self._delimiter, "header": self._header} if self.kind == "csv" else {})

    def share(self) -> float | None:
        """How much of the source has been read, from 0 to 1; None for a pipe of lines.

        Counted in bytes before decompression, or in rows for Parquet, when a block is handed out.
        """
        return self._share

    def _blocks(
        self, opened: "_Reading | None", rows: int, characters: int, up_to_fault: bool
    ) -> Iterator[RowBlock]:
        first_row, faults = 0, list[TextError]()
        with closing(opened or self._open()) as reading:
            columns = reading.columns or ("record",)
            sound_rows = _up_to_fault(reading.rows, faults) if up_to_fault else reading.rows
            blocks = groups(sound_rows, rows=rows, characters=characters, size=lambda row: len(row[0]))
            for number, block in enumerate(blocks):
                texts, cells = zip(*block, strict=True)
                self._share = reading.share(first_row + len(texts))
                table = formats.of_batches(cells) if self.kind == "parquet" else formats.of_strings(columns, cells)
                yield RowBlock(number, first_row, list(texts), table, self.kind)
                first_row += len(texts)
                del block, texts, cells, table  # not kept while the next block is read
            if faults:
                raise faults[0]
            self._share = reading.share(first_row)

    def _checked_kind(self, kind: formats.Kind | None, suffix: str) -> formats.Kind:
        known = get_args(formats.Kind)
        if kind is not None and kind not in known:
            raise SettingError(f"no input format {kind!r}{_known(kind, known, 'Formats')}")
        if kind is not None or self._path is None:
            return kind or "text"
        if suffix not in formats.SUFFIXES:
            raise SettingError(
                f"{self.name} ends in none of {listed(tuple(formats.SUFFIXES))}, with or without "
                f"{listed(tuple(formats.DECOMPRESS))}; say what it holds with --input-format, as one of "
                f"{listed(known)}"
            )
        return formats.SUFFIXES[suffix]

    def _open(self) -> "_Reading":
        """Open the source at its start, and read as far as the first row."""
        with ExitStack() as stack:
            raw = sys.stdin.buffer if self._path is None else stack.enter_context(self._path.open("rb"))
            bytes_in_all = self._path.stat().st_size if self._path is not None and self._rereadable else None
            if bytes_in_all == 0:
                raise TextError(f"{self.name} is empty (0 bytes); give a file with at least one row")
            stream = formats.unpacked(stack, raw, self._packed)
            if self._path is None or self._by_content:
                stream = self._unpacked(stack, stream)
            if self.kind != "parquet":
                stream = self._as_utf8(stream)
            if self._by_content:
                head, stream = input_kind.peeked(stream)
                found = input_kind.told(head, self.name, column=self._column)
                self.kind, self._delimiter, self._by_content = found.kind, found.delimiter, False
            is_parquet = self.kind == "parquet"
            if is_parquet and (stream is not raw or not self._rereadable):
                stream = formats.spooled(stack, stream, self.name)
            read = {"parquet": self._read_parquet, "csv": self._read_csv, "jsonl": self._read_json_lines}
            reading = read.get(self.kind, self._read_plain)(stream)
            if bytes_in_all is not None and not is_parquet:
                reading = reading._replace(share=lambda _: min(raw.tell() / bytes_in_all, 1.0))
            first = next(reading.rows, None)
            if first is None:
                raise TextError(f"{self.name} {NO_ROWS[self.kind]}; give it at least one row")
            return reading._replace(rows=chain([first], reading.rows), close=stack.pop_all().close)

    def _unpacked(self, stack: ExitStack, stream: IO[bytes]) -> IO[bytes]:
        """The bytes of a stream, unpacked where their beginning says so; Parquet is told by it too."""
        with formats.undamaged(self.name):
            head, stream = input_kind.peeked(stream)
            if self._packed is None and (packed := input_kind.packing(head)) is not None:
                self._packed = packed
                head, stream = input_kind.peeked(formats.unpacked(stack, stream, packed))
        if self._by_content and head.startswith(input_kind.PARQUET):
            self.kind, self._by_content = "parquet", False
        return stream

    def _as_utf8(self, stream: IO[bytes]) -> IO[bytes]:
        """The text of a stream in UTF-8, with line feeds where lines end."""
        if self._form is None:
            again = partial(formats.opened, self._path, self._packed) if self._path and self._rereadable else None
            quotes = self.kind == "csv"
            self._form, stream = form_told(again, stream, self.name, encoding=self._encoding, quotes=quotes)
        return self._form.applied(stream, self.name)

    def _read_plain(self, stream: IO[bytes]) -> "_Reading":
        columns = ("text",)
        lines = map(formats.without_end, formats.read_lines(stream, self.name))
        return _Reading(columns, self._text_column(columns, columns), ((text, (text,)) for text in lines))

    def _read_csv(self, stream: IO[bytes]) -> "_Reading":
        lines = formats.read_lines(stream, self.name)
        said = self._delimiter
        columns, rows, self._delimiter = formats.read_csv(
            lines, self.name, said, usual=self._usual, header=self._header
        )
        if not columns:
            raise TextError(f"{self.name} is empty; a CSV needs a header, then at least one row")
        mark = next((mark for mark in ",;\t|" if mark in columns[0]), None)
        if self._column is None and said is None and len(columns) == 1 and mark is not None:
            raise SettingError(
                f"{self.name} has one column, {columns[0]!r}, that looks parted by {mark!r}; "
                f"pass --delimiter {mark!r}, or --column {columns[0]!r} if it is one column"
            )
        column = self._text_column(columns, columns)
        place, header = columns.index(column), list(columns)

        def texts() -> Iterator[tuple[str, list[str]]]:
            again = False
            for line, cells in rows:
                if cells == header and not again:
                    again = True
                    warn(
                        f"{self.name}, line {line} is the header once more, and is read as a row; if files were "
                        "put together there, remove it"
                    )
                yield cells[place], cells

        return _Reading(columns, column, texts())

    def _read_json_lines(self, stream: IO[bytes]) -> "_Reading":
        records = formats.read_json_lines(formats.read_lines(stream, self.name), self.name)
        first = next(records, None)
        if first is None:
            raise TextError(f"{self.name} {NO_ROWS['jsonl']}; give it at least one JSON object, each on its line")
        likely = [key for key, value in first[2].items() if value is None or isinstance(value, str)]
        column = self._text_column(tuple(first[2]), likely)

        def rows() -> Iterator[tuple[str, tuple[str]]]:
            for where, raw, record in chain([first], records):
                if column not in record:
                    raise TextError(
                        f"{where}: the record has no key {column!r}, which held the text in the first one"
                    )
                yield self._text_of(record[column], where), (raw,)

        return _Reading(None, column, rows())

    def _read_parquet(self, stream: IO[bytes]) -> "_Reading":
        file, schema, names, rows_in_all = formats.open_parquet(stream, self.name)
        columns = formats.distinct(self.name, names)
        strings = [field.name for field in schema if formats.holds_strings(field.type)]
        column = self._text_column(columns, strings)
        if column not in strings and not (self._lists and pa.types.is_list(schema.field(column).type)):
            raise TextError(
                f"{self.name}: column {column!r} is {schema.field(column).type}, not string; cast it to string"
            )

        def validated(batch: pa.RecordBatch) -> pa.RecordBatch:
            batch.validate(full=True)  # Parquet is not obliged to hold UTF-8 where it says string
            return batch

        def rows() -> Iterator[tuple[str, tuple[pa.RecordBatch, int]]]:
            for before, batch in formats.read_parquet(file, self.name, validated):
                for place, value in enumerate(batch.column(column)):
                    yield self._text_of(value.as_py(), f"{self.name}, row {before + place + 1}"), (batch, place)

        return _Reading(columns, column, rows(), share=lambda done: done / max(rows_in_all, 1))

    def _text_of(self, value: object, where: str) -> str:
        is_list = self._lists and isinstance(value, list)
        return _sound(json.dumps(value, ensure_ascii=False) if is_list else value, where)

    def _text_column(self, columns: Sequence[str], likely: Sequence[str]) -> str:
        """The column that was named; else `text`; else the only one that is `likely` to hold texts."""
        if self._column is not None:
            if (column := column_named(self._column, columns)) is not None:
                return column
            name = self._column
            raise SettingError(f"{self.name} has no column {name!r}{_known(name, columns, 'Columns')}")
        for usual in (*self._preferred, "text"):
            if (column := column_named(usual, columns)) is not None:
                return column
        if len(likely) == 1:
            return likely[0]
        raise SettingError(
            f"{self.name} has no column 'text', and no other is the only one it could be; "
            f"name one with --column. Columns: {listed(columns)}"
        )


class _Reading(NamedTuple):
    """A source that stands open."""

    columns: tuple[str, ...] | None
    column: str
    rows: Iterator[tuple[str, Any]]  # each text, and the strings of its row; for Parquet its batch and place there
    share: Callable[[int], float | None] = lambda _: None  # from the rows handed out so far
    close: Callable[[], None] = lambda: None


def _up_to_fault(rows: Iterator[tuple[str, Any]], faults: list[TextError]) -> Iterator[tuple[str, Any]]:
    """The rows before a broken one, whose fault is kept for later."""
    try:
        yield from rows
    except TextError as fault:
        faults.append(fault)


def _raised(faults: Sequence[TextError]) -> Iterator[tuple[str, Any]]:
    """No rows, but the fault that was kept, if there is one."""
    if faults:
        raise faults[0]
    yield from ()


def _sound(value: object, where: str) -> str:
    """The text in `value`, "" for null; refuses what no tokenizer or writer could take."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TextError(
            f"{where}: the text is {formats.JSON_NAMES[type(value)]}, not a string; put quotes around it"
        )
    if "\0" in value:
        raise TextError(f"{where}: the text holds a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{where}: the text holds half a character, \\u{ord(value[error.start]):04x}; "
            "remove it, or write the pair of surrogates that it was cut from"
        ) from None
    return value


def _known(name: str, known: Sequence[str], noun: str) -> str:
    """What a refusal adds to a wrong name: the nearest one, and those that are known."""
    return f"{nearest(name, known) or '.'} {noun}: {listed(known)}"
