"""Several files as one table: every row once, in order, and from where; what does not go together is refused."""

import json
import unicodedata

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sijo.errors import SettingError, SijoWarning, TextError
from sijo.files import limits
from sijo.files.inputs.joined_tables import JoinedTables, open_tables
from sijo.files.tables import TextTable
from sijo.names import column_named


def columns(table, **how):
    return pa.concat_tables([block.columns for block in table.blocks(**how)]).to_pydict()


def test_rows_stand_in_the_order_of_the_files_with_their_names(write, tmp_path, monkeypatch):
    # catches a column by its place, a file's rows under another's name, and a pattern in the order of the disk
    monkeypatch.chdir(tmp_path)
    write("b.csv", "text,id\nthree,3\n")
    write("a.csv", "id,text\n1,one\n2,two\n")
    write("c.tsv", "ID\tTEXT\n4\tfour\n")
    want = {"id": ["1", "2", "3"], "text": ["one", "two", "three"], "file": ["a.csv", "a.csv", "b.csv"]}
    assert columns(open_tables(["*.csv"])) == want
    table = open_tables(["b.csv", "*.csv", "c.tsv"])  # each once, where it is named first
    assert columns(table)["file"] == ["b.csv", "a.csv", "a.csv", "c.tsv"]
    assert columns(table)["id"] == ["3", "1", "2", "4"]
    assert table.share() == 1
    assert table.first_block(2).columns["file"].to_pylist() == ["b.csv", "a.csv"]
    assert isinstance(open_tables(["a.csv"]), TextTable)
    assert isinstance(open_tables(["a.c*"]), JoinedTables)


def test_columns_that_not_all_have_are_left_out_and_told(write):
    # catches a column of nulls made up, and one lost in silence
    files = [str(write("a.csv", "text,n,x\none,1,2\n")), str(write("b.csv", "n,text,y\n3,two,4\n"))]
    with pytest.warns(SijoWarning, match=r"left out: 'x' of .*a\.csv, 'y' of .*b\.csv"):
        table = open_tables(files)
    assert columns(table) == {"text": ["one", "two"], "n": ["1", "3"], "file": files}


def test_json_objects_stay_to_the_letter(write):
    # catches digits, escapes and keys changed on the way, and a key of that name lost
    a, b = write("a.jsonl", '{"text": "one", "n": 1.10}\n'), write("b.jsonl", '{"text":"tw\\u006f"}\n')
    assert columns(open_tables([a, b]))["record"] == [
        f'{{"file": "{a}", "text": "one", "n": 1.10}}',
        f'{{"file": "{b}", "text":"tw\\u006f"}}',
    ]
    later = write("c.jsonl", '{"text": "x"}\n{"text": "y", "file": "own"}\n')
    with pytest.raises(TextError, match=r"has a key 'file'.*rename"):
        columns(open_tables([a, later]))
    taken = open_tables([a, write("d.jsonl", '{"text": "x", "file": "own"}\n')])
    assert json.loads(columns(taken)["record"][1]) == {"source_file": taken._names[1], "text": "x", "file": "own"}


@pytest.mark.parametrize(
    "files, words",
    [
        ({"a.csv": "text\none\n", "b.jsonl": '{"text": "two"}\n'}, "a.csv is csv and .*b.jsonl is jsonl"),
        ({"a.csv": "text\none\n", "b.csv": "review\ntwo\n"}, "b.csv has no column 'text'"),
        ({"a.csv": "text,file,source_file\n1,2,3\n", "b.csv": "text,file,source_file\n1,2,3\n"}, "rename one"),
        ({"a.csv": "text\none\n", "-": None}, "standard input .* stands beside other files"),
        ({"a.csv": "text\none\n", "*.tsv": None}, r"no file fits the pattern '.*\*\.tsv'"),
        ({"a.csv": "text\none\n", "b.csv": None}, "no file '.*b.csv'"),
    ],
)
def test_files_that_do_not_go_together(write, tmp_path, files, words):
    # catches rows of another table under the wrong columns, and a file that is not there passed over
    for name, content in files.items():
        if content is not None:
            write(name, content)
    with pytest.raises(SettingError, match=words):
        open_tables([name if name == "-" else str(tmp_path / name) for name in files])


def test_one_type_a_column(tmp_path):
    # catches numbers and strings in one column, which fails after an hour's work
    for name, numbers in {"a": [1], "b": ["1"], "c": [2]}.items():
        pq.write_table(pa.table({"text": [name], "n": numbers}), tmp_path / f"{name}.parquet")
    with pytest.raises(SettingError, match=r"column 'n' is int64 in .*a\.parquet and string in .*b\.parquet"):
        open_tables([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert columns(open_tables([tmp_path / "a.parquet", tmp_path / "c.parquet"]))["n"] == [1, 2]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 7), st.integers(1, 30))
