"""`sijo evaluate`: data sets, models, scorers and calibrations beside each other; several labels; what it writes.

Each test names the fault it is to catch.
"""

import csv
import errno
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest

import sijo
from conftest import WORDS
from sijo.checkpoints.load import load
from sijo.files.writing.cells import six_digits

ROWS = [("the sea", "sea"), ("good land", "land"), ("salt", "sea"), ("a tax", "land"), ("old bread", "sea")] * 8
KEYS = (
    *("task", "data", "model", "scorer", "prompt", "texts_cut", "temperature"),
    *("none_score", "calibration", "rows_per_second", "sijo"),
    *("rows", "resamples", "seed", "confidence_level", "accuracy", "macro_f1", "macro_f1_over", "ece", "classes"),
    *("confusion", "labels", "reliability"),
)
"""Those that the record of one run has had from the first release on."""
FEW = ("--resamples", "100", "--quiet")


def table(rows, *columns):
    lines = [columns or ("text", "label"), *rows]
    return "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines) + "\n"


def seconds_left_out(record):
    """A record without what the clock says."""
    return {name: value for name, value in record.items() if name not in ("seconds", "rows_per_second")}


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """A folder with a head for sea and land, each of whose weights is moved."""
    import torch

    folder = tmp_path_factory.mktemp("trained") / "head"
    model = load(tiny_model, head="new:sequence-classification", labels=["sea", "land"])
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    sijo.save(model, folder)
    return folder


@pytest.fixture
def evaluate(sijo_cli, tiny_model):
    """`evaluate(*arguments, model=...)`: must succeed; gives the record."""

    def run(*arguments, model=tiny_model):
        ran = sijo_cli("evaluate", *arguments, "--model", model, *FEW, "--format", "json")
        assert ran.code == 0, ran.err
        [record] = ran.rows()
        return record

    return run


# --- what is measured


def test_files_stand_alone_or_behind_data(evaluate, sijo_cli, refused, tiny_model, write):
    # kills: a file that has to be named by --data here alone; a pipe that is taken for an option
    one, two = write("one.csv", table(ROWS)), write("two.csv", table([*ROWS[3:], ("rain", "sun")]))
    named = evaluate("--data", one, "--data", two)
    assert [run["way"] for run in named["runs"]] == [run["way"] for run in evaluate(one, two)["runs"]]
    assert [run["data"] for run in evaluate(one, "--data", two)["runs"]] == [str(one), str(two)]
    piped = sijo_cli("evaluate", "-", "--model", tiny_model, *FEW, stdin=one.read_bytes())
    assert piped.code == 0 and piped.rows()[0]["accuracy"] == evaluate(one)["accuracy"]
    refused(2, ["Unknown option: --lables", "sijo evaluate --help"], "evaluate", one, "--lables", "a,b")


def test_columns_are_named_alike_everywhere(evaluate, refused, tiny_model, write):
    # kills: an option that one command knows by another name; a refusal that names no way out; a text column that
    # classify would find
    table_of = write("a.csv", "id,body,topic\n1,the sea,sea\n2,good land,land\n3,salt,sea\n4,the land,land\n")
    for columns in (("--column", "--labels-column"), ("--text-column", "--label-column")):
        assert evaluate(table_of, columns[0], "body", columns[1], "topic")["rows"] == 4
    asked = ("evaluate", table_of, "--model", tiny_model)
    refused(2, ["no column 'text'", "name one with --column. Columns: id, body, topic"], *asked)
    refused(2, ["no column 'label'; name the one that is meant with --label-column."], *asked, "--column", "body")


# --- every combination


