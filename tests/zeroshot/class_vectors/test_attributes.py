"""Tables of attributes: both forms, and every hole by name."""

import json

import pytest

from sijo.errors import SettingError, TextError
from sijo.zeroshot.class_vectors.attributes import read_attributes


def test_both_forms_are_one(write):
    # kills: rows by the file's order in place of the asked one, words that are no 0 and 1, a name in another case
    table = write(
        "a.csv", "label,네 발,swims\n개,예아니오,1\n".replace("예아니오", "yes") + "Cat,1,no\nfish,False,0.5\n"
    )
    same = write(
        "a.json",
        json.dumps(
            {"개": {"네 발": True, "swims": 1}, "Cat": {"swims": 0, "네 발": 1}, "fish": {"네 발": 0, "swims": 0.5}}
        ),
    )
    for path in (table, same):
        read = read_attributes(path)
        assert read.attributes == ("네 발", "swims") and read.classes == ("개", "Cat", "fish")
        assert read.rows(["FISH", "cat", "개"]).tolist() == [[0, 0.5], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("label,a,b\ndog,1,\ncat,0,1\n", r"class 'dog', attribute 'b' is empty"),
        ("label,a,b\ndog,1\ncat,0,1\n", r"class 'dog', attribute 'b' is empty"),
        ("label,a,b\ndog,1,nan\ncat,0,1\n", r"class 'dog', attribute 'b' is 'nan', which is no number"),
        ("label,a,b\ndog,1,1e999\ncat,0,1\n", r"attribute 'b' is '1e999', which is no number"),
        ("label,a,b\ndog,1,much\ncat,0,1\n", r"'much', which is no number"),
        ("label,a,b\ndog,1,1\ncat,0,1\n", r"the attribute 'b' is 1 for every class"),
        ("label,a,b\ndog,1,1\nDog,0,1\n", r"the class 'Dog' stands there twice \(the other is 'dog'\)"),
        ("label,a,A\ndog,1,1\ncat,0,1\n", r"the attribute 'A' stands there twice"),
        ("label,a\ndog,1\n", r"tells of 1 classes"),
        ("label,a\ndog,1,3\ncat,0\n", r"row 2 has 3 cells"),
        ("label,a\n,1\ncat,0\n", r"class 1 has no name"),
        ("a,b\n1,2\n", r"must begin with a line such as label"),
        ("", r"must begin with a line such as label"),
        ('label,a\n"dog,1\n', r"is not CSV"),
    ],
)
def test_what_a_csv_may_not_hold(write, content, words):
    # kills: a hole read as 0, a number that is none, two rows of one class of which one is silently lost
    with pytest.raises(TextError, match=words):
        read_attributes(write("a.csv", content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"dog": {"a": 1}, "cat": {"b": 1}}', r"class 'dog', attribute 'b' is empty"),
        ('{"dog": {"a": null}, "cat": {"a": 1}}', r"class 'dog', attribute 'a' is empty"),
        ('{"dog": {"a": [1]}, "cat": {"a": 1}}', r"which is no number"),
        ('{"dog": {"a": 1, "a": 2}, "cat": {"a": 1}}', r"stands there twice"),
        ('{"dog": 1}', r"must hold an object"),
        ("[" * 100_000, r"is not JSON"),
        ('{"dog": {}, "cat": {}}', r"has no attributes"),
    ],
)
def test_what_json_may_not_hold(write, content, words):
    with pytest.raises(TextError, match=words):
        read_attributes(write("a.json", content))


def test_classes_without_a_row(write):
    # kills: an unknown class read as zeros; a file of another kind guessed at
    read = read_attributes(write("a.csv", "label,a\ndog,1\ncat,0\n"))
    with pytest.raises(TextError, match=r"no row for 'cats'; did you mean 'cat'|no row for 'cats'"):
        read.rows(["dog", "cats"])
    with pytest.raises(SettingError, match=r"is \.csv or \.json"):
        read_attributes(write("a.npz", "x"))
    with pytest.raises(SettingError, match="there is no labels file"):
        read_attributes("nowhere.csv")
