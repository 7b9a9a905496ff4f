"""What every scorer is: raw scores of labels for texts, which `calibration.py` makes probabilities.

Some know only the labels that their model was trained on. Its head then has a column for each label and reads the
text alone, so a label is its name in the model's config and nothing else: no template, no description, and no label
that is not there.

Letters: n texts, L labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sijo.checkpoints.describe import DescribedModel
from sijo.errors import RefusedError, SettingError, nearest
from sijo.inference.engine import Engine, LongText
from sijo.inference.outputs import ReadCounts
from sijo.names import folded
from sijo.nn.head_specs import CLASSIFIER
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.registry import ScorerChoice

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
"""What a config's problem_type may say, as transformers writes it."""
MOST_SHOWN = 12
"""Labels, in an error."""
OTHERWISE = (
    "For labels of your own use a zero-shot model, such as the built-in one; if this model was trained on "
    "entailment, name the column that says so by entailment_column= (--entailment-column); to compare vectors of "
    'its encoder, say scorer="embedding" (--scorer embedding)'
)


@dataclass(frozen=True)
class TrainedLabels:
    """The labels that a head was trained on, in the order of its columns.

    >>> TrainedLabels(("sport", "Tax"), multi_label=False).places([Label("tax"), Label("sport")])
    [1, 0]
    """

    names: tuple[str, ...]
    multi_label: bool
    """Whether it was trained to judge each by itself (a sigmoid each), and not to choose one (a softmax)."""

    @classmethod
    def of(cls, model: DescribedModel) -> "TrainedLabels":
        """The labels of a model's head, and what its config says of them.

        Raises SettingError for a head that gives a number and no label; RefusedError for columns whose names
        cannot be told apart, and for a problem_type that nobody knows.

        >>> from sijo.checkpoints.load import load
        >>> TrainedLabels.of(load(head="new:sequence-classification", labels=["sport", "tax"]))
        TrainedLabels(names=('sport', 'tax'), multi_label=False)
        """
        problem, source = model.fields.get("problem_type"), model.source or "the model"
        if problem is not None and problem not in PROBLEMS:
            raise RefusedError(
                f"{source} has the problem_type {str(problem)[:60]!r} in its config, which says nothing of how its "
                f"labels are meant; transformers knows {', '.join(PROBLEMS)}"
            )
        if problem == "regression" or (problem is None and len(model.labels) == 1):
            why = "its problem_type is regression" if problem else f"its one column is {model.labels[0]!r}"
            raise SettingError(
                f"the classification head of {source} gives a number and no label ({why}): read that number with "
                f"sijo.load(..., head={CLASSIFIER!r}). {OTHERWISE}"
            )
        try:
            LabelSet.of(model.labels)
        except SettingError as error:
            raise RefusedError(
                f"the names of the columns of {source} cannot be labels: {error}. Mend id2label in its config.json"
            ) from None
        return cls(model.labels, multi_label=problem == "multi_label_classification")

    def places(self, labels: Sequence[Label]) -> list[int]:
        """The column of each label: of that name, or else of one that differs only in case or blanks.

        Raises SettingError that names the nearest label there is, and for a description, which no head reads.
        """
        by_name = {folded(name): place for place, name in enumerate(self.names)}
        for label in labels:
            if folded(label.name) not in by_name:
                more = f", and {len(self.names) - MOST_SHOWN} more" if len(self.names) > MOST_SHOWN else ""
                raise SettingError(
                    f"the label {label.name!r} is none of the {len(self.names)} that the model was trained on "
                    f"({', '.join(self.names[:MOST_SHOWN])}{more}){nearest(label.name, self.names)}. {OTHERWISE}"
                )
            if label.descriptions or label.examples:
                what = "a description" if label.descriptions else "an example"
                raise SettingError(
                    f"the label {label.name!r} has {what}, which a head that was trained on its labels does "
                    "not read; give names alone, or no labels, for all of the model's"
                )
        return [by_name[folded(label.name)] for label in labels]


