"""Shortlist, then verify: a cheap scorer ranks all labels, and a dear one reads those that may win.

Letters: n texts, L labels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.names import folded
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label
from sijo.zeroshot.many_labels.certificate import (
    EACH,
    Certificate,
    certified,
    check_disagreement,
    texts_needed,
)
from sijo.zeroshot.many_labels.composite import Beside, CompositeScorer, must_be_fitted_to
from sijo.zeroshot.many_labels.shortlist import ALWAYS, Form, Shortlist, depths
from sijo.zeroshot.many_labels.teaching import MOST_TAUGHT, Lesson
from sijo.zeroshot.many_labels.verifying import verified, verified_in_turns
from sijo.zeroshot.scorers.scorer import ScoreRequest

OPTION = "cascade= (--cascade)"
TEACH = 0.35
"""The share of a sample that teaches the shortlister, where the others are enough to certify anything."""
_NOTHING: dict[Form, float] = {"rank": 0.0, "gap": 0.0, "reach": ALWAYS}
"""How deep a text lies whose answer no label decides."""
MOST_PAIRS = 2**16
"""Of texts and labels that are verified together, so that thousands of labels take no more memory than few."""


class CascadeScorer(CompositeScorer):
    """The scores that the verifier gives to the labels on a text's shortlist; no other label can win.

    A label that is not on it has the probability 0, and stands behind all that are, in the shortlister's order. The
    probabilities of the others share what the verifier would have given those, so they are no lower than in full.

    verifier     a labeller that is not calibrated, whose scorer is asked
    shortlister  ranks its labels
    certificate  which of them are asked about, and why that is enough

    Source: Choubey et al. 2022 (arXiv:2210.12619); Lake 2022.
    """

    name = "cascade"
    all_scored = False

    def __init__(self, verifier: Labeller, shortlister: Beside, certificate: Certificate) -> None:
        super().__init__(verifier.scorer)
        self.labels, self.shortlister, self.certificate = verifier.own, shortlister, certificate
        self.rows = max(1, min(self.rows, MOST_PAIRS // len(self.labels.labels)))

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        return self.first.settings | {
            "verifier": self.first.name,
            "cascade": {"shortlister": self.shortlister.record, **self.certificate.record},
        }

    def notes(self, rows: int) -> Sequence[str]:
        """How many labels were verified, the sample's counted."""
        found = self.certificate
        if not found.held or not rows:
            return ()
        again = ", also in shorter lists," if found.reread else ""
        sample = f"the {found.texts + found.taught:,} texts of the sample{again}"
        return (
            f"labels verified: about {found.mean_labels:.1f} of {found.labels:,} a text; with all labels of "
            f"{sample} {found.times_fewer(rows):.1f} times fewer than in full",
        )

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Scores (n, L) float64: the verifier's for labels on the shortlist, about -1e30 for all others."""
        must_be_fitted_to(request, self.labels, OPTION)
        if not self.certificate.held:
            return self.first.score(request)
        near, _ = self.shortlister.score(request.texts, absolute=False)
        lesson, shortlist = self.certificate.lesson, self.certificate.shortlist
        if lesson is not None:
            near = lesson.said(near)
        if shortlist.form == "reach":
            assert lesson is not None
            return verified_in_turns(self.first.score, request, near, lesson.unit, shortlist.limit)
        return verified(self.first.score, request, near, shortlist)


