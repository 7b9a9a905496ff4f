"""Precisions: by name, by their old name, and the fastest that decides as float32 does. Each names its fault."""

import json

import numpy as np
import pytest

import sijo
from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.checkpoints.describe import FolderDescription
from sijo.errors import SettingError, SijoWarning
from sijo.inference import precision as choosing
from sijo.inference.backends import registry
from sijo.inference.encode import encode, nearest_others
from sijo.inference.precision import choose, named_precision, ranked

WORDS = ("sea", "land", "rain", "sun", "game", "tax", "bank", "oil")
TEXTS = [f"the {one} and the {two}" for one in WORDS for two in WORDS if one != two]
LABELS = ["sea", "land", "sun"]


def odd(weights, size=1.0):
    """The same weights but for one matrix, which makes other decisions; vectors of one dimension stay."""
    name = next(name for name in weights if name.endswith("intermediate.dense.weight"))
    moved = np.random.default_rng(0).normal(0, size, weights[name].shape).astype(np.float32)
    return weights | {name: weights[name] + moved}


@pytest.fixture
def both(tiny_copy, monkeypatch):
    """`both(moved)`: a folder with an exact ONNX file and one of int8, whose weights are moved or not."""
    monkeypatch.setattr(choosing, "has_bf16", lambda: False)

    def make(*, moved):
        if moved:  # which is refused otherwise: nobody rounds weights so far
            monkeypatch.setattr("sijo.checkpoints.onnx.opened.must_be_of", lambda *_: None)
        write_onnx(tiny_copy, tiny_weights())
        write_onnx(tiny_copy, odd(tiny_weights(), 9.0) if moved else tiny_weights(), name="onnx/model_int8.onnx")
        return tiny_copy

    return make


def test_the_fastest_that_decides_alike_is_taken(both):
    # kills: a gate that always passes, or never; a choice that is not told
    clf = sijo.ZeroShotClassifier(LABELS, both(moved=False), precision="auto")
    exact = sijo.ZeroShotClassifier(LABELS, both(moved=False)).predict(TEXTS)
    assert clf.predict(iter(TEXTS)).tolist() == exact.tolist()
    assert clf.precision_.precision == "int8" and clf.precision_.texts == len(TEXTS)
    assert clf.precision_.share.value == 1.0 and 0.9 < clf.precision_.share.low < 1.0
    assert "100.0% of its decisions" in str(clf.precision_)


def test_what_decides_otherwise_is_not_taken(both):
    # kills: int8 taken because the processor has it
    folder = both(moved=True)
    clf = sijo.ZeroShotClassifier(LABELS, folder, precision="auto")
    assert clf.predict(TEXTS).tolist() == sijo.ZeroShotClassifier(LABELS, folder).predict(TEXTS).tolist()
    assert clf.precision_.precision == "exact" and "nothing faster" in str(clf.precision_)
    other = sijo.ZeroShotClassifier(LABELS, folder, precision="int8")
    assert other.predict(TEXTS).tolist() != clf.predict(TEXTS).tolist()


def test_few_texts_are_read_in_float32(both):
    # kills: a choice by the decisions on three texts
    clf = sijo.ZeroShotClassifier(LABELS, both(moved=False), precision="auto")
    clf.predict(TEXTS[:3])
    assert clf.precision_.precision == "exact" and "too few" in str(clf.precision_)
    clf.fit(TEXTS)
    assert not hasattr(clf, "precision_")


def test_texts_that_bring_their_labels(both):
    # kills: the texts that were looked at, or their labels, lost
    clf = sijo.ZeroShotClassifier(model=both(moved=False), precision="auto")
    sets = [[one, two] for one in WORDS for two in WORDS if one != two]
    rows = list(clf.stream(iter(TEXTS), iter(sets)))
    assert [set(row.labels) for row in rows] == [set(labels) for labels in sets]
    assert clf.precision_.precision == "int8"


def test_vectors_by_their_neighbours(both):
    # kills: a gate of vectors that compares them with themselves; texts that were looked at left out
    folder = both(moved=False)
    np.testing.assert_array_equal(
        encode(folder, iter(TEXTS), precision="auto"), encode(folder, TEXTS, precision="int8")
    )
    folder = both(moved=True)
    np.testing.assert_array_equal(encode(folder, TEXTS, precision="auto"), encode(folder, TEXTS))
    assert nearest_others(np.eye(3)[[0, 1, 1]])[1:] == [2, 1]


