"""How well does this label fit this text? One class for each kind of head that can answer.

A scorer gives raw scores; `calibration.py` makes them probabilities. The scorer that compares vectors
is here, the one that reads text and label together in `entailment.py`, the one whose labels were
trained in `trained.py`, and the one whose labels are control codes in `likelihood.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, get_args

import numpy as np

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Dtype, Model, load
from sijo.checkpoints.locate import locate
from sijo.errors import SettingError, nearest
from sijo.inference.engine import CLASSIFIER, Engine, LongText, ReadCounts, unit
from sijo.inference.vector_cache import VectorCache
from sijo.zeroshot.calibration import MINILM, Calibration
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.entailment import EntailmentScorer
from sijo.zeroshot.scorers.likelihood import LikelihoodScorer
from sijo.zeroshot.scorers.trained import TrainedLabels, TrainedScorer


class Scorer(Protocol):
    """What the classifier asks of a scorer."""

    name: str
    """What it is called in `SCORERS`."""
    head: str | None
    """The head its model is opened with; None for the encoder alone."""
    long_texts: tuple[LongText, ...]
    """What it can do with a text longer than the model; the first is what it does unless told."""
    rows: int
    """Texts it is best given at a time: more sort better, fewer are answered sooner."""
    one_scale: bool
    """Whether its scores are the same, absolute or not, so that one calibration does for both."""
    template: str
    """The sentence a label is put in unless the user gives another."""
    calibration: Calibration
    """What makes its scores probabilities unless the user fits or gives another."""
    engine: Engine
    """What reads the texts, and its model."""

    @property
    def known(self) -> TrainedLabels | None:
        """The labels it was trained on, where it can score no others."""

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""

    def score(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        template: str,
        *,
        absolute: bool = False,
        asked: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64, and how much of each text was read.

        absolute  they are to be held against the none score, not only against each other
        asked     (n, L) bool, the scores that are wanted, one or more in each row; None for all. The
                  others may be anything
        """


class EmbeddingScorer:
    """How near is the label's vector to the text's: their cosine.

    A label's vector is the mean of its phrases' unit vectors: the template with its name, and each
    description. The vectors of the last labels are kept, so labels that stay cost their encoding once.

    Source: Yin et al. 2019 (arXiv:1909.00161) name the baseline; Reimers & Gurevych 2019
    (arXiv:1908.10084) the encoders.
    """

    name = "embedding"
    head: str | None = None
    long_texts: tuple[LongText, ...] = ("windows", "truncate")
    rows = 2048
    one_scale = True
    known = None
    template = "This is about {}."
    calibration = MINILM

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._kept: tuple[object, np.ndarray] | None = None

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
        """Cosines (n, L) float64, absolute or not, all of them; 0 for a text without tokens."""
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


Kind = type[EmbeddingScorer] | type[EntailmentScorer] | type[TrainedScorer] | type[LikelihoodScorer]
SCORERS: dict[str, Kind] = {
    scorer.name: scorer for scorer in (EmbeddingScorer, EntailmentScorer, TrainedScorer, LikelihoodScorer)
}
"""Every scorer by name."""


def open_scorer(
    name: str,
    model: str | Path | Model | None,
    *,
    revision: str | None = None,
    long_text: LongText | None = None,
    cache: str | Path | None = None,
    dtype: Dtype = "float32",
    entailment_column: str | int | None = None,
    contradiction_column: str | int | None = None,
) -> Scorer:
    """A scorer with its model opened.

    name      one of `SCORERS`, or "auto" for the one that suits the model: `trained` where its folder holds
              a classification head none of whose columns is called entailment; `entailment` where one
              is, and the folder is no sentence encoder, or where a column is named here; `likelihood` where
              it holds a head that writes; else `embedding`
    model     a folder, an `org/name`, an opened model, or None for the built-in one. A model that was
              opened without the head its scorer needs is opened again, with it
    revision  branch, tag or commit on the Hub

    The other settings are those of `ZeroShotClassifier`. Raises SettingError for settings that do not
    suit the scorer, and for a head that it cannot score labels by.

    >>> open_scorer("auto", None).name
    'embedding'
    >>> head = load(head="new:sequence-classification", labels=["not_entailment", "entailment"])
    >>> open_scorer("entailment", head).settings["entailment_column"]
    1
    >>> open_scorer("auto", load(head="new:sequence-classification", labels=["sport", "tax"])).known.names
    ('sport', 'tax')
    """
    if name != "auto" and name not in SCORERS:
        raise SettingError(f"no scorer {name!r}{nearest(name, SCORERS)}; there are auto, {', '.join(SCORERS)}")
    named = {
        setting: column
        for setting, column in (
            ("entailment_column", entailment_column),
            ("contradiction_column", contradiction_column),
        )
        if column is not None
    }
    given = model if isinstance(model, Model) else locate(model, revision=revision)
    kind = SCORERS[_suited(given, named) if name == "auto" else name]
    if named and kind is not EntailmentScorer:
        raise SettingError(
            f"{next(iter(named))}={next(iter(named.values()))!r} says how the entailment scorer reads a head, "
            f"but scorer={name!r} does not read one so; leave one of the two out"
        )
    chosen = kind.long_texts[0] if long_text is None else long_text
    if chosen not in kind.long_texts and chosen in get_args(LongText):
        raise SettingError(
            f"long_text={chosen!r} is nothing the {kind.name} scorer can do, which reads text and label together; "
            f"leave it out, say {kind.long_texts[0]!r}, or part long texts beforehand"
        )
    opened = _opened(given, kind.head, dtype)
    store = None
    if cache is not None:
        # of an opened model, text vectors have the same digest
        given_by = f"{kind.head}-" if kind in (TrainedScorer, LikelihoodScorer) else ""
        store = VectorCache(Path(cache), fingerprint=f"{given_by}{chosen}-{opened.fingerprint}")
    engine = Engine(opened, long_text=chosen, store=store)
    return EntailmentScorer(engine, **named) if kind is EntailmentScorer else kind(engine)


def _suited(given: Path | Model, named: Mapping[str, object]) -> str:
    """The name of the scorer that suits a model, by what its folder holds."""
    if named:
        return EntailmentScorer.name
    described = given if isinstance(given, Model) else describe(given)
    heads = {*described.heads, *(given.head_values if isinstance(given, Model) else ())}
    if CLASSIFIER not in heads:
        return LikelihoodScorer.name if LikelihoodScorer.head in heads else EmbeddingScorer.name
    if not any("entail" in column.casefold() for column in described.labels):
        opened = isinstance(given, Model) and CLASSIFIER in given.head_values
        if not opened and "token-classification" in heads:
            raise SettingError(
                f"{given.source if isinstance(given, Model) else given} has a head that judges single tokens, or "
                "whose config does not tell what it judges (architectures). If it was trained on whole texts, say "
                'scorer="trained" (--scorer trained); to compare vectors of its encoder, say scorer="embedding" '
                "(--scorer embedding)"
            )
        return TrainedScorer.name
    return EmbeddingScorer.name if described.sentence.trained else EntailmentScorer.name


def _opened(given: Path | Model, head: str | None, dtype: Dtype) -> Model:
    """The model with its head: as it is given, or opened from its folder."""
    if not isinstance(given, Model):
        return load(given, head=head, dtype=dtype)
    if head is None or head in given.head_values or given.source is None:
        return given
    return load(given.source, head=head, dtype=given.dtype)
