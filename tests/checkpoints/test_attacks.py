"""Folders that attack whoever opens them: refused at once, in our words. Each test names the fault it kills."""

import gzip
import io
import json
import os
import pickle
import re
import resource
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

import sijo
from sijo.checkpoints import load
from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model
from sijo.checkpoints.weights import read_weights, write_weights
from sijo.errors import CheckpointError, RefusedError, SijoError
from sijo.files import paths
from sijo.files.atomic import whole_folder
from sijo.files.manifest import verify, write_manifest
from sijo.models import published

pytestmark = pytest.mark.timeout(60)  # a folder that makes us wait has won

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture(scope="module", autouse=True)
def warm(tiny_model):
    """Import all that loading needs, so that the bounds below are those of the load itself."""
    sijo.load(tiny_model)


@contextmanager
def bounded(*, seconds=1.0, megabytes=300):
    """Fail when the block computes for longer, or asks for more memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    started = time.process_time()  # not the clock: other tests run beside this one
    try:
        yield
    finally:
        taken = time.process_time() - started
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert taken < seconds, f"took {taken:.1f} s"


def must_refuse(folder, *words, kinds=(RefusedError, CheckpointError), seconds=1.0):
    """`sijo.load` refuses the folder in one sentence that has these words, at once and without memory."""
    with bounded(seconds=seconds), pytest.raises(SijoError) as caught:
        sijo.load(folder)
    told = str(caught.value)
    assert isinstance(caught.value, kinds), (type(caught.value), told)
    assert len(told) < 2000 and "\n" not in told, told
    for word in words:
        assert word in told, (word, told)


def edit(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def sharded(folder):
    """The folder's weights again, as two shards and an index. Gives the index's weight_map."""
    file = folder / "model.safetensors"
    weights = {name: torch.from_numpy(array) for name, array in load_file(file).items()}
    file.unlink()
    write_weights(folder, weights, shard_bytes=sum(tensor.nbytes for tensor in weights.values()) * 6 // 10)
    return json.loads((folder / INDEX).read_text())["weight_map"]


# Pickles


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def as_pickle(trap):
    return pickle.dumps(Trap(trap), protocol=2)


def as_new_pickle(trap):
    return pickle.dumps(Trap(trap), protocol=5)


def as_zip(trap):
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", as_pickle(trap))
    return stream.getvalue()


def as_short_pickle(trap):
    return b"\x80\x02."


def as_numpy(trap):
    np.save(stream := io.BytesIO(), np.array([Trap(trap)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def as_gzip(trap):
    return gzip.compress(as_pickle(trap))


def as_hdf5(trap):
    return b"\x89HDF\r\n\x1a\n" + as_pickle(trap)


@pytest.mark.parametrize("spoil", [as_pickle, as_zip])
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "weights.npz"]
)
def test_pickles_under_six_names(tiny_copy, tmp_path, spoil, name):
    # kills: torch.load or numpy.load, by whatever name the file goes; a refusal with no way out
    (tiny_copy / "model.safetensors").unlink()
    (tiny_copy / name).write_bytes(spoil(tmp_path / "sprung"))
    way_out = f"`sijo convert {tiny_copy} NEW`"
    must_refuse(tiny_copy, name, "a pickle, which can run code", way_out, kinds=RefusedError)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "spoil, what",
    [
        (as_pickle, "a pickle"),
        (as_new_pickle, "a pickle"),
        (as_short_pickle, "a pickle"),
        (as_zip, "a zip archive"),
        (as_numpy, "a numpy file"),
        (as_gzip, "a gzip archive"),
        (as_hdf5, "an HDF5 file"),
    ],
)
def test_pickles_in_disguise(tiny_copy, tmp_path, spoil, what):
    # kills: a look at the name alone, in one file or in a shard
    (tiny_copy / "model.safetensors").write_bytes(spoil(tmp_path / "sprung"))
    must_refuse(tiny_copy, what, "under a safetensors name", kinds=RefusedError)
    (tiny_copy / "model.safetensors").rename(tiny_copy / ONE)
    (tiny_copy / INDEX).write_text(json.dumps({"weight_map": {"weight": ONE}}))
    must_refuse(tiny_copy, what, ONE, kinds=RefusedError)
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_beside_good_weights_is_left_alone(tiny_copy, tmp_path):
    # kills: a refusal of the many folders that hold both
    (tiny_copy / "pytorch_model.bin").write_bytes(as_pickle(tmp_path / "sprung"))
    sijo.load(tiny_copy)
    assert not (tmp_path / "sprung").exists()


# Files that are not where, or what, they seem


def test_shards_open(tiny_copy, tiny_model):
    # kills: a shard left out, and shards that every test below would find refused for a reason of their own
    assert set(sharded(tiny_copy).values()) == {ONE, TWO}
    model, wanted = sijo.load(tiny_copy), sijo.load(tiny_model).state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "way", ["../outside/{}", "/{root}/outside/{}", "a/../../outside/{}", "..\\outside\\{}", "{}\0", "../spoiled/{}"]
)
def test_shards_that_lie_outside(tiny_copy, tmp_path, way):
    # kills: a file of the machine read because an index names it
    shards = sharded(tiny_copy)
    shutil.copytree(tiny_copy, tmp_path / "outside")
    name = way.format(ONE, root=str(tmp_path).lstrip("/"))
    moved = {tensor: name if shard == ONE else shard for tensor, shard in shards.items()}
    (tiny_copy / INDEX).write_text(json.dumps({"weight_map": moved}))
    must_refuse(tiny_copy, repr(name)[1:-1], "outside of it", kinds=RefusedError)


FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "manifest.json",
    INDEX,
    TWO,
]


@pytest.fixture
def folder_with(tiny_copy):
    """`folder_with(name)`: a good folder in which a file of that name is read."""

    def made(name):
        if name in (INDEX, TWO):
            sharded(tiny_copy)
        if name == "manifest.json":
            write_manifest(tiny_copy)
        return tiny_copy

    return made


@pytest.mark.parametrize("name", FILES)
def test_links_out_of_the_folder(folder_with, tmp_path, name):
    # kills: any one file that is opened by its name alone
    folder = folder_with(name)
    sijo.load(folder)
    (folder / name).rename(tmp_path / "good")
    (folder / name).symlink_to(tmp_path / "good")
    must_refuse(folder, name, "outside of it", kinds=RefusedError)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_pipes_and_folders_in_place_of_files(folder_with, name, make):
    # kills: a pipe that is waited on for ever, and a folder taken for an absent file
    folder = folder_with(name)
    (folder / name).unlink()
    make(folder / name)
    must_refuse(folder, name, "in place of a file", kinds=RefusedError)


@pytest.mark.parametrize(
    "fields", [{"auto_map": {"AutoModel": "modeling.Model"}}, {"auto_map": None}, {"auto_map": {}}]
)
def test_code_of_its_own(tiny_copy, fields):
    # kills: remote code, asked for in any form
    edit(tiny_copy / "config.json", **fields)
    must_refuse(tiny_copy, "auto_map", kinds=RefusedError)


# The header of a safetensors file


def packed(header, payload=b"", *, length=None):
    """The bytes of a safetensors file with this header, a true one or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + payload


