"""A source of rows that stands open: its columns, and each text with the row it stands in."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import IO, Any, NamedTuple

import pyarrow as pa

from sijo.batching import groups
from sijo.errors import TextError
from sijo.files import limits
from sijo.files import table_formats as formats
from sijo.files.reading import parquet_rows

ColumnOf = Callable[[Sequence[str], Sequence[str]], str]
"""Gives the column with the texts: of all, and of those that are likely."""
NO_ROWS = {
    "text": "is empty",
    "csv": "has a header but no rows (where line 1 is a row: --no-header)",
    "jsonl": "has no records",
    "parquet": "has no rows",
    "json": "has no records",
    "xlsx": "has a header but no rows",
}


class OpenRows(NamedTuple):
    """A source that stands open."""

    columns: tuple[str, ...] | None
    column: str
    rows: Iterator[tuple[str, Any]]  # each text, and the strings of its row; for Parquet its batch, place and size
    kind: formats.Kind = "text"
    weight: Callable[[Any], int] = limits.row_bytes  # bytes of such a row
    share: Callable[[int], float | None] = lambda _: None  # from the rows handed out so far
    close: Callable[[], None] = lambda: None

    def table(self, cells: Sequence[Any]) -> pa.Table:
        """Some of the rows, without their texts, as a table."""
        if self.kind == "parquet":
            return parquet_rows.of_batches(cells)
        return formats.of_strings(self.columns or ("record",), cells)

    def groups(self, rows: int, characters: int, faults: list[TextError] | None) -> Iterator[list[tuple[str, Any]]]:
        """The rows that blocks are made of, as `TextTable.blocks` has it.

        faults  where a broken row's fault is kept, after the rows before it; None to raise it
        """
        return groups(
            self.rows if faults is None else up_to_fault(self.rows, faults),
            rows=rows,
            characters=characters,
            size=lambda row: len(row[0]),
            bytes_=limits.BLOCK_BYTES,
            weight=lambda row: self.weight(row[1]),
        )


def of_parquet(stream: IO[bytes], name: str, longest: int, column_of: ColumnOf, *, lists: bool = False) -> OpenRows:
    """A Parquet file.

    lists  whether the column may hold lists, whose text is JSON
    """
    file = parquet_rows.ParquetRows(stream, name, longest)
    strings = [field.name for field in file.schema if parquet_rows.holds_strings(field.type)]
    column = column_of(file.columns, strings)
    if column not in strings and not (lists and pa.types.is_list(file.schema.field(column).type)):
        raise TextError(
            f"{name}: column {column!r} is {file.schema.field(column).type}, not string; cast it to string"
        )

    def validated(batch: pa.RecordBatch) -> pa.RecordBatch:
        batch.validate(full=True)  # Parquet is not obliged to hold UTF-8 where it says string
        return batch

    def rows() -> Iterator[tuple[str, tuple[pa.RecordBatch, int, int]]]:
        for before, batch in file.batches(validated):
            sizes = parquet_rows.row_sizes(batch)
            for place, value in enumerate(batch.column(column)):
                yield (
                    sound(value.as_py(), f"{name}, row {before + place + 1}", lists=lists),
                    (batch, place, sizes[place]),
                )

    return OpenRows(
        file.columns,
        column,
        rows(),
        kind="parquet",
        weight=lambda cells: cells[2],
        share=lambda done: done / max(file.rows, 1),
    )


def of_sheet(
    stream: IO[bytes], name: str, longest: int, column_of: ColumnOf, which: str | None, column: str | None
) -> OpenRows:
    """A sheet of a workbook, by its name or number; its header is where the named column is."""
    from sijo.files.reading.spreadsheets import Sheet  # here, with what unpacks XML, for those who need it

    sheet = Sheet(stream, name, which=which, column=column, longest=longest)
    column = column_of(sheet.columns, sheet.columns)
    place = sheet.columns.index(column)
    rows = ((sound(cells[place], where), cells) for where, cells in sheet.rows())
    return OpenRows(sheet.columns, column, rows, kind="csv", share=sheet.share)


def of_records(
    records: Iterator[tuple[str, str, dict[str, Any]]],
    name: str,
    kind: formats.Kind,
    column_of: ColumnOf,
    *,
    lists: bool = False,
) -> OpenRows:
    """Records of JSON: each with where it is, its raw text and what that means; `lists` as above."""
    first = next(records, None)
    if first is None:
        raise TextError(f"{name} {NO_ROWS[kind]}; give it at least one JSON object")
    likely = [key for key, value in first[2].items() if value is None or isinstance(value, str)]
    column = column_of(tuple(first[2]), likely)

    def rows() -> Iterator[tuple[str, tuple[str]]]:
        for where, raw, record in chain([first], records):
            if column not in record:
                raise TextError(f"{where}: the record has no key {column!r}, which held the text in the first one")
            yield sound(record[column], where, lists=lists), (raw,)

    return OpenRows(None, column, rows(), kind="jsonl", weight=lambda cells: limits.record_bytes(cells[0]))


def up_to_fault(rows: Iterator[tuple[str, Any]], faults: list[TextError]) -> Iterator[tuple[str, Any]]:
    """The rows before a broken one, whose fault is kept for later."""
    try:
        yield from rows
    except TextError as fault:
        faults.append(fault)


def raised(faults: Sequence[TextError]) -> Iterator[tuple[str, Any]]:
    """No rows, but the fault that was kept, if there is one."""
    if faults:
        raise faults[0]
    yield from ()


def sound(value: object, where: str, *, lists: bool = False) -> str:
    """The text in `value`, "" for null; refuses what no tokenizer or writer could take."""
    if lists and isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False)
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
