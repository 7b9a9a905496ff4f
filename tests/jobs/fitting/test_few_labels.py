"""A few labels, checked before any model is opened: what is read, and what is refused with its row."""

import unicodedata

import numpy as np
import pytest

from sijo.errors import SettingError, SijoWarning, TextError
from sijo.jobs.fitting.few_labels import few_labels, none_yet, told_of

TEXTS = ["a late goal", "income tax", "the rain in the land", "a goal  ", "salt"]


def test_rows_with_and_without_labels():
    # kills: an empty cell read as a label; unlabelled texts lost; a text kept twice; rows counted from 0
    some = few_labels([*TEXTS, "a late goal"], ["sport", "money", " ", float("nan"), None, "sport"])
    assert some.labels.names == ("money", "sport")
    assert some.texts == ("a late goal", "income tax") and some.rows == (1, 2)
    assert some.right.tolist() == [[False, True], [True, False]]
    assert some.unlabelled == ("the rain in the land", "a goal", "salt")
    assert some.counts == {"money": 1, "sport": 1}
    assert told_of(some) == [
        "one text alone has each of the labels 'money', 'sport': they are close to their names"
    ]


def test_labels_that_no_row_has():
    # kills: --labels in place of those that occur; another order than the one given; no word of it to a person
    with pytest.warns(SijoWarning, match="row 2: the label 'money' is not among those to choose from"):
        some = few_labels(TEXTS, ["Sport", "money", None, None, None], labels=["war", "sport"])
    assert some.labels.names == ("war", "sport", "money")
    assert some.right.tolist() == [[False, True, False], [False, False, True]]
    assert told_of(some)[0] == "no text has the label 'war': it stays as its name has it"


def test_a_label_that_one_row_misspells():
    # kills: a class of its own made of a slip; a class that several rows have, or is like no other, refused for it
    cells, labels = ["배송", "배숑", "결제", None, "배송"], ["배송", "결제", "2023"]
    with pytest.raises(
        TextError, match=r"row 2: .*'배숑' is not .* no other row has it; did you mean '배송'\? Mend"
    ):
        few_labels(TEXTS, cells, labels=labels)
    for name in ("쿠폰", "2024"):
        with pytest.warns(SijoWarning, match=f"row 2: the label '{name}' .* and is added to them$"):
            assert few_labels(TEXTS, ["배송", name, "결제", None, None], labels=labels).labels.names[-1] == name
    with pytest.warns(SijoWarning, match=r"and is added to them; did you mean '배송'\?$"):
        assert few_labels(TEXTS, ["배송", "배숑", "결제", "배숑", None], labels=labels).labels.names[-1] == "배숑"
    assert few_labels(TEXTS, cells, labels=[*labels, "배숑"]).counts["배숑"] == 1


def test_several_labels_a_text():
    # kills: an empty list read as "not labelled"; a label in two spellings counted twice
    cells = [["sport", "sport "], "money; sport", [], "", None]
    some = few_labels(TEXTS, cells, multi_label=True)
    assert some.right.astype(int).tolist() == [[0, 1], [1, 1], [0, 0]]
    assert some.unlabelled == ("a goal", "salt")
    assert few_labels(TEXTS[:2], ["money|sport", "sport"], multi_label=True, separator="|").right[0].all()


def test_numbers_are_labels():
    # kills: 1.0 and 1 as two labels; labels of numbers refused
    assert few_labels(TEXTS, [1.0, 2, "1.0", None, None]).labels.names == ("1", "2")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([None] * 5, "the column 'topic' holds no label in any of 5 rows"),
        (["a", "a", None, None, None], "every label in the column 'topic' is 'a'"),
        (["sport", "money", "Sport", None, None], "row 3: the label 'Sport' is the label 'sport' of row 1"),
        (
            ["sport", "money", "s port ", " sport", "SPORT "],
            "row 5: the label 'SPORT' is the label 'sport' of row 1",
        ),
        (["sport", "money", 0.5, None, None], "row 3: the column 'topic' holds 0.5, not a label"),
        (["sport", "money", ["a", "b"], None, None], "--multi-label"),
    ],
)
def test_bad_labels_are_refused(cells, words):
    # kills: a head of one class; a label told apart from itself by its case; a row that is not named
    with pytest.raises(TextError) as error:
        few_labels(TEXTS, cells, column="topic")
    assert words in str(error.value)


def test_equal_texts_must_agree():
    # kills: the last of two contradicting rows taken in silence; blanks that hide that texts are equal
    texts = ["rain", "a goal", " rain "]
    with pytest.raises(TextError, match=r"rows 1 and 3 hold the same text \('rain'\), labelled 'sun' and 'sea'"):
        few_labels(texts, ["sun", "sea", "sea"])
    assert len(few_labels(texts, ["sun", "sea", "sun"]).texts) == 2
    with pytest.raises(TextError, match="rows 1 and 3"):
        few_labels(texts, [["sun"], ["sea"], []], multi_label=True)


def test_equal_texts_in_korean():
    # kills: one text in two of Unicode's forms, as files of two systems have it, told two labels; blanks within it
    texts = ["환불  받고 싶어요", unicodedata.normalize("NFD", "환불 받고\n싶어요"), "배송"]
    with pytest.raises(TextError, match="rows 1 and 2 hold the same text"):
        few_labels(texts, ["환불", "배송", "배송"])
    some = few_labels([*texts, unicodedata.normalize("NFD", "배송")], ["환불", "환불", "배송", None])
    assert some.texts == ("환불  받고 싶어요", "배송") and some.unlabelled == ()
    assert none_yet(["환불", "배송"], texts).unlabelled == ("환불  받고 싶어요", "배송")


def test_ten_thousand_labels_are_another_column():
    # kills: a matrix for each row's own number
    with pytest.raises(TextError, match=r"holds 10,000 different labels in 10,000 labelled rows"):
        few_labels([f"text {n}" for n in range(10_000)], list(range(10_000)), column="id")


def test_other_faults():
    # kills: a label for a text that is blank or that nobody sees; lists of two lengths
    with pytest.raises(TextError, match="row 2 has a label and no text"):
        few_labels(["a", " "], ["x", "y"])
    with pytest.raises(TextError, match="row 2 has a label and no text"):
        few_labels(["a", "\u200b \ufeff"], ["x", "y"])
    assert few_labels(["a", "b", "\u200b"], ["x", "y", None]).unlabelled == ()
    with pytest.raises(SettingError, match="2 texts and 1 labels"):
        few_labels(["a", "b"], ["x"])


def test_none_yet():
    # kills: a parent to choose from beside its children
    some = none_yet({"sport": (), "chess": {"parent": "sport"}, "tax": ()}, ["a", "a", " "])
    assert some.labels.names == ("chess", "tax") and some.right.shape == (0, 2) and some.unlabelled == ("a",)


def test_a_part_of_some_labels():
    # kills: texts of one row with the labels of another
    some = few_labels(TEXTS, ["sport", "money", "rain", None, None])
    part = some.part(np.array([False, True, True]))
    assert part.texts == ("income tax", "the rain in the land") and part.rows == (2, 3)
    assert part.counts == {"money": 1, "rain": 1, "sport": 0}
