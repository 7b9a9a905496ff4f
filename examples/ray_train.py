"""Pretraining on a Ray cluster: python examples/ray_train.py electra-base --corpus text/ --out /shared/runs/electra

Ray Train places the workers, tells each of the others, and starts all of them again when one is lost; sijo finds
them in the environment as it does under torchrun, and --resume makes a restart exact. OUT must be on a disk
that all workers share. Needs `pip install "ray[train]"`.
"""

import os
import sys

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

WORKERS = int(os.environ.get("SIJO_WORKERS", "2"))
ON_GPU = os.environ.get("SIJO_GPU", "0") == "1"


def work(given: dict[str, list[str]]) -> None:
    """One worker: the command line, in this process."""
    from sijo.app.cli import run

    code = run(["pretrain", *given["arguments"], "--resume", "--quiet"])
    if code:
        raise RuntimeError(f"sijo pretrain ended with exit code {code}")
    ray.train.report({})


if __name__ == "__main__":
    trainer = TorchTrainer(
        work,
        train_loop_config={"arguments": sys.argv[1:]},
        scaling_config=ScalingConfig(num_workers=WORKERS, use_gpu=ON_GPU),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    )
    trainer.fit()
