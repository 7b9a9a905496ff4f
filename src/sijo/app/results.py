"""How commands show their results: tables for people, JSON for programs; sentences go to standard error."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from sijo.errors import SijoWarning
from sijo.files.json_files import sayable


def wants_json(format: str | None) -> bool:
    """Whether results are printed as JSON: by --format json, or where none is given, in a pipe."""
    return format == "json" if format else not sys.stdout.isatty()


def print_json(*records: object, ascii: bool = False) -> None:
    """Print each record as a line of JSON, with null for NaN and infinities.

    ascii  escape all letters beyond ASCII, for what need not be text
    """
    for record in records:
        print(json.dumps(sayable(record), ensure_ascii=ascii), flush=True)  # noqa: T201


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


@contextmanager
def warnings_told(*, strict: bool) -> Iterator[list[str]]:
    """Within, each `SijoWarning` is told on standard error, once, and stands in the list.

    strict  it is raised in place of that
    """
    told: list[str] = []

    def tell_once(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, SijoWarning):
            others(message, category, *where)
        elif str(message) not in told:
            told.append(str(message))
            tell(f"warning: {printable(str(message))}")

    with warnings.catch_warnings():
        others = warnings.showwarning
        warnings.simplefilter("error" if strict else "always", SijoWarning)
        warnings.showwarning = tell_once  # type: ignore[assignment]
        yield told