def entry(begin, end, *, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content, word",
    [
        (packed({}, length=2**62), "a header of 4611686018427387904 bytes"),
        (packed({}, length=2**64 - 1), "a header of"),
        (packed({}, length=0), "a header of 0 bytes"),
        (packed({}, bytes(99), length=100_000_001), "a header of 100000001 bytes"),
        (packed(b"[]"), "not a JSON object"),
        (packed(b'{"a": '), "Expecting"),
        (packed(b'"\xff\xfe"'), "decode"),
        (packed(b'{"a":' * 100_000), "nested"),
        (packed(b'{"a":{},"a":{}}'), "'a' stands twice"),
        (packed({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "a runs 4 bytes into b"),
        (packed({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "a runs 8 bytes into b"),
        (packed({"a": entry(0, 8), "b": entry(12, 16)}, bytes(16)), "4 bytes between a and b"),
        (packed({"a": entry(4, 8)}, bytes(8)), "4 bytes between the header and a"),
        (packed({"a": entry(0, 8)}, bytes(12)), "4 bytes between a and the end"),
        (packed({"a": entry(0, 8)}, bytes(4)), "a runs 4 bytes into the end"),
        (packed({"a": entry(8, 0, shape=[2])}, bytes(8)), "a of shape [2]"),
        (packed({"a": entry(-4, 4)}, bytes(8)), "a has the shape [2] at -4"),
        (packed({"a": entry(0, 2**64, shape=[2**62])}, bytes(8)), "a has the shape"),
        (packed({"a": entry(0, 8, shape=[-2])}, bytes(8)), "a has the shape [-2]"),
        (packed({"a": entry(0, 8, shape=[-2, -1])}, bytes(8)), "a has the shape [-2, -1]"),
        (packed({"a": entry(0, 8, shape=[2.0])}, bytes(8)), "a has the shape [2.0]"),
        (packed({"a": entry(0, 4, shape=[True])}, bytes(4)), "a has the shape [True]"),
        (packed({"a": entry(0, 8, shape="2")}, bytes(8)), "a is not described"),
        (packed({"a": entry(0, 8, shape=[3])}, bytes(8)), "a of shape [3]"),
        (packed({"a": entry(0, 8, shape=[2**31, 2**31, 2**2])}, bytes(8)), "a of shape"),
        (packed({"a": entry(0, 8, shape=[2**62] * 500_000)}, bytes(8)), "a has the shape"),
        (packed({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "a is not described"),
        (packed({"a": entry(0, 8) | {"more": 1}}, bytes(8)), "a is not described"),
        (packed({"a": 3}), "a is not described"),
        (packed({"__metadata__": {"format": 3}, "a": entry(0, 8)}, bytes(8)), "damaged"),
        (packed({"__metadata__": ["pt"], "a": entry(0, 8)}, bytes(8)), "__metadata__"),
        (packed({"__metadata__": {"format": {"pt": "pt"}}}), "__metadata__"),
        (packed({"a": entry(0, 8, shape=[10**400])}, bytes(8)), "the number 1000"),
        (packed({"a": entry(0, 10**400)}, bytes(8)), "is too large"),
        (packed({"a": entry(0, 8, shape=[1] * 10_000)}, bytes(8)), "a has the shape"),
        (packed({"a": entry(0, 8, shape=[2] + [0] * 63 + [2])}, bytes(8)), "a has the shape"),
        (packed({"a": entry(0, 8, shape=[0, 2])}, bytes(8)), "a of shape [0, 2]"),
        (packed({"a": entry(0, 8) | {"data_offsets": ["0" * 10**6, 8]}}, bytes(8)), "a has the shape"),
        (packed({"a": entry(0, 8) | {"data_offsets": [0, 4, 8]}}, bytes(8)), "a is not described"),
        (packed({"a": entry(0, 8) | {"data_offsets": [0, [[8]]]}}, bytes(8)), "a has the shape"),
        (packed({"a": entry(0, 8) | {"dtype": ["F32"]}}, bytes(8)), "a is not described"),
        (packed(b"{}" + b" " * 16_000_000), "a header of 16000002 bytes"),
    ],
)
def test_headers_that_lie(tiny_copy, content, word):
    # kills: any claim of a header that is believed before it is checked, or told in full
    (tiny_copy / "model.safetensors").write_bytes(content)
    must_refuse(tiny_copy, "model.safetensors is damaged or cut short", word, kinds=CheckpointError)
    with pytest.raises(CheckpointError, match=re.escape(word)):
        _ = describe(tiny_copy).heads


BAD_NAMES = ["", "a\0b", "\ud800", "x" * 10**6]
ODD_NAMES = ["\x1b]0;title\x07", "\x9b31m", "a\nb", "\u202ea", "\u200b", "\u2028", "x" * 9_000]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_no_tensor_has(tiny_copy, name):
    # kills: a name that a terminal obeys, that fills a log, or that cannot be written at all
    weights = load_torch(tiny_copy / "model.safetensors")
    header = (tiny_copy / "model.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    fields, payload = json.loads(header[8 : 8 + length]), header[8 + length :]
    fields[name] = entry(len(payload), len(payload) + 4)
    (tiny_copy / "model.safetensors").write_bytes(packed(fields, payload + bytes(4)))
    must_refuse(tiny_copy, "is no name of a tensor", kinds=CheckpointError)
    (tiny_copy / "model.safetensors").unlink()
    write_weights(tiny_copy, weights, shard_bytes=sum(tensor.nbytes for tensor in weights.values()) * 6 // 10)
    index = json.loads((tiny_copy / INDEX).read_text())
    index["weight_map"][name] = ONE
    (tiny_copy / INDEX).write_text(json.dumps(index))
    must_refuse(tiny_copy, INDEX, "is no name of a tensor", kinds=CheckpointError)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_told_in_brief_and_escaped(tiny_copy, name):
    # kills: a name that a terminal obeys, or that fills a log, in an error about it
    file = tiny_copy / "model.safetensors"
    whole = load_torch(file)
    save_torch(whole | {name: torch.ones(1)}, file)
    assert sijo.load(tiny_copy).unused == (name,)
    for header in (
        {name: entry(0, 8, dtype="F99")},
        {name: entry(0, 8) | {"more": 1}},
        {name: entry(4, 8)},
        {name: entry(0, 8, shape=[-1])},
        {name: entry(0, 8), f"{name}.": entry(4, 12)},
    ):
        file.write_bytes(packed(header, bytes(8)))
        with pytest.raises((RefusedError, CheckpointError)) as caught:
            sijo.load(tiny_copy)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 900, header
    save_torch(whole, file)
    sharded(tiny_copy)
    index = json.loads((tiny_copy / INDEX).read_text())
    index["weight_map"][name] = ONE
    (tiny_copy / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="does not hold the tensors") as caught:
        sijo.load(tiny_copy)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 900


@pytest.mark.parametrize("count, shape", [(200_000, [0]), (150_000, [0, 3]), (120_000, [1])])
def test_a_file_of_very_many_tensors(tiny_copy, count, shape):
    # kills: minutes and gigabytes for tensors that hold nothing
    item = 4 * shape[0]
    header = {f"{n}": entry(n * item, (n + 1) * item, shape=shape) for n in range(count)}
    (tiny_copy / "model.safetensors").write_bytes(packed(header, bytes(count * item)))
    must_refuse(tiny_copy, "model.safetensors", kinds=CheckpointError, seconds=4)


INTEGERS = [np.int64, np.int32, np.int16, np.int8, np.uint8, bool]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize(
    "names",
    [
        ["embeddings.word_embeddings.weight"],
        ["embeddings.LayerNorm.bias"],
        ["encoder.layer.1.output.dense.weight"],
        ["pooler.dense.weight"],
        None,
    ],
)
def test_integers_in_place_of_floats(tiny_copy, sijo_cli, kind, names):
    # kills: an error of torch's in place of ours, and a network that reads rounded numbers as they are
    file = tiny_copy / "model.safetensors"
    weights = load_file(file)
    save_file(weights | {name: weights[name].astype(kind) for name in names or weights}, file)
    must_refuse(tiny_copy, "no floats", f"({np.dtype(kind).name})", "float32", kinds=RefusedError)
    sijo_cli("inspect", tiny_copy).must_say(4, "no floats")


def test_integers_that_nobody_reads(tiny_copy, tiny_model):
    # kills: a refusal of the many checkpoints that count their positions in a tensor, and one of other floats
    file, weights = tiny_copy / "model.safetensors", load_file(tiny_copy / "model.safetensors")
    counts = {"embeddings.position_ids": np.arange(64)[None], "extra.scales": np.ones(3, np.int8)}
    save_file(weights | counts | {"none": np.ones((0, 5), np.float32)}, file)
    model = sijo.load(tiny_copy)
    assert model.unused == ("extra.scales", "none")
    want = sijo.load(tiny_model).state_dict()
    save_file({name: tensor.astype(np.float64) for name, tensor in weights.items()}, file)
    got = sijo.load(tiny_copy).state_dict()
    assert all(torch.equal(tensor, want[name]) and tensor.dtype == torch.float32 for name, tensor in got.items())


@pytest.mark.parametrize("shape", [(), (0, 16), (7, 16), (47,), (1, 1, 48, 16), (48, 16, 1)])
def test_three_matrices_in_one_of_another_shape(tmp_path, shape):
    # kills: an error of torch's where a matrix is taken apart before its shape was looked at
    family, fields = published("deberta-base")[0], dict(published("deberta-base")[0].sizes["deberta-base"])
    fields |= {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    fields |= {"vocab_size": 60, "max_position_embeddings": 64, "max_relative_positions": 8}
    folder = sijo.save(Model(family, fields, {}).eval(), tmp_path / "deberta")
    (folder / "manifest.json").unlink()
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("in_proj.weight"))
    assert weights[name].shape == (48, 16)
    save_file(weights | {name: np.zeros(shape, np.float32)}, folder / "model.safetensors")
    must_refuse(folder, "in_proj.weight", "another shape", kinds=CheckpointError)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "U16", "I128", "x" * 10**6, "C64", "F33", ""])
def test_dtypes_that_sijo_lacks(tiny_copy, dtype):
    # kills: bytes read as another kind of number
    (tiny_copy / "model.safetensors").write_bytes(packed({"a": entry(0, 8, dtype=dtype)}, bytes(8)))
    must_refuse(tiny_copy, f"a is of dtype {dtype!r:.60}", "BF16", kinds=RefusedError)


def test_good_headers_of_every_kind(tmp_path):
    # kills: a check that refuses what the format allows
    weights = {
        "f": np.ones((2, 3), np.float64),
        "none": np.ones((0, 5), np.float32),
        "one": np.array(3, np.int64),
        "odd": np.ones(3, np.int8),
        "half": np.ones(5, np.float16),
        "keep": np.ones(7, bool),
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    read = read_weights(tmp_path)
    assert {name: tensor.numpy().tolist() for name, tensor in read.items()} == {
        name: array.tolist() for name, array in weights.items()
    }
    with pytest.raises(FileExistsError):  # `read` is mapped from it
        write_weights(tmp_path, read)
    (tmp_path / "again").mkdir()
    write_weights(tmp_path / "again", read | {"brain": torch.tensor([1.5], dtype=torch.bfloat16)})
    assert load_torch(tmp_path / "again/model.safetensors").keys() == {*weights, "brain"}
    (tmp_path / "model.safetensors").write_bytes(packed(b"{}      "))
    assert read_weights(tmp_path) == {}


def test_weights_cut_short_at_64_places(tiny_copy):
    # kills: a file read without its end, wherever the end is
    file = tiny_copy / "model.safetensors"
    whole = file.read_bytes()
    for place in range(0, len(whole), len(whole) // 63):
        file.write_bytes(whole[:place])
        must_refuse(tiny_copy, "damaged or cut short", kinds=CheckpointError)


# An index that lies


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda index, one: index["weight_map"].pop(one), ["unasked"]),
        (lambda index, one: index["weight_map"].update(more=ONE), ["no more"]),
        (lambda index, one: index["weight_map"].update({one: TWO}), ["embeddings"]),
        (lambda index, one: index["weight_map"].update({one: "model-00003-of-00002.safetensors"}), ["absent"]),
        (lambda index, one: index["weight_map"].update({one: 3}), ["weight_map"]),
        (lambda index, one: index["weight_map"].update({one: None}), ["weight_map"]),
        (lambda index, one: index.update(weight_map=[]), ["weight_map"]),
        (lambda index, one: index.update(weight_map={}), ["weight_map"]),
        (lambda index, one: index.pop("weight_map"), ["weight_map"]),
        (lambda index, one: index.update(weight_map={f"w{i}": f"{i}.safetensors" for i in range(5000)}), ["1000"]),
    ],
)
def test_an_index_that_does_not_fit_its_shards(tiny_copy, change, words):
    # kills: a tensor missing, unasked or in the wrong shard that is passed over
    shards = sharded(tiny_copy)
    index = {"metadata": {}, "weight_map": shards}
    change(index, next(name for name, shard in shards.items() if shard == ONE))
    (tiny_copy / INDEX).write_text(json.dumps(index))
    must_refuse(tiny_copy, *words, kinds=CheckpointError)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"weight_map": {f"w{n}": f"{n}.safetensors" for n in range(100_000)}}),
        json.dumps({"weight_map": {f"w{n}": ONE for n in range(200_000)}}),
        f'{{"weight_map": {{"a": "{ONE}", "a": "{TWO}"}}}}',
        f'{{"weight_map": {{"a": "{ONE}"}}, "weight_map": {{"a": "{TWO}"}}}}',
        json.dumps({"weight_map": {"a": "x" * 10**6}}),
        json.dumps({"weight_map": {"a": f"{'a/' * 5000}b"}}),
        json.dumps({"weight_map": {"a": ""}}),
    ],
)
def test_an_index_that_cannot_be(tiny_copy, content):
    # kills: a hundred thousand files looked for; the last of two names; a name told in full
    sharded(tiny_copy)
    (tiny_copy / INDEX).write_text(content)
    must_refuse(tiny_copy, seconds=2)


def test_an_index_of_many_tensors_in_many_files(tmp_path):
    # kills: every tensor compared with every shard
    tensors = {f"t{n}": torch.zeros(1) for n in range(50_000)}
    write_weights(tmp_path, tensors, shard_bytes=4 * 60)
    with bounded(seconds=8):
        assert read_weights(tmp_path).keys() == tensors.keys()


def test_a_tensor_in_two_shards(tiny_copy):
    # kills: the last one read wins
    shards = sharded(tiny_copy)
    weights = {name: load_file(tiny_copy / name) for name in (ONE, TWO)}
    name = next(iter(weights[ONE]))
    save_file(weights[TWO] | {name: weights[ONE][name]}, tiny_copy / TWO)
    must_refuse(tiny_copy, f"{name} twice", kinds=CheckpointError)
    assert shards[name] == ONE


# JSON and numbers that lie


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "modules.json", "manifest.json", INDEX])
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'{"model_type": "bert", "model_type": "bert"}',
        b"\xff\xfe{}\0",
        b"{} {}",
    ],
    ids=["lists", "objects", "twice", "encoding", "two"],
)
def test_json_that_is_none(folder_with, name, content):
    # kills: a RecursionError, the last of two names taken in silence, an error of Python's in place of ours
    folder = folder_with(name)
    (folder / name).write_bytes(content)
    must_refuse(folder, name, kinds=CheckpointError)


