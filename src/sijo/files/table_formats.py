"""Plain lines, CSV, JSON Lines, JSON and Parquet: one reader for each, which tells what is wrong and where.

What the rows mean, texts or fields, is decided in `tables.py`.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import pyarrow as pa
from pyarrow import types

from sijo.errors import TextError

Kind = Literal["text", "csv", "jsonl", "parquet"]
Result = TypeVar("Result")

SUFFIXES: dict[str, Kind] = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


DECOMPRESS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda packed: io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")),
}
PACKED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
"""How each packer's bytes begin, and the suffix that stands for it."""
SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?', re.IGNORECASE)
"""A first line by which Excel is told what parts the fields of a CSV."""
JSON_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
LONGEST_FIELD = 100_000_000  # characters; an unclosed quote would otherwise swallow the rest of the file
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, pa.ArrowException, UnicodeDecodeError)
"""What decompression, or a reader of Parquet, raises over bytes that are not as they were written."""
PARQUET_ROWS = 64  # decoded at once; more is hardly faster, and 64 long documents still fit in memory


def ending(path: Path) -> tuple[str, str | None]:
    """The suffix that tells what a file holds, and the one that tells how it is packed, in lower case.

    >>> ending(Path("Books.Part1.TXT.gz")), ending(Path("README"))
    (('.txt', '.gz'), ('', None))
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in DECOMPRESS else None
    return suffixes[-1] if suffixes else "", packed


def unpacked(stack: ExitStack, raw: IO[bytes], packed: str | None) -> IO[bytes]:
    """The decompressed bytes of a stream, closed with the stack.

    packed  the suffix of the compression, or None
    """
    stream: IO[bytes] = stack.enter_context(DECOMPRESS[packed](raw)) if packed else raw
    return stream


@contextmanager
def opened(path: Path, packed: str | None) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file."""
    with ExitStack() as stack:
        yield unpacked(stack, stack.enter_context(path.open("rb")), packed)


def spooled(stack: ExitStack, stream: IO[bytes], name: str) -> IO[bytes]:
    """The bytes of a stream in a temporary file, which can be read from the end."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    with undamaged(name):
        shutil.copyfileobj(stream, file)
    file.seek(0)
    return file


def read_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Lines of UTF-8 with their ends kept; a mark at the start is dropped."""
    with undamaged(name):
        for number, raw in enumerate(stream, 1):  # bytes part only at b"\n", never at U+2028 or a form feed
            where = f"{name}, line {number}"
            try:
                line = raw.decode()
            except UnicodeDecodeError as error:
                packed = next(
                    (suffix for mark, suffix in PACKED.items() if number == 1 and raw.startswith(mark)), None
                )
                if packed is not None:
                    raise TextError(f"{name} is packed, as {packed} files are; let its name end so") from None
                raise TextError(
                    f"{where}: byte {error.start + 1} of the line, 0x{raw[error.start]:02x}, is not UTF-8; "
                    "mend it, or name the encoding of the whole file by --encoding"
                ) from None
            if "\0" in line:
                raise TextError(
                    f"{where} holds a NUL character; remove it, or say --encoding utf-16-le if it is that"
                )
            if number == 1:
                line = line.removeprefix("\ufeff")
            if line:
                yield line


def without_end(line: str) -> str:
    """A line without its line feed, and without a carriage return before that."""
    return line.removesuffix("\n").removesuffix("\r")


def separator_of(line: str) -> str | None:
    """What parts the fields of a CSV by a first line for Excel, which is no row; None for any other line.

    >>> separator_of("sep=;\\n"), separator_of("text;label\\n")
    (';', None)
    """
    told = SEPARATOR.fullmatch(without_end(line))
    return None if told is None else told[1]


def read_csv(
    lines: Iterator[str], name: str, delimiter: str | None, *, usual: str = ",", header: bool = True
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]], str]:
    """The columns of a CSV, none where it is empty; its rows, each with the line on which it starts; its delimiter.

    delimiter  what parts fields; None for what a first line for Excel says, or else the `usual`
    header     whether line 1 names the columns; else they are column_1, column_2, …
    """
    first_line = next(lines, "")
    told = separator_of(first_line)
    delimiter = delimiter or told or usual
    columns, rows = _columns_of(
        _csv_rows(
            lines if told else chain([first_line] if first_line else [], lines), name, delimiter, 1 + bool(told)
        ),
        name,
        header=header,
    )
    return columns, rows, delimiter


