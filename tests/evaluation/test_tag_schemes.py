"""Schemes of tags: entities beside seqeval, and which scheme rows follow."""

import warnings

import pytest
import seqeval.metrics
import seqeval.scheme
from hypothesis import given
from hypothesis import strategies as st

from sijo.errors import SijoWarning, TextError
from sijo.evaluation.intervals import values
from sijo.evaluation.metrics import tagged
from sijo.evaluation.tag_schemes import IOB2, SCHEMES, scheme_of

BY_NAME = {scheme.name: scheme for scheme in SCHEMES}
THEIRS = {"IOB2": "IOB2", "IOB1": "IOB1", "IOE2": "IOE2", "BIOES": "IOBES", "BILOU": "BILOU"}


def tags_of(name, kinds="xy"):
    return ["O", *(f"{letter}-{kind}" for letter in BY_NAME[name].letters.replace(" ", "") for kind in kinds)]


def columns(name, least=0):
    """Rows of any tags of a scheme, valid or not, and as many predicted ones."""
    tag = st.sampled_from(tags_of(name))
    row = st.integers(max(least, 1), 7).flatmap(
        lambda words: st.tuples(*[st.lists(tag, min_size=words, max_size=words)] * 2)
    )
    return st.lists(row, min_size=1, max_size=4)


@pytest.mark.parametrize("name", THEIRS)
def test_entities_are_those_of_seqeval(name):
    # kills: one scheme read as another, an entity that is begun, ended or dropped where seqeval's is not
    ours, theirs = BY_NAME[name], getattr(seqeval.scheme, THEIRS[name])

    @given(columns(name))
    def check(pairs):
        gold, predicted = map(list, zip(*pairs, strict=True))
        for row in (*gold, *predicted):
            found = seqeval.scheme.Tokens(row, theirs).entities
            assert ours.entities(row) == {(entity.tag, entity.start, entity.end) for entity in found}
        measured = values(tagged(gold, predicted, tags_of(name), ours), len(gold))
        for metric in ("f1", "precision", "recall"):
            score = getattr(seqeval.metrics, f"{metric}_score")
            want = score(gold, predicted, mode="strict", scheme=theirs, zero_division=0)
            assert measured[f"entity_{metric}"] == pytest.approx(want, abs=1e-12)

    check()


ENTITIES = st.lists(st.tuples(st.sampled_from(["x", "y"]), st.integers(1, 3), st.integers(0, 2)), max_size=6)


def written(name, entities):
    """A row that is valid under a scheme: entities of a kind and a length, each with so many words behind it."""
    begin, inside, end, alone = BY_NAME[name].letters
    tags, before = [], None
    for kind, length, gap in entities:
        match name:
            case "IOB2":
                letters = begin + inside * (length - 1)
            case "IOB1":
                letters = (begin if before == kind else inside) + inside * (length - 1)
            case "IOE2":
                letters = inside * (length - 1) + end
            case _:
                letters = alone if length == 1 else begin + inside * (length - 2) + end
        tags += [f"{letter}-{kind}" for letter in letters] + ["O"] * gap
        before = None if gap else kind
    return tags or ["O"]


