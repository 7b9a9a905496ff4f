"""What a run learns, and its plain case: one network, several objectives over one pass (ALBERT: mlm and sop)."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sijo.errors import SettingError
from sijo.nn.heads import HeadInput, Network
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.settings import ObjectiveSettings
from sijo.objectives.tally import Tally
from sijo.tokenizers.tokenizer import Tokenizer


class Objective:
    """A pretraining objective of one network: how a batch is posed, and the loss of a head's answers."""

    part: str
    """What its loss is called."""
    head: str
    """The head that answers."""
    share: float = 1.0
    """The share of its tokens for which the head has to answer; for estimates of the cost alone."""

    @classmethod
    def build(cls, settings: ObjectiveSettings, tokenizer: Tokenizer, counts: np.ndarray | None) -> Self:
        """The objective of a run; `counts` says how often each token occurs in its text, where that is needed."""
        return cls()

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """The posed batch: all random numbers are drawn here, each sample's from a generator of its own."""
        raise NotImplementedError

    def count(self, posed: PosedBatch) -> int:
        """The number of targets, in a batch or a piece of one."""
        return int(posed.target_mask.sum())

    def looks_at(self, posed: PosedBatch) -> Tensor | None:
        """(B, L) bool, True where `answer` looks at the last states; None for everywhere."""
        return None

    def answer(self, head: Any, head_input: HeadInput, posed: PosedBatch) -> Tally:
        """The tally of the head's answers."""
        raise NotImplementedError

    def example(self, head: Any, head_input: HeadInput, posed: PosedBatch) -> dict[str, Any] | None:
        """What the head predicts for the one text of a posed batch, for people; see `TrainingObjective.example`."""
        return None


def head_input(
    network: Network, posed: PosedBatch, *heads: nn.Module, layers: bool = False, wanted: Tensor | None = None
) -> HeadInput:
    """What a network reads in a posed batch, with the states after every layer if `layers` or a head needs them.

    wanted  (B, L) bool, True where the last states are looked at; None for everywhere
    """
    states = layers or any(head.needs_layers for head in heads)
    keep = posed.padding
    output = network.transformer(posed.input_ids, keep, posed.token_type_ids, states, wanted=wanted)
    return HeadInput(output, keep, network.transformer, posed.input_ids)


class TrainingObjective(nn.Module):
    """What a run learns: the networks that are trained, and the parts of their loss with their weights.

    Its parameters are what the optimizer updates and what a checkpoint holds.
    """

    network: Network
    """What is trained, where it is one network."""
    weights: Mapping[str, float]
    """Of each part of the loss, by its name."""
    share: float = 1.0
    """The share of its tokens that are masked; for estimates of the cost alone."""
    compares: bool = False
    """Whether its loss compares the rows of a batch with each other, so that the pieces must know of all rows."""

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """A clean batch, posed: all random numbers are drawn here, each sample's from a generator of its own."""
        raise NotImplementedError

    def prepare(self, posed: PosedBatch) -> PosedBatch:
        """The batch, or a piece of one, with what `forward` needs beside it, such as a teacher's outputs."""
        return posed

    def survey(self, posed: PosedBatch) -> dict[str, Tensor]:
        """What the other pieces of a batch must know of these rows, each (B, …) float; where it `compares`."""
        raise NotImplementedError

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """A tally for each part of the loss, of a prepared batch or a piece of one."""
        raise NotImplementedError

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """The number of targets of each part, in a batch or a piece of one."""
        raise NotImplementedError

    def networks(self) -> dict[str, Network]:
        """The networks that are worth keeping, by the folder that each is left in."""
        return {"model": self.network}

    def merge(self) -> None:
        """Make plain networks again of what was split for training, once it is over."""

    def example(self, posed: PosedBatch) -> dict[str, Any] | None:
        """What the networks predict for a posed batch of one text, for people; None where there is nothing to show.

        Lists as long as the text: `text`, the tokens as they are read; `asked`, True where a token is to be
        predicted; `truth`; `guess`, None where there is no target; and where tokens were replaced `replaced` and
        `spotted`, the probability that a token was. A causal language model predicts a token at the place before
        it.
        """
        return None

    def before(self, step: int) -> bool:
        """What is done between two updates, before the one that comes after `step` of them.

        Returns whether the loss is defined otherwise from here on, not to be compared with the earlier one.
        """
        return False

    def memory(self) -> dict[str, Tensor]:
        """Its state besides weights: written into a checkpoint, and filled from it."""
        return {}


class Joint(TrainingObjective):
    """A network under one objective or several.

    network     with the heads of the objectives
    objectives  posed in this order, each on what the one before left: sop, then mlm
    """

    def __init__(self, network: Network, objectives: Sequence[Objective]) -> None:
        super().__init__()
        for objective in objectives:
            if objective.head not in network.head:
                raise SettingError(
                    f"this objective needs a head {objective.head!r}, and the network has "
                    f"{', '.join(network.head) or 'none'}; open it with that head, or with a fresh one"
                )
        self.network = network
        self.objectives = tuple(objectives)
        self.weights = {objective.part: 1.0 for objective in objectives}
        self.share = min(objective.share for objective in objectives)

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """A clean batch, posed by each objective in turn."""
        for objective in self.objectives:
            batch = objective.pose(batch, seed)
        return batch

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """A tally for each part of the loss, from one pass."""
        heads = [self.network.head[objective.head] for objective in self.objectives]
        places = [objective.looks_at(posed) for objective in self.objectives]
        wanted = None
        if all(place is not None for place in places):
            wanted = torch.stack([place for place in places if place is not None]).any(0)
        read = head_input(self.network, posed, *heads, wanted=wanted)
        return {
            objective.part: objective.answer(head, read, posed)
            for objective, head in zip(self.objectives, heads, strict=True)
        }

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """The number of targets of each part, in a batch or a piece of one."""
        return {objective.part: objective.count(posed) for objective in self.objectives}

    def example(self, posed: PosedBatch) -> dict[str, Any] | None:
        """That of the first of its objectives that has one."""
        for objective in self.objectives:
            head = self.network.head[objective.head]
            example = objective.example(head, head_input(self.network, posed, head), posed)
            if example is not None:
                return {"objective": objective.part} | example
        return None
