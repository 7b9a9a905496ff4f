"""Causal language modelling (`clm`): which token comes next? With control codes in front, CTRL's objective."""

from dataclasses import replace

import torch

from sijo.nn.heads import HeadInput, LMHead
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, cross_entropy


class CausalLM:
    """Ask at every place for the token after it; text alone is asked for, never a control code or padding.

    Needs      a head `lm`, a network that reads to the left; for codes, a corpus prepared with them
    Parts      clm: cross-entropy of each token of text, and of the one that follows the input in its stream
    Neighbours `Masked` for a network that reads both sides
    Source     Keskar et al. 2019 (arXiv:1909.05858), section 3.1; windows as in the released `training_utils`
    """

    part = "clm"
    head = "lm"

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Nothing is left to chance here."""
        ids, text = question.input_ids, question.keep & ~question.special
        truth = ids.roll(-1, dims=1)
        asked = text.roll(-1, dims=1) & question.keep
        asked[:, -1] = False
        row = torch.arange(len(question))
        last = question.keep.sum(1) - 1
        follows = question.next_ids >= 0
        truth[row[follows], last[follows]] = question.next_ids[follows]
        asked[row[follows], last[follows]] = True
        return replace(question, truth=truth, asked=asked)

    def count(self, question: PosedBatch) -> int:
        """Tokens asked for."""
        return int(question.asked.sum())

    def answer(self, head: LMHead, read: HeadInput, question: PosedBatch) -> Tally:
        """Logits are computed only where something is asked."""
        states = head.states(read)[question.asked]
        return cross_entropy(head.decode(states, read.transformer), question.truth[question.asked])
