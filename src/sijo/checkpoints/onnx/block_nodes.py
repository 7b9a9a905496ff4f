"""Steps that read matrices in blocks of few bits: their tensors must be stored, and as large as the step says.

Scales alone may be stored in float16 and cast to float32 by a step of its own, which leaves their number as it is.

onnxruntime 1.23 lays such a matrix out anew when a session is made, by the sizes that the step says, and reads past
the end of a smaller tensor; blocks of no numbers end the process.

Letters: N rows of a matrix, K numbers of a row.
"""

import math
from collections import Counter
from collections.abc import Mapping

from sijo.checkpoints.onnx.graph import FLOAT, FLOAT16, LARGEST_DIMENSION, GraphNode, OnnxModel, StoredTensor
from sijo.errors import RefusedError
from sijo.files.paths import FolderFile

BITS = (2, 4, 8)
BLOCK_SIZES = tuple(1 << power for power in range(4, 17))
LAST, FIRST_OF_TWO = (1 << 64) - 1, (1 << 64) - 2
"""Axes that are counted from the end, as a file holds them."""
SCALES = 2
"""Which input of either step holds the scales."""


def must_fit(model: OnnxModel, file: FolderFile) -> None:
    """Raise RefusedError for a step with blocks whose tensors are not stored, or not of the sizes that it says."""
    constant = {name for node in model.nodes if node.operator == "Constant" for name in node.outputs}
    held = {name: tensor for name, tensor in model.constants.items() if name in constant} | dict(model.stored)
    scales = _widened(model, held) | held
    checks = {"MatMulNBits": _product_fits, "GatherBlockQuantized": _rows_fit}
    for node in model.nodes:
        fits = checks.get(node.operator)
        tensors = [(scales if at == SCALES else held).get(name) for at, name in enumerate(node.inputs)]
        if fits is not None and not fits(node, tensors, _numbers(node)):
            raise RefusedError(
                f"{file} has a {node.operator} whose tensors are not of the sizes that it says; this is not "
                f"opened. Make the file anew with `sijo export {file.folder} --to onnx`, or use --backend torch"
            )


def _widened(model: OnnxModel, held: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The stored tensors of float16 that a step casts to float32 and does nothing else to, by what it gives.

    What several steps give under one name, or is stored or put in under it too, is none.
    """
    given = Counter(name for node in model.nodes for name in node.outputs)
    given.update([*held, *model.inputs])
    found: dict[str, StoredTensor] = {}
    for node in model.nodes:
        if (node.operator, node.domain, len(node.inputs), len(node.outputs)) != ("Cast", "", 1, 1):
            continue
        source, name = model.stored.get(node.inputs[0]), node.outputs[0]
        casts = node.attributes.keys() == {"to"} and node.attributes["to"].get("i") == FLOAT
        if casts and source is not None and source.data_type == FLOAT16 and given[name] == 1:
            found[name] = source
    return found


def _product_fits(node: GraphNode, tensors: list[StoredTensor | None], says: Mapping[str, int]) -> bool:
    """Of states by a matrix: inputs are states, codes, scales, zeros, an order of the columns, a bias."""
    rows, width, bits, block = (says.get(name, 0) for name in ("N", "K", "bits", "block_size"))
    known = bits in BITS and block in BLOCK_SIZES and not says.get("weight_prepacked")
    if not (known and 0 < rows < LARGEST_DIMENSION and 0 < width < LARGEST_DIMENSION and len(tensors) > 2):
        return False
    blocks = -(-width // block)
    codes, order, bias = tensors[1], *(_given(node, tensors, place) for place in (4, 5))
    return (
        codes is not None
        and codes.bytes == rows * blocks * block * bits // 8
        and _scales_fit(node, tensors, rows, blocks, bits)
        and (order is None or order >= width)
        and (bias is None or bias == rows)
    )


def _rows_fit(node: GraphNode, tensors: list[StoredTensor | None], says: Mapping[str, int]) -> bool:
    """Of rows of a table: inputs are codes, numbers of rows, scales, zeros."""
    bits, block = says.get("bits", 4), says.get("block_size", 128)
    axes = says.get("gather_axis", 0) in (0, FIRST_OF_TWO) and says.get("quantize_axis", 1) in (1, LAST)
    codes = tensors[0] if len(tensors) > 2 else None
    if not (bits in BITS and block in BLOCK_SIZES and axes and codes is not None and len(codes.dims) == 2):
        return False
    rows, width = codes.dims[0], codes.dims[1] * codes.element.bits // bits
    return _scales_fit(node, tensors, rows, -(-width // block), bits)


def _scales_fit(node: GraphNode, tensors: list[StoredTensor | None], rows: int, blocks: int, bits: int) -> bool:
    """Whether there is a scale for each block and, where there are any, a zero, which may be packed in bytes."""
    scales, zeros = _given(node, tensors, SCALES), _given(node, tensors, SCALES + 1)
    if scales != rows * blocks:
        return False
    packed = zeros is not None and (tensor := tensors[SCALES + 1]) is not None and tensor.element.bits == 8
    return zeros is None or zeros == rows * (-(-blocks * bits // 8) if packed else blocks)


def _given(node: GraphNode, tensors: list[StoredTensor | None], place: int) -> int | None:
    """How many numbers an input has; None where there is none, and -1 where it is not stored."""
    if place >= len(tensors) or not node.inputs[place]:
        return None
    tensor = tensors[place]
    return -1 if tensor is None else math.prod(tensor.dims)


def _numbers(node: GraphNode) -> dict[str, int]:
    """The attributes of a step that are whole numbers."""
    return {name: field["i"] for name, field in node.attributes.items() if "i" in field}
