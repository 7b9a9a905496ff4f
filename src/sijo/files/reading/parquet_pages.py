"""What the pages of a Parquet file hold, by their headers: measured before anything of them is unpacked.

A column stands in pages of at most some megabytes, as a rule. But a value that a page's dictionary holds once can
stand in each of a billion rows, so that a few bytes become terabytes; and what a footer says of sizes need not be
true. So the header of each page is read here (Thrift's compact protocol), and where it matters the lengths of the
dictionary's values and how values are shared out among rows. Unpacking is pyarrow's.

Source: the Parquet format, parquet.thrift and Encodings.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from sijo.errors import TextError

ROWS = 64
"""Read at once; more is hardly faster, and so many long documents still fit in memory."""
BUDGET = 1 << 26
"""Bytes that reading so many rows may take, unless one row takes more."""
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
"""Kinds of pages."""
BY_DICTIONARY = (2, 8)
DELTAS, FRONT_CODED = (5, 6, 7), 7
"""Encodings: PLAIN_DICTIONARY and RLE_DICTIONARY; three of differences; of them DELTA_BYTE_ARRAY, by which a value
repeats most of the last."""
FIRST_LOOK, LONGEST_HEADER = 1 << 12, 1 << 24
DEEPEST = 16
GROUPS = 1 << 15
"""Of eight levels, unpacked at once."""
NO_PAGE = "a page has no header that can be read"
VALUE_BYTES = 8
"""Of a value in nested columns beside its own: where it stands in its list."""
CODECS = {"LZ4": "lz4_raw"}


class Page(NamedTuple):
    """What a header says of its page."""

    kind: int
    size: int
    """Bytes once it is unpacked."""
    packed: int
    values: int
    encoding: int
    at: int
    """Where it stands in the file, behind its header."""
    levels: int
    """Bytes of the repetition levels where they stand apart, as in DATA_V2, and are never packed."""

    @property
    def held(self) -> int:
        """Bytes that it takes as soon as it is opened: of deltas all are added up at once."""
        return self.size + (VALUE_BYTES * self.values if self.encoding in DELTAS and self.kind != DICTIONARY else 0)

    def each(self, entry: int) -> int | None:
        """Bytes that each of its values may have, though all of it has less; None where that cannot be.

        entry  bytes of a value of the dictionary
        """
        if self.encoding in BY_DICTIONARY:
            return entry
        return self.size if self.encoding == FRONT_CODED else None


@dataclass(frozen=True)
class ChunkCost:
    """What one column of a row group takes in memory when it is read."""

    held: int
    """Bytes of what must be unpacked to read any row: its largest page and its dictionary."""
    each: int
    """Bytes that a row may have out of the dictionary."""
    pages: tuple[tuple[int, int], ...]
    """Rows that begin in each page that holds its own values, and its bytes."""
    whole: int
    """Bytes of all its values."""

    def of(self, rows: int) -> int:
        """Bytes that so many rows, one after another, take at most."""
        begun = list(accumulate((rows_in_page for rows_in_page, _ in self.pages), initial=0))
        sizes = list(accumulate((size for _, size in self.pages), initial=0))
        most = first = 0
        for last in range(len(self.pages)):
            while first < last and begun[last] - begun[first + 1] > rows - 1:  # all rows of the pages between
                first += 1
            most = max(most, sizes[last + 1] - sizes[first])
        return min(rows * self.each + most, self.whole)


def batch_rows(costs: Sequence[ChunkCost], most: int) -> int:
    """How many rows of a row group are read at once: as many as a budget allows, or fewer cost no less.

    most  is not exceeded

    >>> batch_rows([ChunkCost(held=10**6, each=2 * 10**6, pages=(), whole=10**12)], most=64)
    32
    """
    if sum(cost.held + cost.whole for cost in costs) <= BUDGET:
        return most
    budget = max(BUDGET, bytes_of_a_row(costs) * 5 // 4)
    while most > 1 and sum(cost.held + cost.of(most) for cost in costs) > budget:
        most //= 2
    return most


def bytes_of_a_row(costs: Sequence[ChunkCost]) -> int:
    """What has to be in memory for the most costly row of a row group."""
    return sum(cost.held + cost.of(1) for cost in costs)


def chunk_cost(stream: IO[bytes], chunk: Any, column: Any, what: str, longest: int) -> ChunkCost:
    """What a column of a row group takes.

    chunk    its metadata, as pyarrow has it
    column   the column's place in the schema
    what     names it in a message
    longest  bytes of a page, at most

    Raises TextError for a larger page, and pyarrow's ArrowInvalid for what is no page.
    """
    dictionary, data = None, list[Page]()
    for page in _pages(stream, chunk):
        if max(page.held, page.packed) > longest:
            raise TextError(
                f"{what}: a page takes {max(page.held, page.packed):,} bytes, and {longest:,} are the most; "
                "raise the limit by --longest-row, or write the file anew with smaller pages"
            )
        if page.kind == DICTIONARY:
            dictionary = page
        else:
            data.append(page)
    nested = column.max_repetition_level > 0
    beside = VALUE_BYTES if nested else 0
    held, entry = max((page.held for page in data), default=0), 0
    if dictionary is not None:
        held += 2 * dictionary.size  # unpacked, and once more as pyarrow keeps it
        entry = dictionary.size
        if column.physical_type != "BYTE_ARRAY":
            entry //= max(dictionary.values, 1)
        elif entry * (sum(page.values for page in data) if nested else ROWS) > BUDGET:
            entry = _longest_value(_unpacked(stream, dictionary, chunk), dictionary.values)
    sizes = [
        page.values * beside + (page.size if each is None else page.values * each)
        for page, each in ((page, page.each(entry)) for page in data)
    ]
    whole = sum(sizes)
    if whole <= BUDGET:  # little, however it is shared out among rows
        return ChunkCost(held, whole, (), whole)
    begun, values_of_a_row = [page.values for page in data], 1
    if nested:
        width = int(column.max_repetition_level).bit_length()
        levels = ((_levels(stream, page, chunk), page.values) for page in data)
        begun, values_of_a_row = _row_starts(levels, width)
    repeated = [each + beside for page in data if (each := page.each(entry)) is not None]
    own = tuple(
        (rows, size) for page, rows, size in zip(data, begun, sizes, strict=True) if page.each(entry) is None
    )
    return ChunkCost(held, max(repeated, default=0) * values_of_a_row, own, whole)


def _pages(stream: IO[bytes], chunk: Any) -> Iterator[Page]:
    """Every page with values of a column, and its dictionary."""
    at, values = chunk.data_page_offset, 0
    if chunk.dictionary_page_offset:
        at = min(at, chunk.dictionary_page_offset)
    while values < chunk.num_values:
        fields, at = _header(stream, at)
        try:
            kind, size, packed = fields[1], fields[2], fields[3]
            if min(size, packed) < 0:
                raise ValueError
            about = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}.get(kind)
            if about is not None:
                head = fields[about]
                encoding = head[4 if kind == DATA_V2 else 2]
                levels = head[6] if kind == DATA_V2 else -1
                yield Page(kind, size, packed, head[1], encoding, at, levels)
                values += head[1] if kind != DICTIONARY else 0
        except (KeyError, TypeError, ValueError):
            raise pa.ArrowInvalid(NO_PAGE) from None
        at += packed


def _header(stream: IO[bytes], at: int) -> tuple[dict[int, Any], int]:
    """The fields of the header that stands at a place, and where it ends."""
    length = FIRST_LOOK
    while length <= LONGEST_HEADER:
        stream.seek(at)
        content = stream.read(length)
        try:
            fields, end = _fields(content, 0, 0)
            if end <= len(content):
                return fields, at + end
        except IndexError:  # it goes on
            pass
        if len(content) < length:
            break
        length *= 16
    raise pa.ArrowInvalid(NO_PAGE)


def _fields(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct of Thrift: its fields by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := content[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        fields[number], at = _value(content, at, head & 15, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of Thrift, None where it says nothing here; and where it ends."""
    if kind in (1, 2):
        return None, at
    if kind in (4, 5, 6):
        return _integer(content, at)
    if kind in (3, 7):
        return None, at + (1 if kind == 3 else 8)
    if kind == 8:
        length, at = _varint(content, at)
        return None, at + length
    if kind in (9, 10) and depth < DEEPEST:
        count, of = content[at] >> 4, content[at] & 15
        at += 1
        if count == 15:
            count, at = _varint(content, at)
        for _ in range(count):
            _, at = _value(content, at, 3 if of in (1, 2) else of, depth + 1)
        return None, at
    if kind == 12 and depth < DEEPEST:
        return _fields(content, at, depth + 1)
    raise pa.ArrowInvalid(NO_PAGE)


