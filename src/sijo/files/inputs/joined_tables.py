"""Several tables as one: rows in the order of the files, with the columns that all have, and the file of each."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

import pyarrow as pa

from sijo.errors import SettingError, TextError, warn
from sijo.files import limits
from sijo.files.inputs.sources import listed, matching
from sijo.files.output_job import content_digest
from sijo.files.tables import RowBlock, TextTable
from sijo.files.urls import fetch, is_url, shown
from sijo.names import column_named

FILE_COLUMNS = ("file", "source_file")
"""What the column that tells the file is called: the first of these that no file has."""

FILE_DIGEST = "file "
"""Begins the setting of a run that says what a file, named behind it, holds."""


def open_tables(
    sources: Sequence[str | Path], *, output: Path | None = None, **how: Any
) -> "TextTable | JoinedTables":
    """The rows of a file, a pipe, several files or patterns: one alone as it is, others as one table.

    output  where the answers go, which must be none of the files
    how     as `TextTable` has it

    Raises what `TextTable` does, and SettingError for files that do not go together.
    """
    words = [str(source) for source in sources]
    files = matching(words)
    if files == words and len(files) == 1:
        if (
            output is not None
            and os.path.lexists(output)
            and os.path.realpath(files[0]) == os.path.realpath(output)
        ):
            raise SettingError(
                f"the output {output} is the input; write it elsewhere, and move it over the input once it is right"
            )
        return opened_table(files[0], **how)
    if "-" in files:
        raise SettingError("standard input ('-') stands beside other files; give it alone, or save it to a file")
    if output is not None and (
        inside := [file for file in files if os.path.realpath(file) == os.path.realpath(output)]
    ):
        raise SettingError(
            f"the output {inside[0]} is also one of the {len(files)} inputs; write it elsewhere, or name the "
            "inputs so that it is none of them"
        )
    return JoinedTables(files, **how)


def opened_table(file: str, **how: Any) -> TextTable:
    """The rows of one file, here or elsewhere: of what is elsewhere a copy, which goes when the table does."""
    if not is_url(file):
        return TextTable(file, **how)
    place = TemporaryDirectory(prefix="sijo-")
    try:
        table = TextTable(fetch(file, Path(place.name)), called=shown(file), **how)
    except BaseException:
        place.cleanup()
        raise
    finalize(table, place.cleanup)
    return table


class JoinedTables:
    """Files of one kind as a table: `TextTable` of several.

    files  two or more, as they are named in the column `file` (`source_file` where one has a column of that name)
    how    as `TextTable` has it; the text's column by default as in the first file

    A column that a file lacks is left out, with a warning; in another case or Unicode form it is the same. JSON
    objects keep all their keys. Blocks go on from file to file, and where they end depends on the content alone.

    Raises what `TextTable` does, and SettingError for files of two kinds, and for a column of two types.
    """

    rereadable = True

    def __init__(self, files: Sequence[str], *, column: str | None = None, **how: Any) -> None:
        self.name = f"{len(files)} files"
        first = opened_table(files[0], column=column, **how)
        others = (opened_table(file, column=column or first.column, **how) for file in files[1:])
        self._tables = [first, *others]
        self.kind, self.column = first.kind, first.column
        for table in self._tables:
            if not table.rereadable:
                raise SettingError(f"{table.name} is a pipe, and stands beside other files; save it to a file")
            if table.kind != first.kind:
                raise SettingError(
                    f"{first.name} is {first.kind} and {table.name} is {table.kind}; give files of one kind, "
                    "and the others by another command"
                )
        self._names = [_as_text(file) for file in files]
        self._sizes = [table.path.stat().st_size for table in self._tables]
        self._done = [0.0] * len(files)
        self.columns = None if first.columns is None else self._common(first.columns)
        taken = self.columns or _keys(self._tables)
        self._file_column = next((name for name in FILE_COLUMNS if name not in taken), "")
        if not self._file_column:
            raise SettingError(f"the files have columns {' and '.join(FILE_COLUMNS)}; rename one of them")
        if first.kind == "parquet":
            self._must_have_one_type()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self._sizes)

    @property
    def settings(self) -> dict[str, object]:
        """How the files are read, and what each holds, for the record of a run."""
        files = {
            f"{FILE_DIGEST}{name}": content_digest(table.path)[:16]
            for name, table in zip(self._names, self._tables, strict=True)
        }
        return self._tables[0].settings | files

    def share(self) -> float | None:
        """How much has been read, from 0 to 1, by the sizes of the files."""
        done = sum(size * share for size, share in zip(self._sizes, self._done, strict=True))
        return done / max(sum(self._sizes), 1)

    def first_block(self, count: int) -> RowBlock:
        """The first rows, of as many files as it takes."""
        pieces, rows, weight = [], 0, 0
        for place, table in enumerate(self._tables):
            pieces.append(self._with_file(table.first_block(count - rows), place))
            rows += len(pieces[-1].texts)
            weight += _weight(pieces[-1])
            if rows >= count or weight >= limits.BLOCK_BYTES:
                break
        return _put_together(pieces, 0, 0)

    def blocks(
        self, *, rows: int = 2048, characters: int = 250_000, up_to_fault: bool = False
    ) -> Iterator[RowBlock]:
        """Every row in order, in blocks of at most so many rows and hardly more characters: see `TextTable`."""
        number = first_row = held_characters = held_bytes = 0
        held: list[RowBlock] = []
        self._done = [0.0] * len(self._tables)
        for place, table in enumerate(self._tables):
            for block in table.blocks(rows=rows, characters=characters, up_to_fault=up_to_fault):
                length, weight = sum(map(len, block.texts)), _weight(block)
                held_rows = sum(len(one.texts) for one in held)
                if held and (
                    held_rows + len(block.texts) > rows
                    or held_characters + length > characters
                    or held_bytes + weight > limits.BLOCK_BYTES
                ):
                    yield _put_together(held, number, first_row)
                    number, first_row, held = number + 1, first_row + held_rows, []
                    held_characters = held_bytes = 0
                held.append(self._with_file(block, place))
                held_characters += length
                held_bytes += weight
                self._done[place] = table.share() or 0.0
            self._done[place] = 1.0
        if held:
            yield _put_together(held, number, first_row)

    def _common(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The columns of the first file that all have; warns of the others."""
        kept = [name for name in columns if all(column_named(name, table.columns or ()) for table in self._tables)]
        left_out = {
            f"{name!r} of {table.name}"
            for table in self._tables
            for name in table.columns or ()
            if column_named(name, kept) is None
        }
        if left_out:
            warn(f"columns that not all of {self.name} have are left out: {listed(sorted(left_out))}")
        return tuple(kept)

    def _beside(self, raw: str, name: str) -> str:
        """A JSON object with the name of its file before its own fields, which stay to the letter."""
        if self._file_column in raw and self._file_column in json.loads(raw):
            raise TextError(
                f"an object of {name} has a key {self._file_column!r}, which the first ones have not, and which "
                "is to tell the file; rename it"
            )
        field, own = json.dumps({self._file_column: name}, ensure_ascii=False)[:-1], raw.lstrip()[1:]
        return f"{field}{own}" if own.lstrip().startswith("}") else f"{field}, {own.lstrip()}"

    def _must_have_one_type(self) -> None:
        first, *others = (self._with_file(table.first_block(1), place) for place, table in enumerate(self._tables))
        for place, other in enumerate(others, start=1):
            for name, one, two in zip(
                first.columns.column_names, first.columns.schema.types, other.columns.schema.types, strict=True
            ):
                if one != two:
                    raise SettingError(
                        f"the column {name!r} is {one} in {self._tables[0].name} and {two} in "
                        f"{self._tables[place].name}; cast one of them, or give each file its own command"
                    )

    def _with_file(self, block: RowBlock, place: int) -> RowBlock:
        """The same rows with the columns that all files have, and the name of theirs."""
        name = self._names[place]
        if self.columns is None:
            records = [self._beside(raw, name) for raw in block.columns["record"].to_pylist()]
            return RowBlock(0, 0, block.texts, pa.table({"record": pa.array(records, pa.string())}), block.kind)
        own = [str(column_named(column, block.columns.column_names)) for column in self.columns]
        arrays = [*map(block.columns.column, own), pa.array([name] * len(block.texts), pa.string())]
        columns = pa.Table.from_arrays(arrays, names=[*self.columns, self._file_column])
        return RowBlock(0, 0, block.texts, columns, block.kind)


def _weight(block: RowBlock) -> int:
    """What the rows of a block take, nearly."""
    if block.kind == "jsonl":
        return sum(map(limits.record_bytes, block.columns["record"].to_pylist()))
    columns = block.columns
    return int(columns.nbytes + limits.OBJECT_BYTES * columns.num_rows * columns.num_columns)


def _put_together(blocks: Sequence[RowBlock], number: int, first_row: int) -> RowBlock:
    texts = [text for block in blocks for text in block.texts]
    columns = pa.concat_tables([block.columns for block in blocks])
    return RowBlock(number, first_row, texts, columns, blocks[0].kind)


def _keys(tables: Sequence[TextTable]) -> set[str]:
    """Keys of the first JSON object of each file."""
    return {key for table in tables for key in json.loads(table.first_block(1).columns["record"][0].as_py())}


def _as_text(name: str) -> str:
    """A file's name as a column holds it: its bytes need not be text."""
    return os.fsencode(shown(name)).decode(errors="backslashreplace")
