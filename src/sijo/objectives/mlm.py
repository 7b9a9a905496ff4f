"""Masked language modelling (`mlm`): which token stood here? (BERT, section 3.1.)

With DeBERTa's enhanced mask decoder the head knows absolute places, and nothing else changes: that is
the head's business (`nn/heads.py`), and an objective does not know which head it reads.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sijo.errors import SettingError
from sijo.nn.heads import HeadInput, LMHead
from sijo.objectives.masking import Masking, choose, choose_by_frequency, replace_chosen
from sijo.objectives.objective import Objective
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.settings import ObjectiveSettings
from sijo.objectives.tally import Tally
from sijo.objectives.token_loss import predict_targets
from sijo.random import rng
from sijo.tokenizers.tokenizer import Tokenizer


class TokenObjective(Objective):
    """An objective whose targets are single tokens: the loss is the cross-entropy of each."""

    def looks_at(self, posed: PosedBatch) -> Tensor:
        """The targets."""
        return posed.target_mask

    def answer(self, head: LMHead, head_input: HeadInput, posed: PosedBatch) -> Tally:
        """The tally of the targets; logits are computed only where there is one."""
        return predict_targets(head, head_input, posed).tally

    def example(self, head: LMHead, head_input: HeadInput, posed: PosedBatch) -> dict[str, Any]:
        """The text as it is read, the targets, and the predictions."""
        return guessed(head, head_input, posed)


class MaskedLM(TokenObjective):
    """Hide some tokens and predict them.

    Needs      a head `mlm`
    Parts      mlm: cross-entropy of each masked token
    Neighbours `ReplacedTokenDetection` for a network that judges what such a one puts in
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
        self.share = masking.share
        self.mask_id = tokenizer.mask_id
        self.vocab_size = tokenizer.vocab_size
        self.starts_word = tokenizer.starts_word
        self.counts = counts

    @classmethod
    def build(cls, settings: ObjectiveSettings, tokenizer: Tokenizer, counts: np.ndarray | None) -> "MaskedLM":
        """The objective of a run."""
        return cls(settings.masking, tokenizer, counts)

    def pose(self, batch: PosedBatch, seed: int) -> PosedBatch:
        """Hide tokens, by a generator for each sample of each epoch."""
        ids, free = batch.input_ids.numpy(), batch.special.logical_not().numpy()
        generators = [rng(seed, "mask", *map(int, number)) for number in batch.numbers]
        target_mask, shown = np.zeros_like(free), ids.copy()
        if self.masking.choice == "frequency":
            assert self.counts is not None
            target_mask = choose_by_frequency(self.masking, ids, free, batch.keep.numpy(), self.counts, generators)
        for row, (generator, length) in enumerate(zip(generators, batch.lengths, strict=True)):
            here = ids[row, :length]  # never the padding: a row's draws must not depend on its neighbours' length
            if self.masking.choice != "frequency":
                target_mask[row, :length] = choose(
                    self.masking, free[row, :length], self.starts_word[here], generator
                )
            shown[row, :length] = replace_chosen(
                self.masking,
                here,
                target_mask[row, :length],
                generator,
                mask_id=self.mask_id,
                vocab_size=self.vocab_size,
            )
        return replace(
            batch,
            input_ids=torch.from_numpy(shown),
            targets=batch.input_ids,
            target_mask=torch.from_numpy(target_mask),
        )


def target_logits(head: LMHead, head_input: HeadInput, posed: PosedBatch) -> Tensor:
    """Logits (N, V), computed only where a target is to be predicted."""
    return head.at(head_input, posed.target_mask)


def guessed(head: LMHead, head_input: HeadInput, posed: PosedBatch) -> dict[str, Any]:
    """The token ids of the one text of a posed batch, the targets, and the likeliest token where there is one."""
    guesses = posed.targets.new_full(posed.targets.shape, -1)
    guesses[posed.target_mask] = target_logits(head, head_input, posed).argmax(-1)
    text, truth, target_mask, guess = (
        part[0, : posed.lengths[0]].tolist()
        for part in (posed.input_ids, posed.targets, posed.target_mask, guesses)
    )
    guess = [token if is_target else None for token, is_target in zip(guess, target_mask, strict=True)]
    return {"text": text, "asked": target_mask, "truth": truth, "guess": guess}
