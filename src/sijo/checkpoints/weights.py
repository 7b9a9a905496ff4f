"""Tensors from safetensors files, and nothing else; and into them."""

import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sijo.checkpoints.blocks import block_numbers, in_blocks, must_be_scales
from sijo.checkpoints.weight_files import INDEX, WEIGHTS, TensorEntry, by_name, payload_begins, read_header
from sijo.errors import SettingError
from sijo.files.paths import FolderFile

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Those of `ITEM_BYTES`."""
SHARD_BYTES = 5_000_000_000
"""The most that one file holds, unless something else is asked for."""


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint folder, by its published name, mapped from its file; errors as of `by_name`."""
    return by_name(folder, read_file)


def write_weights(folder: Path, tensors: dict[str, Tensor], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as one safetensors file, or as shards with an index, as transformers reads them.

    folder       holds no weights yet
    shard_bytes  the most that one file may hold, in bytes; a greater tensor has a file of its own

    Tensors may share their memory; each is written whole. No more than one is copied at a time.

    >>> import tempfile
    >>> table = torch.arange(6.0).view(2, 3)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_weights(Path(place), {"rows": table, "columns": table.T}, shard_bytes=24)
    ...     print(sorted(file.name for file in Path(place).glob("*.safetensors")))
    ...     read_weights(Path(place))["columns"].tolist()
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    if len(shards) == 1:
        write_file(folder / WEIGHTS, tensors)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_file(file, shard)
        weight_map |= dict.fromkeys(shard, file.name)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": weight_map,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def not_finite(tensor: Tensor) -> int:
    """How many of a tensor's numbers are NaN or infinite; 0 for integers.

    The smallest and the largest tell whether there is any: one pass, and no copy as of `isfinite`.

    >>> not_finite(torch.tensor([1.0, float("nan"), float("-inf")])), not_finite(torch.ones(3))
    (2, 0)
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return 0
    if all(math.isfinite(end) for end in map(float, torch.aminmax(tensor))):
        return 0
    return int((~tensor.isfinite()).sum())


def read_file(file: FolderFile) -> dict[str, Tensor]:
    """Every tensor of one safetensors file, mapped from it where it is large; errors as of `read_header`.

    Matrices that are held in blocks (`blocks.py`) are computed, in float32.
    The header that is checked and the bytes that are hashed are in the very memory that the tensors are.
    """
    content = file.buffer()
    entries = read_header(file, content)
    start = payload_begins(content)
    tensors = {name: _tensor(content, start + entry.begin, entry) for name, entry in entries.items()}
    for name, held in in_blocks(file, entries).items():
        blocks, scales = tensors.pop(held.blocks).numpy(), tensors.pop(held.scales).numpy()
        must_be_scales(scales, name, file)
        tensors[name] = torch.from_numpy(block_numbers(blocks, scales, bits=held.bits))
    return tensors


def _tensor(content: Any, begin: int, entry: TensorEntry) -> Tensor:
    dtype = DTYPES[entry.dtype]
    if entry.begin == entry.end:
        return torch.empty(entry.shape, dtype=dtype)
    flat = torch.frombuffer(content, dtype=torch.uint8, count=entry.end - entry.begin, offset=begin)
    if begin % dtype.itemsize:  # the format asks for no alignment of its header; torch's kernels do
        flat = flat.clone()
    return flat.view(dtype).view(entry.shape)


def write_file(file: Path, tensors: dict[str, Tensor]) -> None:
    """One safetensors file, at a path where nothing is yet."""
    with file.open("xb") as out:  # never over a file that tensors may be mapped from: that ends the process
        write_stream(out, tensors)


def write_stream(out: BinaryIO, tensors: dict[str, Tensor]) -> None:
    """The bytes of a safetensors file: 8 for the length of the header, the header, the tensors side by side.

    Not the library's writer: that one hides the number of an I/O error and lets no other user read the file.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)  # each at a multiple of its own item
    end = 0
    for name, tensor in ordered:
        if tensor.dtype not in names:
            raise SettingError(f"{name} is of dtype {tensor.dtype}, which sijo does not write; cast it to a float")
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write(struct.pack("<Q", len(text)) + text)
    for _, tensor in ordered:
        out.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
