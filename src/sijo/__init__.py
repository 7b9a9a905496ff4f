"""sijo: compact language models that label text nobody trained them to label.

Each public name is loaded when it is first touched, so `import sijo` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sijo.version import __version__

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model as Model
    from sijo.checkpoints.load import create as create
    from sijo.checkpoints.load import load as load
    from sijo.checkpoints.save import save as save
    from sijo.errors import SijoError as SijoError
    from sijo.generation.attribute import attribute as attribute
    from sijo.generation.generate import generate as generate
    from sijo.inference.engine import encode as encode
    from sijo.nn.architecture import Architecture as Architecture
    from sijo.zeroshot.classifier import ZeroShotClassifier as ZeroShotClassifier
    from sijo.zeroshot.labeller import Row as Row

_ROOMS = {
    "Architecture": "sijo.nn.architecture",
    "Model": "sijo.checkpoints.load",
    "Row": "sijo.zeroshot.labeller",
    "SijoError": "sijo.errors",
    "ZeroShotClassifier": "sijo.zeroshot.classifier",
    "attribute": "sijo.generation.attribute",
    "create": "sijo.checkpoints.load",
    "encode": "sijo.inference.engine",
    "generate": "sijo.generation.generate",
    "load": "sijo.checkpoints.load",
    "save": "sijo.checkpoints.save",
}
__all__ = [*_ROOMS, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'sijo' has no attribute {name!r}; there are {', '.join(_ROOMS)}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
