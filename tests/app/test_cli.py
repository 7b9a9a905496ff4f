"""The command line, from a person's side: what it prints, where, and with which exit code.

Each test names the fault it is to catch. Commands run in this process where the process is not the point.
"""

import csv
import errno
import gzip
import io
import json
import os
import resource
import statistics
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sijo
from sijo.files.tables import TextTable
from sijo.files.writing.cells import six_digits

LABELS = ("--labels", "sea,land")
TEXTS = ["the old sea", "rain, and sun", "", "land 네 😀", "it's a game"]


@pytest.fixture
def classify(sijo_cli, tiny_model):
    """`classify(*arguments)`: the command with the tiny model and two labels; must succeed, gives what it said."""

    def run(*arguments, labels=LABELS, stdin=b""):
        ran = sijo_cli("classify", *arguments, *labels, "--model", tiny_model, stdin=stdin)
        assert ran.code == 0, ran.err
        return ran

    return run


@pytest.fixture
def bad(refused, tiny_model):
    """`bad(code, words, *arguments)`: the same, but it must fail so, print nothing and touch no file."""

    def run(code, words, *arguments, labels=LABELS, stdin=b""):
        return refused(code, words, "classify", *arguments, *labels, "--model", tiny_model, stdin=stdin)

    return run


def seen(folder):
    """What is in a folder, but for what says of an output what it was made of."""
    return [path for path in folder.iterdir() if not path.name.endswith(".sijo-id")]


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


# --- input that must be mended


@pytest.mark.parametrize(
    "code, name, content, words",
    [
        (3, "a.txt", b"", ["a.txt is empty", "0 bytes"]),
        (3, "a.csv", b"", ["empty"]),
        (3, "a.jsonl", b"\n\n", ["no records"]),
        (3, "a.csv", b"id,text\n", ["header but no rows"]),
        (2, "a.csv", b"id,body\n1,x\n", ["no column 'text'", "--column", "id, body"]),
        (3, "a.txt", b"good\nbad \xff\n", ["not UTF-8", "--encoding", "line 2 is 'bad ÿ' in cp1252"]),
        (3, "a.txt", "é à ü\nbad ".encode() + b"\xff\n", ["line 2", "0xff", "not UTF-8", "--encoding"]),
        (3, "a.txt", b"good\nnul\0\n", ["line 2", "NUL"]),
        (3, "a.csv", b"id,text\n1,a\0b\n", ["line 2", "NUL"]),
        (3, "a.jsonl", b'{"text": "a\\u0000b"}\n', ["line 1", "NUL"]),
        (3, "a.jsonl", b'{"text": "good"}\n{"text": "half \\ud83d"}\n', ["line 2", "\\ud83d"]),
        (3, "a.jsonl", b'{"text": "good"}\n{"text": 3}\n', ["line 2", "a number, not a string"]),
        (3, "a.jsonl", b'{"text": "good"}\n{"txt": "b"}\n', ["line 2", "no key 'text'"]),
        (3, "a.jsonl", b'{"text": "good"}\n{"text": "b"', ["line 2", "not JSON"]),
        (3, "a.jsonl", b'["good"]\n', ["line 1", "array"]),
        (3, "a.csv", b"id,text\n1,a\n2,b,c\n", ["line 3", "fields is 3, but 2"]),
        (3, "a.csv", b'id,text\n1,"a\n2,b\n', ["line 2", "quote is not closed"]),
        (3, "a.csv", b"text,text\na,b\n", ["'text' twice"]),
        (
            3,
            "a.txt.gz",
            gzip.compress(b"".join(b"%d\n" % number**9 for number in range(999)), mtime=0)[:2000],
            ["cut short or damaged"],
        ),
        (3, "a.txt.gz", b"not packed at all", ["cut short or damaged"]),
        (3, "a.parquet", parquet(pa.table({"text": ["a", "b"]}))[:-20], ["cut short or damaged"]),
        (3, "a.parquet", parquet(pa.table({"text": ["a", "b"]}))[:60], ["cut short or damaged"]),
        (3, "a.parquet", parquet(pa.table({"text": [1, 2]})), ["int64", "string"]),
        (3, "a.parquet", parquet(pa.table({"text": pa.array([], pa.string())})), ["no rows"]),
        (2, "a.docx", b"PK", ["ends in none of", "--input-format"]),
    ],
)
@pytest.mark.parametrize("to", ["stdout", "file"])
def test_input_that_must_be_mended(bad, write, tmp_path, code, name, content, words, to):
    # kills: a trace, a wrong code, rows printed from a broken block, a work folder or half an output left
    output = () if to == "stdout" else ("--output", tmp_path / "out.csv")
    bad(code, words, write(name, content), *output)


