"""`sijo predict` and `--dry-run` as they are typed: what they print, write, resume and refuse."""

import csv
import json
import os
import signal
import time

import pyarrow.parquet as pq
import pytest

import sijo

pytestmark = pytest.mark.usefixtures("one_thread")

NEWS = [
    ("1", "김민수는 어제 서울에서 the sea and the land", "여행"),
    ("2", "", "집"),
    ("3", "the bank, and the money!", "은행"),
]


@pytest.fixture
def news(tmp_path):
    """Three rows of a CSV with Korean columns, the second without text, and with a column of our own name."""
    path = tmp_path / "기사.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("번호", "본문", "label"), *NEWS])
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_rows_keep_their_columns(sijo_cli, tuned, news, tmp_path, suffix):
    # kills: a column or its order lost, a label of the input overwritten, an answer to an empty text
    out = tmp_path / f"답.{suffix}"
    ran = sijo_cli(
        "predict", news, "--model", tuned("classification"), "--column", "본문", "-o", out, "--all-scores"
    )
    assert ran.code == 0, ran.err
    if suffix == "csv":
        rows = list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    else:
        read = {"jsonl": lambda: [json.loads(line) for line in out.read_text().splitlines()]}
        rows = read.get(suffix, lambda: pq.read_table(out).to_pylist())()
    names = ["번호", "본문", "label", "predicted_label", "score", "label_scores", "tokens", "windows", "truncated"]
    assert all(list(row) == names for row in rows)
    assert [(row["번호"], row["본문"], row["label"]) for row in rows] == NEWS
    want = [one.label for one in sijo.predict(tuned("classification"), [text for _, text, _ in NEWS])]
    assert [row["predicted_label"] or None for row in rows] == want and want[1] is None
    assert "rows without text, which have no answer: 1" in ran.err and "본문" in ran.err


def test_answers_of_each_task(sijo_cli, tuned, write):
    # kills: an answer that has no columns, or those of another task
    texts = write("in.csv", "text,text2\nthe sea.,old land\n")
    [row] = sijo_cli("predict", texts, "--model", tuned("tagging"), "-q").rows()
    assert [word["word"] for word in row["tags"]] == ["the", "sea", "."]
    assert {*row} == {"text", "text2", "tags", "entities", "tokens", "windows", "truncated"}
    assert all(row["text"][one["start"] : one["end"]] == one["text"] for one in row["entities"])
    [row] = sijo_cli(
        "predict", texts, "--model", tuned("multi-label"), "-q", "--threshold", "0", "--top-k", 2
    ).rows()
    assert len(row["labels"]) == len(row["scores"]) == 3 and "label_scores" not in row
    assert [row[f"label_{place}"] for place in (1, 2)] == row["labels"][:2]
    assert [row[f"score_{place}"] for place in (1, 2)] == row["scores"][:2]
    [row] = sijo_cli("predict", texts, "--model", tuned("regression"), "-q").rows()
    [number] = sijo.predict(tuned("regression"), [("the sea.", "old land")])
    assert row["number"] == float(f"{number.number:.6g}")
    questions = write("q.jsonl", '{"id": 7, "물음": "the sea", "글": "the old sea and the land"}\n')
    columns = ("--column", "글", "--question-column", "물음", "--no-answer-threshold", 1e6)
    [row] = sijo_cli("predict", questions, "--model", tuned("question-answering"), "-q", *columns).rows()
    assert row["글"][row["start"] : row["end"]] == row["answer"] and row["id"] == 7 and "no_answer_score" in row
    choices = write("c.csv", "question,options\nthe sea,is old;is new;is money\n")
    [row] = sijo_cli("predict", choices, "--model", tuned("multiple-choice"), "-q").rows()
    assert row["choice"] == ["is old", "is new", "is money"][row["choice_place"]]
    [whole] = sijo.predict(tuned("multiple-choice"), [("the sea", ["is old", "is new", "is money"])])
    assert sum(whole.choice_scores) == pytest.approx(1) and max(row["choice_scores"]) == row["score"]
    assert row["choice_scores"] == [float(f"{score:.6g}") for score in whole.choice_scores]


