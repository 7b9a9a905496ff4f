"""A text is to be nearer to its own label's words than to those of other labels: labels stay open.

Letters: B texts, K labels, L length, D width of a vector.
"""

import math
from typing import Self

from torch import Tensor
from torch.nn import functional as F

from sijo.errors import SettingError
from sijo.nn.head_specs import Pooling
from sijo.nn.heads import Network
from sijo.nn.pooling import pool
from sijo.objectives.objective import TrainingObjective, head_input
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, cross_entropy, kl_divergence


class LabelMatching(TrainingObjective):
    """A sentence encoder that learns which of some labels, given in words, fits a text.

        loss = sum over texts t of  log sum over the K labels l of exp(cos(t, l) / τ)  -  cos(t, own label) / τ

    and where a teacher says how well each label fits, KL(p || q) of each text, of its softmax p and ours q.

    Needs      inputs of `data/label_questions.py`; no head
    Parts      labels: a term for each text. Both vectors are of the network that is trained, as it is now; labels
               are read again with each piece of a batch, so that pieces add up to the gradient of the whole
    Neighbours `Supervised` for a head with a column for each label
    Source     the softmax over cosines is that of Radford et al. 2021 (arXiv:2103.00020), section 2.3, from texts
               to labels alone, with a fixed τ; labelled sets recast as matching label descriptions: Yin et al. 2019
               (arXiv:1909.00161)

    network      a sentence encoder
    pooling      how it makes one vector of a text
    temperature  τ
    skip         tokens at the start of an input that are not pooled: those of a prompt, of some encoders
    dimensions   to how many numbers vectors are cut; None for no cut
    dropout      whether the network drops anything out
    """

    def __init__(
        self,
        network: Network,
        *,
        pooling: Pooling = "mean",
        temperature: float = 0.05,
        skip: int = 0,
        dimensions: int | None = None,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise SettingError(f"temperature={temperature} must be above 0, such as 0.05")
        self.network, self.pooling, self.temperature = network, pooling, temperature
        self.skip, self.dimensions, self.dropout = skip, dimensions, dropout
        self.weights = {"labels": 1.0}

    def train(self, mode: bool = True) -> Self:
        """Learning, or not; without `dropout` the network reads as if it did not learn."""
        super().train(mode)
        self.network.train(mode and self.dropout)
        return self

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Nothing more is random: labels and their words came with the texts."""
        return batch

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """Texts."""
        return {"labels": len(posed)}

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """The tally of the texts."""
        assert posed.labels is not None
        scores = self.cosines(posed) / self.temperature
        if not posed.labels.is_floating_point():
            return {"labels": cross_entropy(scores, posed.labels)}
        right = (scores.argmax(-1) == posed.labels.argmax(-1)).sum()
        return {"labels": Tally(kl_divergence(posed.labels, scores).sum(), len(posed), right)}

    def cosines(self, posed: PosedBatch) -> Tensor:
        """Of each text with each label beside, (B, K) float32."""
        assert posed.beside is not None, "texts come with the labels that they choose among"
        return self.vectors(posed) @ self.vectors(posed.beside).T

    def vectors(self, posed: PosedBatch) -> Tensor:
        """The unit vector of each input, (B, D) float32."""
        hidden = head_input(self.network, posed).output.last_hidden_state
        skips = [min(self.skip, length - 1) for length in posed.lengths] if self.skip else ()
        pooled = pool(hidden, posed.padding, self.pooling, skips)[:, : self.dimensions]
        return F.normalize(pooled.float(), dim=-1)
