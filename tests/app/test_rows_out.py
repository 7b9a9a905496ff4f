"""What leaves `sijo classify`, and what a person at it is told. Each test names the fault it is to catch."""

import csv
import io
import json
import signal
import sys
from itertools import product

import openpyxl
import pyarrow.parquet as pq
import pytest

import sijo
from sijo.app import cli
from sijo.app.classify import ClassifySettings
from sijo.app.encode import EncodeSettings
from sijo.app.writing.generate import SynthesisOptions
from sijo.errors import SettingError

LABELS = ("--labels", "sea,land,rain,sun")
ROWS = "id,본문\n007,the old sea\n=1+1,rain and sun\n3,\n"


@pytest.fixture
def classify(sijo_cli, tiny_model, write):
    """`classify(*arguments)` labels three rows with Korean names."""
    source = write("표.csv", ROWS)
    return lambda *more: sijo_cli("classify", source, "--column", "본문", *LABELS, "--model", tiny_model, *more)


def read(path):
    """Rows of an output of any format, by other readers than ours."""
    if path.suffix == ".xlsx":
        names, *rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [dict(zip(names, row, strict=True)) for row in rows]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx"])
def test_top_k_in_every_format(classify, tiny_model, tmp_path, suffix):
    # kills: a format without them, an order that is not by score, labels of a row without text, a column for a
    # label that is not there, scores of 17 digits in text or of 6 in Parquet
    out = tmp_path / f"답{suffix}"
    assert classify("--top-k", "9", "-o", out).code == 0
    *rows, empty = read(out)
    names = [name for place in (1, 2, 3, 4) for name in (f"label_{place}", f"score_{place}")]
    assert [name for name in rows[0] if name[-1].isdigit()] == names
    clf = sijo.ZeroShotClassifier(LABELS[1].split(","), model=tiny_model)
    for row, answer in zip(rows, clf.classify(["the old sea", "rain and sun"]), strict=True):
        assert tuple(row[name] for name in names[::2]) == answer.labels and row["label"] == answer.labels[0]
        scores = [float(row[name]) for name in names[1::2]]
        if suffix == ".parquet":
            assert scores == list(answer.scores)
        else:
            assert scores == [float(f"{score:.6g}") for score in answer.scores]
    assert {empty[name] for name in names} <= {None, ""}
    assert [row["id"] for row in rows] == ["007", "=1+1"] and list(rows[0])[:2] == ["id", "본문"]


@pytest.mark.parametrize("multi_label", [False, True])
def test_top_k_in_python(tiny_model, multi_label):
    # kills: a cut before the margin is known, or before the labels that fit
    clf = sijo.ZeroShotClassifier(["sea", "land", "rain"], tiny_model, multi_label=multi_label, threshold=0.0)
    for whole, cut in zip(clf.classify(["the sea"] * 2), clf.stream(["the sea"] * 2, top_k=2), strict=True):
        assert (cut.labels, cut.scores) == (whole.labels[:2], whole.scores[:2])
        assert (cut.margin, cut.fitting, cut.fitting_scores) == (whole.margin, whole.fitting, whole.fitting_scores)
        assert len(whole.fitting) == (3 if multi_label else 1)
    for none in (0, -1):
        with pytest.raises(SettingError, match="--top-k"):
            clf.classify(["the sea"], top_k=none)


def test_top_k_of_labels_that_rows_bring(sijo_cli, tiny_model, write):
    # kills: rows of few labels that take those of others, and none of these left out
    source = write("own.csv", 'text,own\nthe sea,"sea,land"\nrain,"rain,sun,land"\n')
    ran = sijo_cli("classify", source, "--labels-column", "own", "--model", tiny_model, "--top-k", "3")
    first, second = ran.rows()
    assert {first["label_1"], first["label_2"]} == {"sea", "land"} and (first["label_3"], first["score_3"]) == (
        None,
    ) * 2
    assert {second[f"label_{place}"] for place in (1, 2, 3)} == {"rain", "sun", "land"}
    ran = sijo_cli(
        "classify", *LABELS, "--none-label", "other", "--model", tiny_model, "--top-k", "9", stdin=b"rain\n"
    )
    assert {ran.rows()[0][f"label_{place}"] for place in range(1, 6)} == {*LABELS[1].split(","), "other"}


