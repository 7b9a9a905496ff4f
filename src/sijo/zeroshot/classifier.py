"""The front door: texts and labels in, labels with probabilities out, nothing trained in between."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags

from sijo.checkpoints.load import Dtype, Model, load
from sijo.errors import SettingError, TextError, nearest
from sijo.inference.engine import Encoded, Engine, LongText
from sijo.inference.store import VectorStore
from sijo.text.batches import groups
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labels import Labels, LabelSet, check_template, union
from sijo.zeroshot.scorers import SCORERS, Scorer


@dataclass(frozen=True)
class Row:
    """The answer for one text."""

    label: str | None
    """The label chosen; None where the text has no tokens or, with `multi_label`, nothing fits."""
    score: float
    """Its probability; with no label, the highest there is."""
    labels: tuple[str, ...]
    """All candidates, best first."""
    scores: tuple[float, ...]
    """Their probabilities, in the same order."""
    fitting: tuple[str, ...]
    """The labels given to the text: at most one, or with `multi_label` all that reach the threshold."""
    tokens: int
    """Tokens in the text, special ones not counted."""
    windows: int
    """How many windows it was read in: more than 1 where it is longer than the model."""
    truncated: bool
    """Whether tokens were left unread."""


class ZeroShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels text with classes that nobody trained it for; a scikit-learn classifier.

    labels               names, or a mapping of names to descriptions
    model                a folder, an `org/name`, an opened model, or None for the built-in one
    scorer               "auto", or the name of one in `sijo.zeroshot.scorers`
    multi_label          judge each label by itself, so that several or none may fit
    hypothesis_template  the sentence a label is put in, with {} for its name; None for the scorer's own
    none_label           a name for "none of these"; None leaves that answer out
    none_threshold       raw score (for embeddings a cosine) below which no label fits; None for the fitted one
    threshold            with `multi_label`, the probability from which a label is given
    temperature          softmax temperature; None for the fitted one, "fit" to fit it (and the none
                         threshold, unless given) on the texts passed to `fit`
    long_text            "windows" reads all of a long text, "truncate" its first window
    cache                a folder where text vectors are kept between runs
    dtype                precision of the weights

    Nothing needs fitting. `fit` without labels of its own takes them from y.

    >>> clf = ZeroShotClassifier(labels=["cooking", "football"])
    >>> clf.predict(["Knead the dough for ten minutes.", "He scored in extra time."]).tolist()
    ['cooking', 'football']
    """

    def __init__(
        self,
        labels: Labels | None = None,
        model: str | Path | Model | None = None,
        scorer: str = "auto",
        multi_label: bool = False,
        hypothesis_template: str | None = None,
        none_label: str | None = None,
        *,
        none_threshold: float | None = None,
        threshold: float = 0.5,
        temperature: float | Literal["fit"] | None = None,
        long_text: LongText = "windows",
        cache: str | Path | None = None,
        dtype: Dtype = "float32",
    ) -> None:
        self.labels = labels
        self.model = model
        self.scorer = scorer
        self.multi_label = multi_label
        self.hypothesis_template = hypothesis_template
        self.none_label = none_label
        self.none_threshold = none_threshold
        self.threshold = threshold
        self.temperature = temperature
        self.long_text = long_text
        self.cache = cache
        self.dtype = dtype

    def fit(self, X: Sequence[str] | None = None, y: Sequence[str] | None = None) -> "ZeroShotClassifier":
        """Check the labels; take them from y where none were given; fit the temperature where asked to.

        X  texts, needed only for temperature="fit"
        y  a label for each text
        """
        if self.labels is None:
            if y is None:
                raise SettingError("there are no labels: pass labels= to the classifier, or y to fit")
            self.labels_ = LabelSet.of(sorted(set(y)))
        else:
            self.labels_ = LabelSet.of(self.labels)
        self._check(self.labels_)
        if self.temperature == "fit":
            if X is None or y is None:
                raise SettingError('temperature="fit" needs texts and their labels: call fit(X, y)')
            gold = self._columns(y)
            scores = np.concatenate([scores for scores, _, _ in self._scored(X, None)])
            self.calibration_ = Calibration.fit(scores, gold, origin=f"fit on {len(gold)} texts")
        return self

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The label of each text, (n,) of str; with `multi_label` an (n, L) array of 0 and 1.

        Raises TextError for a text without tokens when there is no `none_label` to give it.
        """
        labels = self._label_set()
        if self.multi_label:
            return (self.predict_proba(X) >= self.threshold).astype(int)
        chosen = []
        for number, row in enumerate(self.stream(X), start=1):
            if row.label is None:
                raise TextError(
                    f"text {number} has no words to label; leave it out, or give none_label= a name for it"
                )
            chosen.append(row.label)
        return np.array(chosen, dtype=np.array(labels.names).dtype if self.none_label is None else str)

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """Probabilities, (n, number of `classes_`) float64, in the order of `classes_`.

        They sum to 1 in each row, unless `multi_label`. A text without tokens gets the same for each label.
        """
        rows = [self._probabilities(scores) for scores, _, _ in self._scored(X, None)]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.classes_)))

    def classify(self, texts: Iterable[str], labels: Sequence[Labels] | None = None) -> list[Row]:
        """A `Row` for each text: label, probability, every candidate, and how much of the text was read.

        labels  a label set for each text, in place of the classifier's own

        >>> ZeroShotClassifier().classify(["a sonata in B minor"], [["music", "chess"]])[0].label
        'music'
        """
        return list(self.stream(texts, labels))

    def stream(self, texts: Iterable[str], labels: Iterable[Labels] | None = None) -> Iterator[Row]:
        """As `classify`, row by row for a stream of any length, in constant memory."""
        for scores, encoded, sets in self._scored(texts, labels):
            yield from self._rows(scores, encoded, sets)

    @property
    def classes_(self) -> np.ndarray:
        """The labels in the order of `predict_proba`, with the none label last where there is one."""
        names = self._label_set().names
        return np.array([*names, self.none_label] if self._has_none else names)

    @property
    def calibration(self) -> Calibration:
        """The temperature and none score in use, and where they came from."""
        base = getattr(self, "calibration_", None) or self._open().calibration
        if self.temperature == "fit" and not hasattr(self, "calibration_"):
            raise SettingError('temperature="fit" was asked for but not done yet: call fit(X, y) first')
        temperature = base.temperature if self.temperature in (None, "fit") else float(self.temperature or 0)
        none_score = base.none_score if self.none_threshold is None else self.none_threshold
        given = (temperature, none_score) != (base.temperature, base.none_score)
        return Calibration(temperature, none_score, "as given" if given else base.origin)

    @property
    def _has_none(self) -> bool:
        return self.none_label is not None and not self.multi_label

    def _scored(
        self, texts: Iterable[str], labels: Iterable[Labels] | None
    ) -> Iterator[tuple[np.ndarray, Encoded, list[LabelSet]]]:
        """Bounded groups of texts with their scores (n, L), minus infinity where a row lacks a label."""
        if isinstance(texts, str):
            raise SettingError("texts is one string; pass a list of texts")
        scorer = self._open()
        template = check_template(self.hypothesis_template or scorer.template)
        own = None if labels is not None else self._label_set()
        theirs = iter(labels) if labels is not None else None
        for group in groups(_checked(texts)):
            if own is not None:
                scores, encoded = scorer.score(group, own.labels, template)
                yield scores, encoded, [own]
                continue
            assert theirs is not None
            sets = [LabelSet.of(labels) for labels in islice(theirs, len(group))]
            if len(sets) < len(group):
                raise SettingError("there are fewer label sets than texts; give one for each text")
            for one in sets:
                self._check(one)
            every = union(sets)
            scores, encoded = scorer.score(group, every, template)
            has = np.array([[label in one.labels for label in every] for one in sets])
            yield np.where(has, scores, -np.inf), encoded, sets

    def _probabilities(self, scores: np.ndarray) -> np.ndarray:
        calibration = self.calibration
        if self.multi_label:
            return calibration.each(scores)
        return calibration.with_none(scores) if self._has_none else calibration.softmax(scores)

    def _rows(self, scores: np.ndarray, encoded: Encoded, sets: list[LabelSet]) -> Iterator[Row]:
        every = [label.name for label in (sets[0].labels if len(sets) == 1 else union(sets))]
        names = [*every, self.none_label] if self._has_none else every
        probabilities = self._probabilities(scores)
        order = np.argsort(-probabilities, axis=-1, kind="stable")
        for i, best in enumerate(order):
            theirs = [j for j in best if j >= len(every) or np.isfinite(scores[i, j])]
            labels = tuple(str(names[j]) for j in theirs)
            ranked = tuple(float(probabilities[i, j]) for j in theirs)
            empty = encoded.tokens[i] == 0
            if self.multi_label:
                fitting = tuple(
                    label for label, p in zip(labels, ranked, strict=True) if p >= self.threshold and not empty
                )
            elif empty:
                fitting = () if self.none_label is None else (self.none_label,)
            else:
                fitting = labels[:1]
            label = fitting[0] if fitting else self.none_label
            yield Row(
                label=label,
                score=ranked[labels.index(label)] if label in labels else ranked[0],
                labels=labels,
                scores=ranked,
                fitting=fitting,
                tokens=int(encoded.tokens[i]),
                windows=int(encoded.windows[i]),
                truncated=bool(encoded.truncated[i]),
            )

    def _label_set(self) -> LabelSet:
        if hasattr(self, "labels_"):
            return self.labels_
        if self.labels is None:
            raise SettingError("there are no labels: pass labels= to the classifier, or y to fit")
        labels = LabelSet.of(self.labels)
        self._check(labels)
        return labels

    def _check(self, labels: LabelSet) -> None:
        if len(labels.labels) == 1 and not self.multi_label and self.none_label is None:
            raise SettingError(
                f"with the one label {labels.names[0]!r} there is nothing to choose between; add a label, "
                "give none_label (--none-label), or judge it by itself with multi_label (--multi-label)"
            )
        if self.none_label is not None and self.none_label in labels.names:
            raise SettingError(f"the none label {self.none_label!r} is also one of the labels; rename one")

    def _columns(self, y: Sequence[str]) -> np.ndarray:
        column = {name: j for j, name in enumerate(self._label_set().names)}
        for label in y:
            if label not in column:
                raise TextError(f"y holds {label!r}, which is not a label{nearest(str(label), column)}")
        return np.array([column[label] for label in y])

    def _open(self) -> Scorer:
        """The scorer with its model, opened at first use and again when a setting of it changes."""
        key = (self.model, self.scorer, self.long_text, self.cache, self.dtype)
        if getattr(self, "_opened", (None, None))[0] != key:
            name = "embedding" if self.scorer == "auto" else self.scorer
            if name not in SCORERS:
                raise SettingError(
                    f"no scorer {name!r}{nearest(name, SCORERS)}; there are auto, {', '.join(SCORERS)}"
                )
            model = self.model if isinstance(self.model, Model) else load(self.model, dtype=self.dtype)
            store = None
            if self.cache is not None:
                store = VectorStore(Path(self.cache), fingerprint=f"{self.long_text}-{model.fingerprint}")
            self._opened = key, SCORERS[name](Engine(model, long_text=self.long_text, store=store))
        scorer: Scorer = self._opened[1]
        return scorer

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_opened", None)  # the model is opened again where the copy lands
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        tags.no_validation = True
        return tags


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts, each a string that UTF-8 can hold."""
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise TextError(
                f"text {number} is of type {type(text).__name__}; pass strings, '' for a text that is absent"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TextError(f"text {number} holds a lone surrogate, which no text has; remove it") from None
        yield text
