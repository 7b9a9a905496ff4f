"""The scores of a task's head: of a posed batch, or of all labelled inputs where nothing is learned."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sijo.batching import by_length
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import Task
from sijo.nn.heads import Network
from sijo.objectives.objective import TrainingObjective, head_input
from sijo.objectives.posed_batch import PosedBatch, unposed

UNSEEN = -1e4
"""The score of what cannot be chosen: its share is 0 in float32, and what is multiplied with that stays finite."""
TOKENS = 4_096
"""Tokens that are read at once where nothing is learned, padding included."""


@torch.inference_mode()
def scored(
    objective: TrainingObjective, scores: Callable[[PosedBatch], Tensor], inputs: LabelledInputs
) -> Iterator[tuple[list[int], PosedBatch, Tensor]]:
    """The numbers of some inputs, their posed batch, and their scores (R, K), until all have been read.

    Without dropout or gradients, in batches of like length. `scores` gives those of a posed batch.
    """
    network = objective.network
    learning, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        for numbers in by_length(inputs.lengths, token_budget=TOKENS):
            posed = objective.pose(unposed(inputs.at(np.array(numbers))), 0).to(device)
            yield numbers, posed, scores(posed)
    finally:
        network.train(learning)


def score_rows(network: Network, name: str, posed: PosedBatch, task: Task) -> Tensor:
    """What a head answers, as rows of scores (R, K) in float32; of what cannot be chosen the score is UNSEEN.

    classification, multi-label, regression  (B, K)
    tagging             (tagged words, K)
    question-answering  (2 B, L): the starts of all inputs, then the ends
    multiple-choice     (B, C)
    """
    head = network.head[name]
    shape = posed.input_ids.shape
    if len(shape) == 3:  # choices are read like inputs
        flat = {part: getattr(posed, part).flatten(0, 1) for part in ("input_ids", "keep", "token_type_ids")}
        chosen: Tensor = head(head_input(network, replace(posed, **flat), head)).float().view(shape[:2])
        return chosen.masked_fill(~posed.keep.any(-1), UNSEEN)
    logits: Tensor = head(head_input(network, posed, head)).float()
    match task:
        case "tagging":
            return logits[posed.target_mask]
        case "question-answering":
            return logits.masked_fill(~posed.keep[..., None], UNSEEN).permute(2, 0, 1).flatten(0, 1)
    return logits
