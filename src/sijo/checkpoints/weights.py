"""Tensors from safetensors files, and nothing else.

Pickle can run code when it is read, so it is refused by a file's name and by its first bytes.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sijo.errors import CheckpointError, RefusedError

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
MAGIC = {
    b"\x80": "a pickle",
    b"PK\x03\x04": "a zip archive, as torch.save writes around a pickle",
    b"\x93NUMPY": "a numpy file",
    b"\x1f\x8b": "a gzip archive",
}
LONGEST_HEADER = 100_000_000
"""Bytes that the safetensors format allows a header."""


def weights_file(folder: Path) -> Path:
    """The safetensors file of a checkpoint folder.

    Raises RefusedError when the folder holds only pickled weights or weights in several files, and
    CheckpointError when it holds none.
    """
    file = folder / "model.safetensors"
    if file.is_file():
        return file
    if (folder / "model.safetensors.index.json").exists():
        raise RefusedError(f"{folder} holds weights in several files, which this version of sijo does not read")
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise RefusedError(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which can run code when opened; "
            "sijo reads model.safetensors only. Ask for a safetensors version of the model, or convert it"
        )
    raise CheckpointError(f"{folder} has no model.safetensors: it is not a model, or was copied in part")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, by its published name, mapped from the file.

    Raises RefusedError for a pickle under a safetensors name, CheckpointError for a file cut short
    or otherwise damaged.
    """
    with file.open("rb") as opened:
        start = opened.read(8)
    for magic, what in MAGIC.items():
        # the first 8 bytes of a safetensors file are the length of its header, and may look like a magic number
        if start.startswith(magic) and (len(start) < 8 or int.from_bytes(start, "little") > LONGEST_HEADER):
            raise RefusedError(f"{file} is {what} under a safetensors name; it is not opened. Find another copy")
    try:
        with safe_open(str(file), framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file} is damaged or cut short ({error}); copy or download it again") from None


def fill(model: torch.nn.Module, weights: dict[str, Tensor], *, source: Path, dtype: torch.dtype) -> None:
    """Give a model built on the `meta` device its weights, by our names.

    Raises CheckpointError that lists what was not filled and what has another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    absent = [f"{name} {shape}" for name, shape in wanted.items() if name not in weights]
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if absent or misshapen:
        few = "; ".join((misshapen + [f"no {name}" for name in absent])[:4])
        raise CheckpointError(
            f"{source} does not hold the weights its config.json describes: {len(absent)} of {len(wanted)} "
            f"tensors are absent and {len(misshapen)} have another shape ({few}); copy the folder again"
        )
    model.load_state_dict({name: weights[name].to(dtype) for name in wanted}, assign=True)
