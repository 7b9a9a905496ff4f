"""How well rows were answered: numbers by the rules of each field, and where they could have fallen on other rows.

Every number is a function of sums over rows, so a 95 % bootstrap interval is the same function of the rows
drawn again, with repetition. Nothing here has heard of a network.

Letters: N rows, K classes, R resamples.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError

Floats = NDArray[np.float64]
Metric = Callable[[NDArray[np.int64]], float]
"""From the numbers of some rows, drawn with repetition, to a value; NaN where it has none."""

BEST: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "micro_f1", "matthews"),
    "multi-label": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("spearman", "pearson", "mean_squared_error"),
    "tagging": ("entity_f1", "accuracy", "macro_f1"),
    "question-answering": ("f1", "exact_match"),
    "multiple-choice": ("accuracy",),
}
"""What may decide which checkpoint is best, the first by default; entity_f1 where tags are BIO, else accuracy."""
FALLING = frozenset({"mean_squared_error", "loss"})
"""The smaller, the better."""


@dataclass(frozen=True)
class Measured:
    """A value on these rows, and where it could have fallen on others like them (95 %)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def to_dict(self) -> dict[str, float | None]:
        """For JSON, which knows no NaN."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


def intervals(
    metrics: Mapping[str, Metric], rows: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Measured]:
    """Each metric of all rows, with the interval that holds it in 95 of 100 resamples.

    >>> right = np.array([1.0, 0.0, 1.0, 1.0])
    >>> str(intervals({"accuracy": lambda rows: right[rows].mean()}, 4)["accuracy"])
    '0.7500 [0.2500, 1.0000]'
    """
    dice, every = np.random.default_rng(seed), np.arange(rows)
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(resamples):
        some = dice.integers(0, rows, rows)
        for name, metric in metrics.items():
            drawn[name].append(metric(some))
    found = {}
    for name, metric in metrics.items():
        values = np.array(drawn[name], dtype=np.float64)
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (math.nan, math.nan)
        found[name] = Measured(metric(every), float(low), float(high))
    return found


def values(metrics: Mapping[str, Metric], rows: int) -> dict[str, float]:
    """Each metric of all rows."""
    every = np.arange(rows)
    return {name: metric(every) for name, metric in metrics.items()}


def metrics_of(task: str, rows: Sequence[Any], predicted: Sequence[Any], names: Sequence[str]) -> dict[str, Metric]:
    """What is measured in a task.

    rows       what people said
    predicted  what was answered to each: a name, a set of names, a number, a list of tags, a text, or a place
    names      of the labels
    """
    if len(rows) != len(predicted):
        raise SettingError(f"{len(predicted)} answers to {len(rows)} rows; give one for each")
    place = {name: number for number, name in enumerate(names)}
    match task:
        case "classification":
            gold = np.array([place[row.label] for row in rows])
            return classified(gold, np.array([place[name] for name in predicted]), len(names))
        case "multi-label":
            gold_NK = np.array([[name in row.label for name in names] for row in rows])
            return multi_labelled(gold_NK, np.array([[name in some for name in names] for some in predicted]))
        case "regression":
            return numbers(np.array([row.label for row in rows]), np.array(predicted, dtype=np.float64))
        case "tagging":
            return tagged([row.label for row in rows], predicted, names)
        case "question-answering":
            return answered([[answer.text for answer in row.label] for row in rows], predicted)
    right = np.array([row.label for row in rows]) == np.array(predicted)
    return {"accuracy": lambda some: float(right[some].mean())}


def classified(gold_N: NDArray[Any], given_N: NDArray[Any], classes: int) -> dict[str, Metric]:
    """Accuracy, F1 and Matthews' correlation of one class a row.

    Macro-F1 is the mean over the classes that stand in either column, as scikit-learn's with zero_division=0;
    with one class a row micro-F1 is accuracy.
    """

    def confusion(some: NDArray[np.int64]) -> Floats:
        cells = gold_N[some] * classes + given_N[some]
        return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.float64)

    def accuracy(some: NDArray[np.int64]) -> float:
        return float((gold_N[some] == given_N[some]).mean())

    return {
        "accuracy": accuracy,
        "macro_f1": lambda some: macro_f1(confusion(some)),
        "micro_f1": accuracy,
        "matthews": lambda some: matthews(confusion(some)),
    }


def macro_f1(confusion_KK: Floats) -> float:
    """From counts [gold][given]: the mean F1 of the classes that were gold or given."""
    right, sums = np.diag(confusion_KK), confusion_KK.sum(0) + confusion_KK.sum(1)
    return float((2 * right[sums > 0] / sums[sums > 0]).mean())


def matthews(confusion_KK: Floats) -> float:
    """The correlation of two columns of classes (Gorodkin 2004); 0 where one of them has but one class."""
    gold, given, all_rows = confusion_KK.sum(1), confusion_KK.sum(0), confusion_KK.sum()
    together = np.diag(confusion_KK).sum() * all_rows - gold @ given
    apart = (all_rows**2 - given @ given) * (all_rows**2 - gold @ gold)
    return float(together / math.sqrt(apart)) if apart > 0 else 0.0


def multi_labelled(gold_NK: NDArray[np.bool_], given_NK: NDArray[np.bool_]) -> dict[str, Metric]:
    """F1 over all labels (micro), the mean of each one's (macro; of one in neither column 0), rows all right."""
    right_NK = (gold_NK & given_NK).astype(np.float64)
    sums_NK = gold_NK.astype(np.float64) + given_NK
    exact_N = (gold_NK == given_NK).all(1)

    def micro(some: NDArray[np.int64]) -> float:
        sums = sums_NK[some].sum()
        return float(2 * right_NK[some].sum() / sums) if sums else 0.0

    def macro(some: NDArray[np.int64]) -> float:
        return float((2 * right_NK[some].sum(0) / np.maximum(sums_NK[some].sum(0), 1)).mean())

    return {"micro_f1": micro, "macro_f1": macro, "exact_match": lambda some: float(exact_N[some].mean())}


