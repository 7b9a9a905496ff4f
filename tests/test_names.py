"""When two labels are one, and which names stand in a cell."""

import csv
import io
import json
import math
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sijo.errors import SettingError, TextError
from sijo.names import (
    FLAG,
    NameCells,
    apart,
    by_number,
    cautions,
    folded,
    list_in,
    name_of,
    parts_of,
    seems_parted_at,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

SAME = [
    ("Sport", "sport"),
    ("tax law", " Tax \t law\n"),
    ("tax law", "tax\u00a0law"),
    ("tax law", "tax\u3000\u2003law"),
    ("축구", unicodedata.normalize("NFD", "축구")),
    ("résumé", "re\u0301sume\u0301"),
    ("ｓｐｏｒｔ", "sport"),
    ("ﾆｭｰｽ", "ニュース"),
    ("ﬁnance", "finance"),
    ("straße", "STRASSE"),
    ("ſport", "Sport"),
    ("ὈΔΥΣΣΕΎΣ", "Ὀδυσσεύς"),
    ("sp\u200bort", "sport"),
    ("\ufeffsport", "sport"),
    ("sp\u00adort", "sport"),
    ("\u202esport\u202c", "sport"),
    ("❤", "❤\ufe0f"),
    ("می\u200cخواهم", "میخواهم"),
    ("sport\x07", "sport"),
    ("1", "1.0"),
    ("1", "1.000"),
    ("-3", "-3.0"),
    ("１．０", "1"),
    ("True", "true"),
    ("NaN", "nan"),
]
OTHER = [
    ("01", "1"),
    ("1.5", "1"),
    ("resume", "résumé"),
    ("ı", "i"),
    ("İ", "i"),
    ("a-b", "a b"),
    ("C++", "C"),
    ("1,000", "1000"),
    ("👎", "👍"),
    ("👍🏻", "👍🏿"),
    ("가", "까"),
    (f"{FLAG}\U000e0067\U000e0062\U000e0065\U000e007f", f"{FLAG}\U000e0067\U000e0062\U000e0073\U000e007f"),
    ("yes", "true"),
    ("none", "nan"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_label(one, other):
    # kills: case and blanks alone folded, forms of Unicode told apart, a mark that nobody sees
    assert one != other and folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_labels_that_only_look_alike(one, other):
    # kills: accents or punctuation folded away, codes such as 007 read as numbers, flags that become one
    assert folded(one) != folded(other)


def test_every_character_is_folded_once():
    # kills: a key that folds to another key, so that two spellings meet or not by how often they were read
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if 0xD800 <= code < 0xE000 or letter == unicodedata.normalize("NFKD", letter).casefold() != " ":
            continue  # not text, or a letter with one form
        key = folded.__wrapped__(letter)
        assert folded.__wrapped__(key) == key, hex(code)
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            assert folded.__wrapped__(unicodedata.normalize(form, letter)) == key, (form, hex(code))


@given(TEXTS)
@example("ΐ ̈")
def test_a_key_is_of_all_spellings(text):
    # kills: a spelling by which a label changes sides
    key = folded(text)
    assert folded(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, text)) == key
    assert folded(f" {text}\u200b ") == key


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        "\u200b\ufeff",
        "\u3164",
        "\x00",
        math.nan,
        math.inf,
        0.5,
        [],
        ["a"],
        {"a": 1},
        b"a",
        "\ud800",
    ],
)
def test_what_is_no_name(value):
    # kills: a class of rows without label, one that cannot be written
    assert name_of(value) is None


def test_names_of_values():
    # kills: 1 and 1.0 as two classes, a truth value as a number
    values = [" sea ", 1, 1.0, -0.0, 1e3, True, False, "1.0", "nan"]
    assert [*map(name_of, values)] == ["sea", "1", "1", "0", "1000", "True", "False", "1.0", "nan"]
    assert [name_of(unicodedata.normalize(form, "축구")) for form in ("NFC", "NFD")] == ["축구"] * 2


