"""Rows with one text each, read in order from a file or a pipe, in memory bounded by a block.

Plain lines, CSV, JSON Lines and Parquet become the same thing here: blocks of texts beside the
input columns as they were given, so that a caller can write them out again unchanged. What is
wrong with a file is told with its line, and as much of it as can be is told before a model loads.
What the texts are for, and how results are written, belongs elsewhere.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from sijo.errors import SettingError, TextError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "csv", "jsonl", "parquet"]

SUFFIXES: dict[str, Kind] = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def _unzstd(packed: IO[bytes]) -> io.BufferedReader:
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd"))


DECOMPRESS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _unzstd,
}
OTHER_ENCODINGS = (  # by the mark at the start; UTF-32 first, since one of its marks begins with UTF-16's
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
JSON_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
NO_ROWS = {
    "text": "is empty",
    "csv": "has a header but no rows",
    "jsonl": "has no records",
    "parquet": "has no rows",
}
LONGEST_FIELD = 100_000_000  # characters; an unclosed quote would otherwise swallow the rest of the file
PARQUET_ROWS = 64  # decoded at once; more is hardly faster, and 64 long documents still fit in memory


@dataclass(frozen=True)
class RowBlock:
    """Some rows that stand next to each other: their texts, and every column they came with."""

    number: int
    """0, 1, 2, … in reading order."""
    first_row: int
    """How many rows stand before it."""
    texts: list[str]
    """The text column, with "" where a value is null."""
    columns: "pa.Table"
    """Every input column as it was read. CSV is all strings (007 stays 007), Parquet keeps its
    types, plain text is one column `text`, JSON Lines one column `record` of raw objects."""
    kind: Kind
    """What the rows were read from."""

    def values(self, name: str) -> list[object]:
        """Another input column, as Python values, one for each text.

        In JSON Lines a record without the key `name` gives None.
        Raises SettingError when no row of the block has the column.
        """
        if self.kind == "jsonl":
            records = [json.loads(raw) for raw in self.columns["record"].to_pylist()]
            known = tuple(dict.fromkeys(chain.from_iterable(records)))
            if name in known:
                return [record.get(name) for record in records]
        else:
            known = tuple(self.columns.column_names)
            if name in known:
                return list(self.columns[name].to_pylist())
        raise SettingError(f"no column {name!r}{_others(name, known, 'Columns')}")


class TextTable:
    """A file, or standard input, of rows with one text each.

    source     a path, or "-" for standard input; .gz, .bz2, .xz and .zst are decompressed on the way
    kind       what it holds; by default told from the suffix, and plain text for "-"
    column     where the text is; by default `text`, else the only column (of strings)
    delimiter  what parts the fields of a CSV; by default a comma, or a tab for .tsv

    The text is UTF-8. Plain text has a row for every line, blank ones too, and lines end only at
    a line feed. In CSV and JSON Lines a blank line is no row; an empty text in a CSV of one column is
    written as two quotes.

    Raises SettingError for a path, kind, column or delimiter that will not do, and TextError for
    a source without rows or whose header or first row is broken. Later rows are checked as read.
    """

    kind: Kind
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
        kind: Kind | None = None,
        column: str | None = None,
        delimiter: str | None = None,
    ) -> None:
        self._path = None if str(source) == "-" else Path(source)
        self.name = "standard input" if self._path is None else str(self._path)
        if self._path is None and sys.stdin is None:
            raise SettingError("standard input is closed; name a file, or send the text through a pipe")
        if self._path is not None:
            _must_be_readable(self._path)
        suffix, self._packed = ("", None) if self._path is None else ending(self._path)
        self.kind = self._kind(kind, suffix)
        self._delimiter = self._delimit(delimiter, suffix)
        self._guessed = delimiter is None
        self._rereadable = self._path is not None and self._path.is_file()
        self._asked = column

        reading = self._open()
        self.column, self.columns = reading.column, reading.columns
        self._share = None if reading.share(0) is None else 0.0
        self._reading: _Reading | None = None
        if self._rereadable:
            reading.close()
        else:
            self._reading = reading  # a pipe gives its first rows once

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

    def share(self) -> float | None:
        """How much of the source has been read, from 0 to 1; None for a pipe of lines.

        Counted in bytes before decompression, or in rows for Parquet, when a block is handed out.
        """
        return self._share

    def _blocks(
        self, begun: "_Reading | None", rows: int, characters: int, up_to_fault: bool
    ) -> Iterator[RowBlock]:
        reading = begun or self._open()
        number, first_row, held = 0, 0, 0
        texts: list[str] = []
        kept: list[Any] = []

        def block() -> RowBlock:
            self._share = reading.share(first_row + len(texts))
            return RowBlock(number, first_row, texts, reading.table(kept), self.kind)

        try:
            for text, cells in reading.rows:
                texts.append(text)
                kept.append(cells)
                held += len(text)
                if len(texts) >= rows or held >= characters:
                    yield block()
                    number, first_row, held = number + 1, first_row + len(texts), 0
                    texts, kept = [], []
            if texts:
                yield block()
            self._share = reading.share(first_row + len(texts))
        except TextError:
            if up_to_fault and texts:
                yield block()
            raise
        finally:
            reading.close()

    def _kind(self, given: Kind | None, suffix: str) -> Kind:
        known = get_args(Kind)
        if given is not None and given not in known:
            raise SettingError(f"no input format {given!r}{_others(given, known, 'Formats')}")
        if given is not None:
            return given
        if self._path is None:
            return "text"
        if suffix not in SUFFIXES:
            raise SettingError(
                f"{self.name} ends in none of {_listed(tuple(SUFFIXES))}, with or without "
                f"{_listed(tuple(DECOMPRESS))}; say what it holds with --input-format, as one of "
                f"{_listed(known)}"
            )
        return SUFFIXES[suffix]

    def _delimit(self, given: str | None, suffix: str) -> str:
        if given is None:
            return "\t" if suffix == ".tsv" else ","
        if self.kind != "csv":
            raise SettingError(f"{self.name} is read as {self.kind}, which has no delimiter; leave --delimiter out")
        delimiter = "\t" if given == "\\t" else given  # what a shell makes of '\t'
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise SettingError(
                f"delimiter {given!r} must be one character, not a quote or line end; try ';' or '\\t'"
            )
        return delimiter

    def _open(self) -> "_Reading":
        """Open the source at its start, and read as far as the first row."""
        with ExitStack() as stack:
            raw = sys.stdin.buffer if self._path is None else stack.enter_context(self._path.open("rb"))
            bytes_in_all = self._path.stat().st_size if self._path is not None and self._rereadable else None
            if bytes_in_all == 0:
                raise TextError(f"{self.name} is empty (0 bytes); give a file with at least one row")
            stream: IO[bytes] = stack.enter_context(DECOMPRESS[self._packed](raw)) if self._packed else raw
            if self.kind == "parquet":
                if self._packed or not self._rereadable:  # Parquet starts reading at the end
                    stream = _spooled(stream, stack.enter_context(tempfile.TemporaryFile()), self.name)
                reading = _read_parquet(stream, self.name, self._asked)
            else:
                lines = _lines(stream, self.name)
                if self.kind == "text":
                    reading = _read_text(lines, self.name, self._asked)
                elif self.kind == "csv":
                    reading = _read_csv(lines, self.name, self._asked, self._delimiter, guessed=self._guessed)
                else:
                    reading = _read_jsonl(lines, self.name, self._asked)
                if bytes_in_all is not None:
                    reading = reading._replace(share=lambda _: min(raw.tell() / bytes_in_all, 1.0))
            first = next(reading.rows, None)
            if first is None:
                raise TextError(f"{self.name} {NO_ROWS[self.kind]}; give it at least one row")
            return reading._replace(rows=chain([first], reading.rows), close=stack.pop_all().close)


class _Reading(NamedTuple):
    """A source that stands open."""

    columns: tuple[str, ...] | None
    column: str
    rows: Iterator[tuple[str, Any]]  # each text, and whatever `table` needs to give its row back
    table: Callable[[list[Any]], "pa.Table"]
    share: Callable[[int], float | None] = lambda _: None  # from the rows handed out so far
    close: Callable[[], None] = lambda: None


def _read_text(lines: Iterator[str], name: str, asked: str | None) -> _Reading:
    columns = ("text",)
    rows = ((text, (text,)) for text in map(_without_end, lines))
    return _Reading(columns, _text_column(name, asked, columns, columns), rows, _strings(columns))


def _read_csv(lines: Iterator[str], name: str, asked: str | None, delimiter: str, *, guessed: bool) -> _Reading:
    records = _csv_records(lines, name, delimiter)
    _, header = next(records, (0, []))
    if not header:
        raise TextError(f"{name} is empty; a CSV needs a header, then at least one row")
    columns = _distinct(name, header)
    other = next((mark for mark in ",;\t|" if mark in columns[0]), None)
    if asked is None and guessed and len(columns) == 1 and other is not None:
        raise SettingError(
            f"{name} has one column, {columns[0]!r}, that looks parted by {other!r}; "
            f"pass --delimiter {other!r}, or --column {columns[0]!r} if it is one column"
        )
    column = _text_column(name, asked, columns, columns)
    place = columns.index(column)

    def rows() -> Iterator[tuple[str, list[str]]]:
        for line, cells in records:
            if len(cells) != len(columns):
                raise TextError(
                    f"{name}, line {line}: the number of fields is {len(cells)}, but {len(columns)} in the "
                    f"header; make them the same, with quotes around a field that holds {delimiter!r}"
                )
            yield cells[place], cells

    return _Reading(columns, column, rows(), _strings(columns))


def _csv_records(lines: Iterator[str], name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that is not blank, with the line on which it starts."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))  # the csv module's own is 131,072
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error).partition(" - ")[0]  # what follows speaks of Python's open()
            if reason == "unexpected end of data" or "field limit" in reason:
                reason = f"a quote is not closed by the end or within {LONGEST_FIELD:,} characters"
            raise TextError(
                f"{name}, line {line}: the row that starts here is not CSV ({reason}); put quotes around "
                "a field that holds quotes or line ends, and double the quotes inside it"
            ) from None
        if cells:
            yield line, cells


def _read_jsonl(lines: Iterator[str], name: str, asked: str | None) -> _Reading:
    records = _json_records(lines, name)
    first = next(records, None)
    if first is None:
        raise TextError(f"{name} {NO_ROWS['jsonl']}; give it at least one JSON object, each on its line")
    likely = [key for key, value in first[2].items() if value is None or isinstance(value, str)]
    column = _text_column(name, asked, tuple(first[2]), likely)

    def rows() -> Iterator[tuple[str, tuple[str]]]:
        for where, raw, record in chain([first], records):
            if column not in record:
                raise TextError(f"{where}: the record has no key {column!r}, which held the text in the first one")
            yield _sound(record[column], where), (raw,)

    return _Reading(None, column, rows(), _strings(("record",)))


def _json_records(lines: Iterator[str], name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each record that is not blank: where it is, its raw text, and what that means."""
    remedy = "JSON Lines has one object on each line; `jq -c` makes them from other JSON"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where, raw = f"{name}, line {number}", _without_end(line)
        try:
            record = json.loads(raw)
        except json.JSONDecodeError as error:
            raise TextError(f"{where} is not JSON ({error.msg}, character {error.pos + 1}); {remedy}") from None
        except RecursionError:
            raise TextError(f"{where} is nested too deeply to be read; flatten the record") from None
        except ValueError as error:  # a number of more digits than Python converts
            raise TextError(f"{where} cannot be read: {error}") from None
        if not isinstance(record, dict):
            raise TextError(f"{where} is {JSON_NAMES.get(type(record), 'null')}, not an object; {remedy}")
        yield where, raw, record