def test_a_tokenizer_nested_just_deeply_enough(tiny_copy):
    # kills: a RecursionError of our own search, where the JSON reader still had breath
    file = tiny_copy / "tokenizer.json"
    whole = file.read_text().rstrip()[:-1]
    for depth in [150, 500, *range(800, sys.getrecursionlimit(), 3)]:
        file.write_text(f'{whole}, "more": {"[" * depth}{"]" * depth}}}')
        must_refuse(tiny_copy, "tokenizer.json")


PATTERN = {"Regex": "(a+)+$"}


@pytest.mark.parametrize(
    "part, value",
    [
        ("pre_tokenizer", {"type": "Split", "pattern": PATTERN, "behavior": "Isolated", "invert": False}),
        ("normalizer", {"type": "Replace", "pattern": PATTERN, "content": ""}),
        ("decoder", {"type": "Replace", "pattern": PATTERN, "content": ""}),
        (
            "normalizer",
            {
                "type": "Sequence",
                "normalizers": [{"type": "Lowercase"}, {"type": "Replace", "pattern": PATTERN, "content": ""}],
            },
        ),
    ],
)
def test_tokenizers_that_run_for_ever(tiny_copy, part, value):
    # kills: a pattern of the file's author, run on every text
    edit(tiny_copy / "tokenizer.json", **{part: value})
    must_refuse(tiny_copy, "tokenizer.json", "regular expression", kinds=RefusedError)


