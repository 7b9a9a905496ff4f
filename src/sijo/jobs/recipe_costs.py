"""What each recipe costs: weights, tokens, operations, and about how long this machine would take."""

from collections.abc import Iterator
from typing import Any

import torch

from sijo.jobs.networks import head_specs
from sijo.jobs.recipes import RECIPES
from sijo.nn.heads import Network
from sijo.training.cost import matmul_peak, training_flops

SHARE_OF_PEAK = 0.4
"""Of a processor's matrix products that a run reaches, as measured with the tiny recipes; for estimates alone."""


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
