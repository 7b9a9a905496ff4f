"""The safetensors files of a folder and the names of their tensors, known without torch.

Pickle can run code when it is read, so it is refused by a file's name and by its first bytes. A
header is checked here, word by word, before the file is handed to the library.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from sijo.errors import CheckpointError, RefusedError
from sijo.files.folders import LONGEST_JSON, parse_json, present, read_object

Content = TypeVar("Content")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
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


def tensor_names(folder: Path) -> dict[str, None]:
    """The names of a checkpoint folder's tensors, from the headers of its files; raises as `by_name` does."""
    return by_name(folder, _names)


def by_name(folder: Path, read: Callable[[Path], Mapping[str, Content]]) -> dict[str, Content]:
    """What `read` gives of each tensor of a checkpoint folder, by its published name.

    read  from one safetensors file to what is wanted of each of its tensors, by name

    Raises RefusedError for a pickle under whatever name, CheckpointError for a file cut short or
    otherwise damaged, and for shards that do not hold just what their index says.
    """
    files = weight_files(folder)
    if files == [folder / WEIGHTS]:
        return dict(read(files[0]))
    contents: dict[str, Content] = {}
    wanted = weight_map(folder / INDEX)
    for file in files:
        shard = read(file)
        name_of_shard = file.relative_to(folder).as_posix()
        listed = {name for name, place in wanted.items() if place == name_of_shard}
        astray = [f"no {name}" for name in sorted(listed - shard.keys())]
        astray += [f"{name} twice" for name in sorted(shard.keys() & contents.keys())]
        astray += [f"{name} unasked" for name in sorted(shard.keys() - listed - contents.keys())]
        if astray:
            raise CheckpointError(
                f"{file} does not hold the tensors that {INDEX} says: it holds {', '.join(astray[:4])}"
                f"{', …' if len(astray) > 4 else ''}; copy the folder again"
            )
        contents |= shard
    return contents


@contextmanager
def opened(file: Path, framework: str) -> Iterator[Any]:
    """A safetensors file as the library opens it for a framework, "pt" or "np", once its header is checked."""
    try:
        _check(file)
        with safe_open(str(file), framework=framework) as tensors:
            yield tensors
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file} is damaged or cut short ({error}); copy or download it again") from None


def _names(file: Path) -> dict[str, None]:
    with opened(file, "np") as tensors:
        return dict.fromkeys(tensors.keys())


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
    header.pop("__metadata__", None)  # text for people; the library checks that it is
    spans = sorted((*_span(file, name, entry), name) for name, entry in header.items())
    payload = size - 8 - length
    edges = [(0, 0, "the header"), *spans, (payload, payload, "the end of the file")]
    for (_, end, before), (begin, _, after) in pairwise(edges):
        if begin < end:
            raise ValueError(f"{before} runs {end - begin} bytes into {after}")
        if begin > end:
            raise ValueError(f"{begin - end} bytes between {before} and {after} belong to no tensor")


def _span(file: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, once it is sure that its dtype and shape need just that room."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
            pass
        case _:
            raise ValueError(f"{name} is not described by dtype, shape and data_offsets alone")
    if dtype not in ITEM_BYTES:
        raise RefusedError(
            f"{file}: {name} is of dtype {dtype!r}, which sijo does not read; it reads {[*ITEM_BYTES]}"
        )
    numbers = (*shape, begin, end)
    if len(shape) > MOST_DIMENSIONS or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(f"{name} has the shape {shape[:8]} at {begin!r} to {end!r}, which cannot be")
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise ValueError(f"{name} of shape {shape[:8]} in {dtype} does not take bytes {begin} to {end}")
    return begin, end
