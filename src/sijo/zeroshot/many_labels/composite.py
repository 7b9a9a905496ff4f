"""A scorer made of others: what it does not do itself, the first of them does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import ReadCounts
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest

OUTSIDE = -1e30
"""The score of a label that was not looked at: its probability is 0 at any temperature that scores have."""


class CompositeScorer(Scorer):
    """A scorer that stands where its first scorer would, with the same template, model and labels.

    Wordings are not compared, and no calibration is preferred.
    """

    def __init__(self, first: Scorer) -> None:
        super().__init__(first.engine)
        self.first = first
        self.template, self.templates = first.template, first.templates
        self.reads_examples, self.reads_pairs = first.reads_examples, first.reads_pairs
        self.reads_others, self.one_scale = first.reads_others, first.one_scale
        self.long_texts, self.rows = first.long_texts, first.rows
        self.calibration, self.known, self.choice = first.calibration, first.known, first.choice

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return self.first.settings

    def room_beside(self, labels: Sequence[Label], template: str) -> int | None:
        """How many tokens of a text are read at most beside any of some labels; None where all of them are."""
        return self.first.room_beside(labels, template)

    @property
    def label_tokens(self) -> LabelTokens | None:
        """What the first network sees of labels."""
        return self.first.label_tokens

    @property
    def caution(self) -> str | None:
        """What a person should know of the first model."""
        return self.first.caution


@dataclass(frozen=True, kw_only=True, eq=False)
class Beside:
    """A second scorer, with the labels in its own words."""

    scorer: Scorer
    labels: tuple[Label, ...]
    template: str

    @classmethod
    def of(cls, scorer: Scorer, labeller: Labeller, option: str) -> "Beside":
        """For the labels of a labeller; `option` is what the second model was given by.

        Raises SettingError, which names that option, for labels that it does not know or cannot tell apart.
        """
        choice, labels = labeller.choice, labeller.own
        backends = scorer.engine.backend, labeller.scorer.engine.backend
        if scorer.name == labeller.scorer.name and backends[0].fingerprint == backends[1].fingerprint:
            raise SettingError(
                f"{option} names the model that labels by itself already; name another, or leave it out"
            )
        own = replace(labels, labels=tuple(replace(label, template=None) for label in labels.labels))
        if scorer.known is not None:  # it goes by names alone
            choice = LabelChoice()
            own = LabelSet(tuple(replace(label, descriptions=(), examples=()) for label in own.labels))
        try:
            second = Labeller(scorer, choice, own).own
        except SettingError as error:
            raise SettingError(f"{option}: {error}") from None
        if second.names != labels.names:
            raise SettingError(
                f"{option}: this model chooses among labels that are no parent; leave the others out"
            )
        return cls(scorer=scorer, labels=second.labels, template=choice.template or scorer.template)

    def score(
        self, texts: Sequence[str], *, absolute: bool, lists: Sequence[Sequence[int]] | None = None
    ) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64, and how much was read; `lists` as of a `ScoreRequest`."""
        return self.scorer.score(ScoreRequest(texts, self.labels, self.template, absolute, lists))

    @property
    def record(self) -> dict[str, object]:
        """Which model, and how it scores, for JSON."""
        backend = self.scorer.engine.backend
        return {"scorer": self.scorer.name, **self.scorer.settings, "model": backend.fingerprint}


def must_be_fitted_to(request: ScoreRequest, labels: LabelSet, what: str, *, lists: bool = False) -> None:
    """Raise SettingError where a request is for other labels than those that something was fitted to.

    lists  whether a text may have some of them alone
    """
    if (request.lists is not None and not lists) or tuple(request.labels) != labels.labels:
        raise SettingError(
            f"{what} is fitted to one set of labels, and these are others; give every text the same labels, or "
            f"leave {what} out"
        )
