"""Texts as people hold them: lists, columns of tables, arrays; and as a terminal may show them.

pandas, polars, PyArrow, `datasets` and NumPy are recognised where their users have imported them; nothing is
imported for that. A table of several columns, and whatever else would be read as something that nobody meant (a
mapping as its keys, a file as its lines), is refused with the call that would do.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from sijo.errors import SettingError, TextError

COLUMNS = {
    "numpy": ("ndarray",),
    "pandas": ("Series", "Index", "api.extensions.ExtensionArray"),
    "polars": ("Series",),
    "pyarrow": ("Array", "ChunkedArray"),
    "datasets": ("arrow_dataset.Column", "iterable_dataset.IterableColumn"),
}
"""What is one column, by the library that it is of."""
TABLES = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame",),
    "pyarrow": ("Table", "RecordBatch"),
    "datasets": ("Dataset", "IterableDataset"),
}
"""What may have several."""
LIBRARIES = (*COLUMNS, "scipy")
"""What else is of these is refused: to iterate over it would give names, numbers or pairs."""
ITEM_HINTS = {
    "dict": ': [row["text"] for row in rows]',
    "bytes": ": [text.decode() for text in texts]",
    "bytes_": ": [text.decode() for text in texts]",
    "list": ", one a text: [row[0] for row in rows]",
    "tuple": ", one a text: [row[0] for row in rows]",
}
ABSENT = ", '' for a text that is absent"
NUMBERS = "; a column of numbers becomes strings by .astype(str)"
STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls: ESC begins an escape sequence, U+009B does so alone
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # Unicode's Bidi_Control, and old ones
    "\u2028\u2029\ufff9-\ufffb\ud800-\udfff]"  # line ends, annotations, halves of surrogate pairs
)
"""What steers a terminal, or shows letters in another order than they have. Joiners, as in emoji, stay."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text that no terminal obeys: what would steer it is written as \u001b, the rest stays.

    lines  keep line ends and tabs, which otherwise become spaces

    >>> printable("a\x1b[31mb\n시\u202e")
    'a\\u001b[31mb 시\\u202e'
    """

    def shown(match: re.Match[str]) -> str:
        letter = match[0]
        if letter in "\n\t":
            return letter if lines else " "
        return " " if letter == "\r" and not lines else f"\\u{ord(letter):04x}"

    return STEERING.sub(shown, text)


def shortened(text: str, most: int = 24) -> str:
    """A text, or of a long one its two ends.

    >>> shortened("Knead the dough for ten minutes.")
    'Knead the dough…minutes.'
    """
    return text if len(text) <= most else f"{text[: most * 2 // 3 - 1]}…{text[-most // 3 :]}"


def check_text(text: str, what: str) -> None:
    """Raise SettingError when a text cannot be written as UTF-8: it holds half of a surrogate pair."""
    if half := half_character(text):
        raise SettingError(f"{what} holds a lone surrogate (U+{half}), which no text has; remove it")


def half_character(text: str) -> str | None:
    """The first half of a surrogate pair that stands alone in a text, as hexadecimal digits; None without one.

    >>> half_character("a\\udcff"), half_character("시")
    ('DCFF', None)
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{ord(text[error.start]):04X}"
    return None


def texts_in(values: Any, what: str = "texts", one: str = "text") -> Iterator[str]:
    """The texts in whatever a person holds them in, lazily and in order; missing values are empty texts.

    values  a list, a generator or another iterable of strings; an array of them, also of shape (n, 1); a column of
            pandas, polars, PyArrow or `datasets`, or a table of one column
    what    names the argument in errors
    one     names one of its items

    Missing are None, NaN, pandas' NA and NaT, and what is masked, wherever they stand.

    Raises SettingError, when it is called, for what holds no texts or does not say which; TextError, when it comes
    to it, for a value that is no string, or holds half of a surrogate pair.

    >>> list(texts_in(["a sonata", None])), list(texts_in(name for name in "ab"))
    (['a sonata', ''], ['a', 'b'])
    >>> texts_in({"text": ["a sonata"]})
    Traceback (most recent call last):
    sijo.errors.SettingError: texts is of type dict, and would be read as its keys; pass one column: data["text"]
    """
    return _strings(values_in(values, what), one, missing="")


def names_in(values: Any, what: str, one: str) -> Iterator[str]:
    """The same for names, of which none may be missing."""
    return _strings(values_in(values, what), one, missing=None)


def _strings(values: Iterator[Any], one: str, *, missing: str | None) -> Iterator[str]:
    for number, value in enumerate(values, start=1):
        text = value if type(value) is str else plain(value)
        if not isinstance(text, str):
            kind = type(value).__name__
            if not is_missing(value):
                hint = ITEM_HINTS.get(kind, NUMBERS if missing is None else f"{ABSENT}{NUMBERS}")
                raise TextError(f"{one} {number} is of type {kind}; pass strings{hint}")
            if missing is None:
                raise TextError(f"{one} {number} is missing: it is {value!r}; leave the row out, as .dropna() does")
            text = missing
        if not text.isascii() and half_character(text):
            raise TextError(f"{one} {number} holds a lone surrogate, which no text has; remove it")
        yield text


