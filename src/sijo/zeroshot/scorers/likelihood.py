"""How likely is the text behind each label's control code? A network that writes, asked what a text looks like.

Letters: n texts, L labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sijo.generation.attribute import Attributor
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.engine import Engine
from sijo.inference.outputs import Logits, ReadCounts
from sijo.inference.vector_cache import Entry
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest, TrainedLabels


class LikelihoodScorer(Scorer):
    """The log-probability of a text behind each label's control code: CTRL's source attribution, as a scorer.

    A network that writes under control codes gives every text a probability under each of them; its labels are its
    codes, and Bayes' rule makes the rest (`generation/attribute.py`). Probabilities are a softmax over the labels
    that are asked for: the posterior of the codes where all are alike before the text is read. It is sure of itself
    on long texts, since every token counts.

    engine  a model opened by torch with its lm head, whose tokenizer knows two codes or more

    Source: Keskar et al. 2019 (arXiv:1909.05858), section 5.
    """

    name = "likelihood"
    template = "{}"
    """A label is its code's name; no other template is taken."""
    calibration = replace(LOGITS, origin="not fitted: the posterior of the codes, all alike beforehand")
    long_texts = ("windows",)
    rows = 512
    known: TrainedLabels

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        assert isinstance(engine.backend, TorchBackend)  # as its row says
        self.attributor = Attributor(engine.backend.model, token_budget=engine.batch_tokens)
        self.known = TrainedLabels(self.attributor.codes, multi_label=False)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Log-probabilities (n, L) float64, absolute or not, all of them; 0 for a text without tokens."""
        places = self.known.places(request.labels)
        judged = Logits(*self.engine.outputs(request.texts, self._read, len(self.known.names)))
        return judged.logits.astype(np.float64)[:, places], judged

    def _read(self, texts: Sequence[str]) -> Iterator[Entry]:
        sequences = self.engine.model.tokenizer.ids(texts)
        for ids, logprobs in zip(sequences, self.attributor.logprobs(sequences), strict=True):
            windows = -(-len(ids) // self.attributor.room)
            yield Entry(logprobs.astype(np.float32), len(ids), windows, truncated=False)
