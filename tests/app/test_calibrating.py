"""`--calibrate` and `--calibration`: fitted on the first texts, frozen, kept; the same for every row and run."""

import json

import numpy as np
import pytest

import sijo
from sijo.zeroshot.calibrating.background import write_background

LABELS = ("--labels", "sea,land,rain", "--hypothesis-template", "it is {}")
CHANCE = np.random.default_rng(0)
WORDS = ("the", "sea", "land", "rain", "sun", "game", "team", "money", "bank", "tax", "oil", "salt", "old", "new")
TEXTS = [" ".join(CHANCE.choice(WORDS, size=5)) for _ in range(90)]
GOLD = [str(CHANCE.choice(["sea", "land", "rain"])) for _ in TEXTS]
ROWS = "text,gold,own\n" + "".join(
    f"{text},{gold},sea;{'rain' if place % 2 else 'land'}\n"
    for place, (text, gold) in enumerate(zip(TEXTS, GOLD, strict=True))
)


@pytest.fixture
def classify(sijo_cli, tiny_model, write):
    """`classify(*arguments)`: the command on 90 rows; must succeed, gives what it said."""

    def run(*arguments, source=None, labels=LABELS, model=tiny_model, stdin=b""):
        source = write("in.csv", ROWS) if source is None else source
        ran = sijo_cli("classify", source, "--column", "text", *labels, "--model", model, *arguments, stdin=stdin)
        assert ran.code == 0, ran.err
        return ran

    return run


@pytest.mark.parametrize("method", ["refine", "batch", "standardize", "prior", "contextual", "dcpmi", "auto"])
def test_a_file_is_fitted_once_and_then_used(classify, tmp_path, method):
    # kills: a calibration fitted anew to other rows, or read but not used
    file = tmp_path / "c.json"
    first = classify("--calibrate", method, "--calibration", file)
    kept = file.read_bytes()
    assert f"calibration {'refine' if method == 'auto' else method}: fit on 90 texts" in first.err
    again = classify("--calibrate", method, "--calibration", file)
    assert again.out == first.out and file.read_bytes() == kept
    assert classify("--calibration", file).out == first.out
    source = file.with_name("few.csv")
    source.write_text("text\n" + "\n".join(TEXTS[:3]) + "\n")
    few = classify("--calibration", file, source=source).rows()
    shared = ("label", "score", "margin")
    want = [[row[name] for name in shared] for row in first.rows()[:3]]
    for row, numbers in zip(few, want, strict=True):
        assert row["label"] == numbers[0] and [row["score"], row["margin"]] == pytest.approx(numbers[1:], abs=1e-5)
    assert json.loads(kept)["texts"] == 90
    assert classify().out != first.out


def test_runs_workers_pipes_and_resumed_runs_agree(classify, tmp_path, sijo_cli, tiny_model):
    # kills: workers that are not calibrated, a pipe whose first texts are gone, a resumed run fitted otherwise
    how = ("--calibrate", "batch", "--calibration-texts", "40")
    want = classify(*how).out
    assert classify(*how).out == want
    assert classify(*how, source="-", stdin=ROWS.encode()).out == want
    assert classify("--calibrate", "batch", "--calibration-texts", "41").out != want
    output = tmp_path / "out.csv"
    classify(*how, "-o", output, "--resume")
    assert "complete already" in classify(*how, "-o", output, "--resume").err
    told = json.loads((tmp_path / ".out.csv.sijo-id").read_text())["settings"]
    assert told["calibrate"] == "batch" and len(told["calibration"]) == 64
    for other, named in ((("--calibrate", "prior"), "calibrate: "), (how[:2], "calibration: ")):
        ran = sijo_cli(
            *("classify", tmp_path / "in.csv", "--column", "text", *LABELS, "--model", tiny_model),
            *(*other, "-o", output, "--resume"),
        )
        ran.must_say(2, f"was made with {named}", "--overwrite makes it anew")


def test_a_labelled_sample_gives_temperature_and_risk(classify, write, tmp_path):
    # kills: right labels that are read and not used; rows that abstain and do not say so
    sample, file = write("sample.csv", ROWS), tmp_path / "c.json"
    source = write("new.csv", "text\n" + "\n".join(TEXTS[::-1]) + "\n")
    labelled = ("--calibration-sample", sample, "--calibration-label-column", "gold")
    ran = classify("--calibrate", "batch", *labelled, "--calibration", file, "--risk", "0.2", source=source)
    rows = ran.rows()
    assert "fit on 45 labelled texts, calibrated by batch" in ran.err
    assert f"rows without a label at a risk of 0.2: {sum(row['abstained'] for row in rows)}" in ran.err
    for row in rows:
        assert row["abstained"] == (len(row["label_set"]) != 1)
        assert row["label"] == (None if row["abstained"] else row["label_set"][0])
    assert {row["abstained"] for row in rows} == {True, False} or all(row["abstained"] for row in rows)
    looser = classify("--calibration", file, "--risk", "0.6", source=source).rows()
    assert sum(len(row["label_set"]) for row in looser) < sum(len(row["label_set"]) for row in rows)
    assert "abstained" not in classify("--calibration", file, source=source).rows()[0]