@dataclass(frozen=True)
class ScoreRequest:
    """Texts, and the labels that are scored for each."""

    texts: Sequence[str]
    labels: Sequence[Label]
    template: str
    """The sentence a label is put in, with {} for its name."""
    absolute: bool = False
    """Whether the scores are held against the none score, not only against each other."""
    lists: Sequence[Sequence[int]] | None = None
    """Of each text the places of its own labels, one or more, in their order; None for all. Scores of others may be
    anything."""

    @property
    def wanted(self) -> np.ndarray:
        """(n, L) bool, the scores that are wanted."""
        if self.lists is None:
            return np.ones((len(self.texts), len(self.labels)), bool)
        wanted = np.zeros((len(self.texts), len(self.labels)), bool)
        for row, own in enumerate(self.lists):
            wanted[row, own] = True
        return wanted

    def by_list(self) -> dict[tuple[int, ...], list[int]]:
        """The texts that share an ordered list of labels, by the numbers of these."""
        if self.lists is None:
            return {tuple(range(len(self.labels))): list(range(len(self.texts)))}
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, own in enumerate(self.lists):
            rows.setdefault(tuple(own), []).append(row)
        return rows


class Scorer(ABC):
    """How well labels fit texts, by a model opened with the head that the scorer's row names."""

    name: str
    """What it is called in `SCORERS`."""
    template: str
    """The sentence a label is put in, unless the user gives one."""
    templates: Mapping[str, str] = {}
    """By language, those it takes for labels whose script tells that they are in it: see `LabelSet.worded`."""
    reads_examples: bool = False
    """Whether texts that have a label tell it something; where not, a warning says so."""
    second_template: str | None = None
    """Another such sentence. How often the two agree tells how sure to be without a gold label; None where that was
    not measured, and scores are as sure as the head was trained to be."""
    calibrated_by: str | None = None
    """What calibrate="auto" takes whatever the texts' own shares; None for what suits these."""
    calibration: Calibration
    """What makes its scores probabilities, unless the user fits another."""
    long_texts: tuple[LongText, ...] = ("windows", "truncate")
    """What it can do with a text longer than the model; the first is what it does unless told."""
    rows: int = 2048
    """Texts it is best given at a time: more sort better, fewer are answered sooner."""
    one_scale: bool = True
    """Whether absolute scores are the same numbers as others, so that one calibration serves both."""
    reads_pairs: bool = False
    """Whether a text is read together with a label's sentence, and must leave it room."""
    reads_others: bool = False
    """Whether what it says of a label depends on those beside it."""
    all_scored: bool = True
    """Whether it has a score for every label it is asked about; where not, nothing can go by the scores of all."""
    choice: ScorerChoice
    """That it was taken, and why."""
    known: TrainedLabels | None = None
    """The only labels it has scores for; None where any label will do."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.choice = ScorerChoice(self.name, "as asked")

    def must_score_all(self, what: str) -> None:
        """Raise SettingError where something that goes by the scores of all labels meets a scorer of few."""
        if not self.all_scored:
            raise SettingError(
                f"{what} goes by all labels' scores, and the {self.name} scorer reads few of them; leave it out, "
                "or cascade= and beam= (--cascade, --beam)"
            )

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": self.engine.long_text}

    def room_beside(self, labels: Sequence[Label], template: str) -> int | None:
        """How many tokens of a text are read at most beside any of some labels; None where all of them are."""
        tokenizer = self.engine.model.tokenizer
        whole = self.engine.long_text == "windows"
        return None if whole else tokenizer.max_length - tokenizer.special_tokens

    @property
    def label_tokens(self) -> LabelTokens | None:
        """What its network sees of labels; None where it reads texts alone."""
        return None

    @property
    def caution(self) -> str | None:
        """What a person should know of this model under this scorer, before its answers."""
        return None

    def notes(self, rows: int) -> Sequence[str]:
        """What a person should know once so many rows are scored."""
        return ()

    @abstractmethod
    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64, and how much of each text was read."""
