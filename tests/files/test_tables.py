"""Tables of texts: what is read comes back as it was given, and what cannot be read says where and why."""

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import os
import re
import threading
import types
from itertools import chain, repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sijo.errors import SettingError, TextError
from sijo.files.tables import TextTable

RECORDS = '{"text": "one", "id": "007"}\n\n{"id":8,"text":null}\n{"text": "thr\\u00e9e"}\n'


@pytest.fixture
def piped(monkeypatch):
    """Put bytes, or a stream of them, on standard input."""

    class Pieces(io.RawIOBase):
        """What an iterator gives, as a pipe."""

        def __init__(self, pieces):
            self.pieces = iter(pieces)

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = next(self.pieces, b"")
            buffer[: len(piece)] = piece
            return len(piece)

    def piped(content):
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        stream = stream if hasattr(stream, "read") else io.BufferedReader(Pieces(stream))
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=stream))

    return piped


def texts(source, **how):
    return [text for block in TextTable(source, **how).blocks() for text in block.texts]


def parquet(path, table, **how):
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path, **how)
    return path


def zstd(data):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as out:
        out.write(data)
    return packed.getvalue().to_pybytes()


def whole(blocks):
    return pa.concat_tables([block.columns for block in blocks])


# --- each kind, as it was given ---------------------------------------------------------------


def test_plain_lines_end_only_at_a_line_feed(write):
    # catches str.splitlines, a line end left on, and blank lines dropped
    path = write("a.txt", "one\r\n\ntwo\u2028still\x0btwo\x85\n  three \r\r\nlast")
    assert texts(path) == ["one", "", "two\u2028still\x0btwo\x85", "  three \r", "last"]


def test_blank_lines_alone_are_rows(write):
    # catches a file of blank lines taken for an empty one
    assert texts(write("a.txt", "\n\n")) == ["", ""]


def test_csv_is_never_guessed_at(write):
    # catches type inference (007 -> 7, an empty cell -> null) and reordered columns
    [block] = TextTable(write("a.csv", 'id,text,yes\n007,"a, ""b""\nc",True\n1e3,,\n')).blocks()
    assert block.texts == ['a, "b"\nc', ""]
    assert block.columns.to_pydict() == {"id": ["007", "1e3"], "text": block.texts, "yes": ["True", ""]}
    assert set(block.columns.schema.types) == {pa.string()}
    assert block.values("id") == ["007", "1e3"]


def test_blank_line_of_csv_is_no_row_but_two_quotes_are(write):
    # catches a trailing blank line told as a ragged row, and an empty text lost
    assert texts(write("a.csv", 'text\n\none\n""\n\r\n\n')) == ["one", ""]


def test_tsv_parts_at_tabs_and_a_delimiter_can_be_given(write):
    # catches the delimiter of .csv used for .tsv, one seen only before .gz, and one ignored
    assert texts(write("a.tsv", "id\ttext\n1\ta, b\n")) == ["a, b"]
    assert texts(write("a.TSV.gz", gzip.compress(b"id\ttext\n1\ta, b\n"))) == ["a, b"]
    assert texts(write("a.csv", "id;text\n1;a, b\n"), delimiter=";") == ["a, b"]
    assert texts(write("b.csv", "id\ttext\n1\ta, b\n"), delimiter="\\t") == ["a, b"]


def test_jsonl_keeps_each_record_as_it_was_written(write):
    # catches records written anew (spaces, escapes, key order), null as "None", and a lost absent key
    table = TextTable(write("a.jsonl", RECORDS))
    [block] = table.blocks()
    assert table.columns is None
    assert block.texts == ["one", "", "thrée"]
    assert block.columns.to_pydict() == {"record": RECORDS.replace("\n\n", "\n").splitlines()}
    assert block.values("id") == ["007", 8, None]


