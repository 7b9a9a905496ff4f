"""How likely are a label's words in the blank of a sentence behind the text? Asked of a masked language model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from sijo.errors import SettingError
from sijo.inference.engine import AskedInput, Engine
from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.scorers.blanks import BlankScorer

ClozeScore = Literal["mean", "sum"]


class ClozeScorer(BlankScorer):
    """The log-probability of a label's words in a blank: each of its k tokens, with all k hidden by mask tokens.

    All labels of k tokens are read off one pass, so a text costs as many passes as its labels have lengths. To hide
    one token at a time with the others in place (Salazar et al. 2020, arXiv:1910.14659) costs a pass for each
    token of each label, and was right about as often (docs/zero-shot.md).

    A label that is judged by itself, or against none of these, is scored by what the text adds to that: less the
    same with no text, above 0 where the text makes the words likelier (Holtzman et al. 2021, arXiv:2104.08315).

    engine       a model opened by torch with its mlm head
    cloze_score  of a label of several tokens: "mean" of their log-probabilities, or the "sum", under which long
                 labels lose unless the scores are calibrated

    Raises SettingError for a tokenizer without a mask token.

    Source: Schick & Schütze 2021 (arXiv:2001.07676), section 3, with nothing trained.
    """

    name = "cloze"
    template = "This is about {}."
    calibration = replace(LOGITS, origin="not fitted: the model's own log-probabilities of the labels' tokens")
    head = "mlm"

    def __init__(self, engine: Engine, *, cloze_score: ClozeScore = "mean") -> None:
        super().__init__(engine)
        if cloze_score not in get_args(ClozeScore):
            raise SettingError(
                f"cloze_score={cloze_score!r} (--cloze-score) is neither 'mean' nor 'sum' of a label's tokens"
            )
        if engine.model.tokenizer.mask_id is None:
            raise SettingError(
                f"the tokenizer of {engine.model.source or 'this model'} has no mask token to put in a label's "
                'place; say scorer="embedding" (--scorer embedding)'
            )
        self.cloze_score = cloze_score
        self.mask_id = engine.model.tokenizer.mask_id

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return super().settings | {"cloze_score": self.cloze_score}

    def judged(
        self, texts: Sequence[str], sentences: Sequence[str], *, absolute: bool
    ) -> tuple[np.ndarray, ReadCounts]:
        """The score (P,) float64 of each text with its sentence, and how much of each text was read."""
        sums_P, counts = super().judged(texts, sentences, absolute=absolute)
        if absolute:
            sums_P = sums_P - super().judged([""] * len(sentences), sentences, absolute=True)[0]
        if self.cloze_score == "sum":
            return sums_P, counts
        filled = map(self.filled, sentences)
        return sums_P / np.array([part.end - part.start for part in filled]), counts

    def question(self, ids: tuple[int, ...], places: range) -> AskedInput:
        """The words' tokens, all of them hidden."""
        hidden = list(ids)
        hidden[places.start : places.stop] = [self.mask_id] * len(places)
        return AskedInput(tuple(hidden), tuple(places), ids[places.start : places.stop])

    def answer(self, scores: np.ndarray) -> float:
        """The sum of the log-probabilities."""
        return float(scores.sum(dtype=np.float64))
