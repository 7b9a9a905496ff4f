"""What there is to choose from: names, and what each name means."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sijo.errors import SettingError, TextError, nearest, warn
from sijo.names import STRONG_MARKS, apart, folded, parts_of
from sijo.texts import check_text, plain, values_in

Labels = Sequence[str] | Mapping[str, str | Sequence[str]]
"""Names, or names with one description or several."""


@dataclass(frozen=True)
class Label:
    """One class, by name and optionally in other words."""

    name: str
    descriptions: tuple[str, ...] = ()

    def phrases(self, template: str) -> tuple[str, ...]:
        """The sentences that stand for the label: the template with its name, then its descriptions."""
        return (template.replace("{}", self.name), *self.descriptions)


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order given, each name once.

    >>> LabelSet.of({"sport": "games, teams and athletes", "tax": ()}).names
    ('sport', 'tax')
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise SettingError('no labels were given; name them, as in --labels "business,sport,tech"')
        seen: dict[str, str] = {}
        for place, label in enumerate(self.labels, start=1):
            if not isinstance(label.name, str) or not folded(label.name):
                raise SettingError(
                    f"label {len(seen) + 1} of {len(self.labels)} is {label.name!r}; a label is a word or a phrase"
                )
            check_text(label.name, f"the label {label.name!r}")
            first = seen.setdefault(folded(label.name), label.name)
            if len(seen) < place:
                twice, other = apart(label.name, first)
                raise SettingError(f"the label {twice} is given twice (the other is {other}); leave one out")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(label.name for label in self.labels)

    @classmethod
    def of(cls, labels: Labels) -> "LabelSet":
        """From names, in whatever `values_in` reads, or from a mapping of names to descriptions.

        Raises SettingError for a label that is empty, missing or given twice, or a bare string.
        """
        if isinstance(labels, str | bytes):
            raise SettingError(
                f"labels={labels!r} is one string, and a comma may belong to a label; pass a list of labels"
            )
        pairs = (
            labels.items() if isinstance(labels, Mapping) else ((name, ()) for name in values_in(labels, "labels"))
        )
        return cls._described(pairs)

    @classmethod
    def _described(cls, pairs: Iterable[tuple[str, object]]) -> "LabelSet":
        return cls(tuple(Label(plain(name), _descriptions(name, descriptions)) for name, descriptions in pairs))

    @classmethod
    def parse(cls, line: str, separator: str | None = None) -> "LabelSet":
        """From one line of names with commas or semicolons between, or that is a list; see `parts_of`.

        A name that holds what stands between them stands in double quotes.

        >>> LabelSet.parse('sport, "Lisbon, Portugal"').names, LabelSet.parse("['sport', 'art']").names
        (('sport', 'Lisbon, Portugal'), ('sport', 'art'))
        """
        return cls._described((name, ()) for name in names_of_line(line, separator))  # type: ignore[misc]

    @classmethod
    def read(cls, path: Path) -> "LabelSet":
        """From a file: `.txt` with a name a line, `.csv` with name,description, or `.json` with either.

        In a CSV the first column is the name and every further one a description; its first line is
        the header `label,description`. A text of one line is read as `parse` does. JSON is a list of names or of
        {"label": …, "description": …}, an object of name: description, or a config's id2label or label2id.
        """
        text = read_labels_file(path)
        match path.suffix.lower():
            case ".json":
                try:
                    content = json.loads(text, object_pairs_hook=_Object)
                except (ValueError, RecursionError) as error:
                    raise TextError(f"{path} is not JSON: {error}") from None
                pairs = _pairs(content, path)
            case ".csv":
                try:
                    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
                except csv.Error as error:
                    raise TextError(f"{path} is not CSV ({error}); close and double its quotes") from None
                if not rows or rows[0][0].strip().casefold() != "label":
                    raise TextError(f"{path} must begin with the line: label,description")
                pairs = [(row[0].strip(), row[1:]) for row in rows[1:]]
            case ".txt":
                lines = [line.strip() for line in text.split("\n") if line.strip()]
                if len(lines) == 1:
                    return cls.parse(lines[0])
                if lines and (lines[0][0] in "[{" or all(line[-1] in ",;" for line in lines[:-1])):
                    raise TextError(f"{path} has marks around its names; write one name a line and nothing else")
                pairs = [(line, ()) for line in lines]
            case suffix:
                raise SettingError(f"{path} ends in {suffix!r}; a labels file is .txt, .csv or .json")
        return cls._described(pairs)


def names_of_line(line: str, separator: str | None = None, *, option: str = "--labels") -> list[object]:
    """The names in the words of an option, blank ones too. Raises SettingError for several that look like one."""
    try:
        names, mark = parts_of(line, separator)
    except TextError as error:
        raise SettingError(f"{option} {error}; or name them in a file") from None
    if separator is None and names == [line.strip()]:
        if odd := next((mark for mark in STRONG_MARKS if mark in line.strip()), None):
            raise SettingError(
                f"{option} {line!r} is one label that looks like several parted at {odd!r}; put commas between, or "
                "write a JSON list"
            )
        if "/" in line:
            warn(f"{option} {line!r} is read as one label; put commas between where it is several")
    elif separator is None and mark and '"' not in line:  # in quotes it is meant
        odd = next((name for name in map(str, names) if set(name) & set(STRONG_MARKS)), None)
        if odd is not None:
            warn(f"{option} holds {odd!r}, which is read as one label; put {mark!r} between where it is several")
    return names


def read_labels_file(path: Path) -> str:
    """What a file of labels says. Raises SettingError where there is none, and TextError for what is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        if path.is_dir():
            raise SettingError(f"{path} is a folder; name a file of labels") from None
        there = [file.name for file in path.parent.glob("*") if file.is_file()] if path.parent.is_dir() else []
        raise SettingError(f"there is no labels file {path}{nearest(path.name, there)}") from None


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a name given twice is seen."""


LISTS = ("id2label", "label2id", "labels", "candidate_labels", "classes", "categories", "names")
"""Keys of an object under which others keep all labels."""


def _pairs(content: object, path: Path) -> list[tuple[Any, Any]]:
    """Names with their descriptions, from what a JSON file holds."""
    if not isinstance(content, list):
        raise TextError(f"{path} must hold a list of labels or an object of label: description")
    if not isinstance(content, _Object):
        return [_described_name(entry, path) if isinstance(entry, _Object) else (entry, ()) for entry in content]
    keys, values = [key for key, _ in content], [value for _, value in content]
    wrapped = next((key for key in LISTS if key in keys), None)
    if len(keys) == 1 and wrapped is not None and isinstance(values[0], str):
        raise TextError(f"{path} has a text under {wrapped!r}; give a list of labels")
    if wrapped is not None and isinstance(inner := dict(content)[wrapped], list):
        if len(keys) > 1 and wrapped not in LISTS[:2]:
            raise TextError(
                f"{path} has a list {wrapped!r} beside {next(key for key in keys if key != wrapped)!r}, which is "
                "then no label; give the list alone"
            )
        return _pairs(inner, path)
    if keys and all(type(value) is int for value in values):  # label2id
        if sorted(values) != list(range(len(values))):
            raise TextError(f"{path} numbers its labels, but not from 0 on, each once; give a list of names")
        return [(key, ()) for _, key in sorted(zip(values, keys, strict=True))]
    if keys and all(map(str.isdecimal, keys)) and all(isinstance(value, str) for value in values):  # id2label
        if sorted(map(int, keys)) != list(range(len(keys))):
            raise TextError(
                f"{path} has numbers for keys, not from 0 on: to name labels by numbers write "
                '[{"label": "1", "description": …}, …], else a list of names'
            )
        return [(name, ()) for _, name in sorted((int(key), name) for key, name in content)]
    return content


def _described_name(entry: "_Object", path: Path) -> tuple[Any, Any]:
    """A name and its descriptions, from an object in a list."""
    fields = dict(entry)
    name = fields.pop("label", None) or fields.pop("name", None)
    descriptions = fields.pop("description", None) or fields.pop("descriptions", ())
    if name is None or fields:
        raise TextError(
            f'{path} holds {dict(entry)!r}; write a label as {{"label": "sea", "description": "salt water"}}'
        )
    return name, descriptions


def _descriptions(name: str, value: object) -> tuple[str, ...]:
    """The descriptions of a label, from one text or a list of them; empty ones are left out."""
    texts = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise SettingError(f"the description of {name!r} is {value!r}; give a text or a list of texts")
    for text in texts:
        check_text(text, f"a description of {name!r}")
    return tuple(text for text in texts if text.strip())