def test_parquet_keeps_its_types(tmp_path):
    # catches columns cast or dropped, nulls as "None", and metadata lost
    original = pa.table(
        {
            "id": pa.array([7, None, 9], pa.int16()),
            "text": ["a", None, "c"],
            "tags": [["x"], [], None],
            "where": pa.array(["p", "q", "p"]).dictionary_encode(),
        }
    )
    [block] = TextTable(parquet(tmp_path / "a.parquet", original)).blocks()
    assert block.texts == ["a", "", "c"]
    assert block.columns.equals(original)
    assert block.values("id") == [7, None, 9]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_texts_of_every_string_type(tmp_path, kind):
    # catches a text column refused, or changed in `columns`, for being another kind of string
    column = pa.array(["a", None, "a"]).cast(kind)
    [block] = TextTable(parquet(tmp_path / "a.pq", {"text": column, "n": [1, 2, 3]})).blocks()
    assert block.texts == ["a", "", "a"]
    assert block.columns.schema.field("text").type == kind


@pytest.mark.parametrize(
    "suffix, pack", [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_every_kind_is_read_packed(write, tmp_path, suffix, pack):
    # catches a packer left out, one that only some kinds see, and .gz taken for the kind
    plain = parquet(tmp_path / "a.parquet", {"text": ["one"]}).read_bytes()
    kinds = {"txt": b"one\n", "csv": b"text\none\n", "ndjson": b'{"text": "one"}', "parquet": plain}
    for kind, content in kinds.items():
        assert texts(write(f"a.b.{kind}{suffix}", pack(content))) == ["one"], kind


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstd)])
def test_packed_files_put_together_are_one(write, suffix, pack):
    # catches an end at the first of several frames, which is how parallel packers write; a share never at 1
    frames = [b"one\ntw", b"o\n", b"", b"x" * 100_000 + b"\n", b"three"]
    table = TextTable(write(f"a.txt{suffix}", b"".join(map(pack, frames))))
    assert [text for block in table.blocks() for text in block.texts] == ["one", "two", "x" * 100_000, "three"]
    assert table.share() == 1
    with pytest.raises(TextError, match=r"is empty; give it at least one row"):
        TextTable(write(f"b.txt{suffix}", pack(b"")))


def test_marks_are_dropped(write):
    # catches a byte-order mark in the first text or in the name of the first column
    assert texts(write("a.txt", "\ufeffone\n\ufefftwo")) == ["one", "\ufefftwo"]
    assert texts(write("a.csv", "\ufefftext\none\n")) == ["one"]
    assert texts(write("a.jsonl", '\ufeff{"text": "one"}')) == ["one"]


def test_long_texts_pass(write, tmp_path):
    # catches csv's own limit of 131,072 characters
    long = "word " * 200_000
    assert texts(write("a.csv", f'text\n"{long}"\n')) == [long]
    assert texts(write("a.txt", long)) == [long]
    assert texts(write("a.jsonl", json.dumps({"text": long}))) == [long]
    assert texts(parquet(tmp_path / "a.parquet", {"text": [long]})) == [long]


rows = st.lists(
    st.tuples(
        *[st.text(st.sampled_from("a ,;\"'\r\n\t🦉é\u2028\x0b\ufeff") | st.characters(codec="utf-8")) for _ in "ab"]
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: [tuple(cell.replace("\0", "") for cell in row) for row in rows])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, size=st.integers(1, 7), characters=st.integers(1, 50))
def test_any_rows_come_back(tmp_path, rows, size, characters):
    # catches a row lost or doubled at a block border, and any character or quote mishandled
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "other"), *rows])
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": a, "other": b}) + "\n" for a, b in rows))
    parquet(
        tmp_path / "a.parquet",
        {"text": [a for a, _ in rows], "other": [b for _, b in rows]},
        row_group_size=3,
    )
    borders = []
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        blocks = list(TextTable(tmp_path / name).blocks(rows=size, characters=characters))
        got = [row for block in blocks for row in zip(block.texts, block.values("other"), strict=True)]
        assert got == rows, name
        assert [block.number for block in blocks] == list(range(len(blocks)))
        borders.append([block.first_row for block in blocks])
    assert borders[0] == borders[1] == borders[2]


# --- blocks --------------------------------------------------------------------------------------


def test_blocks_close_by_rows_or_characters(write):
    # catches a bound that is off by one, and a long text that drags its neighbours along
    path = write("a.txt", "\n".join(["ab", "c" * 10, "d", "e", "f", "ghi", "jkl", "m"]))
    blocks = list(TextTable(path).blocks(rows=3, characters=6))
    assert [block.texts for block in blocks] == [["ab", "c" * 10], ["d", "e", "f"], ["ghi", "jkl"], ["m"]]
    assert [block.first_row for block in blocks] == [0, 2, 5, 7]
    assert [len(block.columns) for block in blocks] == [2, 3, 2, 1]


