"""`sijo generate --for-labels`: names of classes in, a table of texts for each out, to train a classifier on."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from sijo.app.generate import NO_MODEL, GenerateSettings
from sijo.app.options import call_with
from sijo.app.progress import RowProgress
from sijo.app.results import tell
from sijo.errors import SettingError, TextError, nearest
from sijo.files.atomic import whole_file
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of

if TYPE_CHECKING:
    from sijo.generation.synthetic import Kind, Synthesis, SyntheticSettings, SyntheticText

FIELDS = ("label", "control_code", "prompt")
"""Columns of a labels file."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """Texts for labels of which there are no examples."""

    for_labels: str | None = None
    """Write texts for each of these labels, and keep the likeliest --count of each: codes of the model, as
    "travel,banking"; labels with their codes, as "good=Reviews Rating: 5.0; bad=Reviews Rating: 1.0"; or a .csv
    (label,control_code,prompt; several lines of a label are several beginnings) or .json file. By default with
    --temperature 0.2 --top-k 10 --penalty 1.2, and up to a line's end."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """With --for-labels: a .csv, .jsonl or .parquet to write, with text, label, mean_logprob and seed; it appears
    whole or not at all."""
    drafts: int | None = None
    """With --for-labels: how many texts are written for each label; five times --count by default."""
    min_new_tokens: int = 5
    """With --for-labels: shorter texts are dropped."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """With --for-labels: no progress and no summary."""


def run(writing: GenerateSettings, options: SynthesisOptions) -> None:
    """Write texts for each label to a file, and say how many were kept."""
    if options.for_labels is None:
        raise SettingError("--output and --drafts are for data: say of what by --for-labels")
    if options.output is None:
        raise SettingError("--for-labels writes a table; name it with --output made.csv")
    if options.output.exists():
        raise SettingError(f"{options.output} is there already; name another --output, or move it away")
    if writing.model is None:
        raise SettingError(NO_MODEL)
    for name in ("prompt", "prompts_file", "control_code", "other_code", "mixture", "format"):
        if getattr(writing, name) is not None:
            raise SettingError(
                f"--{name.replace('_', '-')} is about single texts; with --for-labels each label has a code and "
                "beginnings of its own, which a labels file can say, and texts go to --output"
            )
    from sijo.generation.generator import Generator
    from sijo.generation.synthetic import Synthesis

    format, kinds = format_of(options.output), kinds_of(options.for_labels)
    settings = settings_of(writing, options)
    synthesis = Synthesis(Generator(writing.model), kinds, settings)
    with whole_file(options.output) as out:
        with RowProgress(shown=not options.quiet) as progress:
            for written in synthesis.write():
                progress.add(written - progress.rows, written / synthesis.drafts)
        texts = synthesis.best()
        write(texts, format, out)
    if not options.quiet:
        show(synthesis, texts)
        tell(f"{len(texts):,} rows in {options.output}")


def settings_of(writing: GenerateSettings, options: SynthesisOptions) -> "SyntheticSettings":
    """The settings by the command line, with SuperGen's numbers where it is silent."""
    from sijo.generation.rules import Sampling
    from sijo.generation.synthetic import SAMPLING, SyntheticSettings

    silent = writing.top_k is None and writing.top_p is None and writing.min_p is None
    return call_with(
        SyntheticSettings,
        writing,
        drafts=options.drafts,
        min_new_tokens=options.min_new_tokens,
        stop=("\n",) if writing.stop is None else tuple(writing.stop),
        banned=tuple(writing.banned or ()),
        sampling=call_with(
            Sampling,
            writing,
            temperature=SAMPLING.temperature if writing.temperature is None else writing.temperature,
            top_k=SAMPLING.top_k if silent else writing.top_k,
        ),
    )


def kinds_of(words: str) -> list["Kind"]:
    """The labels that a person wrote down, in a line or in a file.

    >>> [(kind.label, kind.control_code) for kind in kinds_of("travel, good=Reviews Rating: 5.0")]
    [('travel', 'travel'), ('good', 'Reviews Rating: 5.0')]
    """
    from sijo.generation.synthetic import Kind

    if Path(words).suffix.lower() in (".csv", ".json"):
        return list(_of_records(_records(Path(words)), Path(words)))
    parts = [part.strip() for part in words.split(";" if ";" in words else ",") if part.strip()]
    pairs = [(name.strip(), code.strip()) for name, _, code in (part.partition("=") for part in parts)]
    if not pairs or not all(name for name, _ in pairs):
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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        there = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise SettingError(f"there is no labels file {path}{nearest(path.name, there)}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    if path.suffix.lower() == ".csv":
        table = csv.DictReader(io.StringIO(text, newline=""), restkey="?")
        if "label" not in (table.fieldnames or ()):
            raise TextError(f"{path} must begin with the line: {','.join(FIELDS)}")
        return list(table)
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{path} is not JSON: {error}") from None
    if not isinstance(labels, dict):
        raise TextError(f'{path} must hold an object such as {{"good": "Reviews Rating: 5.0"}}')
    return [
        {"label": label} | (value if isinstance(value, dict) else {"control_code": value})
        for label, value in labels.items()
    ]


def write(texts: "list[SyntheticText]", format: Any, out: Any) -> None:
    """The texts as a table."""
    import pyarrow as pa

    types = {"text": pa.string(), "label": pa.string(), "mean_logprob": pa.float64(), "seed": pa.int64()}
    columns = {name: pa.array([getattr(text, name) for text in texts], kind) for name, kind in types.items()}
    piece = OutputRows(pa.table({"text": columns.pop("text")}), pa.table(columns), "csv")
    writer = WRITERS[format](out, ColumnPlan.of([piece]))
    writer.write(piece)
    writer.close()


def show(synthesis: "Synthesis", texts: "list[SyntheticText]") -> None:
    """Print how many texts of each label were kept and why others were not, on standard error."""
    table = Table("label", box=None, pad_edge=False)
    for name in ("written", "too short", "bad", "repeated", "kept", "mean log p"):
        table.add_column(name, justify="right")
    for label, fates in synthesis.fates.items():
        kept = [text.mean_logprob for text in texts if text.label == label]
        counts = [*(fates[fate] for fate in ("written", "short", "bad", "repeated")), len(kept)]
        table.add_row(label, *(f"{count:,}" for count in counts), f"{sum(kept) / len(kept):.2f}")
    Console(stderr=True).print(table)
