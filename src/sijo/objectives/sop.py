"""Sentence order (`sop`): did these two segments change places? (ALBERT, section 3.1.)"""

from dataclasses import replace

import torch
from torch import Tensor

from sijo.nn.heads import ClassifierHead, HeadInput
from sijo.objectives.objective import Objective
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, cross_entropy
from sijo.random import rng


class SentenceOrder(Objective):
    """Exchange the two segments in half of the inputs, and predict in which.

    Needs      a head `sop`; inputs of two segments (data.segments="two")
    Parts      sop: cross-entropy of each input; label 1 is "changed places"
    Neighbours before `MaskedLM` in a list of objectives, since it exchanges the segments in which that hides tokens
    Source     Lan et al. 2019 (arXiv:1909.11942), section 3.1. Unlike the released script every label is a
               fair coin toss: no input is made of two documents (docs/albert.md)
    """

    part = "sop"
    head = "sop"

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Exchange segments; the special tokens between and after them stay where the layout has them."""
        place_L = torch.arange(batch.input_ids.shape[1])
        from_BL = place_L.repeat(len(batch), 1)
        second_BL = torch.zeros_like(batch.keep)
        coins = [rng(seed, "order", *map(int, number)).random() < 0.5 for number in batch.numbers]
        for row, (coin, (first, second)) in enumerate(zip(coins, batch.parts.tolist(), strict=True)):
            if not second:
                continue  # a document of one token: either answer is a guess
            text = batch.special[row].logical_not().nonzero()[:, 0]
            start, middle, end = int(text[0]), int(text[first]), int(text[-1]) + 1
            if coin:
                between = place_L[start + first : middle]
                from_BL[row, start:end] = torch.cat([place_L[middle:end], between, place_L[start : start + first]])
                middle += second - first
            second_BL[row] = place_L >= middle
        moved = batch.input_ids.gather(1, from_BL)
        return replace(
            batch,
            input_ids=moved,
            targets=moved,
            special=batch.special.gather(1, from_BL),
            token_type_ids=(second_BL & batch.keep).long(),
            swapped=torch.tensor(coins, dtype=torch.int64),
        )

    def count(self, posed: PosedBatch) -> int:
        """Inputs."""
        return len(posed)

    def looks_at(self, posed: PosedBatch) -> Tensor:
        """The first token."""
        first_BL = torch.zeros_like(posed.keep)
        first_BL[:, 0] = True
        return first_BL

    def answer(self, head: ClassifierHead, head_input: HeadInput, posed: PosedBatch) -> Tally:
        """Two logits an input."""
        assert posed.swapped is not None
        return cross_entropy(head(head_input), posed.swapped)
