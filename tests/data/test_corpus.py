"""Files become documents: what is read is what is there, and nothing is dropped that is not told."""

import gzip
import json
import os
import re
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sijo.data import corpus
from sijo.data.corpus import (
    Document,
    SeenDigests,
    SourceFile,
    document_digest,
    documents,
    must_concern,
    sentences,
    sources,
)
from sijo.errors import SettingError, TextError
from sijo.files.inputs.sources import TextReading
from sijo.files.table_formats import SUFFIXES

POEMS = [
    ["The sea is old.", "It was not good."],
    ["비가 왔다.", "우산이 없었다!", "no end"],
    ["A third, “quoted.”"],
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("one\n")


def named(*words):
    return [f"{source.code}={source.path}" if source.code else str(source.path) for source in sources(words)]


def read(path, **how):
    return [(document.sentences, document.code) for document in documents(SourceFile(path), **how)]


# --- words of a command line ------------------------------------------------------------------


def test_a_folder_gives_what_can_be_read_in_order(here):
    # kills: the order of the disk, other suffixes tried and found broken, hidden files and folders read
    lay(
        "d/b.txt",
        "d/a.JSONL.zst",
        "d/sub/c.csv",
        "d/.hidden.txt",
        "d/.git/x.txt",
        "d/notes.md",
        "d/e.gz",
        "d/a/z.pq",
    )
    assert named("d") == ["d/a/z.pq", "d/a.JSONL.zst", "d/b.txt", "d/sub/c.csv"]
    assert named("d/sub", "d/b.txt") == ["d/sub/c.csv", "d/b.txt"]


def test_a_pattern_gives_files_and_folders_in_order(here):
    # kills: a pattern taken for a name, one that does not go down, folders that fit left out
    lay("2.txt", "10.txt", "d/1.txt", "d/e/3.csv")
    assert named("*.txt") == ["10.txt", "2.txt"]
    assert named("**/*.csv") == ["d/e/3.csv"]
    assert named("d*") == ["d/1.txt", "d/e/3.csv"]
    assert named(str(here / "?.txt")) == [str(here / "2.txt")]


def test_codes_stand_before_what_is_not_there_itself(here):
    # kills: a file with = in its name taken for a code; a code that a folder or pattern does not hand on
    lay("a=b.txt", "d/c.txt", "d/e.txt", "b.txt", "x=y/z.txt", "[a].txt")
    assert named("a=b.txt") == ["a=b.txt"]
    assert named("c=b.txt", "Sea poems=d", "q=d/e*", "r=x=y") == [
        "c=b.txt",
        "Sea poems=d/c.txt",
        "Sea poems=d/e.txt",
        "q=d/e.txt",
        "r=x=y/z.txt",
    ]
    assert named("[a].txt") == ["[a].txt"]


def test_a_file_named_twice_is_read_once(here):
    # kills: half a corpus dropped as duplicates; the same file under two codes taken for one
    lay("a.txt", "b.txt")
    assert named("a.txt", "b.txt", "a.txt") == ["a.txt", "b.txt"]
    assert named("x=a.txt", "y=a.txt", "x=*.txt") == ["x=a.txt", "y=a.txt", "x=b.txt"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["poens.txt"], r"no file, folder .*'poens\.txt'; did you mean 'poems\.txt'\?"),
        (["c=poens.txt"], r"no file, folder .*'poens\.txt'; did you mean"),
        (["*.csv"], r"no file, folder or files of a pattern '\*\.csv'"),
        (["=poems.txt"], r"no control code before the '='; write one, or 'poems\.txt' alone"),
        (["c="], r"no file, folder"),
        (["-"], r"no file, folder .*'-'"),
        (["notes.md"], r"notes\.md ends in none of \.txt, .* \.zst; rename it"),
        (["n*"], r"notes\.md ends in none of"),
        (["empty"], r"the folder empty holds no file that ends in one of \.txt"),
        (["pipe.txt"], r"pipe\.txt is a pipe, a device or a broken link; save"),
        (["link.txt"], r"link\.txt is a pipe, a device or a broken link"),
        (["c=poems.txt", "d/x.txt"], r"poems\.txt has the control code 'c' and d/x\.txt has none; .*code=d/x\.txt"),
        ("poems.txt", r"names is one string, 'poems\.txt'"),
    ],
)
def test_words_that_mean_nothing(here, words, message):
    # kills: a corpus without what a person thought was in it
    lay("poems.txt", "notes.md", "d/x.txt")
    (here / "empty").mkdir()
    os.mkfifo("pipe.txt")
    Path("link.txt").symlink_to("nowhere.txt")
    with pytest.raises(SettingError, match=message):
        sources(words)


