"""Tensors from safetensors files, and nothing else; and into them.

Pickle can run code when it is read, so it is refused by a file's name and by its first bytes. A
header is checked here, word by word, before the file is handed to the library.
"""

import json
import math
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.files.json_files import LONGEST_JSON, parse_json, read_object
from sijo.files.paths import present

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
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
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
MAGIC = {
    b"\x80": "a pickle",
    b"PK\x03\x04": "a zip archive, as torch.save writes around a pickle",
    b"\x93NUMPY": "a numpy file",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
}
LONGEST_HEADER = LONGEST_JSON
"""Bytes; the format allows 100 million. As a number, every sign of another format above is greater."""
MOST_SHARDS = 1_000
MOST_DIMENSIONS = 64
"""What torch allows; the product of a million sizes would take hours."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder, in order of names.

    Raises RefusedError when the folder holds only pickled weights or leads outside, and
    CheckpointError when it holds none or only a part.
    """
    file = present(folder, WEIGHTS)
    if file is not None:
        return [file]
    if present(folder, INDEX) is not None:
        return [_shard(folder, name) for name in sorted(set(weight_map(folder / INDEX).values()))]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise RefusedError(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which can run code when opened; "
            f"sijo reads {WEIGHTS} only. Ask for a safetensors version of the model, or make one with "
            f"`sijo convert {folder} NEW`"
        )
    raise CheckpointError(f"{folder} has no {WEIGHTS}: it is not a model, or was copied in part")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint folder, by its published name, mapped from its file or files.

    Raises RefusedError for a pickle under whatever name, CheckpointError for a file cut short or
    otherwise damaged, and for shards that do not hold just what their index says.
    """
    files = weight_files(folder)
    if files == [folder / WEIGHTS]:
        return read_file(files[0])
    weights: dict[str, Tensor] = {}
    wanted = weight_map(folder / INDEX)
    for file in files:
        shard = read_file(file)
        name_of_shard = file.relative_to(folder).as_posix()
        listed = {name for name, place in wanted.items() if place == name_of_shard}
        astray = [f"no {name}" for name in sorted(listed - shard.keys())]
        astray += [f"{name} twice" for name in sorted(shard.keys() & weights.keys())]
        astray += [f"{name} unasked" for name in sorted(shard.keys() - listed - weights.keys())]
        if astray:
            raise CheckpointError(
                f"{file} does not hold the tensors that {INDEX} says: it holds {', '.join(astray[:4])}"
                f"{', …' if len(astray) > 4 else ''}; copy the folder again"
            )
        weights |= shard
    return weights


def write_weights(folder: Path, tensors: dict[str, Tensor], *, shard_bytes: int = 5_000_000_000) -> None:
    """Write tensors as one safetensors file, or as shards with an index, as transformers reads them.

    folder       holds no weights yet
    shard_bytes  the most that one file may hold, in bytes; a greater tensor has a file of its own

    Tensors may share their memory; each is written whole. No more than one is copied at a time.

    >>> import tempfile
    >>> table = torch.arange(6.0).view(2, 3)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_weights(Path(place), {"rows": table, "columns": table.T}, shard_bytes=24)
    ...     print([file.name for file in weight_files(Path(place))])
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


def weight_map(index: Path) -> dict[str, str]:
    """Which shard holds which tensor, as the index says."""
    shard_of = read_object(index).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of or not all(isinstance(at, str) for at in shard_of.values()):
        raise CheckpointError(f"{index} has no weight_map that names a file for each tensor; copy it again")
    if len(set(shard_of.values())) > MOST_SHARDS:
        raise CheckpointError(f"{index} names more than {MOST_SHARDS} files, which cannot be; copy it again")
    return shard_of


def _shard(folder: Path, name: str) -> Path:
    file = present(folder, name)
    if file is None:
        raise CheckpointError(f"{folder / name} is absent, though {INDEX} names it; copy the folder again")
    return file


def read_file(file: Path) -> dict[str, Tensor]:
    """Every tensor of one safetensors file, mapped from it; raises as `read_weights` does."""
    try:
        _check(file)
        with safe_open(str(file), framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file} is damaged or cut short ({error}); copy or download it again") from None


def _check(file: Path) -> None:
    """Raise ValueError for a file whose header is not true of it, and RefusedError for another format."""
    with file.open("rb") as opened:
        start = opened.read(8)
        length = int.from_bytes(start, "little")
        for magic, what in MAGIC.items():
            if start.startswith(magic) and (len(start) < 8 or length > LONGEST_HEADER):
                raise RefusedError(
                    f"{file} is {what} under a safetensors name; it is not opened. Find another copy"
                )
        size = file.stat().st_size
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size} cannot be")
        header = parse_json(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    header.pop("__metadata__", None)  # words for people; the library checks that they are
    spans = sorted((*_span(file, name, entry), name) for name, entry in header.items())
    payload = size - 8 - length
    edges = [(0, 0, "the header"), *spans, (payload, payload, "the end of the file")]
    for (_, end, one), (begin, _, other) in pairwise(edges):
        if begin < end:
            raise ValueError(f"{one} runs {end - begin} bytes into {other}")
        if begin > end:
            raise ValueError(f"{begin - end} bytes between {one} and {other} belong to no tensor")


def _span(file: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, once it is sure that its dtype and shape need just that room."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **others} if not others:
            pass
        case _:
            raise ValueError(f"{name} is not described by dtype, shape and data_offsets alone")
    if dtype not in DTYPES:
        raise RefusedError(f"{file}: {name} is of dtype {dtype!r}, which sijo does not read; it reads {[*DTYPES]}")
    numbers = (*shape, begin, end)
    if len(shape) > MOST_DIMENSIONS or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(f"{name} has the shape {shape[:8]} at {begin!r} to {end!r}, which cannot be")
    if math.prod(shape) * DTYPES[dtype].itemsize != end - begin:
        raise ValueError(f"{name} of shape {shape[:8]} in {dtype} does not take bytes {begin} to {end}")
    return begin, end


def write_file(file: Path, tensors: dict[str, Tensor]) -> None:
    """One safetensors file: 8 bytes for the length of the header, the header, and the tensors side by side.

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
    with file.open("xb") as opened:  # never over a file that tensors may be mapped from: that ends the process
        opened.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in ordered:
            opened.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
