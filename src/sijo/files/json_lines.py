"""A file of JSON objects, one a line, that a run adds to: cut back when the run goes on from an earlier step."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sijo.errors import TextError
from sijo.files.json_files import json_line, parse_json
from sijo.files.paths import present
from sijo.files.private import open_file

RUN_FILES = ("metrics.jsonl", "timings.jsonl", "examples.jsonl")
"""Of a run: means over steps, how long they took, and texts with what its networks make of them."""


class JsonLinesFile:
    """Lines by step, each only added.

    file       made if it is not there
    last_step  lines of later steps are dropped, as is half a line at the end

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "metrics.jsonl"
    ...     for last_step in (0, 1, 1):
    ...         with JsonLinesFile(file, last_step=last_step) as lines:
    ...             lines.write({"step": last_step + 1, "loss": 0.5 + last_step})
    ...     read_lines(file)
    [{'step': 1, 'loss': 0.5}, {'step': 2, 'loss': 1.5}]
    """

    def __init__(self, file: Path, *, last_step: int) -> None:
        self.kept = [line for line in read_lines(file) if line["step"] <= last_step]
        # Not buffered: a buffer would write a line again, behind its half, when it is closed after a full disk.
        self._out = os.fdopen(open_file(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab", buffering=0)
        self._out.truncate(sum(map(len, _content(file).splitlines(keepends=True)[: len(self.kept)])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._out.close()

    def write(self, fields: Mapping[str, Any]) -> None:
        """Add a line, for a reader to see at once; a float stands there with every digit that it has."""
        left = memoryview(json_line(fields))
        while left:
            left = left[self._out.write(left) :]

    def to_disk(self) -> None:
        """Bring all lines to the disk."""
        os.fsync(self._out.fileno())


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, none where there is no file; half a line at its end is left out.

    Raises TextError for a damaged line anywhere else.
    """
    whole, _, _ = _content(file).rpartition(b"\n")
    objects = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        objects.append(object_of(line, number, file))
    return objects


def object_of(line: bytes, number: int, file: Path) -> dict[str, Any]:
    """The object that a line of a file holds; TextError, which names it, where it is none."""
    try:
        fields = parse_json(line)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
    except ValueError as error:
        raise TextError(f"line {number} of {file} is damaged ({error}); remove that line") from None
    return fields


def _content(file: Path) -> bytes:
    found = present(file.parent, file.name)
    return b"" if found is None else found.read_bytes(sys.maxsize)


def json_leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested objects, by its path."""
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from json_leaves(value, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, values
