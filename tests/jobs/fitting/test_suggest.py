"""Which texts are suggested: unsure ones, of several kinds, never a labelled one, and always the same."""

import numpy as np
import pytest

from sijo.errors import SettingError, TextError
from sijo.inference.outputs import unit
from sijo.jobs.fitting.few_labels import few_labels, none_yet
from sijo.jobs.fitting.suggest import chosen, suggest
from sijo.zeroshot.scorers.open import open_scorer

TEXTS = ["the team and the ball", "money in the bank", "rain", "sun", "rain ", "", "salt and oil", "the old sea"]


@pytest.fixture
def scorer(tiny_model):
    """The tiny encoder."""
    return open_scorer("embedding", tiny_model)


def test_labelled_texts_are_never_suggested(scorer):
    # kills: a row whose text has a label in another row; a blank row; a text suggested twice
    labelled = [True, True, True, *[False] * 5]
    some = few_labels(TEXTS, ["game", "money", "game", *[None] * 5])
    rows = [one.row for one in suggest(TEXTS, scorer, labelled=labelled, some=some)]
    assert sorted(rows) == [4, 7, 8]
    again = suggest(TEXTS, scorer, labelled=labelled, some=some, count=2)
    assert [one.row for one in again] == [
        one.row for one in suggest(TEXTS, scorer, labelled=labelled, some=some, count=2)
    ]
    assert all(one.label in ("game", "money") and 0 <= one.uncertainty <= 1 for one in again)
    assert again[0].uncertainty >= again[1].uncertainty


def test_before_there_are_labels(scorer):
    # kills: labels' names left unread; a crash where not even these are known
    named = suggest(TEXTS, scorer, labelled=[False] * 8, some=none_yet(["game", "money"], TEXTS), count=3)
    bare = suggest(TEXTS, scorer, labelled=[False] * 8, count=3)
    assert len(named) == len(bare) == 3
    assert {one.label for one in named} <= {"game", "money"} and [one.label for one in bare] == [None] * 3
    assert len(suggest(TEXTS, scorer, labelled=[False] * 8, count=100)) == 6


def test_several_labels_a_text(scorer):
    # kills: the lead over another label where labels do not compete
    some = few_labels(TEXTS, [["game"], ["money"], [], *[None] * 5], multi_label=True)
    first = suggest(TEXTS, scorer, labelled=[True] * 3 + [False] * 5, some=some, count=1)
    assert 0 <= first[0].uncertainty <= 1


def test_what_cannot_be_suggested(scorer):
    # kills: an empty answer that says nothing
    with pytest.raises(SettingError, match="count=0"):
        suggest(TEXTS, scorer, labelled=[False] * 8, count=0)
    with pytest.raises(TextError, match="nothing left to suggest"):
        suggest(TEXTS, scorer, labelled=[True] * 8)


def test_unsure_texts_of_several_kinds():
    # kills: ten of one kind because they are the least sure; sure texts before unsure ones; the last of all places
    chance = np.random.default_rng(0)
    centres = unit(chance.normal(size=(4, 8)))
    kinds = np.repeat(np.arange(4), 30)
    vectors = unit(centres[kinds] + 0.05 * chance.normal(size=(120, 8)))
    unsure = np.where(kinds == 0, 0.9, np.where(kinds == 3, 0.0, 0.7))
    places = chosen(vectors, unsure, 8)
    assert {0, 1, 2} == {int(kinds[place]) for place in places} and len(set(places)) == 8
    assert places == chosen(vectors, unsure, 8)
    assert [unsure[place] for place in places] == sorted(unsure[places], reverse=True)


def test_without_a_model_all_kinds_are_covered():
    # kills: the first rows of a table, which may be of one kind
    chance = np.random.default_rng(1)
    kinds = np.sort(np.arange(200) % 5)
    vectors = unit(np.eye(5)[kinds] + 0.05 * chance.normal(size=(200, 5)))
    assert {int(kinds[place]) for place in chosen(vectors, np.ones(200), 5)} == {0, 1, 2, 3, 4}


def test_equal_texts_are_not_enough_for_many_kinds():
    # kills: fewer suggestions, or one twice, where vectors are equal
    assert sorted(chosen(unit(np.ones((30, 3))), np.ones(30), 4)) == sorted(
        {*chosen(unit(np.ones((30, 3))), np.ones(30), 4)}
    )


def test_nearly_all_of_many(monkeypatch):
    # kills: distances from all earlier middles for each new one, which takes the square of the number asked for
    from sijo.jobs.fitting import suggest as module

    numbers, far = [], module._far
    monkeypatch.setattr(
        module, "_far", lambda points, middles: numbers.append(len(middles)) or far(points, middles)
    )
    vectors = unit(np.random.default_rng(2).normal(size=(500, 8)))
    places = chosen(vectors, np.linspace(0, 1, 500), 450)
    assert len(set(places)) == 450
    begun = numbers.index(450)
    assert sum(numbers[:begun]) == 450 and len(numbers) - begun < 102
    monkeypatch.setattr(module, "MOST_PRODUCTS", 0)
    numbers.clear()
    assert len(set(chosen(vectors, np.linspace(0, 1, 500), 450))) == 450 and numbers.count(450) == 2


def test_more_of_one_kind_than_are_compared(monkeypatch):
    # kills: fewer texts compared than are asked for, and StopIteration told of them
    from sijo.jobs.fitting import suggest as module

    monkeypatch.setattr(module, "MOST_COMPARED", 20)
    vectors = unit(np.random.default_rng(3).normal(size=(100, 4)))
    assert len(set(chosen(vectors, np.ones(100), 30))) == 30
