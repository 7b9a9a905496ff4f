"""Columns of Arrow as what text can say, and as what is safe in a spreadsheet.

Numbers of ours have six digits in text: more are noise, and hard to read. What a format has no word for is told in
`row_writers.py`.
"""

import base64
import json
import math
import re
from itertools import islice
from typing import Any

import pyarrow as pa
from pyarrow import types

from sijo.files.json_files import sayable

DIGITS = 6
FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""How a text begins that a spreadsheet may take for a formula, or for a cell and a formula behind it."""


def six_digits(value: Any) -> Any:
    """A number with six significant digits, and so each in lists and maps; anything else as it is.

    >>> six_digits([0.1 + 0.2, {"sea": 2 / 3}, 1e-9, 12, None])
    [0.3, {'sea': 0.666667}, 1e-09, 12, None]
    """
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [six_digits(item) for item in value]
    return {key: six_digits(item) for key, item in value.items()} if isinstance(value, dict) else value


def looks_like_formula(value: object) -> bool:
    """Whether a spreadsheet may take a text for more than text.

    >>> [looks_like_formula(value) for value in ("=1+1", "＠SUM(A1)", "a=b", "", -0.5)]
    [True, True, False, False, False]
    """
    return isinstance(value, str) and FORMULA.match(value) is not None


def values(column: pa.ChunkedArray, *, finite: bool) -> list[Any]:
    """A column as what JSON can say: strings, numbers, booleans, lists, dicts and None.

    finite  True turns NaN and infinities into None, for JSON has no word for them

    Dates and times become ISO 8601 text, decimals their digits, bytes base64.

    >>> import pyarrow as pa
    >>> values(pa.chunked_array([[float("nan"), 0.5]]), finite=True)
    [None, 0.5]
    """
    kind = column.type
    if types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        plain = kind.value_type if types.is_dictionary(kind) else kind.storage_type
        return values(column.cast(plain), finite=finite)
    if types.is_nested(kind):
        return _nested(column, finite)
    if types.is_floating(kind) and finite:
        return [x if x is not None and math.isfinite(x) else None for x in column.to_pylist()]
    if (types.is_primitive(kind) and not types.is_temporal(kind)) or types.is_null(kind):
        return list(column.to_pylist())
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    if any(is_kind(kind) for is_kind in binary):
        return [None if x is None else base64.b64encode(x).decode() for x in column.to_pylist()]
    return _text(column)


def _nested(column: pa.ChunkedArray, finite: bool) -> list[Any]:
    """Lists, structs and maps: their values taken all at once, then parted again."""
    import pyarrow.compute as pc

    kind = column.type
    if types.is_map(kind):
        entry = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
        maps = values(column.cast(pa.list_(entry)), finite=finite)
        named = ([(as_field(pair["key"]), pair["value"]) for pair in pairs or ()] for pairs in maps)
        return [None if pairs is None else dict(own) for pairs, own in zip(maps, named, strict=True)]
    if types.is_struct(kind):
        names = [field.name for field in kind]
        fields = [values(pc.struct_field(column, [place]), finite=finite) for place in range(len(names))]
        valid = column.is_valid().to_pylist()
        return [
            dict(zip(names, row, strict=True)) if is_valid else None
            for is_valid, *row in zip(valid, *fields, strict=True)
        ]
    items = iter(values(pc.list_flatten(column), finite=finite))
    lengths = pc.list_value_length(column).to_pylist()
    return [length if length is None else list(islice(items, length)) for length in lengths]


def _text(column: pa.ChunkedArray) -> list[str | None]:
    """Strings, and what Arrow itself writes as digits and ISO 8601."""
    text = column if types.is_string(column.type) else column.cast(pa.large_string())
    if types.is_timestamp(column.type):  # "2024-01-31 10:00:00+0100" lacks a T and a colon
        import pyarrow.compute as pc

        text = pc.replace_substring(text, " ", "T")
        text = pc.replace_substring_regex(text, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    try:
        return list(text.to_pylist())
    except UnicodeDecodeError:  # Parquet does not check what it is given as a string
        raw = text.cast(pa.large_binary()).to_pylist()
        return [None if x is None else x.decode(errors="backslashreplace") for x in raw]


def as_field(value: object) -> Any:
    """What the csv module writes as it should: it knows None, numbers and strings."""
    if isinstance(value, str):
        return writable(value)
    return json_text(value) if isinstance(value, bool | list | dict) else value


def json_text(value: object) -> str:
    return writable(json.dumps(sayable(value), ensure_ascii=False))


def writable(text: str) -> str:
    r"""UTF-8 cannot hold half a surrogate pair; written as \ud83d it stays right inside JSON."""
    return text.encode(errors="backslashreplace").decode()