def test_the_best_labels_have_columns_as_from_classify(sijo_cli, refused, tuned, news, tmp_path):
    # kills: --top-k that means another thing in each command, a column for a label that is not there, labels of a
    # row without text, scores that a resumed run leaves out
    run = ("predict", news, "--model", tuned("classification"), "--column", "본문")
    out = tmp_path / "out.jsonl"
    assert sijo_cli(*run, "--top-k", 9, "--all-scores", "-o", out).code == 0
    first, empty, _ = (json.loads(line) for line in out.read_text().splitlines())
    added = [name for name in first if name[-1].isdigit()]
    assert added == [f"{what}_{place}" for place in (1, 2, 3) for what in ("label", "score")]
    assert [(first[f"label_{n}"], first[f"score_{n}"]) for n in (1, 2, 3)] == [*first["label_scores"].items()]
    assert (first["label_1"], first["score_1"]) == (first["predicted_label"], first["score"])
    assert {empty[name] for name in added} == {None}
    refused(2, "top_k", *run, "-o", out, "--resume", "--top-k", 8, "--all-scores")
    shown = sijo_cli(*run, "--format", "table", "--top-k", 2, "-q").out.decode().splitlines()
    assert "best 2" in shown[0] and f"{first['label_1']} {first['score_1']:.4f}, {first['label_2']}" in shown[1]


def test_words_in_lists(sijo_cli, tuned, write, tmp_path):
    # kills: a column of lists that no command opens, words parted anew where somebody parted them
    import pyarrow as pa

    words = [["U.S.", "sea"], ["the", "bank"]]
    pq.write_table(pa.table({"id": [1, 2], "words": words}), tmp_path / "in.parquet")
    lines = write("in.jsonl", "".join(json.dumps({"id": n, "words": row}) + "\n" for n, row in enumerate(words, 1)))
    joined = write("in.csv", "id,words\n1,U.S. sea\n2,the bank\n")
    want = [[word.word for word in one.tags] for one in sijo.predict(tuned("tagging"), words)]
    for file in (tmp_path / "in.parquet", lines, joined):
        ran = sijo_cli("predict", file, "--model", tuned("tagging"), "-q")
        assert ran.code == 0, ran.err
        assert [[word["word"] for word in row["tags"]] for row in ran.rows()] == want == words
    assert [row["words"] for row in sijo_cli("predict", lines, "--model", tuned("tagging"), "-q").rows()] == words


@pytest.mark.parametrize(
    "code, words, arguments",
    [
        (2, "--model", ()),
        (2, "did you mean '본문'?", ("--model", "tags", "--column", "본문2")),
        (2, "--question-column has no part", ("--model", "tags", "--question-column", "본문")),
        (2, "--top-k", ("--model", "tags", "--top-k", "2")),
        (2, "threshold=2", ("--model", "classes", "--column", "본문", "--threshold", "2")),
        (2, "length=999", ("--model", "classes", "--column", "본문", "--length", "999")),
        (2, "sijo classify", ("--model", "encoder")),
        (2, "--column", ("--model", "classes")),
        (2, "no head", ("--model", "classes", "--task", "tagging")),
    ],
)
def test_refusals(refused, tuned, tiny_model, news, code, words, arguments):
    # kills: a setting that is dropped in silence, a model that answers what it was never asked
    folders = {"tags": tuned("tagging"), "classes": tuned("classification"), "encoder": tiny_model}
    refused(code, words, "predict", news, *(folders.get(word, word) for word in arguments))


def test_a_damaged_model_is_refused(refused, tuned, news, tmp_path):
    # kills: weights that are opened whatever the manifest says
    import shutil

    folder = shutil.copytree(tuned("classification"), tmp_path / "damaged")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 4
    weights.write_bytes(content)
    refused(5, "model.safetensors", "predict", news, "--model", folder, "--column", "본문")