@pytest.mark.parametrize(
    "said",
    [TextReading(delimiter=";"), TextReading(header=False), TextReading(sheet="2"), TextReading(encoding="cp949")],
)
def test_what_is_said_is_for_files_that_have_it(here, said):
    # kills: a delimiter that refuses the JSON beside a CSV; one that nothing has, and nobody is told
    Path("a.csv").write_bytes("text;n\n비가 왔다;1\n".encode("cp949"))
    Path("b.jsonl").write_text('{"text": "the sea"}\n')
    book = openpyxl.Workbook()
    book.active.append(["text"])
    book.create_sheet("둘").append(["text"])
    book["둘"].append(["a sheet"])
    book.save("c.xlsx")
    pq.write_table(pa.table({"text": ["the land"]}), "d.parquet")
    every = sources(["a.csv", "b.jsonl", "c.xlsx", "d.parquet"])
    must_concern(said, every)
    kinds = {TextReading(delimiter=";"): "csv", TextReading(header=False): "csv", TextReading(sheet="2"): "xlsx"}
    for source in every:
        kind = SUFFIXES[source.path.suffix]
        concerned = kind == kinds[said] if said in kinds else kind in ("csv", "jsonl")
        if concerned:
            must_concern(said, [source])
        else:
            with pytest.raises(SettingError, match=f"{source.path} is read as {kind}, .*leave --"):
                must_concern(said, [source])
    both = replace(said, delimiter=";", encoding="cp949", sheet="2", header=True)
    assert [document for source in every for document in read(source.path, column="text", how=both)] == [
        (["비가 왔다"], None),
        (["the sea"], None),
        (["a sheet"], None),
        (["the land"], None),
    ]


def test_a_folder_s_settings_are_no_text(here):
    # kills: a config.json read as text because a .json may be named; .json and .xlsx that a person named refused
    lay("d/a.txt", "d/config.json", "d/b.xlsx")
    assert named("d") == ["d/a.txt"]
    assert named("d/config.json", "d/b.xlsx") == ["d/config.json", "d/b.xlsx"]


# --- sentences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        ["One.", "Two!", "Three?", "Four…", "Five"],
        ["He said “no.”", "She left (late!).", '"Why?"', "[Why not.]", "So."],
        ["He asked “who?” and left.", "It was... no more.", "Version 2.5 of it.", "A.b"],
        [
            "Dr. Kim and Mrs. Oh met Prof. Li of St. Ives.",
            "J. R. Park of the U.S. Navy, e.g. London.",
            "Kim vs. Oh.",
        ],
        ["It is 3D.", "No.", "5 is odd.", "She is No.", "1.", "2 of 3."],
        ["비가 왔다.", "우산이 없었다!", "“왜?”", "3시였다.", "그래서…", "갔다"],
        ["今日は雨。", "傘がない！", "なぜ？", "三時。行った"],
        ["?!", "!", "Ok."],
        ["Well?!”)", "Yes."],
        ["「雨だ。」", "『はい！』", "（なぜ？）", "【了。】", "《終。》", "〈次。〉", "後"],
        ["«No.»", "‘Yes.’", "{So.}", "[Ok.]", "'Well.'", "End"],
    ],
)
def test_where_a_sentence_ends(parts):
    # kills: a mark or a closing sign left out, a border before lower case, titles and initials parted,
    # and a Korean syllable taken for lower case
    assert sentences(" ".join(parts)) == parts
    assert sentences(" \t" + " \u3000 ".join(parts) + "\r") == parts


def test_the_end_of_a_line_ends_a_sentence_and_no_other_sign_does():
    # kills: str.splitlines, blank sentences, white space left at an end
    assert sentences(" one \n\n \n two\u2028still \x0b\n") == ["one", "two\u2028still"]
    assert sentences("") == sentences(" \n\u3000") == []


@given(st.text(st.sampled_from('aB 가.!?…"”) \n。\t1é')))
def test_no_sentence_loses_a_letter(text):
    # kills: a character lost or doubled at a border, an empty sentence, an edge of white space
    parts = sentences(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in parts)


@pytest.mark.parametrize("unit", [".", ". ", ".)", ")", ' "', ".”" * 9 + " a", "A.", "\t", "Mr. "])
def test_sentences_take_time_in_proportion(unit):
    # kills: a pattern that tries again from every place in a run: these would take hours, and the test its limit
    sentences(f"x.{unit * (400_000 // len(unit))}x")
    sentences(f"x.{')' * 200_000}{unit * (200_000 // len(unit))}x")


# --- documents ----------------------------------------------------------------------------------


