"""An ONNX file with its weights in another beside it, so that they are mapped into memory rather than copied."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

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
        for constant in model.graph.initializer:
            if len(constant.raw_data) > SMALL:
                _move(constant, data, file.name + DATA)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _move(constant: "onnx.TensorProto", data: BinaryIO, name: str) -> None:
    """Put the bytes of a constant into a file, and where they are into the constant."""
    from onnx import TensorProto

    data.write(b"\0" * (-data.tell() % ALIGNED))
    place = {"location": name, "offset": data.tell(), "length": len(constant.raw_data)}
    data.write(constant.raw_data)
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        constant.external_data.add(key=key, value=str(value))
