"""All that decides a run in which a sentence encoder learns to fit labels; and what it is by default."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sijo.checkpoints.describe import describe
from sijo.data.label_questions import QuestionSettings
from sijo.errors import SettingError
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.nn.encoder_decoder import stacks
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, Settings
from sijo.zeroshot.labels import LabelSet

TRAINED = 6
"""Of the layers, the top ones that are trained by default: what was tried with a network of twelve."""


@dataclass(frozen=True, kw_only=True)
class LabelMatchingSettings(Settings):
    """All that decides such a run, but the sets."""

    task: Literal["label-matching", "self-training"] = "label-matching"
    """What is learned: which of some labels, given in words, fits a text."""
    model: str | None = None
    """A folder or org/name to start from; None for the built-in encoder."""
    prompt: str | None = None
    """What stands before texts and labels: a name of the encoder's, or words such as "query: "; None for its own
    choice. It is kept with the model."""
    temperature: float = 0.05
    """By which cosines are divided before the softmax over labels."""
    top_layers: int | None = None
    """How many of the top layers are trained, while the others and the embeddings stay as they are; null for
    all."""
    dropout: bool = False
    """Whether the network drops anything out while it learns."""
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    """Which labels a batch chooses among, and in which words."""
    held_out: float = 0.1
    """Share of each set's rows that is measured on where no sets are given for that, the same of each label; 0 to
    measure nothing then."""
    evaluation_rows: int = 1_000
    """Rows of each set that are measured on, at most; which ones is drawn from run.seed."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"temperature={self.temperature} must be above 0, such as 0.05")
        if self.top_layers is not None and self.top_layers < 1:
            raise SettingError(f"top_layers={self.top_layers} would train nothing; give 1 or more, or null for all")
        if not 0 <= self.held_out < 1:
            raise SettingError(f"held_out={self.held_out} is no share of the rows; give a number such as 0.1")
        if self.evaluation_rows < 1:
            raise SettingError(f"evaluation_rows={self.evaluation_rows} measures nothing; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class MatchingFiles:
    """The sets of a run."""

    train: str
    """A mixture (`jobs/open_labels/mixture.py`) to learn from, or a table of rows."""
    evaluation: str | None = None
    """Another to measure on; None to hold some rows out."""
    text: str | None = None
    """The column of the text, where a mixture does not say."""
    label: str | None = None
    """The column of the label, likewise."""
    labels: LabelSet | None = None
    """Of a table of rows, what to choose among; None for the labels that occur."""
    teacher: str | None = None
    """Of a table of rows, a model whose opinion is learned: of unlabelled texts, where no label column is named."""
    how: TextReading = AS_TOLD
    """What was said of tables of text."""


def default_matching(model: str | Path | None = None) -> LabelMatchingSettings:
    """Settings that work: 500 steps of 32 texts, AdamW at 3e-5 that falls to nothing, the top six layers.

    >>> settings = default_matching()
    >>> settings.run.steps, settings.schedule.peak, settings.top_layers, settings.questions.length
    (500, 3e-05, 6, 64)
    """
    described = describe(model)
    a = described.architecture
    limits = [64, a.places or 64, described.sentence.max_length or 64]
    return LabelMatchingSettings(
        model=None if model is None else str(model),
        top_layers=min(TRAINED, a.layers) if a.blocks == a.layers and len(stacks(a)) == 1 else None,
        questions=QuestionSettings(length=max(8, min(limits))),
        optimizer=OptimizerSettings(weight_decay=0.01),
        schedule=ScheduleSettings(peak=3e-5, shape="linear"),
        # the loss of two labels is no measure for that of 24, so no rise of it is a fault
        run=LoopSettings(steps=500, batch=32, micro_tokens=2_048, save_every=250, keep=1, divergence=1e6),
    )
