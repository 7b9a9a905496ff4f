"""`sijo distill`: teachers and some text in, a smaller model out."""

import re
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sijo.app.evaluation.settings import BUILT_IN
from sijo.app.results import print_rows
from sijo.app.training import pretrain
from sijo.errors import SettingError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DistillSettings(pretrain.PretrainSettings):
    """What is learned from whom; the rest is as in pretraining."""

    teacher: list[str] | None = None
    """The model to learn from: a folder or org/name; without it, or as "built-in", the built-in sentence encoder.
    Several may be given, the first the one that the student begins with; NAME=MODEL says what the journal and
    --set call it, by default the folder's name."""


def run(recipe: str | None = None, /, *, options: DistillSettings = DistillSettings()) -> None:
    """Teach a smaller model what a larger one knows, or several, from raw text without labels.

    RECIPE is a way to teach (--list tells all), or the settings.json of an earlier run: by default
    `distilbert-tiny` for a teacher with a language modelling head, `sentence` for an encoder of sentences. The
    student is half as deep as its teacher and begins with every other of its layers; --set model.… makes it
    otherwise: fewer layers, narrower tables, shared blocks, another attention. Checkpoints, curves and --resume are
    those of sijo pretrain; the student is left in OUT/model.

    Of several sentence encoders the student matches the first one's vectors, and of each other how alike it finds
    the texts of a batch (text_relations). Each reads what was written with its own tokenizer and prompt. What is
    learned of the first is set as teacher.…, of others as beside.NAME.…: weights, prompt, and the scripts of the
    texts that it speaks for.

        sijo distill --teacher sentence-transformers/all-MiniLM-L6-v2 --corpus notes.txt --out runs/small

        sijo distill distilbert --teacher bert-base-uncased --corpus books/ --out runs/distilbert

        sijo distill minilm-tiny --teacher bert-base-uncased --corpus books/ --set teacher.cache=lessons

        sijo distill --teacher intfloat/multilingual-e5-small --teacher english=all-minilm-l6-v2 --corpus texts/
    """
    from sijo.checkpoints.describe import describe
    from sijo.jobs.recipes import DISTILLATIONS
    from sijo.objectives.registry import OBJECTIVES

    if options.list:
        rows = [
            {"recipe": way.name, "learns": weights(way.teaching), "source": way.source}
            for way in DISTILLATIONS.values()
        ]
        print_rows(rows, options.format)
        return
    (name, first), *others = named_teachers(options.teacher or [BUILT_IN])
    if recipe is None:
        over_tokens = {spec.head for spec in OBJECTIVES.values() if spec.over_tokens}
        of_tokens = not others and over_tokens & {*describe(first).heads}
        recipe = "distilbert-tiny" if of_tokens else "sentence"
    changes = options.set or []
    named = {"name": name} if others else {}
    settings = pretrain.chosen(
        recipe, DISTILLATIONS, lambda way: way.settings(first, dict(others), **named), changes
    )
    pretrain.make_run(settings, options)


def named_teachers(words: list[str]) -> list[tuple[str, str | None]]:
    """The name of each teacher, and its folder or org/name; None for the built-in one.

    >>> named_teachers(["intfloat/e5-small", "english=built-in", "runs/large.v2/model"])
    [('e5-small', 'intfloat/e5-small'), ('english', None), ('large-v2', 'runs/large.v2/model')]
    """
    teachers: list[tuple[str, str | None]] = []
    for word in words:
        given, equals, rest = word.partition("=")
        if not equals or Path(word).is_dir():
            given, rest = "", word
        parts = [part for part in Path(rest).parts if part != "model"] or [rest]
        name = given or re.sub(r"[^\w-]+", "-", parts[-1]).strip("-")
        if name in dict(teachers):
            raise SettingError(
                f"two teachers are called {name!r}; name the same model once, or give two models names of their "
                f"own: --teacher other={rest}"
            )
        teachers.append((name, None if rest == BUILT_IN else rest))
    return teachers


def weights(teaching: object) -> str:
    """What a way to teach weighs, in words."""
    names = ("soft", "hard", "squared", "cosine", "relations", "vectors", "text_relations")
    return ", ".join(f"{name} {getattr(teaching, name):g}" for name in names if getattr(teaching, name))