def test_names_that_were_mistyped(bad, write):
    # kills: an error that leaves the person to find the right name
    path = write("news.csv", "id,headline\n1,x\n")
    bad(2, ["no column 'headlin'", "did you mean 'headline'"], path, "--column", "headlin")
    bad(2, ["no file", "did you mean 'news.csv'"], path.with_name("new.csv"))
    bad(2, "is a folder", path.parent)
    bad(2, ["no column 'lables'"], path, "--column", "headline", "--labels-column", "lables", labels=())
    bad(
        2,
        ["Unknown option: --lables", "--labels?", "See: sijo classify --help"],
        path,
        "--lables",
        "a,b",
        labels=(),
    )
    bad(2, ["Unknown option: --lables", "--labels?"], "--lables", "a,b", labels=())
    bad(2, ["--dtype", "float33"], path, "--dtype", "float33")
    bad(2, "--threshold", path, "--threshold", "often")
    bad(2, ["delimiter"], path, "--delimiter", ";;")


def test_an_unknown_command_is_hinted_at(refused):
    # kills: a trace from the argument parser
    refused(2, ["clasify", "classify"], "clasify", "x.csv")
    refused(2, ["no file 'x.csv'"], "evaluate", "x.csv")
    refused(2, ["no use for 'x.csv'. Give it as --train.", "sijo finetune --help"], "finetune", "x.csv")
    refused(2, ["no use for 'b'", '--labels "billing,shipping"'], "fit", "x.csv", "--labels", "a", "b")


@pytest.mark.parametrize(
    "words, arguments",
    [
        (["no file 'land'. If it is a label, labels go in one argument"], ("--labels", "sea", "land", "sky")),
        (["no file 'land,'. If it is a label"], ("--labels", "sea,", "land,", "sky")),
        (
            ["'labels.csv' is the name of a file; did you mean --labels-file labels.csv?"],
            ("--labels", "labels.csv"),
        ),
        (["ends in ',', and no label stands behind it"], ("--labels", "sea,land,")),
        (["ends in ';', and no label"], ("--labels", "sea;land;")),
    ],
)
@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_labels_that_were_mistyped(refused, write, tiny_model, command, words, arguments):
    # kills: labels taken for files, a file for a label, and a blank label without a word on where it stands
    refused(2, words, command, write("a.csv", "text,label\na,sea\n"), *arguments, "--model", tiny_model)


def test_errors_of_the_library_name_the_option_alone(bad):
    # kills: a setting of Python in the words of a command
    words = "add a label, give --none-label, or judge it by itself with --multi-label"
    bad(2, words, labels=("--labels", "sea"), stdin=b"the sea\n")


def test_an_output_that_is_the_input(bad, write, tmp_path):
    # kills: an input replaced by --overwrite, under its own name or a link's; "exists" and no word of it; a new
    # output refused for an input that is not there
    path, link = write("a.csv", "text\na\n"), tmp_path / "link.csv"
    link.symlink_to(path)
    for output in (path, link):
        for more in ((), ("--overwrite",), ("--resume",)):
            bad(2, [f"the output {output} is the input; write it elsewhere"], path, "--output", output, *more)
    bad(2, "no file", tmp_path / "b.csv", "--output", tmp_path / "b.csv")


def test_files_stay_files_beside_labels(refused, classify, write):
    # kills: a mistyped file that is told to be a label; a label refused for its dot; silence on a file's name
    path = write("rows.csv", "text\na\n")
    ran = refused(2, "did you mean 'rows.csv'?", "classify", path.with_name("row.csv"), "--labels", "sea,land")
    assert "label" not in ran.err.partition("did you mean")[2]
    assert "--labels holds" not in classify(path, labels=("--labels", "node.js,c.txtual")).err
    warned = classify(path, labels=("--labels", "labels.txt,sea")).err
    assert "--labels holds 'labels.txt', which is read as a label; --labels-file" in warned


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("temperature", ("--temperature", "0")),
        ("temperature", ("--temperature", "-1")),
        ("temperature", ("--temperature", "nan")),
        ("template", ("--hypothesis-template", "no place")),
        ("template", ("--hypothesis-template", "{} and {}")),
        ("--none-threshold nan is no number", ("--none-label", "other", "--none-threshold", "nan")),
        ("threshold", ("--multi-label", "--threshold", "1.5")),
        ("threshold", ("--multi-label", "--threshold", "nan")),
        ("'sea' is also one of the labels", ("--none-label", "sea")),
        ("--output", ("--resume",)),
        ("--output", ("--overwrite",)),
        ("--format is about printing", ("--format", "csv", "--output", "a.csv")),
    ],
)
def test_settings_that_will_not_do(bad, words, arguments):
    # kills: an answer computed with a setting that means nothing, or a wrong one noticed after hours
    bad(2, words, *arguments, stdin=b"the sea\n")


