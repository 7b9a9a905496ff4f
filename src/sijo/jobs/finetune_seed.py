"""One run over labelled rows, from its seed: trained, measured at each checkpoint, and the best of it kept."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sijo.checkpoints.load import Model
from sijo.checkpoints.weights import read_file, write_file
from sijo.errors import CheckpointError
from sijo.evaluation.metrics import FALLING, values
from sijo.files.atomic import whole_file, whole_folder
from sijo.jobs.finetune_setup import FinetuneSetup
from sijo.jobs.predictions import Predictions, predict_rows
from sijo.objectives.supervised import Supervised
from sijo.training import state
from sijo.training.distributed import join
from sijo.training.journal import Journal, JsonLinesFile, read_lines
from sijo.training.loop import Run, Step, train
from sijo.training.optimizers import fill


class FinetuneSeed:
    """A run of one seed."""

    def __init__(self, exercise: FinetuneSetup, seed: int, folder: Path, tell: Callable[[str], None]) -> None:
        self.exercise, self.folder, self.tell = exercise, folder, tell
        settings = exercise.settings
        self.settings = replace(settings, run=replace(settings.run, seed=seed))
        self.seed = seed
        self.finished = False
        self.device = torch.device("cpu")
        self._file = folder / "evaluations.jsonl"

    def steps(self, stop: Callable[[], bool], begun: Callable[[Run], None]) -> Iterator[Step]:
        """Train from the newest checkpoint; evaluate wherever one was written that was due."""
        self.folder.mkdir(exist_ok=True)
        loop = self.settings.run
        with ExitStack() as stack:
            world = stack.enter_context(join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device))
            self.device = world.device
            objective = self.exercise.objective(self.seed).to(world.device)
            if self.exercise.teacher is not None:
                self.exercise.teacher.network.to(world.device)
            self._catch_up(objective)
            run = Run(
                settings=self.settings,
                objective=objective,
                samples=self.exercise.train,
                folder=self.folder,
                watch=stack.enter_context(Journal(self.folder, self.settings, self.network(objective).tokenizer)),
                world=world,
                stop=stop,
                tell=self.tell,
            )
            begun(run)
            if not self._patient():
                self.finished = run.finished = True
                return
            for step in stack.enter_context(closing(train(run))):  # type: ignore[type-var]
                if step.saved is not None and self._due(step.number):
                    self._evaluate(objective, step.number)
                yield step
                if not self._patient():
                    run.finished = True
                    break
            self.finished = run.finished
            if self.finished and self._patient():
                found = state.steps(self.folder / "checkpoints")[-1][0]
                if found not in [line["step"] for line in self._lines()]:
                    self._evaluate(objective, found)

    @staticmethod
    def network(objective: Supervised) -> Model:
        """The model that is learned."""
        assert isinstance(objective.network, Model)
        return objective.network

    def _due(self, step: int) -> bool:
        return step % self.settings.run.save_every == 0 or step >= self.settings.run.steps

    def _lines(self) -> list[dict[str, Any]]:
        return read_lines(self._file)

    def _catch_up(self, objective: Supervised) -> None:
        """Leave of the evaluations those up to the newest checkpoint, and make that one's if it is not there."""
        (self.folder / "checkpoints").mkdir(exist_ok=True)
        found = state.newest(self.folder / "checkpoints", self.tell)
        step = 0 if found is None else found.step
        kept = [line for line in self._lines() if line["step"] <= step]
        with whole_file(self._file) as file:
            file.write(b"".join(json.dumps(line).encode() + b"\n" for line in kept))
        if found is not None and self._due(step) and step not in [line["step"] for line in kept]:
            fill(dict(objective.named_parameters()), found.weights, "weights of the run")
            self._evaluate(objective, step)

    def better(self, line: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
        """Whether an evaluation is better than another, or than none."""
        metric = self.exercise.metric
        value = line.get(metric)
        if value is None:
            return other is None
        if other is None or other.get(metric) is None:
            return True
        return bool(value < other[metric] if metric in FALLING else value > other[metric])

    def best(self) -> dict[str, Any]:
        """The best evaluation, the first of equals."""
        best: dict[str, Any] | None = None
        for line in self._lines():
            best = line if self.better(line, best) else best
        if best is None:
            raise CheckpointError(
                f"{self.folder} has no evaluation to choose a model by; run it again with --resume"
            )
        return best

    def _patient(self) -> bool:
        """Whether to go on: not so many evaluations without gain."""
        patience, lines = self.settings.patience, self._lines()
        if patience is None or not lines:
            return True
        return len(lines) - 1 - lines.index(self.best()) < patience

    def _evaluate(self, objective: Supervised, step: int) -> None:
        """Answer the evaluation rows; keep the weights if they are the best so far, then write the line."""
        before = self.best() if self._lines() else None
        with self._averaged(objective, step):
            answers = self.answers(objective)
            metrics = values(self.exercise.metrics(answers), len(self.exercise.evaluation.rows))
            epoch = step * self.settings.run.batch / len(self.exercise.train)
            line = {"step": step, "epoch": round(epoch, 4), "loss": answers.loss} | {
                name: value if math.isfinite(value) else None for name, value in metrics.items()
            }
            if self.better(line, before):
                weights = {name: part.detach().cpu() for name, part in objective.named_parameters()}
                with whole_folder(self.folder / "best", overwrite=True) as fresh:
                    write_file(fresh / "weights.safetensors", weights)
        size = self._file.stat().st_size if self._file.exists() else 0
        with JsonLinesFile(self._file, keep_bytes=size) as lines:
            lines.write(line)
            lines.flush()
        value = line[self.exercise.metric]
        self.tell(
            f"step {step:,}, epoch {epoch:.2g}: loss {answers.loss:.4g}, {self.exercise.metric} "
            + ("is not defined here" if value is None else f"{value:.4f}")
            + ("" if objective.ensemble is None else f", {int(objective.ensemble.kept().sum()):,} rows trusted")
        )

    @contextmanager
    def _averaged(self, objective: Supervised, step: int) -> Iterator[None]:
        """The moving average of the weights in place of them, where the run keeps one."""
        if self.settings.run.average is None:
            yield
            return
        file = self.folder / "checkpoints" / f"step-{step:08}" / "average.safetensors"
        average = {name: tensor for name, tensor in read_file(file).items() if name != "updates"}
        own = {name: part for name, part in objective.named_parameters() if name in average}
        kept = {name: part.detach().clone() for name, part in own.items()}
        fill(own, average, "average of the weights")
        try:
            yield
        finally:
            fill(own, kept, "weights of the run")

    def answers(self, objective: Supervised) -> Predictions:
        """What the network makes of the evaluation rows."""
        exercise = self.exercise
        return predict_rows(
            objective, exercise.evaluation, exercise.settings.answers, always=exercise.always_answers
        )

    def best_objective(self) -> Supervised:
        """What was learned, with the best weights."""
        found = read_file(self.folder / "best" / "weights.safetensors")
        objective = self.exercise.objective(self.seed)
        fill(dict(objective.named_parameters()), found, "best weights of the run")
        return objective.eval()
