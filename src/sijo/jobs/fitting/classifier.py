"""The estimator of few labels: texts and the labels of some of them in, a classifier that can be saved out."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags

from sijo.errors import SettingError
from sijo.inference.backends.backend import Precision
from sijo.inference.outputs import unit
from sijo.jobs.fitting.few_labels import few_labels
from sijo.jobs.fitting.fit import FittedModel, fit_few
from sijo.names import is_blank
from sijo.texts import texts_in, values_in
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.class_types import NAMES, as_given, label_dtype, other_forms
from sijo.zeroshot.labels import Labels
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

PLAIN = Calibration(1.0, 0.0, "logits of a head")


@dataclass(eq=False, repr=False)
class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learns from a few labelled texts, beginning at what the labels' names say; a scikit-learn classifier.

    A head over a sentence encoder's vectors: see `head.py` for what is learned, and `sijo fit` for the command.

    labels               what there is to choose from, as `ZeroShotClassifier` takes it, where y lacks some; None
                         for the labels in y
    model                a folder, an `org/name`, an opened model, or None for the built-in one: a sentence encoder
    multi_label          a text may have several labels, or none: y holds a list for each
    hypothesis_template  the sentence a label is put in, with {} for its name; None for the encoder's own
    contrastive          train the encoder too, on pairs of texts: it takes torch, and minutes
    seed                 decides which texts are held out together
    threshold            with `multi_label`, the probability from which a label is given

    `cache`, `prompt`, `backend`, `device`, `precision` and `threads` are those of `ZeroShotClassifier`.

    >>> clf = FewShotClassifier().fit(["a late goal", "a tax on land", "extra time", "interest rates"],
    ...                               ["sport", "money", "sport", "money"])
    >>> clf.predict(["the keeper saved a penalty"]).tolist()
    ['sport']
    """

    labels: Labels | None = None
    model: "str | Path | Model | None" = None
    multi_label: bool = False
    hypothesis_template: str | None = None
    _: KW_ONLY
    contrastive: bool = False
    seed: int = 0
    threshold: float = 0.5
    cache: str | Path | None = None
    prompt: str | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: Precision = "exact"
    threads: int | None = None

    def fit(self, X: Iterable[str], y: Iterable[Any]) -> "FewShotClassifier":
        """Fit the head.

        X  texts
        y  the label of each; None for one that nobody has labelled, which takes part all the same. Where all are
           numbers, or true and false, so are `classes_` and answers; a saved folder has names alone

        Raises what `few_labels` and `fit_few` do.
        """
        if not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold={self.threshold} is no probability; give a number from 0 to 1")
        values = list(values_in(y, "y"))
        cells = [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in values]
        some = few_labels(
            list(texts_in(X, "X")), cells, column="y", labels=self.labels, multi_label=self.multi_label
        )
        run_by: dict[str, Any] = {
            name: getattr(self, name) for name in ("cache", "prompt", "backend", "device", "precision", "threads")
        }
        scorer = open_scorer("embedding", self.model, **run_by)
        assert isinstance(scorer, EmbeddingScorer)
        self.fitted_: FittedModel = fit_few(
            some, scorer, template=self.hypothesis_template, seed=self.seed, contrastive=self.contrastive
        )
        names = some.labels.names
        given = [value for value, cell in zip(values, cells, strict=True) if not is_blank(cell)]
        forms = other_forms(self.labels, None if self.multi_label else given)
        self.classes_ = as_given(names, NAMES if self.multi_label else label_dtype(given), forms)
        return self

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """Probabilities, (n, number of `classes_`) float64; they sum to 1 in each row, unless `multi_label`."""
        logits = [
            self._fitted().head.logits(unit(group.vectors.astype(np.float64)))
            for group in self._fitted().scorer.engine.stream(texts_in(X, "X"))
        ]
        if not logits:
            return np.zeros((0, len(self.classes_)))
        scores = np.concatenate(logits)
        return PLAIN.each(scores) if self.multi_label else PLAIN.softmax(scores)

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The label of each text, one of `classes_`, (n,); with `multi_label` (n, L) of 0 and 1, in their order."""
        probabilities = self.predict_proba(X)
        if self.multi_label:
            return (probabilities >= self.threshold).astype(int)
        answers: np.ndarray = self.classes_[probabilities.argmax(-1)]
        return answers

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write a folder that `sijo classify`, `ZeroShotClassifier(model=…)` and `sijo.predict` open."""
        return self._fitted().save(folder, overwrite=overwrite)

    def _fitted(self) -> FittedModel:
        if not hasattr(self, "fitted_"):
            raise SettingError("nothing was fitted yet: call fit(X, y) first")
        return self.fitted_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        tags.no_validation = True
        return tags
