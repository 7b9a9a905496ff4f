"""A shortlister taught by the verifier: what it says of all labels is mapped to what the verifier would say.

Letters: n texts, L labels.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

MOST_TAUGHT = 1_000
"""Labels, at most: the map has a number for each pair of them."""
STEADINESS = 0.1
"""Of the ridge, for each text: as much as a tenth of a label's own variance."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A map (L, L) from a shortlister's scores to a verifier's, fitted to texts that both have read.

    The shortlister's scores are taken less their text's mean, and both scorers' in units of their spread. The map
    is the identity, as far as the two go together, and what ridge regression adds to it: labels that the verifier
    likes or dislikes, and those that it takes for others.

    Source: ridge regression in closed form (Hoerl and Kennard 1970, Technometrics 12, 55-67); distilling a
    verifier into a shortlister is Choubey et al. 2022's (arXiv:2210.12619), by another student.
    """

    spread: float
    """Of the shortlister's scores."""
    unit: float
    """The spread of the verifier's."""
    middle: np.ndarray
    """(L,) the mean of the shortlister's scores."""
    weights: np.ndarray
    """(L, L)."""
    constant: np.ndarray
    """(L,) the mean of the verifier's."""

    @classmethod
    def of(cls, near: np.ndarray, verifier: np.ndarray) -> "Lesson":
        """From the scores (n, L) of both on the same texts.

        >>> near = np.random.default_rng(0).normal(size=(200, 3))
        >>> told = Lesson.of(near, near[:, [1, 0, 2]]).said(near)  # the verifier takes two labels for each other
        >>> bool((told.argmax(1) == near[:, [1, 0, 2]].argmax(1)).mean() > 0.95)
        True
        """
        wide, unit = _spread(near), _spread(verifier)
        own, wanted = _centred(near) / wide, verifier / unit
        middle, constant = own.mean(0), wanted.mean(0)
        own, wanted = own - middle, wanted - constant
        alike = float((own * wanted).sum() / max((own * own).sum(), np.finfo(float).tiny))
        steady = own.T @ own + STEADINESS * len(own) * np.eye(own.shape[1])
        more = np.linalg.solve(steady, own.T @ (wanted - alike * own))
        return cls(wide, unit, middle, alike * np.eye(own.shape[1]) + more, constant)

    def said(self, near: np.ndarray) -> np.ndarray:
        """What the verifier would say (n, L), in its `unit`, by the shortlister's scores (n, L)."""
        scores: np.ndarray = (_centred(near) / self.spread - self.middle) @ self.weights + self.constant
        return scores

    @property
    def digest(self) -> str:
        """What tells it from any other."""
        parts = self.weights, self.constant, self.middle, np.array([self.spread, self.unit])
        return blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).hexdigest()


def _centred(scores: np.ndarray) -> np.ndarray:
    """Less each text's mean."""
    centred: np.ndarray = scores - scores.mean(1, keepdims=True)
    return centred


def _spread(scores: np.ndarray) -> float:
    """How far the labels of a text lie apart."""
    return float(np.sqrt(scores.var(axis=1).mean())) or 1.0
