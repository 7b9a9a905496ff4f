"""A workbook of Excel's (.xlsx) with one sheet, written row by row by XlsxWriter, in memory that does not grow.

A text stays a text, whatever it looks like: none becomes a formula, a link or a number. A sheet has limits, and
what is beyond them is refused: XlsxWriter by itself cuts long texts and leaves out late rows.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sijo.errors import SettingError
from sijo.files.writing.cells import looks_like_formula

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 1_048_576, 16_384, 32_767
"""Of a sheet, the header among its rows; characters of a cell, those beyond U+FFFF counted twice."""
EXACT = 10**15
"""Excel keeps 15 digits of a number: a longer one that counts, or names, something stays whole as a text."""
CREATED = datetime(2000, 1, 1)
REMEDY = "name a .csv, .tsv, .jsonl or .parquet as the output"


def must_fit(header: Sequence[str], rows: Iterable[Sequence[object]], first_row: int) -> None:
    """Raise SettingError for rows that no sheet holds.

    first_row  how many rows stand before them
    """
    if len(header) > MOST_COLUMNS:
        raise SettingError(f"there are {len(header):,} columns, and a sheet has {MOST_COLUMNS:,}; {REMEDY}")
    _row_must_fit(header, header, "the name of a column")
    for number, row in enumerate(rows, first_row + 1):
        if number >= MOST_ROWS:
            raise SettingError(f"there are more rows than the {MOST_ROWS - 1:,} that a sheet has; {REMEDY}")
        _row_must_fit(row, header, f"row {number:,}")


def _row_must_fit(row: Sequence[object], header: Sequence[str], what: str) -> None:
    for name, value in zip(header, row, strict=True):
        if isinstance(value, str) and (length := _characters(value)) > MOST_CHARACTERS:
            raise SettingError(
                f"{what}, {name[:60]!r}, has {length:,} characters, and a cell of .xlsx at most "
                f"{MOST_CHARACTERS:,}; {REMEDY}"
            )


def _characters(text: str) -> int:
    """As Excel counts them: in units of UTF-16."""
    short = len(text) * 2 <= MOST_CHARACTERS
    return len(text) if short else len(text.encode("utf-16-le", "surrogatepass")) // 2


class _UntilFault:
    """A file that is written until it fails, and then in appearance: a ZipFile that is forgotten tries again."""

    is_over = False

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._place = out, 0

    def write(self, content: bytes) -> int:
        if not self.is_over:
            self._out.write(content)
        self._place += len(content)
        return len(content)

    def seek(self, place: int) -> int:
        if not self.is_over:
            self._out.seek(place)
        self._place = place
        return place

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """ZipFile asks for it; what brings the file to the disk is up to whoever opened it."""


class WrittenSheet:
    """One sheet of a workbook; its first row is the header, which stays in sight.

    out              an open binary file, written when the sheet is closed
    scratch          a folder for the rows until then; the system's by default
    quotes_formulas  mark texts that look like formulas as texts, so that they stay so where a person edits the cell
    """

    def __init__(self, out: BinaryIO, *, scratch: Path | None = None, quotes_formulas: bool = False) -> None:
        from xlsxwriter import Workbook

        self._out = _UntilFault(out)
        self._book = Workbook(self._out, {"constant_memory": True, "tmpdir": scratch, "use_zip64": True})
        self._book.set_properties({"created": CREATED})
        self._sheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{MOST_ROWS}"})
        self._quoted = self._book.add_format({"quote_prefix": True}) if quotes_formulas else None
        self._rows = 0

    def write(self, row: Sequence[Any]) -> None:
        """Write the next row, the header first: None, numbers and texts, as far as `must_fit` lets them."""
        for column, value in enumerate(row):
            self._cell(column, value)
        self._rows += 1

    def _cell(self, column: int, value: Any) -> None:
        place = (self._rows, column)
        if value is None or value == "":
            return
        if isinstance(value, bool):
            self._sheet.write_boolean(*place, value)
            return
        if math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and abs(value) < EXACT:
            self._sheet.write_number(*place, value)
            return
        text = str(value)
        style = (self._quoted,) if self._quoted is not None and looks_like_formula(text) else ()
        if text.startswith("<r>"):  # XlsxWriter would take all of it for its own markup, but not if it is in parts
            self._sheet.write_rich_string(*place, *text[:2], text[2:], *style)
        else:
            self._sheet.write_string(*place, text, *style)

    def close(self) -> None:
        """Write the file."""
        from xlsxwriter.exceptions import FileCreateError

        try:
            self._book.close()
        except FileCreateError as error:  # OSError is what callers know, and it says why
            raise (error.args[0] if error.args and isinstance(error.args[0], OSError) else error) from None
        finally:
            self._out.is_over = True
