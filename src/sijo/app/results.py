"""How commands show their results: tables for people, JSON for programs; sentences go to standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table


def wants_json(format: str | None) -> bool:
    """Whether results are printed as JSON: by --format json, or where none is given, in a pipe."""
    return format == "json" if format else not sys.stdout.isatty()


def print_json(*records: object, ascii: bool = False) -> None:
    """Print each record as a line of JSON.

    ascii  escape all letters beyond ASCII, for what need not be text
    """
    for record in records:
        print(json.dumps(record, ensure_ascii=ascii), flush=True)  # noqa: T201


def print_table(headings: Iterable[str], rows: Iterable[Sequence[str]], *, title: str = "", note: str = "") -> None:
    """Print a table for people, with a title over it and a dim note under it."""
    table = Table(*headings, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if note:
        console.print(note, style="dim", highlight=False)


def print_rows(
    rows: Sequence[Mapping[str, object]], format: str | None, *, shown: Sequence[Mapping[str, object]] = ()
) -> None:
    """Print rows of like fields: JSON lines in a pipe; for people a table, of the rows `shown` if there are any."""
    if wants_json(format):
        print_json(*rows, ascii=True)
        return
    shown = shown or rows
    cells = ([value if isinstance(value, str) else json.dumps(value) for value in row.values()] for row in shown)
    print_table(shown[0], cells)


def printable(text: str) -> str:
    """A text with spaces for what would steer a terminal: it may come from an untrusted file."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def tell(sentence: str) -> None:
    """Say something beside the results, on standard error."""
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