def test_the_command_tells_what_it_took(both, sijo_cli, write, tmp_path):
    # kills: a choice that is no part of the run; the first rows of a pipe lost to the choice
    source = write("in.txt", "\n".join(TEXTS) + "\n")
    common = ("--labels", ",".join(LABELS), "--model", both(moved=False), "--precision", "auto")
    ran = sijo_cli("classify", source, *common, "-o", tmp_path / "out.csv")
    assert ran.code == 0 and "precision int8: on the first 56 texts 100.0%" in ran.err, ran.err
    piped = sijo_cli("classify", "-", *common, "--format", "csv", stdin=source.read_bytes())
    assert piped.out == (tmp_path / "out.csv").read_bytes()
    sijo_cli("classify", source, *common[:-1], "exact", "-o", tmp_path / "out.csv", "--resume").must_say(
        2, "was made with precision:"
    )
    ran = sijo_cli("encode", source, "--model", both(moved=False), "--precision", "auto", "-o", tmp_path / "v.npy")
    assert ran.code == 0 and "precision int8" in ran.err and len(np.load(tmp_path / "v.npy")) == len(TEXTS)
    gold = write("gold.csv", "text,label\n" + "".join(f"{text},{text.split()[1]}\n" for text in TEXTS))
    ran = sijo_cli("evaluate", "--data", gold, "--model", both(moved=False), "--precision", "auto")
    assert ran.code == 0 and "precision int8" in ran.err, ran.err


def test_a_run_goes_on_with_the_backend_it_began_with(both, sijo_cli, write, tmp_path):
    # kills: a file whose rows come of two backends, which differ in their last bits
    run = ["classify", write("in.txt", "sea\nland\n"), "--labels", "sea,land", "--model", both(moved=False)]
    assert sijo_cli(*run, "-o", tmp_path / "out.csv").code == 0
    sijo_cli(*run, "-o", tmp_path / "out.csv", "--resume", "--backend", "torch").must_say(
        2, "was made with backend:"
    )


def test_what_is_ranked(both, monkeypatch):
    # kills: bf16 on a processor that does not multiply it; a precision of which there is no file
    described = FolderDescription(both(moved=False))
    assert ranked(described) == ["int8"]
    monkeypatch.setattr(choosing, "has_bf16", lambda: True)
    assert ranked(described) == ["int8", "bf16"]
    assert ranked(described, backend="onnx") == ["int8"]
    (described.folder / "onnx/model_int8.onnx").unlink()
    assert ranked(described, backend="onnx") == []


def test_a_share_just_below_is_not_enough():
    # kills: 98.9 of 100 taken for 99
    wrong = {"int8": 11, "bf16": 10}
    taken = choose(["int8", "bf16"], 1000, lambda name: [i < wrong.get(name, 0) for i in range(1000)])
    assert taken.precision == "bf16" and taken.share.value == 0.99


def test_the_old_names(tiny_model):
    # kills: --dtype that is dropped in silence, or does something else
    with pytest.warns(SijoWarning, match=r"precision='bf16' \(--precision\) from this release on"):
        assert named_precision("exact", "bfloat16") == "bf16"
    with pytest.raises(SettingError, match="leave dtype out"):
        named_precision("int8", "bfloat16")
    with pytest.raises(SettingError, match="no dtype 'float33'; use precision="):
        named_precision("exact", "float33")
    with pytest.warns(SijoWarning):
        old = sijo.ZeroShotClassifier(LABELS, tiny_model, dtype="bfloat16").predict_proba(TEXTS[:9])
    new = sijo.ZeroShotClassifier(LABELS, tiny_model, precision="bf16").predict_proba(TEXTS[:9])
    np.testing.assert_array_equal(old, new)


def test_bf16_on_a_processor_without_it_is_told(tiny_model, monkeypatch):
    # kills: a run seven times slower than float32, without a word
    monkeypatch.setattr(registry, "has_bf16", lambda: False)
    with pytest.warns(SijoWarning, match="several times slower than float32"):
        encode(tiny_model, ["sea"], precision="bf16")


def test_a_model_that_was_opened_keeps_its_precision(tiny_model):
    # kills: a precision or backend that is asked for and not used
    model = sijo.load(tiny_model)
    with pytest.raises(SettingError, match="give its folder instead"):
        encode(model, ["sea"], precision="bf16")
    with pytest.raises(SettingError, match="cannot run a model that was opened with torch"):
        encode(model, ["sea"], backend="onnx")
    np.testing.assert_array_equal(encode(model, ["sea"], precision="auto"), encode(model, ["sea"]))


def test_the_commands_know_the_names(sijo_cli):
    # kills: choices of the command line that the registry has not, or lacks
    from typing import get_args

    from sijo.app import options
    from sijo.inference.backends.backend import Precision

    assert set(get_args(options.PrecisionName)) == {"auto", *get_args(Precision)}
    assert get_args(options.BackendName) == get_args(registry.BackendName)
    assert json.dumps([*registry.BACKENDS]) == '["torch", "onnx"]'