def test_parquet_blocks_do_not_depend_on_row_groups(tmp_path):
    # catches blocks that close where a row group or a decoded batch happens to end
    column = {"text": [str(i) for i in range(300)], "n": range(300)}
    for size in (7, 300):
        path = parquet(tmp_path / "a.parquet", {k: list(v) for k, v in column.items()}, row_group_size=size)
        blocks = list(TextTable(path).blocks(rows=100))
        assert [len(block.texts) for block in blocks] == [100, 100, 100]
        assert [block.values("n") for block in blocks] == [list(range(i, i + 100)) for i in (0, 100, 200)]


def test_a_file_reads_the_same_again(write):
    # catches state left from one reading in the next, and two readings at once that disturb each other
    table = TextTable(write("a.csv.gz", gzip.compress(b"text,n\n" + b"some words,1\n" * 500)))
    first, second = table.blocks(rows=64), table.blocks(rows=64)
    pairs = list(zip(first, second, strict=True))
    assert len(pairs) == 8
    assert all(a == b for a, b in pairs)
    assert list(table.blocks(rows=64)) == [a for a, _ in pairs]


@pytest.mark.parametrize("bounds", [{"rows": 0}, {"characters": 0}])
def test_a_block_that_holds_nothing_is_refused_at_the_call(write, bounds):
    # catches an endless loop of empty blocks, and an error that waits for the first block
    with pytest.raises(SettingError, match="holds nothing; use 1 or more"):
        TextTable(write("a.txt", "one")).blocks(**bounds)


def test_share_rises_from_0_to_1(write, tmp_path):
    # catches a share of decompressed bytes over the compressed size, and one that never arrives
    lines = "".join(f"{i * i}\n" for i in range(20_000)).encode()
    pack = parquet(tmp_path / "a.parquet", {"text": lines.decode().split()})
    for path in (write("a.txt", lines), write("a.txt.gz", gzip.compress(lines)), pack):
        table = TextTable(path)
        shares = [table.share()] + [table.share() for _ in table.blocks(rows=2_000)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0, 1)
        assert 0.3 < shares[5] < 0.8


def test_share_of_a_pipe_is_unknown(piped):
    # catches 0, or a division by the size of a pipe
    piped(b"one\n")
    assert TextTable("-").share() is None


# --- memory --------------------------------------------------------------------------------------


def test_a_pipe_is_read_only_as_far_as_needed(piped):
    # catches a source read whole: this one never ends
    class Endless(io.RawIOBase):
        taken = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.taken += len(buffer)
            buffer[:] = (b"0123456\n" * len(buffer))[: len(buffer)]
            return len(buffer)

    endless = Endless()
    piped(io.BufferedReader(endless))
    table = TextTable("-")
    block = next(table.blocks(rows=100))
    assert block.texts == ["0123456"] * 100
    assert endless.taken < 100_000


