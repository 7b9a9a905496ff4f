"""A sheet of Excel's, as its XML and as another reader sees it. Each test names the fault it is to catch."""

import gc
import io
import re
import sys
import zipfile

import openpyxl
import pyarrow as pa
import pytest

from sijo.errors import SettingError
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, format_of, must_fit
from sijo.files.writing import workbook

HOSTILE = [
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "{=SUM(A1)}",
    "+82-10-1234-5678",
    "-1",
    "@SUM(1)",
    "\t=1",
    "＝1+1",
    "http://example.invalid/a",
    "mailto:a@b.invalid",
    "internal:Sheet1!A1",
    "<r><t>x</t></r>",
    "<r>& </r>",
    "<r>",
    "1",
    "007",
    "1e5",
    "TRUE",
    "2024-01-31",
    " padded ",
    "한글 🌊",
    "]]>&amp;",
]


def made(columns, **how):
    """A workbook's bytes."""
    table = pa.table(columns)
    piece = OutputRows(table, pa.table({"score": [0.5] * table.num_rows}), "csv")
    out = io.BytesIO()
    writer = WRITERS["xlsx"](out, ColumnPlan.of([piece]), **how)
    writer.write(piece)
    writer.close()
    return out


def sheet_of(out):
    return zipfile.ZipFile(out).read("xl/worksheets/sheet1.xml").decode()


@pytest.mark.parametrize("safe", [False, True])
def test_texts_stay_texts(safe):
    # kills: a formula, a link, markup of XlsxWriter's own, or a number made of a text, in the file itself
    out = made({"text": HOSTILE}, spreadsheet_safe=safe)
    xml = sheet_of(out)
    assert "<f>" not in xml and "hyperlink" not in xml
    assert not [name for name in zipfile.ZipFile(out).namelist() if "rels" in name and "worksheets" in name]
    cells = [row[0] for row in openpyxl.load_workbook(out).active.iter_rows(min_row=2)]
    assert [cell.value for cell in cells] == HOSTILE
    assert {cell.data_type for cell in cells} == {"s"}
    marked = [cell.value for cell in cells if cell.quotePrefix]
    assert marked == (HOSTILE[:2] + HOSTILE[3:8] if safe else [])


def test_control_characters_are_escaped_as_excel_has_it():
    # kills: a file that no reader opens; a text that looks like an escape, and would be taken for one
    xml = sheet_of(made({"text": ["a\x08b\x1f\ufffe", "_x0041_", "a\rb\nc\td"]}))
    told = re.findall(r"<t[^>]*>([^<]*)</t>", xml)[2:]
    assert told == ["a_x0008_b_x001F__xFFFE_", "_x005F_x0041_", "a_x000D_b\nc\td"]


def test_numbers_stay_numbers_as_long_as_excel_keeps_their_digits():
    # kills: an id that loses its last digits; NaN or infinity, of which Excel makes an error; a bool that is a text
    columns = {"n": [1, 2**53, -7], "x": [0.5, float("nan"), float("-inf")], "b": [True, False, None]}
    rows = list(openpyxl.load_workbook(made(columns)).active.iter_rows(min_row=2, values_only=True))
    assert rows == [(1, 0.5, True, 0.5), (str(2**53), "nan", False, 0.5), (-7, "-inf", None, 0.5)]


@pytest.mark.parametrize("text, fits", [("x" * 32_767, True), ("x" * 32_768, False), ("🌊" * 16_384, False)])
def test_a_text_that_no_cell_holds_is_refused(text, fits):
    # kills: a text cut without a word, as XlsxWriter does; one counted otherwise than by Excel
    if fits:
        assert openpyxl.load_workbook(made({"text": [text]})).active["A2"].value == text
        return
    for columns in ({"text": ["a", text]}, {"text": ["a", "b"], text: ["c", "d"]}):
        with pytest.raises(SettingError, match=r"(row 2|name of a column).*32,768 characters.*\.csv"):
            made(columns)


def test_more_rows_or_columns_than_a_sheet_has_are_refused(monkeypatch):
    # kills: rows left out without a word, as XlsxWriter does; a limit that forgets the header
    row = OutputRows(pa.table({"text": ["a"]}), pa.table({"score": [0.5]}), "csv")
    must_fit("xlsx", row, 1_048_574)
    with pytest.raises(SettingError, match="1,048,575"):
        must_fit("xlsx", row, 1_048_575)
    must_fit("parquet", row, 1_048_575)
    wide = OutputRows(pa.table({f"c{n}": ["a"] for n in range(16_385)}), pa.table({}), "csv")
    with pytest.raises(SettingError, match="16,385 columns"):
        must_fit("xlsx", wide, 0)
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    made({"text": ["a", "b"]})
    with pytest.raises(SettingError, match="more rows"):
        made({"text": ["a", "b", "c"]})
    writer = WRITERS["xlsx"](io.BytesIO(), ColumnPlan.of([row]))  # piece by piece
    writer.write(row)
    writer.write(row)
    with pytest.raises(SettingError, match="more rows"):
        writer.write(row)
    writer.close()


def test_the_same_rows_give_the_same_bytes(monkeypatch):
    # kills: the moment in the file's properties
    first = made({"text": HOSTILE}).getvalue()
    assert b">2000-01-01T00:00:00Z<" in zipfile.ZipFile(io.BytesIO(first)).read("docProps/core.xml")
    monkeypatch.setenv("TZ", "Asia/Seoul")
    assert made({"text": HOSTILE}).getvalue() == first


def test_what_a_person_sees():
    # kills: a header that scrolls away, a green corner in each cell of digits that is a text
    out = made({"text": ["007"]})
    assert openpyxl.load_workbook(out).active.freeze_panes == "A2"
    assert 'numberStoredAsText="1"' in sheet_of(out)


def test_a_sheet_of_more_than_4_gb_is_written(monkeypatch):
    # kills: a run of hours whose file cannot be put together
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    assert sheet_of(made({"text": HOSTILE})).count("<row") == len(HOSTILE) + 1


def test_rows_wait_beside_the_output(tmp_path, monkeypatch):
    # kills: gigabytes of rows in a small /tmp
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    (tmp_path / "run").mkdir()
    assert sheet_of(made({"text": ["a"]}, scratch=tmp_path / "run"))


@pytest.mark.parametrize("room", [0, 60, 2_000])
def test_a_full_disk_is_said_as_everywhere(tmp_path, monkeypatch, room):
    # kills: an error of the library's own, which ends with exit code 1; a second one, with a trace, when the
    # archive that could not be written is forgotten
    class Full(io.BytesIO):
        def write(self, raw):
            if self.tell() + len(raw) > room:
                raise OSError(28, "No space left on device")
            return super().write(raw)

    later = []
    monkeypatch.setattr(sys, "unraisablehook", later.append)
    piece = OutputRows(pa.table({"text": HOSTILE}), pa.table({"score": [0.5] * len(HOSTILE)}), "csv")
    out = Full()
    writer = WRITERS["xlsx"](out, ColumnPlan.of([piece]), scratch=tmp_path)
    writer.write(piece)
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    out.close()
    del writer
    gc.collect()
    assert not later


def test_what_is_not_installed_is_refused_before_anything_is_done(monkeypatch):
    # kills: a run of hours that ends where it is to be written
    monkeypatch.setattr("sijo.files.row_writers.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"sijo\[xlsx\]"):
        format_of("out.xlsx")
    assert format_of("out.csv") == "csv"
