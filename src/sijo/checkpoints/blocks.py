"""Matrices of 4 and 8 bits a number, in blocks that share a scale: how a safetensors file holds them.

A matrix `x.weight` (N, D) is two tensors there: `x.weight.blocks4` or `x.weight.blocks8`, and `x.weight.scales`. A
number is its code less the middle of the codes, 8 or 128, times the scale of its block, in float32. The codes are
the bytes that onnxruntime's MatMulNBits and GatherBlockQuantized read, so that an ONNX file can refer to them where
they lie.

Known without torch. Letters: N rows of a matrix, D their width, K blocks of a row, S numbers of a block.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sijo.checkpoints.weight_files import (
    BLOCK_WEIGHTS,
    TensorEntry,
    by_name,
    payload_begins,
    read_header,
    shown,
    weight_files,
)
from sijo.errors import CheckpointError
from sijo.files.paths import FolderFile

BLOCKS = {".blocks4": 4, ".blocks8": 8}
"""What stands behind the name of a matrix that is held in blocks, and the bits of a number."""
SCALES = ".scales"
SCALE_TYPES = {"F32": "<f4", "F16": "<f2"}
"""What a header may say of scales, and numpy's name of it."""
BLOCK_SIZES = (16, 32, 64, 128, 256)
"""Those that onnxruntime multiplies by."""
LARGEST_SCALE = 1e30
"""Far above any trained weight, and 256 of it are still finite."""
SMALLEST_HALF = float(np.finfo(np.float16).smallest_normal)
"""Below it float16 has fewer digits than elsewhere."""
ROWS_AT_ONCE = 4096
"""Of a matrix that is tried: a table of 250,000 rows and some copies of it would take gigabytes."""


class BlockEntry(NamedTuple):
    """What a header says of a matrix that is held in blocks."""

    bits: int
    blocks: str
    """The name of the tensor of its codes, (N, K, S · bits / 8) uint8; of 4 bits two a byte, the first in the lower
    half."""
    scales: str
    """That of its scales, (N, K) float16 or float32."""
    shape: tuple[int, int]
    """(N, D)."""