def test_the_first_block_of_a_packed_file_needs_only_its_start(write):
    # catches decompression of all before the first row
    data = gzip.compress(b"".join(b"%d\n" % (i * i) for i in range(60_000)))
    table = TextTable(write("a.txt.gz", data[: len(data) // 2]))
    assert len(next(table.blocks(rows=10)).texts) == 10


def test_csv_with_a_quote_never_closed_stops_in_bounded_memory(piped):
    # catches an unclosed quote that swallows all that follows it: this pipe never ends
    limit = csv.field_size_limit(131_072)
    piped(chain([b"text\n", b'"\n'], repeat(b"some words\n")))
    try:
        with pytest.raises(TextError, match=r"line 2: .*a quote that is not closed within 200,000"):
            TextTable("-", kind="csv", longest_row=200_000)
    finally:
        csv.field_size_limit(limit)


# --- standard input ------------------------------------------------------------------------------


def test_standard_input_is_plain_text_unless_told(piped):
    # catches the first rows, read to check them, lost to the blocks
    piped(b"one\ntwo\n")
    assert texts("-") == ["one", "two"]
    piped(b"text,n\none,1\ntwo,2\n")
    assert texts("-", kind="csv") == ["one", "two"]
    piped(RECORDS.encode())
    assert texts("-", kind="jsonl") == ["one", "", "thrée"]


def test_parquet_from_a_pipe(piped):
    # catches a need to seek, which a pipe cannot
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation("seek")

    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two"]}), file)
    piped(Pipe(file.getvalue()))
    assert texts("-", kind="parquet") == ["one", "two"]


def test_a_fault_in_the_first_rows_of_a_pipe_is_told_after_them(piped):
    # catches a model tried on the rows before a broken one, with which the table then ends in silence
    piped([b"text,n\na,1\nb,2\nc\nd,4\n"])
    table = TextTable("-", kind="csv")
    assert table.first_block(10).texts == ["a", "b"]
    with pytest.raises(TextError, match="line 4"):
        list(table.blocks())


def test_a_pipe_is_read_once(piped):
    # catches a second reading that silently gives nothing
    piped(b"one\n")
    table = TextTable("-")
    list(table.blocks())
    with pytest.raises(SettingError, match=r"standard input is a pipe and was read already; save it"):
        table.blocks()


def test_a_named_pipe_is_opened_once(tmp_path):
    # catches a path that is no plain file opened again for its rows, and so waiting for ever
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"one\ntwo\n",))
    writer.start()
    table = TextTable(path)
    assert [block.texts for block in table.blocks()] == [["one", "two"]]
    assert table.share() is None
    writer.join()


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, column, chosen",
    [
        ("a.csv", "id,text\n1,a\n", None, "text"),
        ("a.csv", "body\na\n", None, "body"),
        ("a.csv", "text,body\nb,a\n", "body", "body"),
        ("a.jsonl", '{"id": 7, "body": "a"}', None, "body"),
        ("a.jsonl", '{"text": "b", "body": "a"}', "body", "body"),
    ],
)
def test_which_column_holds_the_text(write, name, content, column, chosen):
    # catches the first column taken, and a name that is not heeded
    table = TextTable(write(name, content), column=column)
    assert table.column == chosen
    assert next(table.blocks()).texts == ["a"]


def test_the_only_column_of_strings_holds_the_text(tmp_path):
    # catches columns of numbers counted as candidates
    path = parquet(tmp_path / "a.parquet", {"id": [1], "body": ["a"], "score": [0.5]})
    assert TextTable(path).column == "body"
    assert TextTable(path).columns == ("id", "body", "score")


@pytest.mark.parametrize(
    "name, content, how, message",
    [
        ("a.csv", "id,body\n1,a\n", {}, r"no column 'text', .* --column\. Columns: id, body$"),
        (
            "a.csv",
            "id,body\n1,a\n",
            {"column": "bdoy"},
            r"no column 'bdoy'; did .*'body'\? Columns: id, body$",
        ),
        ("a.txt", "one", {"column": "body"}, r"no column 'body'\. Columns: text$"),
        ("a.jsonl", '{"a": "x", "b": "y"}', {}, r"name one with --column\. Columns: a, b$"),
        ("a.jsonl", '{"body": "x"}', {"column": "bodi"}, r"did you mean 'body'\?"),
        ("a.csv", "id;text\n1;a\n", {}, r"'id;text', that looks parted by ';'; pass --delimiter ';'"),
        ("a.csv", "id;Body\n1;a\n", {"column": "Body"}, r"no column 'Body', and one .*; pass --delimiter ';'$"),
        ("a.tsv", "id|Body\n1|a\n", {"column": "Body"}, r"no column 'Body', and one .*; pass --delimiter '\|'$"),
        ("a.csv", "S,B\na,b\n", {"column": "S, B"}, r"no column 'S, B', but S, B; one column is read, so name one"),
        ("a.csv", "text\na\n", {"delimiter": "::"}, r"delimiter '::' must be one character"),
        ("a.jsonl", '{"text": "a"}', {"delimiter": ";"}, r"which has no delimiter; leave --delimiter out"),
        ("a.jsonl", '{"text": "a"}', {"header": False}, r"which has no header; leave --no-header out"),
        ("a.txt", "a", {"kind": "cvs"}, r"no input format 'cvs'; did you mean 'csv'\? Formats: text, csv"),
        ("a.doc", "{}", {}, r"ends in none of \.txt, .*\.pq, .*\.gz.* --input-format, as one of"),
        ("a", "one", {}, r"--input-format"),
    ],
)
def test_settings_that_will_not_do(write, name, content, how, message):
    # catches a setting that is ignored or told only once the rows are read
    with pytest.raises(SettingError, match=message):
        TextTable(write(name, content), **how)


