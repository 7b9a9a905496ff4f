"""All that decides a run in which a cross-encoder learns which labels a text entails; and what it is by default."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sijo.errors import SettingError
from sijo.jobs.finetune_settings import default_settings
from sijo.training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class EntailmentSettings(Settings):
    """All that decides such a run, but the sets."""

    task: Literal["entailment", "self-training"] = "entailment"
    """What is learned: whether a text entails the sentence of a label."""
    model: str | None = None
    """A folder or org/name with a head for entailment."""
    wrong: int = 1
    """Labels that do not fit, drawn for each text beside its own."""
    length: int = 128
    """Tokens of a text with the sentence of a label at most, special ones included."""
    top_layers: int | None = None
    """How many of the top layers are trained, while the others and the embeddings stay as they are; null for
    all."""
    held_out: float = 0.0
    """Share of each set's rows that is measured on where no sets are given for that; 0 to measure nothing then."""
    evaluation_rows: int = 1_000
    """Rows of each set that are measured on, at most; which ones is drawn from run.seed."""

    def __post_init__(self) -> None:
        if not 8 <= self.length <= 100_000:
            raise SettingError(f"length={self.length} tokens is no length for an input; give 8 to 100,000")
        if self.wrong < 1 or self.evaluation_rows < 1:
            raise SettingError(
                f"wrong={self.wrong} and evaluation_rows={self.evaluation_rows} must be 1 or more: of labels that "
                "fit alone nothing is learned"
            )
        if self.top_layers is not None and self.top_layers < 1:
            raise SettingError(f"top_layers={self.top_layers} would train nothing; give 1 or more, or null for all")
        if not 0 <= self.held_out < 1:
            raise SettingError(f"held_out={self.held_out} is no share of the rows; give a number such as 0.1")


def default_entailment(model: str | Path) -> EntailmentSettings:
    """Settings that work: 100 steps of 32 pairs, else as `sijo finetune` reads pairs with such a model."""
    base = default_settings("classification", model)
    return EntailmentSettings(
        model=str(model),
        length=base.cutting.length,
        optimizer=base.optimizer,
        schedule=base.schedule,
        run=replace(base.run, epochs=None, steps=100, save_every=50),
    )
