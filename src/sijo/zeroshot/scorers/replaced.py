"""How little does a label, put in a sentence behind the text, look replaced? Asked of a discriminator.

ELECTRA and DeBERTa-v3 learned to tell tokens that were put in by a small network from those that were there. A
label that fits its text looks as if it had been there.
"""

from dataclasses import replace

import numpy as np

from sijo.inference.engine import AskedInput
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.scorers.blanks import BlankScorer


class ReplacedScorer(BlankScorer):
    """The logit that a label's tokens are the text's own: minus the mean of their "replaced" logits.

    The mean, not the largest: the largest of many is higher than of few, so it would rank labels by their length.
    A label by itself fits where its tokens are likelier original than replaced, a logit above 0.

    engine  a model opened by torch with its rtd head

    Source: Ni & Kao 2022 (arXiv:2207.08141); Xia et al. 2022 (arXiv:2205.15223), whose code
    takes the mean or the largest over a label's tokens.
    """

    name = "replaced"
    template = "This is about {}."
    calibration = replace(LOGITS, origin="not fitted: the head's own logits that a label is original")
    one_scale = True
    head = "rtd"

    def question(self, ids: tuple[int, ...], places: range) -> AskedInput:
        """Whether the words' tokens were replaced."""
        return AskedInput(ids, tuple(places))

    def answer(self, scores: np.ndarray) -> float:
        """Minus the mean of the logits."""
        return -float(scores.mean(dtype=np.float64))
