"""The safetensors files of a folder and the names of their tensors, known without torch.

Pickle can run code when it is read, so it is refused by a file's name and by its first bytes. A
header is checked here, word by word, before any of its numbers is used.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sijo.checkpoints.onnx.files import onnx_files
from sijo.errors import CheckpointError, RefusedError
from sijo.files.json_files import LONGEST_JSON, parse_json, read_object
from sijo.files.paths import FolderFile, allow_files, present
from sijo.files.system import read_at
from sijo.texts import half_character

Content = TypeVar("Content")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
BLOCK_WEIGHTS = "model_blocks.safetensors"
"""The file of weights of few bits (`blocks.py`); not the others' name, by which transformers would open it, and
fill what it does not find with random numbers."""
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Every dtype that sijo reads, and the bytes of a number."""
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
MOST_TENSORS = 100_000
"""In a file, or in an index; a network of a thousand layers has a fifth."""
MOST_SHARDS = 1_000
LONGEST_NAME = 10_000
"""Characters of a tensor's name; the longest in use has 130."""
MOST_DIMENSIONS = 64
"""What torch allows; the product of a million sizes would take hours."""


class TensorEntry(NamedTuple):
    """What a header says of a tensor."""

    begin: int
    """Bytes after the header."""
    end: int
    dtype: str
    shape: tuple[int, ...]


def has_weights(folder: Path) -> bool:
    """Whether a folder has weights in safetensors, in blocks too, or an index of them.

    >>> has_weights(Path("."))
    False
    """
    return any(present(folder, name) is not None for name in (WEIGHTS, INDEX, BLOCK_WEIGHTS))


def weight_files(folder: Path) -> list[FolderFile]:
    """The safetensors files of a checkpoint folder, in order of names.

    Raises RefusedError when the folder holds only pickled weights or leads outside, and
    CheckpointError when it holds none or only a part.
    """
    file = present(folder, WEIGHTS)
    if file is not None:
        return [file]
    index = present(folder, INDEX)
    if index is not None:
        return [_shard(folder, name) for name in sorted(set(weight_map(index).values()))]
    blocks = present(folder, BLOCK_WEIGHTS)
    if blocks is not None:
        return [blocks]
    pickled = sorted((path.name for path in folder.iterdir() if path.suffix in PICKLED), key=_by_usual_name)
    if pickled:
        raise RefusedError(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which can run code when opened; "
            f"sijo reads {WEIGHTS} only. Ask for a safetensors version of the model, or make one with "
            f"`sijo convert {folder} NEW`"
        )
    if onnx_files(folder):
        raise CheckpointError(
            f"{folder} has no {WEIGHTS}, only ONNX files, which label and encode texts (--backend onnx) and do "
            "nothing else; use another copy of the model"
        )
    raise CheckpointError(f"{folder} has no {WEIGHTS}: it is not a model, or was copied in part")


def _by_usual_name(name: str) -> tuple[bool, str]:
    """What `torch.save` wrote of the whole network goes before others, such as bge-m3's colbert_linear.pt."""
    return not name.startswith("pytorch_model"), name


def by_name(folder: Path, read: Callable[[FolderFile], Mapping[str, Content]]) -> dict[str, Content]:
    """What `read` gives of each tensor of a checkpoint folder, by its published name.

    read  from one safetensors file to what is wanted of each of its tensors, by name

    Raises RefusedError for a pickle under whatever name, CheckpointError for a file cut short or
    otherwise damaged, and for shards that do not hold just what their index says.
    """
    files = weight_files(folder)
    if files[0].name in (WEIGHTS, BLOCK_WEIGHTS):
        return dict(read(files[0]))
    contents: dict[str, Content] = {}
    index = present(folder, INDEX)
    listed: dict[str, set[str]] = defaultdict(set)
    for name, place in ({} if index is None else weight_map(index)).items():
        listed[place].add(name)
    allow_files(len(files))
    for file in files:
        shard, wanted = read(file), listed[file.name]
        astray = [f"no {shown(name)}" for name in sorted(wanted - shard.keys())]
        astray += [f"{shown(name)} twice" for name in sorted(shard.keys() & contents.keys())]
        astray += [f"{shown(name)} unasked" for name in sorted(shard.keys() - wanted - contents.keys())]
        if astray:
            raise CheckpointError(
                f"{file} does not hold the tensors that {INDEX} says: it holds {', '.join(astray[:4])}"
                f"{', …' if len(astray) > 4 else ''}; copy the folder again"
            )
        contents |= shard
    return contents


