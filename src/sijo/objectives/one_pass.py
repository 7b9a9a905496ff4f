"""Which of the labels that stand beside a text fit it? Asked in one input, of the head that looks for their marks.

Letters: B texts, K labels of a batch, N labels beside the text that has most, L length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sijo.batching import padded_length
from sijo.errors import SettingError
from sijo.nn.head_specs import OPEN_LABELS, OnePassHeadSpec
from sijo.nn.heads import Network
from sijo.nn.label_scoring import LabelScoring
from sijo.objectives.objective import TrainingObjective
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer

ABSENT = -1.0
"""The target where a text has fewer labels beside it than another."""
SPREAD, MIDDLE = 2.0, -2.0
"""Of the logits that a fresh head begins with: most labels do not fit, and learning can still move all."""


class OnePass(TrainingObjective):
    """A network that judges all labels beside a text: those that fit are to have a logit above 0, the others below.

        list   sum over texts of  log(1 + sum over labels that do not fit of e^z)
                                + log(1 + sum over labels that fit of e^-z)
        each   sum over texts and labels of  a_t (1 - p_t)^gamma (-log p_t)

    with p_t the probability of what is so, and a_t = alpha where the label fits, else 1 - alpha. In a list the
    worst labels count, as in a softmax: where one of 20 fits, no to all is not nearly right.

    Needs      inputs of `data/label_questions.py` and the head `one-pass`, with its marks in the tokenizer
    Parts      labels: a term for each text, or for each label beside one
    Random     which labels stand beside each text, and in which order: drawn in `pose`, from a generator of its own
               for each text
    Neighbours `LabelMatching` for vectors
    Source     list: Su et al. 2022 (arXiv:2208.02955); each: Lin et al. 2017 (arXiv:1708.02002), eq. 5, as the
               released `gliclass` has it

    network    with that head
    tokenizer  its own
    length     tokens of an input at most; labels that do not fit beside a text are left out, the right one last
    loss       over the list of a text, or each label by itself
    gamma      of each, how much less a label counts that is judged well already; 0 for binary cross-entropy
    alpha      of each, what a label that fits counts beside one that does not; None for as much
    without    share of texts beside which their own label does not stand
    dropout    whether the network drops anything out

    Raises SettingError for a network without the head, and for settings that cannot be.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        *,
        length: int = 256,
        loss: Literal["list", "each"] = "list",
        gamma: float = 2.0,
        alpha: float | None = None,
        without: float = 0.1,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        head = network.head_values.get(OPEN_LABELS)
        if not isinstance(head, OnePassHeadSpec):
            raise SettingError("the network has no head one-pass; open it with that head, or with a fresh one")
        if not 0 <= gamma <= 10 or not 0 <= without < 1 or not (alpha is None or 0 < alpha < 1):
            raise SettingError(
                f"gamma={gamma} must be 0 to 10, without={without} a share below 1, and alpha={alpha} one between "
                "0 and 1, or null"
            )
        self.network, self.head, self.frame, self.pad = network, head, tokenizer.framed, tokenizer.pad_id
        self.room = tokenizer.room(length, pair=False) - 1
        self.loss, self.gamma, self.alpha, self.without = loss, gamma, alpha, without
        self.dropout = dropout
        self.weights = {"labels": 1.0}

    def train(self, mode: bool = True) -> Self:
        """Learning, or not; without `dropout` the network reads as if it did not learn."""
        super().train(mode)
        self.network.train(mode and self.dropout)
        return self

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Each text behind labels of its own, in an order of its own; `labels` become (B, N) float32, 1 where a
        label fits, 0 where not and `ABSENT` where there is none."""
        assert batch.beside is not None and batch.labels is not None
        marks = torch.tensor([self.head.label_mark, self.head.text_mark])
        texts, labels = ([self._own(one, row, marks) for row in range(len(one))] for one in (batch, batch.beside))
        fits = batch.labels
        if not fits.is_floating_point():
            fits = F.one_hot(batch.labels, len(labels)).float()
        rows, answers = [], []
        for row, (text, own) in enumerate(zip(texts, fits, strict=True)):
            chosen = self._chosen(labels, own, len(text), seed, batch.numbers[row].tolist())
            prompt = [number for label in chosen for number in (self.head.label_mark, *labels[label])]
            prompt.append(self.head.text_mark)
            kept = text[: max(self.room + 1 - len(prompt), 1)]
            first = self.head.order == "labels_first"
            rows.append(self.frame([*prompt, *kept] if first else [*kept, *prompt]).ids)
            answers.append(own[chosen])
        return _side_by_side(batch, rows, answers, self.pad)

    def _own(self, posed: PosedBatch, row: int, marks: Tensor) -> list[int]:
        """The tokens of a text, or of a label, without special ones."""
        ids = posed.input_ids[row][posed.keep[row] & ~posed.special[row]]
        own: list[int] = ids[~torch.isin(ids, marks)].tolist()
        return own

    def _chosen(
        self, labels: Sequence[Sequence[int]], fits: Tensor, text: int, seed: int, number: Sequence[int]
    ) -> list[int]:
        """The labels beside a text, in their order: those that fit, mostly, and of the others as many as there is
        room for."""
        random = rng(seed, "one pass", *number)
        order = random.permutation(len(labels)).tolist()
        right = [label for label in order if fits[label] > 0]
        wrong = [label for label in order if fits[label] <= 0]
        if random.random() < self.without and len(wrong) > 1:
            right = []
        room, chosen = self.room - min(text, self.room // 2), list[int]()
        for label in (*right, *wrong):
            room -= 1 + len(labels[label])
            if room >= 0 or not chosen:
                chosen.append(label)
        return [chosen[place] for place in random.permutation(len(chosen))]

    @torch.no_grad()
    def balance(self, batches: Iterable[PosedBatch]) -> None:
        """Set scale and offset of a fresh head by some posed batches, so that its logits spread by `SPREAD` around
        `MIDDLE`: cosines of an encoder's own vectors may all lie near 0.9, and say yes to every label."""
        head, scores = self.network.head[OPEN_LABELS], list[Tensor]()
        assert isinstance(head, LabelScoring) and head.offset is not None
        for posed in batches:
            assert posed.labels is not None
            scores_BN = self._logits(posed).double()
            scores.append(scores_BN[posed.labels[:, : scores_BN.shape[1]] >= 0])
        spread, middle = torch.std_mean(torch.cat(scores))
        factor = SPREAD / spread.clamp(min=1e-6)
        head.offset.copy_((head.offset - middle) * factor + MIDDLE)
        head.scale.mul_(factor)

    def counts(self, posed: PosedBatch) -> dict[str, int]:
        """Texts, or labels beside texts."""
        assert posed.labels is not None
        return {"labels": len(posed) if self.loss == "list" else int((posed.labels >= 0).sum())}

    def _logits(self, posed: PosedBatch) -> Tensor:
        """Of the labels beside each text, (B, N), by the network's own layout: it may hide them from each other."""
        read = self.network.head_input(posed.input_ids, posed.padding, posed.token_type_ids)
        logits_BN: Tensor = self.network.head[OPEN_LABELS](read)
        return logits_BN

    def forward(self, posed: PosedBatch) -> dict[str, Tally]:
        """The tally of the labels."""
        assert posed.labels is not None
        logits_BN = self._logits(posed).float()
        targets_BN = posed.labels[:, : logits_BN.shape[1]]
        if self.loss == "list":
            return {"labels": _of_lists(logits_BN, targets_BN)}
        real_BN = targets_BN >= 0
        logits, targets = logits_BN[real_BN], targets_BN[real_BN]
        terms = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.gamma:
            terms = terms * (1 - torch.exp(-terms)) ** self.gamma
        if self.alpha is not None:
            terms = terms * torch.where(targets > 0, self.alpha, 1 - self.alpha)
        return {"labels": Tally(terms.sum(), len(targets), ((logits > 0) == (targets > 0)).sum())}


