"""Products and rows of few bits in an ONNX file: sizes that a step says and its tensors do not have are refused."""

import numpy as np
import pytest

from conftest import tiny_weights
from onnx_networks import FLOAT, INPUTS, INT64, model, node, tensor, value
from sijo.checkpoints.blocks import quantized_blocks
from sijo.checkpoints.describe import FolderDescription
from sijo.errors import RefusedError
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.onnx_backend import OnnxBackend

ROWS = len(tiny_weights()["embeddings.word_embeddings.weight"])
CHANCE = np.random.default_rng(5)
TABLE, MATRIX = (CHANCE.normal(0, 1, (rows, 32)).astype(np.float32) for rows in (ROWS, 16))


def network(*, product=None, rows=None, steps=(), reads=None, **tensors):
    """Rows of a table of 8 bits, then a product with a matrix of 4, (16, 32), in blocks of 16.

    product, rows  attributes in place of the right ones
    steps          nodes before the two
    reads          what the two read instead of a tensor, by its name
    tensors        tensors in place of the right ones, and others; None for one that is not stored
    """
    codes, scales = quantized_blocks(TABLE, bits=8, block=16)
    stored = {"codes": codes.reshape(ROWS, 32), "scales": scales}
    stored["b"], stored["s"] = quantized_blocks(MATRIX, bits=4, block=16)
    places = {"zeros": 3, "order": 4, "bias": 5}
    extra = [name for name in tensors if name in places]
    inputs = ["states", "b", "s", *[""] * (max((places[name] for name in extra), default=2) - 2)]
    for name in extra:
        inputs[places[name]] = name
    stored = {name: array for name, array in (stored | tensors).items() if array is not None}
    of_rows = {"bits": 8, "block_size": 16, "gather_axis": 0, "quantize_axis": 1} | (rows or {})
    of_product = {"N": 16, "K": 32, "bits": 4, "block_size": 16, "accuracy_level": 4} | (product or {})
    of_table, inputs = (
        [(reads or {}).get(name, name) for name in names] for names in (["codes", "input_ids", "scales"], inputs)
    )
    nodes = [
        *steps,
        node("GatherBlockQuantized", of_table, ["states"], "com.microsoft", **of_rows),
        node("MatMulNBits", inputs, ["last_hidden_state"], "com.microsoft", **of_product),
    ]
    given = [value(name, INT64, "b", "l") for name in INPUTS]
    return model(
        nodes,
        [tensor(name, array) for name, array in stored.items()],
        given,
        [value("last_hidden_state", FLOAT, "b", "l", 16)],
    )


@pytest.fixture
def bare(tiny_copy):
    (tiny_copy / "model.safetensors").unlink()
    (tiny_copy / "onnx").mkdir()
    return tiny_copy


def opened(folder, content):
    (folder / "onnx/model.onnx").write_bytes(content)
    return OnnxBackend.open(FolderDescription(folder), head=None)


def cast(name, gives="wide", to=FLOAT):
    return node("Cast", [name], [gives], to=to)


HALF, OF_TABLE = (
    quantized_blocks(matrix, bits=bits, block=16, half=True)[1] for matrix, bits in ((MATRIX, 4), (TABLE, 8))
)
WIDE = {"reads": {"s": "wide"}, "s": HALF}
SOUND = {
    "plain": {},
    "zeros in bytes": {"zeros": np.full((16, 1), 0x88, np.uint8)},
    "zeros in float32": {"zeros": np.full((16, 2), 8, np.float32)},
    "a bias": {"bias": np.zeros(16, np.float32)},
    "axes from the end": {"rows": {"quantize_axis": -1}},
    "scales of 16 bits": {"steps": [cast("s")], **WIDE},
    "a table's scales of 16 bits": {
        "steps": [cast("scales")],
        "reads": {"scales": "wide"},
        "scales": OF_TABLE,
    },
}


@pytest.mark.parametrize("what", SOUND)
def test_right_sizes_are_opened(bare, what):
    # kills: refusals below that are of something else, and of what others' files have
    backend = opened(bare, network(**SOUND[what]))
    got = backend.vectors(IdBatch.of([[5, 6, 7]]))
    want = (TABLE[[5, 6, 7]] @ MATRIX.T).mean(0)
    assert np.abs(got[0] - want).max() < 0.2 * np.abs(want).max()


