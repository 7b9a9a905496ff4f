"""What a network answers to labelled rows: the scores of its inputs, put together to one answer for each row."""

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
from sijo.objectives.supervised import Supervised


@dataclass
class Predictions:
    """What a network makes of labelled rows."""

    loss: float
    """The mean loss of what people said."""
    given: list[Any]
    """The answer to each row, as `metrics_of` takes it."""
    surely: list[Any]
    """What is written down beside each: probabilities, or a score."""
    found: list[SpanAnswer]
    """Of question-answering, before the threshold."""


@torch.inference_mode()
def predict_rows(
    objective: Supervised, samples: LabelledInputs, settings: AnswerSettings, *, always: bool
) -> Predictions:
    """What a network makes of labelled rows, without dropout.

    settings  of question-answering
    always    whether a question always has an answer, since no training row is without
    """
    scores: list[Any] = [None] * len(samples)
    loss, asked = 0.0, 0
    for numbers, question, rows in objective.read(samples):
        tally = objective.label(rows, question, objective.count(question))
        loss, asked = loss + tally.total.item(), asked + tally.count
        for number, row in zip(numbers, _apart(rows, question, samples.task), strict=True):
            scores[number] = row
    given, surely, found = _read(scores, samples, settings, always=always)
    return Predictions(loss / max(asked, 1), given, surely, found)


def _apart(rows: Tensor, question: PosedBatch, task: Task) -> Iterator[Any]:
    """The scores of each input of a batch."""
    match task:
        case "tagging":
            yield from torch.split(rows.cpu(), question.asked.sum(1).tolist())
        case "question-answering":
            starts, ends = rows.cpu().chunk(2)
            yield from zip(starts.numpy(), ends.numpy(), strict=True)
        case _:
            yield from rows.cpu()


def _read(
    scores: list[Any], samples: LabelledInputs, settings: AnswerSettings, *, always: bool
) -> tuple[list[Any], list[Any], list[SpanAnswer]]:
    """The answer to each row from the scores of its inputs."""
    names = samples.names
    match samples.task:
        case "classification":
            odds = [row.softmax(-1).tolist() for row in scores]
            places = [int(row.argmax()) for row in scores]
            return (
                [names[at] for at in places],
                [{"score": row[at]} for row, at in zip(odds, places, strict=True)],
                [],
            )
        case "multi-label":
            odds = [row.sigmoid().tolist() for row in scores]
            chosen = [[name for name, one in zip(names, row.tolist(), strict=True) if one > 0] for row in scores]
            return chosen, [{"scores": dict(zip(names, row, strict=True))} for row in odds], []
        case "regression":
            return [float(row[0]) for row in scores], [{}] * len(scores), []
        case "multiple-choice":
            odds = [row.softmax(-1).tolist() for row in scores]
            return (
                [int(row.argmax()) for row in scores],
                [{"scores": row[: len(one.choices)]} for row, one in zip(odds, samples.rows, strict=True)],
                [],
            )
        case "tagging":
            silent = "O" if "O" in names else names[0]  # of a word of which the tokenizer leaves nothing
            tags = [[silent] * len(row.words) for row in samples.rows]
            for number, row in enumerate(scores):
                words = samples.words[samples.span(number)]
                for word, place in zip(words[words >= 0], row.argmax(-1).tolist(), strict=True):
                    tags[samples.owners[number]][word] = names[place]
            return tags, [{}] * len(tags), []
    windows: list[list[Any]] = [[] for _ in samples.rows]
    for number, (starts, ends) in enumerate(scores):
        characters = samples.places[samples.span(number)]
        length = len(characters)
        windows[samples.owners[number]].append((starts[:length], ends[:length], characters))
    found = [
        best_span(some, row.texts[1], most=settings.candidates, longest=settings.longest)
        for some, row in zip(windows, samples.rows, strict=True)
    ]
    threshold = math.inf if always else settings.threshold
    beside = [{"score": one.score, "none": one.none} for one in found]
    return [one.answer(threshold) for one in found], beside, found
