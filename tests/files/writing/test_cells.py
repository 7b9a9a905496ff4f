"""What a spreadsheet may take for a formula. Each test names the fault it is to catch."""

import csv
import io

import pyarrow as pa
import pytest

from sijo.errors import SettingError
from sijo.files.row_writers import WRITERS, OutputRows, format_of, stream

FORMULAS = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠A1", "=", "=한글"]
HARMLESS = ["a=b", "1-1", " =1", "'=1", "", "한글", "·=1", "[-1]"]


def rows_of(pieces, format, *, safe):
    out = io.BytesIO()
    stream(pieces, format, out, spreadsheet_safe=safe)
    delimiter = {"csv": ",", "tsv": "\t"}[format]
    return list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""), delimiter=delimiter))


@pytest.mark.parametrize("format", ["csv", "tsv"])
def test_only_what_may_be_a_formula_is_escaped(format):
    # kills: a beginning that is forgotten; a text that is changed though it is harmless; escapes nobody asked for
    piece = OutputRows(pa.table({"=name": FORMULAS + HARMLESS}), pa.table({}), "csv")
    told = [row[0] for row in rows_of([piece], format, safe=True) if row]
    assert told == [f"'{text}" for text in ("=name", *FORMULAS)] + HARMLESS
    assert [row[0] for row in rows_of([piece], format, safe=False) if row] == ["=name", *FORMULAS, *HARMLESS]


def test_numbers_are_no_formulas():
    # kills: a score below 0, or a typed number of the input, that becomes a text
    columns = pa.table({"n": [-5], "x": [-0.5]})
    many = pa.array([[("=a", -0.5)]], pa.map_(pa.string(), pa.float64()))
    added = pa.table({"label": ["-none-"], "score": [-0.25], "scores": [[-1.5]], "label_scores": many})
    _, row = rows_of([OutputRows(columns, added, "parquet")], "csv", safe=True)
    assert row == ["-5", "-0.5", "'-none-", "-0.25", "[-1.5]", '{"=a": -0.5}']
    raw = pa.table({"record": ['{"a": -5, "b": "-5"}']})
    assert rows_of([OutputRows(raw, pa.table({"score": [0.5]}), "jsonl")], "csv", safe=True)[1] == [
        "-5",
        "'-5",
        "0.5",
    ]


@pytest.mark.parametrize(
    "end, fits", [("csv", True), ("tsv", True), ("xlsx", True), ("jsonl", False), ("pq", False)]
)
def test_what_no_spreadsheet_takes_for_formulas_is_refused(end, fits):
    # kills: an option that does nothing without a word
    if fits:
        assert format_of(f"a.{end}", spreadsheet_safe=True) in WRITERS
        return
    with pytest.raises(SettingError, match="--spreadsheet-safe"):
        format_of(f"a.{end}", spreadsheet_safe=True)
