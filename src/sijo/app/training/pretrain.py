"""`sijo pretrain`: a recipe and some text in, a model out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter

from sijo.app.numbers import duration, short_count
from sijo.app.options import TEXT_COLUMN, FileReading, call_with
from sijo.app.progress import follow_run
from sijo.app.results import print_json, print_line, print_rows, print_with_notes, wants_json
from sijo.errors import SettingError, nearest
from sijo.files.json_files import read_object
from sijo.files.json_lines import json_leaves
from sijo.files.paths import FolderFile

if TYPE_CHECKING:
    from sijo.jobs.run_settings import RunSettings
    from sijo.training.settings import Settings

Recipe = TypeVar("Recipe")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PretrainSettings(FileReading):
    """What is read, where it goes, and what of the recipe is changed."""

    corpus: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Files, folders and globs of text (.txt, .csv, .jsonl, .parquet, compressed too; of files also .json and
    .xlsx); name=PATH gives all of PATH that control code. Or one corpus that was prepared before."""
    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """The run's folder: checkpoints, metrics, and at the end the model; runs/RECIPE by default."""
    set: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Change a setting: path=value, such as run.steps=500 or run.max_time=2h; --settings lists them."""
    resume: bool = False
    """Go on with the run in that folder, bit for bit as if it had not been stopped; or begin it."""
    tokenizer: str | None = None
    """A folder or org/name whose tokenizer is used; without it one is trained on the corpus."""
    column: Annotated[str | None, TEXT_COLUMN] = None
    """The column with the text: "text", or the only one, by default."""
    code_column: str | None = None
    """A column whose value is each document's control code; beside name=PATH, the words that follow that code."""
    skip_bad: bool = False
    """Name files that cannot be read, and go on without them."""
    list: bool = False
    """Print the recipes and what each costs, and stop."""
    settings: bool = False
    """Print every setting of the recipe with its value and what it means, and stop."""
    format: Literal["table", "json"] | None = None
    """How those two are printed: a table for people, JSON lines in a pipe."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """No progress."""


def run(recipe: str | None = None, /, *, options: PretrainSettings = PretrainSettings()) -> None:
    """Train a model from raw text, by a published recipe or a tiny one.

    RECIPE is a name, such as electra-tiny (--list tells all), or the settings.json of an earlier run. Text is
    cut into documents and sentences, duplicates left out; without --tokenizer one is trained on it. Checkpoints
    stand in OUT/checkpoints, curves in OUT/metrics.jsonl (sijo report OUT draws them), the model at the end
    in OUT/model, or OUT/discriminator and OUT/generator. A run that was stopped, even by kill -9, goes on with
    --resume, bit for bit.

        sijo pretrain electra-tiny --corpus novels/ news.jsonl.gz --out runs/electra

        sijo pretrain ctrl-tiny --corpus reviews.csv --code-column rating --out runs/ctrl --set run.max_time=15m

        torchrun --nproc-per-node 2 --no-python sijo pretrain bert-tiny --corpus novels/ --out runs/bert
    """
    if options.list:
        show_recipes(options.format)
        return
    make_run(resolved(recipe, options.set or []), options)


def make_run(settings: "RunSettings", options: PretrainSettings) -> None:
    """Make the run, or print its settings where that is asked for."""
    how = options.reading()
    if options.settings:
        show_settings(settings, options.format)
        return
    if not options.corpus:
        raise SettingError("--corpus is needed: files, folders or globs of text to read")
    out = options.out or Path("runs") / (settings.recipe or "run")
    from sijo.jobs.prepare import CorpusSource
    from sijo.jobs.pretrain import pretrain

    source = call_with(CorpusSource, options, sources=options.corpus, how=how)
    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, the one that speaks
    run = partial(pretrain, settings, source, out, resume=options.resume)
    follow_run(run, out, shown=first and not options.quiet)
    for name in reversed([*settings.objective.networks]) if first else ():
        print_line(out / name)


def resolved(recipe: str | None, changes: list[str]) -> "RunSettings":
    """The settings of a recipe by name, or in a settings.json that a run left, with some changed."""
    from sijo.jobs.recipes import RECIPES

    if recipe is None:
        raise SettingError("name a recipe, such as electra-tiny; sijo pretrain --list tells which there are")
    return chosen(recipe, RECIPES, lambda row: row.settings, changes)


def chosen(
    recipe: str, recipes: Mapping[str, Recipe], settings_of: Callable[[Recipe], "RunSettings"], changes: list[str]
) -> "RunSettings":
    """The settings of one of these recipes, or in a settings.json that a run left, with some changed."""
    from sijo.jobs.run_settings import RunSettings
    from sijo.training.settings import read_settings, with_changes

    if recipe in recipes:
        return with_changes(settings_of(recipes[recipe]), changes)
    if Path(recipe).suffix != ".json":
        raise SettingError(f"no recipe {recipe!r}{nearest(recipe, recipes)}; there are {', '.join(recipes)}")
    file = Path(recipe).resolve()  # the user named it, wherever it leads
    if not file.is_file():
        raise SettingError(f"no file {recipe}; name a recipe, or the settings.json of a run")
    return with_changes(read_settings(read_object(FolderFile(file.parent, file.name)), RunSettings), changes)


def show_recipes(format: str | None) -> None:
    """Every recipe with what it costs: weights, tokens, operations, and how long this machine would take."""
    from sijo.jobs.recipes import recipe_costs

    rows = list(recipe_costs())
    if wants_json(format):
        print_json(*rows)
        return
    lines = [
        (
            [
                row["recipe"],
                " + ".join(row["objective"]),
                short_count(row["weights"]),
                short_count(row["tokens"]),
                f"{row['flops']:.1e}",
                duration(row["seconds_here"]),
            ],
            f"{row['steps']:,} steps × {row['batch']:,} texts × {row['length']} tokens: {row['source']}",
        )
        for row in rows
    ]
    headings = ("recipe", "objective", "weights", "tokens", "FLOPs", "here, about")
    print_with_notes(headings, lines, names=2, note="sijo pretrain RECIPE --settings tells all of one.")


def show_settings(settings: "Settings", format: str | None) -> None:
    """Every setting of a run by its path, with its value and its sentence."""
    from sijo.training.settings import setting_sentence

    print_rows(
        [
            {"setting": path, "value": value, "means": setting_sentence(path, type(settings))}
            for path, value in json_leaves(settings.to_json())
        ],
        format,
    )
