"""From labelled rows to a model that labels: read, checked, learned, measured, and the best of it kept.

OUT/settings.json      all that decides the run, but its rows
OUT/data.json          which rows those are
OUT/checkpoints/       where it can go on (`state.py`)
OUT/metrics.jsonl      what happened (`watch.py`)
OUT/evaluations.jsonl  how the evaluation rows were answered, at each checkpoint
OUT/best/              the weights that answered them best
OUT/predictions.jsonl  what those answered, a line for each evaluation row
OUT/results.json       how good that is, with 95 % intervals
OUT/model/             the model

With several seeds each has its own OUT/seed-N, OUT/summary.json compares them, and OUT/model is the best one's.
"""

import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sijo.checkpoints.card import Card, Metric, licence
from sijo.checkpoints.load import Model, config_fields, labelled, load, peek
from sijo.checkpoints.locate import locate
from sijo.checkpoints.save import save
from sijo.checkpoints.weights import read_file, write_file
from sijo.errors import CheckpointError, SettingError, nearest
from sijo.folder import read_object, whole_file, whole_folder
from sijo.models import FAMILIES
from sijo.models.family import Layout
from sijo.nn.heads import Judgement, build
from sijo.nn.transformer import Block, start
from sijo.objectives.question import clean
from sijo.objectives.supervised import HEADS, Sift, Supervised, Teacher
from sijo.text.batches import by_length
from sijo.text.chance import digest
from sijo.text.labelled import (
    Columns,
    Cutting,
    Labelled,
    Row,
    Task,
    check_labels,
    held_out,
    names_of,
    read_rows,
)
from sijo.training import state
from sijo.training.distributed import join
from sijo.training.loop import Run, Step, train
from sijo.training.metrics import (
    BEST,
    FALLING,
    Found,
    best_span,
    best_threshold,
    intervals,
    metrics_of,
    values,
)
from sijo.training.optimizers import OptimizerSettings, fill
from sijo.training.run import take
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, Settings, leaves
from sijo.training.watch import Lines, Watch, check_tracker, read_lines

PROBLEMS = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
"""What config.json calls them."""
PLACES = ("model", "teacher.model")
"""Settings that may be paths of this machine, which a card does not tell."""
PIPELINES = {"tagging": "token-classification", "question-answering": "question-answering"}
"""Tasks of the Hub; those that are not here are text classification, or have no name there."""
TELLING = 200
"""Texts by which two tokenizers are compared."""