def test_a_kind_that_is_given_wins_over_the_suffix(write):
    # catches --input-format ignored where the suffix is known or is not
    assert texts(write("a.log", "one\n"), kind="text") == ["one"]
    assert texts(write("a.txt", "id,text\n1,a\n"), kind="csv") == ["a"]


def test_paths_that_are_no_file(write, tmp_path):
    # catches a traceback for the commonest slip of all
    write("reviews.csv", "text\na\n")
    with pytest.raises(SettingError, match=r"no file '.*reveiws\.csv'; did you mean 'reviews\.csv'\?"):
        TextTable(tmp_path / "reveiws.csv")
    for name, hint in {"새요청.csv": "", "후거.csv": "후기.csv", "reviews.jsonl.gz": "reviews.csv"}.items():
        write("초성.csv", "text\na\n"), write("후기.csv", "text\na\n")
        told = f"; did you mean '{hint}'?" if hint else ""  # nothing for a name that shares its suffix alone
        with pytest.raises(SettingError, match=re.escape(f"{name}'{told}") + "$"):
            TextTable(tmp_path / name)
    with pytest.raises(SettingError, match=r"no file 'nowhere/at/all\.csv'$"):
        TextTable("nowhere/at/all.csv")
    with pytest.raises(SettingError, match=r"is a folder; give one file in it"):
        TextTable(tmp_path)


@pytest.mark.parametrize(
    "name, content", [("a.csv", "text,label\na,b\n"), ("a.jsonl", '{"text": "a", "label": "b"}')]
)
def test_another_column_that_is_not_there(write, name, content):
    # catches a column of None handed out for a name mistyped
    [block] = TextTable(write(name, content)).blocks()
    with pytest.raises(SettingError, match=r"no column 'lable'; did you mean 'label'\? Columns: text, label$"):
        block.values("lable")


def test_another_column_of_a_table_that_is_not_parted(write):
    # catches a list of one column, "text;label", and no way out, where the text's column happens to be found
    [block] = TextTable(write("a.csv", "text;label\na;b\n"), column="text;label").blocks()
    with pytest.raises(SettingError, match=r"no column 'label', and one .*; pass --delimiter ';'$"):
        block.values("label")


def test_no_delimiter_is_told_of_what_has_none(tmp_path):
    # catches the advice --delimiter for a kind of table that then refuses it
    with pytest.raises(SettingError, match=r"no column 'Body'\. Columns: id;x$"):
        TextTable(parquet(tmp_path / "a.parquet", {"id;x": ["1;a"]}), column="Body")


def test_a_column_without_a_name_is_kept(write):
    # catches refusing the row numbers that pandas writes in front by default
    [block] = TextTable(write("a.csv", ",text\n0,a\n1,b\n")).blocks()
    assert block.columns.to_pydict() == {"": ["0", "1"], "text": ["a", "b"]}


