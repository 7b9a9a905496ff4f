"""A tree walked from the top gives each leaf the product of the shares along its path."""

import math

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.composing import ManyLabels
from sijo.zeroshot.many_labels.walk import TOP, Tree, WalkScorer
from told_scorers import ToldScorer

PARENTS = {
    "sea": "water",
    "rain": "water",
    "game": "play",
    "team": "play",
    "ball": "thing",
    "goal": "thing",
    "water": None,
    "play": "people",
    "thing": "play",
    "people": None,
    "sun": None,
}
NAMES = list(PARENTS)
LEAVES = ["sea", "rain", "game", "team", "ball", "goal", "sun"]
TEXTS = [str(number) for number in range(25)]


def tree_of(parents):
    """A label set of names with parents."""
    return LabelSet.of({name: {"parent": parent} if parent else () for name, parent in parents.items()})


def walked(parents=PARENTS, beam=99, seed=0, **choice):
    """A labeller that walks, and the scorer that it asks."""
    labels = tree_of(parents)
    scorer = ToldScorer(np.random.default_rng(seed).normal(0, 0.2, size=(25, len(parents))), labels.names)
    labeller = Labeller(scorer, LabelChoice(**choice), labels)
    return ManyLabels(beam=beam).applied_to(labeller, None, tree=labels), scorer


def by_hand(table_row, parents, temperature, beam):
    """Leaf to probability, in plain numbers: level by level, the likeliest labels of a level gone into."""
    names = list(parents)
    score = dict(zip(names, table_row, strict=True))
    below = {node: [name for name in names if parents[name] == node] for node in [None, *names]}
    share, level = {None: 1.0}, [None]
    while level:
        gone = sorted(level, key=lambda node: -share[node])[:beam]
        reached = []
        for node in gone:
            raised = {name: math.exp(score[name] / temperature) for name in below[node]}
            for name in below[node]:
                share[name] = share[node] * raised[name] / math.fsum(raised.values())
                reached.append(name)
        level = [name for name in reached if below[name]]
    leaves = {name: share.get(name, 0.0) for name in names if not below[name]}
    return {name: value / math.fsum(leaves.values()) for name, value in leaves.items()}


@pytest.mark.parametrize("beam", [1, 2, 3, 99])
def test_shares_along_each_path(beam):
    # kills: scores added instead of shares, siblings of another parent in the softmax, a leaf near the top left
    # out, the beam over leaves, the temperature used twice or not at all
    labeller, scorer = walked(beam=beam)
    for text, row in zip(TEXTS, labeller.stream(TEXTS), strict=True):
        want = by_hand(scorer.table[int(text)], PARENTS, scorer.calibration.temperature, beam)
        got = dict(zip(row.labels, row.scores, strict=True))
        assert got == pytest.approx(want, abs=1e-12)
        assert row.label == max(LEAVES, key=want.get)
        path = tree_of(PARENTS).path(row.label)
        assert row.path == (path if len(path) > 1 else ())


def test_a_beam_as_wide_as_the_tree_is_exhaustive():
    # kills: a beam that loses paths that it had room for
    wide, _ = walked(beam=99)
    enough, _ = walked(beam=max(len(level) for level in Tree(tree_of(PARENTS)).levels))
    narrow, _ = walked(beam=1)
    rows = [list(one.stream(TEXTS)) for one in (wide, enough, narrow)]
    assert [row.scores for row in rows[0]] == [row.scores for row in rows[1]]
    assert any(one.scores != other.scores for one, other in zip(rows[0], rows[2], strict=True))


@pytest.mark.parametrize("beam", [1, 2])
def test_what_is_beneath_an_unlikely_label_is_never_read(beam):
    # kills: all labels read and most thrown away; a cost that is told and not kept
    labeller, scorer = walked(beam=beam)
    list(labeller.stream(TEXTS))
    most = Tree(tree_of(PARENTS)).most_asked(beam)
    assert scorer.asked <= most * len(TEXTS)
    assert f"at most {most}" in labeller.scorer.notes(25)[0]
    assert most < len(NAMES) or beam > 1


def test_a_label_alone_below_another_is_not_asked_about():
    # kills: passes for what is certain, and a label lost because nobody asked
    parents = {"top": None, "middle": "top", "sea": "middle", "land": "middle"}
    labeller, scorer = walked(parents, beam=1)
    rows = list(labeller.stream(TEXTS))
    assert scorer.asked == 2 * len(TEXTS)
    assert Tree(tree_of(parents)).most_asked(1) == 2
    assert {row.path for row in rows} == {("top", "middle", "sea"), ("top", "middle", "land")}
    assert Tree(tree_of(parents)).children[TOP] == (0,)


def test_trees_that_cannot_be_walked():
    # kills: a circle that is walked for ever, a walk of labels judged by themselves, a beam of nothing
    with pytest.raises(SettingError, match="lead back to it"):
        tree_of({"sea": "land", "land": "sea"})
    with pytest.raises(SettingError, match="none of these has a parent"):
        walked({"sea": None, "land": None})
    for beam in (0, -1):
        with pytest.raises(SettingError, match="from 1 on"):
            walked(beam=beam)
    for choice in ({"multi_label": True}, {"none_label": "none"}):
        with pytest.raises(SettingError, match="likeliest among their siblings"):
            walked(**choice)
    labeller, _ = walked()
    with pytest.raises(SettingError, match="fitted to one set of labels"):
        list(labeller.stream(["1"], [["sea", "rain"]]))
    for other in ({"fuse": "built-in"}, {"cascade": "built-in"}, {"needs_all": True}):
        with pytest.raises(SettingError, match="leave one"):
            ManyLabels(beam=2, **other)
    assert isinstance(labeller.scorer, WalkScorer)


def test_trees_of_all_shapes_end_as_by_hand():
    # kills: levels mixed up where leaves lie at different depths, columns in another order than the labels
    random = np.random.default_rng(5)
    for seed in range(8):
        count = int(random.integers(3, 14))
        parents = {"n0": None, "n1": None}
        for number in range(2, count):
            parents[f"n{number}"] = [None, *parents][int(random.integers(0, number + 1))]
        parents = dict(sorted(parents.items(), key=lambda pair: -int(pair[0][1:]) * (seed % 2)))
        if not any(parents.values()):
            continue
        labeller, scorer = walked(parents, beam=int(random.integers(1, 4)), seed=seed)
        for text, row in zip(TEXTS[:4], labeller.stream(TEXTS[:4]), strict=True):
            want = by_hand(scorer.table[int(text)], parents, scorer.calibration.temperature, labeller.scorer.beam)
            assert dict(zip(row.labels, row.scores, strict=True)) == pytest.approx(want, abs=1e-12)