CODES = quantized_blocks(MATRIX, bits=4, block=16)[0]
WRONG = {
    "more rows": {"product": {"N": 1600}},
    "no rows": {"product": {"N": 0}},
    "no rows, and none stored": {
        "product": {"N": 0},
        "b": np.zeros((0, 2, 8), np.uint8),
        "s": np.zeros((0, 2), np.float32),
    },
    "rows below 0": {"product": {"N": -16}},
    "absurd rows": {"product": {"N": 1 << 62}},
    "wider": {"product": {"K": 3200}},
    "more bits": {"product": {"bits": 8}},
    "odd bits": {"product": {"bits": 3}},
    "bits of none known": {"product": {"bits": 16}, "b": np.zeros((16, 2, 32), np.uint8)},
    "no bits": {"product": {"bits": 0}},
    "wider blocks": {"product": {"block_size": 32}},
    "blocks of none": {"product": {"block_size": 0}},
    "blocks below 0": {"product": {"block_size": -16}},
    "blocks of 24": {"product": {"block_size": 24}, "b": np.zeros((16, 2, 12), np.uint8)},
    "laid out already": {"product": {"weight_prepacked": 1}},
    "fewer codes": {"b": CODES[:8]},
    "fewer scales": {"s": np.ones((8, 2), np.float32)},
    "fewer zeros": {"zeros": np.zeros((8, 1), np.uint8)},
    "fewer zeros in float32": {"zeros": np.zeros((16, 1), np.float32)},
    "a short order": {"order": np.zeros(8, np.int32)},
    "a short bias": {"bias": np.zeros(8, np.float32)},
    "codes from nowhere": {"b": None},
    "scales from nowhere": {"s": None},
    "zeros from nowhere": {"zeros": None},
    "a table's blocks of none": {"rows": {"block_size": 0}},
    "a table's wider blocks": {"rows": {"block_size": 32}},
    "a table of fewer bits": {"rows": {"bits": 4}},
    "a table along rows": {"rows": {"quantize_axis": 0}},
    "rows along columns": {"rows": {"gather_axis": 1}},
    "a table of fewer scales": {"scales": np.ones((ROWS, 1), np.float32)},
    "a table of three dimensions": {"codes": np.zeros((ROWS, 32, 1), np.uint8)},
    "fewer scales of 16 bits": {**WIDE, "steps": [cast("s")], "s": HALF[:8]},
    "a table of fewer scales of 16 bits": {
        "steps": [cast("scales")],
        "reads": {"scales": "wide"},
        "scales": OF_TABLE[:, :1],
    },
    "scales cast from nowhere": {**WIDE, "steps": [cast("s")], "s": None},
    "scales cast from an input": {**WIDE, "steps": [cast("input_ids")]},
    "scales cast after a step": {**WIDE, "steps": [node("Identity", ["s"], ["same"]), cast("same")]},
    "scales of what only looks like a cast": {**WIDE, "steps": [node("Transpose", ["s"], ["wide"], to=FLOAT)]},
    "scales that a step shortens": {
        **WIDE,
        "steps": [node("Slice", ["s", "no", "few"], ["wide"])],
        "no": np.zeros(1, np.int64),
        "few": np.ones(1, np.int64),
    },
    "scales that a step makes of a stored shape": {
        "steps": [node("ConstantOfShape", ["few"], ["s"], value=tensor("", np.ones((16, 2), np.float32)))],
        "s": None,
        "few": np.zeros(1, np.int64),
    },
    "scales cast twice": {**WIDE, "steps": [cast("s", "between", 10), cast("between")]},
    "scales cast from whole numbers": {**WIDE, "steps": [cast("s")], "s": np.ones((16, 2), np.int32)},
    "scales that stay of 16 bits": {**WIDE, "steps": [cast("s", to=10)]},
    "scales of two steps": {**WIDE, "steps": [cast("s"), node("Identity", ["other"], ["wide"])], "other": HALF[:8]},
    "codes that are cast": {
        "steps": [cast("b", to=2)],
        "reads": {"b": "wide"},
        "b": np.ones((16, 2, 4), np.float16),
    },
    "codes that are cast to floats": {
        "steps": [cast("b")],
        "reads": {"b": "wide"},
        "b": np.ones((16, 2, 4), np.float16),
    },
    "zeros that are cast": {"steps": [cast("zeros")], "reads": {"zeros": "wide"}, "zeros": HALF},
}


@pytest.mark.parametrize("what", WRONG)
def test_other_sizes_are_refused_before_onnxruntime_sees_them(bare, what, monkeypatch):
    # kills: memory read past the end of a tensor, a division by 0 (onnxruntime 1.23 ends by a signal)
    def seen(*_, **__):
        raise AssertionError("onnxruntime was given the file")

    monkeypatch.setattr("onnxruntime.InferenceSession", seen)
    with pytest.raises(
        RefusedError, match=r"has a (MatMulNBits|GatherBlockQuantized) whose tensors are not of the"
    ):
        opened(bare, network(**WRONG[what]))
