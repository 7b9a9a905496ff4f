"""What a verifier says of the labels that a shortlister leaves it, all of a text together or in turns.

Letters: n texts, L labels.
"""

from collections.abc import Callable

import numpy as np

from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.zeroshot.many_labels.composite import OUTSIDE
from sijo.zeroshot.many_labels.shortlist import Shortlist, depths, to_beat, turns
from sijo.zeroshot.scorers.scorer import ScoreRequest

Score = Callable[[ScoreRequest], tuple[np.ndarray, ReadCounts]]


def verified(
    score: Score,
    request: ScoreRequest,
    near: np.ndarray,
    shortlist: Shortlist,
) -> tuple[np.ndarray, ReadCounts]:
    """What a verifier says of labels on the shortlist, by a shortlister's scores (n, L); others lie `OUTSIDE`."""
    kept = shortlist.keeps(near)
    lists = [np.flatnonzero(own).tolist() for own in kept]
    scores, reading = score(ScoreRequest(request.texts, request.labels, request.template, request.absolute, lists))
    return np.where(kept, scores, _outside(near)), reading


def verified_in_turns(
    score: Score, request: ScoreRequest, near: np.ndarray, unit: float, limit: float
) -> tuple[np.ndarray, ReadCounts]:
    """The same, as long as the next labels may still win: those whose reach is at most a limit.

    near  (n, L) the shortlister's scores, on the scale of the verifier's divided by `unit`
    """
    scores, order = _outside(near), np.argsort(-near, axis=-1, kind="stable")
    ranked = np.take_along_axis(near, order, -1)
    best, asked = np.full(len(near), -np.inf), np.arange(len(near))
    tokens, windows = np.zeros(len(near), np.int64), np.zeros(len(near), np.int64)
    truncated = np.zeros(len(near), bool)
    for start, end in turns(near.shape[1]):
        counts = np.full(len(asked), end - start)
        if start:
            aim = to_beat(ranked[asked, :1], best[asked, None])
            counts = (aim - ranked[asked, start:end] <= limit).sum(1)
        asked, counts = asked[counts > 0], counts[counts > 0]
        if not len(asked):
            break
        lists = [order[row, start : start + count].tolist() for row, count in zip(asked, counts, strict=True)]
        texts = [request.texts[row] for row in asked.tolist()]
        try:
            said, read = score(ScoreRequest(texts, request.labels, request.template, request.absolute, lists))
        except NotFiniteError as error:
            raise NotFiniteError(error.why, int(asked[error.place]), error.what) from None
        for row, own, told in zip(asked, lists, said, strict=True):
            scores[row, own] = told[own]
            best[row] = max(best[row], told[own].max() / unit)
        tokens[asked], windows[asked] = np.maximum(tokens[asked], read.tokens), read.windows
        truncated[asked] |= read.truncated
    return scores, ReadCounts(tokens, windows, truncated)


def _outside(near: np.ndarray) -> np.ndarray:
    """Scores (n, L) of labels that are not verified, in the shortlister's order."""
    behind: np.ndarray = OUTSIDE * (1 + 1e-6 * depths(near, "rank"))
    return behind
