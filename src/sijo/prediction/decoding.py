"""From the scores of a task's head to answers: the one place, of fine-tuning's evaluation and of `predict`.

Letters: K labels, W words of an input, L tokens of one, C choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sijo.data.asked_rows import word_places
from sijo.data.labelled_inputs import LabelledInputs
from sijo.data.labelled_rows import LabelledRow, Task
from sijo.errors import SettingError
from sijo.evaluation.metrics import SpanAnswer, best_span
from sijo.evaluation.tag_schemes import OUTSIDE, merged_words
from sijo.prediction.answers import (
    ChoiceAnswer,
    Entity,
    LabelAnswer,
    LabelsAnswer,
    NumberAnswer,
    Prediction,
    TaggedWord,
    TagsAnswer,
    TextAnswer,
)

THRESHOLD = 0.5
"""The probability from which a label of several is given."""


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """How an answer is chosen in question-answering."""

    candidates: int = 20
    """How many starts, and how many ends, are paired."""
    longest: int = 30
    """Tokens of an answer at most."""
    threshold: float = 0.0
    """By how much "no answer" must outscore the best answer to be given, where training rows have none."""

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.longest < 1:
            raise SettingError(
                f"answers.candidates={self.candidates} and answers.longest={self.longest} must be 1 or more"
            )


def decoded(
    scores: Sequence[Any], inputs: LabelledInputs, settings: AnswerSettings, *, threshold: float = THRESHOLD
) -> list[Prediction]:
    """The answer for each row, from the scores of its inputs.

    scores     of each input: (K,) of a text; (W, K) of its tagged words; of a question (starts, ends), (L,) both,
               or longer by padding; (C,) of its choices, or longer
    inputs     whose scores they are
    settings   of question-answering
    threshold  of several labels a row: the probability from which one is given
    """
    counts = [
        {"tokens": tokens, "windows": windows, "truncated": cut}
        for tokens, windows, cut in zip(
            inputs.tokens.tolist(),
            np.bincount(inputs.owners, minlength=len(inputs.rows)).tolist(),
            inputs.is_cut.tolist(),
            strict=True,
        )
    ]
    match inputs.task:
        case "tagging":
            return _tagged(scores, inputs, counts)
        case "question-answering":
            spans = spans_of(scores, inputs, settings)
            return [_text(span, settings.threshold, count) for span, count in zip(spans, counts, strict=True)]
        case "multiple-choice":
            rows = zip(scores, inputs.rows, counts, strict=True)
            return [_choice(row, labelled.choices, count) for row, labelled, count in rows]
    return judged_texts(scores, inputs.task, inputs.names, counts, threshold=threshold)


def judged_texts(
    scores: Sequence[Any],
    task: Task,
    names: Sequence[str],
    counts: Sequence[dict[str, Any]],
    *,
    threshold: float = THRESHOLD,
) -> list[Prediction]:
    """The answer for each text by a head over the whole of it: a label, labels or a number.

    scores  (K,) of each
    names   of the K columns
    counts  of each how much was read, as `Prediction` has it
    """
    each = zip(scores, counts, strict=True)
    match task:
        case "regression":
            return [_number(row, names, count) for row, count in each]
        case "multi-label":
            return [_labels(row, names, threshold, count) for row, count in each]
    return [_label(row, names, count) for row, count in each]


def shares(scores: np.ndarray) -> np.ndarray:
    """The softmax over the last dimension, in float64.

    >>> shares(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    scores = np.asarray(scores, np.float64)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    parts: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return parts


def _label(scores_K: np.ndarray, names: Sequence[str], count: dict[str, Any]) -> Prediction:
    best, by_name = int(scores_K.argmax()), _ranked(shares(scores_K), scores_K, names)
    return LabelAnswer(label=names[best], score=by_name[names[best]], label_scores=by_name, **count)


def _labels(scores_K: np.ndarray, names: Sequence[str], threshold: float, count: dict[str, Any]) -> Prediction:
    with np.errstate(over="ignore"):
        chances_K = 1 / (1 + np.exp(-np.asarray(scores_K, np.float64)))
    by_name = _ranked(chances_K, scores_K, names)
    fitting = {name: chance for name, chance in by_name.items() if chance >= threshold}
    return LabelsAnswer(labels=(*fitting,), scores=(*fitting.values(),), label_scores=by_name, **count)


def _ranked(chances_K: np.ndarray, scores_K: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Each label's probability, best first."""
    order = np.argsort(-np.asarray(scores_K), kind="stable").tolist()
    return {names[place]: float(chances_K[place]) for place in order}


def _number(scores_K: np.ndarray, names: Sequence[str], count: dict[str, Any]) -> Prediction:
    numbers = {} if len(names) < 2 else dict(zip(names, map(float, scores_K), strict=True))
    return NumberAnswer(number=float(scores_K[0]), numbers=numbers, **count)


def _choice(scores_C: np.ndarray, choices: Sequence[str], count: dict[str, Any]) -> Prediction:
    chances = shares(scores_C[: len(choices)]).tolist()
    best = int(scores_C[: len(choices)].argmax())
    return ChoiceAnswer(
        choice=choices[best], place=best, score=chances[best], choice_scores=tuple(chances), **count
    )


def _text(span: SpanAnswer, threshold: float, count: dict[str, Any]) -> Prediction:
    none_score = None if threshold == np.inf else span.none_share
    if not span.answer(threshold):
        return TextAnswer(answer=None, start=None, end=None, score=none_score, no_answer_score=none_score, **count)
    start, end = span.place
    return TextAnswer(answer=span.text, start=start, end=end, score=span.share, no_answer_score=none_score, **count)


def spans_of(scores: Sequence[Any], inputs: LabelledInputs, settings: AnswerSettings) -> list[SpanAnswer]:
    """The best answer to each question, over the windows of its text; arguments as of `decoded`."""
    windows: list[list[Any]] = [[] for _ in inputs.rows]
    for number, (starts, ends) in enumerate(scores):
        characters = inputs.places[inputs.span(number)]
        length = len(characters)
        windows[inputs.owners[number]].append((starts[:length], ends[:length], characters))
    return [
        best_span(of_row, row.texts[1], most=settings.candidates, longest=settings.longest)
        for of_row, row in zip(windows, inputs.rows, strict=True)
    ]


def _tagged(scores: Sequence[Any], inputs: LabelledInputs, counts: Sequence[dict[str, Any]]) -> list[Prediction]:
    """The tag of each word of each row, and the entities that they make."""
    names = inputs.names
    # of a word of which the tokenizer leaves nothing
    silent = next((name for name in names if name.upper() == OUTSIDE), names[0])
    tags: list[list[tuple[str, float | None]]] = [[(silent, None)] * len(row.words) for row in inputs.rows]
    for number, scores_WK in enumerate(scores):
        words = inputs.words[inputs.span(number)]
        chances_WK = shares(scores_WK) if len(scores_WK) else scores_WK
        bests = np.asarray(scores_WK).argmax(-1).tolist() if len(scores_WK) else []
        for word, best, chances_K in zip(words[words >= 0].tolist(), bests, chances_WK, strict=True):
            tags[inputs.owners[number]][word] = (names[best], float(chances_K[best]))
    return [_tags_answer(row, own, names, count) for row, own, count in zip(inputs.rows, tags, counts, strict=True)]


def _tags_answer(
    row: LabelledRow, tags: Sequence[tuple[str, float | None]], names: Sequence[str], count: dict[str, Any]
) -> Prediction:
    text, places = row.texts[0] if row.places else " ".join(row.words), row.places or word_places(row.words)
    words = tuple(TaggedWord(word, *place, *tag) for word, place, tag in zip(row.words, places, tags, strict=True))
    merged = merged_words([word.tag for word in words], names)
    if merged is None:
        return TagsAnswer(tags=words, entities=None, **count)
    entities = []
    for kind, first, behind in merged:
        start, end = words[first].start, words[behind - 1].end
        asked = [word.score for word in words[first:behind] if word.score is not None]
        score = sum(asked) / len(asked) if asked else None
        entities.append(Entity(text[start:end], start, end, kind, score))
    return TagsAnswer(tags=words, entities=tuple(entities), **count)