def test_labels_of_each_row(classify, refused, tiny_model, tiny_copy, write, tmp_path):
    # kills: a background of one label set used for another
    own = ("--labels-column", "own", "--hypothesis-template", "it is {}")
    source = write("in.csv", ROWS)
    arguments = ("classify", source, "--column", "text", *own, "--model", tiny_model)
    refused(2, ["--labels-column gives each row its own", "contextual"], *arguments, "--calibrate", "batch")
    refused(2, "--labels-column gives each row its own", *arguments, "--calibrate", "auto")
    assert classify("--calibrate", "contextual", labels=own).out != classify(labels=own).out
    file = tmp_path / "c.json"
    classify("--calibrate", "batch", "--calibration", file)
    assert classify("--calibration", file, labels=own).out != classify(labels=own).out
    (tmp_path / "in.csv").write_text(ROWS.replace("sea;land", "sea;team"))
    refused(2, "'team' is none of them", *arguments, "--calibration", file)
    write_background(tiny_copy, sijo.encode(tiny_copy, TEXTS))
    carried = classify("--calibrate", "batch", labels=own, model=tiny_copy)
    assert carried.out != classify(labels=own, model=tiny_copy).out


def test_workers_are_calibrated_alike(classify, start, write, tiny_model, tiny_copy):
    # kills: workers that are not calibrated, or fit their own share of the rows
    write_background(tiny_copy, sijo.encode(tiny_copy, TEXTS))
    source = write("in.csv", ROWS)
    own = ("--labels-column", "own", "--hypothesis-template", "it is {}")
    labelled = ("--calibration-sample", source, "--calibration-label-column", "gold", "--risk", "0.4")
    for labels, model, more in ((LABELS, tiny_model, labelled), (own, tiny_copy, ())):
        how = ("--calibrate", "batch", *more)
        command = ("classify", source, "--column", "text", *labels, "--model", model, *how)
        ran = start(*command, "--workers", "2", OMP_NUM_THREADS="2").wait()
        assert ran.code == 0, ran.err
        assert ran.rows() == classify(*how, labels=labels, model=model).rows()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--calibrate", "centre"), "centre"),
        (("--calibration", "absent.json"), "the calibration absent.json is not there"),
        (("--calibration-sample", "s.csv"), "say how with --calibrate"),
        (("--calibration-label-column", "gold"), "is a column of --calibration-sample"),
        (("--calibrate", "batch", "--calibration-texts", "0"), "is no number of texts that"),
        (("--calibrate", "batch", "--calibration-texts", "31"), "at least 32 texts and has 31"),
        (("--calibrate", "batch", "--label-shares", "estimate"), "it is 'batch'"),
        (("--risk", "0.1"), "--risk needs texts whose right labels are known"),
        (("--risk", "1.5"), "risk=1.5 is no share of texts"),
        (("--calibrate", "dcpmi", "--hypothesis-template", "{}"), "no words of its own"),
    ],
)
def test_what_does_not_go_together_is_refused(refused, write, tiny_model, arguments, words):
    # kills: an hour's work before the first look at an option
    source = write("in.csv", ROWS)
    labels = LABELS[:2] if "--hypothesis-template" in arguments else LABELS
    refused(2, words, "classify", source, "--column", "text", *labels, "--model", tiny_model, *arguments)


def test_another_model_or_template_is_refused(classify, refused, write, tiny_model, tiny_copy, tmp_path):
    # kills: thresholds of one model applied to another's scores
    file = tmp_path / "c.json"
    classify("--calibrate", "batch", "--calibration", file)
    config = tiny_copy / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    run = ("classify", tmp_path / "in.csv", "--column", "text", "--calibration", file)
    refused(2, "fitted for another model: ", *run, *LABELS, "--model", tiny_copy)
    refused(2, 'another template: "it is {}"', *run, *LABELS[:2], "--model", tiny_model)
    refused(2, "another choice: ", *run, *LABELS, "--model", tiny_model, "--multi-label")
    refused(
        2, "was fitted by batch, and prior is asked", *run, *LABELS, "--model", tiny_model, "--calibrate", "prior"
    )


def test_evaluate_measures_what_classify_does(classify, sijo_cli, refused, write, tiny_model, tmp_path):
    # kills: an evaluation of labels as they are without the calibration
    source, file = write("in.csv", ROWS), tmp_path / "c.json"
    rows = classify("--calibrate", "standardize", "--calibration", file).rows()
    ran = sijo_cli(
        *("evaluate", "--data", source, "--label-column", "gold", *LABELS, "--model", tiny_model),
        *("--calibration", file, "--format", "json", "--resamples", "100"),
    )
    assert ran.code == 0, ran.err
    run = ("evaluate", "--data", source, "--label-column", "gold", *LABELS, "--model", tiny_model)
    refused(2, "--risk lets a text go without a label", *run, "--calibration", file, "--risk", "0.1")
    [measured] = ran.rows()
    assert measured["accuracy"]["value"] == pytest.approx(
        np.mean([row["label"] == gold for row, gold in zip(rows, GOLD, strict=True)])
    )
    assert measured["calibration"] == "fit on 90 texts without labels, calibrated by standardize"


def test_a_share_of_rows_is_called_none(classify, sijo_cli, write, tiny_model, tmp_path):
    # kills: an option that is read and not fitted, or fitted anew where its file is there
    how = ("--none-label", "other", "--none-risk", "0.1")
    ran = classify(*how, "--calibration", tmp_path / "c.json")
    lost = sum(row["label"] == "other" for row in ran.rows())
    assert 5 <= lost <= 9 and "at most 0.1 of texts in scope called none" in ran.err
    assert classify(*how, "--calibration", tmp_path / "c.json").out == ran.out == classify(*how).out
    run = ("classify", tmp_path / "in.csv", "--column", "text", *LABELS, "--model", tiny_model)
    for arguments, words in (
        (("--none-risk", "0.1"), "give that label a name"),
        (("--none-label", "other", "--none-risk", "2"), "none_risk=2 is no share of texts"),
        ((*how[:3], "0.2", "--calibration", tmp_path / "c.json"), "fitted at none_risk=0.1, and 0.2 is asked for"),
    ):
        sijo_cli(*run, *arguments).must_say(2, words)
