"""Which files of a folder are a model and travel to the Hub and from it; everything else stays where it is."""

from sijo.checkpoints.locate import BESIDE_WEIGHTS
from sijo.files.manifest import FOR_PEOPLE, MANIFEST, decides

TRAINING = ("optimizer", "scheduler", "rng_state", "state", "training_args", "journal")
"""How the names of files begin that a run goes on from; none is part of a model."""


def travels(name: str) -> bool:
    """Whether a file of that name is part of a model.

    >>> [travels(name) for name in ("model.safetensors", "onnx/model.onnx", "README.md", "1_Pooling/config.json")]
    [True, True, True, True]
    >>> [travels(name) for name in (".cache/index.json", "optimizer.safetensors", "weights.bin", "results.json")]
    [False, False, False, False]
    >>> travels("checkpoints/step-200/model.safetensors"), travels("modeling_custom.py")
    (False, False)
    """
    *folders, last = name.split("/")
    if "checkpoints" in folders or any(folder.startswith("checkpoint-") for folder in folders):
        return False
    if last.startswith(TRAINING) and last.endswith((".safetensors", ".json")):
        return False
    return decides(name) or name in (*FOR_PEOPLE, MANIFEST, *BESIDE_WEIGHTS)