def numbers(gold_N: Floats, given_N: Floats) -> dict[str, Metric]:
    """Correlation of numbers (Pearson), of their ranks (Spearman), and the mean squared error."""
    return {
        "spearman": lambda some: _correlation(_ranks(gold_N[some]), _ranks(given_N[some])),
        "pearson": lambda some: _correlation(gold_N[some], given_N[some]),
        "mean_squared_error": lambda some: float(np.square(gold_N[some] - given_N[some]).mean()),
    }


def _ranks(values: Floats) -> Floats:
    """Of each number its place among them, equal ones sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Floats = (ends - (counts - 1) / 2)[inverse]
    return mean


def _correlation(one: Floats, other: Floats) -> float:
    """NaN where either is the same everywhere."""
    one, other = one - one.mean(), other - other.mean()
    spread = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / spread if spread > 0 else math.nan


def is_bio(names: Sequence[str]) -> bool:
    """Whether tags say where entities begin (B-), go on (I-), and are none (O).

    >>> is_bio(["O", "B-place", "I-place"]), is_bio(["NOUN", "VERB"])
    (True, False)
    """
    return any(name.startswith("B-") for name in names) and all(
        name == "O" or name.startswith(("B-", "I-")) for name in names
    )


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """What BIO tags name, strictly: B-x begins an x, I-x goes on with one, and after anything else names nothing.

    Returns (kind, first word, word behind the last).

    >>> sorted(entities(["B-place", "I-place", "O", "I-place", "B-name"]))
    [('name', 4, 5), ('place', 0, 2)]
    """
    found, begun, kind = set(), 0, ""
    for number, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            found.add((kind, begun, number))
            kind = ""
        if tag.startswith("B-"):
            begun, kind = number, tag[2:]
    return found


def tagged(
    gold: Sequence[Sequence[str]], given: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Metric]:
    """Of words with a tag each: accuracy and macro-F1 of words; of BIO tags the F1 of whole entities, strictly."""
    place = {name: number for number, name in enumerate(names)}
    count = len(names)
    cells_N = [
        np.array(
            [place[one] * count + place[other] for one, other in zip(said, found, strict=True)], dtype=np.int64
        )
        for said, found in zip(gold, given, strict=True)
    ]
    cells, words_N = np.concatenate(cells_N), np.array([len(some) for some in cells_N])
    right_N = np.array([(some // count == some % count).sum() for some in cells_N])

    def confusion(some: NDArray[np.int64]) -> Floats:
        repeated = np.repeat(np.bincount(some, minlength=len(words_N)), words_N)
        counted = np.bincount(cells, weights=repeated, minlength=count**2)
        return counted.reshape(count, count).astype(np.float64)

    found: dict[str, Metric] = {
        "accuracy": lambda some: float(right_N[some].sum() / words_N[some].sum()),
        "macro_f1": lambda some: macro_f1(confusion(some)),
    }
    if not is_bio(names):
        return found
    pairs = [(entities(said), entities(one)) for said, one in zip(gold, given, strict=True)]
    sums = np.array([(len(said & one), len(one), len(said)) for said, one in pairs], dtype=np.float64)

    def share(top: int, *below: int) -> Metric:
        def metric(some: NDArray[np.int64]) -> float:
            counted = sums[some].sum(0)
            whole = counted[list(below)].sum()
            return float(len(below) * counted[top] / whole) if whole else 0.0

        return metric

    return {"entity_f1": share(0, 1, 2), "entity_precision": share(0, 1), "entity_recall": share(0, 2)} | found


ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """An answer as SQuAD compares it: small letters, no punctuation, no articles, single blanks.

    >>> normalised("The  Eiffel-Tower!")
    'eiffeltower'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact(given: str, gold: str) -> float:
    """1 where two answers are the same, normalised."""
    return float(normalised(given) == normalised(gold))


