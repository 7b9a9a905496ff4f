"""One fine-tuning run, from its seed: trained, measured at each checkpoint, and the best weights kept."""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sijo.checkpoints.load import Model
from sijo.checkpoints.weights import read_file, write_file
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import Task
from sijo.errors import CheckpointError
from sijo.evaluation.intervals import values
from sijo.evaluation.metrics import FALLING, SpanAnswer
from sijo.files.atomic import whole_folder
from sijo.files.json_lines import JsonLinesFile
from sijo.files.paths import FolderFile
from sijo.files.private import make_folder
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.objectives.posed_batch import PosedBatch
from sijo.objectives.scoring import scored
from sijo.objectives.supervised import Supervised
from sijo.prediction.answers import ChoiceAnswer, LabelAnswer, LabelsAnswer, Prediction
from sijo.prediction.decoding import AnswerSettings, decoded, spans_of
from sijo.training.distributed import join
from sijo.training.journal import Journal
from sijo.training.loop import DivergedError, Training
from sijo.training.optimizers import fill
from sijo.training.step import Step


@dataclass
class Predictions:
    """What a network predicts for labelled rows."""

    loss: float
    """The mean loss of the labels."""
    labels: list[Any]
    """The prediction for each row, as `metrics_of` takes it."""
    scores: list[dict[str, Any]]
    """What is written beside each: probabilities, or a score."""
    spans: list[SpanAnswer]
    """Of question-answering, before the threshold."""


