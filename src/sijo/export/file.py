"""An ONNX file with its weights in another beside it, so that they are mapped into memory rather than copied."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sijo.checkpoints.weight_files import payload_begins, read_header
from sijo.files.paths import FolderFile

if TYPE_CHECKING:
    import onnx

DATA = "_data"
"""What the name of the file of weights has after that of the file of nodes."""
SMALL = 1024
"""Bytes up to which a constant stays with the nodes: shapes and axes must be known when a graph is opened."""
ALIGNED = 4096
"""Each constant begins at a multiple of it, as pages of memory do."""


def write_onnx(model: "onnx.ModelProto", file: Path) -> None:
    """Write a model as `file`, and its weights as `file` with `_data` behind its name.

    The model itself is left without its weights. The bytes are the same for the same model.
    """
    with file.with_name(file.name + DATA).open("wb") as data:
        _write(model, file, file.name + DATA, lambda content: _appended(data, content))


def write_over(model: "onnx.ModelProto", file: Path, weights: FolderFile) -> None:
    """Write a model as `file`, beside a safetensors file with its weights; what that lacks stays in the model.

    A constant is one of its tensors where it has the very bytes of it.
    """
    content = weights.buffer()
    begins, places = payload_begins(content), dict[bytes, int]()
    for entry in read_header(weights, content).values():
        begin, end = begins + entry.begin, begins + entry.end
        places.setdefault(hashlib.sha256(content[begin:end]).digest(), begin)
    _write(model, file, weights.name, lambda numbers: places.get(hashlib.sha256(numbers).digest()))


def _write(model: "onnx.ModelProto", file: Path, data: str, place: Callable[[bytes], int | None]) -> None:
    """Write a model whose large constants are in a file of data, where `place` says at which offset."""
    for constant in model.graph.initializer:
        if len(constant.raw_data) > SMALL and (offset := place(constant.raw_data)) is not None:
            _refer(constant, data, offset)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _appended(data: BinaryIO, content: bytes) -> int:
    """Put the bytes of a constant at the end of a file; returns where they begin."""
    data.write(b"\0" * (-data.tell() % ALIGNED))
    offset = data.tell()
    data.write(content)
    return offset


def _refer(constant: "onnx.TensorProto", name: str, offset: int) -> None:
    """Let a constant's bytes be in another file."""
    from onnx import TensorProto

    place = {"location": name, "offset": offset, "length": len(constant.raw_data)}
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        constant.external_data.add(key=key, value=str(value))
