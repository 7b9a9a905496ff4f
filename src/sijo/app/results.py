"""The one printer: tables for people, JSON for programs, sentences on standard error; no terminal obeys any of it.

Labels, texts, file names and what models write may come from strangers. Whatever goes to a terminal or to standard
error passes through `printable`, and nothing in it is taken for Rich's markup or emoji. Results in a pipe or a file
are data, and stay exactly as they are; JSON escapes what would steer a terminal wherever it goes, its values exact.
"""

import codecs
import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from sijo.errors import SijoWarning
from sijo.files.json_files import sayable
from sijo.texts import printable

RowFormat = Literal["table", "jsonl", "csv", "tsv"]
"""How the rows of a table are printed."""
LEAST_TEXT = 16
"""Characters of a text that are shown beside its answer, however narrow a terminal is."""


def wants_json(format: str | None) -> bool:
    """Whether results are printed as JSON: by --format json, or where none is given, in a pipe."""
    return format == "json" if format else not sys.stdout.isatty()


def row_format(format: RowFormat | None) -> RowFormat:
    """How rows are printed: by --format, or where none is given, a table for people and JSON lines in a pipe."""
    return format or ("table" if sys.stdout.isatty() else "jsonl")


class Screen(Console):
    """Rich's console for words that may be a stranger's: none is markup, an emoji's name, or steers the terminal.

    stderr  print on standard error
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's own segments, with all words escaped: of a text before it is wrapped, so that none is lost."""
        if isinstance(renderable, Text):
            shown = printable(renderable.plain, lines=True)
            if shown != renderable.plain:
                renderable = renderable.copy()
                renderable.plain = shown
        for segment in super().render(renderable, options):
            if segment.control:  # Rich's: a bar moves the cursor
                yield segment
            else:
                yield segment._replace(text=printable(segment.text, lines=True))


class ShownRows(io.BytesIO):
    """Where rows of CSV or JSON are written at a terminal: UTF-8, escaped."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, content: Any) -> int:
        """Show some bytes; returns how many."""
        print_text(self._decoder.decode(content).replace("\r\n", "\n"))
        return len(content)


def rows_out() -> BinaryIO:
    """Where a command writes rows to standard output: exactly in a pipe or a file, escaped at a terminal."""
    return ShownRows() if sys.stdout.isatty() else sys.stdout.buffer


def print_text(text: str) -> None:
    """Print some text as it comes, exactly, or escaped at a terminal; line ends and tabs stay."""
    print(printable(text, lines=True) if sys.stdout.isatty() else text, end="", flush=True)


def print_line(line: object) -> None:
    """Print a line, such as a path: exactly, or escaped at a terminal."""
    if sys.stdout.isatty():
        print(printable(str(line)), flush=True)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(f"{line}\n"))  # a path need not be text
    sys.stdout.buffer.flush()


def print_json(*records: object) -> None:
    """Print each record as a line of JSON, with null for NaN and infinities; what is no text is escaped."""
    for record in records:
        print(printable(json.dumps(sayable(record), ensure_ascii=False)), flush=True)


def print_table(headings: Iterable[str], rows: Iterable[Sequence[str]], *, title: str = "", note: str = "") -> None:
    """Print a table for people, with a title over it and a dim note under it."""
    table = Table(*map(printable, headings), title=printable(title) or None, title_justify="left")
    for row in rows:
        table.add_row(*map(printable, row))
    print_shown(table)
    if note:
        print_shown(Text(note, style="dim"))


def print_with_notes(
    headings: Sequence[str], rows: Iterable[tuple[Sequence[str], str]], *, names: int, note: str = ""
) -> None:
    """Print lines of few signs, each with a dim note under it that wraps; for a person with 80 columns.

    headings  of the cells
    rows      the cells of each line, and its note
    names     how many of the cells, on the left, are names; the others are numbers, and stand on the right
    note      a dim line under all of them
    """
    lines = [([*map(printable, cells)], under) for cells, under in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *(cells for cells, _ in lines), strict=True)]

    def line(cells: Sequence[str]) -> str:
        gaps = [" " * (width - cell_len(cell)) for width, cell in zip(widths, cells, strict=True)]
        return "  ".join(
            cell + gap if place < names else gap + cell
            for place, (cell, gap) in enumerate(zip(cells, gaps, strict=True))
        ).rstrip()

    print_shown(Text(line(headings), style="bold"))
    for cells, under in lines:
        print_shown(Text(line(cells)), Padding(Text(printable(under), style="dim"), (0, 0, 0, 4)))
    if note:
        print_shown(Text(note, style="dim"))


def print_beside_texts(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], texts: Sequence[str | Text], *, headings: bool
) -> None:
    """Print a line for each text: its cells, and as much of the text as fits behind them.

    texts     those that come as Rich's are printable already, and styled
    headings  False where the lines follow others of the same columns
    """
    table = Table(*columns, Column("text", no_wrap=True), box=None, pad_edge=False, show_header=headings)
    widths = [
        max(len(str(column.header)), *(cells[place].cell_len for cells in rows))
        for place, column in enumerate(columns)
    ]
    # a text that is longer would push the other columns aside, down to nothing
    taken = sum(min(width, column.max_width or width) for width, column in zip(widths, columns, strict=True))
    room = Screen().width - taken - 2 * len(columns)
    for text, cells in zip(texts, rows, strict=True):
        shown = text.copy() if isinstance(text, Text) else Text(printable(text))
        shown.truncate(max(room, LEAST_TEXT), overflow="ellipsis")
        table.add_row(*cells, shown)
    print_shown(table)


def print_shown(*parts: RenderableType, stderr: bool = False, soft_wrap: bool = False) -> None:
    """Print tables and texts for people.

    soft_wrap  let a long line run on
    """
    screen = Screen(stderr=stderr)
    for part in parts:
        screen.print(part, soft_wrap=soft_wrap)


def print_rows(rows: Sequence[Mapping[str, object]], format: str | None) -> None:
    """Print rows of like fields: JSON lines in a pipe, a table for people."""
    if wants_json(format):
        print_json(*rows)
        return
    cells = (
        [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in row.values()]
        for row in rows
    )
    print_table(rows[0], cells)


def tell(sentence: str, *, lines: bool = False) -> None:
    """Say something beside the results, on standard error, escaped.

    lines  it has several lines
    """
    print(printable(sentence, lines=lines), file=sys.stderr, flush=True)


def tell_story(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the whole story of an error, as Python does, escaped; a `sys.excepthook`."""
    tell("".join(traceback.format_exception(kind, error, trace)).rstrip(), lines=True)


@contextmanager
def warnings_told(*, strict: bool) -> Iterator[list[str]]:
    """Within, each `SijoWarning` is told on standard error, once, and stands in the list.

    strict  it is raised in place of that
    """
    told: list[str] = []

    def tell_once(message: Warning | str, category: type[Warning], file: str, line: int, *_: Any) -> None:
        if not issubclass(category, SijoWarning):
            tell(warnings.formatwarning(message, category, file, line).rstrip(), lines=True)
        elif str(message) not in told:
            told.append(str(message))
            tell(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "always", SijoWarning)
        warnings.showwarning = tell_once  # type: ignore[assignment]
        yield told
