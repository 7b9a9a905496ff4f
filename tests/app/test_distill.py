"""`sijo distill` as it is typed."""

import json
from dataclasses import replace

import pytest
import torch

import sijo
from runs import REQUESTS

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("run.epochs=null", "run.steps=3", "run.batch=4", "data.length=16", "run.save_every=2")


def test_a_sentence_encoder_is_halved(sijo_cli, tiny_model, tmp_path):
    # kills: the wrong recipe by default, a student that is no sentence encoder any more, a card without its teacher
    out = tmp_path / "run"
    ran = sijo_cli(
        "distill", "--teacher", tiny_model, "--corpus", REQUESTS, "--column", "text", "-o", out, "-q", "--set", *FEW
    )
    assert ran.code == 0, ran.err
    assert ran.out.decode().split() == [str(out / "model")] and ran.err == ""
    again = ("--corpus", REQUESTS, "--column", "text", "--set", *FEW, "--resume")
    resumed = sijo_cli("distill", "--teacher", tiny_model, *again, "-o", out)
    assert "begins with its teacher's tables, layers 0" in resumed.err
    settings = json.loads((out / "settings.json").read_text())
    assert settings["recipe"] == "sentence" and settings["teacher"]["vectors"] == 1
    student, teacher = sijo.load(out / "model"), sijo.load(tiny_model)
    assert (student.architecture.layers, teacher.architecture.layers) == (1, 2)
    assert student.sentence == teacher.sentence
    card = (out / "model" / "README.md").read_text()
    assert "tiny" in card and str(tmp_path) not in card
    labelled = sijo_cli(
        "classify", REQUESTS, "--model", out / "model", "--labels", "travel,money", "--column", "text"
    )
    assert labelled.code == 0 and len(labelled.rows()) == 300
    again = sijo_cli(
        "distill", out / "settings.json", "--corpus", REQUESTS, "--column", "text", "-o", tmp_path / "two", "-q"
    )
    assert again.code == 0, again.err
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (out, tmp_path / "two")]
    assert weights[0] == weights[1]


def test_a_teacher_with_a_head_gives_soft_targets(sijo_cli, tiny_model, tmp_path):
    # kills: the recipe for sentences where distributions can be had
    teacher = tmp_path / "teacher"
    sijo.save(sijo.load(tiny_model, "new:mlm"), teacher)
    ran = sijo_cli("distill", "--teacher", teacher, "--settings", "--format", "json")
    assert ran.code == 0, ran.err
    values = {row["setting"]: row["value"] for row in ran.rows()}
    assert values["recipe"] == "distilbert-tiny" and values["teacher.soft"] == 5.0
    assert values["model.token_types"] == 0 and values["objective.masking.choice"] == "frequency"
    assert all(row["means"] for row in ran.rows() if row["setting"].startswith("teacher."))


def test_what_recipes_there_are(sijo_cli):
    # kills: a recipe that is not listed, or listed without what it learns
    ran = sijo_cli("distill", "--list", "--format", "json")
    assert {row["recipe"] for row in ran.rows()} == {
        *("distilbert", "distilbert-tiny", "minilm", "minilm-tiny", "sentence")
    }
    assert ran.rows()[0]["learns"] == "soft 5, hard 2, cosine 1"
    assert "distilbert" in sijo_cli("distill", "--list", "--format", "table").out.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("minlm",), "did you mean 'minilm'?"),
        (("sentence", "--set", "teacher.vector=1"), "did you mean 'teacher.vectors'?"),
        (("sentence", "--set", "model.hidden_size=8", "model.embedding_size=8"), "set model.hidden_size"),
        (("distilbert-tiny",), "has no mlm head"),
        (("sentence", "--teacher", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_begun(sijo_cli, tiny_model, tmp_path, arguments, message):
    # kills: an hour of preparing a corpus for a run that cannot be
    out = tmp_path / "run"
    teacher = () if "--teacher" in arguments else ("--teacher", tiny_model)
    name, *rest = arguments
    ran = sijo_cli("distill", name, *teacher, "--corpus", REQUESTS, "--column", "text", "-o", out, *rest)
    assert ran.code == 2 and message in ran.err, ran.err
    assert not (out / "corpus").exists()


@pytest.fixture
def second(tiny_model, tmp_path):
    """Another sentence encoder, with a prompt."""
    model = sijo.load(tiny_model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1)
    model.sentence = replace(model.sentence, prompts={"query": "query: "}, default_prompt="query")
    sijo.save(model, tmp_path / "second" / "model")
    return tmp_path / "second" / "model"


def test_two_teachers(sijo_cli, tiny_model, second, tmp_path):
    # kills: the second of two --teacher forgotten, its name or settings lost, a recipe of tokens by default
    out = tmp_path / "run"
    ran = sijo_cli(
        *("distill", "--teacher", tiny_model, "--teacher", second, "--corpus", REQUESTS, "--column", "text"),
        *("-o", out, "-q", "--set", *FEW, 'beside.second.scripts=["latin"]', "beside.second.text_relations=0.5"),
    )
    assert ran.code == 0, ran.err
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["recipe"], settings["teacher"]["name"]) == ("sentence", "tiny")
    assert (
        settings["beside"]["second"] | {"scripts": ["latin"], "text_relations": 0.5, "vectors": 0.0}
        == (settings["beside"]["second"])
    )
    assert "Its teachers were `tiny` and `second`." in (out / "model" / "README.md").read_text()
    assert sijo_cli("report", out).code == 0


def test_settings_of_two_teachers_are_explained(sijo_cli, tiny_model, second):
    # kills: settings of a teacher by name without a sentence, a name given by NAME= that is not taken
    ran = sijo_cli(
        "distill", "--teacher", tiny_model, "--teacher", f"en={second}", "--settings", "--format", "json"
    )
    rows = {row["setting"]: row for row in ran.rows()}
    assert rows["beside.en.model"]["value"] == str(second) and rows["teacher.name"]["value"] == "tiny"
    assert all(row["means"] for path, row in rows.items() if path.startswith(("beside.", "teacher.")))
    assert len([path for path in rows if path.startswith("beside.en.")]) == 7


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        (("second",), ("beside.secnd.vectors=1",), "no beside 'secnd'; there are: second; did you mean 'second'?"),
        (("second",), ("beside.second.vectors=1",), "tiny and second lie in spaces of their own"),
        (("second",), ("beside.second.text_relations=0",), "the teacher second teaches nothing"),
        (("second", "second"), (), "two teachers are called 'second'"),
        (("second", "again=second"), (), "the teachers second and again are the same model"),
        (("nowhere",), (), "nowhere"),
    ],
)
def test_teachers_that_cannot_be(sijo_cli, tiny_model, second, tmp_path, more, changes, message):
    # kills: a teacher that is given and not heard
    words = [word.replace("second", str(second)) for word in more]
    given = [part for word in (str(tiny_model), *words) for part in ("--teacher", word)]
    ran = sijo_cli(
        *("distill", *given, "--corpus", REQUESTS, "--column", "text", "-o", tmp_path / "run", "-q"),
        *(("--set", *FEW, *changes)),
    )
    assert ran.code == 2 and message in ran.err, ran.err
    assert not (tmp_path / "run" / "corpus").exists()
