"""What every scorer is: raw scores of labels for texts, which `calibration.py` makes probabilities.

Letters: n texts, L labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sijo.inference.engine import Engine, LongText, ReadCounts
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labels import Label
from sijo.zeroshot.trained_labels import TrainedLabels


@dataclass(frozen=True)
class ScoreRequest:
    """Texts, and the labels that are scored for each."""

    texts: Sequence[str]
    labels: Sequence[Label]
    template: str
    """The sentence a label is put in, with {} for its name."""
    absolute: bool = False
    """Whether the scores are held against the none score, not only against each other."""
    wanted: np.ndarray | None = None
    """(n, L) bool, the scores that are wanted, one or more in each row; None for all. Others may be anything."""


class Scorer(ABC):
    """How well labels fit texts, by a model opened with the head that the scorer's row names."""

    name: ClassVar[str]
    """What it is called in `SCORERS`."""
    template: ClassVar[str]
    """The sentence a label is put in, unless the user gives one."""
    calibration: ClassVar[Calibration]
    """What makes its scores probabilities, unless the user fits another."""
    long_texts: ClassVar[tuple[LongText, ...]] = ("windows", "truncate")
    """What it can do with a text longer than the model; the first is what it does unless told."""
    rows: ClassVar[int] = 2048
    """Texts it is best given at a time: more sort better, fewer are answered sooner."""
    one_scale: ClassVar[bool] = True
    """Whether absolute scores are the same numbers as others, so that one calibration serves both."""
    reads_pairs: ClassVar[bool] = False
    """Whether a text is read together with a label's sentence, and must leave it room."""
    known: TrainedLabels | None = None
    """The only labels it has scores for; None where any label will do."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": self.engine.long_text}

    @property
    def caution(self) -> str | None:
        """What a person should know of this model under this scorer, before its answers."""
        return None

    @abstractmethod
    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64, and how much of each text was read."""
