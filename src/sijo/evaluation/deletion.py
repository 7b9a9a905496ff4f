"""Whether an explanation names what a decision hangs on: without those words the score falls further than without
others.

Letters: N texts, S shares.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sijo.errors import SettingError
from sijo.evaluation.intervals import Interval, intervals

SHARES = 0.1, 0.2, 0.3
"""Of a text's words that are taken away."""


class Removal(NamedTuple):
    """Some words of a text that are taken away together."""

    text: int
    """The text's number, from 0."""
    words: tuple[int, ...]
    """The words' numbers, from 0."""


@dataclass(frozen=True)
class DeletionPoint:
    """How far the score falls, in the mean, when a share of each text's words is taken away."""

    share: float
    named: Interval
    """Without the words that the explanation names first."""
    random: Interval
    """Without as many others, drawn at random."""
    gap: Interval
    """By how much more without the named ones, text by text: above 0, they carry more of the decision."""


def deletion_curve(
    effects: Sequence[Sequence[float]],
    falls: Callable[[Sequence[Removal]], Sequence[float]],
    *,
    shares: Sequence[float] = SHARES,
    draws: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> list[DeletionPoint]:
    """The fall of a score without the words that are said to carry it, beside as many at random, share by share.

    effects  of each text how much each of its words is said to add; texts of one word are passed over
    falls    by how much the score of a text falls without some of its words, for each of many removals at once
    shares   of the words; rounded up, so of few words one at least
    draws    how many random choices a text's fall without random words is the mean of
    seed     of these, and of the bootstrap over texts

    Raises SettingError where no text has two words, and for a share that is none.

    Source: the pixel flipping of Samek et al. 2017 (arXiv:1509.06321), of words; comprehensiveness, DeYoung et al.
    2020 (arXiv:1911.03429).

    >>> def falls(removals):
    ...     return [float(0 in removal.words) for removal in removals]  # all hangs on the first word
    >>> point = deletion_curve([[9, 1, 1, 1], [5, 0, 0, 0]], falls, shares=[0.25], draws=64)[0]
    >>> point.named.value, round(point.random.value, 1)
    (1.0, 0.2)
    """
    long = [(text, np.asarray(words, float)) for text, words in enumerate(effects) if len(words) > 1]
    if not long:
        raise SettingError("none of these texts has two words, so there is nothing to choose among them")
    if not all(0 < share <= 1 for share in shares):
        raise SettingError(f"shares={list(shares)} are shares of a text's words, above 0 and 1 at most")
    chance = np.random.default_rng(seed)
    removals: list[Removal] = []
    for text, words in long:
        order = np.argsort(-words, kind="stable")
        for share in shares:
            count = math.ceil(round(share * len(words), 9))
            removals.append(Removal(text, tuple(sorted(order[:count].tolist()))))
            for _ in range(draws):
                chosen = chance.choice(len(words), count, replace=False)
                removals.append(Removal(text, tuple(sorted(chosen.tolist()))))
    fallen_NSD = np.array(falls(removals), float).reshape(len(long), len(shares), 1 + draws)
    named_NS, random_NS = fallen_NSD[..., 0], fallen_NSD[..., 1:].mean(-1)
    points = []
    for place, share in enumerate(shares):
        columns = {
            "named": named_NS[:, place],
            "random": random_NS[:, place],
            "gap": named_NS[:, place] - random_NS[:, place],
        }
        metrics = {name: (lambda rows, column=column: column[rows].mean()) for name, column in columns.items()}
        points.append(DeletionPoint(share, **intervals(metrics, len(long), resamples=resamples, seed=seed)))
    return points
