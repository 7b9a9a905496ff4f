"""Which labels a shortlister leaves for a verifier, and how deep in its order the ones that matter lie.

Letters: n texts, L labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["rank", "gap", "all"]
SLACK = 1e-6
"""Of a gap: a text that is read in another batch may score so much otherwise."""


@dataclass(frozen=True)
class Shortlist:
    """How many labels of a text are verified.

    >>> near = np.array([[0.9, 0.8, 0.1]])
    >>> Shortlist("rank", 2).keeps(near).tolist(), Shortlist("gap", 0.05).keeps(near).tolist()
    ([[True, True, False]], [[True, False, False]])
    """

    form: Form
    """"rank": the best so many; "gap": all that lie no further behind the best; "all": every label."""
    limit: float = 0.0
    """How many labels, or how much score."""

    def keeps(self, scores: np.ndarray) -> np.ndarray:
        """Which labels (n, L) bool are verified, by the shortlister's scores (n, L); at least one of each text."""
        if self.form == "all":
            return np.ones(scores.shape, bool)
        kept: np.ndarray = depths(scores, self.form) <= self.limit
        return kept

    def __str__(self) -> str:
        if self.form == "all":
            return "every label"
        if self.form == "rank":
            return f"the {self.limit:g} nearest labels"
        return f"labels at most {self.limit:.4g} behind the nearest"


def depths(scores: np.ndarray, form: Form) -> np.ndarray:
    """How deep each label lies in its text's order (n, L): its rank from 1 on, or how far it is behind the best.

    Of equal scores the label that is given first comes first.

    >>> depths(np.array([[0.1, 0.5, 0.5]]), "rank").tolist(), depths(np.array([[0.25, 0.5, 0.5]]), "gap").tolist()
    ([[3, 1, 2]], [[0.25, 0.0, 0.0]])
    """
    if form == "rank":
        places = np.empty(scores.shape, np.int64)
        order = np.argsort(-scores, axis=-1, kind="stable")
        np.put_along_axis(places, order, np.broadcast_to(np.arange(1, scores.shape[1] + 1), scores.shape), -1)
        return places
    behind: np.ndarray = scores.max(-1, keepdims=True) - scores
    return behind
