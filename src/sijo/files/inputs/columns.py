"""Why a table has no column of some name, and what would do."""

from collections.abc import Sequence

from sijo.errors import nearest
from sijo.files.inputs.sources import listed
from sijo.names import column_named

DELIMITERS = ",;\t|"
"""What parts the fields of tables that people have."""


def parted_at(columns: Sequence[str]) -> str | None:
    """The mark at which a table's one column looks like several; None where it does not.

    >>> parted_at(["id;Subject;Body"]), parted_at(["id", "a;b"]), parted_at(["body"])
    (';', None, None)
    """
    return next((mark for mark in DELIMITERS if mark in columns[0]), None) if len(columns) == 1 else None


def no_column(name: str, columns: Sequence[str], *, kind: str = "csv", instead: str = "") -> str:
    """The words behind "has": that it is not there, what is, and what would do.

    columns  those that are there
    kind     what the table is: a CSV alone has a delimiter
    instead  which option names another

    >>> no_column("Body", ["id;Body"])
    "no column 'Body', and one column, 'id;Body', that looks parted by ';'; pass --delimiter ';'"
    >>> no_column("tpoic", ["text", "topic"])
    "no column 'tpoic'; did you mean 'topic'? Columns: text, topic"
    >>> no_column("label", ["text", "theme"], instead="--label-column")
    "no column 'label'; name the one that is meant with --label-column. Columns: text, theme"
    """
    if kind == "csv" and (mark := parted_at(columns)) is not None:
        return (
            f"no column {name!r}, and one column, {columns[0]!r}, that looks parted by {mark!r}; "
            f"pass --delimiter {mark!r}"
        )
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(column_named(part, columns) is not None for part in parts):
        return (
            f"no column {name!r}, but {listed(parts)}; one column is read, so name one of them, or write the texts "
            "of each row into one column first"
        )
    hint = nearest(name, columns) or (f"; name the one that is meant with {instead}." if instead else ".")
    return f"no column {name!r}{hint} Columns: {listed(columns)}"
