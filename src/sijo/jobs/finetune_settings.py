"""All that decides a run over labelled rows, as one value; and what it is by default for a model and a task."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from sijo.checkpoints.describe import describe
from sijo.data.labelled_inputs import InputSettings
from sijo.data.labelled_rows import HEADS, ColumnNames, Task
from sijo.errors import SettingError, nearest
from sijo.evaluation.metrics import BEST
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.models.family import Rate
from sijo.objectives.ensemble import Ensembling
from sijo.objectives.supervised import SiftSettings
from sijo.prediction.decoding import AnswerSettings
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, Settings


@dataclass(frozen=True, kw_only=True)
class TaskTeacherSettings:
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


MOST_SEEDS = 1_000
"""Runs, one after another."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(Settings):
    """All that decides a run over labelled rows, but the rows."""

    task: Task = "classification"
    """What is learned: classification, multi-label, regression, tagging, question-answering or multiple-choice."""
    model: str | None = None
    """A folder or org/name to start from; None for the built-in encoder."""
    head: Literal["published", "plain"] = "published"
    """The family's own head as transformers has it, or one linear layer over the first token (ELECTRA's paper)."""
    columns: ColumnNames = field(default_factory=ColumnNames)
    """Where in the files what stands."""
    cutting: InputSettings = field(default_factory=InputSettings)
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
    """Epochs between two evaluations, each a checkpoint; None, or run.save_every set alone, to go by that."""
    metric: str | None = None
    """What decides which checkpoint is best; None for the task's own, such as accuracy."""
    patience: int | None = None
    """After how many evaluations without gain the run stops; None to go on to the end."""
    seeds: int = 1
    """How many runs are made, with run.seed and those after it; the best one is kept."""
    teacher: TaskTeacherSettings = field(default_factory=TaskTeacherSettings)
    """A model to learn from beside the labels."""
    sift: SiftSettings = field(default_factory=SiftSettings)
    """Steadiness that is asked for beside the answer."""
    ensemble: Ensembling = field(default_factory=Ensembling)
    """Of classification, for labels that are not all right: the network's own answers choose among the rows."""
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    """How an answer is chosen in question-answering."""
    overruled: ClassVar[Mapping[str, str]] = {**Settings.overruled, "run.save_every": "every"}

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise SettingError(f"held_out={self.held_out} is no share of the rows; give a number such as 0.1")
        if self.every is not None and not 0 < self.every < math.inf:
            raise SettingError(f"every={self.every} epochs must be above 0, or null to go by run.save_every")
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"patience={self.patience} must be 1 or more, or null to go on to the end")
        if not 1 <= self.seeds <= MOST_SEEDS or self.fresh_layers < 0:
            raise SettingError(
                f"seeds={self.seeds} must be 1 or more, up to {MOST_SEEDS:,}, and fresh_layers={self.fresh_layers} "
                "0 or more"
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
        if self.ensemble.every is not None and self.task != "classification":
            raise SettingError(f"ensemble.every={self.ensemble.every} is for classification, not {self.task}")
        if not 0 <= self.smoothing < 1:
            raise SettingError(f"smoothing={self.smoothing} is no share of the truth; give a number such as 0.1")

    def with_steps(self, inputs: int) -> "FinetuneSettings":
        """The same with `run.steps` and `run.save_every` for the epochs that are asked for."""
        settings = super().with_steps(inputs)
        if self.every is None:
            return settings
        steps = max(1, math.ceil(self.every * inputs / self.run.batch))
        return replace(settings, run=replace(settings.run, save_every=steps))


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """The rows of a run."""

    train: str
    """A file to learn from."""
    evaluation: str | None = None
    """A file to measure on; None to hold some training rows out."""
    how: TextReading = AS_TOLD
    """What was said of both beside their names."""


RATES = (
    Rate(hidden_size=128, peak=3e-4, source="the greatest of those tried for BERT's miniatures"),
    Rate(hidden_size=512, peak=1e-4, source="BERT's miniatures: 3e-5 to 3e-4"),
    Rate(hidden_size=768, peak=5e-5, source="BERT, section A.3: 2e-5 to 5e-5"),
    Rate(peak=2e-5, source="BERT, section A.3"),
)
"""For a family without rates of its own; the first row that a model fits into decides."""


def default_settings(task: Task, model: str | Path | None = None) -> FinetuneSettings:
    """Settings that work: three epochs in batches of 32, a tenth of warm-up, the rate published for such a model.

    >>> settings = default_settings("classification")
    >>> settings.run.epochs, settings.run.batch, settings.schedule.peak
    (3.0, 32, 0.0001)
    """
    described = describe(model)
    architecture = described.config.architecture()
    rate = next(
        rate
        for rate in (*described.family.rates, *RATES)
        if architecture.layers <= rate.layers and architecture.hidden_size <= rate.hidden_size
    )
    length = 384 if task == "question-answering" else 128
    if architecture.places is not None:
        length = min(length, architecture.places)
    return FinetuneSettings(
        task=task,
        model=None if model is None else str(model),
        cutting=InputSettings(length=length),
        optimizer=OptimizerSettings(weight_decay=0.01, layer_decay=rate.layer_decay),
        schedule=ScheduleSettings(peak=rate.peak, shape="linear", warmup_share=0.1),
        run=LoopSettings(epochs=3.0, batch=32, micro_tokens=512, save_every=1_000_000, keep=1),
    )
