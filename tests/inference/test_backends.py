"""Which backend reads a folder, and where. Each test names the fault it kills."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import sijo
from conftest import tiny_weights
from onnx_networks import write_onnx
from sijo.checkpoints.describe import FolderDescription
from sijo.errors import SettingError
from sijo.inference.backends import registry
from sijo.inference.backends.backend import Backend
from sijo.inference.backends.devices import torch_device
from sijo.inference.backends.registry import BackendRow, backends_of, chosen_backend, open_backend
from sijo.inference.encode import described_engine, encode

HEAD = "sequence-classification"


def test_auto_takes_onnx_where_there_is_a_file(tiny_copy):
    # kills: a rule that looks at the folder and not at the precision, or the head
    described = FolderDescription(tiny_copy)
    assert chosen_backend(described) == "torch"
    write_onnx(tiny_copy, tiny_weights())
    assert chosen_backend(described) == "onnx"
    assert chosen_backend(described, precision="bf16") == "torch"
    assert chosen_backend(described, head=HEAD) == "torch"  # the file gives no logits
    assert chosen_backend(described, "torch") == "torch"
    assert backends_of(described)["exact"] == "onnx"


def test_a_gpu_goes_before_onnx(tiny_copy, monkeypatch):
    # kills: the processor taken for a folder with an ONNX file, on a machine with a GPU
    write_onnx(tiny_copy, tiny_weights())
    assert chosen_backend(FolderDescription(tiny_copy), device="cuda:0") == "torch"
    monkeypatch.setattr(registry, "may_have_gpu", lambda: True)
    monkeypatch.setattr("sijo.inference.backends.devices.torch_device", lambda name: "cuda:0")
    assert registry.device_of("auto") == "cuda:0"


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"backend": "onxx"}, "no backend 'onxx'; did you mean 'onnx'"),
        ({"precision": "int9"}, "no precision 'int9'; did you mean 'int8'"),
        ({"backend": "onnx", "precision": "bf16"}, "does not compute in precision='bf16'"),
        ({"backend": "onnx", "device": "cuda"}, "has no device 'cuda|this build of torch knows none|finds 0 here"),
        ({"device": "gpu"}, "no device 'gpu'; there are auto, cpu"),
        ({"backend": "onnx"}, "sijo export"),
    ],
)
def test_what_does_not_go_together_is_refused(tiny_model, asked, words):
    # kills: a setting that is passed over
    with pytest.raises(SettingError, match=words):
        encode(tiny_model, ["sea"], **asked)


def test_devices(monkeypatch):
    # kills: cuda:7 read as cuda:0; a GPU that is not there taken for the processor
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [torch_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:0",
        "cuda:0",
        "cuda:1",
        "cpu",
    ]
    with pytest.raises(SettingError, match="GPU number 7"):
        torch_device("cuda:7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="use cpu or auto"):
        torch_device("cuda")
    with pytest.raises(SettingError, match="Apple"):
        torch_device("mps")


def test_without_torch_the_command_is_named(tiny_model, monkeypatch):
    # kills: a ModuleNotFoundError in place of what to do
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'sijo\[torch\]'"):
        open_backend(FolderDescription(tiny_model))


def test_a_folder_is_described_without_torch(tiny_model):
    # kills: a file on the way to labels, vectors or metrics that imports torch
    program = (
        "import sys, sijo.zeroshot.labeller, sijo.zeroshot.classifier, sijo.zeroshot.scorers.trained,"
        "sijo.zeroshot.scorers.entailment, sijo.inference.encode, sijo.evaluation.zero_shot, sijo.app.cli,"
        "sijo.checkpoints.contents;"
        "from sijo.checkpoints.describe import describe, fingerprint; folder = describe(sys.argv[1]);"
        "print(folder.tokenizer.max_length, folder.heads, folder.languages, len(fingerprint(folder, [])));"
        "sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program, tiny_model], check=True, capture_output=True, text=True)
    assert ran.stdout == "32 () None 64\n"


def test_the_fingerprint_knows_weights_and_settings(tiny_copy):
    # kills: vectors kept for one model given for another; a digest of the folder's path
    def told():
        return sijo.load(tiny_copy).fingerprint

    before = told()
    assert told() == before
    config, weights = tiny_copy / "config.json", tiny_weights()
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    other = told()
    weights["embeddings.LayerNorm.bias"][0] += 1
    save_file(weights, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    assert len({before, other, told()}) == 3


class ToyBackend(Backend):
    """Says of every text how many tokens it has."""

    name, call_cost = "toy", 1
    precision, device, heads, fingerprint = "exact", "cpu", frozenset(), "toy"

    @classmethod
    def open(cls, described, *, head, device, precision, threads):
        toy = cls()
        toy.width = described.architecture.hidden_size
        return toy

    def vectors(self, batch, skips=()):
        kept = np.ones(batch.input_ids.shape, bool) if batch.keep is None else batch.keep
        return np.repeat(kept.sum(1, dtype=np.float32)[:, None], self.width, axis=1)

    def logits(self, batch, head="sequence-classification"):
        raise NotImplementedError

    def why_not_finite(self):
        return "it never is"


def test_a_backend_is_a_class_and_a_row(tiny_model, monkeypatch):
    # kills: a backend that must be named in a second place before it works
    place = f"{__name__}.ToyBackend"
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or pytest)
    monkeypatch.setattr(registry, "resolve_name", lambda name: ToyBackend if name == place else None)
    row = BackendRow(
        place=place, module="numpy", install="", suits=lambda *_: True, precisions=("exact",), devices=("cpu",)
    )
    monkeypatch.setitem(registry.BACKENDS, "toy", row)
    described = FolderDescription(tiny_model)
    assert chosen_backend(described) == "toy"
    engine = described_engine(described)
    assert engine.encode(["sea", "the sea and the land"]).vectors[:, 0].tolist() == [3.0, 7.0]


def test_the_engine_of_torch_and_of_a_folder_agree(tiny_model):
    # kills: a model that is opened twice in two ways
    texts = ["the sea", "", "rain " * 50]
    np.testing.assert_array_equal(encode(tiny_model, texts), encode(sijo.load(tiny_model), texts))
