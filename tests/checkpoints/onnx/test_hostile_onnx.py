"""ONNX files that are foreign, damaged or hostile: refused in one sentence before onnxruntime sees them."""

import os

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from conftest import tiny_weights
from onnx_networks import (
    FLOAT,
    INPUTS,
    INT64,
    Bert,
    entry,
    model,
    node,
    number,
    tensor,
    text,
    value,
    write_onnx,
)
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx import wire
from sijo.checkpoints.onnx.graph import ELEMENT_TYPES
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError, SijoWarning
from sijo.files.manifest import write_manifest
from sijo.inference.backends import onnx_session
from sijo.inference.backends.backend import IdBatch
from sijo.inference.backends.onnx_backend import OnnxBackend

TABLE = np.ones((len(tiny_weights()["embeddings.word_embeddings.weight"]), 16), np.float32)
GIVEN = [value(name, INT64, "b", "l") for name in INPUTS]
WORDS = tensor("table", TABLE)
STATES = value("last_hidden_state", FLOAT, "b", "l", 16)
LOOK_UP = node("Gather", ["table", "input_ids"], ["last_hidden_state"])


def opened(folder):
    return OnnxBackend.open(FolderDescription(folder), head=None)


@pytest.fixture
def bare(tiny_copy):
    """The tiny model without its weights, which an ONNX file may then be of."""
    (tiny_copy / "model.safetensors").unlink()
    (tiny_copy / "onnx").mkdir()
    return tiny_copy


@pytest.fixture
def unseen(monkeypatch):
    """onnxruntime must not be given anything."""

    class Seen(BaseException):  # which nothing takes for an error of onnxruntime's
        pass

    def seen(*_, **__):
        raise Seen

    monkeypatch.setattr("onnxruntime.InferenceSession", seen)


def small(*more, nodes=(LOOK_UP,), tensors=None, inputs=GIVEN, outputs=(STATES,), **fields):
    return model([*nodes, *more], [WORDS] if tensors is None else tensors, inputs, outputs, **fields)


def put(folder, content, data=None):
    (folder / "onnx/model.onnx").write_bytes(content)
    if data is not None:
        (folder / "onnx/model.onnx_data").write_bytes(data)


def test_the_small_network_is_sound(bare):
    # kills: refusals below that are of something else
    put(bare, small())
    assert opened(bare).vectors(IdBatch.of([[5, 6, 7]])).shape == (1, 16)


def test_the_schema_is_that_of_onnx():
    # kills: a number or a kind of a field that was written down wrong, which would read one field for another
    theirs = {
        "Model": "ModelProto",
        "OperatorSet": "OperatorSetIdProto",
        "Entry": "StringStringEntryProto",
        "Graph": "GraphProto",
        "Node": "NodeProto",
        "Attribute": "AttributeProto",
        "Tensor": "TensorProto",
        "Value": "ValueInfoProto",
        "Type": "TypeProto",
        "TensorType": "TypeProto.Tensor",
        "Shape": "TensorShapeProto",
        "Dimension": "TensorShapeProto.Dimension",
    }
    assert wire.SCHEMAS.keys() == theirs.keys()
    kinds = {2: "float", 1: "double", 3: "int", 4: "int", 5: "int", 14: "int"}
    for ours, name in theirs.items():
        place = onnx
        for part in name.split("."):
            place = getattr(place, part)
        fields = {field.number: field for field in place.DESCRIPTOR.fields}
        assert {at: field.name for at, field in wire.SCHEMAS[ours].items()} == {
            at: field.name for at, field in fields.items()
        }
        for at, field in wire.SCHEMAS[ours].items():
            assert field.many == fields[at].is_repeated, (ours, field)
            if fields[at].type in kinds:
                assert field.kind == kinds[fields[at].type]
            elif field.kind in wire.SCHEMAS:
                assert fields[at].message_type.name == theirs[field.kind].rpartition(".")[2]
            else:
                assert field.kind in ("text", "bytes", "skip")
    for at, element in ELEMENT_TYPES.items():
        assert onnx.TensorProto.DataType.Name(at).lower() in (
            element.name,
            {"float32": "float", "float64": "double"}.get(element.name),
        )


