"""What each method makes of labels by a sample of texts, or by what says nothing.

Letters: n texts, L labels, D width of a vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import unit
from sijo.names import folded
from sijo.zeroshot.calibrating.label_free import (
    Adjustment,
    Rivals,
    balanced,
    check_background,
    estimated_prior,
    matched_prior,
    share_of_labels_in_use,
    standardised,
)
from sijo.zeroshot.calibrating.refining import Refinement, in_bytes, temperature_of
from sijo.zeroshot.calibrating.samples import Sample
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.embedding import EmbeddingScorer
from sijo.zeroshot.scorers.scorer import Scorer, ScoreRequest
from sijo.zeroshot.templates import without_label

LabelShares = Mapping[str, float] | Literal["equal", "estimate"]
WITHOUT_TEXTS = ("contextual", "dcpmi")
"""Methods whose background is what says nothing."""
CONTENT_FREE = ("N/A", "...", "nothing", "a text"), ("없음", "...", "해당 없음", "글")
"""Texts that say nothing, in English and in Korean."""
EVEN_LABELS, EVEN_USE = 5, 0.7
"""From how many labels on, and how evenly used ones, they are balanced unasked. Chosen on the development sets of
benchmarks/calibration_free.py; docs/zero-shot.md has the figures."""
PRIOR_WEIGHT = 0.1
"""Texts given to labels beforehand where shares are estimated, for each text there is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What a method made of some labels by the texts of a sample."""

    moved: np.ndarray
    """(n, L) float64, the scores of all texts as they are once it is applied."""
    adjusted: Adjustment | None = None
    prototypes: np.ndarray | None = None
    """(L, D) int8, their directions."""


def made_by(
    labeller: Labeller,
    method: str,
    labels: Sequence[Label],
    sample: Sample,
    scores: np.ndarray,
    fitting: np.ndarray,
    shares: LabelShares,
) -> Made:
    """That of labels as they are worded here, by their scores (n, L); only the texts `fitting` (n,) are asked."""
    if method == "refine":
        return _refined(labeller, labels, sample, scores, fitting)
    if method == "none":
        return Made(moved=scores)
    background = scores[fitting]
    if method in WITHOUT_TEXTS:
        background = says_nothing(labeller, method, labels, worded=labeller.own.labels)
    else:
        check_background(background)
    adjusted = adjust_by(
        method, background, labeller.calibration, labeller.choice.rivals, shares=shares, labels=labels
    )
    return Made(moved=adjusted.apply(scores), adjusted=adjusted)


def _refined(
    labeller: Labeller, labels: Sequence[Label], sample: Sample, scores: np.ndarray, fitting: np.ndarray
) -> Made:
    """Labels drawn to the texts near them; where texts then fall to them evenly, balanced too.

    Their best scores stay where they are on the whole, so that the score of "none of these" keeps its meaning.
    """
    scorer, template, rivals = _vectors_of(labeller.scorer), labeller.template, labeller.choice.rivals
    if rivals == "none":
        raise SettingError(
            "calibrate='refine' (--calibrate refine) parts texts among labels, and with multi_label "
            "(--multi-label) each is judged by itself; calibrate by batch"
        )
    check_background(scores[fitting])
    assert sample.vectors is not None
    none = labeller.calibration.none_score if rivals == "labels and none" else None
    refinement = Refinement(sample.vectors[fitting], scorer.vectors(labels, template), none)
    prototypes = in_bytes(refinement.prototypes)
    drawn_to = unit(prototypes.astype(np.float64))  # as the file gives them back
    named = {label.wording(template): own for label, own in zip(labels, drawn_to, strict=True)}
    drawn = np.empty_like(scores)
    drawn[fitting] = refinement.scores_without_itself()  # as new texts score, which no prototype has seen
    drawn[~fitting] = scorer.refined(named).nearness(sample.vectors[~fitting], labels, template)
    level = float(scores[fitting].max(-1).mean() - drawn[fitting].max(-1).mean())
    shift = np.zeros(len(labels))
    if evenly_used(drawn[fitting]):
        spread = replace(labeller.calibration, temperature=temperature_of(drawn[fitting]))
        shift = balanced(drawn[fitting] + level, spread, rivals).shift
    adjusted = Adjustment(shift, np.ones(len(labels)), level)
    return Made(moved=adjusted.apply(drawn), adjusted=adjusted, prototypes=prototypes)


def _vectors_of(scorer: Scorer) -> EmbeddingScorer:
    """The scorer of a sentence encoder; SettingError for another."""
    if not isinstance(scorer, EmbeddingScorer):
        raise SettingError(
            f"calibrate='refine' (--calibrate refine) moves labels' vectors, and the {scorer.name} scorer has "
            "none; calibrate by batch, or auto"
        )
    return scorer


def evenly_used(scores: np.ndarray) -> bool:
    """Whether labels are so many, and texts fall to them so evenly, that to even out what is left does no harm."""
    return scores.shape[1] >= EVEN_LABELS and share_of_labels_in_use(scores) >= EVEN_USE


def adjust_by(
    method: str,
    scores: np.ndarray,
    numbers: Calibration,
    rivals: Rivals,
    *,
    shares: LabelShares = "equal",
    labels: Sequence[Label] = (),
) -> Adjustment:
    """The adjustment that one of `METHODS` makes of the scores (n, L) of a background."""
    if method == "standardize":
        return standardised(scores)
    if method != "prior":
        return balanced(scores, numbers, rivals)
    if shares == "equal":
        return matched_prior(scores, numbers, rivals)
    if shares == "estimate":
        if rivals != "labels":
            raise SettingError(
                "shares are estimated (label_shares='estimate', --label-shares) of labels that share all texts, "
                "without multi_label (--multi-label) and none_label (--none-label); leave one out"
            )
        even = numbers.softmax(balanced(scores, numbers, rivals).apply(scores))
        estimated = estimated_prior(even, each=PRIOR_WEIGHT * len(scores) / scores.shape[1])
        return matched_prior(scores, numbers, rivals, shares=estimated)
    by_name = {folded(name): share for name, share in shares.items()}
    names = [label.name for label in labels]
    if by_name.keys() != set(map(folded, names)):
        raise SettingError(f"label shares are given for {list(shares)[:8]}, and the labels are {names[:8]}")
    return matched_prior(scores, numbers, rivals, shares=np.array([by_name[folded(name)] for name in names], float))


def says_nothing(
    labeller: Labeller, method: str, labels: Sequence[Label], *, worded: Sequence[Label] | None = None
) -> np.ndarray:
    """Scores (n, L) of texts without content, or for "dcpmi" of the template without a label.

    worded  the labels whose template that is; those that are scored by default
    """
    if method == "dcpmi":
        templates = {label.template or labeller.template for label in worded or labels}
        texts: Sequence[str] = tuple(map(without_label, templates))
        if len(texts) > 1:
            raise SettingError(
                "calibrate='dcpmi' holds labels against their template alone, and these stand in several; say the "
                "language of the set, or contextual"
            )
        if labeller.scorer.known is not None or not texts[0]:
            raise SettingError(
                f"calibrate='dcpmi' holds labels against the template alone, and {labeller.template!r} has no "
                "words of its own; say contextual"
            )
    else:
        english, korean = CONTENT_FREE
        hangul = any("가" <= letter <= "힣" for label in labels for letter in label.name)
        texts = korean if hangul else english
    scores, reading = labeller.scorer.score(
        ScoreRequest(texts, labels, labeller.template, labeller.choice.absolute)
    )
    if not (read := reading.tokens > 0).any() or not np.isfinite(scores[read]).all():
        raise SettingError(
            f"the model makes no scores of texts that say nothing, such as {texts[0]!r}; calibrate by batch"
        )
    return scores[read]
