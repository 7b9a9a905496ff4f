"""Rows of Parquet in small batches, whatever a file makes of few bytes."""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import groupby
from typing import IO, TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import types

from sijo.errors import TextError
from sijo.files.limits import LONGEST_ROW, OBJECT_BYTES, WHOLE
from sijo.files.reading.parquet_pages import ROWS, batch_rows, bytes_of_a_row, chunk_cost
from sijo.files.table_formats import distinct, undamaged

Result = TypeVar("Result")
VARYING = (
    types.is_string,
    types.is_large_string,
    types.is_binary,
    types.is_large_binary,
    types.is_fixed_size_binary,
)
"""Values of which each has a length of its own."""


class ParquetRows:
    """A Parquet file that stands open.

    longest  bytes of a page, and a tenth of what all columns of a row may take, at most
    """

    rows: int
    """In all, as the file says."""

    def __init__(self, stream: IO[bytes], name: str, longest: int = LONGEST_ROW) -> None:
        from pyarrow.parquet import ParquetFile

        self._stream, self._name, self._longest = stream, name, longest
        with undamaged(name):
            # unbuffered, a whole row group would be fetched at once, and one may be the whole file
            self._file = ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
            self.schema: pa.Schema = self._file.schema_arrow
            self.rows = self._file.metadata.num_rows
        self.columns = distinct(name, self.schema.names)

    def batches(self, read: Callable[[pa.RecordBatch], Result]) -> Iterator[tuple[int, Result]]:
        """What `read` makes of each batch of rows, and the number of rows before it; a fault it meets is told."""
        before = 0
        for group in range(self._file.num_row_groups):
            rows = self._batch_rows(group, f"{self._name}, after row {before},")
            batches = self._file.iter_batches(rows, row_groups=[group])
            while True:
                with undamaged(f"{self._name}, after row {before},"):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    result = read(batch)
                yield before, result
                before += len(batch)

    def _batch_rows(self, group: int, where: str) -> int:
        """How many rows of a row group are read at once."""
        metadata = self._file.metadata.row_group(group)
        with undamaged(where):
            costs = [
                chunk_cost(
                    self._stream,
                    metadata.column(place),
                    self._file.schema.column(place),
                    f"{where} column {self._file.schema.column(place).path!r}",
                    self._longest,
                )
                for place in range(metadata.num_columns)
            ]
        if (most := bytes_of_a_row(costs)) > WHOLE * self._longest:
            raise TextError(
                f"{where} a row may take {most:,} bytes, and {WHOLE * self._longest:,} are the most, ten times "
                "--longest-row; raise that, or write the file anew without dictionaries or with fewer columns"
            )
        return batch_rows(costs, ROWS)


def row_sizes(batch: pa.RecordBatch) -> list[int]:
    """What each row of a batch takes, nearly, with all that its dictionaries repeat; the same in any batch.

    >>> row_sizes(pa.record_batch({"text": ["the sea", None], "score": [0.5, 1.0]}))
    [135, 128]
    """
    sizes = reduce(np.add, map(_sizes, batch.columns), np.zeros(len(batch), np.int64))
    return list(sizes.tolist())


def _sizes(column: pa.Array) -> np.ndarray:
    """Bytes of each value."""
    import pyarrow.compute as pc

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _sizes(column.storage)
    if types.is_dictionary(kind):
        if not len(column.dictionary):
            return np.full(len(column), OBJECT_BYTES)
        each = _sizes(column.dictionary)
        places = column.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), each[places], OBJECT_BYTES)
    if types.is_fixed_size_list(kind):
        if types.is_primitive(kind.value_type):
            return np.full(len(column), OBJECT_BYTES + 8 * kind.list_size)
        return _sizes(column.cast(pa.list_(kind.value_type)))
    if types.is_map(kind):
        return _summed(_sizes(column.keys) + _sizes(column.items), column.offsets.to_numpy())
    if types.is_list(kind) or types.is_large_list(kind):
        return _summed(_sizes(column.values), column.offsets.to_numpy())
    if types.is_struct(kind):
        return reduce(np.add, map(_sizes, column.flatten()), np.full(len(column), OBJECT_BYTES))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        column = column.cast(pa.large_binary())
    elif not any(is_kind(kind) for is_kind in VARYING):
        return np.full(len(column), OBJECT_BYTES)
    lengths = pc.binary_length(column)
    if lengths.null_count:
        lengths = lengths.fill_null(0)
    lengths = lengths.to_numpy(zero_copy_only=False)
    return np.asarray(lengths, np.int64) + OBJECT_BYTES


def _summed(sizes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """What the values of each list take together."""
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return np.asarray(ends[offsets[1:]] - ends[offsets[:-1]]) + OBJECT_BYTES


def holds_strings(kind: pa.DataType) -> bool:
    """Whether a column of that type holds strings, in whatever layout."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def of_batches(cells: Sequence[tuple[pa.RecordBatch, int, int]]) -> pa.Table:
    """Rows of batches, each as its batch, its place there and its size, as a table."""
    runs = [list(run) for _, run in groupby(cells, key=lambda cell: id(cell[0]))]
    return pa.Table.from_batches([run[0][0].slice(run[0][1], len(run)) for run in runs])