@dataclass(frozen=True, kw_only=True)
class TaskTeacher:
    """A fine-tuned model that the run learns from beside the labels: task distillation."""

    model: str | None = None
    """A folder or org/name, fine-tuned on the same task and labels, with the same tokenizer; None for none."""
    temperature: float = 2.0
    """By which the scores of both are divided."""
    soft: float = 0.5
    """Weight of what the teacher says."""
    hard: float = 0.5
    """Weight of what people said."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"teacher.temperature={self.temperature} must be above 0, such as 2")
        if min(self.soft, self.hard) < 0 or self.soft + self.hard == 0:
            raise SettingError(
                f"teacher.soft={self.soft} and teacher.hard={self.hard} must be 0 or more, and one of them above 0"
            )


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """How an answer is chosen in question-answering."""

    candidates: int = 20
    """How many starts, and how many ends, are paired."""
    longest: int = 30
    """Tokens of an answer at most."""
    threshold: float = 0.0
    """By how much "no answer" must outscore the best answer to be given, where training rows have none."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(Settings):
    """All that decides a run over labelled rows, but the rows."""

    task: Task = "classification"
    """What is learned: classification, multi-label, regression, tagging, question-answering or multiple-choice."""
    model: str | None = None
    """A folder or org/name to start from; None for the built-in encoder."""
    head: Literal["published", "plain"] = "published"
    """The family's own head as transformers has it, or one linear layer over the first token (ELECTRA's paper)."""
    columns: Columns = field(default_factory=Columns)
    """Where in the files what stands."""
    cutting: Cutting = field(default_factory=Cutting)
    """How texts become inputs."""
    held_out: float = 0.1
    """Share of the training rows that is evaluated on where no file is given for that, the same of each class."""
    allow_rare: bool = False
    """Whether a class may have one training row."""
    class_weights: Literal["none", "balanced"] = "none"
    """Of classification and tagging: balanced counts a rare class as much as a frequent one."""
    smoothing: float = 0.0
    """Of classification and tagging: share of the truth that is spread over all classes."""
    fresh_layers: int = 0
    """How many of the top layers begin anew."""
    every: float | None = 1.0
    """Epochs between two evaluations, each of which is a checkpoint; None to go by run.save_every."""
    metric: str | None = None
    """What decides which checkpoint is best; None for the task's own, such as accuracy."""
    patience: int | None = None
    """After how many evaluations without gain the run stops; None to go on to the end."""
    seeds: int = 1
    """How many runs are made, with run.seed and those after it; the best one is kept."""
    teacher: TaskTeacher = field(default_factory=TaskTeacher)
    """A model to learn from beside the labels."""
    sift: Sift = field(default_factory=Sift)
    """Steadiness that is asked for beside the answer."""
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    """How an answer is chosen in question-answering."""

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise SettingError(f"held_out={self.held_out} is no share of the rows; give a number such as 0.1")
        if self.every is not None and not 0 < self.every < math.inf:
            raise SettingError(f"every={self.every} epochs must be above 0, or null to go by run.save_every")
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"patience={self.patience} must be 1 or more, or null to go on to the end")
        if self.seeds < 1 or self.fresh_layers < 0:
            raise SettingError(
                f"seeds={self.seeds} must be 1 or more, and fresh_layers={self.fresh_layers} 0 or more"
            )
        if self.metric is not None and self.metric not in BEST[self.task]:
            raise SettingError(
                f"metric={self.metric!r} is not measured in {self.task}{nearest(self.metric, BEST[self.task])}; "
                f"there are {', '.join(BEST[self.task])}"
            )
        if self.head == "plain" and HEADS[self.task] != "sequence-classification":
            raise SettingError(
                f"head=plain is for labels of whole texts; the head of {self.task} is plain by itself"
            )
        if self.task not in ("classification", "tagging") and (self.class_weights != "none" or self.smoothing):
            raise SettingError(f"class_weights and smoothing are for classification and tagging, not {self.task}")
        if not 0 <= self.smoothing < 1:
            raise SettingError(f"smoothing={self.smoothing} is no share of the truth; give a number such as 0.1")

    def lasting(self, inputs: int) -> "FinetuneSettings":
        """The same with `run.steps` and `run.save_every` for the epochs that are asked for."""
        settings = super().lasting(inputs)
        if self.every is None:
            return settings
        steps = max(1, math.ceil(self.every * inputs / self.run.batch))
        return replace(settings, run=replace(settings.run, save_every=steps))


@dataclass(frozen=True, kw_only=True)
class Data:
    """The rows of a run."""

    train: str
    """A file to learn from."""
    evaluation: str | None = None
    """A file to measure on; None to hold some training rows out."""


RATES = (
    # family, layers and width at most, peak rate, layer decay, and where it was published
    ("electra", 99, 256, 3e-4, 0.8, "ELECTRA, table 7"),
    ("electra", 99, 768, 1e-4, 0.8, "ELECTRA, table 7"),
    ("electra", 99, 9999, 5e-5, 0.9, "ELECTRA, table 7"),
    ("deberta-v2", 99, 384, 4.5e-5, 1.0, "released scripts, v3-xsmall on MNLI"),
    ("deberta-v2", 6, 768, 4.5e-5, 1.0, "released scripts, v3-small on MNLI"),
    ("deberta-v2", 99, 768, 1.5e-5, 1.0, "released scripts, v3-base on MNLI"),
    ("deberta-v2", 99, 9999, 7e-6, 1.0, "released scripts, v3-large on MNLI"),
    ("deberta", 99, 768, 3e-5, 1.0, "released scripts, base on MNLI"),
    ("deberta", 99, 9999, 1e-5, 1.0, "released scripts, large on MNLI"),
    ("albert", 99, 9999, 2e-5, 1.0, "ALBERT, table 14: 1e-5 to 5e-5"),
    ("", 99, 128, 3e-4, 1.0, "the greatest of those tried for BERT's miniatures"),
    ("", 99, 512, 1e-4, 1.0, "BERT's miniatures: 3e-5 to 3e-4"),
    ("", 99, 768, 5e-5, 1.0, "BERT, section A.3: 2e-5 to 5e-5"),
    ("", 99, 9999, 2e-5, 1.0, "BERT, section A.3"),
)
"""The first row that fits decides; "" is any family."""


