"""Four ways from labelled classes to others, by closed form or by logistic regression over vectors.

Each learns from vectors of texts and of seen classes, and then scores any class that has a vector.

    Cosine   x·s_c: nothing is learned, and seen classes are as if unseen
    ConSE    cos(f(x), s_c) with f(x) = sum over the T likeliest seen k of p(k|x) s_k, divided by the sum of those p
    ESZSL    x' V s_c with V = (X X' + γ I)⁻¹ X Y S' (S S' + λ I)⁻¹
    DAP      sum over attributes m of log p(a_m = s_cm | x) - log p(a_m = s_cm)

Letters: n texts, D width of a text's vector, L classes, S of them seen, A width of a class's vector.
Sources: Lampert et al. 2009 (CVPR, "Learning to detect unseen object classes by between-class attribute transfer"),
equation 2; Norouzi et al. 2014 (arXiv:1312.5650), equation 3; Romera-Paredes and Torr 2015 (ICML, "An
embarrassingly simple approach to zero-shot learning"), equation 4.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from itertools import product
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, warn
from sijo.inference.outputs import unit
from sijo.zeroshot.class_vectors.linear import Floats, logistic, sigmoid, softmax

Integers = NDArray[np.int64]
SURE = 1e-6
"""No attribute is held for surer than this leaves room for, or one mistake would outweigh all others."""


class ClassVectorMethod(ABC):
    """Learns from texts of seen classes, and scores texts for any classes; both as vectors."""

    name: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """The settings that held-out classes choose among."""

    @classmethod
    def fitted(cls, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Iterator[Self]:
        """The method in each combination of its settings, fitted; what they share is learned once."""
        for values in product(*cls.choices.values()):
            yield cls(**dict(zip(cls.choices, values, strict=True))).fit(texts_nD, columns_n, seen_SA)

    @property
    def settings(self) -> dict[str, float]:
        """What is chosen, by name."""
        return {name: getattr(self, name) for name in self.choices}

    @abstractmethod
    def fit(self, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Self:
        """Learn from texts and the number of the seen class of each; returns itself."""

    @abstractmethod
    def scores(self, texts_nD: Floats, classes_LA: Floats) -> Floats:
        """How well each class fits each text, (n, L) float64; the greatest wins."""


class Cosine(ClassVectorMethod):
    """The cosine of text and class; what a sentence encoder does without any of this."""

    name = "cosine"

    def fit(self, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Self:
        """Nothing is learned. Raises SettingError for classes whose vectors are of another kind than texts'."""
        if texts_nD.shape[1] != seen_SA.shape[1]:
            raise SettingError(
                f"a text has {texts_nD.shape[1]} numbers and a class {seen_SA.shape[1]} attributes, so there is no "
                "cosine between them; choose conse, eszsl or dap"
            )
        return self

    def scores(self, texts_nD: Floats, classes_LA: Floats) -> Floats:
        """Cosines."""
        scores: Floats = unit(texts_nD) @ unit(classes_LA).T
        return scores


def conse_scores(chances_nS: Floats, seen_SA: Floats, classes_LA: Floats, top: int | None = None) -> Floats:
    """The cosine of each class with the mean of seen classes, weighted by how likely these are.

    top  how many of the likeliest are taken; None for all

    >>> conse_scores(np.array([[0.6, 0.3]]), np.eye(2), np.array([[0.8, 0.6], [0.6, 0.8]])).round(6).tolist()
    [[0.98387, 0.894427]]
    """
    kept = chances_nS
    if top is not None and top < chances_nS.shape[1]:
        least_n1 = np.partition(chances_nS, -top, axis=1)[:, -top, None]
        kept = np.where(chances_nS >= least_n1, chances_nS, 0)
    between_nA = kept @ seen_SA / kept.sum(1, keepdims=True)
    scores: Floats = unit(between_nA) @ unit(classes_LA).T
    return scores


