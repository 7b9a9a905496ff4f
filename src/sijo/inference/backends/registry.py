"""Every backend in a row: where its class is, when it suits a folder, what it needs. Known without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Literal, cast, get_args

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.files import onnx_file
from sijo.errors import SettingError, nearest
from sijo.inference.backends.backend import Backend, Precision

BackendName = Literal["auto", "torch", "onnx"]
RULE = "onnx where the folder holds an ONNX file of the asked precision and the processor runs it, else torch"
"""What `auto` takes."""


@dataclass(frozen=True, kw_only=True)
class BackendRow:
    """What is known of a backend without its class."""

    place: str
    """Its class, as module.name, with a class method `open`."""
    module: str
    """What must be installed."""
    install: str
    """The command that does."""
    suits: Callable[[FolderDescription, Precision], bool]
    """Whether `auto` may choose it for a folder, on the processor."""
    precisions: tuple[Precision, ...]
    """What it can compute in."""
    devices: tuple[str, ...]
    """Where."""


BACKENDS: dict[str, BackendRow] = {
    "torch": BackendRow(
        place="sijo.inference.backends.torch_backend.TorchBackend",
        module="torch",
        install="pip install 'sijo[torch]'",
        suits=lambda described, precision: True,
        precisions=("exact", "bf16", "fp16"),
        devices=("cpu", "cuda", "mps"),
    ),
    "onnx": BackendRow(
        place="sijo.inference.backends.onnx_backend.OnnxBackend",
        module="onnxruntime",
        install="pip install onnxruntime",
        suits=lambda described, precision: onnx_file(described.folder, precision) is not None,
        precisions=("exact", "fp16", "int8", "int4"),
        devices=("cpu",),
    ),
}
"""By name, from the most general to the most special: of those that suit a folder, `auto` takes the last."""


def chosen_backend(
    described: FolderDescription, backend: str = "auto", device: str = "auto", precision: Precision = "exact"
) -> str:
    """The name of the backend that reads a folder, by `RULE` where it is not named.

    Raises SettingError for a name, device or precision that there is not, and for what does not go together.

    >>> from sijo.checkpoints.locate import built_in
    >>> chosen_backend(FolderDescription(built_in()))
    'torch'
    """
    if backend not in get_args(BackendName):
        names = get_args(BackendName)
        raise SettingError(f"no backend {backend!r}{nearest(backend, names)}; there are {', '.join(names)}")
    if precision not in get_args(Precision):
        names = get_args(Precision)
        raise SettingError(
            f"no precision {precision!r}{nearest(precision, names)}; there are auto, {', '.join(names)}"
        )
    kind = device.partition(":")[0]
    if backend == "auto":
        able = [
            name
            for name, row in BACKENDS.items()
            if (kind == "auto" or kind in row.devices) and precision in row.precisions
        ]
        backend = next((name for name in reversed(able) if BACKENDS[name].suits(described, precision)), "torch")
    row = BACKENDS[backend]
    if precision not in row.precisions:
        raise SettingError(
            f"the {backend} backend does not compute in precision={precision!r} (--precision); it has "
            f"{', '.join(row.precisions)}"
        )
    if kind != "auto" and kind not in row.devices:
        raise SettingError(
            f"the {backend} backend has no device {device!r} (--device); it has {', '.join(row.devices)}"
        )
    return backend


def open_backend(
    described: FolderDescription,
    *,
    head: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "exact",
) -> Backend:
    """A folder's network, ready to read.

    described  the folder
    head       the head that is to answer; None for vectors
    backend    torch, onnx, or auto, by `RULE`
    device     auto, cpu, cuda, cuda:N, mps
    precision  exact for float32, bf16, fp16, int8, int4

    Raises SettingError for what does not go together, or is not installed, and what opening the folder raises.
    """
    name = chosen_backend(described, backend, device, precision)
    row = BACKENDS[name]
    if find_spec(row.module) is None:
        files = "" if name == "onnx" else ", or use a folder with ONNX files (`sijo export` writes them)"
        raise SettingError(
            f"{described.folder} is opened with {row.module}, which is not installed: {row.install}{files}"
        )
    opened = resolve_name(row.place).open(described, head=head, device=device, precision=precision)
    return cast(Backend, opened)
