"""Every column and value arrives, whatever the formats. Each test names the fault it is to catch."""

import csv
import datetime
import decimal
import io
import json
from functools import partial
from itertools import product

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sijo.errors import SettingError, TextError
from sijo.files.row_writers import WRITERS, ColumnPlan, OutputRows, added_names, format_of, stream
from sijo.files.tables import TextTable
from sijo.files.writing.cells import values

NASTY = ["007", 'a "quoted", field', "two\nlines", "a\rreturn", "네 🌊\u2028", " 1.10 ", "null", ""]

ROWS = [format for format in WRITERS if format != "npy"]
"""The formats that keep every column; tests/app/test_encode.py has the one of vectors alone."""


def answers(rows):
    return pa.table(
        {
            "label": pa.array([None, *["sea"] * (rows - 1)], pa.string()),
            "score": [0.1 + 0.2] * rows,
            "labels": [["a", "b"]] * rows,
            "label_scores": pa.array([[("a", 2 / 3)]] * rows, pa.map_(pa.string(), pa.float64())),
            "truncated": [True] * rows,
        }
    )


def written(pieces, format):
    out = io.BytesIO()
    writer = WRITERS[format](out, ColumnPlan.of(pieces))
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return out.getvalue()


def table_rows(raw, delimiter=","):
    """Rows of a CSV as another reader sees it."""
    return list(csv.DictReader(io.StringIO(raw.decode(), newline=""), strict=True, delimiter=delimiter))


def json_rows(raw):
    return [json.loads(line) for line in raw.decode().split("\n")[:-1]]


def parquet_rows(raw):
    return pq.read_table(io.BytesIO(raw)).to_pylist(maps_as_pydicts="strict")


def sheet_rows(raw):
    """Rows of a workbook as another reader sees it, which leaves the escapes of control characters as they are."""
    names, *rows = openpyxl.load_workbook(io.BytesIO(raw)).active.iter_rows(values_only=True)
    unescaped = [[cell.replace("_x000D_", "\r") if isinstance(cell, str) else cell for cell in row] for row in rows]
    return [dict(zip(names, row, strict=True)) for row in unescaped]


READERS = {
    "csv": table_rows,
    "tsv": partial(table_rows, delimiter="\t"),
    "jsonl": json_rows,
    "parquet": parquet_rows,
    "xlsx": sheet_rows,
}


def records(*objects, kind="jsonl"):
    raw = [each if isinstance(each, str) else json.dumps(each) for each in objects]
    return OutputRows(pa.table({"record": raw}), pa.table({"score": [0.5] * len(raw)}), kind)


def source(folder, kind):
    path = folder / {"text": "in.txt"}.get(kind, f"in.{kind}")
    rows = [{"id": f"{place:03}", "text": text} for place, text in enumerate(NASTY)]
    if kind == "text":
        rows = [{"text": text} for text in NASTY if "\n" not in text]
        path.write_bytes("".join(row["text"] + "\n" for row in rows).encode())
    elif kind == "csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, ["id", "text"], quoting=csv.QUOTE_ALL)
            table.writeheader()
            table.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path, rows


@pytest.mark.parametrize("kind, format", list(product(["text", "csv", "jsonl", "parquet"], ROWS)))
def test_every_crossing_keeps_every_value(tmp_path, kind, format):
    # kills: a lone carriage return left unquoted; 007 read as 7; a header for each piece; a piece left out; scores
    # of 17 digits in text, or of 6 in Parquet; commas in .tsv
    path, rows = source(tmp_path, kind)
    blocks = list(TextTable(path).blocks(rows=3))
    assert len(blocks) > 1
    raw = written([OutputRows(block.columns, answers(len(block.texts)), block.kind) for block in blocks], format)
    read = READERS[format](raw)
    if format == "xlsx":
        rows = [{name: value or None for name, value in row.items()} for row in rows]  # no text is an empty cell
    assert [{name: row[name] for name in rows[0]} for row in read] == rows
    assert list(read[0]) == [*rows[0], "label", "score", "labels", "label_scores", "truncated"]
    ours = {
        "csv": ["", "0.3", '["a", "b"]', '{"a": 0.666667}', "true"],
        "jsonl": [None, 0.3, ["a", "b"], {"a": 0.666667}, True],
        "parquet": [None, 0.1 + 0.2, ["a", "b"], {"a": 2 / 3}, True],
        "xlsx": [None, 0.3, '["a", "b"]', '{"a": 0.666667}', True],
    }
    ours = {**ours, "tsv": ours["csv"]}[format]
    assert list(read[0].values())[len(rows[0]) :] == ours


