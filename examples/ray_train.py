"""Pretraining on a Ray cluster: python examples/ray_train.py electra-base /shared/runs/electra text/ run.steps=9

RECIPE, the run's folder, files or folders of text, and settings to change, as `sijo pretrain --set` takes them.

Ray Train places the workers, tells each of the others, and starts all of them again when one is lost; sijo finds
them as it does under torchrun, and resuming makes a restart exact. The run's folder must be on a disk that all
workers share. Needs `pip install "ray[train]"`. SIJO_WORKERS=2 and SIJO_GPU=0 say how many, and on what.
"""

import os
import sys
from pathlib import Path
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def work(options: dict[str, Any]) -> None:
    """One worker: the library's call, in this process."""
    from sijo.app.training.pretrain import resolved
    from sijo.jobs.prepare import CorpusSource
    from sijo.jobs.pretrain import pretrain

    settings, source = resolved(options["recipe"], options["set"]), CorpusSource(sources=options["corpus"])
    for step in pretrain(settings, source, Path(options["out"]), resume=True):
        if step.checkpoint:
            ray.train.report({"step": step.number, "loss": step.loss, **step.losses})


if __name__ == "__main__":
    recipe, out, *rest = sys.argv[1:]
    corpus, changes = [word for word in rest if "=" not in word], [word for word in rest if "=" in word]
    workers, gpu = int(os.environ.get("SIJO_WORKERS", "2")), os.environ.get("SIJO_GPU", "0") == "1"
    TorchTrainer(
        work,
        train_loop_config={
            "recipe": recipe,
            "out": os.path.realpath(out),
            "corpus": [os.path.realpath(path) for path in corpus],
            "set": changes,
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()
