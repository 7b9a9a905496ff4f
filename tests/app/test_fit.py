"""`sijo fit` and `sijo suggest`: from a table to a model that other commands open, and what they refuse."""

import csv
import json

import pytest

ROWS = [
    *("the team and the ball,game", "a goal for the old team,game", "it was a good game,game"),
    *("money in the bank,money", "the tax and the price,money", "a price for the bank,money"),
    *("the rain in the land,", "the old sea,", "salt and oil,"),
]


@pytest.fixture
def rows(write):
    """A table with six labelled rows of nine."""
    return write("rows.csv", "\n".join(["text,topic", *ROWS, ""]))


def written(write, *lines):
    return write("bad.csv", "\n".join(["text,topic", *lines, ""]))


def test_a_fitted_model_is_opened_by_every_command(sijo_cli, rows, tiny_model, tmp_path):
    # kills: a folder that classify, predict or evaluate cannot open; a text column that predict has to be told
    out = tmp_path / "model"
    ran = sijo_cli("fit", rows, "--labels-column", "topic", "--model", tiny_model, "--out", out)
    assert ran.code == 0, ran.err
    told = ran.rows()[0]
    assert told["labels"] == {"game": 3, "money": 3} and told["unlabelled"] == 3 and told["model"] == str(out)
    assert told["accuracy"]["low"] < told["accuracy"]["value"] <= told["accuracy"]["high"]
    classified = sijo_cli("classify", rows, "--model", out)
    predicted = sijo_cli("predict", rows, "--model", out)
    assert [row["label"] for row in classified.rows()] == [row["label"] for row in predicted.rows()]
    assert {row["scorer"] for row in classified.rows()} == {"trained"} and len(classified.rows()) == 9
    labelled = sijo_cli("evaluate", "--data", written_labelled(rows), "--label-column", "topic", "--model", out)
    assert labelled.code == 0, labelled.err
    inspected = json.loads(sijo_cli("inspect", out).out)
    assert inspected["scorer"]["auto"] == "trained" and inspected["labels"] == ["game", "money"]


def written_labelled(rows):
    """The labelled rows alone."""
    other = rows.with_name("labelled.csv")
    other.write_text("\n".join(["text,topic", *(row for row in ROWS if not row.endswith(",")), ""]))
    return other


def test_names_of_options_that_others_have(sijo_cli, rows, tiny_model, tmp_path):
    # kills: a spelling of evaluate and finetune that fit does not know, and a short one that classify has
    columns = ("--text-column", "text", "--label-column", "topic")
    ran = sijo_cli("fit", rows, *columns, "--model", tiny_model, "-o", tmp_path / "model", "-q", "--format", "json")
    assert ran.code == 0 and ran.err == "" and (tmp_path / "model/config.json").exists()
    assert sijo_cli("suggest", rows, *columns, "--model", tiny_model, "-q").err == ""
    for command in ("classify", "encode", "predict"):
        ran = sijo_cli(command, rows, "--text-column", "text", "--model", tmp_path / "model", "-q")
        assert ran.code == 0, ran.err


def test_a_table_for_people(sijo_cli, rows, tiny_model, tmp_path):
    # kills: figures that only programs see; one label of a class not said
    rows.write_text(rows.read_text().replace("the old sea,", "the old sea,rain"))
    given = ["--labels-column", "topic", "--model", tiny_model, "--format", "table"]
    ran = sijo_cli("fit", rows, *given, "--labels", "game,money,rain,sun", "--out", tmp_path / "m")
    assert ran.code == 0, ran.err
    for words in ("fitted", "zero-shot", "7 labelled texts, 2 without"):
        assert words in ran.out.decode()
    assert "no text has the label 'sun'" in ran.err and "one text alone has the label 'rain'" in ran.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["rain,", "sun,"], "holds no label in any of 2 rows"),
        (["rain,a", "sun,a"], "every label in the column 'topic' is 'a'"),
        (["rain,a", "sun,b", "rain,b"], "rows 1 and 3 hold the same text"),
        (["rain,Sea", "sun,b", "oil,sea "], "spelled otherwise"),
        ([f"text {number},{number}" for number in range(2_500)], "2,500 different labels"),
    ],
)
def test_bad_labels_end_with_3(refused, write, tiny_model, tmp_path, lines, words):
    # kills: a head of what cannot be learned; an exit code of success or of a wrong setting
    table = written(write, *lines)
    given = ["--labels-column", "topic", "--model", tiny_model, "--out", tmp_path / "model"]
    refused(3, words, "fit", table, *given)


