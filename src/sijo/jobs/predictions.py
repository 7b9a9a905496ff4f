"""What a network predicts for labelled rows: the scores of its inputs, put together to one prediction a row."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import Task
from sijo.evaluation.metrics import SpanAnswer, best_span
from sijo.jobs.finetune_settings import AnswerSettings
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.scoring import scored
from sijo.objectives.supervised import Supervised


@dataclass
class Predictions:
    """What a network predicts for labelled rows."""

    loss: float
    """The mean loss of the labels."""
    labels: list[Any]
    """The prediction for each row, as `metrics_of` takes it."""
    scores: list[dict[str, Any]]
    """What is written down beside each: probabilities, or a score."""
    spans: list[SpanAnswer]
    """Of question-answering, before the threshold."""


@torch.inference_mode()
def predict_rows(
    objective: Supervised, inputs: LabelledInputs, settings: AnswerSettings, *, always: bool
) -> Predictions:
    """What a network predicts for labelled rows, without dropout.

    settings  of question-answering
    always    whether a question always has an answer, since no training row is without
    """
    scores: list[Any] = [None] * len(inputs)
    loss, count = 0.0, 0
    for numbers, posed, rows in scored(objective, inputs):
        tally = objective.label(rows, posed, objective.count(posed))
        loss, count = loss + tally.total.item(), count + tally.count
        for number, row in zip(numbers, _by_input(rows, posed, inputs.task), strict=True):
            scores[number] = row
    return Predictions(loss / max(count, 1), *_predicted(scores, inputs, settings, always=always))


def _by_input(rows: Tensor, posed: PosedBatch, task: Task) -> Iterator[Any]:
    """The scores of each input of a batch."""
    match task:
        case "tagging":
            yield from torch.split(rows.cpu(), posed.target_mask.sum(1).tolist())
        case "question-answering":
            starts, ends = rows.cpu().chunk(2)
            yield from zip(starts.numpy(), ends.numpy(), strict=True)
        case _:
            yield from rows.cpu()


def _predicted(
    scores: list[Any], inputs: LabelledInputs, settings: AnswerSettings, *, always: bool
) -> tuple[list[Any], list[dict[str, Any]], list[SpanAnswer]]:
    """The prediction for each row from the scores of its inputs."""
    names = inputs.names
    match inputs.task:
        case "classification":
            shares = [row.softmax(-1).tolist() for row in scores]
            best = [int(row.argmax()) for row in scores]
            beside = [{"score": row[column]} for row, column in zip(shares, best, strict=True)]
            return [names[column] for column in best], beside, []
        case "multi-label":
            shares = [row.sigmoid().tolist() for row in scores]
            labels = [
                [name for name, score in zip(names, row.tolist(), strict=True) if score > 0] for row in scores
            ]
            return labels, [{"scores": dict(zip(names, row, strict=True))} for row in shares], []
        case "regression":
            return [float(row[0]) for row in scores], [{}] * len(scores), []
        case "multiple-choice":
            shares = [row.softmax(-1).tolist() for row in scores]
            beside = [
                {"scores": row[: len(labelled.choices)]} for row, labelled in zip(shares, inputs.rows, strict=True)
            ]
            return [int(row.argmax()) for row in scores], beside, []
        case "tagging":
            return _tags(scores, inputs), [{}] * len(inputs.rows), []
    spans = _spans(scores, inputs, settings)
    threshold = math.inf if always else settings.threshold
    return (
        [span.answer(threshold) for span in spans],
        [{"score": span.score, "none": span.none} for span in spans],
        spans,
    )


def _tags(scores: list[Any], inputs: LabelledInputs) -> list[list[str]]:
    """The tag of each word of each row."""
    names = inputs.names
    silent = "O" if "O" in names else names[0]  # of a word of which the tokenizer leaves nothing
    tags = [[silent] * len(row.words) for row in inputs.rows]
    for number, row in enumerate(scores):
        words = inputs.words[inputs.span(number)]
        for word, column in zip(words[words >= 0], row.argmax(-1).tolist(), strict=True):
            tags[inputs.owners[number]][word] = names[column]
    return tags


def _spans(scores: list[Any], inputs: LabelledInputs, settings: AnswerSettings) -> list[SpanAnswer]:
    """The best answer to each question, over the windows of its text."""
    windows: list[list[Any]] = [[] for _ in inputs.rows]
    for number, (starts, ends) in enumerate(scores):
        characters = inputs.places[inputs.span(number)]
        length = len(characters)
        windows[inputs.owners[number]].append((starts[:length], ends[:length], characters))
    return [
        best_span(of_row, row.texts[1], most=settings.candidates, longest=settings.longest)
        for of_row, row in zip(windows, inputs.rows, strict=True)
    ]
