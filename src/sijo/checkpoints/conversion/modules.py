"""The modules of a sentence encoder beside its network, in a folder that is made of another: pickles made safe."""

from collections.abc import Callable
from pathlib import Path

from sijo.checkpoints.conversion.pickled import read_pickled
from sijo.checkpoints.vectors.fitted_head import FITTED
from sijo.checkpoints.vectors.steps import PICKLE, WEIGHTS
from sijo.checkpoints.weight_files import PICKLED
from sijo.checkpoints.weights import write_file
from sijo.errors import CheckpointError
from sijo.files.json_files import LONGEST_JSON, read_json, write_json
from sijo.files.paths import present

BESIDE = ("config_sentence_transformers.json", "README.md")
"""Of the model's folder, where the network is in one below."""
MOST = 64 * LONGEST_JSON
"""Bytes of a module's file, at most."""


def copy_modules(folder: Path, fresh: Path, tell: Callable[[str], object]) -> None:
    """Put the modules that modules.json lists into a folder whose network is in it, and say what is left.

    folder  of the model
    fresh   holds the network's files already

    The weights of a module in a pickle are read by a jailed process, as the network's are. A head that was fitted
    over the vectors is no module, and goes with them too.
    """
    _copy(folder, FITTED, fresh, tell)
    listed = present(folder, "modules.json")
    steps = None if listed is None else read_json(listed)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return  # none, or what opening the fresh folder refuses
    for number, step in enumerate(steps):
        path = str(step.get("path") or "")
        if number and path:
            _copy(folder, path, fresh, tell)
    if steps and steps[0].get("path"):
        write_json(fresh / "modules.json", [{**steps[0], "path": ""}, *steps[1:]])
        for name in BESIDE:
            if beside := present(folder, name):
                (fresh / name).write_bytes(beside.read_bytes(MOST))
    for file in sorted(folder.iterdir()):
        if file.suffix in PICKLED and not file.name.startswith("pytorch_model"):
            tell(f"left {file.name}, a pickle that no dense vector is made of")


def _copy(folder: Path, path: str, fresh: Path, tell: Callable[[str], object]) -> None:
    config, weights = (present(folder, f"{path}/{name}") for name in ("config.json", WEIGHTS))
    pickle = present(folder, f"{path}/{PICKLE}") if weights is None else None
    if not (config or weights or pickle):
        return
    (fresh / path).mkdir(exist_ok=True)
    for file in (config, weights):
        if file is not None:
            (fresh / file.name).write_bytes(file.read_bytes(MOST))
    if pickle is not None:
        tell(f"reading {pickle.name} in a process of its own")
        with read_pickled(pickle) as tensors:
            if not tensors:
                raise CheckpointError(f"{pickle} holds no tensors; copy it again")
            write_file(fresh / path / WEIGHTS, tensors)
