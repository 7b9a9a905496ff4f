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
    description. Vectors of labels are kept, so a label costs its encoding once.

    Source: Yin et al. 2019 (arXiv:1909.00161) name the baseline; Reimers & Gurevych 2019
    (arXiv:1908.10084) the encoders.
    """

    template = "This is about {}."
    calibration = MINILM

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._phrases: dict[str, np.ndarray] = {}

    def score(self, texts: Sequence[str], labels: Sequence[Label], template: str) -> tuple[np.ndarray, Encoded]:
        """Cosines (n, L) float64; 0 for a text without tokens."""
        encoded = self.engine.encode(texts)
        return unit(encoded.vectors.astype(np.float64)) @ self._vectors(labels, template).T, encoded

    def _vectors(self, labels: Sequence[Label], template: str) -> np.ndarray:
        """One unit vector for each label, (L, D) float64."""
        phrases = [label.phrases(template) for label in labels]
        new = [phrase for said in phrases for phrase in said if phrase not in self._phrases]
        if len(self._phrases) > 100_000:  # a stream whose every row brings labels of its own
            self._phrases.clear()
            new = [phrase for said in phrases for phrase in said]
        if new:
            vectors = unit(self.engine.encode(new).vectors.astype(np.float64))
            self._phrases.update(zip(new, vectors, strict=True))
        return unit(np.array([np.mean([self._phrases[phrase] for phrase in said], 0) for said in phrases]))


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
