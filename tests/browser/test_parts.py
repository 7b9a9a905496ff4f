"""The page's parts that know nothing of a page, run in the browser beside Python's own."""

import base64
import csv
import io
import random

import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

CALL = "async ([file, name, values]) => (await import(`./page/${file}.js`))[name](...values)"
WORDS = [
    "sea",
    "배송",
    'say "hi"',
    "a,b",
    "two\nlines",
    "three\r\nlines",
    "",
    " blank ",
    "=1+1",
    "🎉",
    "'",
    ";",
    "\t",
]


@pytest.fixture(scope="module")
def call(chromium, address):
    """`call(file, function, values…)`: what a function of the page's answers."""
    page = chromium.new_page()
    page.goto(address)
    page.locator("html[data-ready]").wait_for()
    yield lambda file, name, *values: page.evaluate(CALL, [file, name, list(values)])
    page.close()


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv_is_read_as_python_reads_it(call, delimiter):
    """kills: a doubled quote, a quoted delimiter or line end, an empty last cell, a last line without an end."""
    chance = random.Random(7)
    for _ in range(40):
        rows = [[chance.choice(WORDS) for _ in range(3)] for _ in range(chance.randrange(1, 8))]
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator=chance.choice(["\n", "\r\n"])).writerows(rows)
        text = out.getvalue()
        if chance.random() < 0.3:
            text = text.rstrip("\r\n")
        assert call("tables", "parseDelimited", text, delimiter) == list(
            csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        )


def test_csv_is_written_so_that_python_reads_it(call):
    """kills: a cell with a quote, delimiter or line end that is written as it is."""
    rows = [[word, "x"] for word in WORDS if word not in ("=1+1", "\t")]
    text = call("tables", "writeCsv", ["a", "b"], rows)
    assert list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))) == [["a", "b"], *rows]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("배송 문의".encode(), "utf-8"),
        ("\ufeff배송".encode(), "utf-8"),
        ("배송 문의, 똠방각하".encode("cp949"), "euc-kr"),
        ("\ufeff배송".encode("utf-16-le"), "utf-16le"),
        ("\ufeff배송".encode("utf-16-be"), "utf-16be"),
    ],
)
def test_encodings_are_known_by_their_bytes(call, content, encoding):
    """kills: a byte order mark that stays in the text; CP949 beyond EUC-KR; the two orders of UTF-16 swapped."""
    own = (
        "async (bytes) => (await import('./page/tables.js'))"
        ".decode(Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0)))"
    )
    read = call.__closure__[0].cell_contents.evaluate(own, base64.b64encode(content).decode())
    codec = {"euc-kr": "cp949"}.get(encoding, encoding)
    assert read == {"text": content.decode(codec).removeprefix("\ufeff"), "encoding": encoding}


@pytest.mark.parametrize(
    ("text", "name", "format"),
    [
        ("a\tb\nc\td", "", "tsv"),
        ("a, b\nc, d", "", "lines"),
        ('{"text": 1}\n{"text": 2}', "", "jsonl"),
        ("a\nb", "x.CSV", "csv"),
        ("a\tb\nno tab", "", "lines"),
        ("x", "x.ndjson", "jsonl"),
        ("{not json}", "x.txt", "lines"),
    ],
)
def test_formats_are_guessed(call, text, name, format):
    """kills: sentences with commas taken for CSV; cells of a spreadsheet taken for lines."""
    assert call("tables", "formatOf", text, name) == format


def test_tables_of_json_have_all_columns(call):
    """kills: a column that the first line lacks; null as the word; a nested value that becomes [object Object]."""
    table = call(
        "tables", "parseTable", '{"a": 1, "text": null}\n"alone"\n{"b": ["x", "y"], "c": {"d": true}}', "jsonl"
    )
    assert table == {
        "columns": ["a", "text", "b", "c"],
        "rows": [["1", "", "", ""], ["", "alone", "", ""], ["", "", "x|y", '{"d":true}']],
    }


def test_semicolons_divide_where_they_do(call):
    """kills: a decimal comma taken for the delimiter; the line sep=; read as a row."""
    table = call("tables", "parseTable", "text;n;text\nhallo, du;1,5;x\nja;2,5;y\n", "csv")
    assert table == {"columns": ["text", "n", "text (2)"], "rows": [["hallo, du", "1,5", "x"], ["ja", "2,5", "y"]]}
    assert call("tables", "parseTable", "sep=|\na|b\nc|d", "csv")["columns"] == ["a", "b"]


def test_measures_are_those_of_scikit_learn(call):
    """kills: a wrong mean, on sixty random tables; recall for precision; labels of the truth alone left out."""
    chance = random.Random(3)
    for _ in range(60):
        names = "abcdef"[: chance.randrange(2, 6)]
        right = [chance.choice(names) for _ in range(chance.randrange(1, 40))]
        given = [chance.choice(names[:-1]) for _ in right]
        found = call(
            "measures", "measured", [[[one], [two]] for one, two in zip(right, given, strict=True)], list(names[:2])
        )
        assert found["accuracy"]["share"] == pytest.approx(accuracy_score(right, given))
        assert found["accuracy"]["low"] <= found["accuracy"]["share"] <= found["accuracy"]["high"]
        assert found["macroF1"] == pytest.approx(f1_score(right, given, average="macro", zero_division=0))
        keys = [label["key"] for label in found["labels"]]
        precision, recall, _, rows = precision_recall_fscore_support(right, given, labels=keys, zero_division=0)
        assert [label["precision"] or 0 for label in found["labels"]] == pytest.approx(list(precision))
        assert [label["recall"] or 0 for label in found["labels"]] == pytest.approx(list(recall))
        assert [label["right"] for label in found["labels"]] == list(rows)
