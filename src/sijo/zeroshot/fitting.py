"""From texts, labelled or not, to a calibration that is frozen; and what a model can do without any.

Letters: n texts, L labels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from sijo.errors import SettingError, nearest
from sijo.inference.outputs import NotFiniteError
from sijo.names import folded
from sijo.zeroshot.background import OwnBackground, own_background
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.conformal import none_score_at
from sijo.zeroshot.frozen import METHODS, FrozenCalibration, identity_of, open_calibration
from sijo.zeroshot.label_free import (
    Adjustment,
    Rivals,
    agreeing_temperature,
    balanced,
    check_background,
    estimated_prior,
    matched_prior,
    share_of_labels_in_use,
    standardised,
)
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label
from sijo.zeroshot.scorers.scorer import ScoreRequest
from sijo.zeroshot.templates import without_label

CalibrateName = Literal["none", "batch", "standardize", "prior", "contextual", "dcpmi", "auto"]
LabelShares = Mapping[str, float] | Literal["equal", "estimate"]
SAMPLE = 512
"""Texts that are read of a table, unless told."""
MOST_KEPT = 1_000
"""Label sets whose adjustment is kept, where rows bring their own."""
WITHOUT_TEXTS = ("contextual", "dcpmi")
"""Methods whose background is what says nothing."""
CONTENT_FREE = ("N/A", "...", "nothing", "a text"), ("없음", "...", "해당 없음", "글")
"""Texts that say nothing, in English and in Korean."""
AUTO_LABELS, AUTO_TEXTS, AUTO_IN_USE = 5, 64, 0.7
"""Where `auto` takes batch: from so many labels and texts on, and where texts fall to labels so evenly. Chosen on
the development sets of benchmarks/calibration_free.py; docs/zero-shot.md has the figures."""
PRIOR_WEIGHT = 0.1
"""Texts given to labels beforehand where shares are estimated, for each text there is."""


def fit_calibration(
    labeller: Labeller,
    texts: Sequence[str],
    method: str,
    *,
    gold: Sequence[str] | None = None,
    temperature_by_gold: bool = False,
    shares: LabelShares = "equal",
    none_risk: float | None = None,
) -> FrozenCalibration:
    """Fit a calibration to texts, and freeze it.

    labeller   what labels them, not calibrated
    texts      such as will be labelled; those without tokens are left out
    method     one of `METHODS`, "none", or "auto" for what suits: batch where there are `AUTO_LABELS` labels and
               `AUTO_TEXTS` texts, which fall to the labels evenly; else none
    gold       the right label of each text, where it is known. Every second text is then kept apart, for a risk
    temperature_by_gold  fit temperature and none score to the others' right labels
    shares     of the labels among the texts, for the method "prior": "equal", "estimate", or a share for each label
    none_risk  fit the none score so that at most this share of texts in scope is called none. Texts are taken to be
               in scope, unless `gold` says otherwise

    The temperature, unless it was given, is fitted without right labels where the scorer has a second template.

    Raises SettingError for too few texts, and for settings that do not go together.
    """
    check_method(method, shares)
    if labeller.adjuster is not None:
        raise TypeError("this labeller is calibrated already")
    labels = labeller.own.labels
    scores, others, kept = _scores(labeller, texts)
    places = None if gold is None else _places(labeller, gold)[kept]
    fitting = np.ones(len(scores), bool)
    if places is not None:
        fitting[1::2] = False
    chosen = automatic_method(scores[fitting], labeller.choice.rivals) if method == "auto" else method
    adjusted = _adjustment(labeller, chosen, scores[fitting], labels, shares)
    named = "not calibrated" if adjusted is None else f"calibrated by {chosen}"
    told = f"fit on {len(scores):,} texts without labels, {named}"
    moved, numbers = scores if adjusted is None else adjusted.apply(scores), labeller.calibration
    if temperature_by_gold:
        if places is None:
            raise SettingError('temperature="fit" needs texts and their labels: call fit(X, y)')
        told = f"fit on {int(fitting.sum()):,} labelled texts, {named}"
        among = fitting & (places < len(labels))
        numbers = Calibration.fit(moved[among], places[among], origin=told)
    elif others is not None and labeller.choice.temperature is None and fitting.sum() >= AUTO_TEXTS:
        second = others[fitting]
        likewise = _adjustment(labeller, chosen, second, _otherwise(labeller), shares)
        second = second if likewise is None else likewise.apply(second)
        numbers = replace(numbers, temperature=agreeing_temperature(moved[fitting], second))
    if none_risk is not None:
        _check_none_risk(labeller)
        inside = moved if places is None else moved[~fitting & (places < len(labels))]
        numbers = replace(numbers, none_score=none_score_at(inside.max(1), none_risk))
        told += f", at most {none_risk:g} of texts in scope called none"
    numbers = replace(numbers, origin=told)
    sure = () if places is None else _gold_probabilities(labeller, numbers, moved, places, ~fitting)
    return FrozenCalibration(
        method=chosen,
        identity=identity_of(labeller),
        numbers=numbers,
        labels=() if adjusted is None else tuple((x.name, x.wording(labeller.template)) for x in labels),
        adjusted=adjusted,
        texts=len(scores),
        digest=hashlib.blake2b(repr(list(texts)).encode(), digest_size=16).hexdigest(),
        none_risk=none_risk,
        gold_probabilities=sure,
    )


def _adjustment(
    labeller: Labeller, method: str, background: np.ndarray, labels: Sequence[Label], shares: LabelShares
) -> Adjustment | None:
    """That of the labels as they are worded here, by their scores (n, L); None for the method "none"."""
    if method == "none":
        return None
    if method in WITHOUT_TEXTS:
        background = says_nothing(labeller, method, labels, worded=labeller.own.labels)
    else:
        check_background(background)
    return adjust_by(method, background, labeller.calibration, labeller.choice.rivals, shares=shares, labels=labels)


def _check_none_risk(labeller: Labeller) -> None:
    """Raise SettingError where there is no none score to fit, or it was given."""
    if labeller.choice.none_label is None or labeller.choice.none_threshold is not None:
        raise SettingError(
            "none_risk (--none-risk) fits the score below which none_label (--none-label) wins: give that label "
            "a name, and leave none_threshold (--none-threshold) out"
        )


def calibrated(
    labeller: Labeller,
    method: str,
    file: str | Path | None,
    fitted: FrozenCalibration | None = None,
    *,
    risk: float | None = None,
    none_risk: float | None = None,
) -> Labeller:
    """The labeller with what was fitted, or is in a file, or else with what its model carries.

    method  what was asked for; "none" takes whatever the file holds

    Raises SettingError where nothing was fitted and the model carries nothing, and where the file holds what was
    fitted by another method.
    """
    check_method(method)
    if risk is not None and labeller.choice.multi_label:
        raise SettingError(
            "a stated risk (risk=, --risk) is that of one label a text; with multi_label (--multi-label) each "
            "label has its threshold. Leave one out"
        )
    if fitted is None and file is not None and (method == "none" or Path(file).exists()):
        fitted = open_calibration(file)
        if method not in ("none", "auto", fitted.method):
            raise SettingError(
                f"the calibration {file} was fitted by {fitted.method}, and {method} is asked for; name another "
                "file, or leave calibrate= (--calibrate) out"
            )
    if fitted is not None:
        if none_risk not in (None, fitted.none_risk):
            raise SettingError(
                f"the calibration {file or ''} was fitted at none_risk={fitted.none_risk}, and {none_risk:g} is "
                "asked for; fit it again, to another file"
            )
        return fitted.applied_to(labeller, risk)
    if none_risk is not None:
        raise SettingError(
            "none_risk (--none-risk) is fitted to texts: call fit(texts) first, or give calibration= "
            "(--calibration) a file that was so fitted"
        )
    if risk is not None:
        raise SettingError(
            "a stated risk (risk=, --risk) needs labelled texts: call fit(X, y), or give calibration= "
            "(--calibration) a file that was so fitted"
        )
    if method == "auto":
        raise SettingError(
            "calibrate='auto' (--calibrate auto) looks at texts before it chooses: call fit(texts) first, or "
            "name a method"
        )
    return OwnCalibration(labeller, method).applied_to(labeller)


class OwnCalibration:
    """Adjustments from what a model carries, or from what says nothing: for any labels, and one text alone.

    labeller  what labels, not calibrated
    method    one of `METHODS`

    Raises SettingError where the method needs texts and the model carries none.
    """

    def __init__(self, labeller: Labeller, method: str) -> None:
        self._labeller, self.method = labeller, method
        self._background: OwnBackground | None = None
        self._kept: dict[object, Adjustment] = {}
        if method not in WITHOUT_TEXTS:
            self._background = own_background(labeller.scorer)
            if self._background is None:
                raise SettingError(
                    f"calibrate={method!r} (--calibrate) was asked for but not fitted yet, and "
                    f"{labeller.scorer.engine.model.source or 'the model'} carries no background of its own: call "
                    "fit(texts) first, or give calibration= (--calibration) a file"
                )

    @property
    def fingerprint(self) -> str:
        """A digest of the background; the model is told apart by its own."""
        return "nothing" if self._background is None else self._background.digest

    def adjustment(self, labels: Sequence[Label], template: str) -> Adjustment:
        """That of these labels, in their order, worded by that template."""
        key = (tuple(labels), template)
        if key not in self._kept:
            if len(self._kept) == MOST_KEPT:
                self._kept.clear()
            labeller = self._labeller
            if self._background is None:
                scores = says_nothing(labeller, self.method, labels)
            else:
                scores = self._background.scores(labels, template, absolute=labeller.choice.absolute)
                check_background(scores)
            self._kept[key] = adjust_by(self.method, scores, labeller.calibration, labeller.choice.rivals)
        return self._kept[key]

    def applied_to(self, labeller: Labeller) -> Labeller:
        """The labeller with it."""
        return Labeller(labeller.scorer, labeller.choice, labeller.labels, adjuster=self)


def check_method(method: str, shares: LabelShares | None = None) -> None:
    """Raise SettingError for a method that nobody knows, or shares without the one that matches them.

    >>> check_method("centre")
    Traceback (most recent call last):
    sijo.errors.SettingError: no calibration 'centre'; there are none, auto, batch, standardize, prior, \
