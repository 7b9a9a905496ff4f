"""What there is to choose from: names, and what each name means."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sijo.errors import SettingError, TextError, nearest
from sijo.names import folded
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
            if not isinstance(label.name, str) or not label.name.strip():
                raise SettingError(
                    f"label {len(seen) + 1} of {len(self.labels)} is {label.name!r}; a label is a word or a phrase"
                )
            check_text(label.name, f"the label {label.name!r}")
            first = seen.setdefault(folded(label.name), label.name)
            if len(seen) < place:
                raise SettingError(
                    f"the label {label.name!r} is given twice (the other is {first!r}); leave one out"
                )

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
    def parse(cls, line: str) -> "LabelSet":
        """From one line of names with commas between; a name that holds a comma stands in quotes.

        >>> LabelSet.parse('sport, "Lisbon, Portugal"').names
        ('sport', 'Lisbon, Portugal')
        """
        try:
            names = next(csv.reader([line], strict=True, skipinitialspace=True), [])
        except csv.Error as error:
            raise SettingError(
                f"--labels {line!r} cannot be split at its commas ({error}); put a label that holds a comma "
                "or a quote in double quotes, or use --labels-file"
            ) from None
        return cls.of([name.strip() for name in names])

    @classmethod
    def read(cls, path: Path) -> "LabelSet":
        """From a file: `.txt` with a name a line, `.csv` with name,description, or `.json` with either.

        In a CSV the first column is the name and every further one a description; its first line is
        the header `label,description`.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise TextError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
        except (FileNotFoundError, IsADirectoryError):
            there = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
            raise SettingError(f"there is no labels file {path}{nearest(path.name, there)}") from None
        match path.suffix.lower():
            case ".json":
                try:
                    content = json.loads(text, object_pairs_hook=list)  # pairs, so that a name given twice is seen
                except (ValueError, RecursionError) as error:
                    raise TextError(f"{path} is not JSON: {error}") from None
                if not isinstance(content, list):
                    raise TextError(f"{path} must hold a list of labels or an object of label: description")
                pairs = [pair if isinstance(pair, tuple) else (pair, ()) for pair in content]
            case ".csv":
                try:
                    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
                except csv.Error as error:
                    raise TextError(f"{path} is not CSV ({error}); close and double its quotes") from None
                if not rows or rows[0][0].strip().casefold() != "label":
                    raise TextError(f"{path} must begin with the line: label,description")
                pairs = [(row[0].strip(), row[1:]) for row in rows[1:]]
            case ".txt":
                pairs = [(line.strip(), ()) for line in text.split("\n") if line.strip()]
            case suffix:
                raise SettingError(f"{path} ends in {suffix!r}; a labels file is .txt, .csv or .json")
        return cls._described(pairs)


def _descriptions(name: str, value: object) -> tuple[str, ...]:
    """The descriptions of a label, from one text or a list of them; empty ones are left out."""
    texts = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise SettingError(f"the description of {name!r} is {value!r}; give a text or a list of texts")
    for text in texts:
        check_text(text, f"a description of {name!r}")
    return tuple(text for text in texts if text.strip())