@pytest.mark.parametrize(
    "fields", ['"pattern": {"String": "a"}, "pattern": {"Regex": "(a+)+$"}', r'"pattern": {"R\u0065gex": "a"}']
)
def test_a_pattern_in_hiding(tiny_copy, fields):
    # kills: a search in the text of the file; two readers that take a different one of two values
    edit(tiny_copy / "tokenizer.json", normalizer="HERE")
    text = (tiny_copy / "tokenizer.json").read_text()
    hidden = f'{{"type": "Replace", "content": "", {fields}}}'
    (tiny_copy / "tokenizer.json").write_text(text.replace('"HERE"', hidden))
    must_refuse(tiny_copy, "tokenizer.json")


def test_tokens_beyond_the_table(tiny_copy):
    # kills: tokens that are counted where their numbers matter, so that the first text that has one is a crash
    file = tiny_copy / "tokenizer.json"
    whole = json.loads(file.read_text())
    vocabulary = dict(whole["model"]["vocab"]) | {"sea": 1_000_000}
    file.write_text(json.dumps(whole | {"model": whole["model"] | {"vocab": vocabulary}}))
    must_refuse(tiny_copy, "different models", kinds=CheckpointError)

    special = {"[CLS]": {"id": "[CLS]", "ids": [1_000_000], "tokens": ["[CLS]"]}}
    processor = whole["post_processor"]
    file.write_text(
        json.dumps(
            whole | {"post_processor": processor | {"special_tokens": processor["special_tokens"] | special}}
        )
    )
    must_refuse(tiny_copy, "an id for '[CLS]' that no token has", kinds=CheckpointError)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "manifest.json", INDEX, "modules.json"])
