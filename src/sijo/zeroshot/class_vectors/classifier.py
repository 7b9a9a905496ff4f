"""Labels that have labelled texts, and labels that have none, told apart by one estimator.

The vectors of a sentence encoder stand for texts; those of its label sentences, or a table of attributes, for
classes. How a method is set, and what is taken from the scores of seen classes (γ of calibrated stacking), is
chosen on seen classes that are held out and treated as unseen: nothing of an unseen class is needed but its vector.

Letters: n texts, L labels, D width of a vector, A of a class's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from sijo.errors import SettingError, TextError, nearest
from sijo.evaluation.generalized import StackingRows, area
from sijo.inference.outputs import unit
from sijo.names import folded
from sijo.random import rng
from sijo.texts import texts_in, values_in
from sijo.zeroshot.class_types import as_given, label_dtype, label_names, other_forms
from sijo.zeroshot.class_vectors.attributes import AttributeTable, read_attributes
from sijo.zeroshot.class_vectors.linear import Floats
from sijo.zeroshot.class_vectors.methods import METHODS, ClassVectorMethod, Integers
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

HELD_OUT = 0.2
"""Share of the seen classes that are treated as unseen, and of the others' texts that are not learned from."""
AUTO = ("cosine", "eszsl")
"""What "auto" chooses from: those that cost next to nothing to fit."""
FEWEST_SEEN = 3
"""Seen classes without which none can be held out."""


@dataclass(frozen=True)
class HeldOutChoice:
    """How a method was set on held-out seen classes."""

    method: ClassVectorMethod
    gamma: float
    ausuc: float


def chosen_on_held_out(
    name: str, texts_nD: Floats, columns_n: Integers, seen_SA: Floats, *, seed: int = 0
) -> HeldOutChoice:
    """The settings of a method with the greatest AUSUC, and the γ with the greatest H, over held-out classes.

    A fifth of the seen classes are taken for unseen; of the others' texts a fifth are measured on with theirs.
    name  one of `METHODS`, or "auto" for the best of `AUTO`

    Returns the method fitted to the rest. Raises SettingError for fewer than three seen classes, and where a method
    learns nothing from those that are left.
    """
    count = len(seen_SA)
    if count < FEWEST_SEEN:
        raise SettingError(
            f"with {count} seen classes none can be held out to choose gamma by; give texts of {FEWEST_SEEN} or "
            "more, or name a number for gamma"
        )
    random = rng(seed, "held-out classes")
    aside = random.permutation(count)[: max(1, round(HELD_OUT * count))]
    kept_S = ~np.isin(np.arange(count), aside)
    of_kept = np.flatnonzero(kept_S[columns_n])
    judged_n = ~kept_S[columns_n]
    for column in np.flatnonzero(kept_S):  # of each class some, so that it is measured and learned from
        own = random.permutation(of_kept[columns_n[of_kept] == column])
        judged_n[own[: max(len(own) > 1, round(HELD_OUT * len(own)))]] = True
    if not (judged_n & kept_S[columns_n]).any():
        raise SettingError(
            "the seen classes have too few texts to hold some out; give two or more of each, or name a number "
            "for gamma"
        )
    place_S = np.cumsum(kept_S) - 1
    same = texts_nD.shape[1] == seen_SA.shape[1]
    names = [one for one in AUTO if same or one != "cosine"] if name == "auto" else [name]
    learned, candidates = ~judged_n, list[ClassVectorMethod]()
    for one in names:
        try:
            candidates += METHODS[one].fitted(texts_nD[learned], place_S[columns_n[learned]], seen_SA[kept_S])
        except SettingError:
            METHODS[one]().fit(
                texts_nD, columns_n, seen_SA
            )  # where all of them teach nothing, that is what is told
            raise SettingError(
                f"the {int(kept_S.sum())} seen classes left after holding some out, to choose gamma by, teach "
                f"{one} nothing; give texts of more, or name a number for gamma"
            ) from None
    best: HeldOutChoice | None = None
    for method in candidates:
        rows = StackingRows(columns_n[judged_n], method.scores(texts_nD[judged_n], seen_SA), kept_S)
        under = area(*rows.curve(np.ones(int(judged_n.sum()), np.int64)))
        if best is None or under > best.ausuc:
            best = HeldOutChoice(method, rows.best_gamma(), under)
    assert best is not None
    return best


class ClassVectorClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels texts with classes of which some have labelled texts and others only a description or attributes.

    labels      all labels to choose from, seen and unseen: names, a mapping of names to descriptions, or a
                `LabelSet`; None for those that `fit` is given
    model       a sentence encoder: a folder, an `org/name`, an opened model, or None for the built-in one
    method      "eszsl", "conse", "dap", or "cosine", which learns γ alone; "auto" for the better of eszsl and
                cosine over held-out seen classes
    attributes  an `AttributeTable` or the path of one: the vectors of classes, in place of their sentences'
    gamma       taken from the scores of seen classes, so that unseen ones are not drowned; "held-out" for the one
                that does best on held-out seen classes; 0 for none
    template    the sentence a label is put in, with {} for its name; None for the scorer's own
    seed        of what is held out

    >>> texts = ["the tide is in", "salt waves", "my flat is let", "a house to rent", "tax on wages", "a tax form"]
    >>> classifier = ClassVectorClassifier(labels=["sea", "home", "tax", "music"])
    >>> classifier.fit(texts, ["sea", "sea", "home", "home", "tax", "tax"]).seen_.tolist()
    ['sea', 'home', 'tax']
    >>> classifier.predict(["the band plays a song"]).tolist()
    ['music']
    """

    def __init__(
        self,
        labels: Labels | None = None,
        *,
        model: "str | Path | Model | None" = None,
        method: str = "auto",
        attributes: AttributeTable | str | Path | None = None,
        gamma: float | Literal["held-out"] = "held-out",
        template: str | None = None,
        seed: int = 0,
    ) -> None:
        self.labels = labels
        self.model = model
        self.method = method
        self.attributes = attributes
        self.gamma = gamma
        self.template = template
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "ClassVectorClassifier":
        """Learn from texts X and their labels y, names of the seen classes, or numbers, by which it answers.

        Raises SettingError for settings that do not fit together; TextError for a text that is none, a label that
        is not among `labels`, or texts that all have one label.
        """
        if self.method not in ("auto", *METHODS):
            hint = nearest(self.method, METHODS)
            raise SettingError(f"no method {self.method!r}{hint}; there are auto, {', '.join(METHODS)}")
        texts, labels = list(texts_in(X)), list(values_in(y, "y"))
        if len(texts) != len(labels):
            raise SettingError(f"{len(texts)} texts and {len(labels)} labels; give one for each")
        return self.fit_vectors(self.encoded(texts), labels)

    def fit_vectors(self, vectors: Floats, y: Any) -> "ClassVectorClassifier":
        """`fit` with the texts' vectors (n, D) in their place, such as `encoded` gives."""
        names, self.label_dtype_ = label_names(y), label_dtype(y)
        self.labels_ = LabelSet.of(list(dict.fromkeys(names)) if self.labels is None else self.labels).leaves()
        places = self.places(names)
        seen = np.unique(places)
        if len(seen) < 2:
            raise TextError(
                f"all texts have the label {self.labels_.names[seen[0]]!r}, so nothing tells it from others; give "
                "texts of two or more"
            )
        self.is_seen_ = np.isin(np.arange(len(self.labels_.names)), seen)
        self.classes_ = as_given(self.labels_.names, self.label_dtype_, other_forms(self.labels, names))
        self.seen_ = self.classes_[seen]
        self.class_vectors_ = self._class_vectors(self.labels_)
        columns = np.searchsorted(seen, places)
        seen_SA = self.class_vectors_[seen]
        if self.gamma != "held-out" and (isinstance(self.gamma, str) or not np.isfinite(self.gamma)):
            raise SettingError(f'gamma={self.gamma!r} must be a number, such as 0, or "held-out"')
        if self.gamma == "held-out" or self.method == "auto":
            choice = chosen_on_held_out(self.method, vectors, columns, seen_SA, seed=self.seed)
            chosen, held_out = choice.method, choice.gamma
        else:
            chosen, held_out = METHODS[self.method](), 0.0
        self.gamma_ = held_out if self.gamma == "held-out" else float(self.gamma)
        self.settings_ = chosen.settings
        self.method_ = chosen.fit(vectors, columns, seen_SA)
        return self

    def encoded(self, texts: Sequence[str]) -> Floats:
        """The unit vectors of texts, (n, D) float64."""
        vectors: Floats = unit(self.scorer.engine.encode(list(texts)).vectors.astype(np.float64))
        return vectors

    def scores(self, vectors: Floats) -> Floats:
        """How well each label fits, (n, L), before γ is taken from the seen."""
        return self.method_.scores(vectors, self.class_vectors_)

    def decision_function(self, X: Any) -> Floats:
        """The same of texts, γ taken from the seen; the greatest wins."""
        return self.decided(self.encoded(list(texts_in(X))))

    def decided(self, vectors: Floats) -> Floats:
        """The same of vectors."""
        decided: Floats = self.scores(vectors) - self.gamma_ * self.is_seen_
        return decided

    def predict(self, X: Any) -> np.ndarray:
        """The label of each text, one of `classes_`."""
        decided_nL = self.decision_function(X)
        answers: np.ndarray = self.classes_[decided_nL.argmax(1)]
        return answers

    def with_labels(self, labels: Labels) -> "ClassVectorClassifier":
        """The fitted classifier over other labels, at once: nothing is learned again.

        Raises TextError for one that attributes do not tell of.
        """
        other = ClassVectorClassifier(**{**self.get_params(deep=False), "labels": labels})
        for name, value in vars(self).items():
            if name.endswith("_") or name == "_scorer":
                setattr(other, name, value)
        other.labels_ = LabelSet.of(labels).leaves()
        known = {folded(str(name)) for name in self.seen_}
        other.is_seen_ = np.array([folded(name) in known for name in other.labels_.names])
        other.class_vectors_ = self._class_vectors(other.labels_)
        forms = other_forms(labels, self.classes_)
        other.classes_ = as_given(other.labels_.names, self.label_dtype_, forms)
        return other

    def places(self, names: Sequence[str]) -> Integers:
        """The number of each label. Raises TextError for one that is not there."""
        places = []
        for row, name in enumerate(names, 1):
            try:
                places.append(self.labels_.place(name))
            except SettingError as error:
                raise TextError(f"row {row}: {error}; mend the row, or add the label") from None
        return np.array(places, np.int64)

    @property
    def scorer(self) -> EmbeddingScorer:
        """What makes vectors of texts and labels. Raises SettingError for a model that does not."""
        if not hasattr(self, "_scorer"):
            scorer = open_scorer("embedding", self.model)
            assert isinstance(scorer, EmbeddingScorer)
            self._scorer = scorer
        return self._scorer

    def take_scorer(self, other: "ClassVectorClassifier") -> None:
        """Let the encoder that another one opened serve this one too."""
        self._scorer = other.scorer

    def _class_vectors(self, labels: LabelSet) -> Floats:
        """Those of the attributes, or else of the labels' sentences, (L, A)."""
        if self.attributes is not None:
            table = self.attributes
            return (table if isinstance(table, AttributeTable) else read_attributes(table)).rows(labels.names)
        if self.template is None:
            labels = labels.worded(self.scorer.templates)
        return self.scorer.vectors(labels.labels, self.template or self.scorer.template)