def test_wrong_use_ends_with_2(refused, rows, tiny_model, tmp_path):
    # kills: a trace for a column that is not there; a folder overwritten; an hour's reading before it is refused
    out, there = tmp_path / "model", tmp_path / "there"
    there.mkdir()
    refused(
        2, ["no column 'topics'", "did you mean 'topic'"], "fit", rows, "--labels-column", "topics", "--out", out
    )
    refused(2, "--labels-column", "fit", rows, "--out", out)
    refused(2, "--out", "fit", rows, "--labels-column", "topic")
    refused(2, "exists already", "fit", rows, "--labels-column", "topic", "--out", there)
    refused(2, "--rows", "suggest", rows, "--labels-column", "topic", "--model", tiny_model, "--rows", "0")
    refused(
        3,
        "nothing left to suggest",
        "suggest",
        written_labelled(rows),
        "--labels-column",
        "topic",
        "--model",
        tiny_model,
    )


def test_json_lines_of_which_few_have_the_key(sijo_cli, write, tiny_model, tmp_path):
    # kills: a block without a label taken for a table without the column
    lines = [{"text": f"rain and sun {number}"} for number in range(3_000)]
    lines[2_500] |= {"topic": "sea"}
    lines[2_999] |= {"topic": "land"}
    table = write("rows.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    out = tmp_path / "model"
    ran = sijo_cli("fit", table, "--labels-column", "topic", "--model", tiny_model, "--out", out)
    assert ran.code == 0 and ran.rows()[0]["labels"] == {"land": 1, "sea": 1}, ran.err


def test_suggested_rows(sijo_cli, rows, tiny_model, tmp_path):
    # kills: a labelled row suggested; rows counted from 0; other rows in a file than on the screen
    given = ["--labels-column", "topic", "--model", tiny_model, "--rows", "2"]
    told = sijo_cli("suggest", rows, *given).rows()
    assert len(told) == 2 and {row["row"] for row in told} < {7, 8, 9}
    assert all(ROWS[row["row"] - 1] == f"{row['text']}," for row in told)
    shown = sijo_cli("suggest", rows, *given, "--format", "table").out.decode()
    assert all(row["text"] in shown for row in told)
    out = tmp_path / "next.csv"
    assert sijo_cli("suggest", rows, *given, "--output", out).code == 0
    with out.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [int(row["row"]) for row in listed] == [row["row"] for row in told]
    assert list(listed[0])[:3] == ["row", "text", "topic"] and listed[0]["topic"] == ""


def test_suggestions_replace_no_labels(sijo_cli, refused, rows, tiny_model, tmp_path):
    # kills: rows that somebody has labelled replaced by new ones without a word; the table by ten of its rows
    out = tmp_path / "next.csv"
    out.write_text("row,text,topic\n1,rain,sea\n")
    given = ("suggest", rows, "--model", tiny_model, "--rows", "2", "-o")
    before = rows.read_bytes()
    refused(2, "labels may have been written into it", *given, out)
    assert out.read_text() == "row,text,topic\n1,rain,sea\n"
    assert sijo_cli(*given, out, "--overwrite").code == 0 and "uncertainty" in out.read_text()
    refused(2, "is the input", *given, rows, "--overwrite")
    assert rows.read_bytes() == before


def test_suggestions_before_any_label(sijo_cli, rows, tiny_model):
    # kills: a label column that has to be there; labels' names that are not asked
    bare = sijo_cli("suggest", rows, "--model", tiny_model)
    assert bare.code == 0 and len(bare.rows()) == 9 and "no labels are known yet" in bare.err
    named = sijo_cli("suggest", rows, "--model", tiny_model, "--labels", "game,money")
    assert {row["label"] for row in named.rows()} <= {"game", "money"} and "known yet" not in named.err