def test_csv_lines_end_in_a_line_feed_alone():
    # kills: the csv module's own line end
    raw = written([OutputRows(pa.table({"text": ["a", "b\r\n"]}), pa.table({"score": [1.0, 2.0]}), "csv")], "csv")
    assert raw == b'text,score\na,1.0\n"b\r\n",2.0\n'


PARIS = pa.timestamp("ms", tz="Europe/Paris")
TYPED = pa.table(
    {
        "day": [datetime.date(2024, 1, 31), None],
        "ns": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns")),
        "paris": pa.array([1_700_000_000_123, None], PARIS),
        "price": pa.array([decimal.Decimal("1.20"), None], pa.decimal128(9, 2)),
        "raw": [b"\xff\x00", None],
        "four": pa.array([b"abcd", None], pa.binary(4)),
        "kind": pa.array(["sea", None]).dictionary_encode(),
        "big": pa.array([2**64 - 1, None], pa.uint64()),
        "odd": [float("nan"), float("-inf")],
        "deep": [[{"x": [1.5, float("nan")]}, None], None],
        "pair": pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
        "map": pa.array([[("k", datetime.date(2024, 1, 1))], None], pa.map_(pa.string(), pa.date32())),
    }
)
TOLD = {
    "day": "2024-01-31",
    "ns": "2023-11-14T22:13:20.123456789",
    "paris": "2023-11-14T23:13:20.123+01:00",
    "price": "1.20",
    "raw": "/wA=",
    "four": "YWJjZA==",
    "kind": "sea",
    "big": 2**64 - 1,
    "odd": None,
    "deep": [{"x": [1.5, None]}, None],
    "pair": [1, 2],
    "map": {"k": "2024-01-01"},
}


def test_parquet_types_stay_as_they_are():
    # kills: a cast on the way; schema notes lost; nanoseconds cut; dictionaries that differ between pieces
    typed = TYPED.replace_schema_metadata({"made": "by hand"})
    other = typed.set_column(6, "kind", pa.array(["land", "sea"]).dictionary_encode())
    pieces = [OutputRows(columns, answers(2), "parquet") for columns in (typed, other)]
    read = pq.read_table(io.BytesIO(written(pieces, "parquet")))
    theirs = read.select(TYPED.column_names)
    assert theirs.schema.equals(TYPED.schema)
    assert read.schema.metadata[b"made"] == b"by hand"
    assert theirs["kind"].to_pylist() == ["sea", None, "land", "sea"]
    for name in set(TYPED.column_names) - {"kind", "odd", "deep"}:
        assert theirs[name].slice(0, 2).equals(TYPED[name])
    assert str(theirs["odd"].to_pylist()) == "[nan, -inf, nan, -inf]"


def test_parquet_types_are_told_in_json():
    # kills: str() of a Python object; a date pandas would be needed for; NaN, which is not JSON
    first, second = json_rows(written([OutputRows(TYPED, answers(2), "parquet")], "jsonl"))
    assert {name: first[name] for name in TOLD} == TOLD
    assert all(second[name] is None for name in TOLD)


def test_parquet_types_are_told_in_csv():
    # kills: "None" in a field; Python's quotes in nested JSON; NaN turned into an empty field
    first, second = table_rows(written([OutputRows(TYPED, answers(2), "parquet")], "csv"))
    assert first["deep"] == '[{"x": [1.5, null]}, null]' and first["map"] == '{"k": "2024-01-01"}'
    assert (first["odd"], second["odd"]) == ("nan", "-inf")
    assert {second[name] for name in TOLD} == {"", "-inf"}
    plain = TOLD.keys() - {"odd", "deep", "map", "pair"}
    assert {name: first[name] for name in plain} == {name: str(TOLD[name]) for name in plain}


