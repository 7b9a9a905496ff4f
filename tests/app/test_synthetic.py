"""`sijo generate --for-labels` as it is typed: labels in, a table for a classifier out."""

import csv
import json

import pyarrow.parquet
import pytest

import sijo
from generation.test_synthetic import tiny_ctrl
from sijo.app.writing.for_labels import kinds_of
from sijo.app.writing.generate import GenerateSettings, SynthesisOptions, settings_of
from sijo.errors import SijoError
from sijo.generation.rules import Sampling
from sijo.generation.synthetic import Synthesis

FEW = ("--count", "4", "--max-new-tokens", "6", "--temperature", "0.6", "--min-new-tokens", "3")


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    """The folder of an untrained CTRL with the codes sea and land."""
    folder = tmp_path_factory.mktemp("ctrl") / "model"
    sijo.save(tiny_ctrl(tiny_model), folder)
    return folder


def test_labels_that_are_codes_become_a_table(sijo_cli, model, tiny_model, tmp_path):
    # kills: a column that is lost in a format, other texts in each, a table that finetune cannot read, a row whose
    # seed does not write it again, results among the words for a person
    for name in ("made.csv", "made.jsonl", "made.parquet"):
        arguments = ("--for-labels", "sea, land", "--seed", "3", "-o", tmp_path / name)
        ran = sijo_cli("generate", "--model", model, *arguments, *FEW)
        assert ran.code == 0 and ran.out == b"", ran.err
        assert "8 rows in" in ran.err and "written" in ran.err
        told = {
            line.split()[0]: line.split()[1:] for line in ran.err.splitlines() if line.startswith(("sea", "land"))
        }
        assert {label: (row[0], row[5]) for label, row in told.items()} == dict.fromkeys(
            ("sea", "land"), ("20", "4")
        )
    with (tmp_path / "made.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    again = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    assert pyarrow.parquet.read_table(tmp_path / "made.parquet").to_pylist() == again
    assert [{name: str(value) for name, value in row.items()} for row in again] == rows
    assert list(again[0]) == ["text", "label", "mean_logprob", "seed"]
    assert [row["label"] for row in again] == ["sea"] * 4 + ["land"] * 4
    for label_rows in (again[:4], again[4:]):
        assert [row["mean_logprob"] for row in label_rows] == sorted(
            (row["mean_logprob"] for row in label_rows), reverse=True
        )
    for row in again[::3]:
        alone = ("-c", row["label"], "--seed", row["seed"], "--max-new-tokens", "6", "--temperature", "0.6")
        text = sijo_cli("generate", "--model", model, *alone, "--top-k", "10").rows()[0]
        assert text["text"].strip() == row["text"]
        assert text["mean_logprob"] == pytest.approx(row["mean_logprob"], abs=1e-4)
    few = ("run.batch=4", "run.epochs=2", "cutting.length=16", "smoothing=0.15", "ensemble.every=2", "held_out=0.4")
    learned = ("--model", tiny_model, "--train", tmp_path / "made.csv", "-o", tmp_path / "run", "--set", *few)
    ran = sijo_cli("finetune", *learned)
    assert ran.code == 0 and "rows trusted" in ran.err, ran.err
    assert sijo.load(tmp_path / "run" / "model", "sequence-classification").labels == ("land", "sea")


def test_texts_are_checked_by_another_model(sijo_cli, model, tiny_model, tmp_path):
    # kills: a text kept that the other model gives another label, all of one label dropped in silence, a table that
    # label-matching cannot read
    arguments = ("--for-labels", "sea, land", "--seed", "3", "--drafts", "40")
    sijo_cli("generate", "--model", model, *arguments, *FEW, "-o", tmp_path / "plain.jsonl")
    ran = sijo_cli(
        "generate", "--model", model, *arguments, *FEW, "-o", tmp_path / "made.jsonl", "--checked-by", tiny_model
    )
    rows = [json.loads(line) for line in (tmp_path / "plain.jsonl").read_text().splitlines()]
    classifier = sijo.ZeroShotClassifier(labels=["sea", "land"], model=tiny_model).fit()
    assert {*classifier.predict([row["text"] for row in rows])} != {"sea"}
    assert ran.code == 0, ran.err
    kept = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    assert classifier.predict([row["text"] for row in kept]).tolist() == [row["label"] for row in kept]
    assert "doubted" in ran.err


def test_a_check_drops_what_it_doubts(model):
    # kills: counts of the wrong label, a check of texts that were dropped before
    asked = []

    def check(texts):
        asked.extend(texts)
        return ["Sea" if "e" in text else "land" for text in texts]

    writing = Synthesis(*settled(model, count=40, drafts=12), check=check)
    list(writing.write())
    kept = [text for label in writing._best.values() for text in label]
    assert kept and all(("e" in text.text) == (text.label == "sea") for text in kept)
    doubted = sum(fates["doubted"] for fates in writing.fates.values())
    assert doubted + len(kept) == len(asked) == len({*asked})


def settled(model, **settings):
    """A writer, the kinds sea and land, and settings for few and short texts."""
    from sijo.generation.generator import Generator
    from sijo.generation.synthetic import SyntheticSettings

    sampling = Sampling(temperature=0.9, top_k=10)
    few = SyntheticSettings(
        **settings | {"count": settings["drafts"]}, max_new_tokens=6, min_new_tokens=1, sampling=sampling
    )
    return Generator(model), kinds_of("sea, land"), few


def test_what_is_said_is_passed_on():
    # kills: the paper's numbers laid over what was asked for, an option that is read and forgotten
    plain = settings_of(GenerateSettings(count=9, seed=4), SynthesisOptions())
    assert plain.sampling == Sampling(temperature=0.2, top_k=10, penalty=1.2)
    assert (plain.count, plain.seed, plain.written, plain.max_new_tokens, plain.stop) == (9, 4, 45, 100, ("\n",))
    writing = GenerateSettings(
        count=2,
        temperature=0.9,
        top_p=0.8,
        penalty=1.0,
        penalty_rule="sign_aware",
        guidance=2.0,
        stop=[".", "!"],
        banned=["rain"],
        max_new_tokens=20,
    )
    settings = settings_of(writing, SynthesisOptions(drafts=8, min_new_tokens=2))
    assert settings.sampling == Sampling(temperature=0.9, top_p=0.8, penalty=1.0, penalty_rule="sign_aware")
    assert (settings.written, settings.min_new_tokens, settings.max_new_tokens) == (8, 2, 20)
    assert (settings.stop, settings.banned, settings.guidance) == ((".", "!"), ("rain",), 2.0)
    assert settings_of(GenerateSettings(temperature=0.5, min_p=0.1), SynthesisOptions()).sampling.top_k is None


def kinds(labels):
    return [(kind.label, kind.control_code, kind.beginnings) for kind in kinds_of(str(labels))]


def test_labels_in_a_line_or_in_a_file(write):
    # kills: a code that is cut at its comma or colon, beginnings of another label, a label without its code
    assert kinds("travel,banking") == [("travel", "travel", ("",)), ("banking", "banking", ("",))]
    pairs = [("good", "Reviews Rating: 5.0", ("",)), ("bad", "Reviews Rating: 1.0", ("",))]
    assert kinds("good=Reviews Rating: 5.0; bad=Reviews Rating: 1.0") == pairs
    assert kinds(write("a.json", json.dumps({name: code for name, code, _ in pairs}))) == pairs
    labels = {
        "good": {"control_code": "Reviews", "prompt": ["The movie", "This film"]},
        "odd": {"prompt": "It"},
        "x": {},
    }
    want = [("good", "Reviews", ("The movie", "This film")), ("odd", None, ("It",)), ("x", "x", ("",))]
    assert kinds(write("b.json", json.dumps(labels))) == want
    lines = ["label,control_code,prompt", "good,Reviews,The movie", "odd,,It", 'good,Reviews,"This film"', "x,,"]
    assert kinds(write("c.csv", "\ufeff" + "\r\n".join(lines))) == want


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.json", '["good"]', 3, "must hold an object"),
        ("a.json", "{", 3, "is not JSON"),
        ("a.json", "{}", 3, "names no label"),
        ("a.json", '{"good": {"promt": "It"}}', 3, "did you mean 'prompt'"),
        ("a.json", '{"good": 5}', 3, "control_code is 5"),
        ("a.json", '{"good": {"prompt": [1]}}', 3, "prompt is [1]"),
        ("a.json", '{"": "Reviews"}', 3, "has no name"),
        ("a.csv", "name,code\ngood,Reviews\n", 3, "must begin with the line: label,control_code,prompt"),
        ("a.csv", "label,control_code\ngood,Reviews\ngood,News\n", 3, "the code 'Reviews' and the code 'News'"),
        ("a.csv", "label\ngood,Reviews\n", 3, "'?'"),
        ("a.csv", "label\n\xff", 3, "not UTF-8"),
    ],
)
def test_files_that_are_no_labels(write, name, content, code, message):
    # kills: a trace; a slip that is read as something else
    with pytest.raises(SijoError) as error:
        kinds(write(name, content.encode("latin-1")))
    assert message in str(error.value) and error.value.exit_code == code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--for-labels", "sea,lnad", "-o", "made.csv"), 2, "did you mean 'land'?"),
        (("--for-labels", "sea,land"), 2, "--output made.csv"),
        (("--for-labels", "sea,land", "-o", "made.xls"), 2, "must end in one of"),
        (("--for-labels", "sea,land", "-o", "there.csv"), 2, "is there already"),
        (("--for-labels", "sea,sea", "-o", "made.csv"), 2, "given once each"),
        (("--for-labels", " , ", "-o", "made.csv"), 2, "names no labels"),
        (("--for-labels", "labls.csv", "-o", "made.csv"), 2, "did you mean 'labels.csv'"),
        (("--for-labels", "sea,land", "-o", "made.csv", "--prompt", "the"), 2, "--prompt is about single texts"),
        (("--for-labels", "sea,land", "-o", "made.csv", "--temperature", "0"), 2, "a temperature of 0"),
        (("--for-labels", "sea,land", "-o", "made.csv", "--beams", "3"), 2, "beams=3"),
        (("--for-labels", "sea,land", "-o", "made.csv", "--drafts", "3", "--count", "4"), 2, "drafts=3"),
        (("--for-labels", "sea", "-o", "made.csv", "--min-new-tokens", "200"), 2, "min_new_tokens=200"),
        (("--drafts", "3", "-p", "the"), 2, "say of what by --for-labels"),
        (("--for-labels", "long.json", "-o", "made.csv"), 3, "reads 32 at once"),
    ],
)
def test_what_cannot_be(refused, model, write, tmp_path, monkeypatch, arguments, code, message):
    # kills: an hour of writing before a slip is noticed, a file left behind, one that is written over
    write("there.csv", "text\n")
    write("labels.csv", "label\n")
    write("long.json", json.dumps({"sea": {"control_code": "sea", "prompt": ["the", "the " * 40]}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Synthesis, "write", lambda self: pytest.fail("began to write"))
    refused(code, message, "generate", "--model", model, *arguments)


def test_whole_or_absent(sijo_cli, model, tmp_path):
    # kills: a table without one of its classes; an empty file where there is nothing
    arguments = ("--for-labels", "sea,land", "-o", tmp_path / "made.csv", "--quiet", "--stop", *"aeiou")
    ran = sijo_cli("generate", "--model", model, *arguments, *FEW[:-2], "--min-new-tokens", "6")
    ran.must_say(2, "none is left", "were too short")
    assert not list(tmp_path.iterdir())
