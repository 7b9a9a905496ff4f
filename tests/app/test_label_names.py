"""Labels through all commands: what `finetune` learns, `classify` and `evaluate` give back, or all refuse."""

import csv
import io
import json
import unicodedata

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sijo
from sijo.app.evaluation.gold_rows import gold_rows
from sijo.data.labelled_rows import read_rows
from sijo.data.row_labels import check_labels, names_of, numbers_alike, spelled_alike
from sijo.errors import SettingError, TextError
from sijo.files.tables import TextTable
from sijo.jobs.finetune import finetune
from sijo.jobs.finetune_settings import LabelledFiles, default_settings
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.names import folded
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.scorer import TrainedLabels

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("--set", "run.epochs=1", "run.batch=8", "cutting.length=16", "run.micro_tokens=64", "held_out=0.4")


def table(labels, times=4):
    """A CSV of texts with each label so many times."""
    out = io.StringIO(newline="")
    rows = [[f"the sea {number}", label] for number in range(times) for label in labels]
    csv.writer(out).writerows([["text", "label"], *rows])
    return out.getvalue()


def lines(labels, times=4):
    """The same as JSON lines."""
    rows = [{"text": f"the sea {number}", "label": label} for number in range(times) for label in labels]
    return "".join(json.dumps(row) + "\n" for row in rows)


NFD = unicodedata.normalize("NFD", "축구")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", table(["Sport", "sport"]), ("'Sport'", "'sport'", "line 2", "line 3")),
        ("t.csv", table(["tax law", "news", "Tax\u00a0law"]), ("'tax law'", "'Tax\\xa0law'", "line 4")),
        ("t.csv", table(["축구", NFD]), ("have 1 label (축구)",)),
        ("t.csv", table(["ｎｅｗｓ", "news"]), ("'ｎｅｗｓ'", "'news'")),
        ("t.csv", table(["art", "a\u200brt"]), ("'art'", "'a\\u200brt'")),
        ("t.csv", table(["❤", "❤\ufe0f"]), ("'❤'", "line 3")),
        ("t.csv", table(["nan", "NaN"]), ("'nan'", "'NaN'")),
        ("t.csv", table(["straße", "STRASSE"]), ("'straße'", "'STRASSE'")),
        ("t.jsonl", lines([True, "true"]), ("'True'", "'true'", "line 1", "line 2")),
        ("t.jsonl", lines([1, 2, "1.0", "two"]), ("'1'", "'1.0'")),
        ("t.csv", table(["\u200b\ufeff", "a"]), ("not a label", "line 2")),
        ("t.jsonl", lines(["a", "b", float("nan")]), ("holds nan", "line 3")),
        ("t.jsonl", lines(["a", "b", None]), ("holds None", "line 3")),
        ("t.jsonl", lines(["a", "b", 0.5]), ("holds 0.5", "line 3")),
        ("t.csv", table(["a", "['b', 'c']"]), ("not a label", "--task multi-label", "line 3")),
    ],
)
def test_two_spellings_are_refused_before_training(sijo_cli, tiny_model, write, tmp_path, name, content, words):
    # kills: two classes of one label, and a model that classify refuses afterwards; a class of rows without one
    out = tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", write(name, content), "-o", out, *FEW)
    ran = sijo_cli("finetune", *arguments)
    ran.must_say(3, words[0])
    assert all(word in ran.err for word in words) and not out.exists()


def test_whole_numbers_are_written_alike(sijo_cli, tiny_model, write, tmp_path):
    # kills: 1 and 1.0 of a column that had a gap as two classes; gold that finetune takes and evaluate does not
    data, out = write("t.jsonl", lines([1, 1.0, "2", "1.0"])), tmp_path / "run"
    dev = write("dev.csv", table(["2.0", "1"]))
    arguments = ("--model", tiny_model, "--train", data, "--eval", dev, "-o", out, "--strict", *FEW)
    assert sijo_cli("finetune", *arguments).code == 0
    assert sijo.load(out / "model", "sequence-classification").labels == ("1", "2")
    ran = sijo_cli(
        "evaluate", "--data", data, "--data", dev, "--model", out / "model", "--strict", "--format", "json"
    )
    assert ran.code == 0, ran.err


def parquet(write, labels):
    """A table with a column of doubles, as pandas makes of whole numbers with a gap."""
    import pyarrow as pa
    import pyarrow.parquet

    path = write("t.parquet", "")
    texts = [f"the sea {number}" for number in range(4 * len(labels))]
    column = pa.array(labels * 4, pa.float64())
    pyarrow.parquet.write_table(pa.table({"text": texts, "label": column}), path)
    return path


