"""JSON files: read strictly, since they may be damaged or untrusted, and written as people read them."""

import json
import math
import sys
from pathlib import Path
from typing import Any, Protocol

from sijo.errors import CheckpointError, RefusedError
from sijo.files.private import write_file

LONGEST_JSON = 16_000_000
"""Bytes. The index of a hundred thousand tensors is shorter, and `[[],[],…` of this length takes 0.5 GB to read."""


def parse_json(content: bytes) -> Any:
    """The value of strict JSON in UTF-8: no name twice in an object, no number no float holds, no endless nesting.

    Raises ValueError, whose text says what is wrong.

    >>> parse_json(b'{"layers": 6, "layers": 7}')
    Traceback (most recent call last):
    ValueError: the name 'layers' stands twice in one object
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in fields:
                raise ValueError(f"the name {name[:60]!r} stands twice in one object")
            fields[name] = value
        return fields

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"the number {text[:60]} is not finite")
        return number

    def whole(text: str) -> int:
        most = sys.float_info.max  # of 309 digits; Python reads 4300 at most, and says so in its own words
        if len(text) > 310 or not -most <= (number := int(text)) <= most:
            raise ValueError(f"the number {text[:20]}… is too large")
        return number

    try:
        text = content.decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_int=whole, parse_constant=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class Readable(Protocol):
    """A file of a folder, `paths.FolderFile`. A path is none: nothing of a folder is read by its path."""

    def read_bytes(self, most: int) -> bytes:
        """All of it, unless that is more than so many bytes."""
        ...


def read_json(file: Readable) -> Any:
    """The value in a JSON file of a folder; CheckpointError when it is damaged."""
    try:
        return parse_json(file.read_bytes(LONGEST_JSON))
    except ValueError as error:
        raise CheckpointError(f"{file} is not whole JSON ({error}); copy it again") from None


def read_object(file: Readable) -> dict[str, Any]:
    """The fields of a JSON object in a folder; CheckpointError when it is damaged or something else."""
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{file} is not a JSON object; copy it again")
    return fields


def read_versioned(file: Readable, version: int) -> dict[str, Any]:
    """The fields of a JSON object whose `format` this sijo knows; RefusedError for another one."""
    fields = read_object(file)
    if fields.get("format") != version:
        raise RefusedError(
            f"{file} is of format {fields.get('format')!r:.60} and this sijo knows {version}; update sijo"
        )
    return fields


def sayable(value: Any) -> Any:
    """A value as JSON can say it: null in place of NaN and infinities, wherever in it they stand.

    >>> sayable({"loss": float("nan"), "rates": (0.5, float("inf"))})
    {'loss': None, 'rates': [0.5, None]}
    """
    if isinstance(value, dict):
        return {name: sayable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [sayable(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(content: object) -> str:
    """JSON as people read it: indented, letters as they are; NaN and infinities are null."""
    return _writable(json.dumps(sayable(content), indent=2, ensure_ascii=False) + "\n")


def json_line(content: object) -> bytes:
    """JSON in one line with its end, letters as they are; NaN and infinities are null."""
    return _writable(json.dumps(sayable(content), ensure_ascii=False) + "\n").encode()


def write_json(file: Path, content: object) -> None:
    """Write a JSON file of a checkpoint as people read it."""
    write_file(file, json_text(content).encode())


def _writable(text: str) -> str:
    r"""UTF-8 cannot hold half a surrogate pair; written as \ud83d it stays right inside JSON."""
    return text.encode(errors="backslashreplace").decode()
