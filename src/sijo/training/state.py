"""The checkpoints of a run: written whole or not at all, the newest whole one read again, old ones deleted.

    OUT/checkpoints/step-00000500/
        weights.safetensors    every weight of the objective, by its name there
        optimizer.safetensors  the state of the optimizer
        average.safetensors    their moving average, where the run keeps one
        memory.safetensors     the state of the objective besides weights, where it has one
        state.json             where the run stood, and what it ran on
        manifest.json          a SHA-256 for each file

No random state is kept: every random number is a function of the seed, the step and the sample. Tensors are whole,
whatever number of processes they were shared among, so a run may go on among more or fewer.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from sijo.checkpoints.weights import read_file, write_file
from sijo.errors import CheckpointError
from sijo.files.atomic import whole_folder
from sijo.files.json_files import read_object, write_json
from sijo.files.manifest import MANIFEST, verify
from sijo.files.paths import FolderFile, present

NAME = re.compile(r"step-(\d{8,})")
DAMAGED = ".damaged"
TENSORS = ("weights", "optimizer", "average", "memory")
"""Parts of a checkpoint that have a file of their own, unless they are empty."""


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    step: int
    """How many updates of the weights it comes after."""
    fields: dict[str, Any]
    """What state.json says."""
    weights: dict[str, Tensor]
    """By name, mapped from the file."""
    optimizer: dict[str, Tensor]
    """The state of the optimizer, by "<weight>.<slot>"."""
    average: dict[str, Tensor]
    """The moving average of the weights; empty where the run keeps none."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """The state of the objective besides weights; mostly empty."""


def save(folder: Path, saved: Saved, *, keep: int) -> Path:
    """Write a checkpoint beside the others, then delete all but the newest `keep`.

    Nothing is deleted before the new one is whole and on the disk. Raises OSError when it cannot be written, and
    the others are as they were.
    """
    target = folder / f"step-{saved.step:08}"
    with whole_folder(target) as fresh:
        write_json(fresh / "state.json", {"step": saved.step} | saved.fields)
        for name in TENSORS:
            if tensors := getattr(saved, name):
                write_file(fresh / f"{name}.safetensors", tensors)
    for _, old in steps(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def newest(folder: Path, tell: Callable[[str], None] = lambda sentence: None) -> Saved | None:
    """The newest checkpoint that is as it was saved; None when there is none.

    A damaged one is reported and renamed to NAME.damaged, never deleted; what a killed process left half written is
    deleted. Only one process may call it at a time.
    """
    for partial in folder.glob(".step-*.part"):
        shutil.rmtree(partial, ignore_errors=True)
    for step, place in reversed(steps(folder)):
        try:
            return _read(place, step)
        except CheckpointError as error:
            aside = place.with_name(place.name + DAMAGED)
            while aside.exists():
                aside = aside.with_name(aside.name + DAMAGED)
            place.rename(aside)
            tell(f"{error}. It is kept as {aside.name}, and the checkpoint before it is used")
    return None


def steps(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder with their steps, oldest first, whether they are whole or not."""
    names = [(NAME.fullmatch(path.name), path) for path in folder.glob("step-*") if not path.is_symlink()]
    return sorted((int(name[1]), path) for name, path in names if name is not None)


def _read(place: Path, step: int) -> Saved:
    if present(place, MANIFEST) is None:
        raise CheckpointError(f"{place} has no manifest.json, so it was not written to its end")
    verify(place)
    fields = read_object(FolderFile(place, "state.json"))
    if fields.pop("step", None) != step:
        raise CheckpointError(f"{place} is a checkpoint of another step, renamed")
    files = {name: present(place, f"{name}.safetensors") for name in TENSORS}
    parts = {name: {} if file is None else read_file(file) for name, file in files.items()}
    return Saved(step, fields, **parts)
