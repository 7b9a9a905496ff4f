"""Labels that are parts of others, and labels with thresholds of their own."""

import numpy as np
import pytest

from sijo.errors import SijoWarning
from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.hierarchy import Hierarchy
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.open import open_scorer

TREE = LabelSet.of(
    {
        "chess": {"parent": "game", "threshold": 0.9},
        "game": {"parent": "play"},
        "tax": (),
        "play": {"threshold": 0.95},
        "go": {"parent": "game"},
    }
)


class GivenScores(EmbeddingScorer):
    """A scorer that says what it is told to, and remembers what it was asked."""

    def score(self, request):
        self.asked = [label.name for label in request.labels]
        scores = np.array([[self.given[label.name] for label in request.labels]] * len(request.texts))
        ones = np.ones(len(request.texts), np.int64)
        return scores, ReadCounts(ones, ones, ones < 0)


@pytest.fixture(scope="module")
def scorer():
    return GivenScores(open_scorer("embedding", None).engine)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def plain_upward(own: dict[str, float], parents: dict[str, str]) -> dict[str, float]:
    """The rule again, from the bottom up, for plain numbers."""
    above = dict(own)
    for start, value in own.items():
        name = start
        while name in parents:
            name = parents[name]
            above[name] = max(above[name], value)
    return above


def test_no_part_is_likelier_than_its_whole():
    # kills: parents settled before their children; a child raised by its parent; trees in any order of columns
    random = np.random.default_rng(0)
    for _ in range(50):
        count = int(random.integers(1, 12))
        order = random.permutation(count)
        parents = {int(c): int(random.integers(c)) for c in range(1, count) if random.random() < 0.8}
        labels = [Label(f"l{c}", parent=f"l{parents[c]}" if c in parents else None) for c in order.tolist()]
        own = random.random((3, count))
        raised = Hierarchy(labels).raised(own)
        for row, values in zip(own, raised, strict=True):
            names = [label.name for label in labels]
            above = plain_upward(dict(zip(names, row, strict=True)), {f"l{c}": f"l{p}" for c, p in parents.items()})
            assert values.tolist() == [above[name] for name in names]


def test_labels_judged_by_themselves(scorer):
    # kills: one threshold for all; a part given without its whole; scores that belong to other labels
    scorer.given = {
        "chess": logit(0.85),
        "game": logit(0.3),
        "tax": logit(0.6),
        "play": logit(0.1),
        "go": logit(0.7),
    }
    labeller = Labeller(scorer, LabelChoice(multi_label=True, temperature=1.0, none_threshold=0.0), TREE)
    (row,) = labeller.stream(["a text"])
    assert dict(zip(row.labels, row.scores, strict=True)) == pytest.approx(
        {"chess": 0.85, "game": 0.85, "tax": 0.6, "play": 0.85, "go": 0.7}
    )
    assert row.fitting == ("game", "play", "go", "tax")  # chess asks for 0.9; play for 0.95, but go is part of it
    assert row.fitting_scores == pytest.approx((0.85, 0.85, 0.7, 0.6))
    assert row.path == ()
    probabilities, _ = next(labeller.judged(["a text"]))
    assert labeller.fits(probabilities).tolist() == [[False, True, True, True, True]]


def test_one_label_is_a_leaf_with_its_path(scorer):
    # kills: a whole that takes probability from its own parts, or costs a pass of the model
    scorer.given = {"chess": 1.0, "game": 9.0, "tax": 0.0, "play": 9.0, "go": 2.0}
    with pytest.warns(SijoWarning, match="own thresholds change nothing"):
        labeller = Labeller(scorer, LabelChoice(temperature=1.0), TREE)
    (row,) = labeller.stream(["a text"])
    assert scorer.asked == ["chess", "tax", "go"]
    assert (row.label, row.path, sum(row.scores)) == ("go", ("play", "game", "go"), pytest.approx(1.0))
    (alone,) = Labeller(scorer, LabelChoice(temperature=1.0), LabelSet.of(["go", "tax"])).stream(["a text"])
    assert alone.path == ()


def test_sets_of_their_own_may_be_trees(scorer):
    # kills: a tree of one row taken for that of another
    scorer.given = {"chess": 1.0, "game": 0.0, "tax": 0.0, "play": 0.0, "go": 2.0}
    labeller = Labeller(scorer, LabelChoice(temperature=1.0), None)
    other = LabelSet.of({"go": (), "chess": {"parent": "tax"}, "tax": ()})
    with pytest.warns(SijoWarning):
        rows = list(labeller.stream(["a", "b", "c"], [TREE, other, ["go", "tax"]]))
    assert [row.path for row in rows] == [("play", "game", "go"), (), ()]
    assert [set(row.labels) for row in rows] == [{"chess", "tax", "go"}, {"go", "chess"}, {"go", "tax"}]


def test_a_deep_tree():
    # kills: a recursion as deep as the tree, and time that grows with its square
    labels = [Label(f"l{i}", parent=f"l{i - 1}" if i else None) for i in range(5_000)]
    assert Hierarchy(labels).raised(np.eye(1, 5_000, 4_999)).min() == 1


def test_thousands_of_labels_are_scored_a_few_texts_at_a_time(scorer):
    # kills: ten thousand labels for two thousand texts held in memory at once; answers that depend on such borders
    names = [f"label {number}" for number in range(10_000)]
    scorer.given = dict(zip(names, np.linspace(0, 1, 10_000).tolist(), strict=True))
    labeller = Labeller(scorer, LabelChoice(), LabelSet.of(names))
    assert [len(scores) for scores, _ in labeller.scored(["a text"] * 500)] == [209, 209, 82]
    assert {row.label for row in labeller.stream(["a text"] * 3)} == {"label 9999"}
    assert Labeller(scorer, LabelChoice(), LabelSet.of(names[:2])).rows == scorer.rows
