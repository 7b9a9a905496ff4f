"""An ONNX file's bytes and what they hold, as they were read."""

import mmap
import os
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from sijo.checkpoints.onnx.graph import OnnxModel, read_model
from sijo.errors import CheckpointError
from sijo.files.manifest import Identity, identity
from sijo.files.paths import READ_WHOLE, FolderFile

MOST_BYTES = 2**31 - 1
"""Of a file of the format; larger networks keep their tensors beside it."""


@dataclass(frozen=True)
class OnnxContent:
    """What was read of an ONNX file."""

    data: Any
    """Its bytes, mapped where they are many: few of those are looked at."""
    model: OnnxModel
    read_from: Identity
    """Which file it was, and since when it was as it is."""

    @classmethod
    def read(cls, stream: BufferedReader, file: FolderFile) -> "OnnxContent":
        """The content of an open file; CheckpointError for what is no ONNX file, or not whole."""
        read_from, size = identity(stream), os.fstat(stream.fileno()).st_size
        if not 0 < size <= MOST_BYTES:
            raise CheckpointError(f"{file} has {size:,} bytes, which no ONNX file can have; copy it again")
        data: Any = (
            stream.read() if size <= READ_WHOLE else mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
        )
        try:
            return cls(data, read_model(data), read_from)
        except ValueError as error:
            raise CheckpointError(
                f"{file} is damaged, cut short or no ONNX file ({error}); copy it again, or make it anew with "
                f"`sijo export {file.folder} --to onnx`"
            ) from None
