"""Labelled rows read where nothing is learned: without dropout or gradients, in batches of like length."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sijo.batching import by_length
from sijo.data.labelled_inputs import LabelledInputs
from sijo.objectives.posed_batch import PosedBatch, unposed

TOKENS = 4_096
"""Tokens that are read at once, padding included."""


class Scoring(Protocol):
    """An objective that gives scores."""

    @property
    def network(self) -> nn.Module:
        """What is read with."""

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """As for any objective."""

    def scores(self, posed: PosedBatch) -> Tensor:
        """Rows of scores (R, K), float32."""


@torch.inference_mode()
def scored(objective: Scoring, inputs: LabelledInputs) -> Iterator[tuple[list[int], PosedBatch, Tensor]]:
    """The numbers of some inputs, what they ask, and their scores (R, K), until all have been read."""
    network = objective.network
    learning, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        for numbers in by_length(inputs.lengths, token_budget=TOKENS):
            posed = objective.pose(unposed(inputs.at(np.array(numbers))), 0).to(device)
            yield numbers, posed, objective.scores(posed)
    finally:
        network.train(learning)