EXTERNAL = tensor("table", TABLE, location="model.onnx_data")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("../secret", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("..", "lies outside"),
        ("a\\b", "lies outside"),
        ("a\0b", "lies outside"),
        ("more/model.onnx_data", "beside the file alone"),
        (".", "beside the file alone"),
        ("absent", "is not beside it"),
        ("link", "lies outside"),
        ("chain", "lies outside"),
        ("fifo", "a pipe or a device"),
        ("folder", "a folder, a pipe"),
    ],
)
def test_tensors_lie_beside_the_file(bare, unseen, tmp_path, location, words):
    # kills: a file anywhere on the machine that is read as a tensor, and comes out as vectors
    (tmp_path / "secret").write_bytes(TABLE.tobytes())
    (bare / "onnx/link").symlink_to(tmp_path / "secret")
    (bare / "onnx/chain").symlink_to("link")
    os.mkfifo(bare / "onnx/fifo")
    (bare / "onnx/folder").mkdir()
    put(bare, small(tensors=[tensor("table", TABLE, location=location)]))
    with pytest.raises((RefusedError, CheckpointError), match=words):
        opened(bare)


def test_a_link_that_stays_in_the_folder_is_followed(bare):
    # kills: a snapshot of the Hub's cache, made of links, that does not open; onnxruntime following one itself
    put(bare, small(tensors=[EXTERNAL]))
    (bare / "blob").write_bytes(TABLE.tobytes())
    (bare / "onnx/model.onnx_data").symlink_to("../blob")
    assert opened(bare).vectors(IdBatch.of([[5, 6, 7]])).tolist() == [[1.0] * 16]


def test_two_files_of_tensors(bare, unseen):
    # kills: a second file that nobody looked at
    both = [EXTERNAL, tensor("more", TABLE, location="model.onnx_more")]
    put(bare, small(tensors=both), TABLE.tobytes())
    with pytest.raises(RefusedError, match="in 2 files"):
        opened(bare)