def test_files_of_forty_gigabytes(folder_with, name):
    # kills: a file taken into memory before its length is looked at
    folder = folder_with(name)
    with (folder / name).open("ab") as file:
        file.truncate(40 * 2**30)
    must_refuse(folder, name, kinds=CheckpointError)


SIZES = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
]
NUMBERS = ["1000000", "1000000000", "1" + "0" * 30, "1" + "0" * 5000, "-1", "NaN", "Infinity", "1e999", "1e3"]


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [*NUMBERS, '"12"', "true", "[12]", "{}", "2.5"])
def test_sizes_that_cannot_be(tiny_copy, field, value):
    # kills: a network laid out before its size is judged; a bool or a string taken for a number
    config = json.loads((tiny_copy / "config.json").read_text()) | {field: "HERE"}
    (tiny_copy / "config.json").write_text(json.dumps(config).replace('"HERE"', value))
    must_refuse(tiny_copy)


def test_sizes_that_are_each_allowed_and_too_much_together(tiny_copy):
    # kills: a bound for each field and none for their product; minutes spent on layers that are not there
    edit(
        tiny_copy / "config.json",
        vocab_size=10_000_000,
        hidden_size=65_536,
        num_hidden_layers=1_000,
        intermediate_size=1_048_576,
    )
    must_refuse(tiny_copy, seconds=2.0)


