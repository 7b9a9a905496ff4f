"""Which of the labels it was trained on fits? A classification head, asked for its own classes.

Such a head was fine-tuned on labelled texts and has a column for each label. It reads the text alone, so a
label is its name in the model's config and nothing else: no template, no description, and no label that is not
there. It is here, among the zero-shot scorers, so that a model that was trained on labels is used in the same
way as one that was not, and measured beside it.

Letters: n texts, C columns of the head's logits, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sijo.checkpoints.load import Model
from sijo.errors import RefusedError, SettingError, nearest
from sijo.inference.engine import CLASSIFIER, Engine, LongText, ReadCounts
from sijo.names import folded
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labels import Label, LabelSet

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
    def of(cls, model: Model) -> "TrainedLabels":
        """The labels of a model's head, and what its config says of them.

        Raises SettingError for a head that gives a number and no label; RefusedError for columns whose names
        cannot be told apart, and for a problem_type that nobody knows.

        >>> from sijo.checkpoints.load import load
        >>> TrainedLabels.of(load(head="new:sequence-classification", labels=["sport", "tax"]))
        TrainedLabels(names=('sport', 'tax'), multi_label=False)
        """
        problem, source = model.config.get("problem_type"), model.source or "the model"
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
        found = []
        for label in labels:
            place = by_name.get(folded(label.name))
            if place is None:
                more = f", and {len(self.names) - MOST_SHOWN} more" if len(self.names) > MOST_SHOWN else ""
                raise SettingError(
                    f"the label {label.name!r} is none of the {len(self.names)} that the model was trained on "
                    f"({', '.join(self.names[:MOST_SHOWN])}{more}){nearest(label.name, self.names)}. {OTHERWISE}"
                )
            if label.descriptions:
                raise SettingError(
                    f"the label {label.name!r} has a description, which a head that was trained on its labels does "
                    "not read; give names alone, or no labels, for all of the model's"
                )
            found.append(place)
        return found


class TrainedScorer:
    """What a head that was trained on the labels says of each: its own logits.

    Probabilities are a softmax over the labels that are asked for, all of them by default; where the config's
    `problem_type` is `multi_label_classification`, a sigmoid for each. A head that was trained on pairs of
    texts is asked of single ones.

    engine  a model opened with its head

    Raises SettingError for a head that gives a number and no label.

    Source: the numbers are those of the text-classification pipeline of transformers.

    >>> from sijo.checkpoints.load import load
    >>> scorer = TrainedScorer(Engine(load(head="new:sequence-classification", labels=["sport", "tax", "war"])))
    >>> scores, reading = scorer.score(["a late goal"], [Label("war"), Label("sport")], "")
    >>> scores.shape, reading.tokens.tolist()
    ((1, 2), [3])
    """

    name = "trained"
    head: str | None = CLASSIFIER
    long_texts: tuple[LongText, ...] = ("windows", "truncate")
    rows = 2048
    one_scale = True
    template = "{}"
    """A label is its name; no other template is taken."""
    calibration = Calibration(
        temperature=1.0, none_score=0.0, origin="not fitted: the model's own logits, as it was trained"
    )

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.known = TrainedLabels.of(engine.model)

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": self.engine.long_text}

    def score(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        template: str,
        *,
        absolute: bool = False,
        asked: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ReadCounts]:
        """Logits (n, L) float64, absolute or not, all of them: they cost one pass for a text."""
        places = self.known.places(labels)
        said = self.engine.judge(texts)
        return said.logits.astype(np.float64)[:, places], said