class ConSE(ClassVectorMethod):
    """Convex combination of semantic embeddings: a text stands between the seen classes that it may be of.

    The mean of the seen classes is taken from all classes first, as in `ESZSL`, and unlike the paper.

    top       seen classes that count
    strength  of the regression that says how likely each is
    """

    name = "conse"
    choices: ClassVar = {"top": (1, 10, 100), "strength": (1e-4,)}

    def __init__(self, top: float = 10, strength: float = 1e-4) -> None:
        self.top, self.strength = int(top), strength

    @classmethod
    def fitted(cls, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Iterator[Self]:
        """One regression for each strength; `top` comes after it."""
        for strength in cls.choices["strength"]:
            whole = cls(strength=strength).fit(texts_nD, columns_n, seen_SA)
            for top in cls.choices["top"]:
                method = copy(whole)
                method.top = int(top)
                yield method

    def fit(self, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Self:
        """A softmax over the seen classes."""
        self._class_A = seen_SA.mean(0)
        self._seen_SA = seen_SA - self._class_A
        targets_nS = np.eye(len(seen_SA))[columns_n]
        self._model = logistic(texts_nD, targets_nS, exclusive=True, strength=self.strength)
        return self

    def scores(self, texts_nD: Floats, classes_LA: Floats) -> Floats:
        """Cosines with the point between seen classes."""
        chances_nS = softmax(self._model.logits(texts_nD))
        return conse_scores(chances_nS, self._seen_SA, classes_LA - self._class_A, self.top)


def eszsl_weights(texts_nD: Floats, signs_nS: Floats, seen_SA: Floats, *, gamma: float, lam: float) -> Floats:
    """V (D, A), so that x' V s is near the sign of every text and class.

    signs_nS  Y: above 0 for the class of a text, else 0 or below

    >>> eszsl_weights(np.eye(2), np.eye(2), np.eye(2), gamma=1, lam=1).tolist()
    [[0.25, 0.0], [0.0, 0.25]]
    """
    texts_DD = texts_nD.T @ texts_nD + gamma * np.eye(texts_nD.shape[1])
    classes_AA = seen_SA.T @ seen_SA + lam * np.eye(seen_SA.shape[1])
    between_DA = texts_nD.T @ signs_nS @ seen_SA
    weights_DA: Floats = np.linalg.solve(classes_AA, np.linalg.solve(texts_DD, between_DA).T).T
    return weights_DA


class ESZSL(ClassVectorMethod):
    """A bilinear form between texts and classes, in closed form.

    The means of the texts learned from and of the seen classes are taken from both sides first, which the paper
    does not do: an encoder's vectors share a large part that tells nothing apart (docs/learning-without-labels.md).

    gamma, lam  γ and λ: how much the weights are held down on the side of texts, and of classes
    """

    name = "eszsl"
    choices: ClassVar = {"gamma": (1, 10, 100), "lam": (0.01, 0.1, 1)}

    def __init__(self, gamma: float = 10.0, lam: float = 0.1) -> None:
        if not (0 < gamma < np.inf and 0 < lam < np.inf):
            raise SettingError(f"gamma={gamma} and lam={lam} must be above 0, such as 1")
        self.gamma, self.lam = gamma, lam

    def fit(self, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Self:
        """Y is 1 for the class of a text and -1 for the others, as in the paper."""
        self._text_D, self._class_A = texts_nD.mean(0), seen_SA.mean(0)
        signs_nS = 2.0 * np.eye(len(seen_SA))[columns_n] - 1
        sides = texts_nD - self._text_D, signs_nS, seen_SA - self._class_A
        self._weights_DA = eszsl_weights(*sides, gamma=self.gamma, lam=self.lam)
        return self

    def scores(self, texts_nD: Floats, classes_LA: Floats) -> Floats:
        """x' V s."""
        scores: Floats = (texts_nD - self._text_D) @ self._weights_DA @ (classes_LA - self._class_A).T
        return scores


def dap_scores(chances_nA: Floats, priors_A: Floats, classes_LA: Floats) -> Floats:
    """The logarithm of the product over attributes of how likely a class's value is, over how likely it is for any.

    chances_nA  p(a_m = 1 | x)
    priors_A    p(a_m = 1)
    classes_LA  1 where a class has an attribute, else 0

    >>> scores = dap_scores(np.array([[0.9, 0.2]]), np.array([0.5, 0.5]), np.array([[1, 0], [0, 1]]))
    >>> np.exp(scores).round(6).tolist()
    [[2.88, 0.08]]
    """
    has_nA = np.log(chances_nA) - np.log(priors_A)
    lacks_nA = np.log1p(-chances_nA) - np.log1p(-priors_A)
    scores: Floats = (has_nA - lacks_nA) @ classes_LA.T + lacks_nA.sum(1, keepdims=True)
    return scores


class DAP(ClassVectorMethod):
    """Direct attribute prediction: each attribute is told from the text, and classes by the attributes they have.

    Attributes that are not 0 or 1 are above the mean of the seen classes or not, so vectors of descriptions serve
    by their signs. How likely an attribute is for any text is the share of seen classes that have it. One that all
    or none of these have cannot be learned: it is left out, with a warning.

    strength  of the regressions that tell attributes
    """

    name = "dap"
    choices: ClassVar = {"strength": (1e-4, 1e-3)}

    def __init__(self, strength: float = 1e-3) -> None:
        self.strength = strength

    def fit(self, texts_nD: Floats, columns_n: Integers, seen_SA: Floats) -> Self:
        """A sigmoid for each attribute. Raises SettingError where none can be learned."""
        binary = np.isin(seen_SA, (0.0, 1.0)).all(0)
        self._cuts_A = np.where(binary, 0.5, seen_SA.mean(0))
        seen_SA = (seen_SA > self._cuts_A).astype(np.float64)
        shares_A = seen_SA.mean(0)
        self._told = (shares_A > 0) & (shares_A < 1)
        if not self._told.any():
            raise SettingError(
                "the seen classes have the same attributes, so a text cannot tell them apart by these; give "
                "attributes in which they differ"
            )
        if not self._told.all():
            warn(
                f"{int((~self._told).sum())} of {len(self._told)} attributes are the same for all {len(seen_SA)} "
                "seen classes, so dap cannot learn them and leaves them out"
            )
        self._priors_A = shares_A[self._told]
        targets_nA = seen_SA[columns_n][:, self._told]
        self._model = logistic(texts_nD, targets_nA, exclusive=False, strength=self.strength)
        return self

    def scores(self, texts_nD: Floats, classes_LA: Floats) -> Floats:
        """Logarithms of the product."""
        chances_nA = np.clip(sigmoid(self._model.logits(texts_nD)), SURE, 1 - SURE)
        has_LA = (classes_LA > self._cuts_A).astype(np.float64)[:, self._told]
        return dap_scores(chances_nA, self._priors_A, has_LA)


METHODS: dict[str, type[ClassVectorMethod]] = {method.name: method for method in (Cosine, ConSE, ESZSL, DAP)}
"""By name."""
