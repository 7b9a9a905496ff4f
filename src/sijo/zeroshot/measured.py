"""Texts whose labels are known, scored once and measured under any calibration of the scores.

Letters: n texts, L labels, with none of these if it is an answer.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from sijo.evaluation.multi_label import MultiLabelEvaluation, evaluate_multi_label
from sijo.evaluation.runs import Answers, AnyEvaluation
from sijo.evaluation.zero_shot import Evaluation, evaluate
from sijo.inference.outputs import Encoded, ReadCounts, unit
from sijo.names import folded
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.scorers.embedding import EmbeddingScorer

Gold = Sequence[str] | Sequence[Collection[str]]
"""The right label of each text, or its right labels, in any spelling of them."""


@dataclass(frozen=True)
class ScoredTexts:
    """What a scorer says of all texts, and what it cost."""

    scores: np.ndarray
    """(n, L) float64, raw."""
    reading: ReadCounts
    seconds: float
    read: int
    """Texts and pairs that the network read, labels' sentences too."""
    kept: int
    """Those that the engine's store knew."""
    vectors: np.ndarray | None = None
    """(n, D) float32 of the texts, where they were to be kept: labels whose own vectors move are scored by them."""

    @classmethod
    def joined(cls, parts: Sequence["ScoredTexts"], seconds: float) -> "ScoredTexts":
        """Of texts in parts, one after another; what they cost together, in so many seconds."""
        readings = [part.reading for part in parts]
        whole = ReadCounts(
            *(np.concatenate([getattr(r, name) for r in readings]) for name in ("tokens", "windows", "truncated"))
        )
        scores = np.concatenate([part.scores for part in parts])
        vectors = [part.vectors for part in parts if part.vectors is not None]
        return cls(
            scores,
            whole,
            seconds,
            sum(part.read for part in parts),
            sum(part.kept for part in parts),
            np.concatenate(vectors) if vectors else None,
        )


@dataclass(frozen=True)
class MeasuredTexts:
    """What was made of the scores, and how right it was."""

    evaluation: AnyEvaluation
    probabilities: np.ndarray
    """(n, L)."""
    names: tuple[str, ...]
    """Of the columns."""
    answers: Answers
    thresholds: tuple[float, ...] = ()
    """From which probability each label is given; none where labels exclude each other."""

    def told_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the wrong rows, the surest first, and of the right ones, the least sure first.

        Of several labels a text, a wrong row is as sure as it is of the label that it is most wrong about.
        """
        given_NC, gold_NC = self.answers.given_NC, self.answers.gold_NC
        right_N = (given_NC == gold_NC).all(1)
        if self.answers.several:
            away_NC = np.where(given_NC > 0, self.probabilities, 1 - self.probabilities)
            wrong_N = np.where(given_NC != gold_NC, away_NC, -np.inf).max(1)
            sure_N = np.where(right_N, away_NC.min(1), wrong_N)
        else:
            sure_N = np.take_along_axis(self.probabilities, given_NC[:, :1], 1)[:, 0]
        wrong_n, right_n = np.flatnonzero(~right_N), np.flatnonzero(right_N)
        return (
            wrong_n[np.argsort(-sure_N[wrong_n], kind="stable")],
            right_n[np.argsort(sure_N[right_n], kind="stable")],
        )


def score_texts(
    labeller: Labeller,
    texts: Sequence[str],
    tell: Callable[[int], None] = lambda count: None,
    *,
    vectors: bool = False,
) -> ScoredTexts:
    """Score all texts, by a labeller that is not calibrated.

    tell     told of each group of texts that is scored, how many it has
    vectors  keep a sentence encoder's vectors too, so that a calibration that moves labels' own can be measured

    Raises NotFiniteError for a text whose scores are no numbers.
    """
    engine, started = labeller.scorer.engine, time.perf_counter()
    parts = []
    read, kept = engine.read, engine.kept
    for scores, reading in labeller.scored(texts):
        own = reading.vectors if vectors and isinstance(reading, Encoded) else None
        parts.append(ScoredTexts(scores, reading, 0.0, engine.read - read, engine.kept - kept, own))
        read, kept = engine.read, engine.kept
        tell(len(scores))
    return ScoredTexts.joined(parts, time.perf_counter() - started)


def measure(
    labeller: Labeller,
    scored: ScoredTexts,
    gold: Gold,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> MeasuredTexts:
    """How right the labels of scored texts are.

    labeller  calibrated or not, over the same labels
    scored    what a labeller that is not calibrated gave
    gold      a name for each text; where labels are judged by themselves, a collection of names

    Texts without tokens get no label where labels are judged by themselves. Raises what `evaluate` and
    `evaluate_multi_label` raise, and NotFiniteError for scores that make no probabilities.

    >>> from sijo.zeroshot.labeller import LabelChoice
    >>> from sijo.zeroshot.labels import LabelSet
    >>> from sijo.zeroshot.scorers.open import open_scorer
    >>> labeller = Labeller(open_scorer("auto", None), LabelChoice(), LabelSet.of(["sport", "tax"]))
    >>> scored = score_texts(labeller, ["a late goal", "income and duties"])
    >>> measure(labeller, scored, ["sport", "tax"], resamples=100).evaluation.accuracy.value
    1.0
    """
    choice = labeller.choice
    probabilities = labeller.probabilities(_scores_of(labeller, scored))
    names = labeller.own.names + ((choice.none_label,) if choice.none_label is not None else ())
    places = {folded(name): place for place, name in enumerate(names)}
    evaluation: Evaluation | MultiLabelEvaluation
    if choice.multi_label:
        rows = [[label] if isinstance(label, str) else list(label) for label in gold]
        given = labeller.fits(probabilities) & (scored.reading.tokens > 0)[:, None]
        evaluation = evaluate_multi_label(
            rows,
            probabilities,
            names,
            threshold=choice.threshold,
            predicted=given,
            resamples=resamples,
            seed=seed,
        )
        has = [{places[folded(name)] for name in row} for row in rows]
        gold_NC = np.array([[place in row for place in range(len(names))] for row in has])
        answers = Answers(gold_NC=gold_NC.astype(int), given_NC=given.astype(int), classes=len(names), several=True)
        own = (choice.threshold if label.threshold is None else label.threshold for label in labeller.own.labels)
        return MeasuredTexts(evaluation, probabilities, names, answers, tuple(own))
    single = [str(label) for label in gold]
    evaluation = evaluate(
        single, probabilities, names, none_label=choice.none_label, resamples=resamples, seed=seed
    )
    answers = Answers(
        gold_NC=np.array([[places[folded(label)]] for label in single]),
        given_NC=probabilities.argmax(1)[:, None],
        classes=len(names),
        several=False,
    )
    return MeasuredTexts(evaluation, probabilities, names, answers)


def _scores_of(labeller: Labeller, scored: ScoredTexts) -> np.ndarray:
    """The raw scores (n, L), by the labeller's own vectors of labels where a calibration has moved them."""
    scorer = labeller.scorer
    if not isinstance(scorer, EmbeddingScorer) or not scorer.is_refined:
        return scored.scores
    if scored.vectors is None:
        raise TypeError("labels' vectors were moved; score_texts(..., vectors=True) keeps those of the texts")
    return scorer.nearness(unit(scored.vectors.astype(np.float64)), labeller.own.labels, labeller.template)
