"""An encoder learns to judge all labels in one pass: what a run leaves, how it goes on, what it refuses."""

import csv
import json

import pytest
import torch
from sklearn.metrics import f1_score

import sijo
from runs import REQUESTS
from sijo.checkpoints.load import load
from sijo.checkpoints.save import save
from sijo.errors import SettingError
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles
from sijo.jobs.open_labels.one_pass_settings import default_one_pass
from sijo.training.settings import with_changes

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("run.steps=5", "run.batch=6", "run.save_every=3", "run.log_every=2", "schedule.peak=0.01")


@pytest.fixture
def run(tmp_path, tiny_model):
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    for name, domains in (("one", ("travel", "banking", "home")), ("kept", ("small talk", "utility"))):
        rows = [row for row in every if row["domain"] in domains][:90]
        text = "".join(json.dumps({"text": row["text"][:40], "label": row["domain"]}) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)

    def make(out, *changes, model=tiny_model, **options):
        settings = with_changes(default_one_pass(model), [*SMALL, *changes])
        files = MatchingFiles(train=str(tmp_path / "one.jsonl"), evaluation=str(tmp_path / "kept.jsonl"))
        return list(match_labels(settings, files, tmp_path / out, **options))

    return make


@pytest.mark.parametrize("neighbours", ["seen", "hidden"])
def test_what_a_run_leaves(run, tmp_path, tiny_model, neighbours):
    # kills: marks that the tokenizer or the table lacks, a head that learns nothing or is saved as another, results
    # that are not what `sijo classify` answers
    run("run", f"neighbours={neighbours}")
    folder = tmp_path / "run/model"
    model = load(folder, "one-pass")
    head = model.head_values["one-pass"]
    assert model.family.model_type == "sijo"
    assert (head.neighbours, head.starts, head.text, head.label) == (neighbours, "mark", "avg", "average")
    assert model.head["one-pass"].offset.item() != 0
    known = load(tiny_model).architecture.vocab_size
    assert model.architecture.vocab_size == known + 2
    assert model.tokenizer.id("<<LABEL>>") == model.head_values["one-pass"].label_mark == known
    rows = model.transformer.embeddings.tokens.weight
    assert not torch.equal(rows[known], rows[known + 1])
    save(model, tmp_path / "again")
    ids = torch.tensor([[2, known, 9, known, 10, known + 1, 11, 12, 3]])
    turned = torch.tensor([[2, known, 10, known, 9, known + 1, 11, 12, 3]])
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "again", "one-pass")(ids).logits, model(ids).logits)
        exact = model.double()  # of logits of 40, float32 leaves 1e-4, more on one processor than on another
        moved = (exact(turned).logits.flip(1) - exact(ids).logits).abs().max()
    assert (moved < 1e-9) == (neighbours == "hidden")
    asked = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    names = sorted({row["label"] for row in asked})
    classifier = sijo.ZeroShotClassifier(labels=names, model=str(folder)).fit()
    assert classifier.scorer_.name == "one_pass"
    predicted = classifier.predict([row["text"] for row in asked])
    value = json.loads((tmp_path / "run/results.json").read_text())["sets"]["kept (en)"]["after"]["value"]
    assert value == pytest.approx(f1_score([row["label"] for row in asked], predicted, average="macro"))


def test_a_run_that_was_stopped_goes_on_bit_for_bit(run, tmp_path):
    # kills: draws that hang on how far a run came, a head or marks drawn anew when it goes on
    run("whole")
    calls = iter(range(99))
    run("parts", stop=lambda: next(calls) >= 4)
    run("parts", resume=True)
    name = "model/model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    again = run("again", model=tmp_path / "whole/model")  # a head that is there is learned on
    assert len(again) == 5


def test_hidden_labels_of_an_evaluation_need_not_fit_together(run, tmp_path):
    # kills: a list that the scorer reads in groups refused, one that it cannot read learned for
    texts = [f"text {number}" for number in range(60)]

    def kept(*labels):
        rows = [json.dumps({"text": text, "label": labels[n % len(labels)]}) for n, text in enumerate(texts)]
        (tmp_path / "kept.jsonl").write_text("\n".join(rows) + "\n")

    kept(*(f"rain and sun {number}" for number in range(20)))
    assert run("hidden", "neighbours=hidden")
    with pytest.raises(SettingError, match="tokens"):
        run("seen", "neighbours=seen")
    kept("rain " * 40, "sun")
    with pytest.raises(SettingError, match="are kept for labels beside a text; shorten it"):
        run("long", "neighbours=hidden")


def test_settings_that_cannot_be(run):
    # kills: inputs longer than the model, and settings that would learn nothing
    for change, why in (
        ("length=99", "99 is longer than"),
        ("length=9", "length=9 tokens is no length"),
        ("gamma=-1", "gamma=-1"),
    ):
        with pytest.raises(SettingError, match=why):
            run("none", change)
