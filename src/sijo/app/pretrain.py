"""`sijo pretrain`: a recipe and some text in, a model out."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sijo.errors import SettingError, nearest

if TYPE_CHECKING:
    from sijo.jobs.recipes import Recipe
    from sijo.training.settings import RunSettings, Settings

SHARE_OF_PEAK = 0.4
"""Of a processor's matrix products that a run reaches, as measured with the tiny recipes; for estimates alone."""


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
    from sijo.jobs.pretrain import CorpusSource, pretrain
    from sijo.training.loop import Run

    text = CorpusSource(
        sources=given.corpus,
        column=given.column,
        code_column=given.code_column,
        skip_bad=given.skip_bad,
        tokenizer=given.tokenizer,
    )
    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, the one that speaks
    begun: list[Run] = []
    with (
        asked_to_stop() as stopped,
        RunProgress(settings.run.steps, shown=first and not given.quiet) as progress,
    ):
        steps = pretrain(
            settings,
            text,
            out,
            resume=given.resume,
            stop=lambda: stopped.by is not None,
            tell=progress.say,
            begun=begun.append,
        )
        for step in steps:
            if first:
                progress.steps = begun[0].settings.run.steps
                progress.add(step, begun[0].watch.speed)
    if stopped.by is not None and not begun[0].finished:
        if first and not given.quiet:
            print(f"saved in {out}; the same command with --resume goes on", file=sys.stderr)  # noqa: T201
        stopped.leave()
    names = ("discriminator", "generator") if settings.objective.parts == ("rtd",) else ("model",)
    for name in names if first else ():
        print(out / name)  # noqa: T201


def resolved(recipe: str | None, changes: list[str]) -> "RunSettings":
    """The settings of a recipe by name, or in a settings.json that a run left, with some changed."""
    from sijo.files.json_files import read_object
    from sijo.jobs.recipes import RECIPES
    from sijo.training.settings import read_settings, with_changes

    if recipe is None:
        raise SettingError("name a recipe, such as electra-tiny; sijo pretrain --list tells which there are")
    if recipe not in RECIPES and Path(recipe).suffix == ".json":
        if not Path(recipe).is_file():
            raise SettingError(f"no file {recipe}; name a recipe, or the settings.json of a run")
        return with_changes(read_settings(read_object(Path(recipe))), changes)
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


def show_recipes(format: Literal["table", "json"] | None) -> None:
    """Every recipe with what it costs: weights, tokens, operations, and how long this machine would take."""
    from sijo.jobs.recipes import RECIPES

    rows = list(costs(RECIPES.values()))
    if format == "json" or (format is None and not sys.stdout.isatty()):
        for row in rows:
            print(json.dumps(row))  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "recipe", "objective", "weights", "steps × batch × length", "tokens", "FLOPs", "here, about", "source"
    )
    for row in rows:
        table.add_row(
            row["recipe"],
            " + ".join(row["objective"]),
            f"{row['weights'] / 1e6:,.1f} M",
            f"{row['steps']:,} × {row['batch']:,} × {row['length']}",
            f"{row['tokens'] / 1e6:,.0f} M",
            f"{row['flops']:.1e}",
            spoken(row["seconds_here"]),
            row["source"],
        )
    Console().print(table)


def costs(recipes: Iterable["Recipe"]) -> Iterator[dict[str, Any]]:
    """What each recipe costs; seconds are its operations over what this machine's processors reach in training."""
    import torch

    from sijo.jobs.pretrain import heads
    from sijo.nn.heads import Network
    from sijo.training.cost import matmul_peak, training_flops

    reached = SHARE_OF_PEAK * matmul_peak(torch.get_num_threads())
    for recipe in recipes:
        settings = recipe.settings
        with torch.device("meta"):
            networks = [Network(architecture, values) for architecture, values in heads(settings)]
        tokens = settings.run.steps * settings.run.batch * settings.data.length
        share = settings.objective.masking.share
        flops = tokens * training_flops(networks, settings.data.length, share=share)
        yield {
            "recipe": recipe.name,
            "objective": settings.objective.parts,
            "weights": sum(weight.numel() for network in networks for weight in network.parameters()),
            "steps": settings.run.steps,
            "batch": settings.run.batch,
            "length": settings.data.length,
            "tokens": tokens,
            "flops": flops,
            "seconds_here": flops / reached,
            "source": recipe.source,
        }


def show_settings(settings: "Settings", format: Literal["table", "json"] | None) -> None:
    """Every setting of a run by its path, with its value and its sentence."""
    from sijo.training.settings import setting_descriptions, setting_leaves

    sentences = setting_descriptions(type(settings))  # type: ignore[arg-type]
    show(
        [
            {"setting": path, "value": value, "means": sentences.get(path, "")}
            for path, value in setting_leaves(settings.to_json())
        ],
        format,
    )


def show(rows: Sequence[Mapping[str, object]], format: Literal["table", "json"] | None) -> None:
    """Print rows of like fields: a table for people, JSON lines in a pipe."""
    if format == "json" or (format is None and not sys.stdout.isatty()):
        for row in rows:
            print(json.dumps(row))  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else json.dumps(value) for value in row.values()))
    Console().print(table)


def spoken(seconds: float) -> str:
    """A length of time as people say it.

    >>> spoken(700), spoken(86_400 * 800)
    ('12 minutes', '2.2 years')
    """
    for unit, length in (("years", 365 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} seconds"