def _varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128 or shift > 63:
            return number, at
        shift += 7


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def _unpacked(stream: IO[bytes], page: Page, chunk: Any) -> memoryview:
    stream.seek(page.at)
    content = stream.read(page.packed)
    if chunk.compression != "UNCOMPRESSED":
        codec = CODECS.get(chunk.compression, chunk.compression.lower())
        content = pa.decompress(content, decompressed_size=page.size, codec=codec)
    return memoryview(content).cast("B")


def _longest_value(content: memoryview, values: int) -> int:
    """Bytes of the longest of the strings of a dictionary, each of which stands behind its length."""
    longest = at = 0
    for _ in range(values):
        length = int.from_bytes(content[at : at + 4], "little")
        at += 4 + length
        if at > len(content):
            raise pa.ArrowInvalid(NO_PAGE)
        longest = max(longest, length)
    return longest


def _levels(stream: IO[bytes], page: Page, chunk: Any) -> memoryview:
    """The repetition levels of a page: 0 where a row begins."""
    if page.kind == DATA_V2:
        stream.seek(page.at)
        return memoryview(stream.read(page.levels))
    content = _unpacked(stream, page, chunk)
    return content[4 : 4 + int.from_bytes(content[:4], "little")]


def _row_starts(pages: Iterable[tuple[memoryview, int]], width: int) -> tuple[list[int], int]:
    """How many rows begin in each page, and the values of the row that has most.

    pages  the levels of each, and how many there are
    width  bits of a level
    """
    begun, longest, run = list[int](), 0, 0
    for content, values in pages:
        begun.append(0)
        for count, starts in _runs(content, values, width):
            if starts is None:  # or every one of them
                begun[-1] += count
                longest, run = max(longest, run), 1
            elif not len(starts):
                run += count
            else:
                begun[-1] += len(starts)
                longest = max(longest, run + int(starts[0]), int(np.diff(starts).max(initial=0)))
                run = count - int(starts[-1])
    return begun, max(longest, run)


def _runs(content: memoryview, values: int, width: int) -> Iterator[tuple[int, np.ndarray | None]]:
    """Levels in runs: how many, and where in the run those are that are 0; None for all."""
    at = 0
    while values > 0:
        try:
            head, at = _varint(content, at)
        except IndexError:
            raise pa.ArrowInvalid(NO_PAGE) from None
        if head & 1:  # groups of eight levels, side by side
            end = min(at + (head >> 1) * width, len(content))
            for start in range(at, end, GROUPS * width):
                packed = np.frombuffer(content[start : min(start + GROUPS * width, end)], np.uint8)
                bits = np.unpackbits(packed, bitorder="little")
                levels = bits[: len(bits) // width * width].reshape(-1, width)[:values]
                yield len(levels), np.flatnonzero(~levels.any(axis=1))
                values -= len(levels)
            at = end
        else:  # one level, so many times
            count, end = min(head >> 1, values), at + (width + 7) // 8
            yield count, np.array([], np.int64) if any(content[at:end]) else None
            values, at = values - count, end