def test_a_terminal_shows_four_digits_and_the_best(classify):
    # kills: two digits, which make 0.994 and 0.996 one; a table that has no room for the best
    ran = classify("--format", "table", "--top-k", "2")
    header, *lines = ran.out.decode().splitlines()
    assert header.split()[:5] == ["label", "score", "margin", "best", "2"]
    label, score, margin, best, second = lines[0].split()[:5]
    assert (best, len(score), len(margin), len(second)) == (label, 6, 6, 7) and second.rstrip(",") == score
    assert all(len(line) <= 80 for line in (header, *lines))


def test_safe_in_a_spreadsheet_and_only_if_asked(classify, refused, tmp_path, write, tiny_model):
    # kills: cells that change though nobody asked, an option that a resumed run forgets, or a format ignores
    plain, safe = tmp_path / "plain.csv", tmp_path / "safe.csv"
    assert classify("-o", plain).code == classify("-o", safe, "--spreadsheet-safe").code == 0
    assert [row["id"] for row in read(plain)] == ["007", "=1+1", "3"]
    assert [row["id"] for row in read(safe)] == ["007", "'=1+1", "3"]
    classify("-o", safe, "--resume").must_say(2, "spreadsheet_safe")
    assert "complete already" in classify("-o", safe, "--resume", "--spreadsheet-safe").err
    assert b"'=1+1" in classify("--format", "tsv", "--spreadsheet-safe").out
    source = write("in.txt", "the sea\n")
    for more in (("-o", tmp_path / "a.jsonl"), ("-o", tmp_path / "a.parquet"), ()):
        refused(
            2, "--spreadsheet-safe", "classify", source, *LABELS, "--model", tiny_model, "--spreadsheet-safe", *more
        )
        refused(2, "--spreadsheet-safe", "encode", source, "--model", tiny_model, "--spreadsheet-safe", *more)


def test_a_workbook_of_vectors(sijo_cli, tiny_model, write, tmp_path):
    # kills: a format that only one command writes
    out = tmp_path / "vectors.xlsx"
    assert sijo_cli("encode", write("in.txt", "the sea\n"), "--model", tiny_model, "-o", out).code == 0
    [row] = read(out)
    assert row["text"] == "the sea" and len(json.loads(row["vector"])) == 16


def test_what_a_workbook_cannot_hold_is_said_before_a_row_is_labelled(
    sijo_cli, tiny_model, write, tmp_path, monkeypatch
):
    # kills: hours of work whose output cannot be written; the work that a pipe's rows have cost lost
    monkeypatch.setattr("sijo.inference.engine.Engine.encode", None)
    long = "sea\n" * 3000 + "x" * 32_768 + "\n"
    run = ["--labels", "sea,land", "--model", tiny_model, "-o", tmp_path / "out.xlsx"]
    ran = sijo_cli("classify", write("in.txt", long), *run)
    ran.must_say(2, "row 3,001", "32,768 characters", ".parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt"]
    monkeypatch.undo()
    ran = sijo_cli("classify", "-", *run, stdin=long.encode())
    ran.must_say(2, "row 3,001", ".out.csv.sijo-run")
    (tmp_path / ".out.xlsx.sijo-run").rename(tmp_path / ".out.csv.sijo-run")
    run[-1] = tmp_path / "out.csv"
    ran = sijo_cli("classify", "-", *run, "--resume", stdin=long.encode())
    assert ran.code == 0 and len(read(tmp_path / "out.csv")) == 3001, ran.err


