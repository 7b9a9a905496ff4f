"""How near is the label's vector to the text's? The scorer of a sentence encoder.

Letters: n texts, L labels, D width of a vector.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import NotFiniteError, ReadCounts, unit
from sijo.zeroshot.calibration import MINILM
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest


class EmbeddingScorer(Scorer):
    """The cosine of the label's vector and the text's.

    A label's vector is the mean of its phrases' unit vectors: the template with its name, and each
    description. Where the encoder has a prompt, it stands before phrases and texts alike. The vectors
    of the last labels are kept, so labels that stay cost their encoding once.

    Source: Yin et al. 2019 (arXiv:1909.00161) name the baseline; Reimers & Gurevych 2019
    (arXiv:1908.10084) the encoders.
    """

    name = "embedding"
    template = "This is about {}."
    second_template = "{}"
    calibration = MINILM

    _kept: tuple[object, np.ndarray] | None = None

    @cached_property
    def label_tokens(self) -> LabelTokens:
        """What its network sees of labels: their sentences cut, and in lower case, as any text is."""
        model = self.engine.model
        room = model.tokenizer.room(model.tokenizer.max_length, pair=False)
        most = room if self.engine.long_text == "truncate" else None
        return LabelTokens(model.tokenizer, most=most, lowercase=model.sentence.lowercase)

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return super().settings | {"prompt": self.engine.before}

    @property
    def caution(self) -> str | None:
        """That the model was not trained to give sentence vectors, if so."""
        if self.engine.model.sentence.trained:
            return None
        return (
            f"{self.engine.model.source} has no modules.json, so it was not trained to give sentence vectors; "
            "the mean of its tokens is a guess"
        )

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Cosines (n, L) float64, absolute or not, all of them; 0 for a text without tokens."""
        encoded = self.engine.encode(request.texts)
        return self.nearness(unit(encoded.vectors.astype(np.float64)), request.labels, request.template), encoded

    def nearness(self, vectors_nD: np.ndarray, labels: Sequence[Label], template: str) -> np.ndarray:
        """Cosines (n, L) of unit vectors of texts with the labels' vectors."""
        cosines: np.ndarray = vectors_nD @ self._vectors(labels, template).T
        return cosines

    def _vectors(self, labels: Sequence[Label], template: str) -> np.ndarray:
        """One unit vector for each label, (L, D) float64."""
        key = (tuple(labels), template)
        if self._kept is None or self._kept[0] != key:
            phrases = [label.phrases(template) for label in labels]
            try:
                vectors = unit(self.engine.encode([phrase for group in phrases for phrase in group]).vectors)
            except NotFiniteError as error:
                owners = [label.name for label, group in zip(labels, phrases, strict=True) for _ in group]
                raise SettingError(f"the label {owners[error.place]!r}: {error.why}") from None
            ends = np.cumsum([len(group) for group in phrases])[:-1]
            means = [part.astype(np.float64).mean(0) for part in np.split(vectors, ends)]
            self._kept = key, unit(np.array(means))
        return self._kept[1]
