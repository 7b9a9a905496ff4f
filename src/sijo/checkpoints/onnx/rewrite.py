"""An ONNX file again in which the tensors that lie elsewhere lie under another file's name."""

from collections.abc import Mapping
from typing import Any

from sijo.checkpoints.onnx.graph import OnnxModel, StoredTensor

GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 13, 14
"""Numbers of fields in onnx.proto."""
VARINT, LENGTH = 0, 2


def with_data_in(content: Any, model: OnnxModel, names: Mapping[str, str]) -> bytes:
    """The bytes of a model, with other names for the files of its tensors.

    content  the bytes it was read from
    names    for each location that its tensors name, the file where they are to be looked for

    All else stays as it is, byte for byte.
    """
    graph, at, pieces = model.graph, None, list[bytes]()
    for tensor in sorted(model.stored.values(), key=lambda tensor: tensor.field):
        if tensor.elsewhere is not None:
            at = _graph_begins(content, graph.begin) if at is None else at
            pieces += [bytes(content[at : tensor.field.begin]), _told(tensor, names[tensor.elsewhere.location])]
            at = tensor.field.end
    if at is None:
        return bytes(content)
    inner = b"".join(pieces) + bytes(content[at : graph.end])
    return bytes(content[: graph.begin]) + _long(GRAPH, inner) + bytes(content[graph.end :])


def _graph_begins(content: Any, field: int) -> int:
    """Where a field's message begins: behind its number and its length, each of which ends below 128."""
    at = field
    for _ in range(2):
        while content[at] >= 0x80:
            at += 1
        at += 1
    return at


def _told(tensor: StoredTensor, file: str) -> bytes:
    """What a graph tells of a tensor whose bytes are in a file."""
    assert tensor.elsewhere is not None
    words = {"location": file, "offset": str(tensor.elsewhere.begin), "length": str(tensor.elsewhere.length)}
    told = b"".join(_number(DIMS, size) for size in tensor.dims) + _number(DATA_TYPE, tensor.data_type)
    told += _long(NAME, tensor.name.encode())
    for word, value in words.items():
        told += _long(EXTERNAL_DATA, _long(1, word.encode()) + _long(2, value.encode()))
    return _long(INITIALIZER, told + _number(DATA_LOCATION, 1))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _long(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A number of 7 bits a byte, the lowest first.

    >>> _varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
