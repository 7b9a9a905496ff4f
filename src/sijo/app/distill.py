"""`sijo distill`: a teacher and some text in, a smaller model out."""

from dataclasses import dataclass

from cyclopts import Parameter

from sijo.app import pretrain
from sijo.app.results import print_rows


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DistillSettings(pretrain.PretrainSettings):
    """What is learned from whom; the rest is as in pretraining."""

    teacher: str | None = None
    """The model to learn from: a folder or org/name; without it, the built-in sentence encoder."""


def run(recipe: str | None = None, /, *, options: DistillSettings = DistillSettings()) -> None:
    """Teach a smaller model what a larger one knows, from raw text without labels.

    RECIPE is a way to teach (--list tells all), or the settings.json of an earlier run: by default
    `distilbert-tiny` for a teacher with a language modelling head, `sentence` for an encoder of sentences. The
    student is half as deep as its teacher and begins with every other of its layers; --set model.… makes it
    otherwise: fewer layers, narrower tables, shared blocks, another attention. Checkpoints, curves and --resume are
    those of sijo pretrain; the student is left in OUT/model.

        sijo distill --teacher sentence-transformers/all-MiniLM-L6-v2 --corpus notes.txt --out runs/small

        sijo distill distilbert --teacher bert-base-uncased --corpus books/ --out runs/distilbert

        sijo distill minilm-tiny --teacher bert-base-uncased --corpus books/ --out runs/mini \
            --set teacher.cache=lessons --set model.hidden_size=384 --set model.embedding_size=384 \
            --set model.intermediate_size=1536 --set teacher.relation_heads=12
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
    if recipe is None:
        over_tokens = {spec.head for spec in OBJECTIVES.values() if spec.over_tokens}
        recipe = "distilbert-tiny" if over_tokens & {*describe(options.teacher).heads} else "sentence"
    changes = options.set or []
    settings = pretrain.chosen(recipe, DISTILLATIONS, lambda way: way.settings(options.teacher), changes)
    pretrain.make_run(settings, options)


def weights(teaching: object) -> str:
    """What a way to teach weighs, in words."""
    names = ("soft", "hard", "squared", "cosine", "relations", "vectors")
    return ", ".join(f"{name} {getattr(teaching, name):g}" for name in names if getattr(teaching, name))