NUMBERS = {
    "floats of JSON": ("t.jsonl", lines([0.0, 1.0]), ["0", "1"]),
    "floats and integers": ("t.jsonl", lines([0, 1.0, 0.0, 1]), ["0", "1"]),
    "numbers and texts": ("t.jsonl", lines(["0", 1, "1.0"]), ["0", "1"]),
    "a column of decimals": ("t.csv", table(["0.0", "1.0"]), ["0", "1"]),
    "a column that had a gap": ("t.csv", table(["0", "1.0", "1"]), ["0", "1"]),
    "two signs": ("t.csv", table(["-1", "1.0", "-1.0"]), ["-1", "1"]),
    "many": ("t.csv", table([f"{number}.0" for number in range(11)]), [*map(str, range(11))]),
    "truth": ("t.jsonl", lines([True, False]), ["False", "True"]),
    "versions": ("t.csv", table(["1.0", "1.5", "2.0"]), ["1.0", "1.5", "2.0"]),
    "codes": ("t.csv", table(["01", "1"]), ["01", "1"]),
    "names": ("t.csv", table(["영", "1.0"]), ["1.0", "영"]),
}


@pytest.mark.parametrize("doubles", [[0.0, 1.0], [-1.0, 1.0, 2.0]])
def test_doubles_of_parquet_are_classes(write, doubles):
    # kills: a class that finetune and evaluate write otherwise
    path, names = parquet(write, doubles), {str(int(label)) for label in doubles}
    assert {row.label for row in numbers_alike(read_rows(path, "classification"), "classification")} == names
    assert {label for labels in gold_rows(TextTable(path), str(path), "label").gold for label in labels} == names
    broken = parquet(write, [*doubles, float("nan")])
    with pytest.raises(TextError, match=f"row {len(doubles) + 1}.*holds (None|nan), not a label"):
        read_rows(broken, "classification")


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("several", [False, True])
def test_numbers_are_the_same_classes_for_every_command(write, kind, several):
    # kills: labels of numbers that one command takes and the other refuses, or writes otherwise
    name, content, names = NUMBERS[kind]
    path, task = write(name, content), "multi-label" if several else "classification"
    rows = numbers_alike(read_rows(path, task), task)
    assert list(names_of(rows, task)) == sorted(names, key=[*names_of(rows, task)].index) and len(names) > 1
    assert set(names_of(rows, task)) == set(names)
    gold = gold_rows(TextTable(path), str(path), "label", multi_label=several).gold
    assert gold == [row.label if several else (row.label,) for row in rows]


def test_numbers_are_places_among_names(sijo_cli, refused, tiny_model, write, tmp_path):
    # kills: integer labels refused where a data set has them and the model names; a place counted from 1, or read
    # as a column of another order, in silence
    names, numbers = write("n.csv", table(["sea", "rain"])), write("t.jsonl", lines([0.0, 1]))
    out = tmp_path / "run"
    ran = sijo_cli("finetune", "--model", tiny_model, "--train", names, "-o", out, *FEW)
    assert ran.code == 0 and sijo.load(out / "model", "sequence-classification").labels == ("rain", "sea")
    same = write("s.csv", table(["rain", "sea"]))
    for arguments in (("--model", out / "model"), ("--model", tiny_model, "--labels", "rain,sea")):
        by_number = sijo_cli("evaluate", "--data", numbers, *arguments, "--format", "json")
        assert by_number.code == 0 and "0 as 'rain', 1 as 'sea'" in by_number.err
        by_name = sijo_cli("evaluate", "--data", same, *arguments, "--format", "json")
        assert by_number.rows()[0]["confusion"] == by_name.rows()[0]["confusion"]
        assert by_number.rows()[0]["labels"] == ["rain", "sea"]
    for wrong in ([1, 2], [0, 2], [1], [-1, 0]):
        words = "is not one of the 2 labels" if -1 in wrong else "numbers are read as places from 0 to 1, and only"
        refused(3, words, "evaluate", "--data", write("w.jsonl", lines(wrong)), *arguments)
    ran = sijo_cli("finetune", "--model", out / "model", "--train", numbers, "-o", tmp_path / "again", *FEW)
    assert ran.code == 0 and "a new head is made, which knows the numbers" in ran.err
    assert sijo.load(tmp_path / "again" / "model", "sequence-classification").labels == ("0", "1")