def _columns_of(
    rows: Iterator[tuple[int, list[str]]], name: str, *, header: bool
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    first = next(rows, None)
    if first is None:
        return (), rows
    if header:
        return distinct(name, first[1]), rows
    return tuple(f"column_{number}" for number in range(1, len(first[1]) + 1)), chain([first], rows)


def _csv_rows(lines: Iterator[str], name: str, delimiter: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that is not blank, with the line on which it starts; the header is the first."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))  # the csv module's own is 131,072
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line, columns = first_line, 0
    try:
        for cells in reader:
            columns = columns or len(cells)
            if cells and len(cells) != columns:
                raise TextError(
                    f"{name}, line {line}: the number of fields is {len(cells)}, but {columns} in the "
                    f"first line; make them the same, with quotes around a field that holds {delimiter!r}"
                )
            if cells:
                yield line, cells
            line = reader.line_num + first_line
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]  # what follows speaks of Python's open()
        if reason == "unexpected end of data" or "field limit" in reason:
            reason = f"a quote is not closed by the end or within {LONGEST_FIELD:,} characters"
        raise TextError(
            f"{name}, line {line}: the row that starts here is not CSV ({reason}); put quotes around "
            "a field that holds quotes or line ends, and double the quotes inside it"
        ) from None


def distinct(name: str, header: Sequence[str]) -> tuple[str, ...]:
    """The names of columns; TextError when two are the same."""
    for place, column in enumerate(header):
        if column in header[:place]:
            raise TextError(f"{name}: the header names {column!r} twice; give each column its own name")
    return tuple(header)


def read_json_lines(lines: Iterator[str], name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each record that is not blank: where it is, its raw text, and what that means."""
    remedy = "JSON Lines has one object on each line; `jq -c` makes them from other JSON"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where, raw = f"{name}, line {number}", without_end(line)
        try:
            record = json.loads(raw)
        except json.JSONDecodeError as error:
            raise TextError(f"{where} is not JSON ({error.msg}, character {error.pos + 1}); {remedy}") from None
        except RecursionError:
            raise TextError(f"{where} is nested too deeply to be read; flatten the record") from None
        except ValueError as error:  # a number of more digits than Python converts
            raise TextError(f"{where} cannot be read: {error}") from None
        if not isinstance(record, dict):
            raise TextError(f"{where} is {JSON_NAMES[type(record)]}, not an object; {remedy}")
        yield where, raw, record


def read_json(lines: Iterator[str], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a JSON file, each with where it is: one array of objects, one object, or JSON Lines."""
    text = "".join(lines)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise TextError(
                f"{name} is not JSON ({error.msg}, line {error.lineno}, character {error.colno}); mend it, or make "
                "it anew"
            ) from None
        records = read_json_lines(iter(text.splitlines(keepends=True)), name)
        yield from ((where, record) for where, _, record in records)
        return
    for number, record in enumerate(content if isinstance(content, list) else [content], 1):
        if not isinstance(record, dict):
            raise TextError(f"{name}, record {number} is {JSON_NAMES[type(record)]}, not an object")
        yield f"{name}, record {number}", record


def open_parquet(stream: IO[bytes], name: str) -> tuple[Any, pa.Schema, list[str], int]:
    """A Parquet file, its schema, the names of its columns, and the number of its rows."""
    from pyarrow.parquet import ParquetFile

    with undamaged(name):
        # unbuffered, a whole row group would be fetched at once, and one may be the whole file
        file = ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        return file, file.schema_arrow, file.schema_arrow.names, file.metadata.num_rows


def read_parquet(file: Any, name: str, read: Callable[[pa.RecordBatch], Result]) -> Iterator[tuple[int, Result]]:
    """What `read` makes of each batch of rows, and the number of rows before it; a fault it meets is told."""
    batches, before = file.iter_batches(PARQUET_ROWS), 0
    while True:
        with undamaged(f"{name}, after row {before},"):
            batch = next(batches, None)
            if batch is None:
                return
            result = read(batch)
        yield before, result
        before += len(batch)


def holds_strings(kind: pa.DataType) -> bool:
    """Whether a column of that type holds strings, in whatever layout."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def of_strings(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    """Rows of strings as a table."""
    arrays = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(columns))


def of_batches(cells: Sequence[tuple[pa.RecordBatch, int]]) -> pa.Table:
    """Rows of batches, each as its batch and place, as a table."""
    runs = [list(run) for _, run in groupby(cells, key=lambda cell: id(cell[0]))]
    return pa.Table.from_batches([run[0][0].slice(run[0][1], len(run)) for run in runs])


@contextmanager
def undamaged(name: str) -> Iterator[None]:
    """Tell what decompression, or a reader of Parquet, stumbles over; what the disk says goes through."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise TextError(f"{name} is cut short or damaged ({reason}); copy it or make it again") from error
