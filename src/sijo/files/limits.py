"""How much of a table is held at once, so that no file, however small, becomes large in memory.

A row, and what its format must unpack with it, is measured before it is made into objects; what is longer than a
person allows is refused. Rows are put together into blocks of so many bytes.
"""

import re
from collections.abc import Callable, Sequence
from itertools import islice

from sijo.errors import TextError

LONGEST_ROW = 100_000_000
"""Bytes of a row, or of a page of Parquet, unless a person says otherwise."""
WHOLE = 10
"""Times as many, at most, for what a format wants to be held whole: a sheet, all columns of a row of Parquet."""
MOST_FIELDS = 1_000_000
"""Of a row of CSV, and values of a record of JSON: each becomes an object of its own."""
OBJECT_BYTES = 64
"""Of a field beside its characters."""
BLOCK_BYTES = 16_000_000
"""Of the rows of a block, as `row_bytes` and its like have them."""
UNPACKING_BYTES = 1 << 27
"""What decompression may hold itself. That of `xz -9` and of `zstd --ultra -22` is within it."""
JSON_PARTS = re.compile(r'[^"]++|"(?:[^"\\]|\\.)*+"?')
"""A string, whole or cut short, or what stands between two."""


def too_long(what: str, longest: int) -> TextError:
    """The refusal of what takes more than a person allows."""
    return TextError(
        f"{what} is longer than {longest:,} bytes, the most for one row; if it is one, raise the limit by "
        "--longest-row"
    )


def too_many(what: str, noun: str) -> TextError:
    """The refusal of a row of too many fields."""
    return TextError(f"{what} has more than {MOST_FIELDS:,} {noun}, the most for one row; split it into several")


def row_bytes(cells: Sequence[str]) -> int:
    """What the strings of a row take, nearly: a byte a character, and what each of them is beside.

    >>> row_bytes(["7", "the sea"])
    136
    """
    return sum(map(len, cells)) + OBJECT_BYTES * len(cells)


def record_bytes(raw: str) -> int:
    """What a record of JSON takes, nearly, as text and as what it means."""
    return len(raw) + OBJECT_BYTES * _marks(raw)


def _marks(part: str) -> int:
    return part.count(",") + part.count("[") + part.count("{")


def check_values(raw: str, where: str) -> None:
    """Raise TextError for a record of JSON that means too many values, before they are made."""
    if _marks(raw) <= MOST_FIELDS:
        return
    values = 0
    for part in JSON_PARTS.finditer(raw):
        if not part[0].startswith('"'):
            values += _marks(part[0])
            if values > MOST_FIELDS:
                raise too_many(where, "values")


class RowMeter:
    """What a row of CSV takes while its lines come, before its fields are made.

    where    says where the row starts
    longest  bytes that it may take
    """

    def __init__(self, where: Callable[[], str], delimiter: str, longest: int) -> None:
        self._where, self._delimiter, self._longest = where, delimiter, longest
        self.begin()

    def begin(self) -> None:
        """The next line begins a row."""
        self._characters = self._fields = 0
        self._quoted = False

    def add(self, line: str) -> str:
        """The line, which belongs to the row. Raises TextError once that takes too much."""
        self._characters += len(line)
        if self._characters > self._longest:
            raise TextError(
                f"{self._where()}: the row that starts here has a quote that is not closed within "
                f"{self._longest:,} characters; close it, or raise --longest-row if it is one row"
            )
        quotes = line.count('"')
        if not self._quoted or quotes:
            fields = line.count(self._delimiter)
            if quotes and self._fields + fields > MOST_FIELDS:
                fields = self._unquoted(line)
            self._fields += fields
            if self._fields > MOST_FIELDS:
                raise too_many(f"{self._where()}: the row that starts here", "fields")
            self._quoted ^= bool(quotes % 2)
        return line

    def _unquoted(self, line: str) -> int:
        """How many delimiters stand outside of quotes, or one too many: a quote opens only where a field begins."""
        start = 0
        if self._quoted:
            start = re.match(r'(?:[^"]++|"")*+"?', line).end()  # type: ignore[union-attr] # which always fits
        fields = re.finditer(rf'(?:^|{re.escape(self._delimiter)})(?:"(?:[^"]++|"")*+"?)?', line[start:])
        return sum(1 for _ in islice(fields, MOST_FIELDS + 1))
