"""`sijo generate --for-labels`: names of classes in, a table of texts for each out, to train a classifier on."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sijo.app.generate import GenerateSettings
from sijo.app.progress import RowProgress
from sijo.errors import SettingError, TextError, nearest

if TYPE_CHECKING:
    from sijo.generation.synthetic import Kind, Synthesis, SyntheticText
    from sijo.generation.synthetic import SyntheticSettings as Asked

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


def run(given: GenerateSettings, more: SynthesisOptions) -> None:
    """Write texts for each label to a file, and tell what became of them."""
    if more.for_labels is None:
        raise SettingError("--output and --drafts are for data: say of what by --for-labels")
    if more.output is None:
        raise SettingError("--for-labels writes a table; name it with --output made.csv")
    if more.output.exists():
        raise SettingError(f"{more.output} is there already; name another --output, or move it away")
    if given.model is None:
        raise SettingError(
            "--model is needed: a folder or org/name that writes; sijo pretrain ctrl-tiny trains one"
        )
    for name in ("prompt", "prompts_file", "control_code", "other_code", "mixture", "format"):
        if getattr(given, name) is not None:
            raise SettingError(
                f"--{name.replace('_', '-')} is about single texts; with --for-labels each label has a code and "
                "beginnings of its own, which a labels file can say, and texts go to --output"
            )
    from sijo.files.folders import whole_file
    from sijo.files.row_writers import format_of
    from sijo.generation.generator import Generator
    from sijo.generation.synthetic import Synthesis

    form, kinds, asked = format_of(more.output), kinds_of(more.for_labels), settings(given, more)
    writing = Synthesis(Generator(given.model), kinds, asked)
    with whole_file(more.output) as out:
        with RowProgress(shown=not more.quiet) as progress:
            done = 0
            for written in writing.write():
                progress.add(written - done, written / writing.drafts)
                done = written
        made = writing.best()
        write(made, form, out)
    if not more.quiet:
        show(writing, made)
        print(f"{len(made):,} rows in {more.output}", file=sys.stderr)  # noqa: T201


def settings(given: GenerateSettings, more: SynthesisOptions) -> "Asked":
    """What was said on the command line, and SuperGen's numbers where nothing was."""
    from sijo.generation.rules import Sampling
    from sijo.generation.synthetic import SAMPLING
    from sijo.generation.synthetic import SyntheticSettings as Asked

    free = given.top_k is None and given.top_p is None and given.min_p is None
    return Asked(
        count=given.count,
        drafts=more.drafts,
        max_new_tokens=given.max_new_tokens,
        min_new_tokens=more.min_new_tokens,
        stop=("\n",) if given.stop is None else tuple(given.stop),
        banned=tuple(given.banned or ()),
        guidance=given.guidance,
        seed=given.seed,
        sampling=Sampling(
            temperature=SAMPLING.temperature if given.temperature is None else given.temperature,
            top_k=SAMPLING.top_k if free else given.top_k,
            top_p=given.top_p,
            min_p=given.min_p,
            penalty=given.penalty,
            penalty_rule=given.penalty_rule,
            beams=given.beams,
        ),
    )


def kinds_of(given: str) -> list["Kind"]:
    """The labels that a person wrote down, in a line or in a file.

    >>> [(kind.label, kind.control_code) for kind in kinds_of("travel, good=Reviews Rating: 5.0")]
    [('travel', 'travel'), ('good', 'Reviews Rating: 5.0')]
    """
    from sijo.generation.synthetic import Kind

    if Path(given).suffix.lower() in (".csv", ".json"):
        return list(_of_records(_records(Path(given)), Path(given)))
    parts = [part.strip() for part in given.split(";" if ";" in given else ",") if part.strip()]
    pairs = [(name.strip(), code.strip()) for name, _, code in (part.partition("=") for part in parts)]
    if not pairs or not all(name for name, _ in pairs):
        raise SettingError(
            f'--for-labels {given!r} names no labels; write it as "travel,banking" or "good=Reviews"'
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
            some = value if isinstance(value, list) and name == "prompt" else [value]
            if not all(one is None or isinstance(one, str) for one in some):
                raise TextError(f"{where}: {name} is {value!r}; write it as text")
        label, code, prompt = (record.get(name) or None for name in FIELDS)
        if label is None:
            raise TextError(f"{where} has no name; give it under 'label'")
        if codes.setdefault(label, code) != code:
            raise TextError(f"{where}: {label!r} has the code {codes[label]!r} and the code {code!r}; give it one")
        found = prompt if isinstance(prompt, list) else [prompt]
        beginnings.setdefault(label, []).extend(one for one in found if one)
    if not codes:
        raise TextError(f"{path} names no label; give some")
    for label, code in codes.items():
        begun = tuple(beginnings[label]) or ("",)
        yield Kind(label=label, control_code=code or (None if beginnings[label] else label), beginnings=begun)


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
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TextError(f'{path} must hold an object such as {{"good": "Reviews Rating: 5.0"}}')
    return [
        {"label": label} | (said if isinstance(said, dict) else {"control_code": said})
        for label, said in found.items()
    ]


def write(made: "list[SyntheticText]", form: Any, out: Any) -> None:
    """The texts as a table."""
    import pyarrow as pa

    from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows

    added = {
        "label": pa.array([one.label for one in made], pa.string()),
        "mean_logprob": pa.array([one.mean_logprob for one in made], pa.float64()),
        "seed": pa.array([one.seed for one in made], pa.int64()),
    }
    texts = pa.table({"text": pa.array([one.text for one in made], pa.string())})
    piece = OutputRows(texts, pa.table(added), "csv")
    writer = WRITERS[form](out, ColumnPlan.of([piece]))
    writer.write(piece)
    writer.close()


def show(writing: "Synthesis", made: "list[SyntheticText]") -> None:
    """What became of the texts of each label, on standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table("label", box=None, pad_edge=False)
    for name in ("written", "too short", "bad", "repeated", "kept", "mean log p"):
        table.add_column(name, justify="right")
    for label, fates in writing.fates.items():
        kept = [one.mean_logprob for one in made if one.label == label]
        numbers = [fates["written"], fates["short"], fates["bad"], fates["repeated"], len(kept)]
        table.add_row(label, *(f"{number:,}" for number in numbers), f"{sum(kept) / len(kept):.2f}")
    Console(stderr=True).print(table)
