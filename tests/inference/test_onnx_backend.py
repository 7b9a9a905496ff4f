"""The backend onnx: the numbers of torch, whatever the file calls its outputs and wherever its tensors are."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

import sijo
from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx import content, files
from sijo.checkpoints.onnx.files import onnx_file
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import CheckpointError, SettingError
from sijo.files.manifest import write_manifest
from sijo.inference.backends import registry
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.onnx_backend import OnnxBackend
from sijo.inference.backends.registry import open_backend
from sijo.inference.backends.torch_backend import TorchBackend
from sijo.inference.encode import encode

ROWS = [[2, 9, 14, 33, 3], [2, 20, 3], [2, 5, 6, 7, 8, 9, 10, 3]]
TEXTS = ["the team in the rain", "", "bread and salt", "one two " * 60, "a goal"]


def opened(folder, head=None, precision="exact"):
    return OnnxBackend.open(FolderDescription(folder), head=head, precision=precision)


@pytest.mark.parametrize("data", [True, False], ids=["beside", "within"])
def test_vectors_are_those_of_torch(tiny_copy, data):
    # kills: a mask not given, types not given, a tensor read from the wrong place
    write_onnx(tiny_copy, tiny_weights(), data=data)
    want = encode(tiny_copy, TEXTS, backend="torch")
    assert np.abs(encode(tiny_copy, TEXTS, backend="onnx") - want).max() < 1e-5
    assert np.abs(encode(tiny_copy, TEXTS) - want).max() < 1e-5


@pytest.mark.parametrize("gpu", [False, True])
def test_a_folder_without_weights_answers_as_with_them(tiny_copy, gpu, monkeypatch):
    # kills: torch asked for weights that are not there, by auto or because there is a GPU
    monkeypatch.setattr(registry, "device_of", lambda name: "cuda:0" if gpu and name == "auto" else name)
    write_onnx(tiny_copy, tiny_weights())
    want = encode(tiny_copy, TEXTS, backend="torch", device="cpu")
    (tiny_copy / "model.safetensors").unlink()
    assert np.abs(encode(tiny_copy, TEXTS) - want).max() < 1e-5
    with pytest.raises(SettingError, match="holds ONNX files alone, and torch runs weights"):
        encode(tiny_copy, TEXTS, backend="torch", device="cpu")
    with pytest.raises(CheckpointError, match="only ONNX files, which label and encode"):
        sijo.load(tiny_copy)


def test_a_file_is_read_once(tiny_copy, monkeypatch):
    # kills: a second pass over a file to see whether it suits, its content kept for good, and an older one believed
    read, counted = content.read_model, []
    monkeypatch.setattr(content, "read_model", lambda data: counted.append(len(data)) or read(data))
    write_onnx(tiny_copy, tiny_weights(), data=False)
    described = FolderDescription(tiny_copy)
    backend = open_backend(described, device="cpu")
    assert backend.name == "onnx" and len(counted) == 1 and not described.onnx_contents
    (tiny_copy / "model.safetensors").unlink()
    described = FolderDescription(tiny_copy)
    assert described.heads == ()
    write_onnx(tiny_copy, tiny_weights(), data=False, vector="sentence_embedding")
    assert open_backend(described, device="cpu")._outputs.sentence == "sentence_embedding" and len(counted) == 3


def test_no_torch_is_imported(tiny_copy):
    # kills: a file on the way that imports torch
    write_onnx(tiny_copy, tiny_weights())
    program = (
        "import sys, sijo; rows = sijo.ZeroShotClassifier(['sea', 'land'], sys.argv[1]).classify(['rain']);"
        "assert rows[0].label and 'torch' not in sys.modules and 'onnxruntime' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, tiny_copy], check=True)


@pytest.mark.parametrize("skips", [(), (1, 2, 0)], ids=["whole", "skipping"])
@pytest.mark.parametrize("normalized", [True, False])
def test_a_pooled_output_is_taken_where_it_says_the_same(tiny_copy, skips, normalized):
    # kills: the file's pooling where tokens are to be left out; scaled vectors, of which windows would be averaged
    weights = tiny_weights()
    write_onnx(tiny_copy, weights, vector="sentence_embedding")
    steps = tiny_copy / "modules.json"
    if not normalized:
        steps.write_text(json.dumps(json.loads(steps.read_text())[:2]))
    backend, batch, asked = opened(tiny_copy), IdBatch.of(ROWS, limit=32), []
    inner = backend._session.run
    backend._session = SimpleNamespace(run=lambda names, feed: asked.extend(names) or inner(names, feed))
    got = backend.vectors(batch, skips)
    assert asked == ["last_hidden_state" if normalized or skips else "sentence_embedding"]
    model = sijo.load(tiny_copy)
    want = TorchBackend(model).vectors(batch, skips)
    assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize("hidden", ["last_hidden_state", "token_embeddings", "output_0"])
def test_what_others_call_the_states(tiny_copy, hidden):
    # kills: a file of sentence-transformers or of an old exporter that is taken for one without states
    write_onnx(tiny_copy, tiny_weights(), hidden=hidden)
    assert opened(tiny_copy).vectors(IdBatch.of(ROWS)).shape == (3, 16)


def classifier(folder):
    weights = tiny_weights()
    chance = np.random.default_rng(1)
    weights["classifier.weight"] = chance.normal(0, 1, (3, 16)).astype(np.float32)
    weights["classifier.bias"] = chance.normal(0, 1, 3).astype(np.float32)
    names = {name if name.startswith("classifier") else f"bert.{name}": array for name, array in weights.items()}
    save_file(names, folder / "model.safetensors", metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text())
    labels = {"0": "sport", "1": "tax", "2": "weather"}
    fields |= {"architectures": ["BertForSequenceClassification"], "id2label": labels}
    (folder / "config.json").write_text(json.dumps(fields))
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    return weights


def test_logits_are_those_of_torch(tiny_copy):
    # kills: another output in their place, types of a pair that are not given
    write_onnx(tiny_copy, classifier(tiny_copy), logits=3)
    types = [[0, 0, 1, 1, 1], [0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1]]
    batch = IdBatch.of(ROWS, types)
    want = TorchBackend(sijo.load(tiny_copy, head="sequence-classification")).logits(batch)
    assert np.abs(opened(tiny_copy, "sequence-classification").logits(batch) - want).max() < 1e-5
    texts = ["the team in the rain", "a goal"]
    rows = [
        sijo.ZeroShotClassifier(model=tiny_copy, backend=name).predict_proba(texts) for name in ("onnx", "torch")
    ]
    assert np.abs(rows[0] - rows[1]).max() < 1e-5


def test_what_a_file_does_not_give_is_named(tiny_copy):
    # kills: a KeyError where a file was exported without the head
    weights = classifier(tiny_copy)
    write_onnx(tiny_copy, weights)
    with pytest.raises(SettingError, match=r"gives no logits.*--backend torch"):
        opened(tiny_copy, "sequence-classification")
    write_onnx(tiny_copy, weights, hidden=None, logits=3)
    with pytest.raises(SettingError, match="gives no states of tokens"):
        opened(tiny_copy)
    with pytest.raises(SettingError, match="holds no ONNX file of precision int8; make one with `sijo export"):
        opened(tiny_copy, precision="int8")


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ("exact", "onnx/model.onnx"),
        ("exact", "model.onnx"),
        ("int8", "onnx/model_int8.onnx"),
        ("int8", "onnx/model_quantized.onnx"),
        ("int8", "model_quantized.onnx"),
        ("int4", "onnx/model_q4.onnx"),
        ("fp16", "onnx/model_fp16.onnx"),
    ],
)
def test_the_file_of_a_precision(tiny_copy, precision, name):
    # kills: a file beside config.json that is not seen, and one of another precision that is taken
    write_onnx(tiny_copy, tiny_weights(), name=name)
    assert onnx_file(tiny_copy, precision).name == name
    others = {"exact", "int8", "int4", "fp16"} - {precision}
    assert all(onnx_file(tiny_copy, other) is None for other in others)
    assert opened(tiny_copy, precision=precision).precision == precision


def test_a_file_for_one_kind_of_processor(tiny_copy, monkeypatch):
    # kills: instructions that a processor lacks; the least able of several files
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in files.QUANTIZED_FOR.values():
        write_onnx(tiny_copy, tiny_weights(), name=f"onnx/{name}")
    for able, name in (
        ({"avx2"}, "model_quint8_avx2.onnx"),
        ({"avx2", "avx512f"}, "model_qint8_avx512.onnx"),
        ({"avx2", "avx512f", "avx512_vnni"}, "model_qint8_avx512_vnni.onnx"),
    ):
        monkeypatch.setattr(files, "abilities", lambda able=able: frozenset(able))
        assert onnx_file(tiny_copy, "int8").name == f"onnx/{name}"
    monkeypatch.setattr(files, "abilities", frozenset)
    assert onnx_file(tiny_copy, "int8") is None
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert onnx_file(tiny_copy, "int8").name == "onnx/model_qint8_arm64.onnx"


def test_bytes_are_the_same_each_time(tiny_copy):
    # kills: a row's answer that hangs on the rows beside it, or on the run
    write_onnx(tiny_copy, tiny_weights())
    first, second = opened(tiny_copy), opened(tiny_copy)
    batch = IdBatch.of(ROWS, limit=32)
    assert first.vectors(batch).tobytes() == second.vectors(batch).tobytes() == first.vectors(batch).tobytes()
    other = IdBatch.of([ROWS[2], ROWS[0], ROWS[1]], limit=32)
    np.testing.assert_array_equal(first.vectors(batch)[[2, 0, 1]], first.vectors(other))


def test_the_fingerprint(tiny_copy):
    # kills: a run that goes on with another file, another head or another precision
    file = write_onnx(tiny_copy, tiny_weights(), name="onnx/model_int8.onnx")
    file = write_onnx(tiny_copy, tiny_weights())
    one = opened(tiny_copy)
    digests = {one.fingerprint, opened(tiny_copy, precision="int8").fingerprint}
    assert one.fingerprint == opened(tiny_copy).fingerprint
    spoiled = opened(tiny_copy)
    data = file.with_name("model.onnx_data")
    data.write_bytes(data.read_bytes() + b"\0")
    digests.add(opened(tiny_copy).fingerprint)
    assert len(digests) == 3
    with pytest.raises(CheckpointError, match="was changed since it was opened"):
        _ = spoiled.fingerprint


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/model.onnx_data"])
def test_a_manifest_lists_the_file_and_its_tensors(tiny_copy, name):
    # kills: a flipped bit that changes an answer, a file that was added to a folder that was saved
    write_onnx(tiny_copy, tiny_weights())
    write_manifest(tiny_copy)
    opened(tiny_copy)
    content = bytearray((tiny_copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny_copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        opened(tiny_copy)
    (tiny_copy / name).unlink()
    with pytest.raises((CheckpointError, SettingError)):
        opened(tiny_copy)
    (tiny_copy / "manifest.json").unlink()
    write_manifest(tiny_copy)
    (tiny_copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="is not among the files"):
        opened(tiny_copy)
    with pytest.raises(CheckpointError, match="is not among the files"):
        sijo.load(tiny_copy)


@pytest.mark.parametrize("longer", [False, True], ids=["same size", "longer"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_was_replaced_beside_a_file_of_ours_is_found(tiny_copy, name, longer):
    # kills: a digest out of the manifest in place of the weights', so that a folder whose weights were trained on
    # or saved over goes on answering as before, under times that say nothing
    digest = weights_digest(FolderDescription(tiny_copy).weight_files)
    write_onnx(tiny_copy, tiny_weights(), metadata=[("sijo.weights", digest)])
    write_manifest(tiny_copy)
    assert opened(tiny_copy) and FolderDescription(tiny_copy).has_tokenizer
    file = tiny_copy / name
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-2] ^= 1
    file.write_bytes(content + b" " * longer)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    said = "has .* bytes, and manifest.json says" if longer else "is not as it was saved"
    with pytest.raises(CheckpointError, match=f"{name} {said}.*delete manifest.json if you changed it"):
        assert opened(tiny_copy) and FolderDescription(tiny_copy).has_tokenizer
