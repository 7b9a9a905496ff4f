"""How well rows were answered: numbers by the rules of each field, and where they could have fallen on other rows.

Every number is a function of sums over rows, so a 95 % bootstrap interval is the same function of the rows
drawn again, with repetition. Nothing here has heard of a network.

Letters: N rows, W words of all rows, K classes.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError
from sijo.evaluation.intervals import Floats, Integers, Metric
from sijo.evaluation.tag_schemes import TagScheme

BEST: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "micro_f1", "matthews"),
    "multi-label": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("spearman", "pearson", "mean_squared_error"),
    "tagging": ("entity_f1", "accuracy", "macro_f1"),
    "question-answering": ("f1", "exact_match"),
    "multiple-choice": ("accuracy",),
}
"""What may decide which checkpoint is best, the first by default; of tags without a scheme accuracy."""
FALLING = frozenset({"mean_squared_error", "loss"})
"""The smaller, the better."""


def metrics_of(
    task: str, rows: Sequence[Any], predicted: Sequence[Any], names: Sequence[str], scheme: TagScheme | None = None
) -> dict[str, Metric]:
    """What is measured in a task.

    rows       with what people said, in `label`
    predicted  the answer to each: a name, a set of names, a number, a list of tags, a text, or a place
    names      of the labels
    scheme     of tags, by which they say where entities are; None where they are about words alone
    """
    if len(rows) != len(predicted):
        raise SettingError(f"{len(predicted)} answers to {len(rows)} rows; give one for each")
    gold = [row.label for row in rows]
    place = {name: number for number, name in enumerate(names)}
    match task:
        case "classification":
            gold_N, predicted_N = (np.array([place[name] for name in column]) for column in (gold, predicted))
            return classified(gold_N, predicted_N, len(names))
        case "multi-label":
            gold_NK, predicted_NK = (
                np.array([[name in chosen for name in names] for chosen in column]) for column in (gold, predicted)
            )
            return multi_labelled(gold_NK, predicted_NK)
        case "regression":
            return numbers(np.array(gold), np.array(predicted, dtype=np.float64))
        case "tagging":
            return tagged(gold, predicted, names, scheme)
        case "question-answering":
            return answered([[answer.text for answer in answers] for answers in gold], predicted)
    return {"accuracy": mean_of(np.array(gold) == np.array(predicted))}


def mean_of(values_N: NDArray[Any]) -> Metric:
    """The mean of a value that each row has by itself."""
    return lambda chosen: float(values_N[chosen].mean())


def confusion(gold_N: Integers, predicted_N: Integers, classes: int, times_N: NDArray[Any] | None = None) -> Floats:
    """Counts of rows (K, K), [gold][predicted], where each row is there so many times."""
    counts = np.bincount(gold_N * classes + predicted_N, weights=times_N, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.float64)


def class_scores(confusion_KK: Floats) -> Floats:
    """Precision, recall and F1 of each class, (3, K); NaN where they divide by no rows at all."""
    right_K, gold_K, predicted_K = np.diag(confusion_KK), confusion_KK.sum(1), confusion_KK.sum(0)
    with np.errstate(invalid="ignore"):
        return np.array([right_K / predicted_K, right_K / gold_K, 2 * right_K / (gold_K + predicted_K)])


MACRO_F1_OVER = "labels in gold or predictions"
"""Which classes macro-F1 is the mean of, in words for results."""


def macro_f1(confusion_KK: Floats) -> float:
    """The mean F1 of the classes that are gold or predicted; a class in neither column does not count.

    So does `f1_score(gold, predicted, average="macro")` of scikit-learn by default.

    >>> macro_f1(np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    1.0
    """
    return _mean_f1(np.diag(confusion_KK), confusion_KK.sum(0) + confusion_KK.sum(1))


def _mean_f1(right_K: Floats, sums_K: Floats) -> float:
    """The same from hits, and rows that are gold plus rows that are predicted, of each class."""
    seen_K = sums_K > 0
    return float((2 * right_K[seen_K] / sums_K[seen_K]).mean()) if seen_K.any() else 0.0


def classified(gold_N: Integers, predicted_N: Integers, classes: int) -> dict[str, Metric]:
    """Accuracy, F1 and Matthews' correlation of one class a row; with one class a row micro-F1 is accuracy."""

    def confused(chosen: Integers) -> Floats:
        return confusion(gold_N[chosen], predicted_N[chosen], classes)

    accuracy = mean_of(gold_N == predicted_N)
    return {
        "accuracy": accuracy,
        "macro_f1": lambda chosen: macro_f1(confused(chosen)),
        "micro_f1": accuracy,
        "matthews": lambda chosen: matthews(confused(chosen)),
    }


def matthews(confusion_KK: Floats) -> float:
    """The correlation of two columns of classes (Gorodkin 2004); 0 where one of them has but one class."""
    gold, predicted, total = confusion_KK.sum(1), confusion_KK.sum(0), confusion_KK.sum()
    covariance = np.diag(confusion_KK).sum() * total - gold @ predicted
    variances = (total**2 - predicted @ predicted) * (total**2 - gold @ gold)
    return float(covariance / math.sqrt(variances)) if variances > 0 else 0.0


def multi_labelled(gold_NK: NDArray[np.bool_], predicted_NK: NDArray[np.bool_]) -> dict[str, Metric]:
    """F1 over all labels (micro), the mean of each one's (macro), and the share of rows that are all right.

    Macro-F1 leaves out labels in neither column, as for one class a row; scikit-learn does so with
    `zero_division=np.nan`.
    """
    right_NK = (gold_NK & predicted_NK).astype(np.float64)
    sums_NK = gold_NK.astype(np.float64) + predicted_NK

    def micro(chosen: Integers) -> float:
        sums = sums_NK[chosen].sum()
        return float(2 * right_NK[chosen].sum() / sums) if sums else 0.0

    return {
        "micro_f1": micro,
        "macro_f1": lambda chosen: _mean_f1(right_NK[chosen].sum(0), sums_NK[chosen].sum(0)),
        "exact_match": mean_of((gold_NK == predicted_NK).all(1)),
    }


def numbers(gold_N: Floats, predicted_N: Floats) -> dict[str, Metric]:
    """Correlation of numbers (Pearson), of their ranks (Spearman), and the mean squared error."""
    return {
        "spearman": lambda chosen: _correlation(_ranks(gold_N[chosen]), _ranks(predicted_N[chosen])),
        "pearson": lambda chosen: _correlation(gold_N[chosen], predicted_N[chosen]),
        "mean_squared_error": mean_of(np.square(gold_N - predicted_N)),
    }


def _ranks(values: Floats) -> Floats:
    """The rank of each number among them; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Floats = (ends - (counts - 1) / 2)[inverse]
    return mean


def _correlation(x_N: Floats, y_N: Floats) -> float:
    """NaN where either is the same everywhere."""
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    spread = math.sqrt(float(x_N @ x_N) * float(y_N @ y_N))
    return float(x_N @ y_N) / spread if spread > 0 else math.nan


def tagged(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    names: Sequence[str],
    scheme: TagScheme | None = None,
) -> dict[str, Metric]:
    """Of words with a tag each: accuracy and macro-F1 of words; by a scheme the F1 of whole entities, strictly."""
    place = {name: number for number, name in enumerate(names)}
    gold_W, predicted_W = (
        np.array([place[tag] for tags in column for tag in tags]) for column in (gold, predicted)
    )
    words_N = np.array([len(tags) for tags in gold])
    row_W = np.repeat(np.arange(len(gold)), words_N)
    right_N = np.bincount(row_W, weights=gold_W == predicted_W, minlength=len(gold))

    def confused(chosen: Integers) -> Floats:
        return confusion(gold_W, predicted_W, len(names), np.bincount(chosen, minlength=len(gold))[row_W])

    metrics: dict[str, Metric] = {
        "accuracy": lambda chosen: float(right_N[chosen].sum() / words_N[chosen].sum()),
        "macro_f1": lambda chosen: macro_f1(confused(chosen)),
    }
    if scheme is None:
        return metrics
    pairs = [map(scheme.entities, columns) for columns in zip(gold, predicted, strict=True)]
    sums_N3 = np.array([(len(truth & guess), len(guess), len(truth)) for truth, guess in pairs], dtype=np.float64)

    def share(*whole: int) -> Metric:
        def metric(chosen: Integers) -> float:
            sums_3 = sums_N3[chosen].sum(0)
            total = sums_3[list(whole)].sum()
            return float(len(whole) * sums_3[0] / total) if total else 0.0

        return metric

    return {"entity_f1": share(1, 2), "entity_precision": share(1), "entity_recall": share(2)} | metrics


ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """An answer as SQuAD compares it: small letters, no punctuation, no articles, single blanks.

    >>> normalised("The  Eiffel-Tower!")
    'eiffeltower'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact(predicted: str, gold: str) -> float:
    """1 where two answers are the same, normalised."""
    return float(normalised(predicted) == normalised(gold))


def overlap(predicted: str, gold: str) -> float:
    """The F1 of the words that two answers share; of empty ones, whether both are.

    >>> round(overlap("in the green house", "a green house"), 3)
    0.8
    """
    ours, theirs = normalised(predicted).split(), normalised(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def _right_answers(gold: Sequence[Sequence[str]]) -> list[list[str]]:
    """What is right for each row: its answers that have words; "" alone where there is none."""
    return [[answer for answer in answers if normalised(answer)] or [""] for answers in gold]


def _best(score: Callable[[str, str], float], predicted: Sequence[str], gold: Sequence[Sequence[str]]) -> Floats:
    """The best score (N,) of each prediction over its row's answers."""
    return np.array(
        [max(score(guess, answer) for answer in answers) for guess, answers in zip(predicted, gold, strict=True)]
    )


def answered(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, Metric]:
    """SQuAD's exact match and F1: of each row the best over its answers; where there is none, "" alone is right.

    Of rows with and without answer also apart, where there are both (SQuAD 2).
    """
    right = _right_answers(gold)
    exact_N, f1_N = _best(exact, predicted, right), _best(overlap, predicted, right)
    answerable_N = np.array([answers != [""] for answers in right])

    def mean_among(values_N: Floats, among_N: NDArray[np.bool_]) -> Metric:
        def metric(chosen: Integers) -> float:
            chosen = chosen[among_N[chosen]]
            return float(values_N[chosen].mean()) if len(chosen) else math.nan

        return metric

    metrics = {"exact_match": mean_of(exact_N), "f1": mean_of(f1_N)}
    if answerable_N.all() or not answerable_N.any():
        return metrics
    return metrics | {
        "exact_match_with_answer": mean_among(exact_N, answerable_N),
        "f1_with_answer": mean_among(f1_N, answerable_N),
        "right_without_answer": mean_among(exact_N, ~answerable_N),
    }


@dataclass(frozen=True)
class SpanAnswer:
    """What a network makes of a question."""

    text: str
    """The best answer there is."""
    score: float
    """Of its start and end together."""
    none: float
    """The score of there being no answer; that of the window which is least sure."""
    place: tuple[int, int] = (0, 0)
    """The characters of the answer in its text, from the first to that behind the last."""
    share: float = 0.0
    """The probability of its start times that of its end, among the tokens of its window's text and "none"."""
    none_share: float = 0.0
    """The same of there being no answer."""

    def answer(self, threshold: float) -> str:
        """The answer; "" where none is likelier than it by more than the threshold."""
        return "" if self.none - self.score > threshold else self.text


def best_span(
    windows: Sequence[tuple[Floats, Floats, NDArray[np.int32]]], text: str, *, most: int = 20, longest: int = 30
) -> SpanAnswer:
    """The best answer over overlapping windows, as SQuAD's released scripts choose it.

    windows  scores (L,) of each token as start and as end, and the characters (L, 2) it stands for, (-1, -1)
             where it is not of the text
    text     that the characters are of
    most     how many starts, and how many ends, are paired with one another
    longest  tokens of an answer

    Only spans within the text whose end is not before their start are looked at; the first token is no answer, nor
    are blanks, which are left out at both ends.
    """
    best = SpanAnswer("", -math.inf, math.inf)
    none, none_share = math.inf, 1.0
    for start_L, end_L, place_L2 in windows:
        none = min(none, float(start_L[0] + end_L[0]))
        inside = np.flatnonzero(place_L2[:, 0] >= 0)
        among = [_log_sum(scores_L[[0, *inside]]) for scores_L in (start_L, end_L)]
        none_share = min(none_share, math.exp(float(start_L[0] + end_L[0]) - sum(among)))
        starts, ends = (
            inside[np.argsort(-scores_L[inside], kind="stable")[:most]] for scores_L in (start_L, end_L)
        )
        for start in starts:
            for end in ends:
                score = float(start_L[start] + end_L[end])
                if start <= end < start + longest and score > best.score:
                    first, last = _without_blanks(text, int(place_L2[start, 0]), int(place_L2[end, 1]))
                    if first < last:  # a token may stand for a blank alone
                        share = math.exp(score - sum(among))
                        best = SpanAnswer(text[first:last], score, none, (first, last), share)
    return replace(best, none=none, none_share=none_share)


def _without_blanks(text: str, start: int, end: int) -> tuple[int, int]:
    """Characters of a text without the blanks at their ends: some tokenizers count one to a word's first piece."""
    own = text[start:end]
    return start + len(own) - len(own.lstrip()), end - (len(own) - len(own.rstrip()))


def _log_sum(scores_L: Floats) -> float:
    """The logarithm of the sum of what scores are logarithms of."""
    highest = float(scores_L.max())
    return highest + math.log(float(np.exp(scores_L.astype(np.float64) - highest).sum()))


def best_threshold(answers: Sequence[SpanAnswer], gold: Sequence[Sequence[str]]) -> tuple[float, float]:
    """The threshold under which F1 is highest on these rows, and that F1: SQuAD 2's `best_f1_thresh`.

    Chosen on the rows it is measured on, so a bound and no forecast.
    """
    right = _right_answers(gold)
    answered_N = _best(overlap, [answer.text for answer in answers], right)
    unanswered_N = np.array([float(texts == [""]) for texts in right])
    margin_N = np.array([answer.none - answer.score for answer in answers])
    order_N = np.argsort(margin_N, kind="stable")  # from the surest answers on: each step answers one more
    gains_N = np.cumsum((answered_N - unanswered_N)[order_N])
    best = int(gains_N.argmax())
    if gains_N[best] <= 0:
        return float(margin_N.min()) - 1.0, float(unanswered_N.mean())
    return float(margin_N[order_N][best]), float((unanswered_N.sum() + gains_N[best]) / len(answers))