def _read_parquet(stream: IO[bytes], name: str, asked: str | None) -> _Reading:
    import pyarrow as pa
    import pyarrow.parquet

    damage = (pa.ArrowException, UnicodeDecodeError)
    with _undamaged(name, *damage):
        # unbuffered, a whole row group would be fetched at once, and one may be the whole file
        file = pa.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        schema, rows_in_all = file.schema_arrow, file.metadata.num_rows
        names = schema.names  # may be damaged too
    columns = _distinct(name, names)
    strings = [field.name for field in schema if _holds_strings(field.type)]
    column = _text_column(name, asked, columns, strings)
    if column not in strings:
        raise TextError(f"{name}: column {column!r} is {schema.field(column).type}, not string; cast it to string")

    def rows() -> Iterator[tuple[str, tuple["pa.RecordBatch", int]]]:
        batches, before = file.iter_batches(PARQUET_ROWS), 0
        while True:
            with _undamaged(f"{name}, after row {before},", *damage):
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)  # Parquet is not obliged to hold UTF-8 where it says string
            for place, value in enumerate(batch.column(column)):
                yield _sound(value.as_py(), f"{name}, row {before + place + 1}"), (batch, place)
            before += len(batch)

    def table(cells: list[tuple["pa.RecordBatch", int]]) -> "pa.Table":
        runs = [list(run) for _, run in groupby(cells, key=lambda cell: id(cell[0]))]
        return pa.Table.from_batches([run[0][0].slice(run[0][1], len(run)) for run in runs])

    return _Reading(columns, column, rows(), table, share=lambda done: done / max(rows_in_all, 1))