def test_every_format_gives_the_same_documents(write, tmp_path):
    # kills: a line of plain text taken for a document, a blank line or row for one, paragraphs run together
    plain = "\n\n" + "\n \n\n".join("\n".join(poem) for poem in POEMS)
    texts = ["", *("\n".join(poem) for poem in POEMS), " \n"]
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    tabbed = ["id\ttext", *(f"{i}\t{text}" for i, text in enumerate(quoted))]
    pq.write_table(pa.table({"text": [None, *texts], "id": range(len(texts) + 1)}), tmp_path / "a.parquet")
    files = [
        write("a.txt", plain),
        write("a.csv", "text\n" + "\n\n".join(quoted) + "\n"),
        write("a.tsv.gz", gzip.compress("\n".join(tabbed).encode())),
        write("a.jsonl", "".join(json.dumps({"id": 7, "text": text}) + "\n" for text in [None, *texts])),
        tmp_path / "a.parquet",
    ]
    for file in files:
        assert read(file) == [(poem, None) for poem in POEMS], file
        assert [each.code for each in documents(SourceFile(file, "Poems"))] == ["Poems"] * len(POEMS)


def test_a_column_is_for_rows_and_not_for_plain_text(write):
    # kills: a folder of .txt and .jsonl that no --column can read
    assert read(write("a.jsonl", '{"text": "no", "body": "yes"}'), column="body") == [(["yes"], None)]
    assert read(write("a.txt", "yes"), column="body") == [(["yes"], None)]
    with pytest.raises(SettingError, match=r"no column 'bdoy'; did you mean 'body'"):
        documents(
            SourceFile(write("a.csv", "body,n\na,1\n")), column="bdoy"
        )  # at the call, before a row is asked for


def test_a_long_document_of_plain_text_is_cut_at_a_sentence(write, monkeypatch):
    # kills: a file without blank lines held whole; a cut within a sentence; one that grows past the bound
    monkeypatch.setattr(corpus, "LONGEST_DOCUMENT", 10)
    path = write("a.txt", "One. Two.\nSix.\n" + "x" * 25 + "\nEnd.\n\nNew.\n")
    assert [parts for parts, _ in read(path)] == [["One.", "Two."], ["Six."], ["x" * 25], ["End."], ["New."]]
    path = write("a.csv", 'text\n"One. Two. Six. Ten."\n')
    assert [parts for parts, _ in read(path)] == [["One.", "Two.", "Six.", "Ten."]]