def defaults(task: Task, model: str | Path | None = None) -> FinetuneSettings:
    """Settings that work: three epochs in batches of 32, a tenth of warm-up, the rate published for such a model.

    >>> settings = defaults("classification")
    >>> settings.run.epochs, settings.run.batch, settings.schedule.peak
    (3.0, 32, 0.0001)
    """
    fields = config_fields(locate(model))
    architecture = FAMILIES[str(fields["model_type"])].config.read(fields).architecture()
    rate, decay = next(
        (rate, decay)
        for family, layers, width, rate, decay, _ in RATES
        if family in ("", fields["model_type"])
        and architecture.layers <= layers
        and architecture.hidden_size <= width
    )
    length = 384 if task == "question-answering" else 128
    if architecture.places is not None:
        length = min(length, architecture.places)
    return FinetuneSettings(
        task=task,
        model=None if model is None else str(model),
        cutting=Cutting(length=length),
        optimizer=OptimizerSettings(weight_decay=0.01, layer_decay=decay),
        schedule=ScheduleSettings(peak=rate, shape="linear", warmup_share=0.1),
        run=LoopSettings(epochs=3.0, batch=32, micro_tokens=512, save_every=1_000_000, keep=1),
    )


def finetune(
    settings: FinetuneSettings,
    data: Data,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
    begun: Callable[[Run], None] = lambda run: None,
) -> Iterator[Step]:
    """Fine-tune a model on labelled rows; yields each step when it is done and, where it is due, measured.

    settings  such as `defaults` gives, changed or not
    data      what it learns from and is measured on
    out       the run's folder
    resume    go on where a run in that folder stopped, with the same settings; or begin
    stop      asked before every step: whether to save and leave
    tell      where words for a person go
    begun     called with all that the loop works with, before the first step of each seed

    Raises SettingError and TextError for what cannot be learned, before anything is begun, and what `train` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("fine-tuning runs in one process; start it without torchrun")
    check_tracker(settings.run.tracker)
    lesson = _Lesson(settings, data, tell)
    with ExitStack() as stack:
        stack.callback(os.close, take(out, settings, "data.json", lesson.words, resume=resume))
        seeds = range(settings.run.seed, settings.run.seed + settings.seeds)
        attempts = [
            _Attempt(lesson, seed, out if settings.seeds == 1 else out / f"seed-{seed}", tell) for seed in seeds
        ]
        for attempt in attempts:
            yield from attempt.steps(stop, begun)
            if not attempt.finished:
                return
        best = _kept(attempts, out)
        best.export(out / "model")


class _Lesson:
    """Rows, labels and the model's start: all that several seeds share."""

    def __init__(self, settings: FinetuneSettings, data: Data, tell: Callable[[str], None]) -> None:
        task = settings.task
        train_rows = read_rows(data.train, task, settings.columns)
        rows = [] if data.evaluation is None else read_rows(data.evaluation, task, settings.columns)
        check_labels(train_rows, rows, task, allow_rare=settings.allow_rare, tell=tell)
        if data.evaluation is None:
            train_rows, rows = held_out(train_rows, task, settings.held_out, seed=settings.run.seed)
        if task == "classification" and len(train_rows[0].texts) != len(rows[0].texts):
            raise SettingError(
                f"{data.train} is read as {len(train_rows[0].texts)} text(s) a row and {data.evaluation} as "
                f"{len(rows[0].texts)}; name both columns by columns.text and columns.second"
            )
        self.task, self.settings, self.data = task, settings, data
        self.names, self.goes_on = _columns(settings, names_of(train_rows, task))
        self.metric = settings.metric or BEST[task][0]
        self.always_answers = all(row.label for row in train_rows) if task == "question-answering" else True
        model = self.model(settings.run.seed)
        tokenizer, places = model.tokenizer, model.architecture.places
        if places is not None and settings.cutting.length > places:
            raise SettingError(
                f"cutting.length={settings.cutting.length} is longer than the {places} places of the model; "
                "shorten it"
            )
        if (
            task == "tagging"
            and self.metric == "entity_f1"
            and not any(name.startswith("B-") for name in self.names)
        ):
            if settings.metric is not None:
                raise SettingError("metric=entity_f1 needs BIO tags, such as B-place and I-place; choose accuracy")
            self.metric = "accuracy"
        self.train = Labelled(train_rows, task, self.names, tokenizer, settings.cutting)
        self.evaluation = Labelled(rows, task, self.names, tokenizer, settings.cutting)
        self.settings = settings.lasting(len(self.train))
        self.settings.schedule.warmup(self.settings.run.steps)
        self.teacher = self._teacher(model)
        if settings.sift.weight and model.transformer.embeddings.norm is None:
            raise SettingError("sift moves normalised embeddings, and this network has none; set sift.weight=0")
        for what, some in (("training", self.train), ("evaluation", self.evaluation)):
            if some.truncated:
                tell(
                    f"{some.truncated:,} of {len(some.rows):,} {what} rows are longer than cutting.length="
                    f"{settings.cutting.length} tokens, and are read in part"
                )
        self.words = {
            "train": data.train,
            "evaluation": data.evaluation,
            "train_rows": len(train_rows),
            "evaluation_rows": len(rows),
            "labels": list(self.names),
            "digest": f"{self.train.fingerprint} {self.evaluation.fingerprint}",
        }

    def model(self, seed: int) -> Model:
        """The model as it is at the start, its fresh parts drawn from a seed."""
        settings, name = self.settings, HEADS[self.task]
        torch.manual_seed(digest(seed, "weights") % 2**63)
        labels = list(self.names) or (["LABEL_0", "LABEL_1"] if self.task == "question-answering" else None)
        if self.goes_on:
            model = load(settings.model, name)
        elif settings.head == "plain":
            model = _plain(load(settings.model), list(self.names))
        else:
            model = load(settings.model, f"new:{name}", labels=labels)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # no longer mapped from the file
        _renew(model, settings.fresh_layers)
        if self.task in PROBLEMS:
            model.config["problem_type"] = PROBLEMS[self.task]
        model.transformer.recompute = settings.run.recompute
        return model

    def objective(self, seed: int) -> Supervised:
        """What is learned, from the start."""
        settings = self.settings
        return Supervised(
            self.model(seed),
            self.task,
            class_weights=self._class_weights() if settings.class_weights == "balanced" else None,
            smoothing=settings.smoothing,
            sift=settings.sift,
            teacher=self.teacher,
        )

    def _class_weights(self) -> Tensor:
        """Of each class, rows / (classes · its rows): scikit-learn's "balanced"."""
        said = [row.label for row in self.train.rows]
        counts = Counter(said if self.task == "classification" else (tag for tags in said for tag in tags))
        every = sum(counts.values())
        return torch.tensor([every / (len(self.names) * counts[name]) for name in self.names])

    def _teacher(self, student: Model) -> Teacher | None:
        said = self.settings.teacher
        if said.model is None:
            return None
        name = HEADS[self.task]
        held = peek(said.model)
        if name not in held:
            raise SettingError(
                f"the teacher {said.model} has no head {name}; it has {', '.join(held) or 'none'}. Give one that "
                f"was fine-tuned on {self.task}"
            )
        model = load(said.model, name)
        columns = None
        if self.task == "regression":
            if len(model.labels) != 1:
                raise SettingError(f"the teacher {said.model} gives {len(model.labels)} scores, and not one number")
        elif self.names:
            if set(model.labels) != set(self.names):
                odd = sorted(set(model.labels) ^ set(self.names))
                raise SettingError(
                    f"the teacher {said.model} was taught other labels than these rows have: "
                    f"{', '.join(map(repr, odd[:4]))}{', …' if len(odd) > 4 else ''} stand on one side alone; "
                    "give one that was fine-tuned on these labels"
                )
            columns = [model.labels.index(name) for name in self.names]
        problem = model.config.get("problem_type")
        if problem is not None and self.task in PROBLEMS and problem != PROBLEMS[self.task]:
            raise SettingError(f"the teacher {said.model} was taught {problem}, not {PROBLEMS[self.task]}")
        texts = [text for row in self.train.rows[:TELLING] for text in (*row.texts, *row.words, *row.choices)]
        ours, theirs = student.tokenizer, model.tokenizer
        if ours.ids(texts) != theirs.ids(texts) or ours.framed([0], [0]) != theirs.framed([0], [0]):
            raise SettingError(
                f"the teacher {said.model} reads with another tokenizer than the student, and both must read the "
                "same question; give a teacher and a student with the same tokenizer"
            )
        places = model.architecture.places
        if places is not None and places < self.settings.cutting.length:
            raise SettingError(
                f"cutting.length={self.settings.cutting.length} is longer than the {places} places of the teacher"
            )
        return Teacher(model, columns, said.temperature, said.soft, said.hard)


