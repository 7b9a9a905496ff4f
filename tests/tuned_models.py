"""Fine-tuned models that nobody trained: a head over the tiny encoder, every weight of it moved."""

import pytest
import torch

import sijo
from sijo.prediction.task import PROBLEMS

TAGS = ("O", "B-place", "I-place", "B-name", "I-name")
CLASSES = ("여행", "은행", "집")


def moved(model, seed=3):
    """The model with every weight of its head far from where it began."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance))
    return model


@pytest.fixture(scope="session")
def tuned(tiny_model, tmp_path_factory):
    """`tuned(task, labels=…, **fields)`: the folder of a model with the head of a task; made once each."""
    made = {}

    def make(task, labels=None, seed=3, **fields):
        head = {
            "tagging": "token-classification",
            "question-answering": "question-answering",
            "multiple-choice": "multiple-choice",
        }.get(task, "sequence-classification")
        usual = {"tagging": TAGS, "regression": ("score",)}.get(task, CLASSES)
        names = None if "-" in task and task != "multi-label" else list(labels or usual)
        key = (task, tuple(names or ()), seed, str(fields))
        if key not in made:
            model = moved(sijo.load(tiny_model, f"new:{head}", labels=names), seed)
            if task in PROBLEMS:
                model.config["problem_type"] = PROBLEMS[task]
            model.config |= fields
            made[key] = sijo.save(model, tmp_path_factory.mktemp("tuned") / task)
        return made[key]

    return make
