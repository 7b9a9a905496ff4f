"""Matrices in blocks of 4 and 8 bits: what they stand for, in numbers of plain Python, and what is refused."""

import json
import math
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import sijo
from conftest import tiny_weights
from sijo.checkpoints.blocks import block_numbers, exact_blocks, quantized_blocks
from sijo.checkpoints.contents import inspect
from sijo.checkpoints.conversion.convert import convert
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.weights import read_weights
from sijo.errors import CheckpointError, RefusedError
from sijo.files.manifest import write_manifest

QUERY = "encoder.layer.1.attention.self.query.weight"
WORDS = "embeddings.word_embeddings.weight"
FILE = "model_blocks.safetensors"
CHANCE = np.random.default_rng(3)


def reference_matrix(blocks, scales, bits):
    """A matrix as lists of floats, of nested lists of bytes and of scales: byte by byte, the lower half first."""
    rows = []
    for row_blocks, row_scales in zip(blocks, scales, strict=True):
        row = []
        for block, scale in zip(row_blocks, row_scales, strict=True):
            for byte in block:
                codes = [byte] if bits == 8 else [byte % 16, byte // 16]
                row += [(code - (128 if bits == 8 else 8)) * scale for code in codes]
        rows.append(row)
    return rows


def in_blocks(weights, *, bits=4, table_bits=8, half=False):
    """The tiny model's tensors with all matrices of its layers, and its table, in blocks of 16."""
    packed = {}
    for name, array in weights.items():
        if name != WORDS and not (name.startswith("encoder") and array.ndim == 2):
            packed[name] = array
            continue
        of = table_bits if name == WORDS else bits
        held = quantized_blocks(array, bits=of, block=16, half=half)
        packed[f"{name}.blocks{of}"], packed[f"{name}.scales"] = held
    return packed


def put(folder, weights):
    """Let a folder have these tensors, in the file of those in blocks."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    save_file(weights, folder / FILE, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32])
def test_blocks_stand_for_the_numbers_of_a_reference(bits, block):
    # kills: halves of a byte the other way round, a middle of 7 or 127, the scale of a neighbouring block
    blocks = CHANCE.integers(0, 256, (5, 3, block * bits // 8), np.uint8)
    scales = CHANCE.normal(0, 1, (5, 3)).astype(np.float32)
    want = np.array(reference_matrix(blocks.tolist(), scales.tolist(), bits))
    got = block_numbers(blocks, scales, bits=bits)
    assert got.dtype == np.float32 and got.shape == (5, 3 * block)
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("bits, share", [(4, 1 / 16), (8, 1 / 254)])
def test_no_number_is_off_by_more_than_half_a_step(bits, share):
    # kills: a code that is cut off at the wrong end, a scale of the whole row
    weight = CHANCE.normal(0, 1, (7, 96)).astype(np.float32) * np.repeat([1e-3, 1.0, 50.0], 32)
    off = np.abs(block_numbers(*quantized_blocks(weight, bits=bits, block=32), bits=bits) - weight)
    largest = np.abs(weight).reshape(7, 3, 32).max(-1, keepdims=True)
    # of 4 bits codes end at +7 of the side that is not the largest number's
    assert (off.reshape(7, 3, 32) <= largest * (share if bits == 8 else 2 * share) * 1.001).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_are_those_for_scales_of_16_bits(bits):
    # kills: codes for scales as they were before they were rounded
    weight = CHANCE.normal(0, 1, (50, 64)).astype(np.float32)
    codes, scales = quantized_blocks(weight, bits=bits, block=32, half=True)
    whole = quantized_blocks(weight, bits=bits, block=32)[1]
    assert scales.dtype == np.float16 and (scales == whole.astype(np.float16)).all()
    off = np.abs(block_numbers(codes, scales, bits=bits) - weight).reshape(50, 2, 32)
    steps = off / np.abs(scales.astype(np.float32))[..., None]
    ends = codes.reshape(50, 2, -1) if bits == 8 else np.stack([codes & 15, codes >> 4], -1).reshape(50, 2, 32)
    assert steps[ends < (255 if bits == 8 else 15)].max() <= 0.5001


@pytest.mark.parametrize("smallest", [1e-7, 6e-5, 7e4])
def test_scales_that_16_bits_cannot_hold_stay_of_32(smallest):
    # kills: a block that becomes 0, infinite or has few digits
    weight = CHANCE.normal(0, 1, (3, 64)).astype(np.float32)
    weight[1, 32:] = np.linspace(-127, 127, 32, dtype=np.float32) * np.float32(smallest)
    codes, scales = quantized_blocks(weight, bits=8, block=32, half=True)
    want_codes, want = quantized_blocks(weight, bits=8, block=32)
    assert scales.dtype == np.float32 and (scales == want).all() and (codes == want_codes).all()


@pytest.mark.parametrize("smallest, kind", [(0.0078125, np.float16), (1.5e-6, np.float32), (0.1, np.float32)])
def test_a_matrix_on_a_grid_of_4_bits_is_itself_again(monkeypatch, smallest, kind):
    # kills: a grid that is not seen, scales that are rounded off it, rows of one part that get another's scales
    monkeypatch.setattr("sijo.checkpoints.blocks.ROWS_AT_ONCE", 4)
    codes = CHANCE.integers(-8, 8, (9, 3, 32))
    codes[..., 5] = -8  # the number of the largest size, as Q4_0 has it
    codes[4, 1] = 0
    scales = np.float32(smallest) * CHANCE.choice([1, -2, 3], (9, 3, 1)).astype(np.float32)
    weight = (codes.astype(np.float32) * scales).reshape(9, 96)
    blocks, found = exact_blocks(weight, block=32)
    assert found.dtype == kind and blocks.shape == (9, 3, 16)
    assert (block_numbers(blocks, found, bits=4) == weight).all()
    if kind == np.float16:
        assert (found[:4] == scales[:4, :, 0]).all() and found[4, 1] == 1


@pytest.mark.parametrize("row", [0, 8])
def test_one_number_beside_the_grid_is_seen(monkeypatch, row):
    # kills: a matrix that is taken for exact within a tolerance, or by its first rows
    monkeypatch.setattr("sijo.checkpoints.blocks.ROWS_AT_ONCE", 4)
    weight = np.tile(np.arange(-8, 8, dtype=np.float32), (9, 4)) * np.float32(0.25)
    assert exact_blocks(weight, block=32) is not None
    weight[row, 40] = np.nextafter(weight[row, 40], np.float32(9))
    assert exact_blocks(weight, block=32) is None


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("bits, table_bits", [(4, 4), (4, 8), (8, 8)])
def test_a_folder_is_opened_with_what_its_blocks_stand_for(tiny_copy, bits, table_bits, half):
    # kills: a table read with the bits of the matrices, tensors of blocks that are left among the weights, scales
    # of 16 bits that are read otherwise
    packed = in_blocks(tiny_weights(), bits=bits, table_bits=table_bits, half=half)
    assert packed[f"{QUERY}.scales"].dtype == (np.float16 if half else np.float32)
    model = sijo.load(put(tiny_copy, packed))
    assert model.unused == () and model.dtype == "float32"
    tensors = model.state_dict()
    for name, ours in ((QUERY, "blocks.1.attention.query.weight"), (WORDS, "embeddings.tokens.weight")):
        of = table_bits if name == WORDS else bits
        blocks, scales = packed[f"{name}.blocks{of}"], packed[f"{name}.scales"]
        want = torch.tensor(reference_matrix(blocks.tolist(), scales.tolist(), of))
        torch.testing.assert_close(tensors[f"transformer.{ours}"], want, rtol=1e-6, atol=0)


def test_a_head_is_found_beside_blocks(tiny_copy):
    # kills: names of heads that are looked for among the names of blocks
    weights = tiny_weights() | {"classifier.weight": np.ones((2, 16), np.float32)}
    weights = {f"bert.{name}" if name[:4] != "clas" else name: array for name, array in weights.items()}
    packed = {}
    for name, array in in_blocks({name.removeprefix("bert."): array for name, array in weights.items()}).items():
        packed[name if name.startswith("classifier") else f"bert.{name}"] = array
    put(tiny_copy, packed | {"classifier.bias": np.zeros(2, np.float32)})
    assert "sequence-classification" in FolderDescription(tiny_copy).heads
    assert sijo.load(tiny_copy, "sequence-classification").unused == ()


def test_what_is_in_the_folder_is_told(tiny_copy):
    # kills: parameters counted by bytes, a dtype of which nothing is said
    whole, packed = inspect(tiny_copy)[0], inspect(put(tiny_copy, in_blocks(tiny_weights())))[0]
    assert packed["dtype"] == "4 bits in blocks and 8 bits in blocks and float32"
    assert packed["parameters_by_part"] == whole["parameters_by_part"] and packed["unused"] == []
    assert packed["would_not_load"] == {}


SPOILED = {
    "codes of another type": (lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"].view(np.int8)}, "dtype I8"),
    "a matrix for blocks": (lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"][:, 0]}, r"shape \[16, 8\]"),
    "blocks of 12": (lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"][..., :6]}, r"shape \[16, 1, 6\]"),
    "blocks of none": (lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"][..., :0]}, r"shape \[16, 1, 0\]"),
    "no rows": (
        lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"][:0], f"{QUERY}.scales": t[f"{QUERY}.scales"][:0]},
        r"shape \[0, 1, 8\]",
    ),
    "no scales": (lambda t: {name: a for name, a in t.items() if name != f"{QUERY}.scales"}, "no scale"),
    "scales in float64": (
        lambda t: {**t, f"{QUERY}.scales": t[f"{QUERY}.scales"].astype(np.float64)},
        "no scale in float16 or float32",
    ),
    "scales of whole numbers": (
        lambda t: {**t, f"{QUERY}.scales": np.ones((16, 1), np.int8)},
        "no scale in float16 or float32",
    ),
    "scales in float16 of fewer rows": (
        lambda t: {**t, f"{QUERY}.scales": t[f"{QUERY}.scales"][:8].astype(np.float16)},
        "no scale in float16 or float32",
    ),
    "scales of fewer rows": (lambda t: {**t, f"{QUERY}.scales": t[f"{QUERY}.scales"][:8]}, "no scale"),
    "scales of more blocks": (
        lambda t: {**t, f"{QUERY}.scales": np.repeat(t[f"{QUERY}.scales"], 2, 1)},
        "for each of its blocks",
    ),
    "twice in blocks": (
        lambda t: {**t, f"{QUERY}.blocks8": np.full((16, 1, 16), 128, np.uint8)},
        "is there twice",
    ),
    "in blocks and as it is": (lambda t: {**t, QUERY: np.ones((16, 16), np.float32)}, "is there twice"),
    "without a name": (lambda t: {**t, ".blocks4": np.ones((1, 1, 8), np.uint8)}, "no scale|there twice"),
    "of fewer rows": (
        lambda t: {**t, f"{QUERY}.blocks4": t[f"{QUERY}.blocks4"][:8], f"{QUERY}.scales": t[f"{QUERY}.scales"][:8]},
        "have another shape",
    ),
    "wider": (
        lambda t: {
            **t,
            f"{QUERY}.blocks4": np.repeat(t[f"{QUERY}.blocks4"], 2, 1),
            f"{QUERY}.scales": np.repeat(t[f"{QUERY}.scales"], 2, 1),
        },
        "have another shape",
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_no_blocks_can_be_is_damage(tiny_copy, what):
    # kills: a shape, a type or a partner that is not looked at, and numbers of another matrix that come of it
    spoil, words = SPOILED[what]
    tensors = {name: np.ascontiguousarray(array) for name, array in spoil(in_blocks(tiny_weights())).items()}
    put(tiny_copy, tensors)
    with pytest.raises(CheckpointError, match=words):
        sijo.load(tiny_copy)


@pytest.mark.parametrize(
    "value, half",
    [
        *((value, False) for value in (0.0, -0.0, math.nan, math.inf, -math.inf, 3e38, -2e30)),
        *((value, True) for value in (0.0, -0.0, math.nan, math.inf, -math.inf)),
    ],
)
@pytest.mark.parametrize("name", [QUERY, WORDS])
def test_a_scale_that_no_weight_has_is_damage(tiny_copy, name, value, half):
    # kills: a block that is silently 0 or infinite, a check of the first scale alone, a limit beyond float16
    packed = in_blocks(tiny_weights(), half=half)
    packed[f"{name}.scales"][-1, -1] = value
    with pytest.raises(CheckpointError, match=f"1 of .* scales of {name} are 0, NaN or beyond"):
        sijo.load(put(tiny_copy, packed))


def test_absurd_sizes_and_short_files_are_damage(tiny_copy):
    # kills: memory that is asked for because a header says so
    put(tiny_copy, in_blocks(tiny_weights()))
    file = tiny_copy / FILE
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header[f"{QUERY}.blocks4"]["shape"] = [2**40, 2**20, 8]
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(CheckpointError, match="does not take bytes"):
        sijo.load(tiny_copy)
    file.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        sijo.load(tiny_copy)


def test_a_flipped_bit_is_found_by_the_manifest(tiny_copy):
    # kills: blocks that are read past the manifest
    put(tiny_copy, in_blocks(tiny_weights()))
    write_manifest(tiny_copy)
    file = tiny_copy / FILE
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        sijo.load(tiny_copy)


def test_converted_it_is_an_ordinary_folder_for_others(tiny_copy, tmp_path):
    # kills: a file that others take for their own and fill up at random, numbers that are rounded once more
    from transformers import AutoModel

    put(tiny_copy, in_blocks(tiny_weights()))
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModel.from_pretrained(tiny_copy)
    save_file({"vectors": np.ones(3, np.float32)}, tiny_copy / "zero_shot_background.safetensors")  # no weights
    plain = convert(tiny_copy, tmp_path / "plain")
    assert not (plain / FILE).exists()
    written, held = load_file(plain / "model.safetensors"), read_weights(tiny_copy)
    assert len(written) == len(held)
    for name, tensor in held.items():
        assert (written[f"bert.{name}"] == tensor.numpy()).all(), name
    ids = torch.tensor([[2, 9, 11, 3]])
    with torch.inference_mode():
        theirs = AutoModel.from_pretrained(plain)(ids).last_hidden_state
        torch.testing.assert_close(sijo.load(tiny_copy)(ids).last_hidden_state, theirs, rtol=0, atol=1e-5)


def test_saved_after_training_it_is_an_ordinary_folder(tiny_copy, tmp_path):
    # kills: weights that are computed into memory which cannot be trained, or that are saved as they were before
    model = sijo.load(put(tiny_copy, in_blocks(tiny_weights())))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.125)  # memory of its own, that may be written to
    saved = sijo.save(model, tmp_path / "trained")
    assert (saved / "model.safetensors").exists() and not (saved / FILE).exists()
    for name, tensor in sijo.load(saved).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_an_adapter_of_blocks_is_refused(tiny_copy, tmp_path):
    # kills: matrices added to numbers that they were not trained beside
    put(tiny_copy, in_blocks(tiny_weights()))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["query"], "task_type": None}
    (adapter / "adapter_config.json").write_text(json.dumps(lora))
    name = "base_model.model.encoder.layer.{}.attention.self.query.lora_{}.weight"
    tensors = {name.format(layer, "A"): np.ones((2, 16), np.float32) for layer in (0, 1)}
    tensors |= {name.format(layer, "B"): np.ones((16, 2), np.float32) for layer in (0, 1)}
    save_file(tensors, adapter / "adapter_model.safetensors")
    shutil.copy(tiny_copy / "tokenizer.json", adapter)
    with pytest.raises(
        RefusedError,
        match="is quantized, so nothing can be added to its weights; name the model that it was made from",
    ):
        sijo.load(adapter, base=tiny_copy)
