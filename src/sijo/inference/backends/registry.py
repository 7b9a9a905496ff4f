"""Every backend in a row: where its class is, when it suits a folder, what it needs. Known without torch."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Literal, cast, get_args

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.files import onnx_file
from sijo.checkpoints.onnx.opened import onnx_heads, onnx_outputs
from sijo.errors import SettingError, SijoError, nearest, warn
from sijo.inference.backends.backend import Backend, Precision
from sijo.inference.backends.fitted_backend import FittedBackend
from sijo.nn.head_specs import CLASSIFIER
from sijo.processor import has_bf16, may_have_gpu

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
    suits: Callable[[FolderDescription, Precision, str | None], bool]
    """Whether `auto` may choose it for a folder, a precision and a head, or None for vectors, on the processor."""
    precisions: tuple[Precision, ...]
    """What it can compute in."""
    devices: tuple[str, ...]
    """Where."""


def _holds_onnx(described: FolderDescription, precision: Precision, head: str | None) -> bool:
    """Whether a folder holds an ONNX file of a precision that answers by a head."""
    file = onnx_file(described.folder, precision)
    if file is None:
        return False
    if head is not None:
        return head in onnx_heads(file, described)
    return onnx_outputs(file, described).gives_vectors(steps=bool(described.sentence.steps))


BACKENDS: dict[str, BackendRow] = {
    "torch": BackendRow(
        place="sijo.inference.backends.torch_backend.TorchBackend",
        module="torch",
        install="pip install 'sijo[torch]'",
        suits=lambda described, precision, head: described.onnx_alone is None,
        precisions=("exact", "bf16", "fp16", "int8"),
        devices=("cpu", "cuda", "mps"),
    ),
    "onnx": BackendRow(
        place="sijo.inference.backends.onnx_backend.OnnxBackend",
        module="onnxruntime",
        install="pip install onnxruntime",
        suits=_holds_onnx,
        precisions=("exact", "fp16", "int8", "int4"),
        devices=("cpu",),
    ),
}
"""By name, from the most general to the most special: of those that suit a folder, `auto` takes the last."""


def told_of_slow_bf16(precision: str, device: str) -> None:
    """Warn where a processor is asked for bf16 and does not multiply it itself."""
    if precision == "bf16" and device == "cpu" and not has_bf16():
        warn(
            "this processor does not multiply bfloat16 itself, which makes bf16 several times slower than float32; "
            "use --precision exact or int8 (in Python: precision=)"
        )


def device_of(name: str) -> str:
    """The device that a name stands for; auto is a GPU where torch finds one, else the processor.

    >>> device_of("cpu")
    'cpu'
    """
    if name == "cpu" or (name == "auto" and not (may_have_gpu() and find_spec("torch"))):
        return "cpu"
    if find_spec("torch") is None:
        raise SettingError(f"the device {name!r} needs torch, which is not installed: pip install 'sijo[torch]'")
    from sijo.inference.backends.devices import torch_device

    return torch_device(name)


def device_for(described: FolderDescription, backend: str, device: str) -> str:
    """The device that a name stands for; auto is the processor where nothing but ONNX files may run.

    >>> from sijo.checkpoints.locate import locate
    >>> device_for(FolderDescription(locate("all-minilm-l6-v2")), "onnx", "auto")
    'cpu'
    """
    only = backend == "onnx" or (backend == "auto" and described.onnx_alone is not None)
    return "cpu" if device == "auto" and only else device_of(device)


def chosen_backend(
    described: FolderDescription,
    backend: str = "auto",
    device: str = "cpu",
    precision: Precision = "exact",
    head: str | None = None,
) -> str:
    """The name of the backend that reads a folder, by `RULE` where it is not named.

    Raises SettingError for a name, device or precision that there is not, and for what does not go together.

    >>> from sijo.checkpoints.locate import locate
    >>> chosen_backend(FolderDescription(locate("all-minilm-l6-v2")))
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
    kind, head = device.partition(":")[0], described.network_head(head)
    if backend == "auto":
        able = [name for name, row in BACKENDS.items() if kind in row.devices and precision in row.precisions]
        none = "torch" if described.onnx_alone is None else "onnx"  # which says what the folder lacks
        backend = next((name for name in reversed(able) if BACKENDS[name].suits(described, precision, head)), none)
    row = BACKENDS[backend]
    if precision not in row.precisions:
        raise SettingError(
            f"the {backend} backend does not compute in precision={precision!r} (--precision); it has "
            f"{', '.join(row.precisions)}"
        )
    if kind not in row.devices:
        raise SettingError(
            f"the {backend} backend has no device {device!r} (--device); it has {', '.join(row.devices)}"
        )
    if backend == "torch" and described.onnx_alone is not None:
        raise SettingError(
            f"{described.folder} holds ONNX files alone, and torch runs weights in safetensors; leave --backend "
            "out (in Python: backend=), or use another copy of the model"
        )
    return backend


def judging_head(described: FolderDescription) -> str | None:
    """The head that a folder's texts are judged by; None for one that gives vectors of them."""
    return CLASSIFIER if CLASSIFIER in described.heads and not described.sentence.trained else None


def backends_of(described: FolderDescription) -> dict[str, str]:
    """The backend that auto takes on the processor, by precision, of those that are installed."""
    chosen: dict[str, str] = {}
    for precision in get_args(Precision):
        with suppress(SijoError, OSError):
            head = judging_head(described)
            name = chosen_backend(described, precision=precision, head=head)
            if find_spec(BACKENDS[name].module) and BACKENDS[name].suits(described, precision, head):
                chosen[precision] = name
    return chosen


def open_backend(
    described: FolderDescription,
    *,
    head: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "exact",
    threads: int | None = None,
) -> Backend:
    """A folder's network, ready to read.

    described  the folder
    head       the head that is to answer; None for vectors
    backend    torch, onnx, or auto, by `RULE`
    device     auto, cpu, cuda, cuda:N, mps
    precision  exact for float32, bf16, fp16, int8, int4
    threads    how many compute on the processor; None for `thread_count`'s

    Raises SettingError for what does not go together, or is not installed, and what opening the folder raises.
    """
    device = device_for(described, backend, device)
    name = chosen_backend(described, backend, device, precision, head)
    row = BACKENDS[name]
    told_of_slow_bf16(precision, device)
    if find_spec(row.module) is None:
        files = "" if name == "onnx" else ", or use a folder with ONNX files (`sijo export` writes them)"
        raise SettingError(
            f"{described.folder} is opened with {row.module}, which is not installed: {row.install}{files}"
        )
    settings = {"head": described.network_head(head), "device": device, "precision": precision, "threads": threads}
    opened = cast(Backend, resolve_name(row.place).open(described, **settings))
    fitted = described.fitted_head if head == CLASSIFIER else None
    return opened if fitted is None else FittedBackend(opened, fitted)
