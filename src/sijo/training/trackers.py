"""Where metrics go besides a run's own files: TensorBoard, wandb or trackio."""

import importlib.util
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

from sijo.errors import SettingError
from sijo.files.atomic import whole_file
from sijo.files.paths import FolderFile, present
from sijo.files.private import make_folder

Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
LONGEST_ID = 100
"""Bytes of what a tracker knows a run by."""
Log = Callable[[int, Mapping[str, float]], None]
"""Sends the numbers of a step."""


@contextmanager
def open_tracker(name: Tracker, folder: Path, settings: Mapping[str, Any]) -> Iterator[Log | None]:
    """Where metrics are sent besides metrics.jsonl; None for "none". Raises as `check_tracker` does.

    tensorboard     curves in RUN/tensorboard, for `tensorboard --logdir`
    wandb, trackio  a run there. Its identity stands in RUN/tracker-id, so that a resumed run continues the same
                    curves, and two runs in folders of one name stay two
    """
    check_tracker(name)
    if name in ("tensorboard", "wandb"):
        make_folder(folder / name)
    if name == "none":
        yield None
    elif name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter(str(folder / "tensorboard"))

        def add_scalars(step: int, fields: Mapping[str, float]) -> None:
            for field, value in fields.items():
                writer.add_scalar(field, value, step)

        with closing(writer):
            yield add_scalars
    else:
        file = FolderFile(folder, "tracker-id")
        if present(folder, file.name) is None:
            with whole_file(file.path) as out:
                out.write(secrets.token_hex(4).encode())
        number, title = file.read_bytes(LONGEST_ID).decode(), folder.resolve().name
        about = {"name": title, "id": number, "dir": str(folder)}
        if name == "trackio":  # knows runs by their names
            about = {"name": f"{title}-{number}"}
        _call(name, "init", project="sijo", config=dict(settings), resume="allow", **about)

        def log(step: int, fields: Mapping[str, float]) -> None:
            _call(name, "log", {field: value for field, value in fields.items() if field != "step"}, step=step)

        try:
            yield log
        finally:
            _call(name, "finish")


def _call(package: str, name: str, /, *arguments: object, **options: object) -> None:
    """Call a function of wandb or of trackio, which answer to the same calls."""
    with redirect_stdout(sys.stderr):  # standard output is for results
        getattr(importlib.import_module(package), name)(*arguments, **options)


def check_tracker(name: Tracker) -> None:
    """Raises SettingError where a tracker is not installed, before hours are spent on a corpus.

    >>> check_tracker("none")
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise SettingError(
            f'run.tracker="{name}" needs the package {name}, which is not installed: pip install {name}; or leave '
            'it at "none": metrics.jsonl is written in any case'
        )
