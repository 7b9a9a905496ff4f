"""sijo: compact language models that label text nobody trained them to label.

Each public name is loaded when it is first touched, so `import sijo` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sijo.errors import not_installed
from sijo.version import __version__

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model as Model
    from sijo.checkpoints.load import create as create
    from sijo.checkpoints.load import load as load
    from sijo.checkpoints.save import save as save
    from sijo.errors import SijoError as SijoError
    from sijo.errors import SijoWarning as SijoWarning
    from sijo.generation.attribute import attribute as attribute
    from sijo.generation.generator import generate as generate
    from sijo.inference.encode import encode as encode
    from sijo.inference.open_models import close_models as close_models
    from sijo.jobs.fitting.classifier import FewShotClassifier as FewShotClassifier
    from sijo.nn.architecture import Architecture as Architecture
    from sijo.pipelines.pipeline import pipeline as pipeline
    from sijo.prediction.answers import Prediction as Prediction
    from sijo.prediction.predictor import predict as predict
    from sijo.zeroshot.class_vectors.classifier import ClassVectorClassifier as ClassVectorClassifier
    from sijo.zeroshot.classifier import ZeroShotClassifier as ZeroShotClassifier
    from sijo.zeroshot.label_files import read_labels as read_labels
    from sijo.zeroshot.labeller import LabelPrediction
    from sijo.zeroshot.labels import Label as Label
    from sijo.zeroshot.labels import LabelSet as LabelSet

    Row = LabelPrediction

_PLACES = {
    "Architecture": "sijo.nn.architecture.Architecture",
    "ClassVectorClassifier": "sijo.zeroshot.class_vectors.classifier.ClassVectorClassifier",
    "FewShotClassifier": "sijo.jobs.fitting.classifier.FewShotClassifier",
    "Label": "sijo.zeroshot.labels.Label",
    "LabelSet": "sijo.zeroshot.labels.LabelSet",
    "Prediction": "sijo.prediction.answers.Prediction",
    "Model": "sijo.checkpoints.load.Model",
    "Row": "sijo.zeroshot.labeller.LabelPrediction",
    "SijoError": "sijo.errors.SijoError",
    "SijoWarning": "sijo.errors.SijoWarning",
    "ZeroShotClassifier": "sijo.zeroshot.classifier.ZeroShotClassifier",
    "attribute": "sijo.generation.attribute.attribute",
    "close_models": "sijo.inference.open_models.close_models",
    "create": "sijo.checkpoints.load.create",
    "encode": "sijo.inference.encode.encode",
    "generate": "sijo.generation.generator.generate",
    "load": "sijo.checkpoints.load.load",
    "pipeline": "sijo.pipelines.pipeline.pipeline",
    "predict": "sijo.prediction.predictor.predict",
    "read_labels": "sijo.zeroshot.label_files.read_labels",
    "save": "sijo.checkpoints.save.save",
}
__all__ = [*_PLACES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'sijo' has no attribute {name!r}; there are {', '.join(_PLACES)}")
    module, _, attribute = _PLACES[name].rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise not_installed(error) or error from None


def __dir__() -> list[str]:
    return sorted(__all__)