def test_every_combination_is_the_run_that_stands_alone(evaluate, trained, tiny_model, write):
    # kills: a run measured on another's scores, rows or labels; a combination that is left out; a calibration
    # fitted on another set's texts
    one, two = write("one.csv", table(ROWS)), write("two.csv", table([*ROWS[3:], ("rain", "sun")]))
    asked = ("--scorer", "embedding", "--scorer", "trained", "--calibrate", "none", "--calibrate", "batch")
    record = evaluate("--data", one, "--data", two, *asked, "--model", trained)
    assert {*record} == {"task", "runs", "means", "comparisons", "impossible", "sijo"}
    done = {(run["data"], run["way"]): run for run in record["runs"]}
    for run in record["runs"]:
        fitted = f"calibrated by {run['calibrate']}" in run["calibration"]
        assert fitted == (run["calibrate"] == "batch")
    assert len(done) == len(record["runs"]) == 2 * 2 + 2 * 2 + 1 * 2  # tiny has no head, and the head knows no sun
    for (data, way), run in done.items():
        model, scorer, calibrate = way.split(", ")
        folder = trained if model == "head" else tiny_model
        alone = evaluate("--data", data, "--scorer", scorer, "--calibrate", calibrate, model=folder)
        for name in (*KEYS[:7], "calibrate", *KEYS[11:]):
            if name in alone:  # a head has no prompt
                assert (
                    run[name] == pytest.approx(alone[name]) if name == "temperature" else run[name] == alone[name]
                )


def test_what_cannot_be_is_told_and_alone_is_refused(evaluate, refused, sijo_cli, trained, tiny_model, write):
    # kills: one impossible way that ends all the work, or is passed over in silence; a mistyped model so called
    data = write("a.csv", table([*ROWS, ("rain", "sun")]))
    record = evaluate("--data", data, "--scorer", "embedding", "--scorer", "trained", "--model", trained)
    assert [(run["way"]) for run in record["runs"]] == ["head, embedding, none", "tiny, embedding, none"]
    why = {(no["data"], no["way"]): no["why"] for no in record["impossible"]}
    assert set(why) == {("a.csv", "tiny, trained, none"), ("a.csv", "head, trained, none")}
    assert "holds no sequence-classification head" in why["a.csv", "tiny, trained, none"]
    assert "'sun' is not one of the 2 labels" in why["a.csv", "head, trained, none"]
    arguments = ("evaluate", "--data", data, *FEW)
    refused(2, "no sequence-classification head", *arguments, "--model", tiny_model, "--scorer", "trained")
    refused(3, "'sun' is not one", *arguments, "--model", trained, "--scorer", "trained")
    two = ("--scorer", "trained", "--scorer", "likelihood", "--model", tiny_model)
    refused(2, "no sequence-classification head", *arguments, *two)  # not even one is possible
    refused(2, "absent", *arguments, "--model", tiny_model, "--model", "absent")
    ran = sijo_cli(
        *arguments, "--model", tiny_model, "--scorer", "embedding", "--scorer", "trained", "--format", "table"
    )
    assert ran.code == 0 and "Not possible" in ran.out.decode()


def test_one_run_keeps_the_keys_it_has_had(evaluate, write):
    # kills: a program that reads a record and finds a key gone, or a list where an object was
    record = evaluate("--data", write("a.csv", table(ROWS)))
    assert set(KEYS) <= {*record} and "runs" not in record
    assert record["risk_coverage"]["aurc"]["value"] >= 0 and record["none"] is None
    same = evaluate("--data", write("a.csv", table(ROWS)), "--scorer", "auto", "--scorer", "embedding")
    assert [seconds_left_out(run)["accuracy"] for run in same["runs"]] == [record["accuracy"]]  # auto is embedding


def test_a_text_is_read_once_for_all_runs_of_a_model(evaluate, write, tiny_model):
    # kills: texts read anew for each calibration and each data set, a count that is not of texts and labels
    one, two = write("one.csv", table(ROWS)), write("two.csv", table(ROWS[:6]))
    alone = evaluate("--data", one)
    assert (alone["read"], alone["kept"]) == (5 + 2, 0)  # distinct texts, and the labels' sentences
    runs = evaluate("--data", one, "--data", two, "--calibrate", "none", "--calibrate", "contextual")["runs"]
    assert next(run["read"] for run in runs) == 7
    assert runs[2]["read"] == 0 and runs[2]["kept"] == 7
    assert 7 < runs[1]["read"] <= 7 + 4 + 2  # texts that say nothing, and labels worded otherwise


