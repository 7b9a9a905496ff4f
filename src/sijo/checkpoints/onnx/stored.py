"""An ONNX file whose tensors are those of the safetensors file beside it: nothing else is read out of that."""

from typing import Any

from sijo.checkpoints.blocks import check_blocks
from sijo.checkpoints.onnx.graph import OnnxModel
from sijo.checkpoints.weight_files import payload_begins, read_header, shown
from sijo.errors import CheckpointError
from sijo.files.paths import FolderFile

NAMES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"},
}
"""What ONNX calls the types of safetensors."""


def must_be_stored(model: OnnxModel, file: FolderFile, data: FolderFile, content: Any) -> None:
    """Raise CheckpointError where a tensor of a network is none of the safetensors file that it is said to be in.

    file     of the network
    data     the other
    content  its bytes

    The bytes of a tensor there are those of one here, of the same type; the shape may be another. Blocks and scales
    are as sound as where they are computed with by torch.
    """
    entries = read_header(data, content)
    begins = payload_begins(content)
    types = {(begins + at.begin, at.end - at.begin): NAMES[at.dtype] for at in entries.values()}
    for tensor in model.stored.values():
        at = tensor.elsewhere
        if at is not None and types.get((at.begin, at.length)) != tensor.element.name:
            raise CheckpointError(
                f"{file} reads {shown(tensor.name)} from bytes {at.begin:,} to {at.begin + at.length:,} of "
                f"{data.name}, which are no tensor of {tensor.element.name} there: they are of two models. Copy "
                "the folder again"
            )
    check_blocks(data, entries, content)
