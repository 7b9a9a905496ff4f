"""What a fine-tuned head answers about a row: a dataclass for each task, known without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An answer, and how much of the row was read for it."""

    tokens: int = 0
    """Of the row's texts, special ones not counted; of question-answering of the text alone."""
    windows: int = 1
    """In how many pieces it was read."""
    truncated: bool = False
    """Whether some of it was not read."""
    nothing: ClassVar[Mapping[str, Any]] = {}
    """What is answered where there is no text."""

    @property
    def value(self) -> Any:
        """The answer alone: a name, names, a number, tags, a text, or the place of a choice."""
        raise NotImplementedError

    def unless_empty(self) -> Self:
        """The same; with no answer where there was no text."""
        return self if self.tokens else replace(self, **self.nothing)


@dataclass(frozen=True, kw_only=True)
class LabelAnswer(Prediction):
    """One label of a text."""

    label: str | None
    """None for a row without text."""
    score: float | None
    """Its probability."""
    label_scores: Mapping[str, float] = field(default_factory=dict)
    """The probability of each label, best first."""
    nothing: ClassVar[Mapping[str, Any]] = {"label": None, "score": None, "label_scores": {}}

    @property
    def value(self) -> str | None:
        """The label."""
        return self.label


@dataclass(frozen=True, kw_only=True)
class LabelsAnswer(Prediction):
    """All labels that fit a text, each judged by itself."""

    labels: tuple[str, ...]
    """Best first; none where nothing fits."""
    scores: tuple[float, ...]
    """Their probabilities."""
    label_scores: Mapping[str, float] = field(default_factory=dict)
    """The probability of each label, best first."""
    nothing: ClassVar[Mapping[str, Any]] = {"labels": (), "scores": (), "label_scores": {}}

    @property
    def value(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels


@dataclass(frozen=True, kw_only=True)
class NumberAnswer(Prediction):
    """A number, or several by their names."""

    number: float | None
    """The first."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """All of them, where there are several."""
    nothing: ClassVar[Mapping[str, Any]] = {"number": None, "numbers": {}}

    @property
    def value(self) -> float | None:
        """The number."""
        return self.number


@dataclass(frozen=True)
class TaggedWord:
    """A word, where it stands, and its tag."""

    word: str
    start: int
    """The first character in the text; of a list of words in the words, joined by blanks."""
    end: int
    """The character behind the last."""
    tag: str
    score: float | None
    """The tag's probability; None where the tokenizer leaves nothing of the word, so that nobody was asked."""


@dataclass(frozen=True)
class Entity:
    """Words that are one thing, by their tags."""

    text: str
    start: int
    """As of `TaggedWord`."""
    end: int
    label: str
    """What kind of thing."""
    score: float | None
    """The mean of its words' scores."""


@dataclass(frozen=True, kw_only=True)
class TagsAnswer(Prediction):
    """A tag for each word of a text, and the entities that they make."""

    tags: tuple[TaggedWord, ...]
    entities: tuple[Entity, ...] | None
    """None where the tags are about words alone, as nouns and verbs are."""
    nothing: ClassVar[Mapping[str, Any]] = {}

    @property
    def value(self) -> list[str]:
        """The tags alone."""
        return [word.tag for word in self.tags]


@dataclass(frozen=True, kw_only=True)
class TextAnswer(Prediction):
    """Words of a text that answer a question."""

    answer: str | None
    """None where there is no answer."""
    start: int | None
    """The first character in the text."""
    end: int | None
    """The character behind the last."""
    score: float | None
    """The probability of its start times that of its end, or, where there is no answer, of there being none."""
    no_answer_score: float | None = None
    """The probability that the text answers nothing, of a model that was trained to say so; else None."""
    nothing: ClassVar[Mapping[str, Any]] = {
        "answer": None,
        "start": None,
        "end": None,
        "score": None,
        "no_answer_score": None,
    }

    @property
    def value(self) -> str:
        """The answer; "" for none."""
        return self.answer or ""


@dataclass(frozen=True, kw_only=True)
class ChoiceAnswer(Prediction):
    """Which of some choices goes on from a text."""

    choice: str
    place: int
    """Of the choice, counted from 0."""
    score: float
    """Its probability."""
    choice_scores: tuple[float, ...]
    """The probability of each choice, in their order."""
    nothing: ClassVar[Mapping[str, Any]] = {}

    @property
    def value(self) -> int:
        """The place of the choice."""
        return self.place