def test_names_are_shown_as_they_are():
    # kills: Korean names as code points; two names that look alike, and not a word of what tells them apart
    assert apart("배송", "배송") == ("'배송'", "'배송'") and apart("A", "a") == ("'A'", "'a'")
    assert apart("é", "e\u0301") == ("'é'", "'e\u0301' (in another Unicode form)")
    assert apart("배송\u3164", "배송") == ("'배송\u3164' (with U+3164, which nobody sees)", "'배송'")
    assert apart("배송 1", "배송\u00a01") == ("'배송 1'", "'배송\\xa01' (with U+00A0, which nobody sees)")


CELLS = [
    ('["sea", "rain"]', ["sea", "rain"]),
    (["sea", "rain"], ["sea", "rain"]),
    (("sea", "rain"), ["sea", "rain"]),
    (1.0, ["1"]),
    (0, ["0"]),
    ("['sea', 'rain']", ["sea", "rain"]),
    ("('sea', \"it's\")", ["sea", "it's"]),
    ("{'sea', 'rain'}", ["sea", "rain"]),
    ("['a; b, c']", ["a; b, c"]),
    ("[1, 2.0]", ["1", "2"]),
    ([1, 2.0, True], ["1", "2", "True"]),
    ("sea;rain", ["sea", "rain"]),
    ("sea; rain;", ["sea", "rain"]),
    ("sea, rain", ["sea", "rain"]),
    ('sea, "wind, rain"', ["sea", "wind, rain"]),
    ('sea; "wind; rain"', ["sea", "wind; rain"]),
    ("sea", ["sea"]),
    ("(sea)", ["(sea)"]),
    ("(1)", ["(1)"]),
    ("", []),
    ("[]", []),
]


@pytest.mark.parametrize(("cell", "names"), CELLS)
def test_cells_of_several_names(cell, names):
    # kills: a list that is one strange label, a separator that another command has, quotes kept in a name
    assert NameCells().names(cell) == names


@pytest.mark.parametrize(
    "cell",
    [
        "['sea' 'rain']",
        "[sea, rain]",
        '["sea"',
        '{"sea": 1}',
        "sea; rain, wind",
        'sea, "rain',
        "sea\nrain",
        None,
        math.nan,
        0.5,
        ["sea", None],
        ["sea", ["rain"]],
        [0.5],
        ["\u200b"],
    ],
)
def test_cells_that_are_refused(cell):
    # kills: numpy's list read as one word, half of what was meant, a label that nobody can see
    with pytest.raises(TextError):
        NameCells().names(cell)


@pytest.mark.parametrize(
    ("separator", "cell", "names"),
    [
        ("|", "sea|rain, wind; snow", ["sea", "rain, wind; snow"]),
        (" | ", "sea | rain", ["sea", "rain"]),
        (";", "Lisbon, Portugal;Rome", ["Lisbon, Portugal", "Rome"]),
        (",", "a;b, c", ["a;b", "c"]),
        ("/", "sea/rain", ["sea", "rain"]),
        ("::", "sea::rain", ["sea", "rain"]),
        ("\\t", "sea\train", ["sea", "rain"]),
        ("\\n", "sea\nrain", ["sea", "rain"]),
        (" ", "sea rain", ["sea", "rain"]),
        ("|", '["sea", "rain|wind"]', ["sea", "rain|wind"]),
        ("、", "바다、비", ["바다", "비"]),
    ],
)
def test_a_separator_that_is_said(separator, cell, names):
    # kills: a separator of which only the first sign counts, one beside those that are guessed
    assert NameCells(separator).names(cell) == names


def test_a_column_is_parted_alike():
    # kills: a column of which some cells are split at what is part of a name in others
    cells = NameCells()
    assert cells.names("Rome;Bari") == ["Rome", "Bari"]
    with pytest.raises(TextError, match="at semicolons and 'Lisbon, Portugal' at commas"):
        cells.names("Lisbon, Portugal")
    with pytest.raises(SettingError, match="parts no labels"):
        NameCells("")


