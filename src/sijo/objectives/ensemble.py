"""Labels that are not all right: the network's own predictions for each row, averaged, tell which to learn from.

The network reads all training rows every so many steps. The average of its predictions over these readings
changes more slowly than the network itself: a row whose label it doubts is left out, and for the others it is a
second target.
Temporal ensembling (Laine & Aila 2016, arXiv:1610.02242), as SuperGen has it (Meng et al. 2022, arXiv:2202.04538).

Letters: N rows, K classes, B batch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sijo.data.labelled_inputs import LabelledInputs
from sijo.errors import SettingError
from sijo.objectives.posed_batch import PosedBatch


@dataclass(frozen=True, kw_only=True)
class Ensembling:
    """How the network's own answers, averaged, choose among the training rows. The numbers are SuperGen's."""

    every: int | None = None
    """Steps between two readings of all training rows, such as 100; None to trust every label."""
    momentum: float = 0.8
    """How much of the average outlives a reading."""
    threshold: float = 0.8
    """A row is learned from while the average gives its label more than this share."""
    fewest: int = 16
    """Of a class that has fewer such rows, the better half is learned from too."""
    weight: float = 10.0
    """Of the divergence from the average, in the end."""
    rise: int = 10
    """Readings until then: after t of them it is exp(-5 (1 - t / rise)²) times that."""

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise SettingError(f"ensemble.every={self.every} must be 1 step or more, such as 100, or null for none")
        if not (0 <= self.momentum < 1 and 0 <= self.threshold < 1):
            raise SettingError(
                f"ensemble.momentum={self.momentum} and ensemble.threshold={self.threshold} are shares from 0 to "
                "below 1, such as 0.8"
            )
        if self.fewest < 0 or self.rise < 1 or not 0 <= self.weight < math.inf:
            raise SettingError(
                f"ensemble.fewest={self.fewest} must be 0 or more, ensemble.rise={self.rise} 1 or more, and "
                f"ensemble.weight={self.weight} 0 or more, such as 16, 10 and 10"
            )

    def ramp(self, readings: int) -> float:
        """The share of `weight` that counts after so many readings; none before the first.

        >>> [round(Ensembling().ramp(readings), 6) for readings in (0, 1, 5, 10, 11)]
        [0.0, 0.017422, 0.286505, 1.0, 1.0]
        """
        return math.exp(-5 * (1 - min(readings / self.rise, 1)) ** 2) if readings else 0.0


class Ensemble:
    """The network's predictions for each training row, averaged over readings.

    average = m · average + (1 - m) · shares, from 0 on, and divided by 1 - mᵗ after t readings.

    settings  when, and what is made of it
    samples   the training rows
    """

    def __init__(self, settings: Ensembling, samples: LabelledInputs) -> None:
        self.settings, self.samples = settings, samples
        self.sums = torch.zeros(len(samples), len(samples.names))
        self.readings = torch.tensor(0)
        self._kept: tuple[int, Tensor] = 0, torch.ones(len(samples), dtype=torch.bool)

    def due(self, step: int) -> bool:
        """Whether a reading is to be made after so many steps, and was not."""
        every = self.settings.every
        return every is not None and step % every == 0 and step // every > int(self.readings)

    def take_in(self, shares_NK: Tensor) -> None:
        """Add the network's softmax of each row to the average."""
        momentum = self.settings.momentum
        self.sums.mul_(momentum).add_(shares_NK, alpha=1 - momentum)
        self.readings += 1

    def shares(self) -> Tensor:
        """The average (N, K), of which each row makes 1; after a reading at least."""
        return self.sums / (1 - self.settings.momentum ** int(self.readings))

    def kept(self) -> Tensor:
        """Which rows are learned from, (N,) bool; all before the first reading."""
        readings = int(self.readings)
        if self._kept[0] != readings:
            labels = torch.from_numpy(self.samples.labels)
            self._kept = readings, trusted(self.shares(), labels, self.settings)
        return self._kept[1]

    def among(self, posed: PosedBatch) -> list[int]:
        """Which rows of a posed batch are learned from."""
        rows: list[int] = self.kept()[posed.numbers[:, 1].cpu()].nonzero()[:, 0].tolist()
        return rows

    def logs(self, posed: PosedBatch) -> Tensor:
        """The log of the average (B, K) for the rows of a posed batch; after a reading at least."""
        return self.shares()[posed.numbers[:, 1].cpu()].log().to(posed.input_ids.device)

    def tensors(self) -> dict[str, Tensor]:
        """All that it remembers, to be written down, or to be filled."""
        return {"ensemble.sums": self.sums, "ensemble.readings": self.readings}


def trusted(shares_NK: Tensor, labels_N: Tensor, settings: Ensembling) -> Tensor:
    """The rows whose label has most of the average and more than the threshold, (N,) bool.

    Of a class with fewer than `settings.fewest` of them the half whose label has most is trusted too.

    >>> shares = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
    >>> trusted(shares, torch.tensor([0, 0, 0, 1]), Ensembling(fewest=1, threshold=0.5)).tolist()
    [True, True, False, True]
    >>> trusted(shares, torch.tensor([0, 0, 0, 1]), Ensembling(fewest=2, threshold=0.8)).tolist()
    [True, True, False, True]
    """
    own = shares_NK.gather(-1, labels_N[:, None])[:, 0]
    kept = (own == shares_NK.amax(-1)) & (own > settings.threshold)
    for label in range(shares_NK.shape[-1]):
        rows = (labels_N == label).nonzero()[:, 0]
        if int(kept[rows].sum()) < settings.fewest:
            order = own[rows].argsort(descending=True, stable=True)
            kept[rows[order[: -(-len(rows) // 2)]]] = True
    return kept