def _of_lists(logits_BN: Tensor, targets_BN: Tensor) -> Tally:
    """The loss over lists; right is a text whose best label fits, or that has none above 0 where none fits."""
    fits_BN, lowest = targets_BN > 0, -torch.inf
    sides = logits_BN.masked_fill(targets_BN != 0, lowest), (-logits_BN).masked_fill(~fits_BN, lowest)
    total = torch.stack([F.pad(side, (1, 0)).logsumexp(1).sum() for side in sides]).sum()
    best_B1 = F.pad(logits_BN.masked_fill(targets_BN == ABSENT, lowest), (1, 0)).argmax(1, keepdim=True)
    right_BN = torch.cat([~fits_BN.any(1, keepdim=True), fits_BN], 1)
    return Tally(total, len(logits_BN), right_BN.gather(1, best_B1).sum())


def _side_by_side(
    batch: PosedBatch, rows: Sequence[Sequence[int]], answers: Sequence[Tensor], pad: int
) -> PosedBatch:
    """The batch with these inputs, padded on the right, and which of their labels fit."""
    width, most = padded_length(max(map(len, rows))), max(map(len, answers))
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    keep, labels = torch.zeros((len(rows), width), dtype=torch.bool), torch.full((len(rows), most), ABSENT)
    for row, (own, fits) in enumerate(zip(rows, answers, strict=True)):
        ids[row, : len(own)], keep[row, : len(own)], labels[row, : len(fits)] = torch.tensor(own), True, fits
    return replace(
        batch,
        input_ids=ids,
        keep=keep,
        token_type_ids=torch.zeros_like(ids),
        special=~keep,
        targets=ids,
        target_mask=torch.zeros_like(keep),
        labels=labels,
        beside=None,
    )