def _columns(settings: FinetuneSettings, names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The labels in the order of the head's columns, and whether the model's own head goes on with them."""
    name = HEADS[settings.task]
    if settings.head == "plain" or name not in peek(settings.model):
        return names, False
    fields = config_fields(locate(settings.model))
    held = FAMILIES[str(fields["model_type"])].config.read(fields).labels
    if settings.task == "regression":
        return (held, True) if len(held) == 1 else (names, False)
    if names and set(held) != set(names):
        return names, False
    return (held if names else names), True


def _plain(model: Model, names: list[str]) -> Model:
    """The encoder with one linear layer over the first token, or the last for a network that reads to the left."""
    a = model.architecture
    value = Judgement(labels=len(names), reads="last" if a.reads == "left" else "first", dropout=a.dropout.hidden)
    layout = Layout("sequence-classification", lambda config: value, {})
    with torch.device("meta"):
        made = Model(
            model.family,
            dict(model.config) | labelled(names),
            {layout.name: layout},
            tokenizer=model.tokenizer,
            sentence=model.sentence,
            source=model.source,
        )
    made.head[layout.name] = build(value, a)
    made.transformer.load_state_dict(model.transformer.state_dict(), assign=True)
    return made.eval()


def _renew(model: Model, layers: int) -> None:
    """Draw the weights of the top layers anew."""
    schedule = model.architecture.schedule
    if layers > len(schedule):
        raise SettingError(f"fresh_layers={layers} is more than the {len(schedule)} layers of the model")
    for block in schedule[len(schedule) - layers :]:
        if schedule.count(block) > 1:
            raise SettingError(
                f"fresh_layers={layers} would renew a layer that stands at {schedule.count(block)} places of this "
                "model, which shares its layers; set it to 0"
            )
        fresh = Block(model.architecture)
        start(fresh, std=model.architecture.initializer_range)
        model.transformer.blocks[block].load_state_dict(fresh.state_dict())


@dataclass
class Answers:
    """What a network makes of the evaluation rows."""

    loss: float
    """The mean loss of what people said."""
    given: list[Any]
    """The answer to each row, as `metrics_of` takes it."""
    surely: list[Any]
    """What is written down beside each: probabilities, or a score."""
    found: list[Found]
    """Of question-answering, before the threshold."""


class _Attempt:
    """A run of one seed."""

    def __init__(self, lesson: _Lesson, seed: int, folder: Path, tell: Callable[[str], None]) -> None:
        self.lesson, self.folder, self.tell = lesson, folder, tell
        settings = lesson.settings
        self.settings = replace(settings, run=replace(settings.run, seed=seed))
        self.seed = seed
        self.finished = False
        self._device = torch.device("cpu")
        self._file = folder / "evaluations.jsonl"

    def steps(self, stop: Callable[[], bool], begun: Callable[[Run], None]) -> Iterator[Step]:
        """Train from the newest checkpoint; evaluate wherever one was written that was due."""
        self.folder.mkdir(exist_ok=True)
        loop = self.settings.run
        with ExitStack() as stack:
            world = stack.enter_context(join(strategy=loop.strategy, timeout=loop.timeout, device=loop.device))
            self._device = world.device
            objective = self.lesson.objective(self.seed).to(world.device)
            if self.lesson.teacher is not None:
                self.lesson.teacher.network.to(world.device)
            self._catch_up(objective)
            run = Run(
                settings=self.settings,
                objective=objective,
                samples=self.lesson.train,
                folder=self.folder,
                watch=stack.enter_context(Watch(self.folder, self.settings, self.network(objective).tokenizer)),
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

    def _better(self, line: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
        metric = self.lesson.metric
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
            best = line if self._better(line, best) else best
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
            metrics = values(self._metrics(answers), len(self.lesson.evaluation.rows))
            epoch = step * self.settings.run.batch / len(self.lesson.train)
            line = {"step": step, "epoch": round(epoch, 4), "loss": answers.loss} | {
                name: value if math.isfinite(value) else None for name, value in metrics.items()
            }
            if self._better(line, before):
                weights = {name: part.detach().cpu() for name, part in objective.named_parameters()}
                with whole_folder(self.folder / "best", overwrite=True) as fresh:
                    write_file(fresh / "weights.safetensors", weights)
        size = self._file.stat().st_size if self._file.exists() else 0
        with Lines(self._file, keep_bytes=size) as lines:
            lines.write(line)
            lines.flush()
        value = line[self.lesson.metric]
        self.tell(
            f"step {step:,}, epoch {epoch:.2g}: loss {answers.loss:.4g}, {self.lesson.metric} "
            + ("is not defined here" if value is None else f"{value:.4f}")
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

    def _metrics(self, answers: Answers) -> dict[str, Any]:
        lesson = self.lesson
        return metrics_of(lesson.task, lesson.evaluation.rows, answers.given, lesson.names)

    @torch.inference_mode()
    def answers(self, objective: Supervised) -> Answers:
        """What the network makes of the evaluation rows, without dropout."""
        samples, learning = self.lesson.evaluation, objective.training
        device = next(objective.parameters()).device
        scores: list[Any] = [None] * len(samples)
        loss, asked = 0.0, 0
        objective.eval()
        try:
            for numbers in by_length(samples.lengths, token_budget=4_096):
                question = objective.pose(clean(samples.at(np.array(numbers))), 0).to(device)
                rows = objective.scores(question)
                tally = objective.label(rows, question, objective.counts(question)["label"])
                loss, asked = loss + tally.total.item(), asked + tally.count
                for number, row in zip(numbers, self._apart(rows, question), strict=True):
                    scores[number] = row
        finally:
            objective.train(learning)
        given, surely, found = self._read(scores)
        return Answers(loss / max(asked, 1), given, surely, found)

    def _apart(self, rows: Tensor, question: Any) -> Iterator[Any]:
        """The scores of each input of a batch."""
        match self.lesson.task:
            case "tagging":
                yield from torch.split(rows.cpu(), question.asked.sum(1).tolist())
            case "question-answering":
                starts, ends = rows.cpu().chunk(2)
                yield from zip(starts.numpy(), ends.numpy(), strict=True)
            case _:
                yield from rows.cpu()

    def _read(self, scores: list[Any]) -> tuple[list[Any], list[Any], list[Found]]:
        """The answer to each row from the scores of its inputs."""
        samples, names = self.lesson.evaluation, self.lesson.names
        match self.lesson.task:
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
                chosen = [
                    [name for name, one in zip(names, row.tolist(), strict=True) if one > 0] for row in scores
                ]
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
        said = self.lesson.settings.answers
        windows: list[list[Any]] = [[] for _ in samples.rows]
        for number, (starts, ends) in enumerate(scores):
            characters = samples.places[samples.span(number)]
            length = len(characters)
            windows[samples.owners[number]].append((starts[:length], ends[:length], characters))
        found = [
            best_span(some, row.texts[1], most=said.candidates, longest=said.longest)
            for some, row in zip(windows, samples.rows, strict=True)
        ]
        threshold = math.inf if self.lesson.always_answers else said.threshold
        beside = [{"score": one.score, "none": one.none} for one in found]
        return [one.answer(threshold) for one in found], beside, found

    def best_objective(self) -> Supervised:
        """What was learned, with the best weights."""
        found = read_file(self.folder / "best" / "weights.safetensors")
        objective = self.lesson.objective(self.seed)
        fill(dict(objective.named_parameters()), found, "best weights of the run")
        return objective.eval()

    def results(self) -> dict[str, Any]:
        """How good the best weights are, with intervals; their answers are written beside."""
        lesson, best = self.lesson, self.best()
        answers = self.answers(self.best_objective().to(self._device))
        rows = lesson.evaluation.rows
        measured = intervals(self._metrics(answers), len(rows))
        with whole_file(self.folder / "predictions.jsonl") as file:
            for number, (row, given, beside) in enumerate(zip(rows, answers.given, answers.surely, strict=True)):
                file.write(json.dumps(_written(number, row, given) | beside, ensure_ascii=False).encode() + b"\n")
        results: dict[str, Any] = {
            "task": lesson.task,
            "metric": lesson.metric,
            "seed": self.seed,
            "best_step": best["step"],
            "evaluation_rows": len(rows),
            "loss": answers.loss,
            "metrics": {name: one.to_dict() for name, one in measured.items()},
        }
        if answers.found and not lesson.always_answers:
            gold = [[answer.text for answer in row.label] for row in rows]
            threshold, f1 = best_threshold(answers.found, gold)
            results |= {"best_threshold": threshold, "f1_at_best_threshold": f1}
        self._write("results.json", results)
        return results

    def _write(self, name: str, content: object) -> None:
        with whole_file(self.folder / name) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

    def export(self, folder: Path) -> None:
        """The model with the best weights, labels as names, and its card."""
        model = self.network(self.best_objective())
        results = read_object(self.folder / "results.json")
        lesson, settings = self.lesson, self.settings
        base, taught = settings.model, settings.teacher.model
        metrics = [
            Metric(name, one["value"], one["low"], one["high"], results["evaluation_rows"])
            for name, one in results["metrics"].items()
            if one["value"] is not None
        ]
        data = lesson.data
        on = Path(data.evaluation).name if data.evaluation else f"rows held out of {Path(data.train).name}"
        card = Card(
            title=f"{folder.parent.resolve().name}: {lesson.task}",
            task=_pipeline(lesson.task),
            base_model=base or "sentence-transformers/all-MiniLM-L6-v2",
            teacher=taught,
            labels=lesson.names,
            data={Path(data.train).name: len(lesson.train.rows)},
            metrics=metrics,
            measured_on=f"{on}, by which the checkpoint was chosen too",
            settings={path: value for path, value in leaves(settings.to_json()) if path not in PLACES},
            base_licence=licence(locate(base)),
            teacher_licence=None if taught is None else licence(locate(taught)),
            tags=("fine-tuned",),
        )
        save(model, folder, overwrite=True, card=card)


def _pipeline(task: Task) -> str:
    if task in PROBLEMS and task != "regression":
        return "text-classification"
    return PIPELINES.get(task, task)


def _written(number: int, row: Row, given: Any) -> dict[str, Any]:
    """A line of predictions.jsonl, but for how sure it is."""
    said: dict[str, Any] = {"row": number + 1}
    if row.name:
        said["id"] = row.name
    gold = row.label
    if gold and isinstance(gold, tuple) and not isinstance(gold[0], str):
        gold = [answer.text for answer in gold]
    said |= {"words": row.words} if row.words else {"text": row.texts[0]}
    if row.choices:
        gold, given = row.choices[gold], row.choices[given]
    return said | {"gold": gold, "predicted": given}


def _kept(attempts: Sequence[_Attempt], out: Path) -> _Attempt:
    """Measure every seed's best, write the summary, and say which is kept."""
    results = [attempt.results() for attempt in attempts]
    metric = attempts[0].lesson.metric
    best = attempts[0]
    for attempt in attempts[1:]:
        best = attempt if attempt._better(attempt.best(), best.best()) else best
    if len(attempts) == 1:
        return best
    names = results[0]["metrics"]
    by_metric = {name: [one["metrics"][name]["value"] for one in results] for name in names}
    summary = {
        "metric": metric,
        "best_seed": best.seed,
        "seeds": {
            str(attempt.seed): {name: by_metric[name][n] for name in names} for n, attempt in enumerate(attempts)
        },
        "metrics": {
            name: _spread([value for value in some if value is not None]) for name, some in by_metric.items()
        },
    }
    for name, content in (("summary.json", summary), ("results.json", results[attempts.index(best)])):
        with whole_file(out / name) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    with whole_file(out / "predictions.jsonl") as file:
        file.write((best.folder / "predictions.jsonl").read_bytes())
    return best


def _spread(some: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation over seeds, and both ends."""
    if not some:
        return dict.fromkeys(("mean", "deviation", "lowest", "highest"))
    return {
        "mean": statistics.fmean(some),
        "deviation": statistics.stdev(some) if len(some) > 1 else 0.0,
        "lowest": min(some),
        "highest": max(some),
    }
