"""A tree of labels, walked from the top: what is beneath an unlikely label is never looked at.

Letters: n texts, L labels that there are to choose from, the tree's leaves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.names import folded
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.composite import OUTSIDE, CompositeScorer, must_be_fitted_to
from sijo.zeroshot.scorers.scorer import ScoreRequest

OPTION = "beam= (--beam)"
TOP = -1
"""What is above the labels without a parent."""


@dataclass(frozen=True)
class Tree:
    """Labels with their parents.

    >>> below = {"parent": "sport"}
    >>> tree = Tree(LabelSet.of({"sport": (), "chess": below, "golf": below, "tax": ()}))
    >>> tree.children[TOP], tree.children[0], tree.most_asked(1)
    ((0, 3), (1, 2), 4)
    """

    labels: LabelSet

    @cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """The places of the labels below each that has any, and below the `TOP`, in the order given."""
        places = {folded(label.name): place for place, label in enumerate(self.labels.labels)}
        below: dict[int, list[int]] = {}
        for place, label in enumerate(self.labels.labels):
            below.setdefault(TOP if label.parent is None else places[folded(label.parent)], []).append(place)
        return {node: tuple(own) for node, own in below.items()}

    @property
    def levels(self) -> list[list[int]]:
        """The labels that have others below them, level by level, the `TOP` first."""
        levels = [[TOP]]
        while below := [node for above in levels[-1] for node in self.children[above] if node in self.children]:
            levels.append(below)
        return levels

    def most_asked(self, beam: int) -> int:
        """How many labels of a text are looked at, at most; one that is alone below another is not."""
        asked = 0
        for level in self.levels:
            sizes = sorted((len(self.children[node]) for node in level), reverse=True)[:beam]
            asked += sum(size for size in sizes if size > 1)
        return asked


class WalkScorer(CompositeScorer):
    """The probability of each path from the top: the product of the shares that labels have among their siblings.

    At each level the `beam` likeliest labels are gone into. A label that was not reached has the probability 0;
    those that were share the rest. With a beam as wide as the tree every path is looked at, and their shares sum
    to 1 by themselves.

    first  a labeller that is not calibrated, whose scorer is asked, over the leaves
    tree   all labels
    beam   how many labels of a level are gone into

    Raises SettingError for labels without a parent, a beam below 1, and labels that are judged each by itself or
    against none of these: a share among siblings says nothing of those.
    """

    name = "walk"
    all_scored = False

    def __init__(self, first: Labeller, tree: LabelSet, beam: int) -> None:
        super().__init__(first.scorer)
        if beam < 1:
            raise SettingError(f"{OPTION} is {beam}; give how many labels of a level are gone into, from 1 on")
        if first.choice.absolute:
            raise SettingError(
                f"{OPTION} follows the labels that are likeliest among their siblings; where each is judged by "
                "itself (multi_label, --multi-label), or against none of these (none_label), leave it out"
            )
        if not tree.nested:
            raise SettingError(
                f"{OPTION} walks a tree of labels, and none of these has a parent; give parents in a labels file, "
                "or leave it out"
            )
        self.beam, self.leaves, self._own = beam, first.own, first.calibration
        blank = replace(tree, labels=tuple(replace(label, template=None) for label in tree.labels))
        worded = blank if first.choice.template is not None else blank.worded(self.templates)
        self.tree = Tree(worded)
        if self.known is not None:
            self.known.places(worded.labels)
        if self.label_tokens is not None:
            for own in self.tree.children.values():
                self.label_tokens.check([worded.labels[place] for place in own], first.template)
        self._columns = [worded.place(name) for name in self.leaves.names]
        self.calibration = Calibration(1.0, 0.0, origin=f"shares along a path; of siblings, {self._own.origin}")

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return self.first.settings | {
            "walked": self.first.name,
            "beam": self.beam,
            "tree": self.tree.labels.digest,
            "sibling_temperature": self._own.temperature,
        }

    def notes(self, rows: int) -> Sequence[str]:
        """How many labels were looked at."""
        most, leaves = self.tree.most_asked(self.beam), len(self.leaves.labels)
        return (f"labels looked at: at most {most:,} a text, down a tree of {leaves:,} to choose from",)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """The logarithm (n, L) float64 of each leaf's share; about -1e30 for those that were not reached."""
        must_be_fitted_to(request, self.leaves, OPTION)
        labels, children = self.tree.labels.labels, self.tree.children
        paths = np.full((len(request.texts), len(labels) + 1), -np.inf)  # the last column is the TOP
        paths[:, TOP] = 0.0
        reading: ReadCounts | None = None
        for level in self.tree.levels:
            nodes = np.array(level)
            order = np.argsort(-paths[:, nodes], axis=1, kind="stable")[:, : self.beam]
            gone = [[node for node in nodes[own] if np.isfinite(paths[row, node])] for row, own in enumerate(order)]
            asked = _siblings(children[node] for row in gone for node in row)
            if asked:
                place = {label: column for column, label in enumerate(asked)}
                lists = [sorted(place[c] for node in row for c in children[node] if c in place) for row in gone]
                rows = [row for row, own in enumerate(lists) if own]
                texts = [request.texts[row] for row in rows]
                wanted = [lists[row] for row in rows]
                try:
                    scores, found = self.first.score(
                        ScoreRequest(texts, [labels[label] for label in asked], request.template, False, wanted)
                    )
                except NotFiniteError as error:
                    raise NotFiniteError(error.why, rows[error.place]) from None
                reading = found if reading is None else _most(reading, found, rows)
                by_row = dict(zip(rows, scores, strict=True))
            for row, own in enumerate(gone):
                for node in own:
                    below = children[node]
                    if len(below) == 1:
                        paths[row, below[0]] = paths[row, node]
                        continue
                    shares = self._own.softmax(by_row[row][None, [place[c] for c in below]])[0]
                    with np.errstate(divide="ignore"):
                        paths[row, list(below)] = paths[row, node] + np.log(shares)
        assert reading is not None  # a tree whose labels all stand alone has one leaf, and nothing to choose
        reached = paths[:, self._columns]
        return np.where(np.isfinite(reached), reached, OUTSIDE), reading


def _siblings(groups: Iterable[Sequence[int]]) -> list[int]:
    """The labels of some groups in order, those that stand alone left out."""
    return sorted({label for group in groups if len(group) > 1 for label in group})


def _most(before: ReadCounts, found: ReadCounts, rows: Sequence[int]) -> ReadCounts:
    """How much of each text was read, where some of them were read again beside other labels."""
    truncated = before.truncated.copy()
    truncated[list(rows)] |= found.truncated
    return ReadCounts(before.tokens, before.windows, truncated)
