"""Answers written beside the rows they belong to, as CSV, tabs, JSON Lines, Parquet or a sheet of Excel's.

Any kind of input can become any kind of output, and keeps every column and value on the way. What
a format has no word for is spelled out in one that it has:

              CSV, TSV, XLSX             JSON Lines                 Parquet
null          an empty field             null                       null
NaN, infinity nan, inf                   null                       as it is
dates, times  ISO 8601 text              ISO 8601 text              as it is
decimals      digits, as text            digits, as text            as it is
bytes         base64                     base64                     as it is
lists, maps   JSON text                  arrays, objects            as it is
our numbers   six digits                 six digits                 as they are

A JSON record goes to JSON Lines as its very text, so that no digit or escape of it can change; only NaN and
Infinity, which Python reads there and JSON does not know, become null. In a
table each key becomes a column: in Parquet of the one type that holds all its values, or else of
JSON text. Where rows come from, and what survives a crash, belongs elsewhere.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import pyarrow as pa
from numpy.lib.format import write_array_header_1_0
from pyarrow import types

from sijo.errors import SettingError, TextError, nearest, not_installed
from sijo.files import table_formats as formats
from sijo.files.writing import workbook
from sijo.files.writing.cells import as_field, json_text, looks_like_formula, six_digits, values, writable

Format = Literal["csv", "tsv", "jsonl", "parquet", "xlsx", "npy"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
ARRAY = ".npy"
"""The suffix of an array of vectors alone, which a command must have."""
PREFIX = "predicted_"
NO_JSON = re.compile(r'"(?:[^"\\]|\\.)*+"|-?Infinity|NaN')
"""Strings, in which anything may stand, and the numbers that Python reads though JSON has no word for them."""
FOR_SPREADSHEETS: tuple[Format, ...] = ("csv", "tsv", "xlsx")
"""What spreadsheets open, and may take for formulas."""
ROW_GROUP_BYTES = 32 * 2**20  # held back until a Parquet row group is worth its overhead


def format_of(path: str | Path, *, arrays: bool = False, spreadsheet_safe: bool = False) -> Format:
    """The format that a path's suffix asks for.

    arrays            whether there are vectors, which can stand alone in a .npy
    spreadsheet_safe  whether a spreadsheet is to take none of its texts for a formula

    Raises SettingError for a suffix that none is written under, for one whose library is not installed, and for one
    that no spreadsheet opens where it is to be safe in one.

    >>> format_of("answers.ndjson"), format_of("vectors.npy", arrays=True)
    ('jsonl', 'npy')
    """
    suffix = Path(path).suffix.lower()
    formats: dict[str, Format] = {**SUFFIXES, ARRAY: "npy"} if arrays else SUFFIXES
    if suffix not in formats:
        raise SettingError(f"output '{path}' must end in one of {', '.join(formats)}{nearest(suffix, formats)}")
    if formats[suffix] == "xlsx" and find_spec("xlsxwriter") is None:
        raise not_installed(ModuleNotFoundError(name="xlsxwriter")) or AssertionError
    if spreadsheet_safe:
        must_be_for_spreadsheets(formats[suffix])
    return formats[suffix]


def must_be_for_spreadsheets(format: str) -> None:
    """Raise SettingError for a format that no spreadsheet takes for formulas."""
    if format not in FOR_SPREADSHEETS:
        raise SettingError(
            f"--spreadsheet-safe is about {', '.join(FOR_SPREADSHEETS)}, in which a spreadsheet may see formulas; "
            f"leave it out for {format}, whose texts are texts"
        )


def added_names(existing: Iterable[str], ours: Iterable[str]) -> dict[str, str]:
    """What each of our columns is called beside the input's, which keep their names.

    Raises SettingError when the input has taken the other name as well.

    >>> added_names(["text", "label"], ["label", "score"])
    {'label': 'predicted_label', 'score': 'score'}
    """
    existing = set(existing)
    names = {name: PREFIX + name if name in existing else name for name in ours}
    for name, chosen in names.items():
        if chosen in existing:
            raise SettingError(
                f"the input has columns {name!r} and {chosen!r}, which leaves no name for the answers; "
                f"rename {chosen!r}"
            )
    return names


class OutputRows(NamedTuple):
    """Rows that stand next to each other: the input's columns, and ours."""

    columns: pa.Table
    """Every input column as it was read; for JSON Lines one column `record` of raw objects."""
    added: pa.Table
    """Our columns, under their own names and of the same length."""
    kind: formats.Kind
    """What the rows were read from."""

    def records(self) -> list[dict[str, Any]]:
        """What the raw objects of JSON Lines mean."""
        return [json.loads(raw) for raw in self.columns["record"].to_pylist()]