@pytest.mark.parametrize(
    "spoiled",
    [
        tensor("table", TABLE, location="model.onnx_data", offset=4),
        tensor("table", TABLE, location="model.onnx_data", offset=2**62),
        tensor("table", TABLE, location="model.onnx_data", length=TABLE.nbytes + 4),
        tensor("table", TABLE, location="model.onnx_data", offset="-4"),
        tensor("table", TABLE, location="model.onnx_data", offset="1e3"),
        tensor("table", TABLE, location="model.onnx_data", offset="9" * 400),
        EXTERNAL + text(9, b"\0" * 64),
        EXTERNAL + entry(13, "location", "other"),
        EXTERNAL + entry(13, "basepath", "/etc"),
    ],
    ids=["beyond", "far", "long", "negative", "float", "endless", "twice", "two-places", "word"],
)
def test_places_that_lie(bare, unseen, spoiled):
    # kills: bytes beyond the end of a mapped file, which end the process; a place read otherwise by another
    put(bare, small(tensors=[spoiled]), TABLE.tobytes())
    with pytest.raises((CheckpointError, RefusedError)):
        opened(bare)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (small(nodes=[node("Gather", ["table", "input_ids"], ["x"], "com.evil")]), RefusedError, "com.evil:Gather"),
        (small(node("Loop", ["input_ids"], ["x"])), RefusedError, "ai.onnx:Loop"),
        (small(node("SequenceEmpty", [], ["x"])), RefusedError, "ai.onnx:SequenceEmpty"),
        (small(node("RandomNormal", [], ["x"])), RefusedError, "ai.onnx:RandomNormal"),
        (small(node("Tokenizer", ["input_ids"], ["x"], "ai.onnx.contrib")), RefusedError, "ai.onnx.contrib"),
        (small(node("PyOp", ["input_ids"], ["x"], "com.microsoft")), RefusedError, "com.microsoft:PyOp"),
        (small(node("\x1b[2J", ["input_ids"], ["x"])), RefusedError, r"\\x1b"),
        (small(more=text(25, text(1, "own"))), RefusedError, "functions of its own"),
        (small(more=text(20, b"")), RefusedError, "a part for training"),
        (small(graph=text(15, b"")), RefusedError, "sparse tensors"),
        (
            small(
                node("If", ["input_ids"], ["x"]) + text(5, text(1, "then_branch") + text(6, b"") + number(20, 5))
            ),
            RefusedError,
            "control flow",
        ),
        (small(opsets=(("", 99),)), RefusedError, "update sijo"),
        (small(opsets=(("", 5),)), RefusedError, "export it anew"),
        (small(ir=99), RefusedError, "update sijo"),
        (small(inputs=[*GIVEN, value("pixel_values", FLOAT, "b", 3)]), RefusedError, "pixel_values"),
        (small(inputs=[value("input_ids", FLOAT, "b", "l")]), RefusedError, "no table of whole numbers"),
        (small(inputs=[value("input_ids", INT64, "b", "l", 2)]), RefusedError, "no table of whole numbers"),
        (small(inputs=[value("input_ids", INT64, 1, 128)]), RefusedError, "only inputs of shape"),
        (small(inputs=[value("attention_mask", INT64, "b", "l")]), RefusedError, "no input input_ids"),
        (small(outputs=[value("last_hidden_state", FLOAT, "b", "l", 8)]), RefusedError, "its last size is 16"),
        (small(outputs=[value("last_hidden_state", FLOAT, "b", 16)]), RefusedError, "its last size is 16"),
        (small(outputs=[value("logits", FLOAT, "b", 77)]), RefusedError, "id2label"),
        (small(outputs=[value("sentence_embedding", FLOAT, "b", 77)]), RefusedError, "the pooling"),
        (small(outputs=[value("other", FLOAT, "b", "l", 16)]), RefusedError, "neither states of tokens"),
        (small(tensors=[tensor("table", TABLE[:-1])]), RefusedError, "no table of"),
        (
            small(
                node("ConstantOfShape", ["huge"], ["x"]),
                tensors=[WORDS, tensor("huge", np.array([1 << 20, 1 << 20]))],
            ),
            RefusedError,
            "numbers at once",
        ),
        (small(tensors=[WORDS + number(1, 1 << 39)]), CheckpointError, "does not take"),
        (small(tensors=[WORDS + number(1, -1)]), CheckpointError, "has the shape"),
        (small(tensors=[WORDS + number(1, 1) * 40]), CheckpointError, "has the shape"),
        (small(tensors=[WORDS + number(2, 1)]), CheckpointError, "two fields data_type"),
        (small(tensors=[WORDS + text(4, b"\0" * 8)]), CheckpointError, "does not take"),
        (small(tensors=[WORDS + text(3, b"")]), CheckpointError, "one part of several"),
        (small(tensors=[WORDS] * 2), CheckpointError, "two tensors are called"),
        (small(tensors=[tensor("", TABLE)]), CheckpointError, "has no name"),
        (
            small(tensors=[WORDS, number(2, 8) + text(8, "x")]),
            CheckpointError,
            "type 8",
        ),
        (small(more=text(7, b"")), CheckpointError, "two fields graph"),
        (small(more=number(99, 1)), CheckpointError, "field 99"),
        (small(more=b"\x3b"), CheckpointError, "written as another kind"),
        (small(more=b"\xff" * 11), CheckpointError, "does not end"),
        (small(more=text(2, b"\xff\xfe")), CheckpointError, "no ONNX file"),
        (small(more=text(2, "a" * 50_000)), CheckpointError, "50,000 bytes"),
        (small(inputs=[*GIVEN, GIVEN[0]]), CheckpointError, "two inputs"),
        (b"", CheckpointError, "0 bytes"),
        (b"\x80\x04\x95", CheckpointError, "no ONNX file"),
        (b"PK\x03\x04" + b"\0" * 100, CheckpointError, "no ONNX file"),
        (b"<html>not here</html>", CheckpointError, "no ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\n", CheckpointError, "git lfs pull"),
    ],
)
def test_hostile_files(bare, unseen, content, kind, words):
    # kills: each check of rules.py, graph.py and wire.py, one by one
    put(bare, content)
    with pytest.raises(kind, match=words) as told:
        opened(bare)
    assert str(told.value).isprintable()


def test_nested_messages_are_counted(bare, unseen, monkeypatch):
    # kills: a file whose reading overflows the stack, or takes hours
    monkeypatch.setattr(wire, "MOST_FIELDS", 50)
    put(bare, small(*[node("Identity", ["input_ids"], [f"x{i}"]) for i in range(50)]))
    with pytest.raises(CheckpointError, match="more than 50 fields"):
        opened(bare)
    monkeypatch.setattr(wire, "MOST_FIELDS", 10**6)
    monkeypatch.setattr(wire, "DEEPEST", 2)
    with pytest.raises(CheckpointError, match="too deep"):
        opened(bare)


def test_an_error_of_onnxruntime_is_one_sentence(bare):
    # kills: a stack trace for a graph that cannot be, which only onnxruntime finds out
    put(bare, small(nodes=[node("Gather", ["absent", "input_ids"], ["last_hidden_state"])]))
    with pytest.raises(CheckpointError, match=r"onnxruntime cannot make a network of .*model.onnx"):
        opened(bare)
    put(bare, small(nodes=[node("MatMul", ["table", "table"], ["last_hidden_state"])]))
    with pytest.raises(CheckpointError):
        opened(bare).vectors(IdBatch.of([[5, 6]]))


