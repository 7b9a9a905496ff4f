"""Rows with one text each, read in order from a file or a pipe, in memory bounded by a block.

Plain lines, CSV, JSON Lines and Parquet become the same thing here: blocks of texts beside the
input columns as they were given, so that a caller can write them out again unchanged. What is
wrong with a file is told with its line, and as much of it as can be is told before a model loads.
What the texts are for, and how results are written, belongs elsewhere.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, get_args

import pyarrow as pa

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.files import limits
from sijo.files import table_formats as formats
from sijo.files.encodings.detect import form_told
from sijo.files.encodings.recode import TextForm
from sijo.files.inputs import input_kind
from sijo.files.inputs.columns import no_column, parted_at
from sijo.files.inputs.sources import TextReading, listed, readable, usual_delimiter
from sijo.files.reading import source
from sijo.files.reading.json_records import read_json
from sijo.files.reading.source import OpenRows
from sijo.names import column_named


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
    """What the rows were read from; for JSON that of JSON Lines, and for a sheet that of CSV."""

    def values(self, name: str, *, option: str = "") -> list[object]:
        """Another input column, as Python values, one for each text, named as `column_named` has it.

        option  what names another column, for the error

        In JSON Lines a record without the key `name` gives None.
        Raises SettingError when no row of the block has the column.
        """
        known, records = self.columns.column_names, []
        if self.kind == "jsonl":
            records = [json.loads(raw) for raw in self.columns["record"].to_pylist()]
            known = list(dict.fromkeys(chain.from_iterable(records)))
        column = column_named(name, known)
        if column is None:
            raise SettingError(no_column(name, known, kind=self.kind, instead=option))
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
    delimiter, header, encoding, sheet, longest_row   as `TextReading` has them
    called     what messages call it, where that is not the path

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
        sheet: str | None = None,
        longest_row: int = limits.LONGEST_ROW,
        called: str | None = None,
    ) -> None:
        self._preferred, self._lists, self._longest = preferred, lists, longest_row
        self._path = None if str(source) == "-" else Path(source)
        self.name = called or ("standard input" if self._path is None else str(self._path))
        if self._path is None and sys.stdin is None:
            raise SettingError("standard input is closed; name a file, or send the text through a pipe")
        if self._path is not None:
            self._path = readable(self._path)
        suffix, self._packed = ("", None) if self._path is None else formats.ending(self._path)
        if kind is None and (delimiter is not None or not header) and suffix in ("", ".txt"):
            kind = "csv"  # nothing else has a delimiter or a header
        self.kind = self._checked_kind(kind, suffix)
        said = TextReading(
            delimiter=delimiter, header=header, encoding=encoding, sheet=sheet, longest_row=longest_row
        ).checked(self.kind, self.name)
        self._header, self._delimiter, self._encoding, self._sheet = header, said.delimiter, said.encoding, sheet
        self._usual = usual_delimiter(suffix)
        self._form: TextForm | None = None
        self._rereadable = self._path is not None and self._path.is_file()
        self._column = column

        self._by_content = by_content = kind is None and self.kind == "text"
        try:
            opened = self._open()
        except (SettingError, TextError) as error:
            if not by_content or self.kind == "text":
                raise
            taken = f"{self.name} was taken for {self.kind} by its first lines; --input-format says otherwise"
            raise type(error)(f"{error} ({taken})") from None
        self.column, self.columns = opened.column, opened.columns
        usual = ("text", *preferred)
        guessed = self.kind == "csv" and header and column is None and self.column not in usual
        if guessed and not input_kind.is_header(self.column):
            warn(
                f"line 1 of {self.name} is taken for the header, and looks like a row: {self.column[:60]!r}; pass "
                "--no-header if it is one, or name the column with --column"
            )
        self._share = None if opened.share(0) is None else 0.0
        self._reading = None if self._rereadable else opened  # a pipe gives its first rows once
        if self._rereadable:
            opened.close()

    def first_block(self, count: int) -> RowBlock:
        """The first rows, or as many as stand before a broken one or fill a block; `blocks` gives all the same."""
        faults = list[TextError]()
        opened = self._open() if self._reading is None else self._reading
        rows = next(opened.groups(count, sys.maxsize, faults), [])
        if self._rereadable:
            opened.close()
        else:
            self._reading = opened._replace(rows=chain(rows, source.raised(faults), opened.rows))
        texts, cells = zip(*rows, strict=True) if rows else ((), ())
        return RowBlock(0, 0, list(texts), opened.table(cells), opened.kind)

    def blocks(
        self, *, rows: int = 2048, characters: int = 250_000, up_to_fault: bool = False
    ) -> Iterator[RowBlock]:
        """Every row in order, in blocks whose borders depend on nothing but the content.

        rows         a block closes after so many rows
        characters   or once its texts hold so many characters, so that it exceeds them by less
                     than its last text; and once all its columns take BLOCK_BYTES (`limits.py`)
        up_to_fault  give the rows between the last border and a broken row too, as a shorter block; a
                     mended file then has another block in its place

        A file can be read again and gives the same blocks; a pipe raises SettingError.
        Raises TextError at the first row that is broken, after the blocks before it.
        """
        if min(rows, characters) < 1:
            raise SettingError(f"a block of {rows} rows and {characters} characters holds nothing; use 1 or more")
        opened, self._reading = self._reading, None
        if opened is None and not self._rereadable:
            raise SettingError(f"{self.name} is a pipe and was read already; save it to a file to read it again")
        return self._blocks(opened, rows, characters, up_to_fault)

    @property
    def path(self) -> Path:
        """Where the rows are read; of a file alone."""
        assert self._path is not None
        return self._path

    @property
    def rereadable(self) -> bool:
        """Whether it is a file, whose rows can be read again."""
        return self._rereadable

    @property
    def size(self) -> int:
        """Its bytes; of a file alone."""
        return self.path.stat().st_size

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

    def _blocks(self, opened: OpenRows | None, rows: int, characters: int, up_to_fault: bool) -> Iterator[RowBlock]:
        first_row, faults = 0, list[TextError]()
        with closing(opened or self._open()) as source:
            for number, block in enumerate(source.groups(rows, characters, faults if up_to_fault else None)):
                texts, cells = zip(*block, strict=True)
                self._share = source.share(first_row + len(texts))
                yield RowBlock(number, first_row, list(texts), source.table(cells), source.kind)
                first_row += len(texts)
                del block, texts, cells  # not kept while the next block is read
            if faults:
                raise faults[0]
            self._share = source.share(first_row)

    def _checked_kind(self, kind: formats.Kind | None, suffix: str) -> formats.Kind:
        known = get_args(formats.Kind)
        if kind is not None and kind not in known:
            hint = nearest(kind, known) or "."
            raise SettingError(f"no input format {kind!r}{hint} Formats: {listed(known)}")
        if kind is not None or self._path is None:
            return kind or "text"
        if suffix not in formats.SUFFIXES:
            raise SettingError(
                f"{self.name} ends in none of {listed(tuple(formats.SUFFIXES))}, with or without "
                f"{listed(tuple(formats.DECOMPRESS))}; say what it holds with --input-format, as one of "
                f"{listed(known)}"
            )
        return formats.SUFFIXES[suffix]

    def _open(self) -> OpenRows:
        """Open the source at its start, and read as far as the first row."""
        with ExitStack() as stack:
            raw = sys.stdin.buffer if self._path is None else stack.enter_context(self._path.open("rb"))
            bytes_in_all = self._path.stat().st_size if self._path is not None and self._rereadable else None
            if bytes_in_all == 0:
                raise TextError(f"{self.name} is empty (0 bytes); give a file with at least one row")
            stream = formats.unpacked(stack, raw, self._packed)
            if self._path is None or self._by_content:
                stream = self._unpacked(stack, stream)
            if self.kind not in formats.FROM_END:
                stream = self._as_utf8(stream)
            if self._by_content:
                head, stream = input_kind.peeked(stream)
                found = input_kind.told(head, self.name, column=self._column)
                self.kind, self._delimiter, self._by_content = found.kind, found.delimiter, False
            from_end = self.kind in formats.FROM_END
            if from_end and (stream is not raw or not self._rereadable):
                stream = formats.spooled(stack, stream, self.name)
            read = {"text": self._read_plain, "csv": self._read_csv, "jsonl": self._read_json_lines}
            opened = read.get(self.kind, self._read_whole)(stream)
            if bytes_in_all is not None and not from_end:
                opened = opened._replace(share=lambda _: min(raw.tell() / bytes_in_all, 1.0))
            first = next(opened.rows, None)
            if first is None:
                raise TextError(f"{self.name} {source.NO_ROWS[self.kind]}; give it at least one row")
            return opened._replace(rows=chain([first], opened.rows), close=stack.pop_all().close)

    def _unpacked(self, stack: ExitStack, stream: IO[bytes]) -> IO[bytes]:
        """The bytes of a stream, unpacked where their beginning says so; what is no text is told by it too."""
        with formats.undamaged(self.name):
            head, stream = input_kind.peeked(stream)
            if self._packed is None and (packed := input_kind.packing(head)) is not None:
                self._packed = packed
                head, stream = input_kind.peeked(formats.unpacked(stack, stream, packed))
        if self._by_content and head.startswith((input_kind.PARQUET, input_kind.ZIP)):
            self.kind, self._by_content = input_kind.told(head, self.name, column=None).kind, False
        return stream

    def _as_utf8(self, stream: IO[bytes]) -> IO[bytes]:
        """The text of a stream in UTF-8, with line feeds where lines end."""
        if self._form is None:
            again = partial(formats.opened, self._path, self._packed) if self._path and self._rereadable else None
            quotes = self.kind == "csv"
            self._form, stream = form_told(again, stream, self.name, encoding=self._encoding, quotes=quotes)
        return self._form.applied(stream, self.name)

    def _read_plain(self, stream: IO[bytes]) -> OpenRows:
        columns = ("text",)
        lines = map(formats.without_end, formats.read_lines(stream, self.name, self._longest))
        return OpenRows(columns, self._text_column(columns, columns), ((text, (text,)) for text in lines))

    def _read_csv(self, stream: IO[bytes]) -> OpenRows:
        lines = formats.read_lines(stream, self.name, self._longest)
        said = self._delimiter
        columns, rows, self._delimiter = formats.read_csv(
            lines, self.name, said, usual=self._usual, header=self._header, longest=self._longest
        )
        if not columns:
            raise TextError(f"{self.name} is empty; a CSV needs a header, then at least one row")
        mark = parted_at(columns)
        if self._column is None and said is None and mark is not None:
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

        return OpenRows(columns, column, texts(), kind="csv")

    def _read_whole(self, stream: IO[bytes]) -> OpenRows:
        """What is no text of one row after another."""
        if self.kind == "parquet":
            return source.of_parquet(stream, self.name, self._longest, self._text_column, lists=self._lists)
        if self.kind == "xlsx":
            return source.of_sheet(stream, self.name, self._longest, self._text_column, self._sheet, self._column)
        records = read_json(stream, self.name, self._longest)
        return source.of_records(records, self.name, self.kind, self._text_column, lists=self._lists)

    def _read_json_lines(self, stream: IO[bytes]) -> OpenRows:
        lines = formats.read_lines(stream, self.name, self._longest)
        records = formats.read_json_lines(lines, self.name)
        return source.of_records(records, self.name, self.kind, self._text_column, lists=self._lists)

    def _text_column(self, columns: Sequence[str], likely: Sequence[str]) -> str:
        """The column that was named; else `text`; else the only one that is `likely` to hold texts."""
        if self._column is not None:
            if (column := column_named(self._column, columns)) is not None:
                return column
            raise SettingError(f"{self.name} has {no_column(self._column, columns, kind=self.kind)}")
        for usual in (*self._preferred, "text"):
            if (column := column_named(usual, columns)) is not None:
                return column
        if len(likely) == 1:
            return likely[0]
        raise SettingError(
            f"{self.name} has no column 'text', and no other is the only one it could be; "
            f"name one with --column. Columns: {listed(columns)}"
        )