def records(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a table as its fields, whatever they hold, with the words that say where it stands.

    path  .csv, .tsv, .jsonl or .parquet, compressed or not; or .json: one array of objects, one object, or lines

    CSV gives strings, the others what they hold. Raises SettingError for a path or ending that will not do and
    TextError for a broken row, as `TextTable` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "rows.jsonl").write_text('{"words": ["a", "b"]}')
    ...     [fields for _, fields in records(Path(place) / "rows.jsonl")]
    [{'words': ['a', 'b']}]
    """
    path = Path(path)
    _must_be_readable(path)
    suffix, packed = ending(path)
    kind = "json" if suffix == ".json" else SUFFIXES.get(suffix, "text")
    if kind == "text":
        known = (*(name for name, kind in SUFFIXES.items() if kind != "text"), ".json")
        raise SettingError(
            f"{path} holds no columns by its ending; give one of {_listed(known)}, with or without "
            f"{_listed(tuple(DECOMPRESS))}"
        )
    name = str(path)
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream: IO[bytes] = stack.enter_context(DECOMPRESS[packed](raw)) if packed else raw
        if kind == "parquet":
            if packed:
                stream = _spooled(stream, stack.enter_context(tempfile.TemporaryFile()), name)
            yield from _parquet_records(stream, name)
        elif kind == "csv":
            yield from _csv_fields(_lines(stream, name), name, "\t" if suffix == ".tsv" else ",")
        elif kind == "jsonl":
            yield from ((where, record) for where, _, record in _json_records(_lines(stream, name), name))
        else:
            yield from _whole_json(_lines(stream, name), name)


def _csv_fields(lines: Iterator[str], name: str, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = _csv_records(lines, name, delimiter)
    _, header = next(rows, (0, []))
    columns = _distinct(name, header)
    for line, cells in rows:
        if len(cells) != len(columns):
            raise TextError(
                f"{name}, line {line}: the number of fields is {len(cells)}, but {len(columns)} in the header; "
                f"make them the same, with quotes around a field that holds {delimiter!r}"
            )
        yield f"{name}, line {line}", dict(zip(columns, cells, strict=True))


def _parquet_records(stream: IO[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet

    with _undamaged(name, pa.ArrowException, UnicodeDecodeError):
        file = pa.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        batches, before = file.iter_batches(PARQUET_ROWS), 0
    while True:
        with _undamaged(f"{name}, after row {before},", pa.ArrowException, UnicodeDecodeError):
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        yield from ((f"{name}, row {before + place}", row) for place, row in enumerate(rows, 1))
        before += len(batch)


def _whole_json(lines: Iterator[str], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    text = "".join(lines)
    try:
        said = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise TextError(
                f"{name} is not JSON ({error.msg}, line {error.lineno}, character {error.colno}); mend it, or make "
                "it anew"
            ) from None
        lines = iter(text.splitlines(keepends=True))
        yield from ((where, record) for where, _, record in _json_records(lines, name))
        return
    for number, record in enumerate(said if isinstance(said, list) else [said], 1):
        if not isinstance(record, dict):
            raise TextError(f"{name}, record {number} is {JSON_NAMES.get(type(record), 'null')}, not an object")
        yield f"{name}, record {number}", record


def ending(path: Path) -> tuple[str, str | None]:
    """The suffix that tells what a file holds, and the one that tells how it is packed, in lower case.

    >>> ending(Path("Books.Part1.TXT.gz")), ending(Path("README"))
    (('.txt', '.gz'), ('', None))
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in DECOMPRESS else None
    return suffixes[-1] if suffixes else "", packed


