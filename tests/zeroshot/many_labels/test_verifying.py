"""Labels verified in turns are those that the certificate counts."""

from itertools import pairwise

import numpy as np
import pytest

from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.composite import OUTSIDE
from sijo.zeroshot.many_labels.shortlist import ALWAYS, Shortlist, depths, turns
from sijo.zeroshot.many_labels.verifying import verified_in_turns
from sijo.zeroshot.scorers.scorer import ScoreRequest

NAMES = [f"label {number}" for number in range(21)]
UNIT = 3.0


class Verifier:
    """Scores out of a table by the number that a text is; counts what it is asked."""

    def __init__(self, table, spoiled=None):
        self.table, self.asked, self.calls, self.spoiled = table, np.zeros(table.shape, int), 0, spoiled

    def score(self, request):
        """See `Scorer.score`."""
        rows = [int(text) for text in request.texts]
        self.calls += 1
        assert all(request.lists)
        self.asked[rows] += request.wanted
        if self.spoiled in rows and self.calls > 1:
            raise NotFiniteError("it is NaN", rows.index(self.spoiled))
        cut = np.array([self.calls == 2 and row == 5 for row in rows])
        own = np.where(request.wanted, self.table[rows], np.nan)
        return own, ReadCounts(np.array(rows) % 7, np.ones(len(rows), np.int64), cut)


@pytest.fixture
def scored():
    """A shortlister's scores of 300 texts, and a verifier's."""
    random = np.random.default_rng(0)
    near = random.normal(size=(300, 21))
    near[0] = 0.5  # all alike: in the order they are given
    return near, UNIT * (near + random.normal(0, 0.6, size=near.shape))


def ask(near, verifier, limit):
    """Verify in turns."""
    request = ScoreRequest([str(row) for row in range(len(near))], LabelSet.of(NAMES).labels, "{}")
    return verified_in_turns(verifier.score, request, near, UNIT, limit)


def by_hand(near, table, limit):
    """The labels that are asked about, text by text and in plain numbers."""
    asked = np.zeros(near.shape, bool)
    for row in range(len(near)):
        order = sorted(range(near.shape[1]), key=lambda place: -near[row, place])
        best, start, size = None, 0, 1
        while start < len(order):
            turn = order[start : start + size]
            if best is not None:
                aim = (near[row, order[0]] + best) / 2
                turn = [place for place in turn if aim - near[row, place] <= limit]
            asked[row, turn] = True
            best = max([*([best] if start else []), *(table[row, place] / UNIT for place in turn)])
            if len(turn) < min(size, len(order) - start):
                break
            start, size = start + size, max(1, start + size)
    return asked


@pytest.mark.parametrize("limit", [ALWAYS, -0.4, 0.0, 0.7, 1.5, 99.0])
def test_what_is_asked_is_what_is_counted(scored, limit):
    # kills: the best of later turns looked at, a text that goes on behind a turn that ended, scores on two scales,
    # a label asked twice, the first label that a text always has forgotten, ties in another order
    near, table = scored
    verifier = Verifier(table)
    scores, _ = ask(near, verifier, limit)
    kept = Shortlist("reach", limit).keeps(near, table / UNIT)
    assert (kept == by_hand(near, table, limit)).all()
    assert (verifier.asked == kept).all()
    assert (scores[kept] == table[kept]).all() and (scores[~kept] <= OUTSIDE).all()
    assert verifier.calls <= len(list(turns(21))) == 6
    assert kept.any(1).all() and kept.all() == (limit == 99) and (kept.sum() == 300) == (limit == ALWAYS)


def test_a_wider_reach_loses_no_label(scored):
    # kills: a family of shortlists that are not within each other, of which no certificate holds
    near, table = scored
    reaches = depths(near, "reach", table / UNIT)
    order = np.argsort(-near, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(reaches, order, 1), axis=1) >= 0).all()
    lists = [by_hand(near, table, limit) for limit in (-1.0, -0.2, 0.1, 0.5, 0.9, 2.0)]
    assert all((small <= large).all() and small.sum() < large.sum() for small, large in pairwise(lists))


def test_what_was_read_of_each_text(scored):
    # kills: counts of the last turn's texts in another's place; a cut that a later turn forgets
    near, table = scored
    _, reading = ask(near, Verifier(table), 99.0)
    assert reading.tokens.tolist() == [row % 7 for row in range(300)]
    assert reading.windows.tolist() == [1] * 300
    assert np.flatnonzero(reading.truncated).tolist() == [5]


def test_a_text_that_cannot_be_scored_is_named_by_its_own_number(scored):
    # kills: the number among the texts of a turn, which is another text's
    near, table = scored
    going = Shortlist("reach", 0.4).keeps(near, table / UNIT).sum(1)
    row = int(np.flatnonzero(going > 2)[-1])
    with pytest.raises(NotFiniteError) as told:
        ask(near, Verifier(table, spoiled=row), 0.4)
    assert told.value.place == row > 100
