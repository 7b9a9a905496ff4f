"""Rows that people labelled: read from any file, and checked before any work."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sijo.data.labelled_rows import ColumnNames, LabelledRow, held_out, read_rows
from sijo.data.row_labels import check_labels, names_of
from sijo.errors import SettingError, SijoWarning, TextError

ROWS = [
    ("classification", {"text": "the sea", "label": "wet"}, (("the sea",), "wet")),
    ("classification", {"premise": "rain", "hypothesis": "sun", "label": 2}, (("rain", "sun"), "2")),
    ("classification", {"text": "the sea", "topic": True}, (("the sea",), "True")),
    ("multi-label", {"text": "sea", "labels": ["b", "a"]}, (("sea",), ("b", "a"))),
    ("multi-label", {"text": "sea", "labels": "b; a"}, (("sea",), ("b", "a"))),
    ("multi-label", {"text": "sea", "labels": ""}, (("sea",), ())),
    ("regression", {"sentence1": "sea", "sentence2": "land", "score": "2.5"}, (("sea", "land"), 2.5)),
]


@pytest.mark.parametrize("task, record, want", ROWS)
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "parquet", "csv"])
def test_rows_of_every_kind_of_file(tmp_path, task, record, want, ending):
    # kills: a list that is read as a word, a compressed file read as it is, a pair of which one text is lost
    if ending == "csv" and any(isinstance(value, list) for value in record.values()):
        record = {name: json.dumps(value) if isinstance(value, list) else value for name, value in record.items()}
    path = tmp_path / f"rows.{ending}"
    line = json.dumps(record).encode() + b"\n"
    match ending:
        case "jsonl":
            path.write_bytes(line * 2)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(line * 2))
        case "json":
            path.write_text(json.dumps([record, record]))
        case "parquet":
            pq.write_table(pa.Table.from_pylist([record, record]), path)
        case "csv":
            cells = ['"' + str(value).replace('"', '""') + '"' for value in record.values()]
            path.write_text("\n".join([",".join(record), *[",".join(cells)] * 2]) + "\n")
    rows = read_rows(path, task)
    assert [(row.texts, row.label) for row in rows] == [want] * 2
    assert str(path) in rows[0].where and rows[0].where != rows[1].where


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_a_row_is_told_by_where_it_stands(tmp_path, ending):
    # kills: rows counted from each batch, blank lines and lines within quotes that are not counted
    path = tmp_path / f"rows.{ending}"
    rows = [{"text": "the\nsea", "label": "wet"}] * 129 + [{"text": "sand", "label": " "}]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    elif ending == "csv":
        path.write_text("text,label\n\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in rows))
    elif ending == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n" + "".join(json.dumps(row) + "\n" for row in rows))
    place = {"csv": "line 261", "jsonl": "line 131", "json": "record 130", "parquet": "row 130"}[ending]
    with pytest.raises(TextError, match=f"{path}, {place}: the column 'label' holds ' ', not a label"):
        read_rows(path, "classification")


def lines(write, name, *records):
    return write(name, "".join(json.dumps(record) + "\n" for record in records))


def test_a_second_text_is_read_where_it_is_named(write):
    # kills: a second text that is read under a usual name alone
    path = lines(write, "rows.jsonl", {"a": "sea", "b": "land", "label": "wet"})
    [row] = read_rows(path, "classification", ColumnNames(text="a", second="b"))
    assert row.texts == ("sea", "land")
    with pytest.raises(SettingError, match="has no column 'c'"):
        read_rows(path, "classification", ColumnNames(text="a", second="c"))


def test_tags_answers_and_choices(write):
    # kills: tags by words of another row, answers in either of the two forms lost, a letter taken for a place
    path = lines(write, "tags.jsonl", {"tokens": ["old", "sea"], "ner_tags": [0, 3]})
    assert [(row.words, row.label) for row in read_rows(path, "tagging")] == [(("old", "sea"), ("0", "3"))]
    path = write("tags.csv", 'words,tags\nold sea,O B-x\n"[""old"", ""sea""]","[""O"", ""B-x""]"\n')
    assert [row.label for row in read_rows(path, "tagging")] == [("O", "B-x")] * 2
    forms = (
        {"text": ["sea"], "answer_start": [4]},
        [{"text": "sea", "answer_start": 4}],
        {"text": [], "answer_start": []},
    )
    path = lines(write, "qa.jsonl", *({"question": "q", "context": "the sea", "answers": form} for form in forms))
    assert [[answer.text for answer in row.label] for row in read_rows(path, "question-answering")] == [
        ["sea"],
        ["sea"],
        [],
    ]
    for right in (1, "1", "sea", "B", "b"):
        path = lines(write, "mc.jsonl", {"question": "q", "choices": ["land", "sea"], "label": right})
        assert read_rows(path, "multiple-choice")[0].label == 1
    arc = {"question": "q", "choices": {"text": ["land", "sea"], "label": ["1", "2"]}, "answerKey": "2"}
    assert read_rows(lines(write, "arc.jsonl", arc), "multiple-choice")[0].label == 1


def test_squads_own_file(write):
    # kills: questions of the second paragraph lost, an impossible question with its plausible answers as if right
    questions = [
        {"id": "1", "question": "what", "answers": [{"text": "sea", "answer_start": 4}]},
        {
            "id": "2",
            "question": "who",
            "is_impossible": True,
            "answers": [],
            "plausible_answers": [{"text": "the"}],
        },
    ]
    squad = {"version": "2", "data": [{"paragraphs": [{"context": "the sea", "qas": questions}] * 2}]}
    rows = read_rows(write("dev-v2.0.json", json.dumps(squad)), "question-answering")
    assert [(row.name, len(row.label)) for row in rows] == [("1", 1), ("2", 0)] * 2
    assert "question 1" in rows[0].where


@pytest.mark.parametrize(
    "task, content, columns, error, words",
    [
        ("classification", "txet,label\nsea,a\n", {"text": "text"}, SettingError, "did you mean 'txet'"),
        ("classification", "text,label\nsea,a\n", {"label": "labl"}, SettingError, "did you mean 'label'"),
        (
            "classification",
            "a,b,c\nsea,a,b\n",
            {},
            SettingError,
            "--text-column NAME, or columns.text=NAME. Columns: a, b, c",
        ),
        ("classification", "text,a,b\nsea,a,b\n", {}, SettingError, "--label-column NAME, or columns.label"),
        ("classification", "text;label\nsea;a\n", {}, SettingError, "pass --delimiter ';'"),
        ("classification", "id;text;label\n1;sea;a\n", {"label": "label"}, SettingError, "pass --delimiter ';'"),
        ("classification", "text,label\n", {}, TextError, "has no rows"),
        ("classification", "text,label\nsea,\n", {}, TextError, "line 2: the column 'label' holds ''"),
        ("classification", "text,label\nsea\n", {}, TextError, "number of fields is 1"),
        ("regression", "text,score\nsea,wet\n", {}, TextError, "line 2: 'score' holds 'wet', not a number"),
        ("regression", "text,score\nsea,nan\n", {}, TextError, "not a number"),
        ("multi-label", "text,labels\nsea,a;a\n", {}, TextError, "names a label twice"),
        ("tagging", "words,tags\nold sea,O\n", {}, TextError, "line 2: 2 words and 1 tags"),
        ("tagging", 'words,tags\n"[""sea""",O\n', {}, TextError, "begins as JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(write, task, content, columns, error, words):
    # kills: a row that is quietly left out, an error without its line, the wrong exit code
    with pytest.raises(error, match=words.replace("(", r"\(").replace("[", r"\[")):
        read_rows(write("rows.csv", content), task, ColumnNames(**columns))