@dataclass(frozen=True)
class ColumnPlan:
    """Which columns the output has, settled once so that every piece fits."""

    names: dict[str, str]
    """What each of our columns is called in the output."""
    keys: dict[str, str] | None
    """Each key of the JSON records in order of first sight, with the type that holds all its values:
    bool, int64, double, string, or json for JSON text. None where the input is a table."""

    @classmethod
    def of(cls, pieces: Iterable[OutputRows]) -> "ColumnPlan":
        """Settle it: from the first piece of a table, but from every record of JSON Lines.

        Raises SettingError when the input leaves one of our columns no name.
        """
        ours: list[str] = []
        holders: dict[str, set[str]] = {}
        for piece in pieces:
            ours = piece.added.column_names
            if piece.kind != "jsonl":
                return cls(added_names(piece.columns.column_names, ours), None)
            key_holders(piece, holders)
        keys = key_types(holders)
        return cls(added_names(keys, ours), keys)


def key_holders(piece: OutputRows, holders: dict[str, set[str]]) -> None:
    """Note each key of JSON records in order of first sight, with the types of columns that hold all its values."""
    for record in piece.records():
        for key, value in record.items():
            holders[key] = holders.get(key, {*FITS}) & _holders(value)


def key_types(holders: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Of the types that hold all values of a key, the first."""
    return {key: next(kind for kind in FITS if kind in kinds) for key, kinds in holders.items()}


class RowWriter:
    """Pieces written one after another to an open binary file, in memory bounded by a few of them.

    spreadsheet_safe  mark the texts that a spreadsheet may take for formulas: in CSV by an apostrophe before them
    scratch           a folder for what cannot be written in its place yet; the system's by default
    """

    def __init__(
        self, out: BinaryIO, plan: ColumnPlan, *, spreadsheet_safe: bool = False, scratch: Path | None = None
    ) -> None:
        self.out, self.plan = out, plan
        self.spreadsheet_safe, self.scratch = spreadsheet_safe, scratch

    def write(self, piece: OutputRows) -> None:
        """Write, or hold back until later, the rows of one more piece.

        Raises TextError when they do not fit the plan.
        """
        for line in self.lines(piece):
            self.out.write(line.encode())

    def lines(self, piece: OutputRows) -> Iterator[str]:
        """The piece as lines of text, each with its end."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what was held back; the file stays open."""


class FieldWriter(RowWriter):
    """A header, then a row of fields for each row."""

    begun = False

    def rows(self, piece: OutputRows) -> Iterator[Sequence[Any]]:
        """The fields of each row, before the first piece those of the header: None, numbers and strings."""
        if self.plan.keys is None:
            names = piece.columns.column_names
            columns = [_for_csv(column) for column in piece.columns.columns]
        else:
            names, records = list(self.plan.keys), _planned(piece, self.plan.keys)
            columns = [[record.get(name) for record in records] for name in names]
        if not self.begun:
            self.begun = True
            yield [self.field(name) for name in [*names, *self.plan.names.values()]]
        columns += [_shown(column, _for_csv(column), True) for column in piece.added.columns]
        for row in zip(*columns, strict=True):
            yield [self.field(value) for value in row]

    def field(self, value: object) -> Any:
        """A value as it stands in a field."""
        return as_field(value)


class CsvWriter(FieldWriter):
    """Commas between fields, and a line feed behind each row."""

    delimiter = ","

    def lines(self, piece: OutputRows) -> Iterator[str]:
        # a writer whose own line end is "\n" leaves "\r" unquoted, and readers would break the row there
        lines: list[str] = []
        table = csv.writer(_Sink(lines.append), delimiter=self.delimiter, lineterminator="\r\n")
        table.writerows(self.rows(piece))
        return (line.removesuffix("\r\n") + "\n" for line in lines)

    def field(self, value: object) -> Any:
        own = super().field(value)
        return f"'{own}" if self.spreadsheet_safe and looks_like_formula(own) else own


class TsvWriter(CsvWriter):
    """The same with tabs between fields."""

    delimiter = "\t"


class WorkbookWriter(FieldWriter):
    """A workbook of Excel's of one sheet, whole when it is closed."""

    sheet: workbook.WrittenSheet | None = None
    count = 0

    def write(self, piece: OutputRows) -> None:
        must_fit("xlsx", piece, self.count)
        self.count += piece.added.num_rows
        self.sheet = self.sheet or self._sheet()
        for row in self.rows(piece):
            self.sheet.write(row)

    def field(self, value: object) -> Any:
        return value if isinstance(value, bool) else super().field(value)

    def close(self) -> None:
        (self.sheet or self._sheet()).close()

    def _sheet(self) -> workbook.WrittenSheet:
        return workbook.WrittenSheet(self.out, scratch=self.scratch, quotes_formulas=self.spreadsheet_safe)


class JsonlWriter(RowWriter):
    """A JSON object for each row, the input's keys before ours."""

    def lines(self, piece: OutputRows) -> Iterator[str]:
        ours = _objects(piece.added.rename_columns(list(self.plan.names.values())), shorten=True)
        if self.plan.keys is None:
            theirs = _objects(piece.columns)
        else:
            taken = set(self.plan.names.values())
            for record in piece.records():
                if clash := taken & record.keys():
                    raise TextError(
                        f"a record has the key {min(clash)!r}, which the first ones lacked and which by now "
                        "names an answer; pass --output, or rename the key"
                    )
            theirs = map(_valid, piece.columns["record"].to_pylist())
        for raw, answer in zip(theirs, ours, strict=True):
            inner = (raw.strip()[1:-1].strip(), answer[1:-1])
            yield "{" + ", ".join(filter(None, inner)) + "}\n"


class ParquetWriter(RowWriter):
    """A Parquet file whose row groups are some tens of megabytes, or a piece if that is more."""

    file: Any = None

    def __init__(self, *how: Any, **layout: Any) -> None:
        super().__init__(*how, **layout)
        self.held: list[pa.Table] = []

    def write(self, piece: OutputRows) -> None:
        columns = piece.columns if self.plan.keys is None else _typed(piece, self.plan.keys)
        for name, column in zip(piece.added.column_names, piece.added.columns, strict=True):
            columns = columns.append_column(self.plan.names[name], column)
        self.held.append(columns)
        if sum(table.nbytes for table in self.held) >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        if self.held or self.file is None:
            self.held = self.held or [pa.table({})]
            self._flush()
        self.file.close()

    def _flush(self) -> None:
        if self.file is None:
            from pyarrow import parquet  # here and below: 20 MB and 0.1 s, for those who need them

            self.file = parquet.ParquetWriter(self.out, self.held[0].schema)
        self.file.write_table(pa.concat_tables(self.held))
        self.held = []


class ArrayWriter(RowWriter):
    """A NumPy file of the one column that holds vectors, (n, D) float32; no other column is kept."""

    rows = width = 0

    def write(self, piece: OutputRows) -> None:
        (column,) = (column for column in piece.added.columns if types.is_fixed_size_list(column.type))
        if not self.rows:
            self.width = column.type.list_size
            self._header()  # of as many bytes as the one that is written over it: NumPy leaves room for more rows
        import pyarrow.compute as pc

        self.out.write(pc.list_flatten(column).to_numpy().astype("<f4").tobytes())
        self.rows += len(column)

    def close(self) -> None:
        self.out.seek(0)
        self._header()
        self.out.seek(0, os.SEEK_END)

    def _header(self) -> None:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self.width)}
        write_array_header_1_0(self.out, shape)


