"""An encoder that learns from its own surest answers: which those are, what rounds leave, how a run goes on."""

import csv
import hashlib
import json

import numpy as np
import pytest

from runs import REQUESTS
from sijo.checkpoints.load import load
from sijo.errors import SettingError, SijoWarning, TextError
from sijo.inference.encode import engine_of
from sijo.jobs.open_labels.self_training import confident, self_train
from sijo.jobs.open_labels.self_training_settings import UnlabelledFiles, default_self_training
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = ("travel", "banking", "small talk")
SMALL = (
    *("run.steps=4", "run.batch=6", "run.save_every=2", "run.log_every=2", "schedule.peak=0.01", "top_layers=1"),
    *("per_label=8", "agreement=1.0"),
)


def test_confident():
    # kills: the least sure in place of the surest, as many over all labels, a share of all texts, a margin unread
    given, lead = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0.1, 0.4, 0.3, 0.2, 0.05, 0.5, 0.01])
    assert confident(given, lead, per_label=2, share=1.0).tolist() == [1, 2, 4, 5, 6]
    assert confident(given, lead, per_label=9, share=0.5).tolist() == [1, 2, 5, 6]
    assert confident(given, lead, per_label=9, share=1.0, margin=0.25).tolist() == [1, 2, 5]
    ties = np.zeros(3)
    assert confident(np.zeros(3, int), ties, per_label=2, share=1.0).tolist() == [0, 1]


@pytest.fixture
def place(tmp_path):
    """Requests without their labels, and others with them."""
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] in LABELS]
    texts = "".join(json.dumps({"text": row["text"], "id": row["domain"]}) + "\n" for row in rows[::2])
    judged = "".join(json.dumps({"text": row["text"], "label": row["domain"]}) + "\n" for row in rows[1::2])
    (tmp_path / "texts.jsonl").write_text(texts)
    (tmp_path / "judged.jsonl").write_text(judged)
    return tmp_path


@pytest.fixture
def run(place, tiny_model):
    def make(out, *changes, labels=LABELS, evaluation="judged.jsonl", texts="texts.jsonl", **options):
        settings = with_changes(default_self_training(tiny_model), [*SMALL, *changes])
        files = UnlabelledFiles(
            train=str(place / texts),
            labels=LabelSet.of(list(labels)),
            evaluation=None if evaluation is None else str(place / evaluation),
        )
        return list(self_train(settings, files, place / out, **options))

    return make


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def left(out):
    """SHA-256 of all that a run must leave alike, however often it was interrupted."""
    names = ["results.json", "model/model.safetensors", "round-1.jsonl", "round-2.jsonl", "round-2.json"]
    names += ["round-2/evaluations.jsonl"]
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


def test_what_rounds_leave(run, place, tiny_model):
    # kills: a round that goes on from the one before, or learns from its answers; right labels that leak in; a
    # model that is not the last round's; agreement with the wrong round
    out, told = place / "run", []
    steps = run("run", tell=told.append)
    assert [step.number for step in steps] == [1, 2, 3, 4] * 2
    texts = [row["text"] for row in lines(place / "texts.jsonl")]
    given = []
    for model in (tiny_model, out / "round-1" / "model", out / "round-2" / "model"):
        scorer = EmbeddingScorer(engine_of(model))
        scores, _ = scorer.score(ScoreRequest(texts, [Label(name) for name in LABELS], scorer.template))
        given.append(scores.argmax(1))
        if len(given) < 3:
            chosen = lines(out / f"round-{len(given)}.jsonl")
            top = np.sort(scores, 1)
            want = confident(given[-1], top[:, -1] - top[:, -2], per_label=8, share=0.5)
            assert [row["text"] for row in chosen] == [texts[row] for row in want]
            assert [row["label"] for row in chosen] == [LABELS[given[-1][row]] for row in want]
    results = json.loads((out / "results.json").read_text())
    assert [one["agreement"] for one in results["rounds"]] == [
        None,
        pytest.approx((given[1] == given[0]).mean()),
        pytest.approx((given[2] == given[1]).mean()),
    ]
    assert results["task"] == "self-training" and results["texts"] == len(texts)
    settings = [json.loads((out / f"round-{n}" / "settings.json").read_text()) for n in (1, 2)]
    assert settings[0]["model"] == settings[1]["model"] == str(tiny_model)
    two, last = (load(folder).state_dict() for folder in (out / "round-2" / "model", out / "model"))
    assert all((two[name] == last[name]).all() for name in two)
    assert told[0].startswith(f"round 1: of {len(texts)} texts ")
    scorer, judged = EmbeddingScorer(engine_of(out / "model")), lines(place / "judged.jsonl")
    assert results["sets"]["evaluation (en)"]["rows"] == len(judged)


