"""Each model is opened once and verified once: counted where weights are read and where files are hashed."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
import torch

import sijo
from runs import REQUESTS, small
from sijo.checkpoints import load as loading
from sijo.files import manifest
from sijo.jobs.finetune import finetune
from sijo.jobs.finetune_settings import LabelledFiles, default_settings
from sijo.jobs.prepare import CorpusSource
from sijo.jobs.pretrain import pretrain
from sijo.jobs.recipes import DISTILLATIONS
from sijo.training.settings import with_changes


@pytest.fixture
def counted(monkeypatch):
    """How often the weights of each folder were read, and how often its files were hashed."""
    read, hashed = Counter(), Counter()
    read_weights, digest = loading.read_weights, hashlib.file_digest

    def reading(folder):
        read[folder.name] += 1
        return read_weights(folder)

    def hashing(file, algorithm):
        hashed[Path(file.name).parent.name, Path(file.name).name] += 1
        return digest(file, algorithm)

    monkeypatch.setattr(loading, "read_weights", reading)
    monkeypatch.setattr(hashlib, "file_digest", hashing)
    monkeypatch.setattr(manifest, "UNSETTLED_NS", -(10**9))  # so new a file could change within a tick of the clock
    return read, hashed


@pytest.fixture
def teacher(tiny_model, tmp_path):
    """A folder with a manifest, which nobody has verified yet."""
    torch.manual_seed(0)
    return sijo.save(sijo.load(tiny_model, "new:mlm"), tmp_path / "teacher")


def test_a_run_from_text_opens_nothing_and_reads_no_checkpoint_back(run, tmp_path, counted):
    # kills: networks that are built again to be exported, from a checkpoint that was just written
    read, hashed = counted
    run("electra", tmp_path / "run")
    assert not read and not [place for place in hashed if place[0].startswith("step-") and hashed[place] > 1]


def test_a_distillation_opens_its_teacher_once(teacher, tmp_path, counted):
    # kills: a teacher opened to see what it is, to check the pair, to shape the student, and to teach it
    read, hashed = counted
    changes = ("run.epochs=null", "run.steps=2", "run.batch=4", "data.length=32")
    settings = with_changes(DISTILLATIONS["distilbert-tiny"].settings(str(teacher)), changes)
    list(pretrain(settings, CorpusSource(sources=[str(REQUESTS)]), tmp_path / "run"))
    assert read == {"teacher": 1} and hashed["teacher", "model.safetensors"] == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_fine_tuning_opens_its_model_once_a_seed(teacher, tmp_path, write, counted, seeds):
    # kills: a model opened for its tokenizer, to learn, to be measured and to be exported
    read, hashed = counted
    rows = [{"text": f"the {word} of {n}", "label": word} for n in range(6) for word in ("sea", "land")]
    file = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    settings = default_settings("classification", str(teacher))
    settings = with_changes(settings, ["run.epochs=1", "run.batch=4", "cutting.length=16", f"seeds={seeds}"])
    list(finetune(settings, LabelledFiles(train=str(file), evaluation=str(file)), tmp_path / "run"))
    assert read == {"teacher": seeds} and hashed["teacher", "model.safetensors"] == 1


def test_going_on_from_a_model_opens_it_once(teacher, tmp_path, counted):
    # kills: a model opened to look at its heads
    read, hashed = counted
    settings = small("bert", f"start.model={teacher}", "run.steps=1", "data.length=32")
    list(pretrain(settings, CorpusSource(sources=[str(REQUESTS)]), tmp_path / "run"))
    assert read == {"teacher": 1} and hashed["teacher", "model.safetensors"] == 1