WRITERS: dict[Format, type[RowWriter]] = {
    "csv": CsvWriter,
    "tsv": TsvWriter,
    "jsonl": JsonlWriter,
    "parquet": ParquetWriter,
    "xlsx": WorkbookWriter,
    "npy": ArrayWriter,
}


def must_fit(format: Format, piece: OutputRows, first_row: int) -> None:
    """Raise SettingError for rows that a format has no room for, before anything is made of them.

    first_row  how many rows stand before the piece
    """
    if format == "xlsx":
        header, *rows = FieldWriter(io.BytesIO(), ColumnPlan.of([piece])).rows(piece)
        workbook.must_fit(header, rows, first_row)


def stream(pieces: Iterable[OutputRows], format: Format, out: BinaryIO, *, spreadsheet_safe: bool = False) -> None:
    """Write pieces as they come, and flush each, so that a pipe sees rows at once.

    Names and, for CSV, the keys of JSON records are settled by the first piece alone.
    Raises SettingError for Parquet and workbooks, which are whole only at their end, and TextError when a later
    record brings a key that cannot be told any more.
    """
    if format in ("parquet", "xlsx"):
        raise SettingError(f"{format} cannot be streamed; pass --output, or choose csv or jsonl")
    writer: RowWriter | None = None
    for piece in pieces:
        writer = writer or WRITERS[format](out, ColumnPlan.of([piece]), spreadsheet_safe=spreadsheet_safe)
        writer.write(piece)
        out.flush()