contextual, dcpmi
    """
    names = ("none", "auto", *METHODS)
    if method not in names:
        raise SettingError(f"no calibration {method!r}{nearest(method, names)}; there are {', '.join(names)}")
    if shares not in (None, "equal") and method != "prior":
        raise SettingError(
            f"label shares are what calibrate='prior' (--calibrate prior) matches, and it is {method!r}; leave one "
            "out"
        )
    if isinstance(shares, str) and shares not in ("equal", "estimate"):
        raise SettingError(f"label shares are {shares!r}; say equal, estimate, or a share for each label")


def automatic_method(scores: np.ndarray, rivals: Rivals) -> str:
    """What `auto` takes for these texts, by a rule that needs no right labels.

    Where few labels share the texts, or they fall to labels unevenly, it cannot be told whether wording does that
    or the texts, and to even it out would harm more than help. Labels that are judged by themselves are left alone.
    """
    count, labels = scores.shape
    if rivals == "none" or labels < AUTO_LABELS or count < AUTO_TEXTS:
        return "none"
    return "batch" if share_of_labels_in_use(scores) >= AUTO_IN_USE else "none"


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


def _otherwise(labeller: Labeller) -> list[Label]:
    """The labels in another sentence each; none where it does not matter how the two agree."""
    scorer, labels = labeller.scorer, labeller.own.labels
    second = scorer.second_template
    if second is None or labeller.choice.rivals == "none" or len(labels) < 2:
        return []
    return [
        replace(label, template=scorer.template if (label.template or labeller.template) == second else second)
        for label in labels
    ]


def _scores(labeller: Labeller, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Scores (n, L) of the labels, of the labels worded otherwise, and which of all texts have tokens: the n."""
    scorer, labels, template = labeller.scorer, labeller.own.labels, labeller.template
    otherwise = _otherwise(labeller)
    labeller.look(texts)
    both = [*labels, *otherwise]
    parts, tokens = [], []
    for start in range(0, len(texts), scorer.rows):
        request = ScoreRequest(texts[start : start + scorer.rows], both, template, labeller.choice.absolute)
        try:
            part, reading = scorer.score(request)
        except NotFiniteError as error:
            raise error.after(start) from None
        parts.append(part)
        tokens.append(reading.tokens)
    if not parts:
        raise SettingError("there are no texts to fit a calibration to; call fit(texts) with some")
    kept = np.concatenate(tokens) > 0
    scores = np.concatenate(parts)[kept]
    if not len(scores):
        raise SettingError("none of the texts to fit a calibration to has words; give others")
    return scores[:, : len(labels)], scores[:, len(labels) :] if otherwise else None, kept


def _places(labeller: Labeller, gold: Sequence[str]) -> np.ndarray:
    """The column (n,) of each text's right label; none of these is the last."""
    names = [*labeller.own.names, *([labeller.choice.none_label] if labeller.choice.none_label is not None else [])]
    columns = {folded(name): place for place, name in enumerate(names)}
    for name in gold:
        if folded(name) not in columns:
            raise SettingError(f"the right labels hold {name!r}, which is not a label{nearest(name, names)}")
    return np.array([columns[folded(name)] for name in gold], np.int64)


def _gold_probabilities(
    labeller: Labeller, numbers: Calibration, scores: np.ndarray, places: np.ndarray, apart: np.ndarray
) -> tuple[float, ...]:
    """What the right labels of the texts kept apart got, rounded down, so that they stay in their sets."""
    if labeller.choice.rivals == "none":
        return ()
    chosen = labeller.choice.temperature
    numbers = numbers if chosen is None else replace(numbers, temperature=chosen)
    chances = numbers.softmax(scores) if labeller.choice.none_label is None else numbers.with_none(scores)
    gold = chances[apart, places[apart]]
    return tuple((np.floor(gold * 1e9) / 1e9).tolist())
