"""Labels that are parts of other labels: what is said of a part holds of the whole.

Letters: n texts, L labels.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sijo.names import folded
from sijo.zeroshot.labels import Label


class Hierarchy:
    """Which label is above which, for labels that are judged each by itself.

    A label's probability is raised to the highest of those below it, so no part is ever likelier than its whole;
    and a label is given where one below it is.

    labels  with their parents, in the order of the columns; a parent that is not among them counts for none

    Source: upward score propagation, as Paletto et al. 2024 use it; the rule is p(child) <= p(parent).

    >>> tree = Hierarchy([Label("sport"), Label("chess", parent="sport"), Label("tax")])
    >>> tree.raised(np.array([[0.2, 0.7, 0.1]])).tolist()
    [[0.7, 0.7, 0.1]]
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        places = {folded(label.name): place for place, label in enumerate(labels)}
        above = {
            place: places[folded(label.parent)]
            for place, label in enumerate(labels)
            if label.parent is not None and folded(label.parent) in places
        }
        depths: dict[int, int] = {}

        def depth(place: int) -> int:
            chain = [place]
            while chain[-1] in above and chain[-1] not in depths:
                chain.append(above[chain[-1]])
            known = depths.get(chain[-1], 0)
            for steps, link in enumerate(reversed(chain)):
                depths[link] = known + steps
            return depths[place]

        self._edges = [(place, above[place]) for place in sorted(above, key=depth, reverse=True)]
        """Pairs of a column and that of its parent, the lowest first."""

    def raised(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (n, L) in which none is above its parent's; those of labels with nothing below stay."""
        return self._upward(probabilities)

    def given(self, fits: np.ndarray) -> np.ndarray:
        """Which labels are given, (n, L) bool: those that fit, and all above them."""
        return self._upward(fits)

    def _upward(self, values: np.ndarray) -> np.ndarray:
        if not self._edges:
            return values
        values = values.copy()
        for place, parent in self._edges:
            np.maximum(values[:, parent], values[:, place], out=values[:, parent])
        return values


@lru_cache(maxsize=64)
def hierarchy_of(labels: tuple[Label, ...]) -> Hierarchy:
    """The hierarchy of labels, kept for those that come again.

    >>> hierarchy_of((Label("sea"),)).given(np.array([[True]])).tolist()
    [[True]]
    """
    return Hierarchy(labels)