def plain(value: Any) -> Any:
    """A string of another class, such as NumPy's or a member of an enumeration, as a `str`; the rest as it is."""
    return value if type(value) is str or not isinstance(value, str) else str.__str__(value)


def is_missing(value: Any) -> bool:
    """Whether a value of a column stands for none: None, NaN, NA, NaT, or masked.

    >>> is_missing(None), is_missing(float("nan")), is_missing("nan")
    (True, True, False)
    """
    if value is None:
        return True
    if isinstance(value, float) or is_of(value, "numpy", "floating", "datetime64", "timedelta64"):
        return bool(value != value)  # noqa: PLR0124 (so is NaN told, and NaT)
    if is_of(value, "numpy", "ma.core.MaskedConstant"):
        return True
    pandas = sys.modules.get("pandas")
    return pandas is not None and any(value is getattr(pandas, name, value is None) for name in ("NA", "NaT"))


def values_in(values: Any, what: str) -> Iterator[Any]:
    """The values of one column in whatever it is held in, whatever they are; `texts_in` says in what.

    Raises SettingError where that is no column, or not clear which.
    """
    kind = type(values).__name__
    library = type(values).__module__.partition(".")[0]
    if isinstance(values, str | bytes | bytearray | memoryview):
        raise SettingError(f"{what} is one string, and would be read letter by letter; pass a list of texts")
    if isinstance(values, Mapping):
        place = 'data["train"]["text"]' if library == "datasets" else 'data["text"]'
        raise SettingError(f"{what} is of type {kind}, and would be read as its keys; pass one column: {place}")
    if isinstance(values, set | frozenset):
        raise SettingError(f"{what} is a {kind}, which has no order; pass a list, such as sorted({what})")
    if any(is_of(values, name, *kinds) for name, kinds in TABLES.items()):
        return _column(_only_column(values, what), what)
    if any(is_of(values, name, *kinds) for name, kinds in COLUMNS.items()):
        return _column(values, what)
    if library in LIBRARIES and not is_of(values, "numpy", "generic"):
        lazy = ".collect()" if hasattr(values, "collect") else ""
        raise SettingError(f'{what} is a {library} {kind}, which is no column; pass one, such as df{lazy}["text"]')
    if isinstance(values, os.PathLike) or hasattr(values, "readline"):
        raise SettingError(
            f"{what} is of type {kind}, a file; read it, as Path(name).read_text().splitlines() does, and pass the "
            "list"
        )
    shape = getattr(values, "shape", None)
    if hasattr(values, "columns") or hasattr(values, "keys") or (isinstance(shape, tuple) and len(shape) != 1):
        raise SettingError(f'{what} is of type {kind}, which is no column; pass one as a list, such as df["text"]')
    try:
        return iter(values)
    except TypeError:
        raise SettingError(f"{what} is of type {kind}, which holds no texts; pass a list of strings") from None


def is_of(value: Any, library: str, *names: str) -> bool:
    """Whether a value is of one of these classes of a library, which is not imported for that."""
    module = sys.modules.get(library)
    if module is None:
        return False
    for name in names:
        kind: Any = module
        for part in name.split("."):
            kind = getattr(kind, part, None)
        if isinstance(kind, type) and isinstance(value, kind):
            return True
    return False


def _column(values: Any, what: str) -> Iterator[Any]:
    """The values of what is one column: an array may have the shape (n, 1)."""
    if is_of(values, "pandas", "MultiIndex"):
        raise SettingError(f"{what} is an index of {values.nlevels} levels; pass one: .get_level_values(0)")
    if is_of(values, "pyarrow", "Array", "ChunkedArray"):
        return (value.as_py() for value in values)
    if not is_of(values, "numpy", "ndarray") or values.ndim == 1:
        return iter(values)
    if values.ndim == 2 and values.shape[1] == 1:
        return (values[row, 0] for row in range(len(values)))
    first = ", ".join([":", *["0"] * (values.ndim - 1)])
    way = f"{what}[{first}]" if values.ndim else "[array.item()]"
    raise SettingError(
        f"{what} is an array of shape {values.shape}, which is no column of texts; pass one, such as {way}"
    )


def _only_column(table: Any, what: str) -> Any:
    """The column of a table that has one."""
    framed = is_of(table, "pandas", "DataFrame") or is_of(table, "polars", "DataFrame")
    names = table.columns if framed else table.column_names
    if names is None:
        raise SettingError(
            f"{what} is a {type(table).__name__}, which does not tell its columns; pass one, such as data['text']"
        )
    names = list(names)
    if len(names) != 1:
        listed = ", ".join(map(str, names[:12])) + (", …" if len(names) > 12 else "")
        name = names[0] if names and "text" not in names else "text"
        raise SettingError(
            f"{what} is a {type(table).__name__} of {len(names)} columns ({listed or 'none'}); pass the one with "
            f"the texts, such as df[{name!r}]"
        )
    return table.iloc[:, 0] if is_of(table, "pandas", "DataFrame") else table[names[0]]
