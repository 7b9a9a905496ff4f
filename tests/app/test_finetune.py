"""`sijo finetune` as it is typed: what it prints, what it leaves, what it refuses before any work is done."""

import csv
import json
import os
import signal

import openpyxl
import pytest

import sijo
from runs import REQUESTS

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("run.epochs=2", "run.batch=8", "cutting.length=24", "schedule.peak=0.01")


@pytest.fixture
def files(tmp_path):
    """40 real requests to learn from and 12 to measure on."""
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] in ("travel", "banking")][:52]
    for name, part in (("train", rows[:40]), ("dev", rows[40:])):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, ["text", "domain"])
            out.writeheader()
            out.writerows(part)
    return tmp_path / "train.csv", tmp_path / "dev.csv"


def test_from_rows_to_a_model_that_labels(sijo_cli, tiny_model, files, tmp_path):
    # kills: an option that is not passed on, results of another run, a model that the other commands cannot use
    train, dev = files
    out = tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", train, "--eval", dev, "-o", out, "-q", "--set", *FEW)
    ran = sijo_cli("finetune", *arguments)
    assert ran.code == 0, ran.err
    *warned, counted = ran.err.splitlines()  # its vocabulary has few words of these requests
    assert all(line.startswith("warning: ") for line in warned) and counted == f"{len(warned)} warnings"
    assert sum("spelled letter by letter" in line for line in warned) == 1
    (result,) = ran.rows()
    assert result["evaluation_rows"] == 12 and result["model"] == str(out / "model")
    accuracy = result["metrics"]["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert sijo.load(out / "model", "sequence-classification").labels == ("banking", "travel")
    labelled = sijo_cli("classify", dev, "--model", out / "model", "--column", "text")
    assert labelled.code == 0, labelled.err
    predicted = [json.loads(line)["predicted"] for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [row["label"] for row in labelled.rows()] == predicted
    again = sijo_cli("finetune", *arguments, "--resume")
    assert again.code == 0 and again.rows() == [result]
    small = sijo_cli(
        *(
            "finetune",
            "--model",
            tiny_model,
            "--train",
            train,
            "--eval",
            dev,
            "-o",
            tmp_path / "small",
            "--seeds",
            2,
        ),
        *("--teacher", out / "model", "--set", *FEW),
    )
    assert small.code == 0, small.err
    settings = json.loads((tmp_path / "small" / "settings.json").read_text())
    assert settings["teacher"]["model"] == str(out / "model") and settings["seeds"] == 2
    assert "was `model`" in (tmp_path / "small" / "model" / "README.md").read_text()
    assert set(json.loads((tmp_path / "small" / "summary.json").read_text())["seeds"]) == {"0", "1"}
    assert "step 5, epoch 1" in small.err


def test_sheets_as_a_korean_excel_has_them(sijo_cli, tiny_model, files, tmp_path):
    # kills: --sheet that reads the first one; an error that names an option which the command has not
    book = openpyxl.Workbook()
    book.active.title = "설명"
    book.active.append(["어떻게 읽나"])
    for name, file in zip(("훈련", "평가"), files, strict=True):
        sheet = book.create_sheet(name)
        for row in csv.reader(file.open(encoding="utf-8", newline="")):
            sheet.append(row)
    book.save(tmp_path / "rows.xlsx")
    arguments = ("finetune", "--model", tiny_model, "--train", tmp_path / "rows.xlsx", "-o", tmp_path / "run", "-q")
    ran = sijo_cli(*arguments, "--sheet", "훈련", "--set", "run.steps=1", "run.batch=4", "cutting.length=24")
    assert ran.code == 0, ran.err
    (result,) = ran.rows()
    assert 0 < result["evaluation_rows"] < 12  # held out of the 40 of that sheet
    sijo_cli(*arguments[:-2], tmp_path / "other", "--sheet", "훈련소").must_say(
        2, "no sheet '훈련소'; did you mean '훈련'"
    )


def test_people_see_tables(sijo_cli, tiny_model, files, tmp_path):
    # kills: JSON at a terminal, a table without intervals
    train, dev = files
    arguments = (
        "--model",
        tiny_model,
        "--train",
        train,
        "--eval",
        dev,
        "-o",
        tmp_path / "run",
        "-q",
        "--format",
        "table",
    )
    ran = sijo_cli("finetune", *arguments, "--set", *FEW)
    assert ran.code == 0, ran.err
    text = ran.out.decode()
    assert (
        "accuracy (decides)" in text and "95 %" in text and text.splitlines()[-1] == str(tmp_path / "run" / "model")
    )


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ((), 2, "--train and --out are needed"),
        (("--task", "clasification"), 2, "Did you mean"),
        (("--train", "absent.csv", "-o", "run"), 2, "absent.csv"),
        (("--train", "dev.csv", "-o", "run", "--text-column", "txet"), 2, "did you mean 'text'"),
        (("--train", "dev.csv", "-o", "run", "--set", "run.epoch=1"), 2, "did you mean 'run.epochs'"),
        (("--train", "dev.csv", "-o", "run", "--set", "run.tracker=wandb"), 2, "pip install wandb"),
        (("--train", "dev.csv", "-o", "run", "--teacher", "nowhere"), 2, "nowhere"),
        (("--train", "dev.csv", "-o", "run", "--model", "nowhere"), 2, "nowhere"),
        (("--train", "odd.csv", "-o", "run"), 3, "one row alone has the label 'money'"),
        (("--train", "dev.csv", "--eval", "odd.csv", "-o", "run"), 3, "'money' is in no training row"),
        (("--train", "empty.csv", "-o", "run"), 3, "has no rows"),
        (("--train", "dev.csv", "-o", "run", "--task", "tagging"), 2, "columns.words=NAME"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    sijo_cli, tiny_model, files, tmp_path, monkeypatch, arguments, code, words
):
    # kills: a trace, an epoch before a slip is noticed, a wrong exit code, a folder left behind
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.csv").write_text(files[1].read_text() + "my money,money\n")
    (tmp_path / "empty.csv").write_text("text,domain\n")
    model = () if "--model" in arguments else ("--model", tiny_model)
    ran = sijo_cli("finetune", *model, *arguments)
    ran.must_say(code, words)
    assert ran.out == b"" and not (tmp_path / "run").exists()


def test_tasks_and_settings_are_listed(sijo_cli, tiny_model):
    # kills: a task nobody can find, the settings of another model
    rows = {row["task"]: row for row in sijo_cli("finetune", "--list").rows()}
    assert set(rows) == set(finetune_tasks()) and "start" in rows["question-answering"]["columns, such as"]
    ran = sijo_cli("finetune", "--model", tiny_model, "--settings", "--label-column", "topic", "--seeds", 3)
    values = {row["setting"]: row["value"] for row in ran.rows()}
    assert values["columns.label"] == "topic" and values["seeds"] == 3 and values["run.epochs"] == 3.0
    assert all(row["means"] for row in ran.rows())


def finetune_tasks():
    from sijo.app.training.finetune import TASKS
    from sijo.data.labelled_rows import TASKS as KNOWN

    assert (*KNOWN, "label-matching", "one-pass", "self-training") == TASKS
    return TASKS


def test_an_encoder_learns_to_fit_labels(sijo_cli, tiny_model, files, tmp_path):
    # kills: an option that is not passed on, a model that `sijo classify` takes for a head, a table without numbers
    train, dev = files
    few = ("run.steps=3", "run.batch=6", "schedule.peak=0.01")
    arguments = ("finetune", "--task", "label-matching", "--model", tiny_model, "--train", train, "-q")
    columns = ("--text-column", "text", "--label-column", "domain")
    out = tmp_path / "run"
    ran = sijo_cli(*arguments, *columns, "-o", out, "--set", *few)
    assert ran.code == 0, ran.err
    (result,) = ran.rows()
    assert result["steps"] == 3 and result["model"] == str(out / "model")
    assert list(result["sets"]) == ["train (en)"] and result["sets"]["train (en)"]["rows"] == 4
    labels = ("--labels", "taxes, the sea, money", "--scorer", "embedding", "--column", "text")
    labelled = sijo_cli("classify", dev, "--model", out / "model", *labels)
    assert labelled.code == 0 and {row["label"] for row in labelled.rows()} <= {"taxes", "the sea", "money"}
    with dev.open("a") as file:
        file.write(train.read_text().splitlines()[1] + "\n")
    shown = sijo_cli(
        *arguments, *columns, "--eval", dev, "-o", tmp_path / "two", "--set", *few, "--format", "table"
    )
    assert shown.code == 0, shown.err
    text = shown.out.decode()
    assert "dev (en)" in text and "before" in text and "mean" in text and "1 rows are left out" in shown.err
    values = {row["setting"]: row["value"] for row in sijo_cli(*arguments[:-3], "--settings").rows()}
    assert values["temperature"] == 0.05 and values["top_layers"] == 2 and values["questions.most"] == 24
    for option, name in (("--text-column", "txet"), ("--label-column", "domian")):
        refused = sijo_cli(*arguments, option, name, "-o", tmp_path / "no")
        refused.must_say(2, "did you mean")
    for option in ("--second-column", "--labels-separator", "--seeds"):
        refused = sijo_cli(*arguments, "-o", tmp_path / "no", option, 3)
        refused.must_say(2, f"{option} has no part in --task label-matching")


def test_killed_and_gone_on_with(start, until, tiny_model, files, tmp_path):
    # kills: bytes that differ after kill -9, or a run that cannot go on; an ensemble that is forgotten
    train, dev = files
    ensemble = ("ensemble.every=3", "ensemble.fewest=4", "smoothing=0.15")
    changes = ("--set", "run.epochs=8", "every=0.4", *ensemble, *FEW[1:])
    arguments = ("finetune", "--model", tiny_model, "--train", train, "--eval", dev, "-q", *changes)
    assert start(*arguments, "-o", tmp_path / "whole", OMP_NUM_THREADS="1").wait().code == 0
    file = tmp_path / "parts" / "evaluations.jsonl"
    for evaluations in (2, 5):
        process = start(*arguments, "-o", tmp_path / "parts", "--resume", OMP_NUM_THREADS="1")
        until(lambda least=evaluations: file.exists() and file.read_bytes().count(b"\n") >= least)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
    assert start(*arguments, "-o", tmp_path / "parts", "--resume", OMP_NUM_THREADS="1").wait().code == 0
    for name in (
        "evaluations.jsonl",
        "metrics.jsonl",
        "predictions.jsonl",
        "results.json",
        "model/model.safetensors",
    ):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name
