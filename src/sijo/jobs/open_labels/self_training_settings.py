"""All that decides a run in which a model learns from its own answers; and what it is by default."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from sijo.checkpoints.describe import describe
from sijo.errors import SettingError
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.jobs.open_labels.entailment_settings import EntailmentSettings, default_entailment
from sijo.jobs.open_labels.label_matching_settings import LabelMatchingSettings, default_matching
from sijo.training.settings import Settings
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import model_facts, suited


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """From which of its own answers a model learns, and how often."""

    rounds: int = 2
    """How often texts are labelled and learned from, at most; each round begins from the model that was given."""
    per_label: int = 100
    """Texts of each label that a round learns from, at most."""
    share: float = 0.5
    """Of the texts that are given a label, the share that is learned from, at most: the surest."""
    margin: float = 0.0
    """The lead of a label's score over the next below which no text is learned from: of cosines, or of logits."""
    agreement: float = 0.99
    """A round is the last where so large a share of all texts keep the label that they had before it."""
    most_texts: int = 10_000
    """Texts that are labelled, at most; which ones is drawn from run.seed."""

    def check_rounds(self) -> None:
        """Raise SettingError for settings by which nothing is learned."""
        if self.rounds < 1 or self.per_label < 1 or self.most_texts < 2:
            raise SettingError(
                f"rounds={self.rounds}, per_label={self.per_label} and most_texts={self.most_texts} would teach "
                "nothing; give 1 or more, and 2 texts or more"
            )
        for name in ("share", "agreement"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise SettingError(f"{name}={value} is no share; give a number above 0, up to 1")
        if not 0 <= self.margin < math.inf:
            raise SettingError(f"margin={self.margin} is no lead of a score; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class VectorSelfTraining(RoundSettings, LabelMatchingSettings):
    """All that decides the run of a sentence encoder, but the texts and labels."""

    task: Literal["self-training"] = "self-training"
    """What is learned: to fit the labels that the encoder itself is surest of."""

    scorer: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_rounds()

    def of_round(self) -> LabelMatchingSettings:
        """Those of the run that a round is."""
        return LabelMatchingSettings(**_own(self, LabelMatchingSettings) | {"task": "label-matching"})


@dataclass(frozen=True, kw_only=True)
class PairSelfTraining(RoundSettings, EntailmentSettings):
    """All that decides the run of a cross-encoder, but the texts and labels."""

    task: Literal["self-training"] = "self-training"
    """What is learned: that a text entails the labels that the cross-encoder itself is surest of, and no others."""

    scorer: ClassVar[str] = "entailment"
    prompt: ClassVar[None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_rounds()

    def of_round(self) -> EntailmentSettings:
        """Those of the run that a round is."""
        return EntailmentSettings(**_own(self, EntailmentSettings) | {"task": "entailment"})


SelfTrainingSettings = VectorSelfTraining | PairSelfTraining


def _own(settings: Settings, kind: type[Settings]) -> dict[str, Any]:
    """The values of another kind's fields."""
    return {field.name: getattr(settings, field.name) for field in fields(kind)}


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
    """Settings that work: two rounds of 100 steps, else as `default_matching` or `default_entailment` has them.

    model  a sentence encoder, or a folder with a head for entailment, which reads text and label together

    >>> settings = default_self_training()
    >>> settings.scorer, settings.rounds, settings.run.steps, settings.schedule.peak
    ('embedding', 2, 100, 3e-05)
    """
    if model is not None and suited(model_facts(describe(model))).name == "entailment":
        pairs = default_entailment(model)
        return PairSelfTraining(**_own(pairs, EntailmentSettings) | {"task": "self-training"})
    base = default_matching(model)
    run = replace(base.run, steps=100, save_every=50)
    values = _own(base, LabelMatchingSettings) | {"task": "self-training", "run": run, "held_out": 0.0}
    return VectorSelfTraining(**values)