@pytest.mark.parametrize("task", ["tagging", "question-answering"])
def test_kill_9_then_resume(start, until, tuned, tmp_path, task):
    # kills: a row lost or doubled, an output before it is whole, answers that depend on where a run began
    source = tmp_path / "rows.jsonl"
    lines = [
        {"id": n, "text": f"the sea {n}", "question": "the sea", "context": f"old land {n} " * (1 + n % 3)}
        for n in range(6_200)
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def begin(output):
        return start("predict", source, "--model", tuned(task), "--output", output, "--resume")

    assert begin(tmp_path / "want.jsonl").wait().code == 0
    want, output = (tmp_path / "want.jsonl").read_bytes(), tmp_path / "out.jsonl"
    run = tmp_path / f".{output.name}.sijo-run"
    for blocks in range(2):
        process = begin(output)
        until(lambda least=blocks: output.exists() or len(list(run.glob("chunk-????????"))) > least)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not output.exists() or output.read_bytes() == want
    ran = begin(output).wait()
    assert ran.code == 0, ran.err
    assert output.read_bytes() == want
    assert sum(1 for _ in output.open()) == len(lines)


def test_a_resumed_run_must_be_the_same(refused, sijo_cli, tuned, news, tmp_path):
    # kills: answers of two settings, or of two models, in one output
    out = tmp_path / "out.csv"
    common = ("predict", news, "--model", tuned("classification"), "--column", "본문", "-o", out)
    assert sijo_cli(*common).code == 0
    assert "complete already" in sijo_cli(*common, "--resume").err
    refused(2, "length", *common, "--resume", "--length", 8)
    refused(
        2,
        "model",
        "predict",
        news,
        "--model",
        tuned("classification", seed=4),
        "--column",
        "본문",
        "-o",
        out,
        "--resume",
    )


@pytest.mark.parametrize("command, more", [("classify", ("--labels", "sea,land")), ("predict", ())])
def test_a_dry_run(sijo_cli, tuned, tiny_model, write, tmp_path, command, more):
    # kills: an output that is made all the same, counts of the first rows alone, a broken row that is not found
    texts = [*["the old sea"] * 40, *["the sea " * 40] * 3, *[""] * 4, *["옛날 바다"] * 3]
    file = write("in.csv", "id,text\n" + "".join(f"{n},{text or chr(34) * 2}\n" for n, text in enumerate(texts)))
    model = tuned("classification") if command == "predict" else tiny_model
    before = sorted(tmp_path.rglob("*"))
    ran = sijo_cli(command, file, "--model", model, *more, "-o", tmp_path / "out.csv", "--dry-run")
    assert ran.code == 0, ran.err
    [told] = ran.rows()
    assert (told["rows"], told["empty"], told["tokens_most"], told["tokens_p95"]) == (50, 4, 80, 80)
    assert told["tokens_mean"] == pytest.approx(told["tokens"] / 50) and told["estimated_seconds"] > 0
    assert told["truncated"] == (3 if command == "predict" else 0)
    assert told["scripts"].keys() == {"Latin", "Hangul"} and told["state"] == "a new file"
    assert told["estimated_memory"] > 1e7
    assert "languages" not in told and "model_languages" in told  # not those of the file, as they were read
    assert sorted(tmp_path.rglob("*")) == before
    cut = sijo_cli(
        command,
        file,
        "--model",
        model,
        *more,
        *(("--long-text", "truncate") if command == "classify" else ()),
        "--dry-run",
    )
    assert cut.rows()[0]["truncated"] == 3
    assert sijo_cli(command, file, "--model", model, *more, "--dry-run", "--format", "tsv").rows()[0]["rows"] == 50
    broken = write("broken.jsonl", '{"text": "a"}\n' * 3000 + '{"text": 1}\n')
    ran = sijo_cli(command, broken, "--model", model, *more, "--dry-run")
    assert ran.code == 3 and ran.out == b""


def test_help_teaches(sijo_cli):
    # kills: an option without its sentence, a help that waits for numpy
    started = time.monotonic()
    ran = sijo_cli("predict", "--help")
    assert ran.code == 0 and time.monotonic() - started < 5
    for words in ("--question-column", "entities", "runs/reviews/model", "--dry-run"):
        assert words in ran.out.decode(), words
