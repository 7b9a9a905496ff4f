"""How well does this label fit this text? One class for each kind of head that can answer.

A scorer gives raw scores; `calibration.py` makes them probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from sijo.checkpoints.load import Dtype, Model, load
from sijo.errors import SettingError, nearest
from sijo.inference.engine import Encoded, Engine, LongText, unit
from sijo.inference.store import VectorStore
from sijo.zeroshot.calibration import MINILM, Calibration
from sijo.zeroshot.labels import Label


class Scorer(Protocol):
    """What the classifier asks of a scorer."""

    template: str
    """The sentence a label is put in unless the user gives another."""
    calibration: Calibration
    """What makes its scores probabilities unless the user fits or gives another."""

    def score(self, texts: Sequence[str], labels: Sequence[Label], template: str) -> tuple[np.ndarray, Encoded]:
        """Scores (n, L) float64, and how much of each text was read."""


class EmbeddingScorer:
    """How near is the label's vector to the text's: their cosine.

    A label's vector is the mean of its phrases' unit vectors: the template with its name, and each
    description. The vectors of the last labels are kept, so labels that stay cost their encoding once.

    Source: Yin et al. 2019 (arXiv:1909.00161) name the baseline; Reimers & Gurevych 2019
    (arXiv:1908.10084) the encoders.
    """

    template = "This is about {}."
    calibration = MINILM

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._kept: tuple[object, np.ndarray] | None = None

    def score(self, texts: Sequence[str], labels: Sequence[Label], template: str) -> tuple[np.ndarray, Encoded]:
        """Cosines (n, L) float64; 0 for a text without tokens."""
        encoded = self.engine.encode(texts)
        return unit(encoded.vectors.astype(np.float64)) @ self._vectors(labels, template).T, encoded

    def _vectors(self, labels: Sequence[Label], template: str) -> np.ndarray:
        """One unit vector for each label, (L, D) float64."""
        key = (tuple(labels), template)
        if self._kept is None or self._kept[0] != key:
            phrases = [label.phrases(template) for label in labels]
            vectors = unit(self.engine.encode([phrase for said in phrases for phrase in said]).vectors)
            ends = np.cumsum([len(said) for said in phrases])[:-1]
            means = [part.astype(np.float64).mean(0) for part in np.split(vectors, ends)]
            self._kept = key, unit(np.array(means))
        return self._kept[1]


SCORERS = {"embedding": EmbeddingScorer}
"""Every scorer by name."""


def open_scorer(
    name: str,
    model: str | Path | Model | None,
    *,
    long_text: LongText = "windows",
    cache: str | Path | None = None,
    dtype: Dtype = "float32",
) -> Scorer:
    """A scorer with its model opened.

    name   one of `SCORERS`, or "auto" for the one that suits the model
    model  a folder, an `org/name`, an opened model, or None for the built-in one

    The other settings are those of `ZeroShotClassifier`.
    """
    kind = "embedding" if name == "auto" else name
    if kind not in SCORERS:
        raise SettingError(f"no scorer {name!r}{nearest(name, SCORERS)}; there are auto, {', '.join(SCORERS)}")
    opened = model if isinstance(model, Model) else load(model, dtype=dtype)
    store = None
    if cache is not None:
        store = VectorStore(Path(cache), fingerprint=f"{long_text}-{opened.fingerprint}")
    return SCORERS[kind](Engine(opened, long_text=long_text, store=store))
