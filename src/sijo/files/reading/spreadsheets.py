"""A sheet of a workbook (.xlsx) as rows of strings, once it is known how much memory it takes.

python-calamine reads the cells and holds the whole sheet. What that takes is added up first by `workbook_size.py`.
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any
from unicodedata import normalize

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.files.limits import LONGEST_ROW, WHOLE
from sijo.files.reading.workbook_size import check_size
from sijo.files.table_formats import distinct

HEADER_ROWS = 20
"""The first rows, in which the header is looked for."""
WHOLE_DIGITS = 10**15
"""Numbers below have all their digits in a spreadsheet."""


class Sheet:
    """The rows of a sheet, below its header.

    which    the name of the sheet, or its number counted from 1; None for the first that is not hidden
    column   a column that the header has, where one was named
    longest  a tenth of the bytes that the workbook may take

    The header is the first row that names `column`; else the first of 20 with more than half as many cells filled
    as any of them, so that titles above a table are passed over; and its last row, where it has two. Cells are
    strings, as in a CSV: whole numbers without a point, dates and times in ISO 8601, TRUE and FALSE, and "" for an
    empty cell or an error such as #N/A. A formula is the value that it had when it was saved. Merged cells give
    each of their rows the value. Blank rows are none.

    Raises SettingError without python-calamine or without such a sheet, and TextError for what is no workbook, is
    protected by a password or takes more memory than it may.
    """

    columns: tuple[str, ...]

    def __init__(
        self, stream: IO[bytes], name: str, *, which: str | None, column: str | None, longest: int = LONGEST_ROW
    ) -> None:
        try:
            import python_calamine as calamine
        except ModuleNotFoundError:
            raise SettingError(
                f"to read {name} sijo needs python-calamine, which is not installed: pip install 'sijo[xlsx]'"
            ) from None
        never_computed = check_size(stream, name, WHOLE * longest)
        stream.seek(0)
        try:
            workbook = calamine.load_workbook(stream)
            visible = calamine.SheetVisibleEnum.Visible
            title = _chosen(workbook.sheets_metadata, lambda sheet: sheet.visible == visible, name, which)
            self._sheet = workbook.get_sheet_by_name(title)
        except BaseException as error:
            if not isinstance(error, calamine.CalamineError) and type(error).__name__ != "PanicException":
                raise  # the latter is what a fault in Rust becomes, and no Exception
            raise TextError(f"{name} is no workbook that can be read ({error}); save it as .xlsx again") from None
        if never_computed:
            warn(
                f"{name} has {never_computed:,} formulas whose values were never saved, and their cells are read "
                "as empty; open it in a spreadsheet and save it"
            )
        self._name, self._height, self._done = f"{name}, sheet {title!r}", max(self._sheet.total_height, 1), 0
        left = self._sheet.start[1] if self._sheet.start else 0
        self._merged = sorted(
            (top + 1, bottom + 1, side - left)
            for (top, side), (bottom, _) in self._sheet.merged_cell_ranges or ()
            if bottom > top and side >= left
        )
        rows = self._filled()
        ahead = list(islice(rows, HEADER_ROWS))
        if not ahead:
            raise TextError(f"{self._name} is empty; a table needs a header, then at least one row")
        place = self._below(_header([cells for _, cells in ahead], column), ahead)
        if place:
            warn(f"{self._name}: row {ahead[place][0]} is taken for the header, and what stands above it left out")
        names = [" ".join(cell.split()) for cell in ahead[place][1]]
        self._kept = [at for at, title in enumerate(names) if title or self._has_values(at, below=ahead[place][0])]
        self.columns = distinct(self._name, [names[at] or f"column_{at + 1}" for at in self._kept])
        self._rows = chain(ahead[place + 1 :], rows)

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Where each row stands, and its cells."""
        for number, cells in self._rows:
            self._done = number
            yield f"{self._name}, row {number}", [cells[at] for at in self._kept]

    def share(self, _: int) -> float:
        """How much of it has been read, from 0 to 1."""
        return min(self._done / self._height, 1.0)

    def _filled(self) -> Iterator[tuple[int, list[str]]]:
        """The number of each row that is not blank, and its cells; those merged with one above have its value."""
        merged = self._merged
        following, above = 0, dict[int, tuple[int, str]]()
        for number, values in enumerate(self._sheet.iter_rows(), 1):
            cells = [_text(value) for value in values]
            is_blank = not any(cells)
            while following < len(merged) and merged[following][0] <= number:
                _, bottom, side = merged[following]
                following += 1
                if side < len(cells):
                    above[side] = (bottom, cells[side])
            for side, (bottom, text) in list(above.items()):
                cells[side] = cells[side] or text
                if bottom <= number:
                    del above[side]
            if not is_blank:
                yield number, cells

    def _below(self, place: int, ahead: Sequence[tuple[int, Sequence[str]]]) -> int:
        """Where a header ends of which cells are merged with those below."""
        ends = [bottom for top, bottom, _ in self._merged if top == ahead[place][0]]
        last = max(ends, default=0)
        return max([at for at, (number, _) in enumerate(ahead) if number <= last], default=place)

    def _has_values(self, at: int, *, below: int) -> bool:
        """Whether any row has a value in a column, which the header does not name."""
        return any(values[at] != "" for values in islice(self._sheet.iter_rows(), below, None))


def _chosen(sheets: Sequence[Any], is_shown: Callable[[Any], bool], name: str, which: str | None) -> str:
    """The name of the sheet that is meant."""
    titles = [str(sheet.name) for sheet in sheets]
    if which is None:
        shown = [title for title, sheet in zip(titles, sheets, strict=True) if is_shown(sheet)]
        if not (shown or titles):
            raise TextError(f"{name} has no sheet; save it as .xlsx again")
        if len(shown) > 1:
            warn(f"{name} has {len(shown)} sheets, and {shown[0]!r} is read; --sheet names another: {shown[1:6]}")
        return (shown or titles)[0]
    same = [title for title in titles if normalize("NFC", title).strip() == normalize("NFC", which).strip()]
    if same:
        return same[0]
    if which.isdecimal() and 0 < int(which) <= len(titles):
        return titles[int(which) - 1]
    raise SettingError(
        f"{name} has no sheet {which!r}{nearest(which, titles) or '.'} Sheets: {', '.join(titles[:20])}"
    )


def _header(rows: Sequence[Sequence[str]], column: str | None) -> int:
    """Which of the first rows names the columns."""
    if column is not None:
        wanted = normalize("NFC", column).casefold().split()
        for place, cells in enumerate(rows):
            if any(normalize("NFC", cell).casefold().split() == wanted for cell in cells):
                return place
    filled = [sum(cell != "" for cell in cells) for cells in rows]
    most = max(filled)
    for place, cells in enumerate(rows):
        # of two columns a header may have one: that of row numbers, as pandas writes it, has no name
        if 2 * filled[place] > most or (cells[0] == "" and filled[place] == most - 1):
            return place
    raise AssertionError("one of them has most")


def _text(value: object) -> str:
    """A cell as a CSV would have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < WHOLE_DIGITS else repr(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
