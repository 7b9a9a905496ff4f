"""All that decides a run in which an encoder learns to judge all labels in one pass; and what it is by default."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sijo.checkpoints.describe import describe
from sijo.data.label_questions import QuestionSettings
from sijo.errors import SettingError
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings, Settings


@dataclass(frozen=True, kw_only=True)
class OnePassSettings(Settings):
    """All that decides a run in which an encoder learns to judge all labels in one pass, but the sets."""

    task: Literal["one-pass"] = "one-pass"
    """What is learned: which of the labels that stand beside a text fit it."""
    model: str | None = None
    """A folder or org/name to start from, with the head or without; None for the built-in encoder."""
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    """Which labels a batch chooses among, and in which words; they stand without a template."""
    length: int = 256
    """Tokens of an input, labels and text, at most."""
    neighbours: Literal["seen", "hidden"] = "hidden"
    """Of a fresh head, whether labels read each other and the text reads them, or each is judged by itself."""
    loss: Literal["list", "each"] = "list"
    """Whether the labels beside a text are judged as one list, of which the worst count, or each by itself."""
    gamma: float = 2.0
    """Of each, how much less a label counts that is judged well already; 0 for binary cross-entropy."""
    alpha: float | None = None
    """Of each, what a label that fits counts beside one that does not; null for as much."""
    without: float = 0.1
    """Share of texts beside which their own label does not stand."""
    dropout: bool = False
    """Whether the encoder drops anything out while it learns."""
    held_out: float = 0.1
    """Share of each set's rows that is measured on where no sets are given for that, the same of each label."""
    evaluation_rows: int = 1_000
    """Rows of each set that are measured on, at most; which ones is drawn from run.seed."""

    def __post_init__(self) -> None:
        if not 16 <= self.length <= 100_000:
            raise SettingError(f"length={self.length} tokens is no length for an input; give 16 to 100,000")
        if not 0 < self.held_out < 1 or self.evaluation_rows < 1:
            raise SettingError(
                f"held_out={self.held_out} must be a share of the rows such as 0.1, and evaluation_rows="
                f"{self.evaluation_rows} 1 or more"
            )


def default_one_pass(model: str | Path | None = None) -> OnePassSettings:
    """Settings that work: 1,000 steps of 32 texts, AdamW at 5e-5 that falls to nothing, all layers.

    >>> settings = default_one_pass()
    >>> settings.run.steps, settings.length, settings.questions.length
    (1000, 256, 64)
    """
    described = describe(model)
    read = described.tokenizer.max_length if described.has_tokenizer else 256
    length = min(256, described.architecture.places or 256, read)
    return OnePassSettings(
        model=None if model is None else str(model),
        length=length,
        questions=QuestionSettings(length=max(8, min(64, length // 2))),
        optimizer=OptimizerSettings(weight_decay=0.01),
        schedule=ScheduleSettings(peak=5e-5, shape="linear", warmup_share=0.05),
        run=LoopSettings(steps=1_000, batch=32, micro_tokens=4_096, save_every=500, keep=1, divergence=1e6),
    )
