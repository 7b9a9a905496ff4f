"""What can go wrong, one class for each kind of remedy; and what a person should know although nothing did.

Each error is one sentence for a person: what was given, why it cannot be, what would do. The
command line prints that sentence and leaves with the class's `exit_code`. `assert` stays for
what sijo promises itself. A warning is such a sentence too, given by `warn` beside results that stand.
"""

import sys
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import PurePath
from unicodedata import normalize

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes that stand behind another."""
LONGEST_SENTENCE = 2_000
"""Characters of an error; a file may hold a name of a million."""


class SijoError(Exception):
    """Anything sijo refuses or fails at, told in one sentence, whose middle is left out where it is very long."""

    exit_code = 1

    def __init__(self, sentence: str = "") -> None:
        if len(sentence) > LONGEST_SENTENCE:
            kept = LONGEST_SENTENCE // 2 - 50
            left_out = len(sentence) - 2 * kept
            sentence = f"{sentence[:kept]}… ({left_out:,} characters left out) …{sentence[-kept:]}"
        super().__init__(sentence)


class SettingError(SijoError, ValueError):
    """Change a setting, an argument or a path."""

    exit_code = 2


class TextError(SijoError, ValueError):
    """Mend the text or the file that holds it."""

    exit_code = 3


class RefusedError(SijoError):
    """Choose another model, or convert this one: it is unsafe to open or of a kind sijo lacks."""

    exit_code = 4


class CheckpointError(SijoError):
    """Copy or download the checkpoint again: it is incomplete or damaged."""

    exit_code = 5


class SijoWarning(UserWarning):
    """What a person should know before trusting results that were given all the same.

    In Python, `warnings.filterwarnings("error", category=sijo.SijoWarning)` makes it an error; the command
    line counts warnings in its summary, and `--strict` ends with `exit_code` at the first.
    """

    exit_code = 3


EXTRAS = {
    "torch": "torch",
    "onnx": "export",
    "huggingface_hub": "hub",
    "matplotlib": "plot",
    "python_calamine": "xlsx",
    "xlsxwriter": "xlsx",
    "ray": "ray",
    "fsspec": "ray",
    "fastapi": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "orjson": "serve",
}
"""The extra of sijo's package that brings a module."""


def not_installed(error: ModuleNotFoundError) -> SettingError | None:
    """What to tell of a module that was not found: the command that installs it; None for one that no extra brings.

    >>> print(not_installed(ModuleNotFoundError(name="torch.nn")))
    this needs torch, which is not installed: pip install 'sijo[torch]'
    """
    module = str(error.name).partition(".")[0]
    if module not in EXTRAS:
        return None
    return SettingError(f"this needs {module}, which is not installed: pip install 'sijo[{EXTRAS[module]}]'")


def warn(sentence: str) -> None:
    """Give a `SijoWarning`, as if from the line outside of sijo that led here.

    >>> with warnings.catch_warnings(record=True) as given:
    ...     warn("12 of the texts were cut")
    >>> given[0].category.__name__, str(given[0].message)
    ('SijoWarning', '12 of the texts were cut')
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sijo":
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, SijoWarning, stacklevel=level)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one that is, or nothing.

    >>> nearest("txet", ["text", "domain"])
    "; did you mean 'text'?"
    >>> nearest("zzz", ["text", "domain"])
    ''
    >>> nearest("배숑", ["환불", "배송"])  # letter by letter, not by syllables
    "; did you mean '배송'?"
    """
    return _hint(name, {word: word for word in known})


def nearest_file(name: str, known: Iterable[str]) -> str:
    """The same for the name of a file, by what stands before its suffix: `.csv` makes no two names alike.

    >>> nearest_file("새요청.csv", ["초성.csv", "요청.tsv"])
    "; did you mean '요청.tsv'?"
    >>> nearest_file("새요청.csv", ["초성.csv"])
    ''
    """
    suffix = PurePath(name).suffix
    files = sorted(known, key=lambda other: PurePath(other).suffix == suffix)  # the last of one stem is taken
    return _hint(_stem(name), {_stem(other): other for other in files})


def _stem(file: str) -> str:
    path = PurePath(file)
    return PurePath(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def _hint(name: str, known: Mapping[str, str]) -> str:
    """A hint at what is known by the nearest name, letter by letter."""
    by_folded = {normalize("NFD", word.casefold()): meant for word, meant in known.items()}
    close = get_close_matches(normalize("NFD", name.casefold()), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""