def _objects(table: pa.Table, *, shorten: bool = False) -> Iterator[str]:
    """Each row as the text of a JSON object; `shorten` for our numbers."""
    columns = [_shown(column, values(column, finite=True), shorten) for column in table.columns]
    for row in zip(*columns, strict=True):
        yield json.dumps(dict(zip(table.column_names, row, strict=True)), ensure_ascii=False)


def _shown(column: pa.ChunkedArray, cells: list[Any], shorten: bool) -> list[Any]:
    """Six digits of numbers of double precision, as scores are; vectors have single, and keep theirs."""
    return list(map(six_digits, cells)) if shorten and "double" in str(column.type) else cells


def _for_csv(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    return values(column, finite=not types.is_floating(kind))  # a field may say nan; JSON text may not


def _valid(raw: str) -> str:
    """The text of a JSON record, with null for each NaN and Infinity that stands outside of its strings."""
    if "NaN" not in raw and "Infinity" not in raw:
        return raw
    return NO_JSON.sub(lambda found: found[0] if found[0].startswith('"') else "null", raw)


def _planned(piece: OutputRows, keys: dict[str, str]) -> list[dict[str, Any]]:
    """The records of a piece, none with a key for which there is no column."""
    records = piece.records()
    for record in records:
        if new := record.keys() - keys.keys():
            raise TextError(
                f"a record has the key {min(new)!r}, for which the first ones left no column; "
                "pass --output, or write jsonl"
            )
    return records


def _typed(piece: OutputRows, keys: dict[str, str]) -> pa.Table:
    """JSON records as a table, a column for each key; a key that a record lacks is null."""
    records = _planned(piece, keys)
    columns = []
    for key, kind in keys.items():
        fit = FITS[kind]
        cells = [None if record.get(key) is None else fit(record[key]) for record in records]
        columns.append(pa.array(cells, pa.type_for_alias("string" if kind == "json" else kind)))
    return pa.table(columns, names=[writable(key) for key in keys])


FITS: dict[str, Callable[[Any], object]] = {
    "string": writable,
    "bool": bool,
    "int64": int,
    "double": float,
    "json": json_text,
}
"""What makes the cells of a column of each type; of those that hold all values of a key, the first is taken."""


def _holders(value: object) -> set[str]:
    """The types of columns that hold a JSON value unchanged; JSON text holds any."""
    if isinstance(value, int) and not isinstance(value, bool):
        holds = {"int64": -(2**63) <= value < 2**63, "double": abs(value) <= 2**53, "json": True}
        return {kind for kind, is_held in holds.items() if is_held}
    kinds = {type(None): {*FITS}, bool: {"bool", "json"}, float: {"double", "json"}, str: {"string", "json"}}
    return kinds.get(type(value), {"json"})


class _Sink(NamedTuple):
    """What the csv module takes for a file."""

    write: Callable[[str], object]
