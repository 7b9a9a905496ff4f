"""Where metrics go besides a run's own files: TensorBoard, wandb or trackio."""

import importlib.util
import secrets
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, Protocol

from sijo.errors import SettingError

Tracker = Literal["none", "tensorboard", "wandb", "trackio"]


class Tracking(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        """Send the numbers of a step."""

    def close(self) -> None:
        """Send what is left."""


class TensorBoard:
    """Curves in RUN/tensorboard, for `tensorboard --logdir`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        for name, value in fields.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Hosted:
    """A run of wandb or of trackio, which answer to the same calls.

    Its identity stands in RUN/tracker-id, so that a resumed run goes on with the same curves there, and
    two runs in folders of one name stay two.
    """

    def __init__(self, package: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self._module = importlib.import_module(package)
        file = folder / "tracker-id"
        if not file.is_file():
            file.write_text(secrets.token_hex(4))
        number, name = file.read_text(), folder.resolve().name
        about = {"name": name, "id": number, "dir": str(folder)}
        if package == "trackio":  # knows runs by their names
            about = {"name": f"{name}-{number}"}
        self._call("init", project="sijo", config=dict(settings), resume="allow", **about)

    def log(self, step: int, fields: Mapping[str, float]) -> None:
        self._call("log", {name: value for name, value in fields.items() if name != "step"}, step=step)

    def close(self) -> None:
        self._call("finish")

    def _call(self, name: str, /, *arguments: object, **options: object) -> None:
        with redirect_stdout(sys.stderr):  # standard output is for results
            getattr(self._module, name)(*arguments, **options)


def open_tracker(name: Tracker, folder: Path, settings: Mapping[str, Any]) -> Tracking | None:
    """Where metrics are sent besides; None for "none". Raises as `check_tracker` does."""
    check_tracker(name)
    match name:
        case "none":
            return None
        case "tensorboard":
            return TensorBoard(folder, settings)
        case _:
            return Hosted(name, folder, settings)


def check_tracker(name: Tracker) -> None:
    """Raises SettingError where a tracker is not installed, before hours are spent on a corpus.

    >>> check_tracker("none")
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise SettingError(
            f'run.tracker="{name}" needs the package {name}, which is not installed: pip install {name}; or leave '
            'it at "none": metrics.jsonl is written in any case'
        )
