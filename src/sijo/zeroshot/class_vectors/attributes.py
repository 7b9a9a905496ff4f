"""Tables of attributes: what each class is like, as numbers that somebody wrote down.

CSV begins with a header, label and then a column for each attribute; JSON is an object of an object for each class.
A cell is a number, or yes or no, true or false. Nothing in a file is run.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sijo.errors import SettingError, TextError, nearest
from sijo.names import apart, folded, name_of
from sijo.zeroshot.class_vectors.linear import Floats
from sijo.zeroshot.label_files import read_labels_file

WORDS = {"yes": 1.0, "true": 1.0, "y": 1.0, "no": 0.0, "false": 0.0, "n": 0.0}
"""What a cell may say in place of 1 and 0, in small letters."""
SHOWN = 5
"""Classes, in an error."""


@dataclass(frozen=True)
class AttributeTable:
    """Classes and their attributes; without holes, and no attribute the same for all."""

    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    values: Floats
    """(classes, attributes) float64."""

    def rows(self, names: Sequence[str]) -> Floats:
        """The attributes of these classes, whatever their case and blanks, (L, A).

        Raises TextError that names those without a row.
        """
        places = {folded(name): place for place, name in enumerate(self.classes)}
        missing = [name for name in names if folded(name) not in places]
        if missing:
            more = f", and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise TextError(
                f"the table of attributes has no row for {', '.join(map(repr, missing[:SHOWN]))}{more}"
                f"{nearest(missing[0], self.classes)}; add one for each class, or leave the class out"
            )
        rows: Floats = self.values[[places[folded(name)] for name in names]]
        return rows


def read_attributes(path: str | Path) -> AttributeTable:
    """A table of attributes from a `.csv` or `.json` file.

    Raises SettingError for a file that is not there or of another kind; TextError, with the class and the
    attribute, for a hole, for what is no number, for a class or an attribute that stands there twice, and for an
    attribute that is the same for every class.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "pets.csv").write_text("label,barks,swims\\ndog,yes,1\\ncat,no,0.5\\nfish,no,1")
    ...     read_attributes(Path(place) / "pets.csv").rows(["Fish"]).tolist()
    [[0.0, 1.0]]
    """
    path = Path(path)
    match path.suffix.lower():
        case ".csv":
            records = _of_csv(read_labels_file(path), path)
        case ".json":
            records = _of_json(read_labels_file(path), path)
        case suffix:
            raise SettingError(f"{path} ends in {suffix!r}; a table of attributes is .csv or .json")
    return _table(records, path)


def _of_csv(text: str, path: Path) -> list[tuple[Any, Mapping[str, Any]]]:
    """Each row's class, and its cells by attribute."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
    except csv.Error as error:
        raise TextError(f"{path} is not CSV ({error}); close and double its quotes") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    if (
        not header
        or folded(header[0]) not in ("label", "class", "name", "라벨", "레이블", "이름")
        or len(header) < 2
    ):
        raise TextError(f"{path} must begin with a line such as label,first attribute,second attribute")
    _each_once(header[1:], f"{path}: the attribute")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(header):
            raise TextError(f"{path}, row {number} has {len(row)} cells, and the header {len(header)}; mend it")
    return [(row[0], dict(zip(header[1:], [*row[1:], *[""] * len(header)], strict=False))) for row in rows[1:]]


def _of_json(text: str, path: Path) -> list[tuple[Any, Mapping[str, Any]]]:
    """The same of {"class": {"attribute": value}}."""
    try:
        content = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(fields, dict) for fields in content.values()):
        raise TextError(f'{path} must hold an object such as {{"dog": {{"barks": 1, "swims": 0.5}}}}')
    return list(content.items())


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, refused where it says of one thing twice."""
    _each_once([key for key, _ in pairs], "")
    return dict(pairs)


def _each_once(names: Sequence[str], where: str) -> None:
    """Raise TextError for a name that is none, and for two that are one."""
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if not folded(name):
            raise TextError(f"{where or 'a key'} {name!r} is blank; name it")
        if (other := first.setdefault(folded(name), place)) != place:
            one, two = apart(name, names[other])
            raise TextError(f"{where} {one} stands there twice (the other is {two}); leave one out".strip())


def _table(records: Sequence[tuple[Any, Mapping[str, Any]]], path: Path) -> AttributeTable:
    """Checked, cell by cell."""
    classes = []
    for number, (name, _) in enumerate(records, 1):
        if (known := name_of(name)) is None:
            raise TextError(f"{path}: class {number} has no name; give it one, or leave the row out")
        classes.append(known)
    _each_once(classes, f"{path}: the class")
    if len(classes) < 2:
        raise TextError(f"{path} tells of {len(classes)} classes; give two or more, which attributes tell apart")
    attributes = list(dict.fromkeys(attribute for _, fields in records for attribute in fields))
    if not attributes:
        raise TextError(f"{path} has no attributes; give each class one or more")
    _each_once(attributes, f"{path}: the attribute")
    values = np.array(
        [
            [
                _number(fields.get(attribute), f"{path}, class {name!r}, attribute {attribute!r}")
                for attribute in attributes
            ]
            for name, (_, fields) in zip(classes, records, strict=True)
        ]
    )
    for attribute, column in zip(attributes, values.T, strict=True):
        if (column == column[0]).all():
            raise TextError(
                f"{path}: the attribute {attribute!r} is {column[0]:g} for every class, which tells none apart; "
                "leave it out"
            )
    return AttributeTable(tuple(classes), tuple(attributes), values)


def _number(cell: Any, where: str) -> float:
    """What a cell says. Raises TextError for a hole and for what is no number."""
    if isinstance(cell, str) and (word := folded(cell)) in WORDS:
        return WORDS[word]
    if cell is None or (isinstance(cell, str) and not folded(cell)):
        raise TextError(f"{where} is empty; every class needs a value there, such as 0 or 1")
    try:
        value = float(cell) if isinstance(cell, str | int | float) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise TextError(f"{where} is {str(cell)[:60]!r}, which is no number; write one, or yes or no")
    return value
