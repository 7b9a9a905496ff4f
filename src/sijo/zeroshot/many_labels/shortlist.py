"""Which labels a shortlister leaves for a verifier, and how deep in its order the ones that matter lie.

Letters: n texts, L labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["rank", "gap", "reach", "all"]
SLACK = 1e-5
"""Of a gap or a reach: a text that is read in another batch may score so much otherwise."""
ALWAYS = -1e9
"""The reach of a label that is verified first."""


@dataclass(frozen=True)
class Shortlist:
    """How many labels of a text are verified.

    >>> near = np.array([[0.9, 0.8, 0.1]])
    >>> Shortlist("rank", 2).keeps(near).tolist(), Shortlist("gap", 0.05).keeps(near).tolist()
    ([[True, True, False]], [[True, False, False]])
    """

    form: Form
    """"rank": the best so many; "gap": all that lie no further behind the best; "reach": in turns, as long as the
    next may still win by what the verifier said of those before; "all": every label."""
    limit: float = 0.0
    """How many labels, or how much score."""

    def keeps(self, scores: np.ndarray, verifier: np.ndarray | None = None) -> np.ndarray:
        """Which labels (n, L) bool are verified, by the shortlister's scores (n, L); at least one of each text.

        verifier  (n, L) what the verifier says of all labels, on the shortlister's scale, for a reach
        """
        if self.form == "all":
            return np.ones(scores.shape, bool)
        kept: np.ndarray = depths(scores, self.form, verifier) <= self.limit
        return kept

    def __str__(self) -> str:
        if self.form == "all":
            return "every label"
        if self.form == "rank":
            return f"the {self.limit:g} nearest labels"
        if self.form == "reach":
            return f"labels, in turns, that may still win (reach {self.limit:.4g})"
        return f"labels at most {self.limit:.4g} behind the nearest"


def turns(labels: int) -> Iterator[tuple[int, int]]:
    """From and to which place of the shortlister's order labels are verified together: one, one, two, four, …

    >>> list(turns(7))
    [(0, 1), (1, 2), (2, 4), (4, 7)]
    """
    start, end = 0, 1
    while start < labels:
        yield start, min(end, labels)
        start, end = end, 2 * end


def depths(scores: np.ndarray, form: Form, verifier: np.ndarray | None = None) -> np.ndarray:
    """How deep each label (n, L) lies in its text's order: its rank from 1 on, its gap behind the best, its reach.

    verifier  (n, L) what the verifier says of all labels, on the scale of `scores`, for a reach

    Of equal scores the label that is given first comes first. The reach is how far a label lies behind what is to
    be beaten when its turn comes: the mean of the highest score and of the best that the verifier gave to labels of
    earlier turns. It never falls along the order, so a text is done where a turn is not read whole.

    >>> depths(np.array([[0.1, 0.5, 0.5]]), "rank").tolist(), depths(np.array([[0.25, 0.5, 0.5]]), "gap").tolist()
    ([[3, 1, 2]], [[0.25, 0.0, 0.0]])
    """
    if form == "rank":
        places = np.empty(scores.shape, np.int64)
        order = np.argsort(-scores, axis=-1, kind="stable")
        np.put_along_axis(places, order, np.broadcast_to(np.arange(1, scores.shape[1] + 1), scores.shape), -1)
        return places
    if form == "reach":
        assert verifier is not None
        return _reaches(scores, verifier)
    behind: np.ndarray = scores.max(-1, keepdims=True) - scores
    return behind


def _reaches(scores: np.ndarray, verifier: np.ndarray) -> np.ndarray:
    """The reach of each label (n, L); `ALWAYS` for the first of each text."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    near, said = np.take_along_axis(scores, order, -1), np.take_along_axis(verifier, order, -1)
    best = np.maximum.accumulate(said, axis=-1)
    reaches = np.full(scores.shape, ALWAYS)
    for start, end in list(turns(scores.shape[1]))[1:]:
        reaches[:, start:end] = to_beat(near[:, :1], best[:, start - 1 : start]) - near[:, start:end]
    placed = np.empty(scores.shape)
    np.put_along_axis(placed, order, reaches, -1)
    return placed


def to_beat(likeliest: np.ndarray, best: np.ndarray) -> np.ndarray:
    """What a label has to come near to, by the shortlister's word on its first and the verifier's best so far."""
    middle: np.ndarray = (likeliest + best) / 2
    return middle
