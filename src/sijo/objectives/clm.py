"""Causal language modelling (`clm`): which token comes next? With control codes in front, CTRL's objective."""

from dataclasses import replace
from typing import Any

import torch

from sijo.nn.heads import HeadInput, LMHead
from sijo.objectives.mlm import TokenObjective, guessed
from sijo.objectives.posed_batch import PosedBatch


class CausalLM(TokenObjective):
    """Predict at every position the token after it; targets are text alone, never a control code or padding.

    Needs      a head `lm`, a network that reads to the left; for codes, a corpus prepared with them
    Parts      clm: cross-entropy of each token of text, and of the one that follows the input in its stream
    Neighbours `MaskedLM` for a network that reads both sides
    Source     Keskar et al. 2019 (arXiv:1909.05858), section 3.1; windows as in the released `training_utils`
    """

    part = "clm"
    head = "lm"

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """The targets of every token; nothing is random here."""
        ids, text = batch.input_ids, batch.keep & ~batch.special
        targets = ids.roll(-1, dims=1)
        target_mask = text.roll(-1, dims=1) & batch.keep
        target_mask[:, -1] = False
        row = torch.arange(len(batch))
        last = batch.keep.sum(1) - 1
        follows = batch.next_ids >= 0
        targets[row[follows], last[follows]] = batch.next_ids[follows]
        target_mask[row[follows], last[follows]] = True
        return replace(batch, targets=targets, target_mask=target_mask)

    def example(self, head: LMHead, head_input: HeadInput, posed: PosedBatch) -> dict[str, Any]:
        """The text and the predictions, each at the position of the token that it predicts."""
        rows = guessed(head, head_input, posed)
        last = len(rows["text"]) + rows["asked"][-1]
        text = [rows["text"][0], *rows["truth"]][:last]
        target_mask, guess = [False, *rows["asked"]][:last], [None, *rows["guess"]][:last]
        return {"text": text, "asked": target_mask, "truth": text, "guess": guess}