@pytest.mark.parametrize("name", BY_NAME)
def test_valid_rows_are_recognised_and_read(name):
    # kills: a scheme that is found by its letters alone, an entity between two others lost
    whole = [("x", 2, 0), ("x", 1, 0), ("y", 3, 1), ("x", 1, 0)]

    @given(st.lists(ENTITIES, min_size=1, max_size=4))
    def check(rows):
        rows = [whole, *rows]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scheme = scheme_of([(f"row {number}", written(name, row)) for number, row in enumerate(rows)])
        assert scheme is not None and scheme.name == name
        for row in rows:
            want, start = set(), 0
            for kind, length, gap in row:
                want.add((kind, start, start + length))
                start += length + gap
            assert scheme.entities(written(name, row)) == want

    check()


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (["I-x I-x O I-y", "I-x B-x O"], "IOB1"),
        (["I-x O O"], "IOB1"),
        (["B-x I-x O", "B-y O"], "IOB2"),
        (["B-x I-x", "B-x"], "IOB2"),
        (["S-x O", "O O"], "BIOES"),
        (["U-x O", "O O"], "BILOU"),
        (["B-x E-x O S-x"], "BIOES"),
        (["B-x L-x O U-x"], "BILOU"),
        (["B-x M-x E-x O S-x"], "BMES"),
        (["b-x i-x o"], "IOB2"),
        (["B_x I_x O", "B_y O O"], "IOB2"),
        (["x-B x-I O"], "IOB2"),
        (["x_y-B x_y-I O x_y-B"], "IOB2"),
        (["B I O B"], "IOB2"),
        (["B M E S B E"], "BMES"),
        (["B-a-b I-a-b O"], "IOB2"),
        (["O O", "B-x O"], "IOB2"),
        (["NOUN VERB", "NOUN"], None),
        (["O LOC PER", "O O"], None),
        (["0 3 4", "0 1"], None),
        (["S-Bahn U-Bahn Bus"], None),
        (["B S", "S S B"], None),
        (["VB NN . -LRB-"], None),
        (["O O"], None),
    ],
)
def test_how_tags_are_written(rows, name):
    # kills: a scheme in another spelling measured word by word without a word, or words taken for a scheme
    scheme = scheme_of([(str(number), row.split()) for number, row in enumerate(rows)])
    assert (scheme and scheme.name) == name


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["B-x I-x O", "S-x O U-x"], "no scheme has these tags together"),
        (["B-x I-x E-x O", "B-x L-x O"], "no scheme has these tags together"),
        (["B-x I-x O", "B-x NOUN O"], "row 2 has the tag 'NOUN' beside"),
        (["B-x I-x O", "[PAD] O O"], r"row 2 has the tag '\[PAD\]'"),
        (["B-x I-x O", "I-x I-x O"], "follow no one scheme"),
        (["I-x I-x O", "O B-y I-y"], "follow no one scheme"),
        (["B-x O B-x", "S-x O O"], "BIOES is nearest, and 2 of 3 words"),
        (["I-x I-x E-x O", "I-y O O"], "follow no one scheme"),
        (["b-x i-x o", "s-x o u-x"], "no scheme has these tags together"),
    ],
)
def test_a_mixture_is_refused_with_a_row(rows, words):
    # kills: tags of two schemes measured by one of them, in silence
    with pytest.raises(TextError, match=words):
        scheme_of([(f"row {number}", row.split()) for number, row in enumerate(rows, 1)])


def test_files_of_two_schemes_are_refused():
    # kills: a small evaluation file in another scheme lost among the training rows
    train = [(f"train {number}", ["B-x", "I-x", "O", "B-y"]) for number in range(200)]
    with pytest.raises(TextError, match="'I-x' behind 'O' in dev 0"):
        scheme_of(train, [("dev 0", ["O", "I-x", "I-x"]), ("dev 1", ["O", "I-y", "O"])])


def test_a_slip_among_many_rows_is_told():
    # kills: a large file refused for one word, or the word passed over in silence
    rows = [(f"row {number}", ["B-x", "I-x", "O", "B-y"]) for number in range(40)]
    with pytest.warns(SijoWarning, match="are IOB2, and 1 of 121 .* 'I-y' behind 'O' in slip"):
        assert scheme_of([*rows, ("slip", ["O", "I-y"])]).name == "IOB2"


def test_what_iob1_gives_where_iob2_gives_1():
    # kills: the issue's own case: gold of IOB1 measured as if it were IOB2
    gold = [["I-per", "I-per", "O", "I-loc", "B-loc"]]
    predicted = [["O", "O", "O", "I-loc", "B-loc"]]
    names = ["B-loc", "I-loc", "I-per", "O"]
    wrong = values(tagged(gold, predicted, names, IOB2), 1)["entity_f1"]
    right = values(tagged(gold, predicted, names, BY_NAME["IOB1"]), 1)["entity_f1"]
    assert wrong == 1.0
    assert right == pytest.approx(seqeval.metrics.f1_score(gold, predicted)) == pytest.approx(0.8)