# --- texts that must be mended -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", "", r"a\.txt is empty"),
        ("a.txt", "\ufeff", r"is empty"),
        ("a.csv", "\n\n", r"is empty; a CSV needs a header"),
        ("a.csv", "id,text\n", r"has a header but no rows \(where line 1 is a row: --no-header\); give it"),
        ("a.jsonl", "\n \n", r"has no records"),
        ("a.txt.gz", gzip.compress(b"", mtime=0), r"is empty"),
        ("a.csv", "id,text,id\n1,a,2\n", r"the header names 'id' twice"),
        (
            "a.txt",
            "café à la crème, tiède\n".encode() + b"naive caf\xe9\n",
            r"line 2: byte 10 .* 0xe9, is not UTF-8; mend it, or name the encoding of the whole file by --encoding",
        ),
        ("a.csv", "text,n\na,1\nb,\0\n", r"line 3 holds a NUL"),
        ("a.jsonl", r'{"text": "a\u0000"}', r"line 1: the text holds a NUL"),
        ("a.jsonl", '{"text": "a"}\n' + r'{"text": "b\ud83d"}', r"line 2: .* half a character, \\ud83d; "),
        (
            "a.csv",
            'id,text\n1,"two\nlines"\n2,a,b\n',
            r"line 4: the number of fields is 3, but 2 in the first line; .*quotes",
        ),
        ("a.csv", "id,text\n1\n", r"line 2: the number of fields is 1, but 2 in"),
        ("a.csv", 'text\na\n"b\nc\n', r"line 3: .*not CSV \(a quote is not closed"),
        ("a.csv", 'text\n"a" b\n', r"line 2: .*not CSV \(.*expected.*\); .*double the quotes"),
        ("a.csv", "text\ra\rb\n", r"line 1: .*not CSV \(new-line character seen in unquoted field\)"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": \n', r"line 3 is not JSON \(Expecting value, char.*; JSON L"),
        ("a.jsonl", '[{"text": "a"}]', r"line 1 is an array, not an object; .*--input-format json"),
        ("a.jsonl", "null", r"line 1 is null, not an object"),
        ("a.jsonl", '{"text": "a"}\n{"txet": "b"}', r"line 2: the record has no key 'text'"),
        ("a.jsonl", '{"text": "a"}\n{"text": 7}', r"line 2: the text is a number, not a string"),
        ("a.jsonl", '{"text": "a"}\n{"text": {}}', r"line 2: the text is an object, not"),
        ("a.jsonl", '{"text": "a", "n": ' + "[" * 200_000, r"line 1 is nested too deeply"),
        ("a.jsonl", '{"text": "a", "n": ' + "9" * 5000 + "}", r"line 1 cannot be read: .*digits"),
        ("a.txt.gz", b"one\n", r"is cut short or damaged \(Not a gzipped file"),
        ("a.txt.bz2", b"one\n", r"is cut short or damaged"),
        ("a.txt.xz", b"one\n", r"is cut short or damaged"),
        ("a.txt.zst", b"one\n", r"is cut short or damaged \(ZSTD .*\); copy it"),
        ("a.txt.zst", zstd(b"one\n") + b"two", r"is cut short or damaged"),
        ("a.csv.zst", zstd(b"text\none")[:-1], r"is cut short or damaged \(Truncated compressed stream\)"),
        ("a.parquet", b"", r"is empty"),
        ("a.parquet", b"one", r"is cut short or damaged"),
        ("a.parquet.gz", b"one", r"is cut short or damaged"),
    ],
)
def test_texts_that_must_be_mended(write, name, content, message):
    # catches a traceback, a wrong line, and a sentence without a remedy
    with pytest.raises(TextError, match=message) as caught:
        texts(write(name, content))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "suffix, pack",
    [
        ("gz", gzip.compress),
        ("bz2", lambda data: bz2.compress(data, 1)),  # in pieces of 100 kB
        ("xz", lambda data: lzma.compress(data, preset=0)),
        ("zst", zstd),
    ],
)
def test_a_packed_file_cut_short_gives_the_rows_before_the_cut(write, suffix, pack):
    # catches a silent end at the cut, and rows held back that were sound
    data = pack(b"".join(b"%d\n" % (i * i) for i in range(60_000)))
    got = []
    with pytest.raises(TextError, match="is cut short or damaged"):
        for block in TextTable(write(f"a.txt.{suffix}", data[: len(data) * 3 // 4])).blocks(rows=1000):
            got += block.texts
    assert len(got) > 1000
    assert got == [str(i * i) for i in range(len(got))]


def test_damaged_bits_in_a_packed_file(write):
    # catches zlib.error, which is no OSError
    data = bytearray(gzip.compress(b"".join(b"%d\n" % (i * i) for i in range(100_000))))
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xff" * 50
    with pytest.raises(TextError, match="is cut short or damaged"):
        texts(write("a.txt.gz", bytes(data)))


@pytest.mark.parametrize(
    "column, message",
    [
        (pa.array([], pa.string()), r"has no rows"),
        (pa.array([7]), r"column 'text' is int64, not string; cast it to string"),
        (pa.array([b"a"]), r"column 'text' is binary, not string"),
        (pa.array(["a"] * 99 + ["b\0"]), r"row 100: the text holds a NUL"),
        (pa.array([b"a", b"\xe9"]).view(pa.string()), r"after row 0, is cut short or damaged \(.*UTF8"),
    ],
)
def test_parquet_that_must_be_mended(tmp_path, column, message):
    # catches numbers labelled as texts, and bytes that break the writer at the end of a run
    with pytest.raises(TextError, match=message):
        texts(parquet(tmp_path / "a.parquet", {"text": column}))


def test_parquet_cut_short_or_damaged(tmp_path):
    # catches an exception of pyarrow's that gets through, at the footer or in the rows
    path = parquet(tmp_path / "a.parquet", {"text": [str(i * i) for i in range(5000)]}, row_group_size=1000)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle])
    with pytest.raises(TextError, match="is cut short or damaged"):
        TextTable(path)
    path.write_bytes(data[:middle] + bytes(400) + data[middle + 400 :])
    blocks = TextTable(path).blocks(rows=500)
    assert next(blocks).texts[:3] == ["0", "1", "4"]
    with pytest.raises(TextError, match=r"after row \d+, is cut short or damaged"):
        list(blocks)


def test_what_is_wrong_at_the_start_is_told_before_reading(write):
    # catches checks that wait for the first block, after a model was loaded
    for name, content in {
        "a.csv": "id,text\n1,2,3\n",
        "a.jsonl": "{",
        "a.txt": "비가 왔다".encode() + b"\x81",
    }.items():
        with pytest.raises(TextError):
            TextTable(write(name, content))


def test_a_row_broken_later_comes_after_the_blocks_before_it(write):
    # catches sound rows lost to a broken one that follows
    blocks = TextTable(write("a.csv", "text,n\na,1\nb,2\nc\n")).blocks(rows=2)
    assert next(blocks).texts == ["a", "b"]
    with pytest.raises(TextError, match="line 4"):
        next(blocks)


@pytest.mark.parametrize(
    "content", ["text,n\na,1\nb,2\nc,3\nd\n", "text,é é é é é\na,1\nb,2\nc,3\n".encode() + b"\xff,4\n"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_rows_up_to_a_fault_when_asked(write, content, pack):
    # catches sound rows lost that stand between the last border and the fault, a share asked of a closed file,
    # and a shorter block given unasked: a job that is resumed when the file is mended has another in its place
    path = write(
        "a.csv" + ".gz" * (pack is not bytes), pack(content.encode() if isinstance(content, str) else content)
    )
    for up_to_fault, want in ((True, [["a", "b"], ["c"]]), (False, [["a", "b"]])):
        table, got = TextTable(path), []
        with pytest.raises(TextError, match="line 5"):
            for block in table.blocks(rows=2, up_to_fault=up_to_fault):
                got.append(block.texts)
        assert got == want
        assert 0 < table.share() <= 1


def test_half_characters_elsewhere_in_a_record_are_kept(write):
    # catches a record refused for what is not its text
    raw = r'{"text": "a \ud83e\udd89", "note": "\ud800"}'
    [block] = TextTable(write("a.jsonl", raw)).blocks()
    assert block.texts == ["a 🦉"]
    assert block.columns["record"].to_pylist() == [raw]


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="open files are counted in /dev/fd")
def test_files_are_closed(write):
    # catches a file left open by a table that is never read, read in part, or refused
    def opened():
        return len(list(Path("/dev/fd").iterdir()))

    path = write("a.csv.gz", gzip.compress(b"text\na\nb\n"))
    before = opened()
    table = TextTable(path)
    never_begun, in_part = table.blocks(), table.blocks(rows=1)
    assert opened() == before
    next(in_part)
    assert opened() > before
    in_part.close()
    with pytest.raises(SettingError):
        TextTable(path, column="body")
    assert opened() == before
    assert next(never_begun).texts == ["a", "b"]


def test_what_the_system_refuses_is_left_to_the_system(write, piped, monkeypatch):
    # catches a file that may not be read, or a disk that fails, told as a damaged file
    def broken():
        yield b"one\n"
        raise OSError(errno.EIO, "Input/output error")

    piped(broken())
    with pytest.raises(OSError, match="Input/output"):
        texts("-")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write("a.txt", "one")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        TextTable(path)
