"""A folder in blocks: kept whole after a comparison, or not at all; read alike by both backends."""

import json
import math
import shutil
import struct

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file

import sijo
from sijo.checkpoints.blocks import block_numbers, quantized_blocks
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.load import create, load
from sijo.checkpoints.save import save
from sijo.checkpoints.weight_files import payload_begins, read_header
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.export import blocks as exporting
from sijo.export.blocks import export_blocks
from sijo.export.export import MEASURED, export
from sijo.files.manifest import verify
from sijo.files.paths import FolderFile
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.onnx_backend import OnnxBackend
from sijo.inference.backends.registry import chosen_backend, open_backend
from sijo.models import published
from sijo.nn.architecture import Architecture, Disentangled, Learned
from without_torch_commands import commands

TEXTS = ["the sea is new", "rain and sun", "a good game in the old land", "tax", "money and bread for the team"]
WORDS, SMALL = "embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.value.weight"
WIDE = Architecture(
    vocab_size=110,
    embedding_size=128,
    hidden_size=64,
    heads=2,
    intermediate_size=96,
    schedule=(0, 1, 0),
    positions=Learned(count=64),
    token_types=2,
    widening="after_norm",
)
APART = Architecture(
    vocab_size=110,
    embedding_size=48,
    hidden_size=48,
    heads=2,
    intermediate_size=64,
    schedule=(0, 1),
    distances=Disentangled(span=16, buckets=8, norm="layer_norm"),
    positions=None,
)
IDS = IdBatch(np.random.default_rng(2).integers(5, 100, (3, 11)), np.arange(11) < np.array([[11], [4], [1]]), None)