def test_values_of_a_slice_are_its_own():
    # kills: items read from the start of the memory a slice points into
    nested = pa.array([[1], None, [2, 3], []])
    assert values(pa.chunked_array([nested.slice(1)]), finite=True) == [None, [2, 3], []]
    structs = pa.array([{"a": 1}, None, {"a": None}])
    assert values(pa.chunked_array([structs.slice(1)]), finite=True) == [None, {"a": None}]


def test_types_of_a_library_s_own_are_told_by_what_they_are_kept_as():
    # kills: a column of UUIDs or JSON, as Parquet has them, that ends a run
    kept = pa.table(
        {"id": pa.array([b"a" * 16, None], pa.uuid()), "json": pa.array(['{"a": 1}', None], pa.json_())}
    )
    for format, nothing in (("jsonl", None), ("csv", "")):
        one, none = READERS[format](written([OutputRows(kept, answers(2), "parquet")], format))
        assert (one["id"], one["json"]) == ("YWFhYWFhYWFhYWFhYWFhYQ==", '{"a": 1}')
        assert (none["id"], none["json"]) == (nothing, nothing)


def test_a_column_that_is_not_utf8_is_still_written():
    # kills: a UnicodeDecodeError over a column nobody asked about
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"]).buffers())
    (row,) = json_rows(written([OutputRows(pa.table({"x": broken}), answers(1), "parquet")], "jsonl"))
    assert row["x"] == r"a\xff"


def test_json_records_are_copied_to_the_letter():
    # kills: 1.10 written as 1.1, huge numbers as Infinity, a half surrogate that cannot be encoded
    raw = r'{ "a":1.10, "b":1e400, "c":123456789012345678901234567890, "d":"\ud83d", "e":"é" }'
    (line, empty) = written([records(raw, "{ }")], "jsonl").decode().splitlines()
    assert line == "{" + raw[2:-2] + ', "score": 0.5}'
    assert empty == '{"score": 0.5}'


def test_json_keys_become_typed_columns():
    # kills: a type chosen from the first record; a big number rounded; a key of the last record lost
    pieces = [
        records({"i": 1, "f": 1, "big": 2**53 + 1, "mixed": 1, "wide": 2**53 + 1, "b": True, "n": None}),
        records({"f": 0.5, "big": None, "mixed": "x", "wide": 0.5, "huge": 2**70, "o": {"k": [1, "é"]}}),
    ]
    read = pq.read_table(io.BytesIO(written(pieces, "parquet")))
    assert {field.name: str(field.type) for field in read.schema} == {
        "i": "int64",
        "f": "double",
        "big": "int64",
        "mixed": "string",
        "wide": "string",
        "b": "bool",
        "n": "string",
        "huge": "string",
        "o": "string",
        "score": "double",
    }
    first, second = read.to_pylist()
    assert first["big"] == 2**53 + 1 and first["wide"] == str(2**53 + 1) and first["f"] == 1.0
    assert (first["mixed"], second["mixed"]) == ("1", '"x"')
    assert second["huge"] == str(2**70) and second["o"] == '{"k": [1, "é"]}' and second["i"] is None


def test_json_keys_become_csv_columns_as_they_are():
    # kills: JSON quotes around plain strings of a mixed column; rows shifted by a missing key
    rows = table_rows(written([records({"id": 7}), records({"x": None, "id": "7a"}, {"o": [1, None]})], "csv"))
    assert [tuple(row.values()) for row in rows] == [
        ("7", "", "", "0.5"),
        ("7a", "", "", "0.5"),
        ("", "", "[1, null]", "0.5"),
    ]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_half_a_surrogate_can_be_written_anywhere(format):
    # kills: UnicodeEncodeError after hours of work
    raw = written([records(r'{"a\ud83d": "x\ud83d", "o": ["\ud83d"]}')], format)
    (row,) = {"csv": table_rows, "parquet": parquet_rows}[format](raw)
    assert row == {r"a\ud83d": r"x\ud83d", "o": r'["\ud83d"]', "score": "0.5" if format == "csv" else 0.5}