def test_columns_that_nobody_has_named_are_numbers(tiny_copy, write):
    # kills: a trained head thrown away because transformers calls its columns LABEL_0 and LABEL_1
    folder = tiny_copy.with_name("unnamed")
    sijo.save(sijo.load(tiny_copy, "new:sequence-classification", labels=["LABEL_0", "LABEL_1"]), folder)
    settings = with_changes(default_settings("classification", str(folder)), FEW[1:])
    setup = FinetuneSetup(settings, LabelledFiles(train=str(write("t.jsonl", lines([0.0, 1.0])))))
    assert setup.keeps_head and setup.names == ("0", "1") and setup._model(0).labels == ("0", "1")


def test_evaluation_rows_are_read_in_the_training_rows_spelling(sijo_cli, tiny_model, write, tmp_path):
    # kills: an evaluation file refused, or counted as wrong, for its capitals; a spelling changed in silence
    train, dev = write("t.csv", table(["Sport", "News"])), write("dev.csv", table(["sport", "ｎｅｗｓ"], 2))
    arguments = ("--model", tiny_model, "--train", train, "--eval", dev, "-o", tmp_path / "run", "-q", *FEW)
    ran = sijo_cli("finetune", *arguments)
    assert ran.code == 0 and "the label 'sport' is read as 'Sport'" in ran.err and "2 warnings" in ran.err
    said = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [row["gold"] for row in said] == ["Sport", "News"] * 2
    assert sijo_cli("finetune", "--strict", *arguments, "run.seed=1").code == 3
    model = tmp_path / "run" / "model"
    measured = sijo_cli("evaluate", "--data", dev, "--model", model, "--format", "json")
    assert measured.code == 0 and "the label 'sport' is read as 'Sport'" in measured.err
    accuracy = sum(row["gold"] == row["predicted"] for row in said) / len(said)
    assert measured.rows()[0]["accuracy"]["value"] == accuracy
    named = ("--labels", "NEWS,s\u200bport", "--column", "text", "--model", model)
    assert sijo_cli("classify", train, *named).code == 0


def test_evaluate_takes_one_spelling_or_is_told(sijo_cli, refused, tiny_model, write):
    # kills: labels of a file in two spellings as two labels, or refused as a slip in the command
    data = write("t.csv", table(["Sport", "sport", "art"]))
    arguments = ("evaluate", "--data", data, "--model", tiny_model)
    refused(3, "row 2: the label 'sport' is the label 'Sport' of row 1", *arguments)
    ran = sijo_cli(*arguments, "--labels", "sport,art", "--format", "json")
    assert ran.code == 0 and [row["support"] for row in ran.rows()[0]["classes"]] == [8, 4]
    missing = sijo_cli("evaluate", "--data", write("m.csv", table(["NA", "sea|rain", "a"])), "--model", tiny_model)
    assert missing.code == 0 and "'NA' is how tables write" in missing.err and "parted at '|'" in missing.err


def test_labels_that_are_none_of_their_own(refused, tiny_model, write):
    # kills: a none label that is one of the labels in another spelling, or that nobody can see
    arguments = ("classify", write("t.csv", table(["a"])), "--column", "text", "--model", tiny_model)
    refused(2, "is also one of the labels", *arguments, "--labels", "sea,rain", "--none-label", "ＳＥＡ")
    refused(2, "is no name", *arguments, "--labels", "sea,rain", "--none-label", "\u200b")
    refused(2, "is given twice", *arguments, "--labels", "1,1.0")
    clf = sijo.ZeroShotClassifier(model=tiny_model)
    with pytest.raises(SettingError, match="given twice"):
        clf.fit(["a", "b"], ["Sea", "sea"])


ODD = ["LABEL_0", "1", "1.0", "01", "nan", "null", "true", "yes", '"', "\\", "a,b;c", "#", "- a", "[x", "é"]
NAMES = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(ODD))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=2, max_size=5, unique_by=folded))
@pytest.mark.filterwarnings("ignore::sijo.errors.SijoWarning")
def test_what_is_learned_can_be_asked_for(tiny_model, tmp_path, names):
    # kills: a name that finetune takes, and classify refuses or gives back otherwise
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(names, 2))
    try:
        rows = read_rows(file, "classification")
        assert spelled_alike(rows, rows, "classification") == rows
        check_labels(rows, [], "classification")
    except TextError:
        return
    learned = names_of(rows, "classification")
    model = sijo.load(tiny_model, "new:sequence-classification", labels=list(learned))
    sijo.save(model, tmp_path / "model", overwrite=True)
    labels = TrainedLabels.of(sijo.load(tmp_path / "model", "sequence-classification"))
    assert labels.names == learned
    for place, name in enumerate(learned):
        spellings = [
            name,
            f" {name}\u200b",
            unicodedata.normalize("NFD", name),
            unicodedata.normalize("NFKC", name),
        ]
        assert labels.places([Label(spelling) for spelling in spellings]) == [place] * 4


