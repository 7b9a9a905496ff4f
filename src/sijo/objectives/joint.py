"""What a run learns, and its plain case: one network, several questions over one pass (ALBERT: mlm and sop)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from sijo.errors import SettingError
from sijo.nn.heads import HeadInput, Network
from sijo.objectives.mlm import MaskedLM
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally


class Objective(Protocol):
    """Something that can be asked of one network."""

    part: str
    """What its loss is called."""
    head: str
    """The head that answers."""

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Ask it: all chance is drawn here, each sample's from its own dice."""

    def count(self, question: PosedBatch) -> int:
        """How much it asks, in a batch or a piece of one."""

    def answer(self, head: Any, read: HeadInput, question: PosedBatch) -> Tally:
        """What it makes of the head's answers."""


def head_input(network: Network, question: PosedBatch, *heads: nn.Module, layers: bool = False) -> HeadInput:
    """What a network reads in a question, and the states after every layer if `layers` or these heads ask so."""
    states = layers or any(head.needs_layers for head in heads)
    keep = question.padding
    output = network.transformer(question.input_ids, keep, question.token_type_ids, states)
    return HeadInput(output, keep, network.transformer)


class TrainingObjective(nn.Module):
    """What a run learns: the networks that are moved, what they are asked, and how the answers are weighed.

    Its parameters are what the optimizer moves and what a checkpoint holds.
    """

    weights: Mapping[str, float]
    """Of each part of the loss, by its name."""
    asked: float = 1.0
    """The share of its tokens for which a head `mlm` has to answer; for estimates of the cost alone."""

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Ask it of a clean batch: all chance is drawn here, each sample's from its own dice."""
        raise NotImplementedError

    def forward(self, question: PosedBatch) -> dict[str, Tally]:
        """A tally for each part of the loss, of a batch or a piece of one."""
        raise NotImplementedError

    def counts(self, question: PosedBatch) -> dict[str, int]:
        """How much each part is asked, in a batch or a piece of one."""
        raise NotImplementedError

    def networks(self) -> dict[str, dict[str, Tensor]]:
        """What is worth keeping: the weights of each network by its own names."""
        raise NotImplementedError

    def before(self, step: int) -> bool:
        """What is done between two updates, before the one that comes after `step` of them.

        Returns whether the loss is another one from here on, so that it says nothing of the one before.
        """
        return False

    def memory(self) -> dict[str, Tensor]:
        """What it remembers from step to step besides weights: written into a checkpoint, and filled from it."""
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
        self.asked = next((one.masking.share for one in objectives if isinstance(one, MaskedLM)), 1.0)

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Ask all of it of a clean batch."""
        for objective in self.objectives:
            question = objective.pose(question, seed)
        return question

    def forward(self, question: PosedBatch) -> dict[str, Tally]:
        """A tally for each part of the loss, from one reading."""
        heads = [self.network.head[objective.head] for objective in self.objectives]
        seen = head_input(self.network, question, *heads)
        return {
            objective.part: objective.answer(head, seen, question)
            for objective, head in zip(self.objectives, heads, strict=True)
        }

    def counts(self, question: PosedBatch) -> dict[str, int]:
        """How much each part is asked, in a batch or a piece of one."""
        return {objective.part: objective.count(question) for objective in self.objectives}

    def networks(self) -> dict[str, dict[str, Tensor]]:
        """The one network."""
        return {"model": self.network.state_dict()}