def weight_map(index: FolderFile) -> dict[str, str]:
    """Which shard holds which tensor, as the index says."""
    shard_of = read_object(index).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of or not all(isinstance(at, str) for at in shard_of.values()):
        raise CheckpointError(f"{index} has no weight_map that names a file for each tensor; copy it again")
    for most, what, count in (
        (MOST_SHARDS, "files", len(set(shard_of.values()))),
        (MOST_TENSORS, "tensors", len(shard_of)),
    ):
        if count > most:
            raise CheckpointError(f"{index} names more than {most} {what}, which cannot be; copy it again")
    try:
        for name in shard_of:
            _check_name(name)
    except ValueError as error:
        raise CheckpointError(f"{index} cannot be right: {error}; copy it again") from None
    return shard_of


def read_header(file: FolderFile, content: Any = None) -> dict[str, TensorEntry]:
    """What the header of a safetensors file says of each of its tensors, in their order in the file.

    content  the bytes of the file, where they were read already

    Raises CheckpointError where it is not true of the file, and RefusedError for another format or dtype.
    """
    try:
        if content is not None:
            return _entries(file, len(content), lambda begin, end: bytes(content[begin:end]))
        with FolderFile(file.folder, file.name, check=False).open() as stream:
            handle = stream.fileno()
            size = os.fstat(handle).st_size
            return _entries(file, size, lambda begin, end: read_at(handle, end - begin, begin))
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged or cut short ({error}); copy or download it again") from None


def payload_begins(content: Any) -> int:
    """Where the numbers begin in the bytes of a safetensors file whose header was read."""
    return 8 + int.from_bytes(content[:8], "little")


def _shard(folder: Path, name: str) -> FolderFile:
    file = present(folder, name)
    if file is None:
        raise CheckpointError(f"{folder / name} is absent, though {INDEX} names it; copy the folder again")
    return file


def _entries(file: FolderFile, size: int, read: Callable[[int, int], bytes]) -> dict[str, TensorEntry]:
    """Raise ValueError for a header that is not true of a file of that size, RefusedError for another format."""
    start = read(0, 8)
    length = int.from_bytes(start, "little")
    for magic, what in MAGIC.items():
        if start.startswith(magic) and (len(start) < 8 or length > LONGEST_HEADER):
            raise RefusedError(f"{file} is {what} under a safetensors name; it is not opened. Find another copy")
    if not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {size} cannot be")
    header = parse_json(read(8, 8 + length))
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    words = header.pop("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise ValueError("its __metadata__ is not of texts")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"its header names more than {MOST_TENSORS} tensors, which cannot be")
    found = sorted((_entry(file, name, entry), name) for name, entry in header.items())
    payload = size - 8 - length
    edges = [(0, 0, "the header"), *((at.begin, at.end, name) for at, name in found)]
    edges += [(payload, payload, "the end of the file")]
    for (_, end, before), (begin, _, after) in pairwise(edges):
        if begin < end:
            raise ValueError(f"{shown(before)} runs {end - begin} bytes into {shown(after)}")
        if begin > end:
            raise ValueError(f"{begin - end} bytes between {shown(before)} and {shown(after)} belong to no tensor")
    return {name: entry for entry, name in found}


def shown(name: str) -> str:
    """A tensor's name for a sentence about it: not for a terminal to obey, or to fill a log.

    >>> shown("pooler.dense.bias"), shown("\\x1b[2J")
    ('pooler.dense.bias', "'\\\\x1b[2J'")
    """
    return name if name.isprintable() and len(name) < 150 else f"{name!r:.150}"


def _check_name(name: str) -> None:
    """Raise ValueError for what no tensor is called, since no text, or no file of texts, can hold it."""
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name or half_character(name):
        raise ValueError(f"{name!r:.60} is no name of a tensor")


def _entry(file: FolderFile, name: str, entry: Any) -> TensorEntry:
    """What is said of a tensor, once it is sure that its dtype and shape need just its bytes."""
    _check_name(name)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
            pass
        case _:
            raise ValueError(f"{shown(name)} is not described by dtype, shape and data_offsets alone")
    if dtype not in ITEM_BYTES:
        raise RefusedError(
            f"{file}: {shown(name)} is of dtype {dtype!r:.60}, which sijo does not read; it reads {[*ITEM_BYTES]}"
        )
    numbers = (*shape, begin, end)
    if len(shape) > MOST_DIMENSIONS or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(
            f"{shown(name)} has the shape {_short(shape[:8])} at {_short(begin)} to {_short(end)}, which cannot be"
        )
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise ValueError(f"{shown(name)} of shape {shape[:8]} in {dtype} does not take bytes {begin} to {end}")
    return TensorEntry(begin, end, dtype, tuple(shape))


def _short(value: object) -> str:
    return f"{value!r:.60}"