def test_output_has_a_short_name_wherever_it_is():
    # kills: -o of one command that another refuses
    for settings in (ClassifySettings, EncodeSettings, SynthesisOptions):
        assert "alias=('-o',)" in str(settings.__annotations__["output"])


class Typed(io.TextIOWrapper):
    """Standard input that a person types."""

    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["classify", "encode"])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_person_who_types_is_told(tiny_model, write, monkeypatch, capfd, command, quiet):
    # kills: a command that seems to hang; a word in a pipe, beside a file, or where --quiet was asked for
    more = ["--model", str(tiny_model), *(["-q"] if quiet else []), *(LABELS if command == "classify" else ())]
    file = str(write("in.txt", "rain\n"))
    for stdin, sources in product((Typed, io.TextIOWrapper), ([], ["-"], [file])):
        monkeypatch.setattr(sys, "stdin", stdin(io.BytesIO(b"the sea\n"), encoding="utf-8"))
        earlier = signal.getsignal(signal.SIGTERM)
        code = cli.run([command, *sources, *more])
        signal.signal(signal.SIGTERM, earlier)
        assert code == 0
        assert ("Ctrl-D" in capfd.readouterr().err) == (stdin is Typed and sources != [file] and not quiet)


@pytest.mark.parametrize("command", ["classify", "encode"])
def test_ctrl_c_says_the_command_that_goes_on(sijo_cli, tiny_model, write, tmp_path, monkeypatch, command):
    # kills: advice that is not the command, words that a shell would part, --overwrite that starts over, rows lost
    source, out = write("my rows.txt", "the sea\n" * 3000 + "rain\n" * 3000), tmp_path / "o.csv"
    run = [command, source, *(LABELS if command == "classify" else ()), "--model", tiny_model, "-o", out]
    from sijo.inference.engine import Engine

    whole, blocks = Engine.encode, []

    def stopped(engine, texts):
        if "rain" in texts and len(texts) > 9:
            raise KeyboardInterrupt
        blocks.append(len(texts))
        return whole(engine, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "encode", stopped)
        ran = sijo_cli(*run, "--overwrite")
    assert ran.code == 130 and not out.exists()
    told = next(line for line in ran.err.splitlines() if "this goes on" in line)
    assert told.startswith("2,048 rows are done and kept; this goes on: sijo ")
    assert f"'{source}'" in told and told.endswith("--resume") and "--overwrite" not in told
    assert sijo_cli(*run, "--resume").code == 0 and len(read(out)) == 6000


@pytest.mark.parametrize("command", ["classify", "encode", "predict"])
def test_ctrl_c_where_rows_are_printed(sijo_cli, tiny_model, tuned, write, monkeypatch, command):
    # kills: a person who is not told how much was printed, and that a file could go on
    more = {"classify": LABELS, "predict": ("--column", "text")}.get(command, ())
    model = tuned("classification") if command == "predict" else tiny_model
    run = [command, write("in.txt", "the sea\n" * 3000), *more, "--model", model, "-q"]
    from sijo.app.progress import RowProgress

    done = RowProgress.add

    def stopped(progress, rows, share):
        done(progress, rows, share)
        raise KeyboardInterrupt

    monkeypatch.setattr(RowProgress, "add", stopped)
    ran = sijo_cli(*run)
    assert ran.code == 130 and "2,048 rows printed; a run with --output FILE goes on with --resume" in ran.err
    assert len(ran.rows()) == 2048


def test_ctrl_c_before_the_first_block(sijo_cli, tiny_model, write, tmp_path, monkeypatch):
    # kills: a person left without a word after the first minutes
    def stopped(engine, texts):
        raise KeyboardInterrupt

    monkeypatch.setattr("sijo.inference.engine.Engine.encode", stopped)
    run = ["classify", write("in.txt", "the sea\n"), *LABELS, "--model", tiny_model]
    ran = sijo_cli(*run, "-o", tmp_path / "o.csv")
    assert ran.code == 130 and "the first block of rows was not done; this begins again: sijo classify" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]
    assert sijo_cli(*run).code == 130
