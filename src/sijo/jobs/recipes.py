"""Recipes by name: the published settings of each paper, and a `-tiny` of each for two cores (`recipes.toml`).

A recipe is a value of `RunSettings`, so whatever it says can be changed by path. Where a paper and its
released code differ, the paper's table goes before, and docs/pretraining.md tells the difference.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from sijo.checkpoints.describe import describe
from sijo.jobs.networks import head_specs
from sijo.jobs.run_settings import RunSettings
from sijo.jobs.student import distilbert_of, half_as_deep
from sijo.models import published
from sijo.nn.encoder_decoder import must_be_single
from sijo.nn.heads import Network
from sijo.objectives.language_teacher import Teaching
from sijo.training.cost import matmul_peak, training_flops
from sijo.training.settings import read_settings

TABLES = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
SHARE_OF_PEAK = 0.4
"""Of a processor's matrix products that a run reaches, as measured with the tiny recipes; for estimates alone."""


@dataclass(frozen=True)
class Recipe:
    """Settings, and where they come from."""

    settings: RunSettings
    """All that decides the run, but its text."""
    source: str
    """Where the settings were published, or what they are for."""


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
    """What is learned from the teacher, how the corpus is cut, optimizer, schedule and loop."""

    @property
    def teaching(self) -> Teaching:
        """What is learned from the teacher."""
        return Teaching(**self.values["teacher"])

    def settings(
        self, teacher: str | None, beside: Mapping[str, str | None] | None = None, *, name: str = "teacher"
    ) -> RunSettings:
        """A run whose student is half as deep as the teacher (and of BERT a DistilBERT).

        teacher  a folder or org/name, or None for the built-in sentence encoder
        beside   further teachers by name, likewise: from each is learned how alike it finds the texts of a batch
        name     the first one's, beside others

        Raises as `load` does where there is no such model.

        >>> settings = DISTILLATIONS["sentence"].settings(None, {"other": "runs/other"})
        >>> settings.teacher.vectors, settings.beside["other"].text_relations
        (1.0, 1.0)
        """
        architecture = describe(teacher).architecture
        must_be_single(
            architecture, "a student half as deep is not made of it; fine-tuning may have it for a teacher"
        )
        left = architecture.reads == "left"
        length = self.values["data"]["length"]
        run = {
            "recipe": self.name,
            "model": asdict(distilbert_of(architecture) if self.masked else half_as_deep(architecture)),
            "teacher": {"model": teacher, "name": name},
            "beside": {other: {"model": model, "text_relations": 1.0} for other, model in (beside or {}).items()},
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
        if isinstance(change, dict) and isinstance(values.get(name), dict) and "size" not in change
        else change
        for name, change in changes.items()
    }


def _table(group: str, name: str) -> dict[str, Any]:
    """A table of recipes.toml, over those that it is like."""
    tables = TABLES["shared"] | TABLES[group]
    earlier = (_table(group, like) for like in tables[name].get("like", ()))
    return reduce(_merged, (*earlier, tables[name]))


def _network(size: str, without: Sequence[str] = (), **changes: Any) -> dict[str, Any]:
    """A published network as JSON has it, with some of its fields replaced, and others null."""
    return _merged(asdict(published(size)[1].architecture()), changes) | dict.fromkeys(without)


def _recipe(name: str) -> Recipe:
    table = _table("pretraining", name)
    values = {part: value for part, value in table.items() if part not in ("like", "source")}
    networks = {folder: _network(**values[folder]) for folder in values.keys() & {"model", "generator"}}
    return Recipe(read_settings(values | networks | {"recipe": name}, RunSettings), table["source"])


def _distillation(name: str) -> DistillationRecipe:
    table = _table("distillation", name)
    values = {part: table[part] for part in ("teacher", "data", "optimizer", "schedule", "run")}
    return DistillationRecipe(name, table["source"], table["masked"], values)


RECIPES = {name: _recipe(name) for name in TABLES["pretraining"]}
"""All recipes by name."""
DISTILLATIONS = {name: _distillation(name) for name in TABLES["distillation"]}
"""All ways to teach by name."""


def recipe_costs() -> Iterator[dict[str, Any]]:
    """What each recipe costs; seconds are its operations over what this machine's processors reach in training."""
    reached = SHARE_OF_PEAK * matmul_peak(torch.get_num_threads())
    for name, recipe in RECIPES.items():
        settings = recipe.settings
        with torch.device("meta"):
            networks = [Network(architecture, values) for architecture, values in head_specs(settings)]
        tokens = settings.run.steps * settings.run.batch * settings.data.length
        share = settings.objective.masking.share
        flops = tokens * training_flops(networks, settings.data.length, share=share)
        yield {
            "recipe": name,
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