def test_means_and_comparisons_are_of_the_runs(evaluate, write, trained):
    # kills: a mean of other numbers, a difference of the wrong sign, another baseline than the one that was named
    one, two = write("one.csv", table(ROWS)), write("two.csv", table(ROWS[3:] * 2))
    asked = ("--data", one, "--data", two, "--scorer", "embedding", "--model", trained)
    record = evaluate(*asked)
    f1 = {(run["data"], run["way"]): run["macro_f1"]["value"] for run in record["runs"]}
    for mean in record["means"]:
        own = [value for (_, way), value in f1.items() if way == mean["way"]]
        assert mean["macro_f1"]["value"] == pytest.approx(np.mean(own)) and mean["rows"] == 40 + 74
    first, second = "head, embedding, none", "tiny, embedding, none"
    [*each, both] = record["comparisons"]
    for comparison in each:
        assert (comparison["way"], comparison["baseline"]) == (second, first)
        data = next(run["data"] for run in record["runs"] if run["data"].endswith(comparison["data"]))
        assert comparison["difference"]["value"] == pytest.approx(f1[data, second] - f1[data, first])
    assert both["data"] == ["one.csv", "two.csv"]
    turned = evaluate(*asked, "--baseline", "tiny")["comparisons"]
    assert [(one["way"], one["difference"]["value"]) for one in turned] == [
        (first, pytest.approx(-one["difference"]["value"])) for one in record["comparisons"]
    ]


