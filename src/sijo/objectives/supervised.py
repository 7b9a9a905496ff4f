"""Labels of texts (`label`), alone or beside a teacher (`teacher`), regularised by `sift` and `ensemble`.

Every task comes down to rows of scores with one target each: of a text over its classes, of each tagged word
over its tags, of each answer's start and end over the tokens, of each question over its choices. Loss,
teacher and SiFT are written once, over such rows.

Letters: B batch, C choices, L length, D width, R rows of scores, K scores of a row.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from sijo.data.labelled_rows import HEADS, Task
from sijo.errors import SettingError
from sijo.nn.heads import Network
from sijo.objectives.ensemble import Ensemble
from sijo.objectives.objective import TrainingObjective
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.scoring import score_rows, scored
from sijo.objectives.tally import Tally, kl_divergence


@dataclass(frozen=True, kw_only=True)
class SiftSettings:
    """Scale-invariant fine-tuning: the same answer when the normalised embeddings are perturbed adversarially.

    Source: He et al. 2020 (arXiv:2006.03654), section 4; numbers from the released `sift.py`.
    """

    weight: float = 0.0
    """Of the divergence from the answer to the text as it is; 0 for none. Published: 3 for xsmall, else 5."""
    noise: float = 1e-2
    """Standard deviation of the first move, of embeddings whose own is 1."""
    bound: float = 2e-2
    """The furthest that it goes."""
    step: float = 1e-4
    """How far it is then moved uphill, at most, in any direction."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise SettingError(f"sift.weight={self.weight} must be 0, for none, or more, such as 5")
        if not (0 < self.noise < math.inf and 0 < self.bound < math.inf and 0 <= self.step < math.inf):
            raise SettingError(
                f"sift.noise={self.noise}, bound={self.bound} and step={self.step} must be above 0, such as 0.01, "
                "0.02 and 0.0001"
            )


@dataclass(frozen=True)
class TaskTeacher:
    """A network that was fine-tuned on the same labels, and how its answers are weighed."""

    network: Network
    """With the head of the task; never trained."""
    columns: Sequence[int] | None = None
    """Its column of each label of the student; None where they are in the same order."""
    temperature: float = 2.0
    """By which the scores of both are divided; the part is multiplied by its square."""
    soft: float = 0.5
    """Weight of its scores."""
    hard: float = 0.5
    """Weight of the labels."""


