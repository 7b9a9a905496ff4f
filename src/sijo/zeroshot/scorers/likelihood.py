"""How likely is this text after the label's control code? CTRL's source attribution, as a scorer.

A network that writes under control codes gives every text a probability under each of them; its labels are its
codes, and Bayes' rule makes the rest (`generation/attribute.py`).

Letters: n texts, C codes, L labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from sijo.generation.attribute import Attributor
from sijo.generation.cached_reader import HEAD
from sijo.inference.engine import Engine, LongText, ReadCounts
from sijo.inference.vector_cache import Entry
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.trained import TrainedLabels


class LikelihoodScorer:
    """The log-probability of a text behind each label's control code.

    Probabilities are a softmax over the labels that are asked for: the posterior of the codes where all are alike
    before the text is read. It is sure of itself on long texts, since every token counts.

    engine  a model opened with its lm head, whose tokenizer knows two codes or more

    Source: Keskar et al. 2019 (arXiv:1909.05858), section 5.
    """

    name = "likelihood"
    head: str | None = HEAD
    long_texts: tuple[LongText, ...] = ("windows",)
    rows = 512
    one_scale = True
    template = "{}"
    """A label is its code's name; no other template is taken."""
    calibration = Calibration(
        temperature=1.0, none_score=0.0, origin="not fitted: the posterior of the codes, all alike beforehand"
    )

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked = Attributor(engine.model, token_budget=engine.token_budget)
        self.known = TrainedLabels(self.asked.codes, multi_label=False)

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": self.engine.long_text}

    def score(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        template: str,
        *,
        absolute: bool = False,
        asked: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ReadCounts]:
        """Log-probabilities (n, L) float64, absolute or not, all of them; 0 for a text without tokens."""
        places = self.known.places(labels)
        rows = self.engine.entries(texts, self._read)
        logprobs = np.array([row.vector for row in rows], np.float64).reshape(len(rows), len(self.asked.codes))
        tokens, windows = (
            np.array([getattr(row, name) for row in rows], np.int64) for name in ("tokens", "windows")
        )
        return logprobs[:, places], ReadCounts(tokens, windows, np.zeros(len(rows), bool))

    def _read(self, texts: Sequence[str]) -> Iterator[Entry]:
        ids = self.engine.model.tokenizer.ids(texts)
        for row, said in zip(ids, self.asked.logprobs(ids), strict=True):
            yield Entry(said.astype(np.float32), len(row), -(-len(row) // self.asked.room), truncated=False)