# Damage


def test_a_flipped_bit_in_a_saved_folder(tiny_model, tmp_path):
    # kills: a manifest that load does not look at; without it a flipped bit of a weight is just another number
    with whole_folder(tmp_path / "saved") as fresh:
        shutil.copytree(tiny_model, fresh, dirs_exist_ok=True)
    sijo.load(tmp_path / "saved")
    chance = np.random.default_rng(3)
    for file in sorted(path for path in (tmp_path / "saved").rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for place in chance.integers(0, len(whole), 1 if file.name == "manifest.json" else 6):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(chance.integers(0, 8))
            file.write_bytes(damaged)
            if file.name == "manifest.json":  # a flip in sijo's version there says nothing of the model
                continue
            must_refuse(tmp_path / "saved", file.name, "manifest.json", kinds=CheckpointError)
        file.write_bytes(whole)
    sijo.load(tmp_path / "saved")


# Nothing is run, nothing outside is opened


WATCH = """
import json, os, sys
import sijo
from sijo.errors import SijoError

good, *spoiled = sys.argv[1:]
sijo.load(good)                     # imports what loading needs; from here on nothing else may be touched
seen = None

def watch(event, arguments):
    if seen is not None and event.partition(".")[0] in (
        "open", "exec", "compile", "import", "pickle", "os", "subprocess", "socket", "ctypes", "shutil", "marshal"
    ):
        what = str(arguments[0]) if arguments else ""
        if event == "open" and "/" not in what and arguments[2] & os.O_NOFOLLOW:
            what = "a part of a way"    # within the folder that was entered before it, and no link
        seen.append([event, what])

sys.addaudithook(watch)
for folder in [good, *spoiled]:
    seen = []
    try:
        sijo.load(folder)
        answer = "opened"
    except SijoError as error:
        answer = type(error).__name__
    told, seen = seen, None
    print(json.dumps([folder, answer, told]))
"""


@pytest.fixture
def spoiled(tiny_model, tmp_path):
    """A folder of each kind of attack, and what must come of it; the traps leave a file `sprung`."""
    trap, wanted = tmp_path / "sprung", {}
    shutil.copytree(tiny_model, tmp_path / "outside")

    def copy(name, outcome="RefusedError"):
        folder = Path(shutil.copytree(tiny_model, tmp_path / name))
        wanted[str(folder)] = outcome
        for code in ("modeling.py", "sitecustomize.py", "torch.py", "__init__.py"):
            (folder / code).write_text(f"open({str(trap)!r}, 'w')\n")
        return folder

    for spoil in (as_pickle, as_zip):
        for name in ("model.safetensors", "pytorch_model.bin", "model.pt", "weights.npz"):
            folder = copy(f"{spoil.__name__}-{name}")
            (folder / "model.safetensors").unlink()
            (folder / name).write_bytes(spoil(trap))
    edit(copy("code") / "config.json", auto_map={"AutoModel": "modeling.Model"})
    (copy("steps") / "modules.json").write_text('[{"type": "modeling.Pooling", "path": "../outside/1_Pooling"}]')
    for name in FILES[:6]:
        folder = copy(f"link-{name.replace('/', '-')}")
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "outside" / name)
    folder = copy("linked-folder")
    shutil.rmtree(folder / "1_Pooling")
    (folder / "1_Pooling").symlink_to(tmp_path / "outside/1_Pooling")
    for number, name in enumerate(["../outside/model.safetensors", str(tmp_path / "outside/model.safetensors")]):
        folder = copy(f"index-{number}")
        (folder / "model.safetensors").unlink()
        (folder / INDEX).write_text(json.dumps({"weight_map": {"embeddings.LayerNorm.weight": name}}))
    folder = copy("manifest")
    outside = {"../outside/config.json": {"bytes": 3, "sha256": "0"}}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": outside}))
    (copy("cut", "CheckpointError") / "model.safetensors").write_bytes(packed({}, length=2**62))
    (copy("deep", "CheckpointError") / "config.json").write_text("[" * 100_000)
    os.mkfifo(copy("pipe") / "vocab.txt")
    (tmp_path / "pipe/config.json").unlink()
    os.mkfifo(tmp_path / "pipe/config.json")
    with whole_folder(tmp_path / "saved") as fresh:
        shutil.copytree(tiny_model, fresh, dirs_exist_ok=True)
    wanted[str(tmp_path / "saved")] = "opened"
    sharded(copy("shards", "opened"))
    return trap, wanted


