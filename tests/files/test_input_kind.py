"""What a stream holds is told from its first lines, or it is refused; prose is never taken for a table.

Each test names the fault it is to catch.
"""

import bz2
import gzip
import io
import lzma
import types
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sijo.errors import SettingError, SijoWarning, TextError
from sijo.files.inputs.input_kind import is_header, told
from sijo.files.tables import TextTable

CSV = b"id,text\n1,the sea\n2,rain\n"


@pytest.fixture(params=["pipe", "file"])
def read(request, write, monkeypatch):
    """`read(content, **how)`: a table over standard input, and then over a .txt, with that content."""

    def read(content, **how):
        if request.param == "file":
            return TextTable(write("a.txt", content), **how)
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
        return TextTable("-", **how)

    return read


def texts(table):
    return [text for block in table.blocks() for text in block.texts]


def zstd(content):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as out:
        out.write(content)
    return packed.getvalue().to_pybytes()


def parquet():
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "text": ["the sea", "rain"]}), file)
    return file.getvalue()


SURE = {
    "csv": CSV,
    "tsv": CSV.replace(b",", b"\t"),
    "semicolons": CSV.replace(b",", b";"),
    "quotes": b'"id","text"\n"1","the sea"\n"2","rain"\n',
    "mark": b"\xef\xbb\xbf" + CSV,
    "line ends": CSV.replace(b"\n", b"\r\n"),
    "blank first": b"\n\n" + CSV,
    "no end": CSV.rstrip(b"\n"),
    "row numbers": b",text\n0,the sea\n1,rain\n",
    "row numbers twice": b"Unnamed: 0,text\n0,the sea\n1,rain\n",
    "jsonl": b'{"text": "the sea"}\n{"text": "rain"}\n',
    "jsonl, blank first": b'\n{"text": "the sea"}\n{"text": "rain"}\n',
    "parquet": parquet(),
}


@pytest.mark.parametrize("name", SURE)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_what_is_sure_is_read_as_such(read, name, pack):
    # kills: `cat x.csv | sijo classify`, by which the header and whole lines are labelled
    assert texts(read(pack(SURE[name]))) == ["the sea", "rain"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd])
def test_a_packed_file_by_another_name(write, pack):
    # kills: "convert it with iconv" said of a file that is packed
    with pytest.raises(TextError, match=r"a\.csv is packed, as \.(gz|xz|zst) files are; let its name end so"):
        TextTable(write("a.csv", pack(CSV)))


@pytest.mark.parametrize("column", ["body", "text of it"])
def test_a_column_that_was_named_makes_sure(read, column):
    # kills: a table taken for lines since its text column is called otherwise, and a lone column refused
    assert texts(read(f"id,{column}\n1,the sea\n".encode(), column=column)) == ["the sea"]
    assert texts(read(f"{column}\nthe sea\n".encode(), column=column)) == ["the sea"]


def test_a_row_broken_later_is_told_as_of_csv(read):
    # kills: lines read as texts since commas in one of them were not quoted
    with pytest.raises(TextError, match=r"line 2: the number of fields is 3.*taken for csv by its first lines"):
        read(b"id,text\n1,well, I came\n")


LIKELY = {
    "other columns": b"id,body\n1,the sea\n",
    "unquoted commas": b"id,body\n1,well, I came\n2,rain\n",
    "tabs": b"id\tdocument\tlabel\n1\tthe sea\t0\n",
    "words as names": b"Review Text,Label\nthe sea,1\n",
    "blanks after commas": b"id, text\n1, the sea\n",
    "no header": b"1,the sea\n2,rain\n3,land\n",
    "no header, commas": b"1,Well, I came\n2,and saw\n3,and left, then\n",
    "no header, tabs": b"1\tthe sea\n0\train\n",
    "no header, quotes": b'"the sea, old",x\n"rain, sun",y\n"land",z\n',
    "one column": b"text\nthe sea\n",
    "one column, capital": b"Text\nthe sea\n",
    "comment": b"# made by a program\nid,text\n1,the sea\n",
    "array": b'["the sea"]\n',
    "long array": b'[\n"the sea"\n]\n',
    "long object": b'{\n  "text": "the sea"\n}\n',
}


@pytest.mark.parametrize("name", LIKELY)
def test_what_may_be_a_table_is_refused_with_the_flag(read, name):
    # kills: a guess
    with pytest.raises(SettingError, match=r"--input-format text"):
        read(LIKELY[name])
    assert texts(read(LIKELY[name], kind="text")) == LIKELY[name].decode().splitlines()


