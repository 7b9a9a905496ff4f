"""How near is the label's vector to the text's? The scorer of a sentence encoder.

Letters: n texts, L labels, D width of a vector.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import islice
from sys import getsizeof

import numpy as np

from sijo.errors import SettingError, warn
from sijo.inference.engine import Engine
from sijo.inference.outputs import NotFiniteError, ReadCounts, unit
from sijo.zeroshot.calibration import MINILM, own_calibration
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest
from sijo.zeroshot.templates import BUILT_IN

MOST_BYTES = 64 * 2**20
"""Of labels' vectors that are kept, with what they are kept under: where each row brings labels of its own, they
have no end. About 16,000 labels of 384 numbers."""
BESIDE = 700
"""Bytes that a label, its vector and their place take beside numbers and letters."""


class KeptVectors:
    """Labels' vectors, those that were asked for last: in `MOST_BYTES`, or all of one call where it needs more, as
    the next call is likely to ask for the same.

    >>> kept, sea = KeptVectors(), Label("sea")
    >>> kept.keep("About {}.", {sea: np.ones(2)})
    >>> kept.of("About {}.", sea), kept.of("On {}.", sea)
    (array([1., 1.]), None)
    """

    def __init__(self) -> None:
        self._vectors: dict[tuple[str, Label], np.ndarray] = {}
        self.size = 0
        """Bytes, about."""

    def of(self, template: str, label: Label) -> np.ndarray | None:
        """The vector of a label in a template, if it is kept."""
        return self._vectors.get((template, label))

    def keep(self, template: str, vectors: Mapping[Label, np.ndarray]) -> None:
        """Keep all that one call needs, and let go of what has gone longest without being asked for."""
        for label, vector in vectors.items():
            if self._vectors.pop((template, label), None) is None:
                self.size += _size(label, vector)
            self._vectors[template, label] = vector
        others = len(self._vectors) - len(vectors) if self.size > MOST_BYTES else 0
        for key in list(islice(self._vectors, others)):
            if self.size <= MOST_BYTES:
                break
            self.size -= _size(key[1], self._vectors.pop(key))


def _size(label: Label, vector: np.ndarray) -> int:
    return BESIDE + vector.nbytes + sum(map(getsizeof, (label.name, *label.descriptions, *label.examples)))


class EmbeddingScorer(Scorer):
    """The cosine of the label's vector and the text's.

    A label's vector is the mean of its phrases' unit vectors (the template with its name, and each
    description), to which its prototype is added: the mean of its examples' unit vectors, as many times as
    `weight_of` says. Where the encoder has a prompt, it stands before phrases, examples and texts alike. Vectors of
    labels are kept, so labels that stay cost their encoding once. What a cosine means is told by the encoder's own
    calibration, where its folder holds one.

    Source: Yin et al. 2019 (arXiv:1909.00161) name the baseline; Reimers & Gurevych 2019
    (arXiv:1908.10084) the encoders; prototypes are those of Snell et al. 2017 (arXiv:1703.05175).
    """

    name = "embedding"
    template = "This is about {}."
    templates = BUILT_IN
    second_template = "{}"
    calibrated_by = "refine"
    reads_examples = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.calibration = own_calibration(engine.model.source) or MINILM
        self._kept = KeptVectors()
        self._prototypes: Mapping[tuple[str, ...], np.ndarray] = {}
        self._told = False

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
        """That the model was not trained to give sentence vectors, or to be compared by the cosine, if so."""
        sentence = self.engine.model.sentence
        similarity = sentence.similarity
        if similarity not in (None, "cosine", *(["dot"] if sentence.normalized else [])):
            return (
                f"{self.engine.model.source} was trained to be compared by {similarity}, and labels are compared "
                "by the cosine, which leaves out how long a vector is; measure it on texts of your own"
            )
        return self.engine.caution

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Cosines (n, L) float64, absolute or not, all of them; 0 for a text without tokens."""
        encoded = self.engine.encode(request.texts)
        return self.nearness(unit(encoded.vectors.astype(np.float64)), request.labels, request.template), encoded

    def nearness(self, vectors_nD: np.ndarray, labels: Sequence[Label], template: str) -> np.ndarray:
        """Cosines (n, L) of unit vectors of texts with the labels' vectors."""
        cosines: np.ndarray = vectors_nD @ self.vectors(labels, template).T
        return cosines

    def refined(self, prototypes: Mapping[tuple[str, ...], np.ndarray]) -> "EmbeddingScorer":
        """The same scorer with labels v drawn to prototypes m, unit vectors (D,) by wording: v' = unit(v + m)."""
        refined = copy(self)
        refined._kept, refined._prototypes = KeptVectors(), prototypes
        return refined

    @property
    def is_refined(self) -> bool:
        """Whether labels are drawn to prototypes."""
        return bool(self._prototypes)

    def vectors(self, labels: Sequence[Label], template: str) -> np.ndarray:
        """One unit vector for each label, (L, D) float64; only those of labels that are new are computed.

        Warns, once, of what `caution` says.
        """
        if not (self._told or self.engine.learning):
            self._told = True
            if self.caution not in (None, self.engine.caution):  # which the engine tells
                warn(str(self.caution))
        known = {label: self._kept.of(template, label) for label in dict.fromkeys(labels)}
        found = {label: vector for label, vector in known.items() if vector is not None}
        if new := [label for label in known if label not in found]:
            texts = [(*label.phrases(template), *label.examples) for label in new]
            try:
                vectors = unit(self.engine.encode([text for group in texts for text in group]).vectors)
            except NotFiniteError as error:
                owners = [label.name for label, group in zip(new, texts, strict=True) for _ in group]
                raise SettingError(f"the label {owners[error.place]!r}: {error.why}") from None
            ends = np.cumsum([len(group) for group in texts])[:-1]
            for label, part in zip(new, np.split(vectors.astype(np.float64), ends), strict=True):
                phrases, examples = np.split(part, [len(part) - len(label.examples)])
                vector = phrases.mean(0)
                if len(examples):
                    vector = vector + weight_of(len(examples), len(phrases)) * examples.mean(0)
                if (prototype := self._prototypes.get(label.wording(template))) is not None:
                    vector = unit(vector) + prototype
                found[label] = unit(vector)
        self._kept.keep(template, found)
        return np.array([found[label] for label in labels])


def weight_of(examples: int, phrases: int) -> float:
    """How much the mean of so many examples weighs beside the mean of so many phrases.

    One example is a lottery and a label's words are not; the mean of many is steadier than any words, and many
    words are steadier than few. docs/log.md has what was measured.

    >>> [weight_of(count, 1) for count in (1, 2, 4, 16)], weight_of(4, 4)
    ([0.5, 1.0, 2.0, 4.0], 1.0)
    """
    return min(examples / (2 * math.sqrt(phrases)), 4.0)
