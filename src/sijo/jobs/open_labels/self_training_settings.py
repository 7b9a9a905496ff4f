"""All that decides a run in which a sentence encoder learns from its own answers; and what it is by default."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from sijo.errors import SettingError
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.jobs.open_labels.label_matching_settings import LabelMatchingSettings, default_matching
from sijo.zeroshot.labels import LabelSet


@dataclass(frozen=True, kw_only=True)
class SelfTrainingSettings(LabelMatchingSettings):
    """All that decides such a run, but the texts and labels."""

    task: Literal["self-training"] = "self-training"
    """What is learned: to fit the labels that the encoder itself is surest of."""
    rounds: int = 2
    """How often texts are labelled and learned from, at most; each round begins from the model that was given."""
    per_label: int = 100
    """Texts of each label that a round learns from, at most."""
    share: float = 0.5
    """Of the texts that are given a label, the share that is learned from, at most: the surest."""
    margin: float = 0.0
    """The lead of a label's cosine over the next below which no text is learned from."""
    agreement: float = 0.99
    """A round is the last where so large a share of all texts keep the label that they had before it."""
    most_texts: int = 10_000
    """Texts that are labelled, at most; which ones is drawn from run.seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1 or self.per_label < 1 or self.most_texts < 2:
            raise SettingError(
                f"rounds={self.rounds}, per_label={self.per_label} and most_texts={self.most_texts} would teach "
                "nothing; give 1 or more, and 2 texts or more"
            )
        for name in ("share", "agreement"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise SettingError(f"{name}={value} is no share; give a number above 0, up to 1")
        if not 0 <= self.margin <= 2:
            raise SettingError(f"margin={self.margin} is no lead of a cosine; give a number from 0 to 2")

    def matching(self) -> LabelMatchingSettings:
        """Those of the run that a round is."""
        values = {field.name: getattr(self, field.name) for field in fields(LabelMatchingSettings)}
        return LabelMatchingSettings(**values | {"task": "label-matching", "held_out": 0.0})


@dataclass(frozen=True, kw_only=True)
class UnlabelledFiles:
    """The texts and labels of a run."""

    train: str
    """A table of texts, or a file with one a line; what else it says is not read."""
    labels: LabelSet
    """What to choose among."""
    evaluation: str | None = None
    """A table of labelled texts to measure on; None to measure nothing."""
    text: str | None = None
    """The column of the text."""
    label: str | None = None
    """The column of the label of what is measured on."""
    how: TextReading = AS_TOLD
    """What was said of both."""


def default_self_training(model: str | Path | None = None) -> SelfTrainingSettings:
    """Settings that work: two rounds of 100 steps, else as `default_matching` has them.

    >>> settings = default_self_training()
    >>> settings.rounds, settings.run.steps, settings.schedule.peak
    (2, 100, 3e-05)
    """
    base = default_matching(model)
    values = {field.name: getattr(base, field.name) for field in fields(base)}
    run = replace(base.run, steps=100, save_every=50)
    return SelfTrainingSettings(**values | {"task": "self-training", "run": run, "held_out": 0.0})