@pytest.mark.parametrize(
    "words, arguments",
    [
        (["--baseline 'e5'", "tiny", "embedding"], ("--baseline", "e5")),
        (["2 labels files", "1 files of data"], ("--labels-file", "a.txt", "--labels-file", "b.txt")),
        (["--plot draws one run", "2 are asked for", "--report"], ("--calibrate", "batch", "--calibrate", "none")),
        (["--plot", "--multi-label"], ("--multi-label",)),
        (["report.pdf", ".html"], ("--report", "report.pdf")),
        (["no folder absent"], ("--report", "absent/report.md")),
        (["no folder absent"], ("--predictions", "absent/p.csv")),
        (["predictions.txt", ".parquet"], ("--predictions", "predictions.txt")),
        (["--predictions", "is the data"], ("--predictions", "./absent.csv")),
        (["--risk", "leave it out"], ("--risk", "0.1", "--calibration", "c.json")),
        (["names a column twice"], ("--label-columns", "a,a")),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_work(
    refused, tiny_model, tmp_path, monkeypatch, words, arguments
):
    # kills: an hour's work before a refusal (the data does not even exist), files touched
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text("{}")
    plot = ("--plot", "p.svg") if "--plot" in words[0] else ()
    refused(2, words, "evaluate", "--data", "absent.csv", "--model", tiny_model, *plot, *arguments)


def test_labels_files_go_with_their_data(evaluate, write):
    # kills: the descriptions of one set given to another
    one, two = write("one.csv", table(ROWS)), write("two.csv", table([("rain", "wet"), ("sun", "dry")] * 5))
    files = (
        "--labels-file",
        write("1.txt", "land\nsea\nrain\n"),
        "--labels-file",
        write("2.csv", "label,description\nwet,rain\ndry,sun\n"),
    )
    runs = evaluate("--data", one, "--data", two, *files)["runs"]
    assert [run["labels"] for run in runs] == [["land", "sea", "rain"], ["wet", "dry"]]
    alone = evaluate("--data", two, *files[2:])
    assert runs[1]["accuracy"] == alone["accuracy"] and runs[1]["ece"] == alone["ece"]


def test_rows_that_nobody_labelled_are_left_out(evaluate, sijo_cli, refused, tiny_model, write, tmp_path):
    # kills: a hundred rows labelled in a table of thousands refused; a blank as a label of its own; rows counted
    # without those left out, in the answers, in the report and in an error; holes that nobody is told of
    rows = [("a hole", ""), *ROWS[:4], ("another", " "), *ROWS[4:10], ("a third", "\u200b")]
    holes, whole = write("holes.csv", table(rows)), write("whole.csv", table(ROWS[:10]))
    output, page = tmp_path / "answers.csv", tmp_path / "page.html"
    ran = sijo_cli(
        "evaluate", "--data", holes, "--model", tiny_model, *FEW, "--predictions", output, "--report", page
    )
    assert ran.code == 0 and "3 of 13 rows of" in ran.err and "no label in the column 'label'" in ran.err
    expected = evaluate("--data", whole)
    assert seconds_left_out(ran.rows()[0]) | {"data": None} == seconds_left_out(expected) | {"data": None}
    with output.open() as file:
        told = [(int(row["row"]), row["text"]) for row in csv.DictReader(file)]
    assert told == [(number, text) for number, (text, label) in enumerate(rows, 1) if label.strip("\u200b ")]
    shown = {int(number) for number in re.findall(r'class="row"><span class="number">(\d+)<', page.read_text())}
    assert shown and shown <= {number for number, _ in told}
    refused(3, "row 3: the label 'lnad'", "evaluate", "--labels", "sea,land", "--model", tiny_model, "--data",
            write("slip.csv", table([("x", ""), ("y", "sea"), ("z", "lnad")])))  # fmt: skip
    refused(3, "row 4 has no text", "evaluate", "--model", tiny_model, "--data",
            write("b.csv", table([("x", ""), ("y", "sea"), ("z", "land"), (" ", "sea")])))  # fmt: skip


# --- several labels a row

MANY = [("the sea", ["sea"]), ("rain and sun", ["rain", "sun"]), ("a tax", []), ("old bread", ["sea", "sun"])] * 3


def many(*, column):
    """The same rows in each form that a label column takes."""
    if column == "json":
        return table([(text, json.dumps(names).replace('"', '""')) for text, names in MANY])
    if column == "parted":
        return table([(text, "; ".join(names)) for text, names in MANY])
    flags = [(text, *("yes" if name in names else "0" for name in ("sea", "rain", "sun"))) for text, names in MANY]
    return table(flags, "text", "sea", "rain", "sun")


def test_labels_of_a_row_are_read_in_every_form(evaluate, sijo_cli, write):
    # kills: a list read as one label, a column of flags in another order, a row without labels refused
    labels = ("--labels", "sea,rain,sun", "--threshold", "0.45")
    records = []
    for column in ("json", "parted", "flags"):
        data = write(f"{column}.csv", many(column=column))
        how = ("--label-columns", "sea,rain,sun") if column == "flags" else ("--multi-label",)
        if column == "flags":
            record = evaluate("--data", data, *how, "--threshold", "0.45")
        else:
            record = evaluate("--data", data, *how, *labels)
        records.append({name: value for name, value in seconds_left_out(record).items() if name != "data"})
    assert records[0] == records[1] == records[2]
    assert records[0]["rows"] == 12 and [row["support"] for row in records[0]["classes"]] == [6, 3, 6]
    jsonl = write("a.jsonl", "".join(json.dumps({"text": text, "label": names}) + "\n" for text, names in MANY))
    record = evaluate("--data", jsonl, "--multi-label", *labels)
    assert record["micro_f1"] == records[0]["micro_f1"] and record["threshold"] == 0.45


def test_several_labels_are_given_as_the_classifier_gives_them(evaluate, tiny_model, write):
    # kills: another threshold, labels of rows without words, a mean over the wrong axis
    rows = [*MANY, ("\u200b", [])]  # the last has no tokens
    data = write("a.jsonl", "".join(json.dumps({"text": text, "label": names}) + "\n" for text, names in rows))
    record = evaluate("--data", data, "--multi-label", "--labels", "sea,rain,sun", "--threshold", "0.03")
    clf = sijo.ZeroShotClassifier(["sea", "rain", "sun"], tiny_model, multi_label=True, threshold=0.03)
    texts = [text for text, _ in rows]
    given = clf.predict(texts)
    assert given[:-1].any() and clf.predict_proba(texts)[-1].min() > 0.03
    gold = np.array([[name in names for name in ("sea", "rain", "sun")] for _, names in rows])
    assert [row["predicted"] for row in record["classes"]] == given.sum(0).tolist()
    assert record["subset_accuracy"]["value"] == pytest.approx((given == gold).all(1).mean())
    chances = clf.predict_proba(texts)
    assert record["brier"]["value"] == pytest.approx(np.mean((chances - gold) ** 2))


@pytest.mark.parametrize(
    "code, words, content, arguments",
    [
        (
            3,
            ["row 2", "'label'", "nothing here"],
            '{"text": "a", "label": ["sea"]}\n{"text": "b"}\n',
            ("--multi-label",),
        ),
        (3, ["row 1", "not the name of a label"], '{"text": "a", "label": [0.5]}\n', ("--multi-label",)),
        (
            3,
            ["row 2", "'sun'", "1 or 0"],
            '{"text": "a", "sun": 1}\n{"text": "b", "sun": 0.5}\n',
            ("--label-columns", "sun"),
        ),
        (3, ["row 2", "'sun'"], '{"text": "a", "sun": true}\n{"text": "b"}\n', ("--label-columns", "sun")),
        (2, ["no column 'rain'"], '{"text": "a", "sun": 1}\n', ("--label-columns", "sun,rain")),
        (3, ["row 1", "not a label", "--multi-label"], '{"text": "a", "label": ["sea", "sun"]}\n', ()),
        (
            3,
            ["row 1", "'sae'", "did you mean 'sea'"],
            '{"text": "a", "label": ["sae"]}\n',
            ("--multi-label", "--labels", "sea,sun"),
        ),
    ],
)
def test_rows_of_several_labels_that_must_be_mended(refused, tiny_model, write, code, words, content, arguments):
    # kills: a missing label taken for none, half a yes
    refused(code, words, "evaluate", "--data", write("a.jsonl", content), "--model", tiny_model, *arguments)


# --- Korean


def test_labels_in_hangul(evaluate, sijo_cli, tiny_model, write, tmp_path):
    # kills: labels that are bytes in JSON, a file in another encoding, decomposed Hangul as another label
    model = tmp_path / "model"
    sijo.save(load(tiny_model, head="new:sequence-classification", labels=["바다", "땅"]), model)
    rows = [("the sea", "바다"), ("good land", "땅"), ("salt", "\u1107\u1161\u1103\u1161")] * 4
    files = ("--predictions", tmp_path / "p.csv", "--report", tmp_path / "r.html")
    data = write("한국어.csv", table(rows))
    record = evaluate("--data", data, *files, model=model)
    assert record["labels"] == ["바다", "땅"] and [row["support"] for row in record["classes"]] == [8, 4]
    assert "바다" in (tmp_path / "p.csv").read_text(encoding="utf-8")
    assert "한국어.csv" in (tmp_path / "r.html").read_text(encoding="utf-8")
    ran = sijo_cli("evaluate", "--data", data, "--model", model, *FEW, "--format", "table")
    assert ran.code == 0 and "바다" in ran.out.decode()


# --- none of these


def test_none_of_these_is_told_from_the_others(evaluate, write):
    # kills: rows of the none label as wrong answers alone
    data = write("a.csv", table([*ROWS, ("tax price bank", "other"), ("game", "other")]))
    record = evaluate("--data", data, "--none-label", "other")
    assert record["none"]["rows"] == 2 and 0 <= record["none"]["auroc"]["value"] <= 1
    assert record["labels"] == ["land", "sea", "other"]
    runs = evaluate("--data", data, "--none-label", "other", "--calibrate", "none", "--calibrate", "batch")["runs"]
    assert runs[0]["none"] == record["none"]


# --- a row for each text


def test_predictions_are_those_of_classify(sijo_cli, evaluate, tiny_model, write, tmp_path):
    # kills: rows of another order, the lead of another label, right and wrong exchanged
    out = {suffix: tmp_path / f"p{suffix}" for suffix in (".csv", ".jsonl", ".parquet")}
    data = write("a.csv", table(ROWS))
    for path in out.values():
        evaluate("--data", data, "--predictions", path)
    rows = pq.read_table(out[".parquet"]).to_pylist()
    assert six_digits(rows) == [json.loads(line) for line in out[".jsonl"].read_text().splitlines()]
    with out[".csv"].open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [row["label"] for row in rows]
    assert list(rows[0]) == ["row", "text", "gold", "label", "score", "margin", "right"]
    classified = sijo_cli("classify", data, "--labels", "land,sea", "--model", tiny_model, "--all-scores").rows()
    for number, (row, (text, gold), other) in enumerate(zip(rows, ROWS, classified, strict=True), start=1):
        assert (row["row"], row["text"], row["gold"]) == (number, text, gold)
        scores = sorted((score for score in other["label_scores"].values()), reverse=True)
        assert row["score"] == pytest.approx(scores[0], rel=1e-5)
        assert row["margin"] == pytest.approx(scores[0] - scores[1], abs=2e-6)
        assert row["right"] == (row["label"] == gold)


def test_predictions_of_several_runs_say_whose_they_are(evaluate, write, tmp_path):
    # kills: rows of two runs that cannot be told apart
    one, two, out = write("one.csv", table(ROWS)), write("two.csv", table(ROWS[:7])), tmp_path / "p.jsonl"
    record = evaluate(
        "--data", one, "--data", two, "--calibrate", "none", "--calibrate", "batch", "--predictions", out
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 40 + 40 + 7  # 7 texts are too few for a calibration
    assert list(rows[0])[:4] == ["data", "model", "scorer", "calibrate"]
    for run in record["runs"]:
        own = [row for row in rows if f"{row['model']}, {row['scorer']}, {row['calibrate']}" == run["way"]]
        own = [row for row in own if run["data"].endswith(row["data"])]
        assert np.mean([row["right"] for row in own]) == pytest.approx(run["accuracy"]["value"])


def test_predictions_of_several_labels(evaluate, write, tmp_path):
    # kills: labels below the threshold, scores in another order than their labels, a label's threshold forgotten
    out, labels = tmp_path / "p.jsonl", write("l.csv", "label,threshold\nsea,\nrain,0.1\nsun,\n")
    evaluate(
        *("--data", write("a.csv", many(column="parted")), "--labels-file", labels),
        *("--multi-label", "--threshold", "0.3", "--predictions", out),
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["gold"] for row in rows] == [names for _, names in MANY]
    assert max(len(row["labels"]) for row in rows) > 1
    for row in rows:
        assert len(row["labels"]) == len(row["scores"]) and row["scores"] == sorted(row["scores"], reverse=True)
        from_which = [0.1 if label == "rain" else 0.3 for label in row["labels"]]
        want = [score - least for score, least in zip(row["scores"], from_which, strict=True)]
        assert row["margins"] == pytest.approx(want) and min(want, default=0) >= 0
        assert row["right"] == ({*row["labels"]} == {*row["gold"]})


def test_a_full_disk_leaves_the_old_file(sijo_cli, tiny_model, write, tmp_path, monkeypatch):
    # kills: half a file of predictions, or of a report
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    data, out, report = write("a.csv", table(ROWS)), tmp_path / "p.csv", tmp_path / "r.md"
    out.write_text("old")
    monkeypatch.setattr("sijo.files.atomic.os.fsync", full)
    for option, path in (("--predictions", out), ("--report", report)):
        ran = sijo_cli("evaluate", "--data", data, "--model", tiny_model, *FEW, option, path)
        ran.must_say(74, "No space left")
    assert out.read_text() == "old" and not report.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "p.csv"]


# --- reports

HOSTILE = "<script>alert(1)</script>|`**x**`"


class Page(HTMLParser):
    """What tags and words a page has."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, words):
        self.words.append(words)


@pytest.fixture
def hostile(write):
    rows = [("the sea", HOSTILE), ("good land", "land"), ("salt", HOSTILE), ("a tax", "land")] * 4
    return write("a.jsonl", "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))


def test_a_page_needs_nothing_and_runs_nothing(evaluate, hostile, tmp_path):
    # kills: a label that is markup, a script, a font or a picture from elsewhere, a drawing that is escaped
    path = tmp_path / "r.html"
    evaluate("--data", hostile, "--calibrate", "none", "--calibrate", "contextual", "--report", path)
    text = path.read_text()
    page = Page(text)
    assert page.tags <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "main",
            "section",
            "article",
            "footer",
            "div",
        ),
        *("h1", "h2", "h3", "h4", "p", "span", "b", "i", "ul", "li", "details", "summary", "figure", "figcaption"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "text"),
    }
    assert text.count("<svg") == 2 and "&lt;svg" not in text
    assert HOSTILE in html.unescape(text) and "<script" not in text
    assert not {name for name in page.attributes if name.startswith("on")} and "href" not in page.attributes
    for word in ("http:", "https:", "url(", "@import", "<link", "src=", "xmlns"):
        assert word not in text, word
    assert "default-src 'none'" in text
    drawn = re.findall(r"var\((--run\d)\)", "".join(re.findall(r"<svg.*?</svg>", text, re.S)))
    assert {*drawn} == {"--run1", "--run2"}
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert {*re.findall(r"var\((--[a-z0-9-]+)\)", text)} <= {*re.findall(r"(--[a-z0-9-]+):", style)}


def test_a_page_shows_rows_with_the_words_that_decided(evaluate, hostile, tmp_path):
    # kills: right rows among the wrong, reasons of another row, reasons for as many readings as a million rows have
    # words, texts in a page that was to have none
    path = tmp_path / "r.html"
    record = evaluate("--data", hostile, "--report", path)
    text = path.read_text()
    wrong = round((1 - record["accuracy"]["value"]) * 16)
    assert f"Wrong answers: {wrong if wrong <= 12 else f'12 of {wrong}'}, the surest first" in text
    assert text.count('class="row"') == min(wrong, 12) + min(16 - wrong, 6)
    assert text.count("gold: ") == min(wrong, 12)
    reasons = re.findall(r'<article>(?:(?!</article>).)*class="words".*?</article>', text, re.S)
    assert len(reasons) == 2 and all(re.search(r"strongest words.*[+−][0-9.]+</td>", one, re.S) for one in reasons)
    assert re.search(r'class="part (for|against)\d" tabindex="0"', text) and "whoever is given it" in text
    evaluate("--data", hostile, "--report", path, "--no-report-texts")
    text = path.read_text()
    assert "the sea" not in text and "whoever" not in text and "found " in text


def test_markdown_pastes_into_a_page(evaluate, hostile, tmp_path):
    # kills: a label that ends its cell, a tag that Markdown lets through, a table without its line of dashes
    path = tmp_path / "r.md"
    evaluate("--data", hostile, "--report", path)
    text = path.read_text()
    assert "\\<script\\>" in text and not re.search(r"(?<!\\)<", text)
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3  # the run, its numbers, its labels
    for lines in blocks:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(lines[0].split(" | ")) + 1}
        assert re.fullmatch(r"\|( -{3}:? \|)+", lines[1])


def test_many_runs_and_many_labels_are_drawn(evaluate, write, tmp_path):
    # kills: more runs than there are colours, a matrix of fifty columns, several labels that nothing is drawn of
    names = WORDS[16:30]
    data = write("a.csv", table([(f"the sea {number}", names[number % 14]) for number in range(70)]))
    methods = [
        ("--calibrate", how)
        for how in ("none", "refine", "batch", "standardize", "prior", "contextual", "dcpmi", "auto")
    ]
    path = tmp_path / "r.html"
    record = evaluate("--data", data, *(word for pair in methods for word in pair), "--report", path)
    text = path.read_text()
    assert not record["impossible"], record["impossible"]
    assert len(record["runs"]) == 8 and "6 of 8 runs" in text
    assert "commonest of" in html.unescape(text) and "shade" not in text.partition("</style>")[2]
    evaluate("--data", write("m.csv", many(column="parted")), "--multi-label", "--report", path)
    text = path.read_text()
    assert "LRAP" in text and "<svg" not in text


def test_a_page_without_matplotlib(refused, tiny_model, write, monkeypatch):
    # kills: a trace in place of what to install
    monkeypatch.setattr("sijo.app.report.page.find_spec", lambda name: None)
    refused(
        2, 'pip install "sijo[plot]"', "evaluate", "--data", "a.csv", "--model", tiny_model, "--report", "r.html"
    )