def test_it_goes_on_bit_for_bit(run, place):
    # kills: a round that is begun again with other texts, or a finished one that is made anew
    run("whole")
    calls = iter([False] * 6 + [True])
    run("halves", stop=lambda: next(calls, False))
    assert not (place / "halves" / "model").exists()
    run("halves", resume=True)
    assert left(place / "halves") == left(place / "whole")
    with pytest.raises(SettingError, match="--resume goes on"):
        run("whole")
    with pytest.raises(SettingError, match="margin"):
        run("whole", "margin=0.001", resume=True)
    with pytest.raises(SettingError, match="digest"):
        run("whole", labels=(*LABELS[:2], "home"), evaluation=None, resume=True)


def test_it_stops_where_answers_stay(run, place):
    # kills: rounds that go on although nothing changes
    run("run", "agreement=0.001", "rounds=5", evaluation=None)
    assert (place / "run" / "model").is_dir() and not (place / "run" / "round-2").exists()
    results = json.loads((place / "run" / "results.json").read_text())
    assert len(results["rounds"]) == 2 and results["sets"] == {} and results["after"] is None


@pytest.mark.parametrize(
    ("kind", "words", "options"),
    [
        (SettingError, "with the one label 'travel' there is nothing to tell apart", {"labels": ("travel",)}),
        (SettingError, "Travel", {"labels": ("travel", "Travel")}),
        (TextError, "is sure enough of 0", {"changes": ("margin=1.9",)}),
        (TextError, "'small talk'", {"labels": ("travel", "banking")}),
        (TextError, "holds 1 text", {"texts": "one.txt"}),
        (TextError, "no text", {"texts": "blank.jsonl"}),
        (SettingError, "rounds=0", {"changes": ("rounds=0",)}),
        (SettingError, "share=0", {"changes": ("share=0",)}),
        (SettingError, "margin=-1", {"changes": ("margin=-1",)}),
    ],
)
def test_bad_input(run, place, kind, words, options):
    # kills: a run that learns nothing, or is begun before it is refused
    (place / "one.txt").write_text("only one\n")
    (place / "blank.jsonl").write_text('{"text": " "}\n{"text": ""}\n')
    with pytest.raises(kind, match=words):
        run("run", *options.pop("changes", ()), **options)
    assert not (place / "run" / "round-1").exists()


def test_labels_that_no_text_has(run):
    # kills: a label passed over in silence
    with pytest.warns(SijoWarning, match=r"labels are given to no text"):
        run("run", "rounds=1", labels=(*LABELS, *(f"label {number}" for number in range(60))), evaluation=None)


def test_the_command_in_korean(sijo_cli, place, tmp_path, tiny_model):
    # kills: labels written where a Korean name is no text, an option of another task that is passed over
    texts = tmp_path / "글.txt"
    words = [row["text"].replace("\n", " ") for row in lines(place / "texts.jsonl")]
    texts.write_text("\n".join([*words, "the sea 바다", "해 sun"]), encoding="utf-8")
    out = tmp_path / "run"
    ran = sijo_cli(
        *(
            "finetune",
            "--task",
            "self-training",
            "--model",
            tiny_model,
            "--train",
            texts,
            "--labels",
            "travel,banking,small talk,바다 sea",
        ),
        *("--out", out, "--format", "json", "--set", *SMALL, "rounds=1", "share=1.0"),
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["task"] == "self-training" and (out / "model" / "config.json").is_file()
    assert {row["label"] for row in lines(out / "round-1.jsonl")} <= {*LABELS, "바다 sea"}
    ran = sijo_cli("finetune", "--task", "self-training", "--train", texts, "--out", tmp_path / "no")
    assert ran.code == 2 and "needs labels to choose among" in ran.err
    ran = sijo_cli("finetune", "--task", "one-pass", "--labels", "a,b", "--train", texts, "--out", tmp_path / "no")
    assert ran.code == 2 and "--labels has no part in --task one-pass" in ran.err
    ran = sijo_cli("finetune", "--train", texts, "--labels", "a,b", "--out", tmp_path / "no")
    assert ran.code == 2 and "have no part in --task classification" in ran.err
