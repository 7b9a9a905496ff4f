"""`sijo pretrain`: a recipe and some text in, a model out."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sijo.app.numbers import duration
from sijo.app.results import print_json, print_rows, print_table, tell, wants_json
from sijo.errors import SettingError, nearest

if TYPE_CHECKING:
    from sijo.jobs.run_settings import RunSettings
    from sijo.training.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """What is read, where it goes, and what of the recipe is changed."""

    corpus: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Files, folders and globs of text (.txt, .csv, .jsonl, .parquet, compressed too); name=PATH gives all of PATH
    that control code. Or one corpus that was prepared before."""
    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """The run's folder: checkpoints, metrics, and at the end the model; runs/RECIPE by default."""
    set: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Change a setting: path=value, such as run.steps=500 or run.max_time=2h; --settings lists them."""
    resume: bool = False
    """Go on with the run in that folder, bit for bit as if it had not been stopped; or begin it."""
    tokenizer: str | None = None
    """A folder or org/name whose tokenizer is used; without it one is trained on the corpus."""
    column: str | None = None
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


def run(recipe: str | None, given: PretrainSettings) -> None:
    """Do what was asked, and print the folders of the models that came of it."""
    if given.list:
        show_recipes(given.format)
        return
    go(resolved(recipe, given.set or []), given)


def go(settings: "RunSettings", given: PretrainSettings) -> None:
    """Make the run, or print its settings where that is asked for."""
    if given.settings:
        show_settings(settings, given.format)
        return
    if not given.corpus:
        raise SettingError("--corpus is needed: files, folders or globs of text to read")
    out = given.out or Path("runs") / (settings.recipe or "run")
    from sijo.app.progress import RunProgress
    from sijo.jobs.prepare import CorpusSource
    from sijo.jobs.pretrain import pretrain

    text = CorpusSource(
        sources=given.corpus,
        column=given.column,
        code_column=given.code_column,
        skip_bad=given.skip_bad,
        tokenizer=given.tokenizer,
    )
    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, the one that speaks
    with asked_to_stop() as stopped, RunProgress(shown=first and not given.quiet) as progress:
        steps = pretrain(
            settings,
            text,
            out,
            resume=given.resume,
            stop=lambda: stopped.by is not None,
            tell=progress.say,
        )
        finished = progress.follow(steps)
    if stopped.by is not None and not finished:
        if first and not given.quiet:
            tell(f"saved in {out}; the same command with --resume goes on")
        stopped.leave()
    for name in reversed([*settings.objective.networks]) if first else ():
        print(out / name)  # noqa: T201


def resolved(recipe: str | None, changes: list[str]) -> "RunSettings":
    """The settings of a recipe by name, or in a settings.json that a run left, with some changed."""
    from sijo.files.json_files import read_object
    from sijo.jobs.recipes import RECIPES
    from sijo.jobs.run_settings import RunSettings
    from sijo.training.settings import read_settings, with_changes

    if recipe is None:
        raise SettingError("name a recipe, such as electra-tiny; sijo pretrain --list tells which there are")
    if recipe not in RECIPES and Path(recipe).suffix == ".json":
        if not Path(recipe).is_file():
            raise SettingError(f"no file {recipe}; name a recipe, or the settings.json of a run")
        return with_changes(read_settings(read_object(Path(recipe)), RunSettings), changes)
    if recipe not in RECIPES:
        raise SettingError(f"no recipe {recipe!r}{nearest(recipe, RECIPES)}; there are {', '.join(RECIPES)}")
    return with_changes(RECIPES[recipe].settings, changes)


@dataclass
class Stopped:
    """Whether a run was asked to stop, and how to leave then."""

    by: int | None = None
    """The number of the signal."""
    before: tuple[Any, ...] = ()

    def leave(self) -> None:
        """End as the signal would have ended it."""
        if self.by == signal.SIGINT:
            raise KeyboardInterrupt
        before: Callable[[int, FrameType | None], Any] = dict(self.before)[self.by]
        before(self.by or 0, None)


@contextmanager
def asked_to_stop() -> Iterator[Stopped]:
    """SIGINT and SIGTERM become a wish to stop after the present step; the second one ends at once."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    stopped = Stopped(before=tuple((number, signal.getsignal(number)) for number in numbers))

    def wish(number: int, frame: FrameType | None) -> None:
        stopped.by = number
        for each, before in stopped.before:
            signal.signal(each, before)

    for number in numbers:
        signal.signal(number, wish)
    try:
        yield stopped
    finally:
        for number, before in stopped.before:
            signal.signal(number, before)


def show_recipes(format: str | None) -> None:
    """Every recipe with what it costs: weights, tokens, operations, and how long this machine would take."""
    from sijo.jobs.recipes import recipe_costs

    rows = list(recipe_costs())
    if wants_json(format):
        print_json(*rows, ascii=True)
        return
    cells = [
        (
            row["recipe"],
            " + ".join(row["objective"]),
            f"{row['weights'] / 1e6:,.1f} M",
            f"{row['steps']:,} × {row['batch']:,} × {row['length']}",
            f"{row['tokens'] / 1e6:,.0f} M",
            f"{row['flops']:.1e}",
            duration(row["seconds_here"]),
            row["source"],
        )
        for row in rows
    ]
    headings = (
        "recipe",
        "objective",
        "weights",
        "steps × batch × length",
        "tokens",
        "FLOPs",
        "here, about",
        "source",
    )
    print_table(headings, cells)


def show_settings(settings: "Settings", format: str | None) -> None:
    """Every setting of a run by its path, with its value and its sentence."""
    from sijo.files.json_lines import json_leaves
    from sijo.training.settings import setting_descriptions

    sentences = setting_descriptions(type(settings))  # type: ignore[arg-type]
    print_rows(
        [
            {"setting": path, "value": value, "means": sentences.get(path, "")}
            for path, value in json_leaves(settings.to_json())
        ],
        format,
    )