def test_input_columns_keep_their_names():
    # kills: the input's label overwritten by ours, also when only the last record has one
    columns = pa.table({"text": ["a"], "label": ["gold"]})
    assert json_rows(written([OutputRows(columns, answers(1), "csv")], "jsonl"))[0]["label"] == "gold"
    late = [records({"text": "a"}), records({"score": "gold"})]
    assert json_rows(written(late, "jsonl"))[1] == {"score": "gold", "predicted_score": 0.5}
    assert "predicted_score" in json_rows(written(late, "jsonl"))[0]
    with pytest.raises(SettingError, match="rename 'predicted_label'"):
        added_names(["label", "predicted_label"], ["label"])
    with pytest.raises(SettingError):
        added_names(["predicted_label", "label"], ["score", "label"])


def test_many_small_pieces_share_a_row_group():
    # kills: a row group for each block, which makes a file many times larger and slower
    pieces = [OutputRows(pa.table({"text": [str(n)]}), pa.table({"score": [0.5]}), "text") for n in range(50)]
    raw = written(pieces, "parquet")
    assert pq.ParquetFile(io.BytesIO(raw)).num_row_groups == 1
    assert [row["text"] for row in parquet_rows(raw)] == [str(n) for n in range(50)]


def test_large_pieces_are_not_held_back(monkeypatch):
    # kills: the whole output gathered in memory
    monkeypatch.setattr("sijo.files.row_writers.ROW_GROUP_BYTES", 100)
    pieces = [OutputRows(pa.table({"text": ["x" * 60]}), pa.table({"score": [0.5]}), "text") for _ in range(6)]
    assert pq.ParquetFile(io.BytesIO(written(pieces, "parquet"))).num_row_groups == 3


@pytest.mark.parametrize("format", ROWS)
def test_no_piece_at_all_is_a_file_without_rows(format):
    # kills: a crash on an empty run
    raw = written([], format)
    if format == "parquet":
        assert pq.read_table(io.BytesIO(raw)).num_rows == 0
    elif format == "xlsx":
        assert openpyxl.load_workbook(io.BytesIO(raw)).active.calculate_dimension() == "A1:A1"
    else:
        assert raw == b""


def test_a_stream_shows_each_block_at_once():
    # kills: rows kept in a buffer while a pipe waits
    class Pipe(io.BytesIO):
        shown = 0

        def flush(self):
            self.shown = self.tell()

    pipe, shown = Pipe(), []

    def pieces():
        for place in range(3):
            shown.append(pipe.shown)
            yield records({"text": str(place)})

    stream(pieces(), "jsonl", pipe)
    assert shown == [0, 28, 56] and pipe.shown == 84


def test_a_stream_refuses_what_comes_too_late():
    # kills: a late key dropped without a word, or taking the place of an answer
    with pytest.raises(TextError, match=r"'late'.*--output"):
        stream([records({"a": 1}), records({"late": 1})], "csv", io.BytesIO())
    with pytest.raises(TextError, match="'score'"):
        stream([records({"a": 1}), records({"score": 1})], "jsonl", io.BytesIO())
    for format in ("parquet", "xlsx"):
        with pytest.raises(SettingError, match="streamed"):
            stream([records({"a": 1})], format, io.BytesIO())


def test_a_suffix_names_the_format():
    # kills: upper case refused; a suffix guessed at
    ends = ("CSV", "Tsv", "ndjson", "pq", "XLSX")
    assert [format_of(f"a.b.{end}") for end in ends] == ["csv", "tsv", "jsonl", "parquet", "xlsx"]
    with pytest.raises(SettingError, match=r"\.csv.*\.parquet"):
        format_of("answers.txt")


