"""From texts, labelled or not, to a calibration that is frozen; and what a model can do without any.

Letters: n texts, L labels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from sijo.errors import SettingError, nearest, warn
from sijo.names import folded
from sijo.zeroshot.calibrating.background import OwnBackground, own_background
from sijo.zeroshot.calibrating.conformal import none_score_at
from sijo.zeroshot.calibrating.frozen import METHODS, FrozenCalibration, identity_of, open_calibration
from sijo.zeroshot.calibrating.label_free import (
    Adjustment,
    Rivals,
    agreeing_temperature,
    check_background,
    disagreement,
    expected_errors,
    share_of_labels_in_use,
)
from sijo.zeroshot.calibrating.methods import (
    WITHOUT_TEXTS,
    LabelShares,
    adjust_by,
    evenly_used,
    made_by,
    says_nothing,
)
from sijo.zeroshot.calibrating.samples import Sample, wordings
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Label

CalibrateName = Literal["none", "refine", "batch", "standardize", "prior", "contextual", "dcpmi", "auto"]
SAMPLE = 512
"""Texts that are read of a table, unless told."""
MOST_KEPT = 1_000
"""Label sets whose adjustment is kept, where rows bring their own."""
AUTO_TEXTS = 64
"""From how many on `auto` takes anything, and confidence is fitted without labels."""
FEW_IN_USE = 1 / 3
"""The evenness below which texts are warned of: a table sorted by subject begins with those of few labels."""
WITH_TEXTS = ("auto", "refine")
"""Methods for which no background will do but texts such as will be labelled."""


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
    method     one of `METHODS`, "none", or "auto" for what suits: see `automatic_method`
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
    sample = Sample.of(labeller, texts)
    places = None if gold is None else _places(labeller, gold)[sample.kept]
    fitting = np.ones(len(sample.scores), bool)
    if places is not None:
        fitting[1::2] = False
    chosen = method
    if method == "auto":
        chosen = automatic_method(sample.scores[fitting], labeller.choice.rivals, labeller.scorer.calibrated_by)
    if chosen not in ("none", *WITHOUT_TEXTS):
        _warn_of_few_labels(sample.scores[fitting])
    fitted = made_by(labeller, chosen, labels, sample, sample.scores, fitting, shares)
    named = "not calibrated" if chosen == "none" else f"calibrated by {chosen}"
    told = f"fit on {len(sample.scores):,} texts without labels, {named}"
    numbers = labeller.calibration
    if temperature_by_gold:
        if places is None:
            raise SettingError('temperature="fit" needs texts and their labels: call fit(X, y)')
        told = f"fit on {int(fitting.sum()):,} labelled texts, {named}"
        among = fitting & (places < len(labels))
        numbers = Calibration.fit(fitted.moved[among], places[among], origin=told)
    elif sample.others and labeller.choice.temperature is None and fitting.sum() >= AUTO_TEXTS:
        apart = []
        for wording, others in zip(wordings(labeller), sample.others, strict=True):
            second = made_by(labeller, chosen, wording, sample, others, fitting, shares)
            before = disagreement(sample.scores[fitting], others[fitting])
            apart.append((before + disagreement(fitted.moved[fitting], second.moved[fitting])) / 2)
        errors = expected_errors(*apart, scale=numbers.error_scale, power=numbers.error_power)
        temperature = agreeing_temperature(fitted.moved[fitting], errors)
        numbers = replace(numbers, temperature=temperature)
    if none_risk is not None:
        _check_none_risk(labeller)
        inside = fitted.moved if places is None else fitted.moved[~fitting & (places < len(labels))]
        numbers = replace(numbers, none_score=none_score_at(inside.max(1), none_risk))
        told += f", at most {none_risk:g} of texts in scope called none"
    numbers = replace(numbers, origin=told)
    sure = () if places is None else _gold_probabilities(labeller, numbers, fitted.moved, places, ~fitting)
    return FrozenCalibration(
        method=chosen,
        identity=identity_of(labeller),
        numbers=numbers,
        labels=() if chosen == "none" else tuple((x.name, x.wording(labeller.template)) for x in labels),
        adjusted=fitted.adjusted,
        prototypes=fitted.prototypes,
        texts=len(sample.scores),
        digest=hashlib.blake2b(repr(list(texts)).encode(), digest_size=16).hexdigest(),
        none_risk=none_risk,
        gold_probabilities=sure,
    )


def _warn_of_few_labels(scores: np.ndarray) -> None:
    """Warn of texts (n, L) that all but a few labels have nothing of."""
    labels, in_use = scores.shape[1], share_of_labels_in_use(scores)
    if labels > 2 and in_use < FEW_IN_USE:
        warn(
            f"the {len(scores):,} texts that the calibration is fitted to fall to about {in_use * labels:.1f} of "
            f"{labels} labels; where others follow, as in a table that is sorted, fit it to a sample of all "
            "(--calibration-sample)"
        )


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
    if method in WITH_TEXTS:
        raise SettingError(
            f"calibrate={method!r} (--calibrate {method}) looks at texts such as will be labelled: call fit(texts) "
            "first, or name another method"
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
    sijo.errors.SettingError: no calibration 'centre'; there are none, auto, refine, batch, standardize, prior, \
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


def automatic_method(scores: np.ndarray, rivals: Rivals, preferred: str | None = None) -> str:
    """What `auto` takes for these texts, by a rule that needs no right labels.

    Some scorers have one that they prefer whatever the texts' own shares: a sentence encoder's labels are refined;
    those of a head that answers for tokens, which lean towards frequent words, are balanced. Of other scorers it
    takes batch where texts fall to labels evenly. Where few labels share the texts, or they fall to labels
    unevenly, it cannot be told whether wording does that or the texts, and to even it out would harm more than
    help. Labels that are judged by themselves are left alone.
    """
    count, labels = scores.shape
    if rivals == "none" or labels < 2 or count < AUTO_TEXTS:
        return "none"
    return preferred or ("batch" if evenly_used(scores) else "none")


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