def _holds_strings(kind: "pa.DataType") -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _strings(columns: tuple[str, ...]) -> Callable[[list[Sequence[str]]], "pa.Table"]:
    """What turns rows of strings into a table."""

    def table(rows: list[Sequence[str]]) -> "pa.Table":
        import pyarrow as pa

        arrays = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        return pa.Table.from_arrays(arrays, names=list(columns))

    return table


def _lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Lines of UTF-8 with their ends kept; a mark at the start is dropped."""
    with _undamaged(name):
        for number, raw in enumerate(stream, 1):  # bytes part only at b"\n", never at U+2028 or a form feed
            where = f"{name}, line {number}"
            for mark, encoding in OTHER_ENCODINGS if number == 1 else ():
                if raw.startswith(mark):
                    remedy = f"convert it with `iconv -f {encoding} -t utf-8`"
                    raise TextError(f"{name} is {encoding}, not UTF-8; {remedy}")
            try:
                line = raw.decode()
            except UnicodeDecodeError as error:
                raise TextError(
                    f"{where}: byte {error.start + 1} of the line, 0x{raw[error.start]:02x}, is not UTF-8; "
                    "convert the file, for example with `iconv -f latin1 -t utf-8`"
                ) from None
            if "\0" in line:
                raise TextError(f"{where} holds a NUL character; remove it, or convert the file if it is UTF-16")
            if number == 1:
                line = line.removeprefix("\ufeff")
            if line:
                yield line


@contextmanager
def _undamaged(name: str, *also: type[Exception]) -> Iterator[None]:
    """Tell what decompression, or one of `also`, stumbles over; what the disk says goes through."""
    damage: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError, OSError, *also)
    try:
        yield
    except damage as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise TextError(f"{name} is cut short or damaged ({reason}); copy it or make it again") from error


def _spooled(stream: IO[bytes], spool: IO[bytes], name: str) -> IO[bytes]:
    with _undamaged(name):
        shutil.copyfileobj(stream, spool)
    spool.seek(0)
    return spool


def _sound(value: object, where: str) -> str:
    """The text in `value`, "" for null; refuses what no tokenizer or writer could take."""
    if value is None:
        return ""
    if not isinstance(value, str):
        found = JSON_NAMES.get(type(value), "an object")
        raise TextError(f"{where}: the text is {found}, not a string; put quotes around it")
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


def _must_be_readable(path: Path) -> None:
    if not path.exists():
        beside = islice(path.parent.iterdir(), 10_000) if path.parent.is_dir() else ()
        raise SettingError(f"no file {str(path)!r}{nearest(path.name, [other.name for other in beside])}")
    if path.is_dir():
        raise SettingError(f"{path} is a folder; give one file in it, or the files one after another")


def _text_column(name: str, asked: str | None, columns: Sequence[str], likely: Sequence[str]) -> str:
    """The column that was asked for; else `text`; else the only one that is `likely` to hold texts."""
    if asked is not None and asked not in columns:
        raise SettingError(f"{name} has no column {asked!r}{_others(asked, columns, 'Columns')}")
    if asked is not None:
        return asked
    if "text" in columns:
        return "text"
    if len(likely) == 1:
        return likely[0]
    raise SettingError(
        f"{name} has no column 'text', and no other is the only one it could be; "
        f"name one with --column. Columns: {_listed(columns)}"
    )


def _distinct(name: str, header: Sequence[str]) -> tuple[str, ...]:
    for place, column in enumerate(header):
        if column in header[:place]:
            raise TextError(f"{name}: the header names {column!r} twice; give each column its own name")
    return tuple(header)


def _others(given: str, known: Sequence[str], noun: str) -> str:
    return f"{nearest(given, known) or '.'} {noun}: {_listed(known)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
