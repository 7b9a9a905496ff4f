"""Label sets from every source a user has them in."""

import json

import pytest

from sijo.errors import SettingError, TextError
from sijo.zeroshot.labels import LabelSet


def test_a_line_splits_at_commas_outside_quotes():
    """Catches a label that holds a comma cut in two, and blanks kept around a name."""
    assert LabelSet.parse(' sport ,"Lisbon, Portugal", "say ""hi"""').names == (
        "sport",
        "Lisbon, Portugal",
        'say "hi"',
    )


@pytest.mark.parametrize("line", ["", "a,,b", "a,b,", "a,b,A", '"a,b', 'a,"b"c'])
def test_a_line_that_is_no_list_of_labels(line):
    """Catches an empty label scored as a class, a repeat, and a quote that swallows the rest."""
    with pytest.raises(SettingError):
        LabelSet.parse(line)


@pytest.mark.parametrize(
    "name, content",
    [
        ("l.txt", "\ufeffsea\n\n bank, shore \n"),
        ("l.csv", 'label,description\nsea,\n"bank, shore",\n'),
        ("l.json", json.dumps(["sea", "bank, shore"])),
        ("l.json", json.dumps({"sea": "", "bank, shore": []})),
    ],
)
def test_files(tmp_path, name, content):
    """Catches a mark at the start that becomes part of the first label, blank lines, and commas in names."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    labels = LabelSet.read(tmp_path / name)
    assert labels.names == ("sea", "bank, shore")
    assert [label.phrases("{}!") for label in labels.labels] == [("sea!",), ("bank, shore!",)]


def test_descriptions(tmp_path):
    """Catches a further description lost, and an empty one encoded as a text of its own."""
    (tmp_path / "l.csv").write_text('label,description,description\nsea,"salt, water",waves\nsun,warm,\n')
    sea, sun = LabelSet.read(tmp_path / "l.csv").labels
    assert sea.phrases("the {}") == ("the sea", "salt, water", "waves")
    assert sun.phrases("the {}") == ("the sun", "warm")


@pytest.mark.parametrize(
    "name, content, error, message",
    [
        ("l.txt", b"", SettingError, "no labels were given"),
        ("l.txt", b"caf\xe9\n", TextError, "is not UTF-8"),
        ("l.csv", b"name,words\nsea,\n", TextError, "must begin with the line: label"),
        ("l.csv", b"label\nsea\nsea\n", SettingError, "given twice"),
        ("l.csv", b'label,description\nsea,"salt\nsun,warm\n', TextError, "is not CSV"),
        ("l.json", b"{", TextError, "is not JSON"),
        ("l.json", b'"sea"', TextError, "must hold a list"),
        ("l.json", b"[1, 2]", SettingError, "a word or a phrase"),
        ("l.json", b'{"a": 3, "b": "c"}', SettingError, "description"),
        ("l.json", b'{"a": "x", "a": "y", "b": "z"}', SettingError, "given twice"),
        ("l.yaml", b"- sea\n", SettingError, "is .txt, .csv or .json"),
    ],
)
def test_files_that_will_not_do(tmp_path, name, content, error, message):
    """Catches each of these reaching the model, or a stack trace."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        LabelSet.read(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(SettingError, match=r"did you mean 'labels\.txt'"):
        LabelSet.read(tmp_path / "label.txt")
