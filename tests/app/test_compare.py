"""`sijo classify --compare`: rows that moved since an earlier output, and why."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from sijo.app import cli

TEXTS = [
    "He scored a late goal in extra time.",
    "Simmer the onions in butter for ten minutes.",
    "The central bank raised interest rates again.",
    "The striker missed a penalty.",
    "",
]


def command(capsys, *arguments) -> tuple[int, list[dict], str]:
    code = cli.run(["classify", *map(str, arguments)])
    out = capsys.readouterr()
    return code, [json.loads(line) for line in out.out.splitlines()], out.err


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "text"], *([number, text] for number, text in enumerate(TEXTS))])
    return path


def rows_of(path) -> list[dict]:
    match path.suffix:
        case ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        case _:
            return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_reason_is_told(capsys, source, tmp_path, suffix):
    # kills: an added label that nobody is told of, a removed one taken for a change of scores, rows matched one off
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    assert command(capsys, source, "--labels", "football,cooking,travel", "-o", old)[0] == 0
    before = rows_of(old)
    labels = ("--labels", "football,banking,travel")
    code, moves, err = command(capsys, source, *labels, "-o", new, "--compare", old)
    assert code == 0
    assert [(move["row"], move["from"], move["why"]) for move in moves] == [
        (2, "cooking", "label removed: cooking"),
        (3, before[2]["label"], "new label won: banking"),
    ]
    assert [move["to"] for move in moves] == [row["label"] for row in rows_of(new)[1:3]]
    assert float(before[1]["score"]) == pytest.approx(moves[0]["old_score"])
    assert [row["moved_from"] for row in rows_of(new)] == [None, "cooking", before[2]["label"], None, None]
    assert rows_of(new)[2]["moved_why"] == "new label won: banking"
    assert "2 of 5 rows moved since" in err and "label removed: cooking" in err


def test_the_same_again_moves_nothing(capsys, source, tmp_path):
    # kills: rows without text, or numbers that a CSV writes otherwise, or another spelling, told as moved
    old = tmp_path / "old.csv"
    labels = ("--labels", "football,cooking")
    command(capsys, source, *labels, "-o", old)
    code, moves, err = command(capsys, source, *labels, "-o", tmp_path / "new.csv", "--compare", old)
    assert (code, moves) == (0, []) and "0 of 5 rows moved" in err
    spelled = ("--labels", "FOOTBALL,Cooking")
    assert command(capsys, source, *spelled, "-o", tmp_path / "n.csv", "--compare", old)[:2] == (0, [])


def test_a_row_moves_by_other_words_or_settings(capsys, source, tmp_path):
    # kills: one reason for all; what stands in the .sijo-id beside an output never read
    old = tmp_path / "old.jsonl"
    described = {"a": ["sport and football", "a goal"], "b": ["cooking food", "butter"], "c": "money and banks"}
    turned = described | {"a": described["b"], "b": described["a"]}
    for name, content in (("one.json", described), ("two.json", turned)):
        (tmp_path / name).write_text(json.dumps(content))
    command(capsys, source, "--labels-file", tmp_path / "one.json", "-o", old)
    _, moves, _ = command(
        capsys, source, "--labels-file", tmp_path / "two.json", "-o", tmp_path / "new.jsonl", "--compare", old
    )
    assert {(move["row"], move["from"], move["to"]) for move in moves} >= {(1, "a", "b"), (2, "b", "a")}
    assert {move["why"] for move in moves} <= {f"label described otherwise: {two}" for two in ("a, b", "b, a")}
    none = ("--none-label", "none", "--none-threshold")
    plain = ("--labels", "football,cooking", *none)
    command(capsys, source, *plain, "-1", "-o", old, "--overwrite")
    _, moves, _ = command(capsys, source, *plain, "0.99", "-o", tmp_path / "n.jsonl", "--compare", old)
    assert {move["why"] for move in moves} == {"other settings: none_score"} and len(moves) == 4


def test_a_text_that_was_edited_and_a_file_of_others(capsys, source, tmp_path):
    # kills: an edited row blamed on the labels; answers of other texts compared by their number
    old, labels = tmp_path / "old.csv", ("--labels", "football,cooking")
    command(capsys, source, *labels, "-o", old)
    source.write_text(source.read_text().replace(TEXTS[0], "Bake the bread until it is brown."))
    _, moves, _ = command(capsys, source, *labels, "-o", tmp_path / "new.csv", "--compare", old)
    assert [(move["row"], move["why"]) for move in moves] == [(1, "the text changed")]
    source.write_text("id,text\n" + "".join(f"{i},other {i}\n" for i in range(5)))
    code, _, err = command(capsys, source, *labels, "-o", tmp_path / "n.csv", "--compare", old)
    assert code == 3 and "holds other texts: 0 of 5 rows" in err
    source.write_text("id,text\n1,one\n")
    code, _, err = command(capsys, source, *labels, "-o", tmp_path / "n.csv", "--compare", old)
    assert code == 3 and "has 5 rows, and the input 1" in err
    assert command(capsys, source, *labels, "--compare", tmp_path / "none.csv")[0] == 2
    assert command(capsys, source, *labels, "--compare", source)[0] == 2  # no output of ours
    assert not (tmp_path / "n.csv").exists()


def test_several_labels_a_row(capsys, source, tmp_path):
    # kills: lists compared as texts, or in their order by score
    old, labels = tmp_path / "old.csv", ("--labels", "football,sport,cooking", "--multi-label", "--threshold")
    command(capsys, source, *labels, "0.3", "-o", old)
    code, moves, _ = command(capsys, source, *labels, "0.3", "--compare", old)
    assert code == 0 and not any(row["moved_from"] for row in moves)
    code, rows, err = command(capsys, source, *labels, "0.99", "--compare", old)
    assert code == 0 and rows[0]["moved_from"] == json.loads(rows_of(old)[0]["labels"])
    assert rows[0]["labels"] == [] and rows[0]["moved_why"] == "other settings: threshold"
    assert rows[4]["moved_why"] is None and "rows moved since" in err
    code, _, err = command(capsys, source, "--labels", "football,cooking", "--compare", old)
    assert code == 2 and "was made with --multi-label" in err


def test_an_output_without_its_record(capsys, source, tmp_path):
    # kills: a new label taken for an old one where only label_scores, or the answers, tell what there was
    printed = tmp_path / "old.jsonl"
    for more, why in (((), "new label won: banking"), (("--all-scores",), "new label won: banking")):
        _, rows, _ = command(capsys, source, "--labels", "football,cooking,travel", *more)
        printed.write_text("".join(json.dumps(row) + "\n" for row in rows))
        _, rows, _ = command(capsys, source, "--labels", "football,cooking,travel,banking", "--compare", printed)
        assert [row["moved_why"] for row in rows] == [None, None, why, None, None]