def quantized_blocks(
    weight_ND: np.ndarray, *, bits: int, block: int, half: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as integers in blocks along its rows, and a scale for each block.

    The integers are symmetric around the middle of their range, as they are stored: 128 of 8 bits, 8 of 4. Of 8
    bits they reach 127 to either side; of 4, where every code counts, the number of the largest size in a block
    becomes -8.

    weight_ND  float32; the last block of a row is filled up with zeros
    block      numbers of a block
    half       whether scales are rounded to float16, and the codes are those for the rounded scales; all stay
               float32 where one of them is too small or too large for float16

    Returns (N, K, S · bits / 8) uint8, of 4 bits two a byte with the first in the lower half, and the scales
    (N, K), float32 or float16.

    >>> numbers, scales = quantized_blocks(np.array([[0.5, -1.0, 0.25, 0.0]], np.float32), bits=4, block=4)
    >>> numbers.tolist(), scales.tolist()
    ([[[12, 138]]], [[0.125]])
    """
    rows, width = weight_ND.shape
    padded = np.zeros((rows, -(-width // block) * block), np.float32)
    padded[:, :width] = weight_ND
    blocks_NKS = padded.reshape(rows, -1, block)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(blocks_NKS, np.abs(blocks_NKS).argmax(-1)[..., None], -1)
    scales = largest / np.float32(-middle) if bits == 4 else np.abs(largest) / np.float32(middle - 1)
    scales[scales == 0] = 1
    if half and (np.abs(scales) >= SMALLEST_HALF).all() and (np.abs(scales) <= np.finfo(np.float16).max).all():
        scales = scales.astype(np.float16)
    integers = (np.rint(blocks_NKS / scales.astype(np.float32)) + middle).clip(0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        integers = integers[..., 0::2] | integers[..., 1::2] << 4
    return integers, scales[..., 0]


def exact_blocks(weight_ND: np.ndarray, *, block: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A matrix in blocks of 4 bits that stand for its very numbers; None where there are none.

    So are matrices that were rounded to 4 bits before, and published in float32 or float16.

    weight_ND  float32
    block      numbers of a block

    Returns what `quantized_blocks` does, scales in float16 where that holds them. A zero may change its sign.

    >>> grid = np.array([[0.5, -1.0, 0.25, 0.0]], np.float32)
    >>> exact_blocks(grid, block=4)[1].tolist(), exact_blocks(grid + np.float32(0.01), block=4)
    ([[0.125]], None)
    """
    parts = []
    for begin in range(0, len(weight_ND), ROWS_AT_ONCE):
        part = weight_ND[begin : begin + ROWS_AT_ONCE]
        for half in (True, False):
            held = quantized_blocks(part, bits=4, block=block, half=half)
            if np.array_equal(block_numbers(*held, bits=4)[:, : part.shape[1]], part):
                parts.append(held)
                break
        else:
            return None
    codes, scales = zip(*parts, strict=True)  # of both types together all become float32, which changes none
    return np.concatenate(codes), np.concatenate(scales)


def block_numbers(blocks: np.ndarray, scales_NK: np.ndarray, *, bits: int) -> np.ndarray:
    """The matrix (N, D) float32 that blocks stand for.

    blocks     (N, K, S · bits / 8) uint8, as `quantized_blocks` gives them
    scales_NK  float32 or float16

    >>> numbers = np.array([[0.5, -1.0, 0.25, 0.0]], np.float32)
    >>> block_numbers(*quantized_blocks(numbers, bits=4, block=4), bits=4).tolist()
    [[0.5, -1.0, 0.25, 0.0]]
    """
    rows = len(blocks)
    if bits == 4:
        codes = np.empty((*blocks.shape, 2), np.uint8)
        codes[..., 0], codes[..., 1] = blocks & 15, blocks >> 4
        blocks = codes.reshape(rows, blocks.shape[1], -1)
    numbers_NKS = blocks.astype(np.float32)
    numbers_NKS -= np.float32(1 << (bits - 1))
    numbers_NKS *= scales_NK[..., None]
    return numbers_NKS.reshape(rows, -1)


def in_blocks(file: FolderFile, entries: Mapping[str, TensorEntry]) -> dict[str, BlockEntry]:
    """The matrices that a safetensors file holds in blocks, by their names.

    entries  what its header says

    Raises CheckpointError where the tensors of one do not belong together.
    """
    found: dict[str, BlockEntry] = {}
    for held, entry in entries.items():
        name, dot, last = held.rpartition(".")
        bits = BLOCKS.get(dot + last)
        if bits is None:
            continue
        scales = entries.get(name + SCALES)
        per_block = entry.shape[-1] * 8 // bits if len(entry.shape) == 3 else 0
        if entry.dtype != "U8" or per_block not in BLOCK_SIZES or not all(entry.shape):
            wrong = (
                f"{shown(held)} is of dtype {entry.dtype} and shape {list(entry.shape[:4])}, which no blocks are"
            )
        elif scales is None or scales.dtype not in SCALE_TYPES or scales.shape != entry.shape[:2]:
            wrong = (
                f"{shown(held)} has no scale in float16 or float32 for each of its blocks in {shown(name + SCALES)}"
            )
        elif name in found or name in entries or not name:
            wrong = f"{shown(name)} is there twice, once as {shown(held)}"
        else:
            found[name] = BlockEntry(bits, held, name + SCALES, (entry.shape[0], entry.shape[1] * per_block))
            continue
        raise CheckpointError(f"{file} is damaged ({wrong}); copy it again")
    return found


def must_be_scales(scales_NK: np.ndarray, name: str, file: FolderFile) -> None:
    """Raise CheckpointError for scales of which one is 0, not finite, or larger than any weight is."""
    size = np.abs(scales_NK, dtype=np.float32)  # in float16 the limit itself would be infinite
    if wrong := int(scales_NK.size - np.count_nonzero((size > 0) & (size <= LARGEST_SCALE))):
        raise CheckpointError(
            f"{file}: {wrong:,} of {scales_NK.size:,} scales of {shown(name)} are 0, NaN or beyond any weight's, "
            "so it is damaged; copy it again"
        )


def check_blocks(file: FolderFile, entries: Mapping[str, TensorEntry], content: Any) -> None:
    """Raise CheckpointError where blocks in a file, whose bytes are to be read as they are, cannot be right.

    entries  what its header says
    content  its bytes
    """
    begins = payload_begins(content)
    for name, held in in_blocks(file, entries).items():
        entry = entries[held.scales]
        kind = SCALE_TYPES[entry.dtype]
        must_be_scales(np.frombuffer(content, kind, math.prod(entry.shape), begins + entry.begin), name, file)


def is_in_blocks(folder: Path) -> bool:
    """Whether the weights of a folder are the file of those in blocks."""
    return [file.name for file in weight_files(folder)] == [BLOCK_WEIGHTS]


def read_entries(file: FolderFile) -> dict[str, TensorEntry]:
    """The tensors that a safetensors file stands for; those in blocks are of dtype blocks4 or blocks8.

    Raises as `read_header` and `in_blocks` do.
    """
    entries = read_header(file)
    for name, held in in_blocks(file, entries).items():
        begin, end, _, _ = entries.pop(held.blocks)
        del entries[held.scales]
        entries[name] = TensorEntry(begin, end, f"blocks{held.bits}", held.shape)
    return entries


def tensor_entries(folder: Path) -> dict[str, TensorEntry]:
    """The tensors of a checkpoint folder, from the headers of its files; raises as `by_name` does."""
    return by_name(folder, read_entries)