def test_input_that_is_odd_but_right(classify, write):
    # kills: a mark that ends up in the first column's name, a lost last line, a needless refusal
    ran = classify(write("a.csv", b"\xef\xbb\xbftext\nthe sea\n"))
    assert [next(iter(row)) for row in ran.rows()] == ["text"] and ran.rows()[0]["tokens"] == 2
    assert [row["text"] for row in classify(write("b.txt", b"no end")).rows()] == ["no end"]
    assert classify(write("c.tsv", "id\ttext\n1\tthe sea\n")).rows()[0]["id"] == "1"


def test_a_text_of_a_million_characters(classify, write, tmp_path):
    # kills: a text cut in silence, a limit on a field, tokens counted with the special ones
    words = 41_667  # of 24 characters with the space, and one token each
    path = write("long.csv", "id,text\n1," + "electroencephalographic " * words + "\n2,rain\n")
    ran = classify(path, "--output", tmp_path / "out.parquet")
    long, short = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(long["text"]) == 24 * words > 1_000_000
    assert (long["tokens"], long["windows"], long["truncated"]) == (words, -(-words // 30), False)
    assert (short["tokens"], short["windows"]) == (1, 1)
    assert "read in windows" in ran.err
    ran = classify(path, "--long-text", "truncate")
    assert [row["truncated"] for row in ran.rows()] == [True, False] and "texts cut at" in ran.err
    assert ran.rows()[0]["tokens"] == words


def test_an_empty_text_keeps_its_row_and_gets_no_label(classify):
    # kills: a row dropped, a label out of nothing, a score in JSON that is NaN
    ran = classify(stdin="\n".join(TEXTS).encode())
    assert [row["text"] for row in ran.rows()] == TEXTS
    empty = ran.rows()[2]
    assert (empty["label"], empty["score"], empty["tokens"]) == (None, None, 0)
    assert all(row["label"] in ("sea", "land") for row in ran.rows() if row["text"])
    assert "rows without text: " in ran.err
    rows = classify("--multi-label", stdin=b"\n").rows()
    assert (rows[0]["labels"], rows[0]["scores"]) == ([], [])


# --- errors in the middle


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_error_in_the_middle_keeps_what_is_done(sijo_cli, classify, tiny_model, write, tmp_path, suffix):
    # kills: hours of work lost to one bad row, or a resumed run that repeats or skips rows
    good = "id,text\n" + "".join(f"{number},the sea {number}\n" for number in range(2500))
    path, output = write("long.csv", good.replace("\n2400,", "\n2400,too,many,")), tmp_path / f"out.{suffix}"
    ran = sijo_cli("classify", path, *LABELS, "--model", tiny_model, "--output", output)
    ran.must_say(3, "line 2402")
    assert "2,048 rows are done and kept" in ran.err and "--resume" in ran.err and ran.out == b""
    assert not output.exists()

    again = sijo_cli("classify", path, *LABELS, "--model", tiny_model, "--output", output)
    again.must_say(2, "unfinished run", "--resume", "--overwrite")
    write("long.csv", good)
    ran = classify(path, "--output", output, "--resume")
    assert ran.out == b"" and f"2,500 rows in {output}" in ran.err
    other = tmp_path / f"undisturbed.{suffix}"
    classify(path, "--output", other)
    assert output.read_bytes() == other.read_bytes()
    assert sorted(seen(tmp_path)) == sorted([path, output, other])
    assert "complete already" in classify(path, "--output", output, "--resume").err


def test_a_resumed_run_with_other_labels_or_input_is_refused(sijo_cli, bad, tiny_model, write, tmp_path):
    # kills: one output with answers to two questions
    rows = "text\n" + "the sea\n" * 3000
    path, output = write("a.csv", rows + "a,b\n"), tmp_path / "out.csv"
    sijo_cli("classify", path, *LABELS, "--model", tiny_model, "--output", output).must_say(3)
    bad(2, ["labels", "rain"], path, "--output", output, "--resume", labels=("--labels", "sea,rain"))
    bad(2, "temperature", path, "--output", output, "--resume", "--temperature", "0.5")
    write("a.csv", rows.replace("the", "a"))
    bad(3, ["rows 1 to 2048", "changed"], path, "--output", output, "--resume")


# --- labels


@pytest.mark.parametrize(
    "code, words, labels",
    [
        (2, ["say what to choose from", "--labels"], ()),
        (2, "no labels were given", ("--labels", "")),
        (2, ["label 2 of 3 is ''"], ("--labels", "sea,,land")),
        (2, ["given twice"], ("--labels", "sea,land, Sea")),
        (2, ["cannot be split", "double quotes"], ("--labels", 'sea,"Lisbon, Portugal')),
        (2, ["the one label 'sea'", "--multi-label", "--none-label"], ("--labels", "sea")),
        (2, ["--labels and --labels-file"], ("--labels", "sea,land", "--labels-file", "labels.txt")),
        (2, ["say what to choose from"], ("--labels", "sea,land", "--labels-column", "text")),
        (2, ["labels.tx", "did you mean 'labels.txt'"], ("--labels-file", "labels.tx")),
        (2, [".yaml", ".json"], ("--labels-file", "labels.yaml")),
        (2, "no labels were given", ("--labels-file", "blank.txt")),
        (2, "given twice", ("--labels-file", "twice.csv")),
        (3, "not JSON", ("--labels-file", "broken.json")),
        (3, "list of labels or an object", ("--labels-file", "string.json")),
        (3, "begin with the line", ("--labels-file", "bare.csv")),
        (3, "not UTF-8", ("--labels-file", "latin.txt")),
        (2, "surrogate", ("--labels-file", "half.json")),
        (2, "a label is a word", ("--labels-file", "numbers.json")),
    ],
)
def test_labels_that_will_not_do(bad, write, tmp_path, monkeypatch, code, words, labels):
    # kills: a label lost, doubled or made of two, and any error that is not the person's sentence
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "labels.txt": "sea\nland\n",
        "labels.yaml": "- sea\n",
        "blank.txt": "\n \n",
        "twice.csv": "label,description\nsea,water\nsea,salt\n",
        "broken.json": '["sea", ',
        "string.json": '"sea"',
        "bare.csv": "sea,land\n",
        "latin.txt": "ma\xf1ana\nsea".encode("latin-1"),
        "half.json": '["sea", "\\ud83d"]',
        "numbers.json": "[1, 2]",
    }.items():
        write(name, content)
    bad(code, words, labels=labels, stdin=b"the sea\n")


def test_labels_of_every_kind(classify, write):
    # kills: a comma inside a label that parts it, and a description lost
    def labels(*arguments):
        return classify("--all-scores", labels=arguments, stdin=b"the sea\n").rows()[0]["label_scores"]

    commas = {"Lisbon, Portugal", "sea"}
    assert set(labels("--labels", '"Lisbon, Portugal", sea')) == commas
    assert set(labels("--labels-file", write("a.txt", "Lisbon, Portugal\n\nsea\n"))) == commas
    assert set(labels("--labels-file", write("a.json", '["Lisbon, Portugal", "sea"]'))) == commas
    assert (
        set(labels("--labels-file", write("b.csv", '\ufefflabel,description\n"Lisbon, Portugal",x\nsea,\n')))
        == commas
    )
    described = labels("--labels-file", write("c.json", '{"Lisbon, Portugal": "a town", "sea": ["salt", "water"]}'))
    assert set(described) == commas and described != labels(
        "--labels-file", write("a.txt", "Lisbon, Portugal\nsea\n")
    )
    assert set(labels("--labels", "Séa,land")) == {"Séa", "land"}


def test_one_label_is_enough_where_it_may_not_fit(classify):
    # kills: a refusal of the two questions that one label can answer
    rows = classify("--multi-label", "--threshold", "0", labels=("--labels", "sea"), stdin=b"rain\n").rows()
    assert rows[0]["labels"] == ["sea"] and rows[0]["scores"][0] < 1
    rows = classify("--none-label", "other", labels=("--labels", "sea"), stdin=b"rain\n\n").rows()
    assert rows[0]["label"] in ("sea", "other") and rows[1]["label"] == "other"


def test_labels_of_each_row(classify, bad, write):
    # kills: a label of one row offered to another, sets of unlike size, a comma inside an item of a list
    strings = write("a.csv", 'text,own\nthe sea,"sea,land,rain"\nrain,"[""a, b"", ""c""]"\nsun,"""d, e"",f"\n')
    columns_read = [
        set(row["label_scores"])
        for row in classify(strings, "--all-scores", labels=("--labels-column", "own")).rows()
    ]
    assert columns_read == [{"sea", "land", "rain"}, {"a, b", "c"}, {"d, e", "f"}]
    lists = pa.table({"text": ["the sea", "rain"], "own": [["sea", "a, b"], ["c", "d", "e"]]})
    path = write("b.parquet", parquet(lists))
    rows = classify(path, "--all-scores", labels=("--labels-column", "own")).rows()
    assert [set(row["label_scores"]) for row in rows] == [{"sea", "a, b"}, {"c", "d", "e"}]
    assert all(abs(sum(row["label_scores"].values()) - 1) < 1e-5 for row in rows)

    for own, words in {
        "[]": "no labels",
        '["a", "a"]': "given twice",
        '["a", 3]': "label 2 of 2 is 3",
        '["a", ""]': "label 2 of 2",
        '["a"]': "the one label 'a'",
        '"a,,b"': "label 2 of 3",
        "null": "no labels",
        "3": "3 is neither a list of labels",
        '"[\\"a\\", "': "Expecting value",
    }.items():
        path = write("c.jsonl", '{"text": "x", "own": ["a", "b"]}\n' + f'{{"text": "y", "own": {own}}}\n')
        bad(3, ["row 2, column 'own'", words], path, labels=("--labels-column", "own"))


# --- output


def test_an_output_that_exists_is_replaced_only_when_asked(classify, bad, write, tmp_path):
    # kills: somebody's file gone
    output = write("out.csv", "precious")
    bad(2, [f"output {output} exists", "--overwrite"], "--output", output, stdin=b"the sea\n")
    classify("--output", output, "--overwrite", stdin=b"the sea\n")
    assert output.read_text().startswith("text,label,score,margin,tokens,windows,truncated,scorer\nthe sea,")
    assert seen(tmp_path) == [output]


def test_outputs_that_cannot_be_written(bad, write, tmp_path):
    # kills: hours of work before the first look at the output's folder
    file = write("file.txt", "x")
    for output in (tmp_path / "absent/out.csv", file / "out.csv", "/proc/out.csv"):
        bad(2, "cannot write in", "--output", output, stdin=b"the sea\n")
    bad(2, ["must end in one of", ".csv"], "--output", tmp_path / "out.xls", stdin=b"the sea\n")
    bad(2, ["must end in one of"], "--output", tmp_path / "out", stdin=b"the sea\n")
    bad(2, ["must end in one of", "did you mean '.jsonl'?"], "--output", tmp_path / "out.json", stdin=b"the sea\n")
    (tmp_path / "folder.csv").mkdir()
    bad(2, "no file", "--output", tmp_path / "folder.csv", stdin=b"the sea\n")


def test_a_full_disk_keeps_what_is_done(sijo_cli, classify, tiny_model, write, tmp_path, monkeypatch):
    # kills: half an output, or a trace, when a disk fills up; finished blocks lost
    path = write("a.txt", "the sea\n" * 2500)
    syncs = []

    def full(handle):
        syncs.append(handle)
        if len(syncs) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ran = sijo_cli("classify", path, *LABELS, "--model", tiny_model, "--output", tmp_path / "out.csv")
    ran.must_say(74, "No space left on device")
    assert "rows are done and kept" in ran.err and not (tmp_path / "out.csv").exists()
    classify(path, "--output", tmp_path / "out.csv", "--resume")
    classify(path, "--output", tmp_path / "want.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "want.csv").read_bytes()
    assert len(seen(tmp_path)) == 3


def test_a_disk_that_is_truly_full(sijo_cli, classify, tiny_model, write, small_disk):
    # kills: what only a real file system does
    disk = small_disk("512k")
    path = write("a.txt", "the sea\n" * 9000)
    ran = sijo_cli("classify", path, *LABELS, "--model", tiny_model, "--output", disk / "out.jsonl")
    ran.must_say(74, "No space left on device")
    assert "rows are done and kept" in ran.err and not (disk / "out.jsonl").exists()
    small_disk("16m")
    classify(path, "--output", disk / "out.jsonl", "--resume")
    assert len((disk / "out.jsonl").read_bytes().splitlines()) == 9000
    assert [file.name for file in seen(disk)] == ["out.jsonl"]


@pytest.mark.parametrize("code, message", [(74, "sijo: No space left on device\n"), (141, "")])
def test_help_that_nobody_gets(code, message):
    # kills: exit code 0 for it, or Python's own complaint as it clears up; a process that ends as they really do
    if code == 74:
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, out = os.pipe()
        os.close(reader)
    command = [sys.executable, "-c", "from sijo.app.cli import main; main()", "--version"]
    ran = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(out)
    assert (ran.returncode, ran.stderr) == (code, message)


def test_a_name_that_the_input_has_gets_a_prefix(classify, bad, write):
    # kills: the gold labels of a data set overwritten by guesses
    rows = classify(write("a.csv", "text,label,score\nthe sea,land,7\n")).rows()
    assert list(rows[0]) == [
        "text",
        "label",
        "score",
        "predicted_label",
        "predicted_score",
        "margin",
        "tokens",
        "windows",
        "truncated",
        "scorer",
    ]
    assert (rows[0]["label"], rows[0]["score"]) == ("land", "7")
    path = write("b.csv", "text,label,predicted_label\nthe sea,land,sea\n")
    bad(2, ["'label' and 'predicted_label'", "rename"], path)
    bad(2, ["'label' and 'predicted_label'", "rename"], path, "--output", path.with_name("out.csv"))


# --- formats

TABLE = pa.table(
    {
        "id": ["007", "1e5", "", "4", "5"],
        "text": TEXTS,
        "note": ['a "quoted" one', "two\nlines", "", " spaces ", "comma, here"],
    }
)


def as_csv(table):
    sink = io.StringIO()
    csv.writer(sink).writerows([table.column_names, *(row.values() for row in table.to_pylist())])
    return sink.getvalue().encode()


def as_jsonl(table):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()


SOURCES = {
    "text": ("txt", "\n".join(TEXTS).encode()),
    "csv": ("csv", as_csv(TABLE)),
    "jsonl": ("jsonl", as_jsonl(TABLE)),
    "parquet": ("parquet", parquet(TABLE)),
}
READ = {
    "csv": lambda raw: list(csv.DictReader(io.StringIO(raw.decode(), newline=""))),
    "jsonl": lambda raw: [json.loads(line) for line in raw.decode().splitlines()],
    "parquet": lambda raw: pq.read_table(io.BytesIO(raw)).to_pylist(),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_format_in_by_file_and_by_pipe_and_out(classify, write, tmp_path, kind):
    # kills: a column or value changed on the way, or an answer that depends on the way
    suffix, content = SOURCES[kind]
    path = write(f"in.{suffix}", content)
    records = [{"text": text} for text in TEXTS] if kind == "text" else TABLE.to_pylist()
    answers = set()
    for to, read in READ.items():
        for piped in (False, True):
            output = tmp_path / f"{piped}.{to}"
            source = ("-", "--input-format", kind) if piped else (path,)
            ran = classify(*source, "--output", output, stdin=content if piped else b"")
            assert ran.out == b""
            rows = read(output.read_bytes())
            assert [{name: row[name] for name in records[0]} for row in rows] == records
            assert list(rows[0])[: len(records[0])] == list(records[0])
            answers.add(
                tuple(
                    (row["label"] or None, int(row["tokens"]), f"{float(row['score'] or -1):.6g}") for row in rows
                )
            )
    for to in ("csv", "jsonl"):
        ran = classify(path, "--format", to)
        assert ran.out == (tmp_path / f"False.{to}").read_bytes()  # kills: two ways to write a format
    assert len(answers) == 1
    assert next(iter(answers))[2] == (None, 0, "-1")


def test_a_pipe_gets_json_lines_and_a_table_when_asked(classify):
    # kills: colour or a bar in a file, a summary among the rows
    stdin = b"the sea\n[red]rain[/red]\n\n"
    ran = classify(stdin=stdin)
    assert [row["text"] for row in ran.rows()] == ["the sea", "[red]rain[/red]", ""]
    assert "3 rows" in ran.err
    ran = classify("--format", "table", stdin=stdin)
    lines = ran.out.decode().splitlines()
    assert lines[0].split() == ["label", "score", "margin", "scorer", "text"] and "[red]rain[/red]" in lines[2]
    assert "\x1b" not in ran.out.decode()
    assert len(lines) == 4 and lines[3].split() == ["–", "–", "–", "embedding"]


def test_a_long_text_leaves_the_other_columns_their_room(classify):
    # kills: a text that fills the line alone, with no label beside it
    ran = classify("--format", "table", stdin=("the sea " * 60 + "\n네 " + "바다 " * 60 + "\n").encode())
    header, *lines = ran.out.decode().splitlines()
    assert header.split() == ["label", "score", "margin", "scorer", "text"] and len(lines) == 2
    for line in lines:
        label, score, margin, scorer, text = line.split(maxsplit=4)
        assert (label, scorer) in (("sea", "embedding"), ("land", "embedding")) and float(score) >= float(margin)
        assert text.rstrip().endswith("…") and len(line) <= 80


def test_quiet_says_nothing(classify, tmp_path):
    # kills: a mail from cron each night
    assert classify("--quiet", stdin=b"the sea\n\n").err == ""
    assert classify("-q", "-o", tmp_path / "out.csv", stdin=b"the sea\n").err == ""


def test_multi_label_and_all_scores(classify):
    # kills: probabilities of another label, an order that is not by probability, a threshold passed over
    labels = ("--labels", "sea,land,rain,sun")
    everything, fitting, single = (
        classify(*extra, "--all-scores", labels=labels, stdin=b"the old sea\n").rows()[0]
        for extra in (("--multi-label", "--threshold", "0"), ("--multi-label",), ())
    )
    scores = everything["label_scores"]
    assert list(scores) == everything["labels"] and list(scores.values()) == everything["scores"]
    assert everything["scores"] == sorted(scores.values(), reverse=True) and len(scores) == 4
    assert fitting["labels"] == [label for label in scores if scores[label] >= 0.5]
    assert (
        next(iter(single["label_scores"])) == single["label"]
        and single["label_scores"][single["label"]] == single["score"]
    )
    assert abs(sum(single["label_scores"].values()) - 1) < 1e-5
    assert "label" not in fitting and "labels" not in single


def test_the_command_and_the_library_agree(classify, tiny_model):
    # kills: a setting that the command drops on its way to the library
    settings = {
        "hypothesis_template": "the {} is old",
        "temperature": 0.3,
        "none_label": "x",
        "none_threshold": 0.2,
    }
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    rows = classify(*options, stdin=b"the old sea\nrain\n").rows()
    library = sijo.ZeroShotClassifier(["sea", "land"], model=tiny_model, **settings)
    answers = library.classify(["the old sea", "rain"])
    assert [(row["label"], row["score"]) for row in rows] == [(row.label, six_digits(row.score)) for row in answers]
    plain = classify(stdin=b"the old sea\nrain\n").rows()
    assert plain != rows


def test_a_cache_gives_the_same_answers(classify, bad, write, tmp_path):
    # kills: vectors that change on their way through the store, a trace over a damaged one
    first = classify("--cache", tmp_path / "cache", stdin=b"the sea\nrain\n")
    assert classify("--cache", tmp_path / "cache", stdin=b"the sea\nrain\n").out == first.out
    (store,) = (tmp_path / "cache").iterdir()
    store.write_bytes(b"not a database" * 1000)
    again = classify("--cache", tmp_path / "cache", stdin=b"the sea\nrain\n")
    assert again.out == first.out and "cannot be read" in again.err and f"{store.name}.aside" in again.err
    bad(2, "is a file", "--cache", store, stdin=b"the sea\n")


# --- evaluate

GOLD = "text,label\n" + "".join(
    f"{text},{label}\n"
    for text, label in [("the sea", "sea"), ("good land", "land"), ("salt", "sea"), ("a tax", "land")] * 3
)


def test_evaluate_prints_strict_json(sijo_cli, tiny_model, write, tmp_path):
    # kills: NaN in JSON, an interval the wrong way round, a plot that is announced and not drawn
    def strict(word):
        raise AssertionError(f"{word} is not JSON")

    path, plot = write("gold.csv", GOLD), tmp_path / "plot.svg"
    ran = sijo_cli("evaluate", "--data", path, "--model", tiny_model, "--resamples", 100, "--plot", plot)
    assert ran.code == 0, ran.err
    measured = json.loads(ran.out, parse_constant=strict)
    accuracy = measured["accuracy"]
    assert measured["rows"] == 12 and 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert measured["task"] == "zero-shot" and measured["data"] == str(path)
    assert plot.read_text().lstrip().startswith("<?xml")
    ran = sijo_cli("evaluate", "--data", path, "--model", tiny_model, "--resamples", 100, "--format", "table")
    assert ran.code == 0 and "accuracy" in ran.out.decode().casefold()
    piped = ("--data", "-", "--input-format", "csv", "--none-label", "other", "--resamples", 100)
    none = sijo_cli("evaluate", *piped, "--model", tiny_model, stdin=(GOLD + "rain,other\n").encode())
    assert none.code == 0 and json.loads(none.out, parse_constant=strict)["rows"] == 13


@pytest.mark.parametrize(
    "code, words, arguments",
    [
        (2, "--data FILE", ()),
        (2, ["no column 'lable'", "did you mean 'label'"], ("--data", "gold.csv", "--label-column", "lable")),
        (2, ["no column 'txt'", "did you mean 'text'"], ("--data", "gold.csv", "--text-column", "txt")),
        (3, ["'land'"], ("--data", "gold.csv", "--labels", "sea,rain")),
        (3, ["no row of holes.csv has a label in the column 'label'"], ("--data", "holes.csv")),
        (3, ["row 1", "0.5", "not a label"], ("--data", "numbers.jsonl")),
        (2, ["plot.doc", ".png"], ("--data", "absent.csv", "--plot", "plot.doc")),
        (2, ["no file", "absent.csv"], ("--data", "absent.csv")),
        (2, "resamples", ("--data", "gold.csv", "--resamples", "0")),
        (2, "seed", ("--data", "gold.csv", "--seed", "-1")),
        (2, "the one label 'sea'", ("--data", "one.csv")),
    ],
)
def test_evaluations_that_cannot_be(refused, tiny_model, write, tmp_path, monkeypatch, code, words, arguments):
    # kills: a wrong code, or a plot refused after the work (the data of that case does not even exist)
    monkeypatch.chdir(tmp_path)
    write("gold.csv", GOLD)
    write("holes.csv", "text,label\nthe sea,\nrain,\n")
    write("numbers.jsonl", '{"text": "the sea", "label": 0.5}\n')
    write("one.csv", "text,label\nthe sea,sea\n")
    refused(code, words, "evaluate", *arguments, "--model", tiny_model)


# --- the process


def test_help_and_version(sijo_cli):
    # kills: a command that is not listed, an option without a word
    ran = sijo_cli("--help")
    assert ran.code == 0 and ran.err == ""
    for word in ("classify", "evaluate", "--debug"):
        assert word in ran.out.decode()
    ran = sijo_cli("classify", "--help")
    assert ran.code == 0 and "--hypothesis-template" in ran.out.decode()
    assert sijo_cli("--version").out.decode().strip() == sijo.__version__


def test_a_failure_of_ours_is_told_as_one(sijo_cli, tiny_model, monkeypatch):
    # kills: a stack trace for a person who can do nothing with it
    def broken(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(TextTable, "blocks", broken)
    ran = sijo_cli("classify", *LABELS, "--model", tiny_model, stdin=b"the sea\n")
    ran.must_say(1, "failed: ZeroDivisionError: by zero", "--debug")


def test_standard_input_that_is_closed():
    # kills: an AttributeError under a service manager that gives no input; a real process with a real shell
    command = f"'{sys.executable}' -c 'from sijo.app.cli import main; main()'"
    ran = subprocess.run(
        f"{command} classify {' '.join(LABELS)} <&-", shell=True, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2 and ran.stderr.startswith("sijo: ") and "standard input" in ran.stderr


def test_importing_and_helping_wait_for_nothing():
    # kills: a heavy import at the top of a module on the way to --help
    heavy = ("torch", "sklearn", "pyarrow", "numpy", "transformers", "matplotlib", "tokenizers", "pandas")
    code = (
        "import sys, time; began = time.process_time(); import sijo; print(time.process_time() - began)\n"
        "from sijo.app.cli import run; run(['--help'])\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    imports, helps = [], []
    for _ in range(5):
        # seconds of the processor: other tests run at the same time, and a start is all computing
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = ran.stdout.splitlines()
        assert lines[-1] == "[]" and "classify" in ran.stdout
        imports.append(float(lines[0]))
        helps.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert statistics.median(imports) < 0.3
    assert statistics.median(helps) < 0.5


def test_escape_characters_do_not_reach_a_terminal(sijo_cli, tiny_model, tmp_path):
    # catches a text that clears the screen, or worse, when it is shown
    (tmp_path / "a.txt").write_bytes(b"the sea \x1b[2J and \x07 sun\n")
    ran = sijo_cli(
        "classify", tmp_path / "a.txt", "--labels", "sea,sun", "--model", tiny_model, "--format", "table"
    )
    assert ran.code == 0 and b"sea" in ran.out and b"\x1b[2J" not in ran.out and b"\x07" not in ran.out


def test_labels_that_are_no_list(bad, write):
    # catches an object of labels cut at its commas into labels such as {'sea': 'salt'
    path = write("a.jsonl", '{"text": "the sea", "own": {"sea": "salt", "sun": "warm"}}\n')
    bad(3, ["row 1", "neither a list"], path, "--labels-column", "own", labels=())


@pytest.mark.parametrize(
    "content, word",
    [
        ("text,label\nthe sea,see\n", "'see' is not one of the 2 labels; did you mean 'sea'"),
        ("text,label\n ,sea\n", "row 1 has no text"),
    ],
)
def test_rows_that_cannot_be_measured(refused, tiny_model, write, monkeypatch, content, word):
    # catches an hour's work before a mistyped label is told, and a text without words counted as the first label
    monkeypatch.setattr("sijo.checkpoints.load.load", lambda *_, **__: pytest.fail("the model was opened"))
    path = write("a.csv", content)
    refused(3, word, "evaluate", "--data", path, "--labels", "sea,sun", "--model", tiny_model)