def test_blocks_hold_every_row_once(tmp_path, lengths, rows, characters):
    # catches a row lost or doubled where a file ends inside a block, and a block beyond its bounds
    number, files = 0, []
    for place, length in enumerate(lengths):
        lines = [f"{number + row}" for row in range(length)]
        number += length
        (tmp_path / f"{place}.csv").write_text("text\n" + "\n".join(lines) + "\n")
        files.append(tmp_path / f"{place}.csv")
    blocks = list(open_tables(files).blocks(rows=rows, characters=characters))
    assert [text for block in blocks for text in block.texts] == [str(row) for row in range(number)]
    assert [block.number for block in blocks] == [*range(len(blocks))]
    assert [block.first_row for block in blocks] == [
        sum(len(block.texts) for block in blocks[:place]) for place in range(len(blocks))
    ]
    assert max(len(block.texts) for block in blocks) <= rows
    assert all(sum(map(len, block.texts[:-1])) < characters for block in blocks)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_blocks_of_many_files_are_bounded_by_bytes(tmp_path, monkeypatch, suffix):
    # catches short texts beside documents, of which a block of two thousand files takes gigabytes
    monkeypatch.setattr(limits, "BLOCK_BYTES", 100_000)
    document, files = "바다 " * 5_000, []
    for number in range(24):
        files.append(tmp_path / f"{number}.{suffix}")
        row = {"text": str(number), "document": document}
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), files[-1])
        elif suffix == "csv":
            files[-1].write_text("text,document\n" + ",".join(row.values()) + "\n", encoding="utf-8")
        else:
            files[-1].write_text(json.dumps(row), encoding="utf-8")
    table = open_tables(files)
    blocks = list(table.blocks())
    assert [text for block in blocks for text in block.texts] == [str(number) for number in range(24)]
    assert max(len(block.texts) for block in blocks) <= 8
    assert len(table.first_block(24).texts) <= 8
    assert len(open_tables(files[:2]).first_block(24).texts) == 2


def test_workbooks_and_arrays_are_one_table_too(tmp_path):
    # catches a format that is read alone and not beside others, and a sheet that one of the files has not
    for name, texts in {"1월": ["눈이 왔다", "추웠다"], "2월": ["비가 왔다"]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps([{"text": text} for text in texts]), encoding="utf-8")
        book = openpyxl.Workbook()
        book.active.append(["text"])
        for title in ("민원", "칭찬"):
            sheet = book.create_sheet(title)
            for row in ("text", *(f"{title}: {text}" for text in texts)):
                sheet.append([row])
        del book["Sheet"]
        book.save(tmp_path / f"{name}.xlsx")
    got = columns(open_tables([tmp_path / "*.json"]))["record"]
    assert [json.loads(record)["text"] for record in got] == ["눈이 왔다", "추웠다", "비가 왔다"]
    table = open_tables([tmp_path / "*.xlsx"], sheet="칭찬")
    assert columns(table) == {
        "text": ["칭찬: 눈이 왔다", "칭찬: 추웠다", "칭찬: 비가 왔다"],
        "file": [str(tmp_path / "1월.xlsx")] * 2 + [str(tmp_path / "2월.xlsx")],
    }
    assert table.share() == 1
    book = openpyxl.load_workbook(tmp_path / "2월.xlsx")
    del book["칭찬"]
    book.save(tmp_path / "2월.xlsx")
    with pytest.raises(SettingError, match=r"2월\.xlsx has no sheet '칭찬'.* Sheets: 민원"):
        open_tables([tmp_path / "*.xlsx"], sheet="칭찬")
    with pytest.raises(SettingError, match=r"json is read as json, which has no sheets"):
        open_tables([tmp_path / "*.json"], sheet="칭찬")
    with pytest.raises(SettingError, match=r"1월\.xlsx is xlsx and .*1월\.json is json; give files of one kind"):
        open_tables([tmp_path / "1월.xlsx", tmp_path / "1월.json"])


def test_what_the_files_hold_is_part_of_a_run(write):
    # catches a changed, added or moved file that a resumed run would not see
    a, b = str(write("a.csv", "text\none\n")), str(write("b.csv", "text\ntwo\n"))
    before = open_tables([a, b]).settings
    assert open_tables([a, b]).settings == before
    assert list(open_tables([b, a]).settings) != list(before)
    write("b.csv", "text\ntwo!\n")
    after = open_tables([a, b]).settings
    assert {name for name in before if before[name] != after[name]} == {f"file {b}"}


# --- which column -------------------------------------------------------------------------------------------


def test_a_column_is_found_whatever_its_case_and_form(write):
    # catches a name that looks as it was typed and is not found: files of Macs have letters apart
    apart = unicodedata.normalize("NFD", "후기")
    for header, asked in {
        "Text": "text",
        "text": "TEXT",
        apart: "후기",
        "후기": apart,
        "STRASSE": "straße",
    }.items():
        assert column_named(asked, ["id", header]) == header
        table = TextTable(write("a.csv", f"id,{header}\n1,비가 왔다\n"), column=asked)
        assert [block.values(asked) for block in table.blocks()] == [["비가 왔다"]]
        [block] = TextTable(write("a.jsonl", json.dumps({"id": "1", header: "x"})), column=asked).blocks()
        assert block.values(asked) == ["x"]
    assert TextTable(write("a.csv", "id,Text\n1,x\n")).column == "Text"


def test_the_exact_name_wins_and_two_others_are_refused(write):
    # catches the first of two columns taken in silence
    assert column_named("text", ["Text", "text"]) == "text"
    with pytest.raises(SettingError, match="the column 'text' may be 'Text' or 'TEXT'; write it as it stands"):
        TextTable(write("a.csv", "Text,TEXT\n1,2\n"), column="text")
    with pytest.raises(SettingError, match=r"the column '후기a' may be '후기A' or '.*'; write"):
        column_named("후기a", ["후기A", unicodedata.normalize("NFD", "후기a")])


def test_an_output_is_no_input_by_whichever_name(write, tmp_path, monkeypatch):
    # kills: an input written over because it was named by another path, or through a link
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        write(name, "text\none\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to("a.csv")
    for output in ("folder/../a.csv", "link.csv", tmp_path / "b.csv"):
        with pytest.raises(SettingError, match="is also one of the 2 inputs"):
            open_tables(["a.csv", "b.csv"], output=output)