def overlap(given: str, gold: str) -> float:
    """The F1 of the words that two answers share; of empty ones, whether both are.

    >>> round(overlap("in the green house", "a green house"), 3)
    0.8
    """
    ours, theirs = normalised(given).split(), normalised(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def answered(gold: Sequence[Sequence[str]], given: Sequence[str]) -> dict[str, Metric]:
    """SQuAD's exact match and F1: of each row the best over its answers; where there is none, "" alone is right.

    Of rows with and without answer also apart, where there are both (SQuAD 2).
    """
    wanted = [[one for one in some if normalised(one)] or [""] for some in gold]
    exact_N = np.array([max(exact(one, other) for other in some) for one, some in zip(given, wanted, strict=True)])
    f1_N = np.array([max(overlap(one, other) for other in some) for one, some in zip(given, wanted, strict=True)])
    there_N = np.array([some != [""] for some in wanted])

    def mean(values_N: Floats, of: NDArray[np.bool_] | None = None) -> Metric:
        def metric(some: NDArray[np.int64]) -> float:
            some = some if of is None else some[of[some]]
            return float(values_N[some].mean()) if len(some) else math.nan

        return metric

    found = {"exact_match": mean(exact_N), "f1": mean(f1_N)}
    if there_N.all() or not there_N.any():
        return found
    return found | {
        "exact_match_with_answer": mean(exact_N, there_N),
        "f1_with_answer": mean(f1_N, there_N),
        "right_without_answer": mean(exact_N, ~there_N),
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

    Only spans within the text whose end is not before their start are looked at; the first token is no answer.
    """
    best, said, none = -math.inf, "", math.inf
    for start_L, end_L, place_L2 in windows:
        none = min(none, float(start_L[0] + end_L[0]))
        inside = np.flatnonzero(place_L2[:, 0] >= 0)
        starts = inside[np.argsort(-start_L[inside], kind="stable")[:most]]
        ends = inside[np.argsort(-end_L[inside], kind="stable")[:most]]
        for start in starts:
            for end in ends:
                score = float(start_L[start] + end_L[end])
                if start <= end < start + longest and score > best:
                    best, said = score, text[place_L2[start, 0] : place_L2[end, 1]]
    return SpanAnswer(said, best, none)


def best_threshold(found: Sequence[SpanAnswer], gold: Sequence[Sequence[str]]) -> tuple[float, float]:
    """The threshold under which F1 is highest on these rows, and that F1: SQuAD 2's `best_f1_thresh`.

    Chosen on the rows it is measured on, so a bound and no forecast.
    """
    wanted = [[one for one in some if normalised(one)] or [""] for some in gold]
    with_answer = np.array(
        [max(overlap(one.text, other) for other in some) for one, some in zip(found, wanted, strict=True)]
    )
    without = np.array([float(some == [""]) for some in wanted])
    odds = np.array([one.none - one.score for one in found])
    order = np.argsort(odds, kind="stable")  # from the surest answers on: each step lets one more be answered
    gains = np.cumsum((with_answer - without)[order])
    best = int(gains.argmax())
    if gains[best] <= 0:
        return float(odds.min()) - 1.0, float(without.mean())
    return float(odds[order][best]), float((without.sum() + gains[best]) / len(found))