PROSE = {
    "commas": b"Well, I came, I saw\nand left, quietly\n",
    "as many commas": b"Hello, world\nBye, world\nSo, long\nYes, indeed\n",
    "numbers": b"1,000 people came\n2,500 left\n",
    "speech": b'"Yes," he said.\n"No," she said.\n"Oh," they said.\n',
    "bars": b"a | b | c\nd | e | f\ng | h | i\n",
    "semicolons": b"It rained; I left; he came\nx; y; z\nso; it; goes\n",
    "brackets": b"[laughs] hello\n{hm} so\n",
    "numbers in brackets": b"[1, 2]\n[3, 4]\n",
    "heading": "# 제목\n\n비가 왔다, 많이\n".encode(),
    "words": b"sea\nland\nrain\n",
    "one line": b"well,then\n",
    "a date": b"2024-01-31, a Wednesday\n2024-02-01, a Thursday\n",
    "Korean": "재밌어요, 강추\n별로, 그냥 그래요\n".encode(),
    "same line thrice": b"now, 1,500,000 came, and then\n" * 3,
    "quotes alone": b'""\nthe sea\n',
    "a text about comments": b"no comment so far\nthe sea\n",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_is_text(read, name):
    # kills: commas in sentences taken for fields
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts(read(PROSE[name])) == PROSE[name].decode().splitlines()


@pytest.mark.parametrize("name", ["review", "Review text", "message body", "리뷰 내용"])
def test_a_name_alone_on_line_1_is_warned_of(read, name):
    # kills: the header of one column labelled without a word
    with pytest.warns(
        SijoWarning, match=rf"line 1 of .* is '{name}', which may be a header, and is read as a text"
    ):
        assert texts(read(f"{name}\nthe sea\n".encode())) == [name, "the sea"]


def test_a_header_with_the_column_is_told_as_one(read):
    # kills: "with no header" said of a header of which another name is odd
    with pytest.raises(
        SettingError, match=r"with the columns id, price \(\$\), text; name the text's with --column"
    ):
        read(b"id,price ($),text\n1,2,rain\n")


def test_no_more_is_read_than_the_first_lines(monkeypatch):
    # kills: a pipe that is read to its end, or waited on, before the first row is out
    class Slow(io.RawIOBase):
        asked = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.asked += 1
            assert self.asked < 40
            buffer[:8] = b"the sea\n"
            return 8

    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BufferedReader(Slow())))
    assert next(TextTable("-").blocks(rows=22)).texts == ["the sea"] * 22


def test_bytes_that_are_no_text_are_left_to_the_reader():
    # kills: a decoding error out of the look at the first lines
    assert told(b"\xff\xfea\x00", "it", column=None).kind == "text"
    assert told("비".encode()[:2], "it", column=None).kind == "text"


# --- CSV without a header, and with line 1 in doubt ----------------------------------------------


@pytest.mark.parametrize("name, content", [("a.csv", b"1,the sea\n2,rain\n"), ("a.tsv", b"1\tthe sea\n2\train\n")])
@pytest.mark.parametrize("column", ["2", "column_2"])
def test_no_header(write, name, content, column):
    # kills: row 1 lost, a column that can only be named by its text
    table = TextTable(write(name, content), header=False, column=column)
    [block] = table.blocks()
    assert block.texts == ["the sea", "rain"] and table.columns == ("column_1", "column_2")
    assert block.values("1") == block.values("column_1") == ["1", "2"]


def test_no_header_on_a_pipe_and_of_one_column(read):
    # kills: a flag that only files heed
    assert texts(read(b"the sea\nrain\n", header=False)) == ["the sea", "rain"]
    assert texts(read(b"1;the sea\n2;rain\n", header=False, delimiter=";", column="2")) == ["the sea", "rain"]
    with pytest.raises(SettingError, match=r"no column '3'\. Columns: column_1, column_2"):
        read(b"1,a\n", header=False, column="3")
    with pytest.raises(SettingError, match=r"name one with --column\. Columns: column_1, column_2"):
        read(b"1,a\n", header=False)


ROWS = [
    "It rained all day.",
    "so good",
    "비가 왔다",
    "7",
    "3.5",
    "2024-01-31",
    '""',
    "x" * 60,
    "https://sea.land/a",
]


@pytest.mark.parametrize(
    "first", [*ROWS, "# made by a program", "what a film!", "5 stars", "good.", "no comment", "비가 온 내용이다"]
)
def test_a_row_lost_to_the_header_is_warned_of(write, first):
    # kills: a CSV of one column without a header whose row 1 is gone without a word
    path = write("a.csv", f"{first}\nthe sea\n")
    with pytest.warns(SijoWarning, match=r"line 1 of .*a\.csv is taken for the header, and looks like a row"):
        table = TextTable(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts(table) == ["the sea"]  # told once
        TextTable(path, column=first.strip('"'))  # a person says that it is a name
        TextTable(path, header=False)


USUAL = ["review", "Review Text", "review_text", "text", "Q1", "본문", "review/text"]
IN_WORDS = ["Review text", "customer feedback", "Tweet text", "Product description", "Text:", "Text (English)"]


@pytest.mark.parametrize(
    "first", [*USUAL, *IN_WORDS, "comments (optional)", "Open-ended response", "리뷰 내용", "고객 의견"]
)
def test_a_usual_header_is_not_warned_of(write, first):
    # kills: a warning that nobody heeds any more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts(TextTable(write("a.csv", f"{first}\nthe sea\n"))) == ["the sea"]
    assert is_header(first)


@pytest.mark.parametrize("content", ["id,text\n1,a\nid,text\n2,b\nid,text\n3,c\n", "review\na\nreview\nb\n"])
def test_a_header_once_more_is_warned_of(write, content):
    # kills: files put together with `cat`, whose headers are labelled; a warning for each of a thousand
    table = TextTable(write("a.csv", content))
    with pytest.warns(SijoWarning, match=r"a\.csv, line 3 is the header once more") as caught:
        assert len(texts(table)) > 2
    assert len(caught) == 1