class Supervised(TrainingObjective):
    """A network with the head of a task, trained on the labels of rows.

    Needs      inputs of `data/labelled_inputs.py` and the head `HEADS[task]`
    Parts      label: cross-entropy; of multi-label binary cross-entropy of each label; of regression the squared
               error; of question-answering the mean over starts and ends, padding left out.
               teacher: T² times the divergence of the student from the teacher at temperature T (multi-label: of
               each label; regression: the squared difference). sift: the symmetric divergence.
               ensemble: the divergence from the network's averaged predictions, over rows whose label is trusted;
               the other rows are left out of all parts
    Source     Devlin et al. 2018 (arXiv:1810.04805), section 4; Sanh et al. 2019 (arXiv:1910.01108), section 3;
               for sift see `SiftSettings`, for the ensemble `Ensemble`

    network        with that head
    task           what the labels are
    class_weights  (K,) how much each class counts, of classification and tagging; a mean of 1 over the rows keeps
                   the loss comparable, for the sum is divided by the rows and not by their weights
    smoothing      share of the truth that is spread over all classes, of classification and tagging
    ensemble       of classification: when to read which rows, and what is remembered of them
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
        sift: SiftSettings | None = None,
        teacher: TaskTeacher | None = None,
        ensemble: Ensemble | None = None,
    ) -> None:
        super().__init__()
        self.name = HEADS[task]
        if self.name not in network.head:
            raise SettingError(f'this task needs a head {self.name!r}; open the model with head="new:{self.name}"')
        if task not in ("classification", "tagging") and (class_weights is not None or smoothing):
            raise SettingError(f"class weights and smoothing are for classification and tagging, not {task}")
        if not 0 <= smoothing < 1:
            raise SettingError(f"smoothing={smoothing} is no share of the truth; give a number from 0 to below 1")
        if sift is not None and sift.weight and network.transformer.embeddings.norm is None:
            raise SettingError(
                "sift moves normalised embeddings, and this network does not normalise them; set sift.weight=0"
            )
        if ensemble is not None and task != "classification":
            raise SettingError(f"an ensemble is for classification, not {task}; set ensemble.every=null")
        self.network, self.task, self.smoothing = network, task, smoothing
        self.ensemble = ensemble
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.sift = sift if sift is not None and sift.weight else None
        self._teacher = (teacher,)  # in a tuple, so that its weights are not trained
        self.weights = {"label": 1.0}
        if teacher is not None:
            teacher.network.requires_grad_(False).eval()
            self.weights = {"label": teacher.hard, "teacher": teacher.soft}
        if self.sift is not None:
            self.weights["sift"] = self.sift.weight
        if ensemble is not None:
            self.weights["ensemble"] = ensemble.settings.weight

    def before(self, step: int) -> bool:
        """Read all rows of the ensemble, where that is due."""
        ensemble = self.ensemble
        if ensemble is None or not ensemble.due(step):
            return False
        shares = torch.empty_like(ensemble.sums)
        for numbers, _, scores in scored(self, self.scores, ensemble.samples):
            shares[numbers] = scores.softmax(-1).cpu()
        ensemble.take_in(shares)
        return True

    def memory(self) -> dict[str, Tensor]:
        """The state of the ensemble."""
        return {} if self.ensemble is None else self.ensemble.tensors()

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Nothing is random; the labels of words become targets of their first tokens."""
        if self.task != "tagging":
            return batch
        assert batch.labels is not None
        return replace(batch, targets=batch.labels.clamp(min=0), target_mask=batch.labels >= 0, labels=None)

    def prepare(self, posed: PosedBatch) -> PosedBatch:
        """The rows that are trusted, with the teacher's scores."""
        if self.ensemble is not None:  # where no row is trusted the first one is read, so that there are gradients
            posed = posed.rows(self.ensemble.among(posed) or [0])
        teacher = self._teacher[0]
        if teacher is None:
            return posed
        with torch.no_grad():
            scores = score_rows(teacher.network, self.name, posed, self.task)
        scores = scores if teacher.columns is None else scores[:, list(teacher.columns)]
        return replace(posed, lesson={"scores": scores})

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """Rows of scores, the same for each part."""
        count = self.count(posed) if self.ensemble is None else len(self.ensemble.among(posed))
        return dict.fromkeys(self.weights, count)

    def count(self, posed: PosedBatch) -> int:
        """Rows of scores, whether they are trusted or not."""
        match self.task:
            case "tagging":
                return int(posed.target_mask.sum())
            case "question-answering":
                return 2 * len(posed)
            case "multi-label":
                assert posed.labels is not None
                return posed.labels.numel()
            case _:
                return len(posed)

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """A tally for each part."""
        count = self.counts(posed)["label"]
        embedded: list[Tensor] = []
        with nullcontext() if self.sift is None else _before_norm(self.network, embedded.append):
            scores = self.scores(posed)
        tallies = {"label": self.label(scores, posed, count)}
        teacher = self._teacher[0]
        if teacher is not None:
            assert posed.lesson is not None, "a batch is prepared before it is learned from"
            theirs, temperature = posed.lesson["scores"], teacher.temperature
            total = temperature**2 * self.divergence(theirs, scores, temperature)
            if self.task == "regression":
                total = (theirs - scores).square().sum()
            tallies["teacher"] = Tally(total, count)
        if self.sift is not None:
            tallies["sift"] = Tally(self._smoothness(posed, scores, embedded[0]), count)
        if self.ensemble is not None:
            ramp, total = self.ensemble.settings.ramp(int(self.ensemble.readings)), scores.new_zeros(())
            if ramp:  # else there is no average of earlier answers
                total = ramp * self.divergence(self.ensemble.logs(posed), scores)
            tallies["ensemble"] = Tally(total, count)
        if count == 0:
            return {name: Tally(0 * tally.total, 0) for name, tally in tallies.items()}
        return tallies

    def scores(self, posed: PosedBatch) -> Tensor:
        """Rows of scores (R, K), float32."""
        return score_rows(self.network, self.name, posed, self.task)

    def label(self, scores: Tensor, posed: PosedBatch, count: int) -> Tally:
        """The loss of the labels."""
        if self.task == "tagging":
            targets = posed.targets[posed.target_mask]
        else:
            assert posed.labels is not None
            targets = posed.labels
        match self.task:
            case "regression":
                return Tally((scores[:, 0] - targets).square().sum(), count)
            case "multi-label":
                total = F.binary_cross_entropy_with_logits(scores, targets, reduction="sum")
                return Tally(total, count, ((scores > 0) == (targets > 0)).sum())
            case "question-answering":
                targets = targets.T.flatten()  # as the rows: all starts, then all ends
        weights: Any = self.class_weights
        total = F.cross_entropy(scores, targets, weights, reduction="sum", label_smoothing=self.smoothing)
        return Tally(total, count, (scores.argmax(-1) == targets).sum())

    def divergence(self, wanted: Tensor, scores: Tensor, temperature: float = 1.0) -> Tensor:
        """The sum over rows of KL(wanted || scores), both at a temperature; of multi-label, of each label alone."""
        if self.task == "multi-label":
            wanted, scores = (torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (wanted, scores))
        return kl_divergence(wanted / temperature, scores / temperature).sum()

    def _smoothness(self, posed: PosedBatch, scores: Tensor, embedded: Tensor) -> Tensor:
        """The symmetric divergence of the answers to perturbed embeddings; gradients flow through both answers."""
        assert self.sift is not None
        sift, normed = self.sift, F.layer_norm(embedded.detach().float(), embedded.shape[-1:], eps=1e-7)
        delta = torch.randn_like(normed).mul_(sift.noise).clamp_(-sift.bound, sift.bound).requires_grad_()
        gradient = torch.autograd.grad(self._perturbed(posed, normed + delta, scores.detach()), delta)[0]
        if bool(gradient.isfinite().all()):
            steepest = gradient.abs().amax(-1, keepdim=True)
            delta = delta + sift.step * gradient / (1e-6 + steepest)
        return self._perturbed(posed, normed + delta.detach(), scores)

    def _perturbed(self, posed: PosedBatch, embedded: Tensor, scores: Tensor) -> Tensor:
        """The symmetric divergence of the answer to these embeddings from another answer."""
        with _before_norm(self.network, lambda normed: embedded.to(normed.dtype)):
            perturbed = self.scores(posed)
        if self.task == "regression":
            return (perturbed - scores).square().sum()
        # as released: each is the target once, so that gradients flow through both
        return self.divergence(scores.detach(), perturbed) + self.divergence(perturbed.detach(), scores)


def _before_norm(network: Network, function: Callable[[Tensor], object]) -> RemovableHandle:
    """A `with` in which a function is shown, or replaces, what goes into the norm of a network's embeddings."""
    norm = network.transformer.embeddings.norm
    assert norm is not None
    return norm.register_forward_pre_hook(lambda module, inputs: function(inputs[0]))