@pytest.mark.parametrize("rows", [[[5, 10**6]], [[-1, 5]]])
def test_tokens_beyond_the_table(bare, rows):
    # kills: memory beyond a table, read as a vector
    put(bare, small())
    with pytest.raises(CheckpointError, match="does not compute on"):
        backend = opened(bare)
        backend.vectors(IdBatch.of([[-10_000, 5]] if rows[0][0] < 0 else rows))


SPOILS = {
    "norm": "encoder.layer.1.output.LayerNorm.bias",
    "first norm": "embeddings.LayerNorm.weight",
    "matrix": "encoder.layer.0.attention.self.value.weight",
    "inner matrix": "encoder.layer.1.intermediate.dense.weight",
}


@pytest.mark.parametrize("name", SPOILS.values(), ids=SPOILS)
@pytest.mark.parametrize("data", [True, False], ids=["beside", "within"])
def test_weights_of_another_model(tiny_copy, unseen, name, data):
    # kills: a folder that was trained on, and answers as before it was; an adapter merged into matrices alone
    write_onnx(tiny_copy, tiny_weights(), data=data)
    weights = load_file(tiny_copy / "model.safetensors")
    weights[name] = weights[name] + np.float32(0.01)
    save_file(weights, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RefusedError, match="was not made of the weights beside it"):
        opened(tiny_copy)


def test_a_file_of_ours_carries_a_digest(tiny_copy):
    # kills: a digest that is not compared, or compared with a manifest's of another folder
    digest = weights_digest(FolderDescription(tiny_copy).weight_files)
    other = tiny_weights() | {"embeddings.LayerNorm.weight": np.ones(16, np.float32)}
    write_onnx(tiny_copy, other, metadata=[("sijo.weights", digest)])
    opened(tiny_copy)
    write_manifest(tiny_copy)
    assert weights_digest(FolderDescription(tiny_copy).weight_files) == digest
    opened(tiny_copy)
    (tiny_copy / "manifest.json").unlink()
    write_onnx(tiny_copy, other, metadata=[("sijo.weights", digest[::-1])])
    with pytest.raises(RefusedError, match="was not made of the weights beside it"):
        opened(tiny_copy)


def test_a_file_changed_while_it_is_read(tiny_copy, monkeypatch):
    # kills: bytes that are run and were not checked
    write_onnx(tiny_copy, tiny_weights())
    data = tiny_copy / "onnx/model.onnx_data"
    made = onnx_session.new_session

    def meanwhile(*arguments):
        session = made(*arguments)
        os.utime(data)
        return session

    monkeypatch.setattr("sijo.inference.backends.onnx_backend.new_session", meanwhile)
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        opened(tiny_copy)


def _within_bounds(folder):
    """Open it and read: an answer, or one sentence."""
    try:
        opened(folder).vectors(IdBatch.of([[5, 6, 7], [8]]))
    except SijoError as error:
        assert str(error).isprintable() and len(str(error)) < 2_000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_files_neither_crash_nor_hang(bare, data):
    # kills: a field that is trusted: whatever is changed, an answer or one sentence comes out
    whole, _ = Bert(tiny_weights()).written()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "set", "cut", "drop", "repeat"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del content[max(at, 1) :]
        elif kind == "drop":
            del content[at : at + data.draw(st.integers(1, 9))]
        else:
            content[at:at] = content[at : at + data.draw(st.integers(1, 99))]
        content = content or bytearray(b"\0")
    put(bare, bytes(content))
    _within_bounds(bare)


@pytest.mark.parametrize(
    "told, able, kind, words",
    [
        ("vnni", False, SettingError, "its sums would saturate; use --precision exact"),
        ("vnni", True, None, ""),
        ("a quantum computer", True, RefusedError, "does not know; update sijo"),
    ],
)
def test_what_a_file_needs_of_the_processor(bare, monkeypatch, told, able, kind, words):
    # kills: other numbers in silence on a processor that adds pairs of bytes in 16 bits
    monkeypatch.setattr("sijo.checkpoints.onnx.rules.adds_bytes_exactly", lambda: able)
    put(bare, small(metadata=[("sijo.needs", told)]))
    if kind is None:
        opened(bare)
        return
    with pytest.raises(kind, match=words):
        opened(bare)


def test_one_scale_for_a_batch_is_told(bare):
    # kills: an answer that depends on the texts beside it, without a word
    rounded = node("DynamicQuantizeLinear", ["last_hidden_state"], ["bytes", "scale", "zero"])
    put(bare, small(rounded))
    with pytest.warns(SijoWarning, match="depends a little on the texts beside it"):
        opened(bare)