class FinetuneSeed:
    """A run of one seed."""

    def __init__(self, setup: FinetuneSetup, seed: int, folder: Path, tell: Callable[[str], None]) -> None:
        self.setup, self.seed, self.folder, self.tell = setup, seed, folder, tell
        self.settings = replace(setup.settings, run=replace(setup.settings.run, seed=seed))
        self.evaluations: list[dict[str, Any]] = []
        """The metrics over the evaluation rows, at each checkpoint."""

    @cached_property
    def objective(self) -> Supervised:
        """The objective with its network: built once, trained, and in the end filled with its best weights."""
        return self.setup.objective(self.seed)

    @property
    def model(self) -> Model:
        """The model that is trained."""
        assert isinstance(self.objective.network, Model)
        return self.objective.network

    def release(self) -> None:
        """Free the network, where another seed's is the better one."""
        self.__dict__.pop("objective", None)

    def steps(self, stop: Callable[[], bool]) -> Generator[Step, None, bool]:
        """Train from the newest checkpoint, and evaluate at each that is due; returns whether it is finished."""
        make_folder(self.folder)
        loop = self.settings.run
        with ExitStack() as stack:
            world = stack.enter_context(join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device))
            objective = self.objective.to(world.device)
            if self.setup.teacher is not None:
                self.setup.teacher.network.to(world.device)
            training = Training(
                self.settings, objective, self.setup.train, self.folder, world=world, tell=self.tell
            )
            begun = training.state.step
            lines = stack.enter_context(JsonLinesFile(self.folder / "evaluations.jsonl", last_step=begun))
            self.evaluations = lines.kept
            if begun and begun % loop.save_every == 0:
                self._evaluate(training, lines)
            journal = stack.enter_context(Journal(self.folder, self.settings, self.model.tokenizer, step=begun))
            for step in training.steps(lambda: stop() or self._exhausted()):
                journal.add(step)
                if step.checkpoint:
                    training.save()
                    self._evaluate(training, lines)
                yield step
            if training.finished and not self._exhausted():
                self._evaluate(training, lines)
            return training.finished or self._exhausted()

    def better(self, line: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
        """Whether an evaluation is better than another, or than none."""
        if other is None:
            return True
        metric = self.setup.metric
        value, rival = line.get(metric), other.get(metric)
        if value is None and rival is None:  # as a correlation with what is the same everywhere: the loss decides
            metric = "loss"
            value, rival = line["loss"], other["loss"]
        if value is None or rival is None:
            return rival is None
        return bool(value < rival if metric in FALLING else value > rival)

    def best(self) -> dict[str, Any]:
        """The best evaluation, the first of equals."""
        best: dict[str, Any] | None = None
        for line in self.evaluations:
            best = line if self.better(line, best) else best
        if best is None:
            raise CheckpointError(
                f"{self.folder} has no evaluation to choose a model by; run it again with --resume"
            )
        return best

    def predictions(self, step: int) -> Predictions:
        """What the network predicts for the evaluation rows, with the weights of a step."""
        try:
            return predict_rows(self.objective, self.setup.evaluation, self.setup.answers)
        except DivergedError as error:
            raise DivergedError(
                f"measured at step {step}, {error}, so no metric says how good it is. Its weights are finite, and "
                f"the checkpoint of that step in {self.folder} is kept: --resume measures them anew and goes on. "
                "Where it stops here again, begin a new run with a lower schedule.peak, a longer warm-up or a "
                "lower run.clip"
            ) from None

    def use_best(self) -> None:
        """Put the best weights into the network that was trained."""
        weights = read_file(FolderFile(self.folder / "best", "weights.safetensors"))
        fill(dict(self.objective.named_parameters()), weights, "best weights of the run")
        self.objective.eval()

    def _exhausted(self) -> bool:
        """Whether there were so many evaluations without gain that the run is over."""
        patience = self.settings.patience
        if patience is None or not self.evaluations:
            return False
        return len(self.evaluations) - 1 - self.evaluations.index(self.best()) >= patience

    def _evaluate(self, training: Training, lines: JsonLinesFile) -> None:
        """Predict the evaluation rows, unless that was done; keep the best weights, then write the line."""
        step, metric = training.state.step, self.setup.metric
        if step in [line["step"] for line in self.evaluations]:
            return
        before = self.best() if self.evaluations else None
        with training.averaged():
            predictions = self.predictions(step)
            metrics = values(self.setup.metrics(predictions.labels), len(self.setup.evaluation.rows))
            epoch = step * self.settings.run.batch / len(self.setup.train)
            line = {"step": step, "epoch": round(epoch, 4), "loss": predictions.loss} | {
                name: value if math.isfinite(value) else None for name, value in metrics.items()
            }
            if self.better(line, before):
                weights = {name: part.detach().cpu() for name, part in self.objective.named_parameters()}
                with whole_folder(self.folder / "best", overwrite=True) as fresh:
                    write_file(fresh / "weights.safetensors", weights)
        lines.write(line)
        lines.to_disk()
        self.evaluations.append(line)
        value, ensemble = line[metric], self.objective.ensemble
        self.tell(
            f"step {step:,}, epoch {epoch:.2g}: loss {predictions.loss:.4g}, {metric} "
            + ("is not defined here" if value is None else f"{value:.4f}")
            + ("" if ensemble is None else f", {int(ensemble.kept().sum()):,} rows trusted")
        )


@torch.inference_mode()
def predict_rows(objective: Supervised, inputs: LabelledInputs, settings: AnswerSettings) -> Predictions:
    """What a network predicts for labelled rows, without dropout.

    settings  of question-answering

    Raises DivergedError for a row whose scores, or their loss, are NaN or infinite.
    """
    scores: list[Any] = [None] * len(inputs)
    loss, count = 0.0, 0
    for numbers, posed, rows in scored(objective, objective.scores, inputs):
        tally = objective.label(rows, posed, objective.count(posed))
        loss, count = loss + tally.total.item(), count + tally.count
        for number, row in zip(numbers, _by_input(rows, posed, inputs.task), strict=True):
            scores[number] = row
        if not (bool(rows.isfinite().all()) and math.isfinite(loss)):
            first = next((n for n in numbers if not _finite(scores[n])), numbers[0])
            raise DivergedError(
                f"the network's scores for {inputs.rows[inputs.owners[first]].where}, or their loss, are NaN or "
                "infinite"
            )
    predictions, names = decoded(scores, inputs, settings), inputs.names
    beside, spans = [_beside(prediction, names) for prediction in predictions], list[SpanAnswer]()
    if inputs.task == "question-answering":
        spans = spans_of(scores, inputs, settings)
        beside = [{"score": span.score, "none": span.none} for span in spans]
    return Predictions(
        loss / max(count, 1), [_value(prediction, names) for prediction in predictions], beside, spans
    )


def _finite(scores: Any) -> bool:
    """Whether the scores of an input are; those of a question are those of its starts and ends."""
    parts = scores if isinstance(scores, tuple) else (scores,)
    return all(bool(np.isfinite(np.asarray(part)).all()) for part in parts)


def _by_input(rows: Tensor, posed: PosedBatch, task: Task) -> Iterator[Any]:
    """The scores of each input of a batch, as `decoded` takes them."""
    match task:
        case "tagging":
            yield from (part.numpy() for part in torch.split(rows.cpu(), posed.target_mask.sum(1).tolist()))
        case "question-answering":
            starts, ends = rows.cpu().chunk(2)
            yield from zip(starts.numpy(), ends.numpy(), strict=True)
        case _:
            yield from rows.cpu().numpy()


def _value(prediction: Prediction, names: Sequence[str]) -> Any:
    """An answer as `metrics_of` takes it, several labels in the order of the head's columns."""
    if isinstance(prediction, LabelsAnswer):
        return [name for name in names if name in prediction.labels]
    return prediction.value


def _beside(prediction: Prediction, names: Sequence[str]) -> dict[str, Any]:
    """What is written beside an answer."""
    match prediction:
        case LabelAnswer(score=score):
            return {"score": score}
        case LabelsAnswer(label_scores=scores):
            return {"scores": {name: scores[name] for name in names}}
        case ChoiceAnswer(choice_scores=chances):
            return {"scores": list(chances)}
    return {}
