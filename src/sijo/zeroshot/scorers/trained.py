"""Which of the labels it was trained on fits? A classification head, asked for its own classes.

It is here, among the zero-shot scorers, so that a model that was trained on labels is used in the same
way as one that was not, and measured beside it.

Letters: n texts, L labels.
"""

import numpy as np

from sijo.inference.engine import Engine
from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.calibration import LOGITS
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest, TrainedLabels


class TrainedScorer(Scorer):
    """What a head that was trained on the labels says of each: its own logits.

    Probabilities are a softmax over the labels that are asked for, all of them by default; where the config's
    `problem_type` is `multi_label_classification`, a sigmoid for each. A head that was trained on pairs of
    texts is asked of single ones.

    engine  a model opened with its head

    Raises SettingError for a head that gives a number and no label.

    Source: the numbers are those of the text-classification pipeline of transformers.

    >>> from sijo.checkpoints.load import load
    >>> from sijo.inference.encode import engine_of
    >>> from sijo.zeroshot.labels import Label
    >>> fresh = load("all-minilm-l6-v2", head="new:sequence-classification", labels=["sport", "tax", "war"])
    >>> scorer = TrainedScorer(engine_of(fresh))
    >>> scores, reading = scorer.score(ScoreRequest(["a late goal"], [Label("war"), Label("sport")], ""))
    >>> scores.shape, reading.tokens.tolist()
    ((1, 2), [3])
    """

    name = "trained"
    template = "{}"
    """A label is its name; no other template is taken."""
    calibration = LOGITS
    known: TrainedLabels

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.known = TrainedLabels.of(engine.model)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Logits (n, L) float64, absolute or not, all of them: they cost one pass for a text."""
        places = self.known.places(request.labels)
        judged = self.engine.judge(request.texts)
        return judged.logits.astype(np.float64)[:, places], judged
