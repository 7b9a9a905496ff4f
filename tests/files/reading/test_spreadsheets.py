"""Workbooks as people keep them: a sheet read as the CSV that it could be saved as, or refused as too much."""

import contextlib
import datetime
import gzip
import io
import sys
import types
import zipfile

import openpyxl
import pytest

from sijo.errors import SettingError, SijoWarning, TextError
from sijo.files.inputs.sources import TextReading
from sijo.files.records import records
from sijo.files.tables import TextTable

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"


def workbook(path, rows, *, title="Sheet", merged=(), more=()):
    """An .xlsx whose first sheet has these rows, beside other sheets by name."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    for cells in merged:
        sheet.merge_cells(cells)
    for name, others in more:
        other = book.create_sheet(name)
        for row in others:
            other.append(row)
    book.save(path)
    return path


def by_hand(path, rows, *, strings=(), prefix="", before=""):
    """An .xlsx of one sheet in the fewest words, so that anything can stand in it."""
    x = f"{prefix}:" if prefix else ""
    space = f'xmlns:{prefix}="{MAIN}"' if prefix else f'xmlns="{MAIN}"'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml", f'<Types xmlns="{LINKS.replace("relationships", "content-types")}"/>'
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"{before}<{x}worksheet {space}><{x}sheetData>{rows}</{x}sheetData></{x}worksheet>",
        )
        archive.writestr(
            "xl/sharedStrings.xml",
            f'<sst xmlns="{MAIN}">' + "".join(f"<si><t>{text}</t></si>" for text in strings) + "</sst>",
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="1" sheetId="1" r:id="a"/></sheets>'
            "</workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{LINKS}">'
            f'<Relationship Id="a" Type="{OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="b" Type="{OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        )
    return path


def read(path, **how):
    """Every row, as a dictionary."""
    return [row for block in TextTable(path, **how).blocks() for row in block.columns.to_pylist()]


def test_cells_are_what_a_csv_would_have(tmp_path):
    # catches 1.0 for 1, dates as numbers of days, booleans as numbers, and None as a word
    path = workbook(
        tmp_path / "문의.xlsx",
        [
            ["번호", "text", "날짜", "값", "맞음"],
            [1, "배송이 늦어요", datetime.date(2024, 1, 31), 3.5, True],
            [2, "two\nlines", datetime.datetime(2024, 1, 31, 10, 5), 1e20, False],
            [3, "007", datetime.time(9, 30), -0.25, None],
            [None, " 공백 ", None, 123456789012345, "=1+1"],
        ],
    )
    with pytest.warns(SijoWarning, match="1 formulas whose values were never saved"):
        rows = read(path)
    assert [list(row.values()) for row in rows] == [
        ["1", "배송이 늦어요", "2024-01-31", "3.5", "TRUE"],
        ["2", "two\nlines", "2024-01-31T10:05:00", "1e+20", "FALSE"],
        ["3", "007", "09:30:00", "-0.25", ""],
        ["", " 공백 ", "", "123456789012345", ""],
    ]
    block = next(TextTable(path, column="값").blocks())
    assert (block.kind, block.values("번호")) == ("csv", ["1", "2", "3", ""])


def test_a_formula_is_the_value_that_was_saved(tmp_path):
    # catches the formula's words as a text
    path = workbook(tmp_path / "a.xlsx", [["text"], ["=A9"]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    changed = parts[name].replace(b'r="A2"', b'r="A2" t="str"').replace(b"<v />", b"<v>the sea</v>")
    changed = changed.replace(b"<v></v>", b"<v>the sea</v>").replace(b"<v/>", b"<v>the sea</v>")
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in (parts | {name: changed}).items():
            archive.writestr(part, content)
    assert read(path) == [{"text": "the sea"}]


@pytest.mark.parametrize(
    "rows, header",
    [
        ([["2024년 고객 문의 목록"], [], ["번호", "문의\n내용", "분류"], [1, "환불해 주세요", "환불"]], 3),
        ([["작성: 홍길동"], ["번호", "문의 내용", "분류"], [1, "환불해 주세요", "환불"]], 2),
        ([[], [None, "문의 내용", "분류"], [0, "환불해 주세요", "환불"]], 2),
        ([["번호", "문의 내용", "분류"], [1, "환불해 주세요", None], [], [2, "늦어요", "배송"]], 1),
    ],
)
def test_the_header_is_found_below_titles(tmp_path, rows, header, recwarn):
    # catches a title, or a blank row, that names the columns
    path = workbook(tmp_path / "a.xlsx", rows)
    table = TextTable(path, column="문의 내용")
    assert "문의 내용" in table.columns and "분류" in table.columns
    assert next(table.blocks()).texts[0] == "환불해 주세요"
    told = [str(warning.message) for warning in recwarn]
    assert any(f"row {header} is taken" in message for message in told) == (len(rows[0]) == 1)


def test_the_header_is_found_without_a_named_column(tmp_path):
    # catches a header that is found by its text's name alone
    path = workbook(tmp_path / "a.xlsx", [["2024년 문의"], [], ["text", "분류"], ["늦어요", "배송"]])
    with pytest.warns(SijoWarning, match="row 3 is taken for the header"):
        assert read(path) == [{"text": "늦어요", "분류": "배송"}]


def test_merged_cells_give_each_row_their_value(tmp_path):
    # catches categories that only the first of their rows has; and heads of two rows
    rows = [
        ["분류", "내용", None],
        [None, "text", "답변"],
        ["배송", "늦어요", "확인 중"],
        [None, "안 와요", "발송"],
        [None, "파손", None],
        ["환불", "언제 되나요", "3일"],
    ]
    path = workbook(tmp_path / "a.xlsx", rows, merged=["A1:A2", "B1:C1", "A3:A5"])
    with pytest.warns(SijoWarning, match="row 2 is taken"):
        assert [(row["분류"], row["text"]) for row in read(path)] == [
            ("배송", "늦어요"),
            ("배송", "안 와요"),
            ("배송", "파손"),
            ("환불", "언제 되나요"),
        ]


def test_columns_without_a_name_are_kept_where_they_hold_something(tmp_path):
    # catches columns that only look empty, which become thousands, and notes beside a table that are lost
    rows = [["text", None, None, "분류", None, None], ["one", "note", None, "a", None, None]]
    path = workbook(tmp_path / "a.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.active["F2"].font = openpyxl.styles.Font(bold=True)
    book.save(path)
    assert read(path) == [{"text": "one", "column_2": "note", "분류": "a"}]


@pytest.mark.parametrize("which, text", [(None, "first"), ("둘째", "second"), ("2", "second"), ("둘째 ", "second")])
def test_a_sheet_is_named_or_numbered(tmp_path, which, text):
    # catches a name in the other of Unicode's forms, and numbers that count from 0
    import unicodedata

    more = [(unicodedata.normalize("NFD", "둘째"), [["text"], ["second"]])]
    path = workbook(tmp_path / "a.xlsx", [["text"], ["first"]], title="첫째", more=more)
    book = openpyxl.load_workbook(path)
    if which is None:
        with pytest.warns(SijoWarning, match="2 sheets, and '첫째' is read; --sheet names another"):
            assert read(path) == [{"text": text}]
        book.worksheets[0].sheet_state = "hidden"
        book.active = 1
        book.save(path)
        text = "second"
    assert read(path, sheet=which) == [{"text": text}]
    with pytest.raises(SettingError, match=r"no sheet '셋째'.* Sheets: 첫째"):
        TextTable(path, sheet="셋째")


def test_only_a_workbook_has_sheets(tmp_path):
    # catches an option that is ignored
    (tmp_path / "a.csv").write_text("text\none\n")
    with pytest.raises(SettingError, match="csv, which has no sheets; leave --sheet out"):
        TextTable(tmp_path / "a.csv", sheet="1")


def test_a_workbook_from_a_pipe(tmp_path, monkeypatch):
    # catches a zip that is read as text
    content = workbook(tmp_path / "a.xlsx", [["text"], ["one"]]).read_bytes()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    table = TextTable("-")
    assert (table.kind, next(table.blocks()).texts) == ("xlsx", ["one"])


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    # catches a stack trace
    path = workbook(tmp_path / "a.xlsx", [["text"], ["one"]])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(SettingError, match=r"python-calamine, which is not installed: pip install 'sijo\[xlsx\]'"):
        TextTable(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"PK\x03\x04 nonsense", r"no \.xlsx, or is damaged"),
        (b"text\none\n", r"no \.xlsx, or is damaged"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "protected by a password, or is the older"),
    ],
)
def test_what_is_no_workbook_is_told(tmp_path, content, message):
    # catches an error of the zip module's
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(TextError, match=message):
        TextTable(tmp_path / "a.xlsx")


def test_every_byte_that_is_cut_or_changed_is_told(tmp_path):
    # catches a damaged part that gives other cells, or an error that nobody names
    content = workbook(tmp_path / "a.xlsx", [["text", "id"], ["one", 1]]).read_bytes()
    for at in range(0, len(content), 97):
        for changed in (content[:at], content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]):
            (tmp_path / "b.xlsx").write_bytes(changed)
            with contextlib.suppress(SettingError, TextError):
                assert read(tmp_path / "b.xlsx") == [{"text": "one", "id": "1"}]


CORNERS = '<{0}row r="1"><{0}c r="A1"><{0}v>1</{0}v></{0}c></{0}row>'
FAR = '<{0}row r="{1}"><{0}c r="{2}{1}"><{0}v>2</{0}v></{0}c></{0}row>'
CELL = '<row><c t="s"><v>0</v></c></row>'


@pytest.mark.parametrize(
    "rows, how",
    [
        ((CORNERS + FAR).format("", 1048576, "XFD"), {}),
        ((CORNERS + FAR).format("x:", 1048576, "XFD"), {"prefix": "x"}),
        ((CORNERS + FAR).format("", 9999999, "ZZZ"), {}),
        (CELL * 5000, {"strings": ["a" * 30_000]}),
        ('<row><c t="s"><v xml:space="preserve">\n0</v></c></row>' * 5000, {"strings": ["a" * 30_000]}),
        ('<row><c t="inlineStr"><is><t>' + "a" * 30_000_000 + "</t></is></c></row>", {}),
        ("<row>" + '<c s="1"/>' * 220_000 + "</row>", {}),
        (CELL, {"before": '<!DOCTYPE a [<!ENTITY b "c">]>'}),
    ],
)
def test_a_workbook_that_takes_too_much_is_refused_before_it_is_read(tmp_path, rows, how, monkeypatch):
    # catches 1 kB of cells in two corners, which take 500 GB, and cells that share a long string
    path = by_hand(tmp_path / "a.xlsx", rows, **how)
    monkeypatch.setattr("python_calamine.load_workbook", lambda stream: pytest.fail("it was read"))
    with pytest.raises(TextError, match=r"would take more than 20,000,000 bytes|declares a document type"):
        TextTable(path, longest_row=2_000_000)


def test_a_size_that_is_not_true_is_refused(tmp_path):
    # catches a part that says it is small, and is unpacked to its end
    path = by_hand(tmp_path / "a.xlsx", "<row>" + "<c><v>1</v></c>" * 1000 + "</row>")
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    changed = content.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert changed != content
    path.write_bytes(changed)
    with pytest.raises(TextError, match=r"no \.xlsx, or is damaged"):
        TextTable(path)


def test_rows_are_counted_as_the_spreadsheet_counts_them(tmp_path):
    # catches numbers of rows that leave out titles and blank rows
    path = workbook(tmp_path / "a.xlsx", [["text"], ["one"], [], ["two"]])
    book = openpyxl.load_workbook(path)
    book.active["A5"] = "a\0b".replace("\0", "")
    book.save(path)
    from sijo.files.reading.spreadsheets import Sheet

    with path.open("rb") as stream:
        where = [place.rpartition(", ")[2] for place, _ in Sheet(stream, "a", which=None, column=None).rows()]
    assert where == ["row 2", "row 4", "row 5"]


def test_a_workbook_is_labelled_rows_too(tmp_path):
    # kills: a format that one command reads and another refuses, a packed workbook that is taken for text
    rows = [["민원", "분류"], ["가로등이 꺼졌어요", "도로"], ["수돗물에서 냄새가 나요", "수도"]]
    path = workbook(tmp_path / "민원.xlsx", rows)
    packed = tmp_path / "packed.xlsx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        read = [*records(file)]
        assert [record for _, record in read] == [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        assert read[0][0] == f"{file}, sheet 'Sheet', row 2"
    with pytest.raises(SettingError, match="no delimiter"):
        [*records(path, TextReading(delimiter=";"))]
