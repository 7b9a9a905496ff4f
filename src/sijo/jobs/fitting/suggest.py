"""Which texts to label next: those that the present model is unsure of, of as many kinds as are asked for.

    u(x) = 1 - (p_first(x) - p_second(x))          how close the two most probable labels are
    the texts of highest u, ten times as many as are asked for, are parted by k-means, each weighing u;
    of each part the text next to its middle is suggested.

The model is a head fitted to the labels that there are; the zero-shot answer where nobody has labelled anything;
and where even the labels are not known, all texts weigh alike. Nothing is left to chance: the same texts and labels
give the same suggestions.

Source: the margin is Scheffer et al. 2001's; parting the uncertain ones by weighted k-means Zhdanov 2019
(arXiv:1901.05954), with its factor of ten.

Letters: n texts, L labels, D width of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sijo.checkpoints.describe import FolderDescription
from sijo.errors import SettingError, TextError
from sijo.inference.backends.fitted_backend import FittedBackend
from sijo.inference.outputs import unit
from sijo.jobs.fitting.few_labels import FewLabels, alike, none_yet
from sijo.jobs.fitting.fit import FewVectors, head_of, label_vectors
from sijo.random import rng
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import TrainedLabels

PREFILTER = 10
"""Uncertain texts that are looked at for each that is suggested."""
MOST_COMPARED = 20_000
"""Texts of which no model knows anything that are parted at once, evenly taken from all."""
MOST_ROUNDS, MOST_PRODUCTS = 100, 2 * 10**10
"""Of k-means: rounds, and numbers multiplied in all of them, which takes a second or two; where many texts are
asked for the rounds are fewer, and there the middles lie among the texts from the start."""
PLAIN = Calibration(1.0, 0.0, "logits of a head")


@dataclass(frozen=True)
class Suggestion:
    """A text to label next."""

    row: int
    """The first row that holds it, counted from 1."""
    text: str
    label: str | None
    """What the present model would say; None where there is none."""
    uncertainty: float
    """u, from 0 for a text that it is sure of to 1 for one that two labels share; 1 without a model."""


def suggest(
    texts: Sequence[str],
    scorer: EmbeddingScorer,
    *,
    labelled: Sequence[bool],
    some: FewLabels | None = None,
    template: str | None = None,
    count: int = 10,
    seed: int = 0,
) -> list[Suggestion]:
    """The texts to label next, the most uncertain first.

    texts     one a row, labelled ones among them
    scorer    the encoder, opened to compare vectors
    labelled  which rows have a label; a text that has one in another row is not suggested either
    some      the labels there are, as `few_labels` gives them, or `unlabelled` without any; None where not even
              names are known
    template  the sentence labels are put in; None for the scorer's own
    count     how many
    seed      decides the folds that a head's strength is chosen by

    Fewer where there are no more. Raises SettingError for a count below 1, TextError where every row is labelled.
    """
    if count < 1:
        raise SettingError(f"count={count} (--rows) suggests nothing; give 1 or more, such as 10")
    done = {alike(text) for text, has in zip(texts, labelled, strict=True) if has}
    rows: dict[str, int] = {}
    for row, text in enumerate(texts, start=1):
        if (key := alike(text)) and key not in done:
            rows.setdefault(key, row)
    if not rows:
        raise TextError("every row has a label, or no text, so there is nothing left to suggest")
    left = [texts[row - 1].strip() for row in rows.values()]
    vectors_nD = unit(scorer.engine.encode(left).vectors.astype(np.float64))
    read = np.flatnonzero(vectors_nD.any(-1))
    if not len(read):
        raise TextError("no text without a label has words that the model reads; choose another model (--model)")
    left, vectors_nD = [left[place] for place in read], vectors_nD[read]
    guesses, unsure_n = _unsure(vectors_nD, scorer, some, template, seed)
    return [
        Suggestion(
            rows[alike(left[place])],
            left[place],
            None if guesses is None else guesses[place],
            float(unsure_n[place]),
        )
        for place in chosen(vectors_nD, unsure_n, count)
    ]


def _unsure(
    vectors_nD: np.ndarray, scorer: EmbeddingScorer, some: FewLabels | None, template: str | None, seed: int
) -> tuple[list[str | None] | None, np.ndarray]:
    """What the present model says of each text, and how unsure it is (n,)."""
    model = scorer.engine.model
    fitted = model.fitted_head if isinstance(model, FolderDescription) else None
    if some is None and fitted is not None:
        backend = FittedBackend(scorer.engine.backend, fitted)
        known = none_yet(model.labels, (), multi_label=TrainedLabels.of(model).multi_label)
        return _told(known, backend.judged(vectors_nD).astype(np.float64), PLAIN)
    labels_LD = np.zeros((0, 0)) if some is None else label_vectors(some, scorer, template)
    if some is None or not (len(some.texts) or labels_LD.any()):
        return None, np.ones(len(vectors_nD))
    if not len(some.texts):
        scores_nL, calibration = vectors_nD @ labels_LD.T, scorer.calibration
    else:
        texts_nD = unit(scorer.engine.encode(some.texts).vectors.astype(np.float64))
        none_score, vectors = scorer.calibration.none_score, FewVectors(texts_nD, vectors_nD, labels_LD)
        scores_nL, calibration = head_of(some, vectors, none_score=none_score, seed=seed).logits(vectors_nD), PLAIN
    return _told(some, scores_nL, calibration)


def _told(
    some: FewLabels, scores_nL: np.ndarray, calibration: Calibration
) -> tuple[list[str | None] | None, np.ndarray]:
    """The labels that scores make most probable, and how unsure they leave one."""
    names = some.labels.names
    if some.multi_label:
        shares_nL = calibration.each(scores_nL)
        guesses = ["; ".join(names[place] for place in np.flatnonzero(row >= 0.5)) or None for row in shares_nL]
        return guesses, 1 - np.abs(2 * shares_nL - 1).min(-1)
    shares_nL = calibration.softmax(scores_nL)
    first_two = np.sort(shares_nL, axis=-1)[:, -2:]
    return [names[place] for place in shares_nL.argmax(-1)], 1 - (first_two[:, 1] - first_two[:, 0])


def chosen(vectors_nD: np.ndarray, unsure_n: np.ndarray, count: int) -> list[int]:
    """The places of so many texts, of as many kinds, the most uncertain first.

    vectors_nD  unit vectors, float64
    unsure_n    how unsure a model is of each, 0 or more

    >>> vectors = unit(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 1]], float))
    >>> chosen(vectors, np.array([0.9, 0.8, 0.7, 0.1, 0.0]), 2)
    [0, 2]
    """
    if len(unsure_n) <= count:
        return [int(place) for place in np.argsort(-unsure_n, kind="stable")]
    alike = unsure_n.min() == unsure_n.max()
    top = np.argsort(-unsure_n, kind="stable")
    top = top[:: max(1, len(top) // max(MOST_COMPARED, count))] if alike else top[: PREFILTER * count]
    points_mD, weights_m = vectors_nD[top], unsure_n[top] + 1e-6
    far_Km = _far(points_mD, _middles(points_mD, weights_m, count)).T.copy()
    free_m = np.ones(len(top), bool)
    places: list[int] = []
    for far_m in far_Km:
        nearest = int(np.where(free_m, far_m, np.inf).argmin())
        free_m[nearest] = False
        places.append(int(top[nearest]))
    return sorted(places, key=lambda place: (-unsure_n[place], place))


def _middles(points_mD: np.ndarray, weights_m: np.ndarray, count: int) -> np.ndarray:
    """The middles (count, D) of k-means with weights, begun as k-means++ does, by draws that are always the same.

    Source: Arthur & Vassilvitskii 2007, section 2.2, with each point's weight beside its square distance.
    """
    draws = rng(0, "middles")
    chosen_K = [int(weights_m.argmax())]
    near_m = _far(points_mD, points_mD[chosen_K])[:, 0]
    for _ in range(count - 1):
        reach_m = weights_m * near_m.clip(0)
        reach_m = reach_m if reach_m.sum() > 0 else weights_m
        chosen_K.append(int(draws.choice(len(points_mD), p=reach_m / reach_m.sum())))
        near_m = np.minimum(near_m, _far(points_mD, points_mD[chosen_K[-1:]])[:, 0])
    middles, nearest_m = points_mD[chosen_K], np.full(len(points_mD), -1)
    for _ in range(min(MOST_ROUNDS, max(1, MOST_PRODUCTS // (points_mD.size * count)))):
        before_m, nearest_m = nearest_m, _far(points_mD, middles).argmin(-1)
        if (nearest_m == before_m).all():
            break
        held_K = np.bincount(nearest_m, weights_m, count)
        sums = np.zeros_like(middles)
        np.add.at(sums, nearest_m, weights_m[:, None] * points_mD)
        middles[held_K > 0] = sums[held_K > 0] / held_K[held_K > 0, None]
    return middles


def _far(points_mD: np.ndarray, middles_KD: np.ndarray) -> np.ndarray:
    """Square distances (m, K) of unit vectors from any."""
    far: np.ndarray = 1 + (middles_KD**2).sum(-1) - 2 * (points_mD @ middles_KD.T)
    return far
