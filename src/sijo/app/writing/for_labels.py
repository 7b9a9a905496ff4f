"""The labels of `sijo generate --for-labels`: in a line or in a file, with control codes and beginnings."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sijo.errors import SettingError, TextError, nearest
from sijo.names import folded
from sijo.zeroshot.label_files import read_labels_file
from sijo.zeroshot.labels import names_of_line

if TYPE_CHECKING:
    from sijo.generation.synthetic import Kind

FIELDS = ("label", "control_code", "prompt")
"""Columns of a labels file."""


def kinds_of(words: str) -> list["Kind"]:
    """The labels that a person wrote down, in a line or in a file.

    >>> [(kind.label, kind.control_code) for kind in kinds_of("travel, good=Reviews Rating: 5.0")]
    [('travel', 'travel'), ('good', 'Reviews Rating: 5.0')]
    """
    from sijo.generation.synthetic import Kind

    path = Path(words)
    if path.suffix.lower() in (".csv", ".json"):
        return list(_of_records(_records(path), path))
    if path.suffix.lower() in (".txt", ".tsv", ".jsonl", ".parquet"):
        raise SettingError(f"--for-labels {words} ends in {path.suffix!r}; a labels file is .csv or .json here")
    parts = [part for part in names_of_line(words, option="--for-labels") if part != ""]
    pairs = [(name.strip(), code.strip()) for name, _, code in (str(part).partition("=") for part in parts)]
    if not pairs or not all(folded(name) for name, _ in pairs):
        raise SettingError(
            f'--for-labels {words!r} names no labels; write it as "travel,banking" or "good=Reviews"'
        )
    return [Kind(label=name, control_code=code or name) for name, code in pairs]


def _of_records(records: list[dict[str, Any]], path: Path) -> Iterator["Kind"]:
    """Labels from records of a file; several of one label are several beginnings."""
    from sijo.generation.synthetic import Kind

    codes: dict[str, str | None] = {}
    beginnings: dict[str, list[str]] = {}
    for number, record in enumerate(records, 1):
        where = f"{path}, label {number}"
        for name, value in record.items():
            if name not in FIELDS:
                raise TextError(f"{where} has {name!r}{nearest(name, FIELDS) or '.'} There are {', '.join(FIELDS)}")
            texts = value if isinstance(value, list) and name == "prompt" else [value]
            if not all(text is None or isinstance(text, str) for text in texts):
                raise TextError(f"{where}: {name} is {value!r}; write it as text")
        label, code, prompt = (record.get(name) or None for name in FIELDS)
        if label is None:
            raise TextError(f"{where} has no name; give it under 'label'")
        if codes.setdefault(label, code) != code:
            raise TextError(f"{where}: {label!r} has the code {codes[label]!r} and the code {code!r}; give it one")
        prompts = prompt if isinstance(prompt, list) else [prompt]
        beginnings.setdefault(label, []).extend(filter(None, prompts))
    if not codes:
        raise TextError(f"{path} names no label; give some")
    for label, code in codes.items():
        begun = tuple(beginnings[label])
        yield Kind(label=label, control_code=code or (None if begun else label), beginnings=begun or ("",))


def _records(path: Path) -> list[dict[str, Any]]:
    """What a labels file says: {"good": {"control_code": …, "prompt": …}}, {"good": CODE}, or rows of FIELDS."""
    text = read_labels_file(path)
    if path.suffix.lower() == ".csv":
        table = csv.DictReader(io.StringIO(text, newline=""), restkey="?")
        if "label" not in (table.fieldnames or ()):
            raise TextError(f"{path} must begin with the line: {','.join(FIELDS)}")
        return list(table)
    try:
        labels = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{path} is not JSON: {error}") from None
    if not isinstance(labels, dict):
        raise TextError(f'{path} must hold an object such as {{"good": "Reviews Rating: 5.0"}}')
    return [
        {"label": label} | (value if isinstance(value, dict) else {"control_code": value})
        for label, value in labels.items()
    ]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, refused where it says of one thing twice."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"{key!r} stands in it twice")
        fields[key] = value
    return fields
