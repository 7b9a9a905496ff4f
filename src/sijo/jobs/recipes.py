"""Recipes by name: the published settings of each paper (`recipes.toml`), and a `-tiny` of each for two cores.

A recipe is a value of `RunSettings`, so whatever it says can be changed by path. Where a paper and its
released code differ, the paper's table goes before, and docs/pretraining.md tells the difference.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sijo.checkpoints.describe import describe
from sijo.jobs.networks import head_specs
from sijo.jobs.run_settings import RunSettings
from sijo.jobs.student import distilbert_of, half_as_deep
from sijo.models import published
from sijo.nn.architecture import Architecture, DropoutRates
from sijo.nn.heads import Network
from sijo.objectives.language_teacher import Teaching
from sijo.training.cost import matmul_peak, training_flops
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, read_settings

TABLES = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
LENGTH, WIDTH, VOCABULARY = 128, 128, 4_096
"""Tokens of an input, the width of its states, and tokens in all, in the tiny recipes."""
SHARE_OF_PEAK = 0.4
"""Of a processor's matrix products that a run reaches, as measured with the tiny recipes; for estimates alone."""


@dataclass(frozen=True)
class Recipe:
    """Settings with a name."""

    settings: RunSettings
    """All that decides the run, but its text."""
    source: str
    """Where the settings were published, or what they are for."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.settings.recipe


@dataclass(frozen=True)
class DistillationRecipe:
    """A way to teach, with a name; with a teacher it becomes the settings of a run."""

    name: str
    """What it is called."""
    source: str
    """Where it was published, or what it is for."""
    masked: bool
    """Whether the student learns from text too: mlm, or under a teacher that reads to the left clm."""
    values: Mapping[str, Any]
    """What is learned from the teacher, how the corpus is cut, how the weights are moved, how fast and how long."""

    @property
    def teaching(self) -> Teaching:
        """What is learned from the teacher."""
        return Teaching(**self.values["teacher"])

    def settings(self, teacher: str | None) -> RunSettings:
        """A run whose student is half as deep as the teacher (and of BERT a DistilBERT).

        teacher  a folder or org/name, or None for the built-in sentence encoder

        Raises as `load` does where there is no such model.
        """
        architecture = describe(teacher).architecture
        left = architecture.reads == "left"
        length = self.values["data"]["length"]
        run = {
            "recipe": self.name,
            "model": asdict(distilbert_of(architecture) if self.masked else half_as_deep(architecture)),
            "teacher": {"model": teacher},
            "objective": {
                "parts": () if not self.masked else ("clm",) if left else ("mlm",),
                "masking": {"choice": "frequency"},
            },
            "data": {"length": min(length, architecture.places or length)} | ({"cut": "stream"} if left else {}),
        }
        return read_settings(_merged(self.values, run), RunSettings)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with some of them replaced; a network with a size of its own is replaced whole."""
    return dict(values) | {
        name: _merged(values[name], change)
        if isinstance(change, dict) and name in values and "size" not in change
        else change
        for name, change in changes.items()
    }


def _table(group: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of recipes.toml, over the one that it is like."""
    like = group[name].get("like")
    return group[name] if like is None else _merged(_table(group, like), group[name])


def _network(size: str, **changes: Any) -> dict[str, Any]:
    """A published network as JSON has it, with some of its fields replaced."""
    return _merged(asdict(published(size)[1].architecture()), changes)


def _published(name: str) -> Recipe:
    table = _table(TABLES["pretraining"], name)
    values = {part: value for part, value in table.items() if part not in ("like", "source")}
    networks = {folder: _network(**values[folder]) for folder in values.keys() & {"model", "generator"}}
    return Recipe(read_settings(values | networks | {"recipe": name}, RunSettings), table["source"])


def _distillation(name: str) -> DistillationRecipe:
    table = _table(TABLES["distillation"], name)
    values = {part: table[part] for part in ("teacher", "data", "optimizer", "schedule", "run")}
    return DistillationRecipe(name, table["source"], table["masked"], values)


def _small(architecture: Architecture, *, layers: int = 2, table: int = WIDTH) -> Architecture:
    """A published network cut down to a few layers of width 128; no dropout, for it sees its text once or twice."""
    positions, distances = architecture.positions, architecture.distances
    return replace(
        architecture,
        vocab_size=VOCABULARY,
        embedding_size=table,
        hidden_size=WIDTH,
        heads=4,
        intermediate_size=4 * WIDTH,
        schedule=(0,) * layers if architecture.blocks == 1 else tuple(range(layers)),
        positions=None if positions is None else replace(positions, count=LENGTH),
        distances=None if distances is None else replace(distances, span=LENGTH, buckets=distances.buckets // 8),
        widening=None if table == WIDTH else "after_norm",
        dropout=DropoutRates(embeddings=0.0, attention=0.0, attention_output=0.0, hidden=0.0),
    )


def _tiny(
    name: str,
    like: str,
    model: Architecture | None = None,
    generator: Architecture | None = None,
    *,
    steps: int = 2_500,
) -> Recipe:
    """A published recipe on two cores: its objective and its choices, a small network, a short run.

    A generator asks for ELECTRA's share of the tokens, a masked model for twice as many as published: in a
    quarter of an hour it is answers that are short, not context (docs/log.md).
    """
    settings = _published(like).settings
    masking = settings.objective.masking
    masking = masking if generator else replace(masking, share=0.3)
    most = None if masking.most is None else int((masking.share + 0.005) * LENGTH)
    tiny = replace(
        settings,
        recipe=f"{name}-tiny",
        model=model or _small(settings.model),
        generator=generator,
        objective=replace(settings.objective, masking=replace(masking, most=most)),
        tokenizer=replace(settings.tokenizer, vocab_size=VOCABULARY),
        data=replace(settings.data, length=LENGTH),
        optimizer=OptimizerSettings(kind="adamw", betas=(0.9, 0.98)),
        schedule=ScheduleSettings(peak=2e-3, shape="linear", warmup_share=0.05),
        run=LoopSettings(steps=steps, batch=16, save_every=500),
    )
    return Recipe(tiny, "for two cores and a quarter of an hour")


def _tiny_recipes() -> Iterator[Recipe]:
    electra, v3, albert = (
        published(size)[1].architecture()
        for size in ("electra-small-discriminator", "deberta-v3-small", "albert-base-v2")
    )
    # with learned positions, ELECTRA's discriminator learns nothing in a quarter of an hour (docs/log.md)
    near = replace(_small(electra), positions=None, distances=_small(v3).distances)
    yield _tiny("bert", "bert-base", steps=5_000)
    yield _tiny("electra", "electra-small", near, replace(near, schedule=(0,)))
    yield _tiny("deberta", "deberta-base")
    yield _tiny("deberta-v3", "deberta-v3-small", generator=_small(v3, layers=1))
    yield _tiny("albert", "albert-base", _small(albert, table=64))
    yield _tiny("ctrl", "ctrl", steps=1_500)


RECIPES = {recipe.name: recipe for recipe in (*map(_published, TABLES["pretraining"]), *_tiny_recipes())}
"""All recipes by name."""
DISTILLATIONS = {name: _distillation(name) for name in TABLES["distillation"]}
"""All ways to teach by name."""


def recipe_costs() -> Iterator[dict[str, Any]]:
    """What each recipe costs; seconds are its operations over what this machine's processors reach in training."""
    reached = SHARE_OF_PEAK * matmul_peak(torch.get_num_threads())
    for recipe in RECIPES.values():
        settings = recipe.settings
        with torch.device("meta"):
            networks = [Network(architecture, values) for architecture, values in head_specs(settings)]
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