def test_documents_stream(write):
    # kills: a file read to its end, or to the next blank line a long way off, before the first document
    data = gzip.compress(b"one\n\n" + b"".join(b"%d\n" % (i * i) for i in range(100_000)))
    stream = documents(SourceFile(write("a.txt.gz", data[: len(data) // 2])))
    assert next(stream).sentences == ["one"]


@pytest.mark.parametrize(
    "name, broken",
    [
        ("a.txt", "öne\n\ntwó\nthrée\nna".encode() + b"\xefve\n\nlost\n"),
        ("a.csv", 'text,id\nöne,1\n"twó\nthrée",2\nna'.encode() + b"\xefve,3\nlost,4\n"),
        ("a.csv", 'text,id\nöne,1\n"twó\nthrée",2\nfour,3,3\nlost,4\n'),
        ("a.jsonl", '{"text": "öne"}\n\n{"text": "twó\\nthrée"}\n{"text": 4}\n{"text": "lost"}\n'),
    ],
)
def test_all_that_is_sound_before_a_fault_is_given_first(write, name, broken):
    # kills: up to 2,047 sound rows lost with the broken one behind them; a fault without its line
    yielded = []
    with pytest.raises(TextError, match=rf"{re.escape(name)}, line [45]"):
        for document in documents(SourceFile(write(name, broken))):
            yielded.append(document.sentences)
    assert yielded == [["öne"], ["twó", "thrée"]]


def test_codes_of_rows(write, tmp_path):
    # kills: numbers that turn into others, a code of the row before, codes looked for in blank rows
    rows = [("a", 7), ("b", 0.5), (" ", None), ("c", True), ("d", "Sea, old")]
    lines = "".join(json.dumps({"text": text, "kind": kind}) + "\n" for text, kind in rows)
    want = [(["a"], "7"), (["b"], "0.5"), (["c"], "true"), (["d"], "Sea, old")]
    assert read(write("a.jsonl", lines), code_column="kind") == want
    assert read(write("a.csv", 'text,kind\na,007\nb,"1,5"\n'), code_column="kind") == [
        (["a"], "007"),
        (["b"], "1,5"),
    ]
    pq.write_table(pa.table({"text": ["a", "b"], "kind": [Decimal("1.50"), None]}), tmp_path / "a.parquet")
    stream = documents(SourceFile(tmp_path / "a.parquet"), code_column="kind")
    assert next(stream) == Document(["a"], "1.50")
    with pytest.raises(TextError, match=r"a\.parquet, row 2: the control code in 'kind' is null or absent; give"):
        next(stream)


@pytest.mark.parametrize(
    "value, message",
    [
        ("null", "row 3000: the control code in 'kind' is null or absent; give every row one"),
        (None, "row 3000: the control code in 'kind' is null or absent"),
        ('""', "row 3000: the control code in 'kind', '', is no name"),
        ('"\\ud800"', "row 3000: the control code in 'kind', '.ud800', is no name"),
        ('["x"]', "row 3000: the control code in 'kind' is list, not a string or number"),
    ],
)
def test_codes_that_are_none(write, value, message):
    # kills: a document under the code "None", and a block of records without the key told as another column
    last = "{" + '"text": "b"' + (f', "kind": {value}' if value else "") + "}"
    path = write("a.jsonl", '{"text": "a", "kind": "x"}\n' * 2999 + last)
    stream = documents(SourceFile(path), code_column="kind")
    assert [next(stream).code for _ in range(2999)] == ["x"] * 2999
    with pytest.raises(TextError, match=message):
        next(stream)
    with pytest.raises(TextError, match="row 1: the control code in 'kidn' is null or absent"):
        next(documents(SourceFile(path), code_column="kidn"))


@pytest.mark.parametrize(
    "name, code, message",
    [
        ("a.csv", None, r"a\.csv has no column 'kind' .*; did you mean 'kinds'\?\. Columns: text, kinds"),
        ("a.txt", None, r"a\.txt has no column 'kind' to take control codes from; give it one as code=FILE"),
        ("a.txt", "c", r"a\.txt has no column 'kind' to take control codes from"),
    ],
)
def test_columns_of_codes_that_are_not_there(write, name, code, message):
    # kills: a document without a code among others that have one; an error that waits for the first row
    path = write(name, "text,kinds\na,b\n")
    with pytest.raises(SettingError, match=message):
        documents(SourceFile(path, code), code_column="kind")


# --- duplicates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first, other, same",
    [
        ("The sea, the sea!", "the SEA  the\tsea", True),
        ("“So,” she said…", "so she said", True),
        ("straße", "STRASSE", True),
        ("ﬁve ＡＢＣ①", "five abc1", True),
        ("e\u0301t\u00e9", "\u00e9te\u0301", True),
        ("비가, 왔다。", "비가왔다", True),
        ("co\u2010op\u00a0x\u2028y", "co-op x y", True),
        ("का", "की", False),
        ("$5", "5", False),
        ("good 😀", "good 😡", False),
        ("one", "two", False),
        ("ab", "ba", False),
    ],
)
def test_which_documents_are_the_same(first, other, same):
    # kills: a fold left out, one that also takes vowel signs or symbols, and bytes of a longer character
    assert (document_digest(Document([first])) == document_digest(Document([other]))) == same
    assert len(document_digest(Document([first]))) == 8


def test_the_same_text_under_two_codes_is_two_documents():
    # kills: a code that is not part of the digest, or runs into the text
    texts = [
        Document(["b c"], "a"),
        Document(["b c"], "d"),
        Document(["b c"]),
        Document(["c"], "ab"),
        Document(["abc"]),
    ]
    assert len(set(map(document_digest, texts))) == len(texts)
    assert document_digest(Document(["one. two"], "a")) == document_digest(Document(["one.", "two"], "a"))


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_seen_agrees_with_a_set(batches):
    # kills: a number taken for new within a batch, or when runs are merged; the largest one looked up past an end
    seen, known = SeenDigests(), set()
    for batch in batches:
        numbers = np.array([(2**64 - 1) * number // 40 for number in batch], np.uint64)
        want = [number not in known and number not in batch[:place] for place, number in enumerate(batch)]
        assert seen.first_time(numbers).tolist() == want
        known |= set(batch)


def test_seen_goes_on_from_numbers_kept():
    # kills: a resumed preparation that keeps what it had dropped
    seen = SeenDigests(np.array([9, 2, 5], np.uint64))
    assert seen.first_time(np.array([5, 1, 9, 2], np.uint64)).tolist() == [False, True, False, False]


def test_seen_takes_few_bytes_a_number():
    # kills: a set of Python numbers (some 60 bytes each), runs never merged, and merges by way of two more copies
    chance, count = np.random.default_rng(0), 1_000_000
    seen = SeenDigests()
    tracemalloc.start()
    for _ in range(count // 10_000):
        seen.first_time(chance.integers(0, 2**64, 10_000, np.uint64))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 8.5 * count and peak < 17 * count
    assert len(seen._runs) < 20