def made(folder, tokenizer, architecture, head=None, labels=None):
    """A folder of a network of which every weight was moved."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create(architecture, head, labels=labels, tokenizer=tokenizer)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.2)
    return save(model, folder)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load(tiny_model).tokenizer


@pytest.fixture(scope="module")
def packed(tiny_model, tmp_path_factory):
    """The tiny sentence encoder in blocks; do not change it."""
    out = tmp_path_factory.mktemp("blocks") / "tiny"
    export_blocks(tiny_model, out=out, bits=4, texts=TEXTS, keep_anyway=True)
    return out


@pytest.fixture(scope="module")
def mixed(tiny_model, tmp_path_factory):
    """A folder whose table and second layer lie on a grid of 4 bits, and the same in blocks; do not change them."""
    place = tmp_path_factory.mktemp("mixed")
    folder = shutil.copytree(tiny_model, place / "model")
    weights = load_file(folder / "model.safetensors")
    for name, array in weights.items():
        if name == WORDS or (name.startswith("encoder.layer.1") and array.ndim == 2):
            block = 16 if array.shape[1] % 32 else 32
            codes, scales = quantized_blocks(array, bits=4, block=block, half=True)
            weights[name] = block_numbers(codes, scales, bits=4)
    weights[SMALL] = weights[SMALL] * np.float32(1e-4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    exported = export_blocks(folder, out=place / "blocks", texts=TEXTS)
    return folder, place / "blocks", exported


@pytest.fixture
def spoiled(packed, tmp_path):
    """A copy of it without its manifest, to be spoiled."""
    folder = shutil.copytree(packed, tmp_path / "spoiled")
    (folder / "manifest.json").unlink()
    return folder


def poke(folder, name, value):
    """Put a number into the last place of a tensor in float32 or float16, where it lies."""
    file = FolderFile(folder, "model_blocks.safetensors")
    content = bytearray(file.path.read_bytes())
    entry = read_header(file)[name]
    end = payload_begins(content) + entry.end
    number = struct.pack({"F32": "<f", "F16": "<e"}[entry.dtype], value)
    content[end - len(number) : end] = number
    file.path.write_bytes(content)


def opened(folder):
    return OnnxBackend.open(FolderDescription(folder), head=None)


def test_a_folder_appears_whole_with_its_weights_once(packed, tiny_model):
    # kills: the old weights copied along, a file of constants beside, a manifest that leaves the weights out
    names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    kept = {path.relative_to(tiny_model).as_posix() for path in tiny_model.rglob("*") if path.is_file()}
    added = {"model_blocks.safetensors", "model.onnx", "manifest.json", "README.md", MEASURED}
    assert names == (kept - {"model.safetensors"}) | added
    verify(packed)
    listed = json.loads((packed / "manifest.json").read_text())["files"]
    assert {"model_blocks.safetensors", "model.onnx"} <= listed.keys()
    proto = onnx.load(packed / "model.onnx", load_external_data=False)
    held = load_file(packed / "model_blocks.safetensors")
    inside = [entry for entry in proto.graph.initializer if entry.data_location != onnx.TensorProto.EXTERNAL]
    assert max(len(entry.raw_data) for entry in inside) <= 1024
    assert sum(name.endswith(".blocks4") for name in held) == 12
    assert {array.dtype.name for array in held.values()} == {"uint8", "float32", "float16"}
    assert all((array.dtype == np.float16) == name.endswith(".scales") for name, array in held.items())
    assert inspect(packed)[0]["onnx"] == {
        "exact": {
            "file": "model.onnx",
            "gives": ["last_hidden_state", "sentence_embedding"],
            "compared": True,
        }
    }


def test_it_needs_no_torch(packed, tmp_path):
    # kills: blocks that are computed by torch before onnxruntime reads them, a description that imports it
    file = tmp_path / "vectors.npy"
    told, labelled, encoded = commands(
        ["inspect", packed, "--format", "json"],
        ["classify", "-", "--labels", "game,bank", "--model", packed],
        ["encode", "-", "--model", packed, "--output", file],
    )
    assert told.code == labelled.code == encoded.code == 0, (told, labelled, encoded)
    assert json.loads(told.out)["backend"]["auto"] == {"exact": "onnx"}
    assert json.loads(labelled.out)["scorer"] == "embedding"
    by_torch = sijo.encode(packed, ["rain in the land"], backend="torch")
    assert np.abs(np.load(file) - by_torch).max() < 1e-6


def test_onnxruntime_alone_opens_it(packed):
    # kills: a file that nobody but sijo can read
    session = onnxruntime.InferenceSession(str(packed / "model.onnx"), providers=["CPUExecutionProvider"])
    keep = IDS.keep.astype(np.int64)
    feed = {"input_ids": IDS.input_ids, "attention_mask": keep, "token_type_ids": np.zeros_like(keep)}
    got = session.run(["sentence_embedding"], feed)[0]
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("bits, table_bits", [(4, 4), (4, 8), (8, 4), (8, 8)])
@pytest.mark.parametrize("architecture", [WIDE, APART], ids=["wide", "apart"])
def test_both_backends_answer_alike(tmp_path, tokenizer, architecture, bits, table_bits):
    # kills: blocks that one of them reads otherwise, of any size; a table that is scaled; a matrix shared or turned
    folder = made(tmp_path / "model", tokenizer, architecture)
    out = tmp_path / "blocks"
    export_blocks(folder, out=out, bits=bits, table_bits=table_bits, texts=TEXTS, keep_anyway=True)
    held = load_file(out / "model_blocks.safetensors")
    sizes = {name: array.shape[-1] * 8 // int(name[-1]) for name, array in held.items() if name[-7:-1] == "blocks"}
    assert {*sizes.values()} == ({16, 32} if architecture is APART else {32, 128} if table_bits == 8 else {32})
    described = FolderDescription(out)
    assert chosen_backend(described) == "onnx"
    by_onnx, by_torch = (open_backend(described, backend=name, device="cpu") for name in ("onnx", "torch"))
    one, other = by_onnx.vectors(IDS), by_torch.vectors(IDS)
    assert np.abs(one - other).max() < 1e-4 * np.abs(other).max()
    original = open_backend(FolderDescription(folder), device="cpu").vectors(IDS)
    off = np.abs(one - original).max() / np.abs(original).max()
    assert 1e-5 < off < 0.9


def test_what_lies_on_a_grid_of_4_bits_is_held_so_and_the_rest_in_8(mixed, tmp_path):
    # kills: one number of bits for all, a grid that is left, scales that float16 cannot hold, backends that differ
    folder, out, exported = mixed
    assert (exported.bits, exported.table_bits) == ({4: 6, 8: 6}, 4)
    said = "6 matrices of 4 bits, 6 matrices of 8 bits and a table of tokens of 4 bits"
    assert f"| float32, by {said} |" in (out / "README.md").read_text()
    held, weights = load_file(out / "model_blocks.safetensors"), load_file(folder / "model.safetensors")
    bits = {
        name.removesuffix(f".blocks{of}"): of for name in held for of in (4, 8) if name.endswith(f".blocks{of}")
    }
    assert {name for name, of in bits.items() if of == 4} == {
        name for name, array in weights.items() if name == WORDS or ("layer.1" in name and array.ndim == 2)
    }
    assert {name for name in bits if held[f"{name}.scales"].dtype != np.float16} == {SMALL}
    plain = load_file(convert(out, tmp_path / "plain") / "model.safetensors")
    for name, array in weights.items():
        written = plain[f"bert.{name}" if f"bert.{name}" in plain else name]
        assert (written == array).all() == (bits.get(name) != 8), name
        assert written.dtype == np.float32 and np.abs(written - array).max() <= np.abs(array).max() / 250
    one, other = (open_backend(FolderDescription(out), backend=way).vectors(IDS) for way in ("onnx", "torch"))
    assert np.abs(one - other).max() < 1e-5 * np.abs(other).max()


def test_a_graph_casts_the_scales_of_a_matrix_once(tmp_path, tokenizer):
    # kills: a cast for each layer that shares a matrix, a graph with the scales a second time in float32
    out = tmp_path / "blocks"
    export_blocks(made(tmp_path / "model", tokenizer, WIDE), out=out, texts=TEXTS, keep_anyway=True)
    graph = onnx.load(out / "model.onnx", load_external_data=False).graph
    read = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0].endswith("scales")]
    stored = {entry.name: entry.data_type for entry in graph.initializer if entry.name.endswith("scales")}
    assert len(read) == len({*read}) == len(stored) and {*stored.values()} == {onnx.TensorProto.FLOAT16}


def test_the_same_model_gives_the_same_bytes(tiny_model, packed, tmp_path):
    # kills: an order of tensors or nodes that changes from run to run
    export_blocks(tiny_model, out=tmp_path / "again", bits=4, texts=TEXTS, keep_anyway=True)
    for name in ("model_blocks.safetensors", "model.onnx"):
        assert (tmp_path / "again" / name).read_bytes() == (packed / name).read_bytes(), name


def test_half_precision_becomes_float32_beside_blocks(tiny_model, packed, tmp_path):
    # kills: norms in float16, which the graph, that is in float32, would find nowhere; codes of rounded numbers
    folder = shutil.copytree(tiny_model, tmp_path / "half")
    weights = {name: array.astype(np.float16) for name, array in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    export_blocks(folder, out=tmp_path / "blocks", texts=TEXTS)
    held = load_file(tmp_path / "blocks/model_blocks.safetensors")
    assert all(held[name].dtype == np.float32 for name in weights.keys() & held.keys()) and len(held) > len(weights)
    original = open_backend(FolderDescription(folder), device="cpu").vectors(IDS)
    assert np.abs(opened(tmp_path / "blocks").vectors(IDS) - original).max() < 0.05 * np.abs(original).max()


@pytest.mark.parametrize("head", ["sequence-classification", "token-classification"])
def test_heads_answer_too(tmp_path, tokenizer, head):
    # kills: a head of which the graph keeps a second copy, or which it leaves out
    folder = made(tmp_path / "model", tokenizer, WIDE, head, ["sea", "land", "tax"])
    out = tmp_path / "blocks"
    assert export_blocks(folder, out=out, texts=TEXTS, keep_anyway=True).head == head
    proto = onnx.load(out / "model.onnx", load_external_data=False)
    assert max(len(entry.raw_data) for entry in proto.graph.initializer) <= 1024
    assert sijo.load(out, head).unused == ()
    if head == "sequence-classification":
        described = FolderDescription(out)
        one, other = (
            open_backend(described, head=head, backend=name, device="cpu").logits(IDS) for name in ("onnx", "torch")
        )
        assert np.abs(one - other).max() < 1e-4 * np.abs(other).max()


def test_a_published_copy_of_a_table_goes(tiny_model, tmp_path):
    # kills: an output table left in float32 beside its original, of which it is no copy any more
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = {f"bert.{name}": array for name, array in load_file(folder / "model.safetensors").items()}
    table = weights["bert.embeddings.word_embeddings.weight"]
    chance = np.random.default_rng(0)
    head = "cls.predictions"
    weights |= {
        f"{head}.transform.dense.weight": chance.normal(0, 1, (16, 16)).astype(np.float32),
        f"{head}.transform.dense.bias": np.ones(16, np.float32),
        f"{head}.transform.LayerNorm.weight": np.ones(16, np.float32),
        f"{head}.transform.LayerNorm.bias": np.ones(16, np.float32),
        f"{head}.bias": np.ones(len(table), np.float32),
        f"{head}.decoder.weight": table,
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"tie_word_embeddings": False}))
    unused = sijo.load(folder, "mlm").unused
    out = tmp_path / "blocks"
    export_blocks(folder, out=out, bits=4, table_bits=4, texts=TEXTS, keep_anyway=True)
    assert not any("decoder" in name for name in load_file(out / "model_blocks.safetensors"))
    assert sijo.load(out, "mlm").unused == unused


def test_what_is_not_as_good_leaves_no_trace(tiny_model, tmp_path, monkeypatch):
    # kills: a folder that stays behind, a comparison that nobody heeds, or with the rounded network itself
    out = tmp_path / "blocks"
    monkeypatch.setattr("sijo.export.export.ALIKE", 1.01)
    with pytest.raises(
        SettingError, match=r"12 matrices of 4 bits and a table of tokens of 8 bits .* so it is not kept; use 8"
    ):
        export_blocks(tiny_model, out=out, bits=4, texts=TEXTS)
    assert not any(tmp_path.iterdir())
    seen = export_blocks(tiny_model, out=out, bits=4, texts=TEXTS, keep_anyway=True).comparison
    assert 1e-3 < seen.gap < 0.5
    assert f"{seen.gap:.1e}" in (out / "README.md").read_text()


def test_a_graph_that_computes_otherwise_is_not_kept(tiny_model, tmp_path, monkeypatch):
    # kills: a graph that is compared with the original alone, where rounding hides what it does wrong
    planted = exporting.onnx_model

    def wrong(parts, props, *, stored):
        name = "embeddings.norm.bias"
        return planted(
            type(parts)(**{**vars(parts), "weights": {**parts.weights, name: parts.weights[name] + 1e-2}}),
            props,
            stored=stored,
        )

    monkeypatch.setattr(exporting, "onnx_model", wrong)
    with pytest.raises(SettingError, match="is off by"):
        export_blocks(tiny_model, out=tmp_path / "blocks", texts=TEXTS, keep_anyway=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, 2e30])
def test_onnxruntime_gets_no_scale_that_torch_would_refuse(spoiled, mixed, tmp_path, bad):
    # kills: a check in one backend alone, or of scales of one type
    of_32 = shutil.copytree(mixed[1], tmp_path / "of 32")
    (of_32 / "manifest.json").unlink()
    for folder, name in ((spoiled, "encoder.layer.0.output.dense.weight"), (of_32, SMALL)):
        if bad == 2e30 and folder is spoiled:
            continue  # float16 has no such number
        poke(folder, f"{name}.scales", bad)
        for open_it in (opened, sijo.load):
            with pytest.raises(CheckpointError, match=f"1 of .* scales of {name} are 0"):
                open_it(folder)


def rewritten(folder, name, change):
    """Let a change be made of how the graph tells of a tensor."""
    proto = onnx.load(folder / "model.onnx", load_external_data=False)
    tensors = {entry.name: entry for entry in proto.graph.initializer}
    change(tensors[name])
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def told(tensor):
    return {entry.key: entry for entry in tensor.external_data}


def _moved(tensor):
    told(tensor)["offset"].value = str(int(told(tensor)["offset"].value) - 16)


def _shorter(tensor):
    tensor.dims[0] -= 1
    told(tensor)["length"].value = str(int(told(tensor)["length"].value) - 4 * tensor.dims[1])


def _of_another_type(tensor):
    tensor.data_type = onnx.TensorProto.INT8


@pytest.mark.parametrize(
    "name, change",
    [
        ("embeddings.tokens.weight.blocks", _moved),
        ("embeddings.tokens.weight.blocks", _of_another_type),
        ("embeddings.places.weight", _shorter),
    ],
)
def test_a_graph_reads_whole_tensors_of_the_file_alone(spoiled, name, change):
    # kills: codes taken for scales, rows read from the middle of another tensor
    rewritten(spoiled, name, change)
    with pytest.raises(CheckpointError, match=r"which are no tensor of (u?int8|float32) there"):
        opened(spoiled)


def test_other_weights_under_the_graph_are_refused(spoiled):
    # kills: a graph that answers by weights which it was not made over
    poke(spoiled, "embeddings.LayerNorm.bias", 0.5)
    with pytest.raises(RefusedError, match="was not made of the weights beside it"):
        opened(spoiled)
    sijo.load(spoiled)


def test_cut_short_or_gone(spoiled):
    # kills: memory beyond the end of a file
    file = spoiled / "model_blocks.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    for open_it in (opened, sijo.load):
        with pytest.raises(CheckpointError, match="cut short"):
            open_it(spoiled)
    file.unlink()
    with pytest.raises(CheckpointError, match="which is not beside it"):
        opened(spoiled)


def test_a_flipped_bit_is_found_by_the_manifest(packed, tmp_path):
    # kills: weights that are mapped before they are hashed
    folder = shutil.copytree(packed, tmp_path / "copy")
    file = folder / "model_blocks.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        opened(folder)


def test_what_cannot_be_put_in_blocks_is_said(packed, tiny_model, tmp_path):
    # kills: blocks of blocks, a stack trace
    out = tmp_path / "out"
    with pytest.raises(SettingError, match="is in blocks already"):
        export_blocks(packed, out=out)
    with pytest.raises(SettingError, match=r"bits=5 \(--bits\) is none of 4, 8 and auto"):
        export_blocks(tiny_model, out=out, bits=5)
    with pytest.raises(SettingError, match=r"table_bits=16 \(--table-bits\)"):
        export_blocks(tiny_model, out=out, table_bits=16)
    with pytest.raises(SettingError, match="there is no folder"):
        export_blocks(tmp_path / "absent", out=out)
    v1 = tmp_path / "v1"
    v1.mkdir()
    (v1 / "config.json").write_text(
        json.dumps(dict(published("deberta-base")[0].sizes["deberta-base"]) | {"model_type": "deberta"})
    )
    save_file({"deberta.embeddings.LayerNorm.bias": np.ones(768, np.float32)}, v1 / "model.safetensors")
    with pytest.raises(SettingError, match="is a deberta, which was published with several matrices in one"):
        export_blocks(v1, out=out)
    assert not out.exists()


def test_an_onnx_file_of_it_is_made_as_of_any_folder(packed, tmp_path):
    # kills: a folder of blocks whose other precisions cannot be had
    folder = shutil.copytree(packed, tmp_path / "copy")
    exported = export(folder, precision="int8", texts=TEXTS, keep_anyway=True)
    described = FolderDescription(folder)
    one = OnnxBackend.open(described, head=None, precision="int8").vectors(IDS)
    other = OnnxBackend.open(described, head=None).vectors(IDS)
    assert exported.file.is_file() and 0 < np.abs(one - other).max() < 0.2
