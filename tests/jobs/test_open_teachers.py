"""Teachers of label-matching that are no sentence encoders: a cross-encoder tells of texts without labels."""

import csv
import json

import numpy as np
import pytest
import torch

from runs import REQUESTS
from sijo.checkpoints.load import load
from sijo.checkpoints.save import save
from sijo.errors import SettingError, TextError
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles, default_matching
from sijo.jobs.open_labels.label_matching_setup import LabelMatchingSetup
from sijo.jobs.open_labels.mixture import read_mixture
from sijo.jobs.open_labels.one_pass_settings import default_one_pass
from sijo.jobs.open_labels.one_pass_setup import OnePassSetup
from sijo.training.settings import with_changes
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = LabelSet.of(["travel", "banking", "small talk"])


@pytest.fixture
def cross_encoder(tiny_copy, tmp_path):
    """A folder with an entailment head whose weights are all moved."""
    torch.manual_seed(0)
    (tiny_copy / "modules.json").unlink()  # it is no sentence encoder
    model = load(tiny_copy, head="new:sequence-classification", labels=["not_entailment", "entailment"])
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.copy_(torch.randn_like(weight))
    save(model, tmp_path / "cross")
    return str(tmp_path / "cross")


@pytest.fixture
def texts(tmp_path):
    """A table of texts alone, one of them twice and one blank."""
    with REQUESTS.open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)][:20]
    lines = [json.dumps({"text": text}) for text in [*rows, rows[0], "  "]]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "texts.jsonl"), rows


def test_a_cross_encoder_tells_of_unlabelled_texts(cross_encoder, texts, tiny_model):
    # kills: scores of other labels than those that stand beside, a softmax at another temperature, labels of texts
    # that are none of the teacher's, a text that is read twice
    file, rows = texts
    setup = LabelMatchingSetup(
        default_matching(tiny_model), MatchingFiles(train=file, labels=LABELS, teacher=cross_encoder)
    )
    one = setup.train.sets[0]
    assert list(one.texts) == rows and setup.judged == []
    scorer = open_scorer("auto", cross_encoder)
    assert scorer.name == "entailment"
    scores, _ = scorer.score(ScoreRequest(rows, [Label(name) for name in LABELS.names], scorer.template))
    assert one.labels == tuple(scores.argmax(1)) and len({*one.labels}) > 1
    batch = setup.train.batch(0, 8, seed=0)
    chosen = batch.beside.numbers
    np.testing.assert_allclose(batch.labels, scores[batch.numbers][:, chosen], atol=1e-4)


def test_the_command(sijo_cli, cross_encoder, texts, tiny_model, tmp_path):
    # kills: a teacher that the command does not hand on, a run that asks for a column of labels
    small = ("run.steps=3", "run.batch=6", "schedule.peak=0.01", "top_layers=1", "run.log_every=1")
    given = ("--task", "label-matching", "--model", tiny_model, "--train", texts[0], "--labels", "travel,banking")
    ran = sijo_cli("finetune", *given, "--teacher", cross_encoder, "--out", tmp_path / "run", "--set", *small)
    assert ran.code == 0, ran.err
    assert (tmp_path / "run" / "model" / "config.json").is_file()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["sets"] == {}
    ran = sijo_cli("finetune", *given, "--out", tmp_path / "no")
    assert ran.code == 2 and "column" in ran.err


def test_what_cannot_be(cross_encoder, texts, tiny_model, tmp_path):
    # kills: unlabelled texts that nobody tells of; a head that learns from a label that is none
    mixture = tmp_path / "mixture.toml"
    mixture.write_text('[[sets]]\nfile = "texts.jsonl"\nunlabelled = true\nteacher = "cross"\n')
    with pytest.raises(TextError, match="unlabelled texts need labels"):
        read_mixture(mixture)
    (tmp_path / "labels.txt").write_text("travel\nbanking\n")
    mixture.write_text(
        '[[sets]]\nfile = "texts.jsonl"\nunlabelled = true\nteacher = "cross"\nlabels = "labels.txt"\n'
    )
    with pytest.raises(SettingError, match="only --task label-matching learns from a teacher"):
        OnePassSetup(with_changes(default_one_pass(tiny_model), ["length=32"]), MatchingFiles(train=str(mixture)))
    assert LabelMatchingSetup(default_matching(tiny_model), MatchingFiles(train=str(mixture))).train.sets
    with pytest.raises(SettingError, match="is a mixture, whose sets name labels themselves"):
        read_mixture(mixture, labels=LABELS)