def test_a_head_is_gone_on_with_in_any_spelling(tiny_model, write, tmp_path):
    # kills: a trained head thrown away for a capital, or kept with labels of the other rows
    def run(out, model, content, *changes):
        changes = [*FEW[1:], *changes]
        wanted = with_changes(default_settings("classification", str(model)), changes)
        list(finetune(wanted, LabelledFiles(train=str(write("t.csv", content))), tmp_path / out))
        return sijo.load(tmp_path / out / "model", "sequence-classification")

    first = run("one", tiny_model, table(["sea", "rain"]), "schedule.peak=0.05", "run.batch=1")
    again = run("two", tmp_path / "one" / "model", table(["SEA", "Rain"]), "schedule.peak=1e-12")
    assert (first.labels, again.labels) == (("rain", "sea"), ("Rain", "SEA"))
    for one, other in zip(first.head.parameters(), again.head.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    taught = run("three", tiny_model, table(["Sea", "raiN"]), f"teacher.model={tmp_path / 'one' / 'model'}")
    assert taught.labels == ("Sea", "raiN")


MULTI = ("--task", "multi-label")


@pytest.mark.parametrize(
    ("cells", "arguments", "names"),
    [
        (["sea, rain", "rain"], (), ("rain", "sea")),
        (["sea;rain", "rain"], (), ("rain", "sea")),
        (["['sea', 'rain']", '["rain"]'], (), ("rain", "sea")),
        (["sea|rain, wind", "sea"], ("--labels-separator", "|"), ("rain, wind", "sea")),
        (["Rome, Italy;sea", "sea"], ("--labels-separator", ";"), ("Rome, Italy", "sea")),
    ],
)
def test_cells_of_several_labels(sijo_cli, tiny_model, write, tmp_path, cells, arguments, names):
    # kills: two labels as one class; a rule that finetune and classify do not share
    data, out = write("t.csv", table(cells)), tmp_path / "run"
    ran = sijo_cli("finetune", "--model", tiny_model, "--train", data, "-o", out, "-q", *MULTI, *arguments, *FEW)
    assert ran.code == 0 and ran.err == "", ran.err
    assert sijo.load(out / "model", "sequence-classification").labels == names
    labelled = ("--column", "text", "--labels-column", "label", "--multi-label", "--all-scores", "-q")
    ran = sijo_cli("classify", data, "--model", tiny_model, *labelled, *arguments)
    assert ran.code == 0, ran.err
    assert {*ran.rows()[0]["label_scores"]} == {*names} and ran.err == ""


@pytest.mark.parametrize("command", ["finetune", "classify"])
@pytest.mark.parametrize(
    ("cells", "code", "words"),
    [
        (["sea|rain", "sea"], 0, "looks like several parted at '|'"),
        (["sea、rain", "rain"], 0, "looks like several parted at '、'"),
        (["sea/rain", "rain/sun", "sun", "sea"], 0, "looks like several parted at '/'"),
        (["sea;rain", "sun, sea"], 3, "which of them parts labels in this column"),
        (["sea;rain, sun", "sea"], 3, "semicolons and commas, and either may part labels"),
        (["['sea' 'rain']", "sea"], 3, "begins as a list and is none"),
        (["[sea, rain]", "sea"], 3, "begins as a list and is none"),
        (["sea\nrain", "sea"], 3, "cannot be split"),
    ],
)
def test_cells_that_are_told_or_refused(sijo_cli, tiny_model, write, tmp_path, command, cells, code, words):
    # kills: a strange label in silence, in the one command or the other
    data = write("t.csv", table(cells))
    if command == "finetune":
        ran = sijo_cli("finetune", "--model", tiny_model, "--train", data, "-o", tmp_path / "run", *MULTI, *FEW)
    else:
        labelled = ("--column", "text", "--labels-column", "label", "--multi-label")
        ran = sijo_cli("classify", data, "--model", tiny_model, *labelled)
    assert ran.code == code and words in ran.err, ran.err
    assert ran.err.count("looks like several") <= 1


def tags(*rows):
    return "".join(
        json.dumps({"words": ["sea"] * len(row.split()), "tags": row.split()}) + "\n" for row in rows * 4
    )


@pytest.mark.parametrize(
    ("rows", "scheme"),
    [
        (("I-x I-x O I-y", "I-x B-x O"), "IOB1"),
        (("B-x I-x O", "O B-y O"), "IOB2"),
        (("B-x E-x O S-x", "O S-x"), "BIOES"),
        (("B-x I-x L-x O U-x", "U-x O"), "BILOU"),
        (("NOUN VERB", "VERB NOUN"), None),
    ],
)
def test_the_scheme_of_tags_is_found_and_told(sijo_cli, tiny_model, write, tmp_path, rows, scheme):
    # kills: KeyError 'entity_f1' of BIOES; a scheme that is found and kept from the reader
    out = tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", write("t.jsonl", tags(*rows)), "-o", out, "--task", "tagging")
    ran = sijo_cli("finetune", *arguments, *FEW, "--format", "json")
    assert ran.code == 0, ran.err
    results = json.loads((out / "results.json").read_text())
    assert results.get("tag_scheme") == scheme and ran.rows()[0].get("tag_scheme") == scheme
    assert results["metric"] == ("entity_f1" if scheme else "accuracy")
    assert ("entity_f1" in results["metrics"]) == (scheme is not None)
    card = (out / "model" / "README.md").read_text()
    assert (f"entities are read strictly as {scheme}" in card) == (scheme is not None)
    assert (f"the tags are {scheme}" in ran.err) == (scheme is not None)


def test_a_mixture_of_tags_is_refused_or_measured_by_words(sijo_cli, tiny_model, write, tmp_path):
    # kills: a mixture measured in silence; no way to learn it all the same
    data, out = write("t.jsonl", tags("B-x I-x O", "S-x U-x O")), tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", data, "-o", out, "--task", "tagging", *FEW)
    sijo_cli("finetune", *arguments).must_say(3, "no scheme has these tags together")
    assert not out.exists()
    assert sijo_cli("finetune", *arguments, "metric=accuracy").code == 0


def test_macro_f1_is_one_number(sijo_cli, tiny_model, write, tmp_path):
    # kills: a class that no evaluation row has, counted as 0 by one command and left out by the other
    train = write("t.csv", table(["the", "sea", "rain", "old"], 3))
    dev, out = write("dev.csv", table(["the", "sea"], 5)), tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", train, "--eval", dev, "-o", out, "-q")
    assert sijo_cli("finetune", *arguments, *FEW).code == 0
    results = json.loads((out / "results.json").read_text())
    measured = sijo_cli("evaluate", "--data", dev, "--model", out / "model", "--format", "json").rows()[0]
    assert measured["macro_f1"]["value"] == pytest.approx(results["metrics"]["macro_f1"]["value"], abs=1e-12)
    assert measured["macro_f1_over"] == results["macro_f1_over"] == "labels in gold or predictions"
    assert f"macro_f1 is over {results['macro_f1_over']}" in (out / "model" / "README.md").read_text()


def test_a_metric_that_is_not_defined_chooses_nothing(sijo_cli, tiny_model, write, tmp_path):
    # kills: the first checkpoint kept for a correlation that is NaN at all of them, without a word
    data, out = write("t.csv", table(["1.5"], 20)), tmp_path / "run"
    arguments = ("--model", tiny_model, "--train", data, "-o", out, "--task", "regression", "--set", *FEW[1:])
    ran = sijo_cli("finetune", *arguments, "run.epochs=3", "schedule.peak=0.01", "run.batch=4")
    assert ran.code == 0 and "spearman is not defined" in ran.err
    evaluated = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    assert [line["spearman"] for line in evaluated] == [None] * 3
    best = min(evaluated, key=lambda line: line["loss"])["step"]
    assert json.loads((out / "results.json").read_text())["best_step"] == best != evaluated[0]["step"]


def test_scores_that_are_no_numbers_are_no_answers(sijo_cli, tiny_model, write, tmp_path):
    # kills: a diverged network measured by the class that NaN sorts to
    data, out = write("t.csv", table(["sea", "rain"])), tmp_path / "run"
    arguments = ("finetune", "--model", tiny_model, "--train", data, "-o", out, *FEW)
    changes = ("schedule.peak=1e9", "schedule.warmup_share=0", "run.batch=2", "every=0.4")
    for resume in ((), ("--resume",)):
        ran = sijo_cli(*arguments, *changes, *resume)
        assert ran.code == 1 and ("NaN or infinite" in ran.err or "the loss is" in ran.err), ran.err
        assert not (out / "model").exists()