@pytest.mark.parametrize(
    "task, record, words",
    [
        ("question-answering", {"answers": {"text": ["sea"], "answer_start": [3]}}, "stands at 4"),
        ("question-answering", {"answers": {"text": ["rain"], "answer_start": [3]}}, "stands nowhere"),
        ("question-answering", {"answers": {"text": ["sea"], "answer_start": []}}, "1 answers and 0 places"),
        ("question-answering", {"answers": "sea"}, "not an answer such as"),
        ("multiple-choice", {"choices": ["sea"], "label": 0}, "1 to choose from"),
        ("multiple-choice", {"choices": ["sea", "land"], "label": 2}, "neither the place"),
    ],
)
def test_answers_that_cannot_be_are_named_by_their_row(write, task, record, words):
    # kills: a span learned where no answer stands, a choice that is not there
    good = {"question": "q", "context": "the sea", "choices": ["a", "b"], "label": 0}
    good |= {"answers": {"text": ["sea"], "answer_start": [4]}}
    with pytest.raises(TextError, match=f"line 2.*{words}"):
        read_rows(lines(write, "rows.jsonl", good, good | record), task)


def rows(*labels):
    return [
        LabelledRow(f"row {number}", (f"text {number}",), label=label) for number, label in enumerate(labels, 1)
    ]


def test_labels_that_cannot_be_learned_or_measured(capsys):
    # kills: an hour of training before a typing error is noticed, a class of one row learned by heart
    known = rows("rain", "rain", "sun", "sun")
    with pytest.raises(TextError, match="row 2: the label 'rian' is in no training row; did you mean 'rain'"):
        check_labels(known, rows("rain", "rian"), "classification")
    with pytest.raises(TextError, match="nearest is"):
        check_labels(known, rows("zzz"), "classification")
    with pytest.raises(TextError, match="have 1 label"):
        check_labels(rows("rain", "rain"), [], "classification")
    with pytest.raises(TextError, match=r"one row alone has the label 'snow'.*allow_rare=true"):
        check_labels([*known, *rows("snow")], [], "classification")
    with pytest.warns(SijoWarning, match="'rain'"):
        check_labels([*known, *rows("snow")], rows("rain"), "classification", allow_rare=True)
    with pytest.raises(TextError, match="'wet' is in no training row"):
        check_labels(rows(("a",), ("a", "b"), ("b",)), rows(("a", "wet")), "multi-label")
    assert names_of(rows("10", "9", "-1"), "classification") == ("-1", "9", "10")


def test_rows_held_out_are_of_each_class_alike():
    # kills: the last rows held out, a class that is held out whole, another split at the next start
    labelled = rows(*["rain"] * 50, *["sun"] * 30, *["snow"] * 3)
    train, aside = held_out(labelled, "classification", 0.1, seed=4)
    again = held_out(labelled, "classification", 0.1, seed=4)
    assert (train, aside) == again and held_out(labelled, "classification", 0.1, seed=5) != again
    assert len(aside) == 8 and sorted(row.where for row in (*train, *aside)) == sorted(
        row.where for row in labelled
    )
    counts = {name: sum(row.label == name for row in aside) for name in ("rain", "sun", "snow")}
    assert counts == {"rain": 5, "sun": 3, "snow": 0}
    assert [row.where for row in aside] != [row.where for row in labelled[-8:]]
    with pytest.raises(TextError, match="too few"):
        held_out(rows("a", "b"), "classification", 0.1, seed=0)
