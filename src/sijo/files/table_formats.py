"""Plain lines, CSV and JSON Lines: one reader for each, which tells what is wrong and where.

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
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from sijo.errors import TextError
from sijo.files.limits import LONGEST_ROW, RowMeter, check_values, too_long
from sijo.files.reading.unpacking import open_xz

StreamKind = Literal["text", "csv", "jsonl", "parquet"]
Kind = Literal[StreamKind, "json", "xlsx"]

STREAMS: dict[str, StreamKind] = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The suffixes of streams of rows."""
SUFFIXES: dict[str, Kind] = {**STREAMS, ".json": "json", ".xlsx": "xlsx"}
"""Those of all that is read."""
FROM_END = ("parquet", "xlsx")
"""What is no text, and has its table of contents at its end."""
DECOMPRESS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": open_xz,
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
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, pa.ArrowException, UnicodeDecodeError)
"""What decompression, or a reader of Parquet, raises over bytes that are not as they were written."""


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


def read_lines(stream: IO[bytes], name: str, longest: int = LONGEST_ROW) -> Iterator[str]:
    """Lines of UTF-8 with their ends kept; a mark at the start is dropped.

    longest  bytes of a line, at most: no more is read of a longer one
    """
    with undamaged(name):
        # bytes part only at b"\n", never at U+2028 or a form feed
        for number, raw in enumerate(iter(partial(stream.readline, longest + 1), b""), 1):
            if len(raw) > longest:
                raise too_long(f"{name}, line {number}", longest)
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
    lines: Iterator[str],
    name: str,
    delimiter: str | None,
    *,
    usual: str = ",",
    header: bool = True,
    longest: int = LONGEST_ROW,
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]], str]:
    """The columns of a CSV, none where it is empty; its rows, each with the line on which it starts; its delimiter.

    delimiter  what parts fields; None for what a first line for Excel says, or else the `usual`
    header     whether line 1 names the columns; else they are column_1, column_2, …
    longest    characters of a row, at most
    """
    first_line = next(lines, "")
    told = separator_of(first_line)
    delimiter = delimiter or told or usual
    left = lines if told else chain([first_line] if first_line else [], lines)
    columns, rows = _columns_of(_csv_rows(left, name, delimiter, 1 + bool(told), longest), name, header=header)
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


def _csv_rows(
    lines: Iterator[str], name: str, delimiter: str, first_line: int, longest: int
) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that is not blank, with the line on which it starts; the header is the first."""
    csv.field_size_limit(max(csv.field_size_limit(), longest))  # the csv module's own is 131,072
    line, columns = first_line, 0
    meter = RowMeter(lambda: f"{name}, line {line}", delimiter, longest)
    reader = csv.reader(map(meter.add, lines), delimiter=delimiter, strict=True)
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
            meter.begin()
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]  # what follows speaks of Python's open()
        if reason == "unexpected end of data":
            reason = "a quote is not closed by the end"
        raise TextError(
            f"{name}, line {line}: the row that starts here is not CSV ({reason}); put quotes around "
            "a field that holds quotes or line ends, and double the quotes inside it"
        ) from None


def distinct(name: str, header: Sequence[str]) -> tuple[str, ...]:
    """The names of columns; TextError when two are the same."""
    known = set[str]()
    for column in header:
        if column in known:
            raise TextError(f"{name}: the header names {column!r} twice; give each column its own name")
        known.add(column)
    return tuple(header)


def read_json_lines(lines: Iterator[str], name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each record that is not blank: where it is, its raw text, and what that means."""
    remedy = "JSON Lines has one object on each line; an array of objects is .json (--input-format json)"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where, raw = f"{name}, line {number}", without_end(line)
        check_values(raw, where)
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


def of_strings(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    """Rows of strings as a table."""
    arrays = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(columns))


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
