"""How much memory a workbook takes, added up from its XML as that is unpacked.

python-calamine holds a sheet as a rectangle from its first cell to its last, and in each cell a string of its own.
So two cells in opposite corners take half a terabyte, and so does a string that a million cells share.
"""

import errno
import lzma
import re
import struct
import zlib
from array import array
from collections.abc import Callable
from typing import IO
from xml.parsers import expat  # no entity is declared, for a document type is refused
from zipfile import BadZipFile, ZipFile

import numpy as np

from sijo.errors import TextError

CELL_BYTES, PLACE_BYTES = 96, 32
"""Of a cell that is written, on its way into the rectangle; and of each place there."""
CHUNK = 1 << 16
MOST_PARTS = 10_000
ADDRESS = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
OLDER = b"\xd0\xcf\x11\xe0"
"""How .xls begins, and what a password makes of .xlsx."""
BROKEN = (
    BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    expat.ExpatError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What is raised over a workbook that is none, or is damaged."""


def check_size(stream: IO[bytes], name: str, most: int) -> int:
    """How many formulas of a workbook have no value.

    most  bytes that it may take

    Raises TextError where it takes more, and for what is no workbook or is protected by a password.
    """
    if stream.read(4) == OLDER:
        raise TextError(f"{name} is protected by a password, or is the older .xls; save it as .xlsx without one")
    strings, sheets = array("Q"), list[_Part]()
    try:
        with ZipFile(stream) as archive:
            parts = archive.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > most:
                raise _too_large(name, most)
            for about in parts:
                with archive.open(about) as content:  # its size, as it is said to be, and its checksum hold by this
                    part = _Part(strings, name, most)
                    part.read(content)
                if part.cells:
                    sheets.append(part)
    except TextError:
        raise
    except (*BROKEN, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno != errno.EINVAL
        ):  # which is what a place before the file gives
            raise
        raise TextError(f"{name} is no .xlsx, or is damaged ({error}); save it again, or as .csv") from None
    lengths = np.array(strings, np.uint64)
    for sheet in sheets:
        shared = np.array(sheet.shared, np.int64)
        in_cells = int(lengths[shared[shared < len(lengths)]].sum(dtype=np.uint64))
        if sheet.size + in_cells > most:
            raise _too_large(name, most)
    return sum(sheet.never_computed for sheet in sheets)


def _too_large(name: str, most: int) -> TextError:
    return TextError(
        f"{name} would take more than {most:,} bytes of memory, ten times --longest-row; raise that, delete "
        "rows and columns that only look empty, or save it as .csv, which is read row by row"
    )


class _Part:
    """What one file of a workbook is and holds: a sheet, the strings that sheets share, or neither.

    strings  bytes of each shared string, added to where this holds them
    """

    def __init__(self, strings: "array[int]", name: str, most: int) -> None:
        self._strings, self._name, self._most = strings, name, most
        self.cells = self.never_computed = self._characters = 0
        self.shared = array("I")
        """Which shared string each cell has."""
        self._row = self._column = 0
        self._top = self._left = 1 << 60
        self._bottom = self._right = 0
        self._value: list[str] | None = None
        self._is_shared = self._has_formula = False

    @property
    def size(self) -> int:
        """Bytes of a sheet, without the strings that its cells share."""
        places = max(self._bottom - self._top + 1, 0) * max(self._right - self._left + 1, 0)
        return self.cells * CELL_BYTES + places * PLACE_BYTES + self._characters

    def read(self, content: IO[bytes]) -> None:
        """Read to its end, as XML where it is XML."""
        chunk = content.read(CHUNK)
        parser = None
        if chunk.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
            parser = expat.ParserCreate(namespace_separator=" ")
            parser.buffer_text = True
            parser.StartDoctypeDeclHandler = _refused
            parser.StartElementHandler = self._root(parser)
        while chunk:
            if parser is not None:
                parser.Parse(chunk)
            chunk = content.read(CHUNK)
        if parser is not None:
            parser.Parse(b"", True)

    def _root(self, parser: expat.XMLParserType) -> Callable[[str, dict[str, str]], None]:
        def begins(name: str, _: dict[str, str]) -> None:
            kind = name.rpartition(" ")[2]
            parser.StartElementHandler = None
            if kind == "worksheet":
                parser.StartElementHandler, parser.EndElementHandler = self._cell_begins, self._cell_ends
            if kind == "sst":
                parser.EndElementHandler = self._string_ends
            if kind in ("worksheet", "sst"):
                parser.CharacterDataHandler = self._text

        return begins

    def _text(self, text: str) -> None:
        self._characters += len(text) if text.isascii() else len(text.encode())
        if self._value is not None:
            self._value.append(text)

    def _string_ends(self, name: str) -> None:
        if name.endswith(" si"):
            self._strings.append(self._characters)
            self._characters = 0

    def _cell_begins(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(" ")[2]
        if kind == "c":
            self._column += 1
            if (address := attributes.get("r")) is not None:
                letters, self._row = _address(address)
                self._column = letters
            self.cells += 1
            self._top, self._bottom = min(self._top, self._row), max(self._bottom, self._row)
            self._left, self._right = min(self._left, self._column), max(self._right, self._column)
            self._is_shared, self._has_formula = attributes.get("t") == "s", False
            if self.size > self._most:
                raise _too_large(self._name, self._most)
        elif kind == "row":
            self._row, self._column = int(attributes.get("r", self._row + 1)), 0
        elif kind == "v":
            self._value = []
        elif kind == "f":
            self._has_formula = True

    def _cell_ends(self, name: str) -> None:
        kind = name.rpartition(" ")[2]
        if kind == "v":
            value = "".join(self._value or ())
            if self._is_shared:
                self.shared.append(int(value or 0))
            self._has_formula &= not value
            self._value = None
        elif kind == "c":
            self.never_computed += self._has_formula
            self._has_formula = False


def _address(address: str) -> tuple[int, int]:
    """The column and the row of a cell, counted from 1.

    >>> _address("AB12")
    (28, 12)
    """
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise ValueError(f"a cell at {address[:20]!r}")
    column = 0
    for letter in parts[1]:
        column = 26 * column + ord(letter) - 64
    return column, int(parts[2])


def _refused(*_: object) -> None:
    raise ValueError("it declares a document type")
