"""Options of a command: none absurd, and handed on to what the library calls by the same names."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Group, Parameter

from sijo.errors import SettingError
from sijo.files.limits import LONGEST_ROW
from sijo.texts import half_character

if TYPE_CHECKING:
    from sijo.files.inputs.sources import TextReading

Result = TypeVar("Result")
BackendName = Literal["auto", "torch", "onnx"]
PrecisionName = Literal["exact", "auto", "bf16", "fp16", "int8", "int4"]
WriterPrecision = Literal["exact", "auto", "bf16", "fp16", "int8"]
"""Those of the backends' registry, which takes a tenth of a second to import."""
LARGEST = 10**18
"""Of the numbers that an option takes: a seed, and what is added to it, fits 64 bits."""
TEXT_COLUMN = Parameter(alias="--text-column")
"""Of --column: the two names are one wherever a column of texts is named."""
InputFormat = Literal["text", "csv", "jsonl", "parquet", "json", "xlsx"]
READING = Parameter(group=Group("Reading", sort_key=1))
CALIBRATING = Parameter(group=Group("Calibrating", sort_key=2))
MANY_LABELS = Parameter(group=Group("Many labels", sort_key=3))
HEADS = Parameter(group=Group("Models and heads", sort_key=4))
COMPUTING = Parameter(group=Group("Computing", sort_key=5))
"""These options stand apart in a command's help, behind its own."""


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """How files are read: of every command that reads tables or text."""

    delimiter: Annotated[str | None, READING] = None
    """Between the fields of a CSV: what a first line sep=; says, else a comma, or a tab in .tsv."""
    no_header: Annotated[bool, READING] = False
    """Line 1 of a CSV is a row: its columns are then column_1, column_2, …, and a number names one."""
    encoding: Annotated[str | None, READING] = None
    """Of a table of text, such as cp949 (Korean Excel), cp932, cp1252 or utf-16; by default what a byte order mark
    says, else UTF-8, else the one that fits the whole file, with a warning."""
    sheet: Annotated[str | None, READING] = None
    """Of an .xlsx: the name of a sheet, or its number from 1; by default the first that is not hidden."""
    longest_row: Annotated[int, READING] = LONGEST_ROW
    """Bytes that a line of the input may have at most, a row, and a page of Parquet."""

    def reading(self) -> "TextReading":
        """What was said, as the library takes it."""
        from sijo.files.inputs.sources import TextReading

        return TextReading(
            delimiter=self.delimiter,
            header=not self.no_header,
            encoding=self.encoding,
            sheet=self.sheet,
            longest_row=self.longest_row,
        )


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(FileReading):
    """How an input is read that may be a pipe."""

    input_format: Annotated[InputFormat | None, READING] = None
    """What the input holds; told from its suffix by default, and for a pipe and .txt from the first lines: text
    (one a line) where these are not sure to be something else."""


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """What computes, where, in which numbers and with how many threads: of every command that reads texts."""

    backend: Annotated[BackendName, COMPUTING] = "auto"
    """What runs the network. auto: onnx where the folder holds an ONNX file of the asked precision and the
    processor runs it, else torch."""
    device: Annotated[str, COMPUTING] = "auto"
    """Where it computes: cpu, cuda, cuda:N or mps; auto takes the first GPU there is, else the processor."""
    precision: Annotated[PrecisionName, COMPUTING] = "exact"
    """What it computes in; exact is float32. auto tries int8 and bf16, where the processor has them, on the first
    texts, and takes the first that decides as float32 does in 99 of 100 cases."""
    threads: Annotated[int | None, COMPUTING] = None
    """How many threads compute, of all processes together: by default as many as OMP_NUM_THREADS says, else the
    cores there are, or fewer where a container has a quota. The same number gives the same bytes."""

    def take_threads(self) -> None:
        """Let every library compute with --threads, where it is given: to be called before they are imported."""
        if self.threads is not None:
            from sijo.inference.threads import thread_count, use_threads

            use_threads(thread_count(self.threads))


def by_options(sentence: str) -> str:
    """A sentence of the library, which calls a setting by its name and the option's, for a command: the option's.

    >>> by_options("give none_label (--none-label), or the model (--model) itself, or threads (--workers)")
    'give --none-label, or the --model itself, or threads (--workers)'
    """
    return re.sub(
        r"\b([a-z_]+) \((--[a-z-]+)\)",
        lambda found: found[2] if f"--{found[1].replace('_', '-')}" == found[2] else found[0],
        sentence,
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise SettingError for a value that no option takes: a number that is not finite, or half of a character.

    A file's name need not be text, so what is none may name a file or a folder that is there.

    >>> check_options({"settings": {"none_threshold": float("nan")}})
    Traceback (most recent call last):
    sijo.errors.SettingError: --none-threshold nan is no number that it can be; give one between -10^18 and 10^18
    """
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):  # what is given several times is called by one: models by --model
            option = option.removesuffix("s")
        if is_dataclass(value) or isinstance(value, Mapping):
            check_options(value if isinstance(value, Mapping) else vars(value))
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, int | float) and not abs(item) <= LARGEST:
                number = str(item)[:20] + "…" * (len(str(item)) > 20)
                raise SettingError(
                    f"{option} {number} is no number that it can be; give one between -10^18 and 10^18"
                )
            half = half_character(item) if isinstance(item, str) else None
            if half and not any(map(os.path.lexists, (item, item.partition("=")[2]))):
                raise SettingError(f"{option} {item!r} holds half of a character (U+{half}); write it as UTF-8")


def call_with(target: Callable[..., Result], options: object, **others: Any) -> Result:
    """Call a function or a class of the library with each option that has a parameter's name, and with the others.

    An option that the library knows by another name, or in another form, stands among the others.
    """
    names = signature(target).parameters.keys() & vars(options).keys()
    return target(**{name: getattr(options, name) for name in names} | others)