@pytest.mark.parametrize(
    ("column", "mark"),
    [
        (["sea|rain", "sun"], "|"),
        (["sea/rain", "rain/sun", "sun", "sea"], "/"),
        (["sea#rain", "rain#sun"], "#"),
        (["바다、비"], "、"),
        (["sea\train", "sun"], "\t"),
        (["sea;rain", "sun"], None),
        (["sea, rain", "sun"], None),
        (["TCP/IP", "mail", "web"], None),
        (["sea", "C#"], None),
        ([["sea|rain"], ["sun"]], None),
    ],
)
def test_cells_that_look_parted_otherwise(column, mark):
    # kills: a file of strange labels without a word; a word about each name that holds a slash
    cells = NameCells()
    for cell in column:
        cells.names(cell)
    caution = cells.caution()
    assert (caution is None) == (mark is None) and (mark is None or repr(mark) in caution)
    assert cells.caution() is None  # said once
    if mark:
        said = NameCells(mark)
        assert [said.names(cell) for cell in column] and said.caution() is None


def test_names_that_may_be_none():
    # kills: a class of all rows without label, or a warning for every place with its country
    told = list(cautions(["sea", "NA", "nan", "none", "Rome, Italy", "Bari, Italy"], "x"))
    assert [sentence.split("'")[1] for sentence in told] == ["NA", "nan"]
    assert "';'" in next(cautions(["sea;rain", "rain;sun", "sea;sun"], "x"))
    assert seems_parted_at(["sport/football", "sport/tennis", "news/world"], "/") is None


@pytest.mark.parametrize(
    "names",
    [
        ["Portland, OR", "Portland, ME", "Salem, ME", "Salem, OR"],
        ["km/h", "m/s", "m/h", "km/s"],
        ["2020/01/02", "2021/02/01", "2020/02/02", "2021/01/01"],
        ["1/2", "2/1", "1", "2"],
        ["very good, cheap", "very good, dear", "bad, cheap", "bad, dear"],
        [],
    ],
)
def test_names_of_parts_that_are_one(names):
    # kills: a word about ordinary names whose parts each have their place, such as a town and its state
    assert seems_parted_at(names, ",/#") is None


@pytest.mark.parametrize(
    ("names", "mark"),
    [
        (["sea, rain", "rain, sun", "sun, sea"], ","),
        (["Action/Drama", "Action/Crime", "Crime/Drama"], "/"),
        (["Action, Drama", "Action", "Drama"], ","),
        (["#happy #sad", "#happy", "#sad"], "#"),
    ],
)
def test_names_that_are_several(names, mark):
    # kills: rows with several labels learned as classes of their own, without a word
    assert seems_parted_at(names, ",/#") == mark


@given(st.lists(TEXTS))
def test_a_list_that_python_or_json_wrote_is_read_back(names):
    # kills: a quote, a comma or an escape inside a name that ends it
    assert list_in(json.dumps(names)) == names
    assert list_in(repr(names)) == names or not names


@given(st.lists(TEXTS.map(str.strip).filter(bool), min_size=2), st.sampled_from(";,|"))
def test_names_in_quotes_are_read_back(names, mark):
    # kills: a name that holds the separator, in quotes, cut in two
    line = mark.join('"' + name.replace('"', '""') + '"' for name in names)
    if "\0" not in line and next(csv.reader(io.StringIO(line, newline=""), delimiter=mark)) == names:
        assert parts_of(line, mark) == (names, mark)


def test_numbers_written_otherwise_are_one():
    # kills: a zero with a sign as a class of its own, and a fraction cut to a whole number
    assert by_number(["-0.0", "+0", "0", "7.00", "-7.", "007.0"]) == {
        "-0.0": "0",
        "+0": "0",
        "0": "0",
        "7.00": "7",
        "-7.": "-7",
        "007.0": "007",
    }
    assert by_number(["0", "1.5"]) == by_number(["0", "sea"]) == by_number(["1", "1e3"]) == {}
