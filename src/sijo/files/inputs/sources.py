"""What names a table and how it was said to be read: paths, patterns, a delimiter, an encoding."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Self
from unicodedata import normalize

from sijo.errors import SettingError, nearest, nearest_file
from sijo.files.encodings.recode import checked_encoding
from sijo.files.limits import LONGEST_ROW, check_longest
from sijo.files.urls import is_url, matching_urls

MOST_SIBLINGS = 10_000
"""Files of a folder that are looked at for a name."""


@dataclass(frozen=True, kw_only=True)
class TextReading:
    """What a person says of a table beside its name."""

    delimiter: str | None = None
    """Between the fields of a CSV; None for what a first line `sep=;` says, else a comma, or a tab in .tsv."""
    header: bool = True
    """Whether line 1 of a CSV names its columns; else they are column_1, column_2, …"""
    encoding: str | None = None
    """A name such as cp949; None for what the bytes say."""
    sheet: str | None = None
    """Which one of a workbook (.xlsx), by its name or its number from 1; None for the first that is not hidden."""
    longest_row: int = LONGEST_ROW
    """Bytes that a line or a row may have, and a page of Parquet; ten times as many what is held whole."""

    def __post_init__(self) -> None:
        check_longest(self.longest_row)

    def checked(self, kind: str, name: str) -> Self:
        """The same as readers take it. Raises SettingError for what a table of that kind has not, or cannot be.

        >>> TextReading(delimiter="\\\\t", encoding="MS949").checked("csv", "a.csv")
        TextReading(delimiter='\\t', header=True, encoding='cp949', sheet=None, longest_row=100000000)
        """
        if not self.header and kind != "csv":
            raise SettingError(f"{name} is read as {kind}, which has no header; leave --no-header out")
        if self.encoding is not None and kind in ("parquet", "xlsx"):
            raise SettingError(f"{name} is read as {kind}, which needs no encoding; leave --encoding out")
        if self.sheet is not None and kind != "xlsx":
            raise SettingError(f"{name} is read as {kind}, which has no sheets; leave --sheet out")
        encoding = None if self.encoding is None else checked_encoding(self.encoding)
        if self.delimiter is None:
            return replace(self, encoding=encoding)
        if kind != "csv":
            raise SettingError(f"{name} is read as {kind}, which has no delimiter; leave --delimiter out")
        character = "\t" if self.delimiter == "\\t" else self.delimiter  # what a shell makes of '\t'
        if len(character) != 1 or character in '"\r\n\0':
            raise SettingError(
                f"delimiter {self.delimiter!r} must be one character, not a quote or line end; try ';' or '\\t'"
            )
        return replace(self, delimiter=character, encoding=encoding)

    def told(self) -> dict[str, object]:
        """What was said and decides what is read, which the limit of a row does not.

        >>> TextReading(encoding="cp949", longest_row=1_000).told()
        {'encoding': 'cp949'}
        """
        usual = vars(TextReading())
        return {name: value for name, value in vars(self).items() if value != usual[name] and name != "longest_row"}

    def fitting(self, kind: str) -> Self:
        """The same without what a table of that kind has not: for files of several kinds.

        >>> TextReading(delimiter=";", encoding="cp949").fitting("jsonl")
        TextReading(delimiter=None, header=True, encoding='cp949', sheet=None, longest_row=100000000)
        """
        is_csv, is_sheet = kind == "csv", kind == "xlsx"
        return replace(
            self,
            delimiter=self.delimiter if is_csv else None,
            header=self.header or not is_csv,
            encoding=None if is_sheet or kind == "parquet" else self.encoding,
            sheet=self.sheet if is_sheet else None,
        )


def usual_delimiter(suffix: str) -> str:
    """What parts the fields of a CSV whose name ends so."""
    return "\t" if suffix == ".tsv" else ","


def readable(path: Path) -> Path:
    """The file of that name, in whichever of Unicode's forms the disk has it. Raises SettingError without one."""
    if not path.exists():
        siblings = _names(path.parent)
        alike = [name for name in siblings if normalize("NFC", name) == normalize("NFC", path.name)]
        if len(alike) != 1:
            raise SettingError(f"no file {str(path)!r}{nearest_file(path.name, siblings)}")
        path = path.with_name(alike[0])
    if path.is_dir():
        raise SettingError(f"{path} is a folder; give one file in it, or the files one after another")
    return path


def matching(words: Iterable[str]) -> list[str]:
    """The files that words of a command line name, each once: a file by its name, others by a pattern, sorted; URLs
    likewise.

    Raises SettingError for a pattern that no file fits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     for name in ("b.csv", "a.csv", "c.txt"):
    ...         (Path(place) / name).touch()
    ...     [Path(name).name for name in matching([f"{place}/c.txt", f"{place}/*.csv"])]
    ['c.txt', 'a.csv', 'b.csv']
    """
    files: dict[str, None] = {}
    for word in words:
        if is_url(word):
            files.update(dict.fromkeys(matching_urls(word)))
            continue
        if word == "-" or os.path.lexists(word) or not glob.has_magic(word):
            files[word] = None
            continue
        found = glob.glob(word, recursive=True)  # noqa: PTH207 (Path's own takes no absolute pattern)
        found = [name for name in found if not Path(name).is_dir()] or _in_another_form(Path(word))
        if not found:
            raise SettingError(f"no file fits the pattern {word!r}{nearest(word, _names(Path(word).parent))}")
        files.update(dict.fromkeys(sorted(found)))
    return list(files)


def _in_another_form(pattern: Path) -> list[str]:
    """Files that a pattern fits once both are composed: disks of Macs have the letters of names apart."""
    wanted = normalize("NFC", pattern.name)
    names = [name for name in _names(pattern.parent) if fnmatchcase(normalize("NFC", name), wanted)]
    return [str(pattern.with_name(name)) for name in names if not name.startswith(".")]


def _names(folder: Path) -> list[str]:
    return [path.name for path in islice(folder.iterdir(), MOST_SIBLINGS)] if folder.is_dir() else []


def listed(names: Sequence[str]) -> str:
    """Names in a message."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
