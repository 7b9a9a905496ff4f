"""`sijo distill`: a teacher and some text in, a smaller model out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from sijo.app import pretrain
from sijo.errors import SettingError, nearest

if TYPE_CHECKING:
    from sijo.training.settings import RunSettings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DistillSettings(pretrain.PretrainSettings):
    """What is learned from whom; the rest is as in pretraining."""

    teacher: str | None = None
    """The model to learn from: a folder or org/name; without it, the built-in sentence encoder."""


def run(recipe: str | None, given: DistillSettings) -> None:
    """Do what was asked, and print the folder of the student."""
    from sijo.jobs.recipes import DISTILLATIONS

    if given.list:
        rows = [
            {"recipe": way.name, "learns": weights(way.teaching), "source": way.source}
            for way in DISTILLATIONS.values()
        ]
        pretrain.show(rows, given.format)
        return
    pretrain.go(resolved(recipe, given), given)


def resolved(recipe: str | None, given: DistillSettings) -> "RunSettings":
    """The settings of a recipe for this teacher, or in a settings.json that a run left, with some changed."""
    from sijo.checkpoints.describe import describe
    from sijo.jobs.recipes import DISTILLATIONS
    from sijo.training.settings import with_changes

    if recipe is not None and recipe not in DISTILLATIONS and Path(recipe).suffix == ".json":
        return pretrain.resolved(recipe, given.set or [])
    if recipe is None:
        recipe = "distilbert-tiny" if {"mlm", "lm"} & {*describe(given.teacher).heads} else "sentence"
    if recipe not in DISTILLATIONS:
        raise SettingError(
            f"no recipe {recipe!r}{nearest(recipe, DISTILLATIONS)}; there are {', '.join(DISTILLATIONS)}"
        )
    return with_changes(DISTILLATIONS[recipe].settings(given.teacher), given.set or [])


def weights(teaching: object) -> str:
    """What a way to teach weighs, in words."""
    names = ("soft", "hard", "squared", "cosine", "relations", "vectors")
    return ", ".join(f"{name} {getattr(teaching, name):g}" for name in names if getattr(teaching, name))
