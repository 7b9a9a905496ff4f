"""Folders of ONNX files without weights, as sentence-transformers, optimum and transformers.js publish them."""

import csv
import json

import numpy as np
import pytest

from conftest import tiny_weights, write_tiny_model
from onnx_networks import write_onnx
from without_torch_commands import commands

SENTENCE_FILES = ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
JUDGING, TAGGING = "BertForSequenceClassification", "BertForTokenClassification"


def write_alone(folder, *, kind=None, labels=(), settings=False, name="onnx/model.onnx", **outputs):
    """Put a network into a folder without weights.

    kind, labels  what config.json says: the class of its head, and the head's columns
    settings      whether the files of a sentence encoder stay
    outputs       as for `written`
    """
    write_tiny_model(folder)
    weights, chance = tiny_weights(), np.random.default_rng(1)
    weights["classifier.weight"] = chance.normal(0, 1, (len(labels), 16)).astype(np.float32)
    weights["classifier.bias"] = chance.normal(0, 1, len(labels)).astype(np.float32)
    write_onnx(folder, weights, name=name, **outputs)
    (folder / "model.safetensors").unlink()
    fields = json.loads((folder / "config.json").read_text())
    if kind is not None:
        fields["architectures"] = [kind]
    if labels:
        fields["id2label"] = dict(enumerate(labels))
    (folder / "config.json").write_text(json.dumps(fields))
    for file in () if settings else SENTENCE_FILES:
        (folder / file).unlink()
    return folder


NLI, TOPICS, TAGS = ("contradiction", "entailment", "neutral"), ("game", "bank", "land"), ("O", "B-PER", "I-PER")
KINDS = {
    "sentence encoder": ({"settings": True}, None, "embedding"),
    "pooled": ({"hidden": "token_embeddings", "vector": "sentence_embedding"}, None, "embedding"),
    "vector": ({"hidden": None, "vector": "sentence_embedding"}, None, "embedding"),
    "plain encoder": ({}, None, "embedding"),
    "inference": ({"kind": JUDGING, "labels": NLI, "hidden": None, "logits": 3}, JUDGING, "entailment"),
    "trained": ({"kind": JUDGING, "labels": TOPICS, "hidden": None, "logits": 3}, JUDGING, "trained"),
    "unnamed": ({"labels": TOPICS, "logits": 3}, JUDGING, "trained"),
    "without its head": ({"kind": JUDGING, "labels": TOPICS}, None, "embedding"),
    "tagger": ({"kind": TAGGING, "labels": TAGS, "tags": 3}, TAGGING, "embedding"),
}
"""By name: how each is written, the class of the head that is told, and the scorer that suits."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Two texts with their labels."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([["text", "label"], ["the team in the rain", "game"], ["bread and salt", "bank"]])
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_knows_what_it_is(tmp_path, rows, kind):
    # kills: heads told by config.json alone; a tagger taken for a classifier; a command that asks for weights
    written, head, scorer = KINDS[kind]
    folder = write_alone(tmp_path / "model", **written)
    labels = ["--labels", "game,bank", "--model", folder]
    told, shown, labelled, measured, encoded = commands(
        ["inspect", folder, "--format", "json"],
        ["inspect", folder, "--format", "table"],
        ["classify", rows, *labels],
        ["evaluate", "--data", rows, *labels, "--format", "json"],
        ["encode", rows, "--column", "text", "--model", folder, "--output", tmp_path / "vectors.npy"],
    )
    assert told.code == shown.code == 0, (told, shown)
    contents = json.loads(told.out)
    assert [*contents["heads"].values()] == ([] if head is None else [head])
    assert contents["onnx"]["exact"]["compared"] is False and not contents["tried"]
    assert contents["parameters"] is contents["dtype"] is None and contents["would_not_load"] == {}
    assert contents["backend"]["auto"] == {"exact": "onnx"}
    assert "compared with no weights" in " ".join(shown.out.split()) and "not counted" in shown.out
    assert labelled.code == measured.code == 0, (labelled, measured)
    assert json.loads(measured.out)["scorer"] == scorer
    if written.get("hidden", True) is None and "vector" not in written:
        assert encoded.code == 2 and "gives no states of tokens" in encoded.err and "torch" not in encoded.err
    else:
        assert encoded.code == 0 and np.load(tmp_path / "vectors.npy").shape == (2, 16), encoded


def test_the_model_s_own_labels(tmp_path, rows):
    # kills: columns of another order, or a trained head that must be given labels
    folder = write_alone(tmp_path / "model", **KINDS["trained"][0])
    (ended,) = commands(["classify", rows, "--model", folder, "--all-scores"])
    assert ended.code == 0, ended
    scores = dict(json.loads(ended.out.splitlines()[0])["label_scores"])
    assert scores.keys() == {*TOPICS} and abs(sum(scores.values()) - 1) < 1e-5


def test_what_does_not_go_together_is_refused(tmp_path, rows):
    # kills: logits of tokens read as those of texts, and a folder of nothing that is taken for an encoder
    other = write_alone(tmp_path / "other", **KINDS["trained"][0] | {"kind": TAGGING})
    both = write_alone(tmp_path / "both", **KINDS["tagger"][0] | {"kind": JUDGING})
    neither = write_alone(tmp_path / "neither")
    (neither / "onnx/model.onnx").unlink()
    damaged = write_alone(tmp_path / "damaged")
    (damaged / "onnx/model.onnx").write_bytes(b"\x80\x04\x95" + b"\xff" * 30)
    for folder, code, words in (
        (other, 4, "config.json names one for token-classification (architectures)"),
        (both, 4, "config.json names one for sequence-classification (architectures)"),
        (neither, 5, "has no model.safetensors"),
        (damaged, 5, "no ONNX file"),
    ):
        for ended in commands(["inspect", folder], ["classify", rows, "--labels", "game,bank", "--model", folder]):
            assert ended.code == code and words in ended.err.strip().splitlines()[-1], ended


def test_precisions_and_pickles(tmp_path, rows):
    # kills: a sentence that sends to a backend which could not run it; a pickle that shuts a folder that has ONNX
    folder = write_alone(tmp_path / "model", settings=True, name="onnx/model_quantized.onnx")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04\x95" + b"\xff" * 30)
    line = ["classify", rows, "--labels", "game,bank", "--model", folder]
    exact, int8, told = commands(line, [*line, "--precision", "int8"], ["inspect", folder, "--format", "json"])
    assert exact.code == 2 and "use --precision int8" in exact.err and "torch" not in exact.err, exact
    assert int8.code == 0, int8
    assert json.loads(told.out)["backend"]["auto"] == {"int8": "onnx"} and told.code == 0