def fit_cascade(
    labeller: Labeller,
    shortlister: Beside,
    texts: Sequence[str],
    disagreement: float,
    tell: Callable[[int], None] = lambda count: None,
) -> Certificate:
    """How short the shortlist may be, from texts that the verifier reads with all labels.

    labeller      the verifier's, not calibrated
    texts         such as will be labelled, drawn at random from them; those without tokens count too
    disagreement  the share of them, at most, that may be answered otherwise than in full
    tell          told how many texts were read

    What decides an answer: of labels that compete, the best, unless none is better; of labels judged by themselves,
    all that reach a threshold, their own or that of one above them. A verifier that reads labels beside each other
    is asked again with shortlists of half the labels, a quarter, and so on: a text counts as missed by a
    shortlist where its answer differs, or did for a longer one.
    """
    check_disagreement(disagreement)
    labels, scorer = labeller.own, labeller.scorer
    parts: list[tuple[np.ndarray, ...]] = []
    rows = max(1, min(scorer.rows, MOST_PAIRS // len(labels.labels)))
    for start in range(0, len(texts), rows):
        part = texts[start : start + rows]
        request = ScoreRequest(part, labels.labels, labeller.template, labeller.choice.absolute)
        try:
            scores, reading = scorer.score(request)
            near, _ = shortlister.score(part, absolute=False)
        except NotFiniteError as error:
            raise error.after(start) from None
        deciding = deciding_labels(labeller, scores) & (reading.tokens > 0)[:, None]
        again = _asked_again(labeller, request, near, deciding) if scorer.reads_others else np.zeros(len(part))
        parts.append((near, scores if len(labels.labels) <= MOST_TAUGHT else near[:, :0], deciding, again))
        tell(len(part))
    if not parts:
        raise SettingError(f"there are no texts to fit {OPTION} to; give some")
    near, scores, deciding, again = (np.concatenate(column) for column in zip(*parts, strict=True))
    if scorer.reads_others:
        found = certified(disagreement, {"rank": again}, count := len(labels.labels), kinds=1)
        return replace(found, reread=sum(_lengths(count)))
    return cheapest(disagreement, near, scores, deciding, alone=bool(labeller.choice.multi_label))


def teaching(texts: int, share: float) -> np.ndarray:
    """Which of so many texts (n,) bool teach the shortlister for that disagreement: spread over the sample.

    >>> teaching(12, 0.5).astype(int).tolist()
    [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    >>> int(teaching(1_000, 0.01).sum()), int(teaching(400, 0.01).sum())
    (350, 32)
    """
    count = max(0, min(int(TEACH * texts), texts - texts_needed(share, EACH)))
    teaches: np.ndarray = np.diff(np.arange(texts + 1) * count // max(texts, 1)) > 0
    return teaches


def cheapest(
    disagreement: float, near: np.ndarray, scores: np.ndarray, deciding: np.ndarray, *, alone: bool = False
) -> Certificate:
    """The certificate by which few labels are verified: of a shortlister that some of the texts teach, or as it is.

    near      (n, L) the shortlister's scores
    scores    (n, L) the verifier's; of more labels than can be taught they are not looked at
    deciding  (n, L) bool, which labels decide the answers
    alone     whether each label is judged by itself

    Two kinds of depth are certified, each at half of what may go wrong, and the cheaper is taken: the shortlister's
    gap on all texts, and on those that do not teach the taught reach, or the taught gap where labels are judged
    alone. Of more labels than can be taught, or too few texts, it is rank and gap as they are.
    """
    texts, labels = near.shape
    teach = teaching(texts, disagreement)

    def by(forms: tuple[Form, ...], near: np.ndarray, deciding: np.ndarray, said: np.ndarray | None) -> Certificate:
        every = {form: depths(near, form, said) for form in forms}
        decisive = {form: np.where(deciding, deep, _NOTHING[form]).max(1) for form, deep in every.items()}
        return certified(disagreement, decisive, labels, every[forms[-1]])

    if labels > MOST_TAUGHT or not teach.any():
        return by(("rank", "gap"), near, deciding, None)
    plain = by(("gap",), near, deciding, None)
    lesson = Lesson.of(near[teach], scores[teach])
    told, said = lesson.said(near[~teach]), scores[~teach] / lesson.unit
    taught = by(("gap",) if alone else ("reach",), told, deciding[~teach], said)
    taught = replace(taught, lesson=lesson, taught=int(teach.sum()))
    return min(plain, taught, key=lambda one: one.mean_labels)


def _asked_again(labeller: Labeller, request: ScoreRequest, near: np.ndarray, full: np.ndarray) -> np.ndarray:
    """The length (n,) of the shortest shortlist from which on all answers are the full one."""
    deepest = np.ones(len(near))
    for length in _lengths(near.shape[1]):
        scores, reading = verified(labeller.scorer.score, request, near, Shortlist("rank", length))
        same = ((deciding_labels(labeller, scores) & (reading.tokens > 0)[:, None]) == full).all(1)
        deepest = np.where(~same, np.maximum(deepest, 2 * length), deepest)
    return np.minimum(deepest, near.shape[1])


def _lengths(labels: int) -> Iterator[int]:
    """Powers of two below so many labels.

    >>> list(_lengths(9))
    [1, 2, 4, 8]
    """
    length = 1
    while length < labels:
        yield length
        length *= 2


def deciding_labels(labeller: Labeller, scores: np.ndarray) -> np.ndarray:
    """Which labels (n, L) bool decide the answers, by the verifier's scores of all labels (n, L).

    Where they are on a shortlist, the answer is the same as that of all labels.
    """
    calibration, choice, labels = labeller.calibration, labeller.choice, labeller.own.labels
    if choice.multi_label:
        deciding: np.ndarray = calibration.each(scores) >= np.array(_least_thresholds(labels, choice.threshold))
        return deciding
    best = np.zeros(scores.shape, bool)
    best[np.arange(len(scores)), scores.argmax(1)] = True
    if choice.none_label is not None:
        best &= scores >= calibration.none_score
    return best


def _least_thresholds(labels: Sequence[Label], threshold: float) -> list[float]:
    """The lowest threshold of each label and of all above it, which is given where it is.

    >>> _least_thresholds([Label("sport", threshold=0.3), Label("chess", parent="sport")], 0.5)
    [0.3, 0.3]
    """
    by_name = {folded(label.name): label for label in labels}

    def least(label: Label) -> float:
        own = [threshold if label.threshold is None else label.threshold]
        while label.parent is not None and (above := by_name.get(folded(label.parent))) is not None:
            label = above
            own.append(threshold if label.threshold is None else label.threshold)
        return min(own)

    return [least(label) for label in labels]