NOT_JSON = [
    '{"text": "a", "n": NaN}',
    '{"text": "a", "n": [1, {"x": -Infinity}, [NaN, Infinity]]}',
    '{"text": "NaN, \\" Infinity", "n":NaN, "NaN": "-Infinity"}',
    '{"text": "a\\\\", "n": Infinity}',
    '{"text": "a", "k\\ud800": NaN}',
]
"""What Python reads and JSON does not know."""
ODD_JSON = [
    '{"text": "a", "n": 1e999}',
    '{"text": "a", "n": ' + "9" * 400 + "}",
    '{"text": "a", "half": "\\ud83d"}',
]
"""What JSON knows, and some readers do not."""


def strictly(text):
    """The value of JSON by its standard, which has no word for NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON: {text}")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("raw", NOT_JSON)
def test_a_record_that_is_not_json_comes_out_as_json(tmp_path, raw):
    # kills: NaN in a record that is copied, which no reader but Python takes; a word in a string replaced
    (tmp_path / "a.jsonl").write_text(raw + "\n")
    [block] = TextTable(tmp_path / "a.jsonl").blocks()
    piece = OutputRows(block.columns, pa.table({"score": [0.5]}), block.kind)
    line = written([piece], "jsonl").decode().removesuffix("\n")
    assert strictly(line) == json.loads(raw, parse_constant=lambda word: None) | {"score": 0.5}
    key, value = list(json.loads(raw).items())[1]
    key = key.encode(errors="backslashreplace").decode()
    [record], [row] = table_rows(written([piece], "csv")), parquet_rows(written([piece], "parquet"))
    if isinstance(value, float):
        assert str(value) == record[key] == str(row[key])  # these formats have words for it
    else:
        assert strictly(record[key]) == strictly(row[key]) == strictly(line)[key]


@pytest.mark.parametrize("raw", ODD_JSON)
def test_an_odd_record_is_copied_to_the_letter(raw):
    # kills: digits or escapes lost to a repair that was not called for
    line = written([records(raw)], "jsonl").decode().removesuffix("\n")
    assert strictly(line) and line.startswith(raw[:-1])


NAN = float("nan")
ODD_COLUMNS = {
    "half floats": pa.array([1.5, NAN], pa.float32()).cast(pa.float16()),
    "lists": pa.array([[NAN, float("inf")], None]),
    "lists of lists": pa.array([[[NAN]], []]),
    "lists of one length": pa.array([[1.0, NAN], [2.0, 3.0]], pa.list_(pa.float32(), 2)),
    "structs": pa.array([{"a": NAN, "b": {"c": -float("inf")}}, None]),
    "maps": pa.array([[("k", NAN)], None], pa.map_(pa.string(), pa.float64())),
    "keys": pa.array([[(NAN, 1)], [(0.5, 2)]], pa.map_(pa.float64(), pa.int64())),
    "dictionaries": pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([NAN, 0.5])),
    "decimals": pa.array([decimal.Decimal("1.10"), None], pa.decimal256(60, 2)),
    "dates": pa.array([[datetime.date(2024, 1, 31)], None]),
    "times": pa.array([datetime.datetime(2024, 1, 1), None], pa.timestamp("ns", tz="Asia/Seoul")),
    "bytes": pa.array([{"b": b"\xff\0"}, None]),
    "large numbers": pa.array([2**64 - 1, 0], pa.uint64()),
}


@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_kept_columns_of_every_type_are_json(name):
    # kills: NaN or Infinity, at whatever depth, in a line of JSON or in JSON text within a CSV
    piece = OutputRows(
        pa.table({"text": ["a", "b"], "kept": ODD_COLUMNS[name]}), pa.table({"score": [NAN, 1.0]}), "parquet"
    )
    lines = written([piece], "jsonl").decode().split("\n")[:-1]
    assert [strictly(line)["score"] for line in lines] == [None, 1.0]
    for record in table_rows(written([piece], "csv")):
        if record["kept"].startswith(("[", "{")):
            strictly(record["kept"])
    read = pq.read_table(io.BytesIO(written([piece], "parquet")))
    assert str(read["kept"].to_pylist()) == str(ODD_COLUMNS[name].to_pylist())
