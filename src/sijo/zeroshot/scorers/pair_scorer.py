"""What every scorer does that reads a text and a label's sentence together: one pass for each pair.

Letters: n texts, L labels, P pairs of a text and a sentence.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from sijo.errors import SettingError, TextError
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.label_tokens import LabelTokens
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest


class PairScorer(Scorer):
    """A label is one sentence or several; each is read beside the text, which is cut where both do not fit.

    `ReadCounts.truncated` tells of a text that was cut beside any of its sentences.
    """

    long_texts = ("truncate",)
    rows = 128
    one_scale = False
    reads_pairs = True
    several: ClassVar[Literal["best", "mean"]]
    """Which score a label with several sentences has."""

    @abstractmethod
    def sentences(self, label: Label, template: str) -> Sequence[str]:
        """What stands for a label beside a text, as `judged` and `room` are given it."""

    @abstractmethod
    def judged(
        self, texts: Sequence[str], sentences: Sequence[str], *, absolute: bool
    ) -> tuple[np.ndarray, ReadCounts]:
        """The score (P,) float64 of each text with its sentence, and how much of each text was read."""

    @abstractmethod
    def room(self, sentence: str) -> int:
        """How many tokens of text the model reads beside a sentence."""

    def room_beside(self, labels: Sequence[Label], template: str) -> int | None:
        """What the longest sentence leaves; without labels, what the model reads."""
        sentences = [sentence for label in labels for sentence in self.sentences(label, template)]
        most = self.engine.model.tokenizer.max_length
        return min(map(self.room, sentences), default=most)

    @cached_property
    def label_tokens(self) -> LabelTokens:
        """What its network sees of labels: all of their sentences, for a text is cut beside them."""
        return LabelTokens(self.engine.model.tokenizer)

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return {"long_text": "truncate"}

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64, -inf where not wanted; a pass through the model for each pair."""
        texts, labels, wanted = request.texts, request.labels, request.wanted
        sentences = [self.sentences(label, request.template) for label in labels]
        pairs = [
            (row, column, sentence)
            for row, column in np.argwhere(wanted).tolist()
            for sentence in sentences[column]
        ]
        rows, columns = np.array([(row, column) for row, column, _ in pairs], int).reshape(-1, 2).T
        try:
            values_P, counts = self.judged(
                [texts[row] for row in rows], [sentence for *_, sentence in pairs], absolute=request.absolute
            )
        except TextError:
            self._check_room(labels, request.template)
            raise
        except NotFiniteError as error:
            label = labels[columns[error.place]].name
            raise NotFiniteError(f"beside the label {label!r}, {error.why}", int(rows[error.place])) from None
        scores = np.full(wanted.shape, -np.inf)
        if self.several == "best":
            np.maximum.at(scores, (rows, columns), values_P)
        else:
            scores[wanted] = 0
            np.add.at(scores, (rows, columns), values_P / np.array(list(map(len, sentences)))[columns])
        tokens, truncated = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
        tokens[rows] = counts.tokens
        np.logical_or.at(truncated, rows, counts.truncated)
        return scores, ReadCounts(tokens, np.ones(len(texts), np.int64), truncated)

    def _check_room(self, labels: Sequence[Label], template: str) -> None:
        """Raise SettingError for a label whose sentence leaves no room for a text beside it."""
        most = self.engine.model.tokenizer.max_length
        for label in labels:
            for sentence in self.sentences(label, template):
                if (room := self.room(sentence)) < 1:
                    raise SettingError(
                        f"the label {label.name[:60]!r} makes a sentence that leaves no room for a text in the "
                        f"{most} tokens the model reads, by {1 - room}; shorten it, its description or template"
                    )
