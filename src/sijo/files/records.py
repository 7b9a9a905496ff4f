"""Rows of any table as their fields, whatever they hold, one after another."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from sijo.errors import SettingError
from sijo.files import table_formats as formats
from sijo.files.encodings.detect import form_of
from sijo.files.inputs.sources import TextReading, listed, readable, usual_delimiter
from sijo.files.reading.json_records import read_json
from sijo.files.reading.parquet_rows import ParquetRows

AS_TOLD = TextReading()
"""By what the file itself tells."""


def records(path: str | Path, how: TextReading = AS_TOLD) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a table as its fields, whatever they hold, with the words that say where it stands.

    path  .csv, .tsv, .jsonl or .parquet, compressed or not; .json: one array of objects, one object, or lines; or
          .xlsx
    how   what was said of the table

    CSV and .xlsx give strings, the others what they hold. Raises SettingError for a path or ending that will not do
    and TextError for a broken row, as `TextTable` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "rows.jsonl").write_text('{"words": ["a", "b"]}')
    ...     [fields for _, fields in records(Path(place) / "rows.jsonl")]
    [{'words': ['a', 'b']}]
    """
    path = readable(Path(path))
    suffix, packed = formats.ending(path)
    suffixes = {name: kind for name, kind in formats.SUFFIXES.items() if kind != "text"}
    kind = suffixes.get(suffix)
    if kind is None:
        raise SettingError(
            f"{path} holds no columns by its ending; give one of {listed([*suffixes])}, with or without "
            f"{listed(tuple(formats.DECOMPRESS))}"
        )
    name = str(path)
    how = how.checked(kind, name)
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream = formats.unpacked(stack, raw, packed)
        if kind in formats.FROM_END:
            stream = stream if packed is None else formats.spooled(stack, stream, name)
        else:
            again = partial(formats.opened, path, packed)
            form = form_of(again, name, encoding=how.encoding, quotes=kind == "csv")
            stream = form.applied(stream, name)
        longest = how.longest_row
        lines = formats.read_lines(stream, name, longest)
        if kind == "parquet":
            for before, batch in ParquetRows(stream, name, longest).batches(lambda batch: batch.to_pylist()):
                yield from ((f"{name}, row {number}", row) for number, row in enumerate(batch, before + 1))
        elif kind == "csv":
            columns, rows, _ = formats.read_csv(
                lines, name, how.delimiter, usual=usual_delimiter(suffix), header=how.header, longest=longest
            )
            yield from ((f"{name}, line {line}", dict(zip(columns, cells, strict=True))) for line, cells in rows)
        elif kind == "xlsx":
            from sijo.files.reading.spreadsheets import Sheet  # here, with what unpacks XML, for those who need it

            sheet = Sheet(stream, name, which=how.sheet, column=None, longest=longest)
            yield from ((where, dict(zip(sheet.columns, cells, strict=True))) for where, cells in sheet.rows())
        elif kind == "jsonl":
            yield from ((where, row) for where, _, row in formats.read_json_lines(lines, name))
        else:
            yield from ((where, row) for where, _, row in read_json(stream, name, longest))
