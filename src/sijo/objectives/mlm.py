"""Masked language modelling (`mlm`): which token stood here? (BERT, section 3.1.)

With DeBERTa's enhanced mask decoder the head knows absolute places, and nothing else changes: that is
the head's business (`nn/heads.py`), and an objective does not know which head it reads.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sijo.errors import SettingError
from sijo.nn.heads import HeadInput, LMHead
from sijo.objectives.masking import Masking, choose, choose_by_frequency, replace_chosen
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.tally import Tally, cross_entropy
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer


class MaskedLM:
    """Hide some tokens and ask for them.

    Needs      a head `mlm`
    Parts      mlm: cross-entropy of each token asked for
    Neighbours `Replaced` for a network that judges what such a one puts in
    Source     Devlin et al. 2018 (arXiv:1810.04805), section 3.1; the rules of choice in `objectives/masking.py`
    """

    part = "mlm"
    head = "mlm"

    def __init__(self, masking: Masking, tokenizer: Tokenizer, counts: np.ndarray | None = None) -> None:
        """counts  how often each token occurs in the corpus; for a choice by frequency alone"""
        if tokenizer.mask_id is None:
            raise SettingError(
                "this tokenizer has no [MASK] token, so nothing can be hidden; use one of BERT's kin"
            )
        self.masking = masking
        self.mask_id = tokenizer.mask_id
        self.vocab_size = tokenizer.vocab_size
        self.starts_word = tokenizer.starts_word
        self.counts = counts

    def pose(self, question: PosedBatch, seed: int) -> PosedBatch:
        """Hide tokens, by the dice of each sample of each epoch."""
        ids, free = question.input_ids.numpy(), question.special.logical_not().numpy()
        dice = [rng(seed, "mask", *map(int, number)) for number in question.numbers]
        asked, shown = np.zeros_like(free), ids.copy()
        if self.masking.choice == "frequency":
            assert self.counts is not None
            asked = choose_by_frequency(self.masking, ids, free, question.keep.numpy(), self.counts, dice)
        for row, (one, length) in enumerate(zip(dice, question.lengths, strict=True)):
            here = ids[row, :length]  # never the padding: a row's dice must not depend on its neighbours' length
            if self.masking.choice != "frequency":
                asked[row, :length] = choose(self.masking, free[row, :length], self.starts_word[here], one)
            shown[row, :length] = replace_chosen(
                self.masking, here, asked[row, :length], one, mask_id=self.mask_id, vocab_size=self.vocab_size
            )
        return replace(
            question, input_ids=torch.from_numpy(shown), truth=question.input_ids, asked=torch.from_numpy(asked)
        )

    def count(self, question: PosedBatch) -> int:
        """Tokens asked for."""
        return int(question.asked.sum())

    def answer(self, head: LMHead, read: HeadInput, question: PosedBatch) -> Tally:
        """The tally of the tokens asked for."""
        return cross_entropy(self.logits(head, read, question), question.truth[question.asked])

    def logits(self, head: LMHead, read: HeadInput, question: PosedBatch) -> Tensor:
        """Logits (N, V), computed only where a token was hidden."""
        return head.decode(head.states(read)[question.asked], read.transformer)