def test_nothing_is_run_and_nothing_outside_is_opened(tiny_model, tmp_path, spoiled):
    # kills: anything that runs code of a folder, or opens a file it names, whatever becomes of the load;
    # in a process of its own, since an audit hook stays for ever
    trap, folders = spoiled
    command = [sys.executable, "-P", "-c", WATCH, str(tiny_model), *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path / "code", timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {folder: answer for folder, answer, _ in told} == {str(tiny_model): "opened"} | folders
    for folder, answer, events in told:
        strange = [
            (event, what)
            for event, what in events
            if not (event == "open" and (f"{what}/".startswith(f"{folder}/") or what == "a part of a way"))
            and event not in ("os.listdir", "os.scandir", "os.walk")
        ]
        assert strange == [], (folder, strange)
        assert all("/../" not in what and not Path(what).is_symlink() for event, what in events if event == "open")
        assert answer != "opened" or events  # the hook does see
    assert not trap.exists()


# What is verified is what is used


SWAPPED = ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"]


def in_place(file, content):
    with file.open("r+b") as opened:
        opened.write(content)
        opened.truncate()


def by_another(file, content):
    file.with_name("other").write_bytes(content)
    file.with_name("other").replace(file)


@pytest.mark.parametrize("name", [*SWAPPED, "manifest.json"])
@pytest.mark.parametrize("change", [in_place, by_another])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_changed_right_after_the_check(tiny_copy, tmp_path, monkeypatch, name, change, mapped):
    # kills: a folder that is verified by its names, then opened by its names once more
    with whole_folder(tmp_path / "saved") as fresh:
        shutil.copytree(tiny_copy, fresh, dirs_exist_ok=True)
    other = evil(tmp_path / "saved", name)
    if mapped:
        monkeypatch.setattr(paths, "READ_WHOLE", 10)
    verified = load.verify

    def verify(folder):
        seal = verified(folder)
        change(folder / name, other)
        return seal

    monkeypatch.setattr(load, "verify", verify)
    must_refuse(tmp_path / "saved", name, kinds=CheckpointError)


@pytest.mark.parametrize("name", SWAPPED)
@pytest.mark.parametrize("change", [in_place, by_another])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_changed_once_it_was_read(tiny_copy, tmp_path, monkeypatch, name, change, mapped):
    # kills: a page of a mapped file that is written to between its hash and its use
    with whole_folder(tmp_path / "saved") as fresh:
        shutil.copytree(tiny_copy, fresh, dirs_exist_ok=True)
    other = evil(tmp_path / "saved", name)
    if mapped:
        monkeypatch.setattr(paths, "READ_WHOLE", 10)
    described = load.FolderDescription._tokenizer.func

    def tokenizer(self):  # the last that is read
        found = described(self)
        change(self.folder / name, other)
        return found

    changing = cached_property(tokenizer)
    changing.__set_name__(load.FolderDescription, "_tokenizer")
    monkeypatch.setattr(load.FolderDescription, "_tokenizer", changing)
    must_refuse(tmp_path / "saved", name, "changed while it was read", kinds=CheckpointError)


def evil(folder, name):
    """Other content for a file, as long as the file, that would open just as well."""
    content = (folder / name).read_bytes()
    if name == "model.safetensors":
        return content[:-400] + bytes(400)
    return content.replace(b"gelu", b"relu").replace(b": ", b":  ")


def test_a_folder_replaced_while_it_is_read(tiny_copy, tmp_path, monkeypatch):
    # kills: the config of one model with the weights of the next, each as its own manifest says
    for place, scale in (("saved", 1), ("next", 2)):
        weights = {name: scale * array for name, array in load_file(tiny_copy / "model.safetensors").items()}
        save_file(weights, tiny_copy / "model.safetensors")
        with whole_folder(tmp_path / place) as fresh:
            shutil.copytree(tiny_copy, fresh, dirs_exist_ok=True)
    read = load.read_weights

    def then(folder):
        folder.rename(tmp_path / "before")
        (tmp_path / "next").rename(folder)
        return read(folder)

    monkeypatch.setattr(load, "read_weights", then)
    must_refuse(tmp_path / "saved", "changed while it was read", kinds=CheckpointError)


@pytest.mark.parametrize("name", ["model.safetensors", "modules.json", "adapter_config.json", "vocab.txt"])
def test_a_file_added_to_a_saved_folder(tiny_copy, sijo_cli, tmp_path, name):
    # kills: a stray file that wins over those that the manifest proves
    added = (tiny_copy / name).read_bytes() if (tiny_copy / name).exists() else b"{}"
    if name == "model.safetensors":
        sharded(tiny_copy)
    (tiny_copy / name).unlink(missing_ok=True)
    write_manifest(tiny_copy)
    sijo.load(tiny_copy)
    (tiny_copy / name).write_bytes(added)
    must_refuse(tiny_copy, name, "is not among the files that manifest.json lists", kinds=CheckpointError)
    sijo_cli("inspect", tiny_copy).must_say(5, name, "is not among the files")
    sijo_cli("convert", tiny_copy, tmp_path / "new").must_say(5, name, "is not among the files")
    with pytest.raises(CheckpointError, match="is not among the files"):
        described = describe(tiny_copy)
        _ = described.heads, described.sentence, described.tokenizer
        verify(tiny_copy)


def test_a_card_may_be_edited(tiny_copy, sijo_cli):
    # kills: a model that will not open because a person mended its card
    (tiny_copy / "README.md").write_text("---\nlicense: mit\n---\n")
    write_manifest(tiny_copy)
    (tiny_copy / "README.md").write_text("---\nlicense: apache-2.0\n---\nA better card.\n")
    sijo.load(tiny_copy)
    ran = sijo_cli("inspect", tiny_copy)
    assert ran.code == 0 and ran.rows()[0]["licence"] == "apache-2.0"
