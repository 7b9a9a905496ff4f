"""From what is asked for to the scorer that does it: fused with another, behind a shortlist, or down a tree."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sijo.errors import SettingError, warn
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.labels import Labels, LabelSet
from sijo.zeroshot.many_labels import cascade, fusion, walk
from sijo.zeroshot.many_labels.cascade import CascadeScorer, fit_cascade
from sijo.zeroshot.many_labels.certificate import Certificate, check_disagreement, in_full, usual_sample
from sijo.zeroshot.many_labels.composite import Beside
from sijo.zeroshot.many_labels.fusion import FusedScorer, FusionWeights, fit_fusion
from sijo.zeroshot.many_labels.walk import WalkScorer
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import Scorer

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model

MOST_TEXTS = 1_000_000
"""Of a sample."""
LONG = 1_000
"""Labels from which on a sample that is read beside all of them is warned of."""
Draw = Callable[[int], Sequence[str]]
"""Gives so many texts, or as many as there are, drawn at random from those that will be labelled; none where that
would be all of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedManyLabels:
    """What was found on texts: all that the same scorer is made from again."""

    labels: LabelSet
    weights: FusionWeights | None = None
    certificate: Certificate | None = None
    _opened: dict[object, Scorer] = field(default_factory=dict, repr=False)
    """Second scorers, by model and process."""

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_opened": {}}  # a copy opens them where it lands


@dataclass(frozen=True, kw_only=True)
class ManyLabels:
    """What is asked for beside one scorer that reads every label, and how second models are run.

    Raises SettingError for what does not go together.
    """

    cascade: "str | Path | Model | None" = None
    """What ranks labels, so that the first scorer reads few."""
    disagreement: float = 0.01
    """The share of texts, at most, that it may make answer otherwise."""
    sample: int | None = None
    """Texts that are read beside all labels to find how few; None for what suits the disagreement."""
    fuse: "str | Path | Model | None" = None
    """What is heard beside the first scorer."""
    beam: int | None = None
    """How many labels of a level of their tree are gone into; None for no walk."""
    needs_all: bool = False
    """Whether something goes by the scores of all labels: a calibration, a stated risk, an explanation."""
    cache: str | Path | None = None
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        check_disagreement(self.disagreement)
        if self.sample is not None and not 1 <= self.sample <= MOST_TEXTS:
            raise SettingError(
                f"--cascade-sample {self.sample} is no number of texts that are kept in memory; give 1,000, say, "
                f"and {MOST_TEXTS:,} at most"
            )
        if self.cascade is None and (self.sample is not None or self.disagreement != ManyLabels.disagreement):
            raise SettingError(
                "disagreement and sample (--disagreement, --cascade-sample) are those of a cascade; name what "
                "ranks the labels (--cascade), or leave them out"
            )
        if self.beam is None:
            named = cascade.OPTION
        else:
            named = walk.OPTION
            if self.fits:
                other = cascade.OPTION if self.cascade is not None else fusion.OPTION
                raise SettingError(f"{walk.OPTION} and {other} are two ways to read few labels; leave one out")
        if self.needs_all and (self.cascade is not None or self.beam is not None):
            raise SettingError(
                f"a calibration, a fitted temperature, a stated risk and an explanation go by all labels' scores, "
                f"and {named} reads few of them; leave one of the two out"
            )

    @property
    def fits(self) -> bool:
        """Whether something is to be found on texts."""
        return self.cascade is not None or self.fuse is not None

    def fit(self, labeller: Labeller, draw: Draw, say: Callable[[str], None] = lambda _: None) -> FittedManyLabels:
        """Find weights and shortlist.

        labeller  that of the first scorer, not calibrated
        draw      gives the texts

        Warns where the texts are too few for what was asked, and every label is verified. Raises SettingError for
        labels that a second model does not know.
        """
        fitted = FittedManyLabels(labels=labeller.own)
        weighing, texts = self._samples(draw)
        if self.fuse is not None:
            beside = self._beside(self.fuse, labeller, fusion.OPTION, fitted)
            fitted = replace(fitted, weights=fit_fusion(labeller, beside, weighing))
            say(f"fused: {fitted.weights}")
            labeller = _fused(labeller, beside, fitted)
        if self.cascade is not None:
            beside = self._beside(self.cascade, labeller, cascade.OPTION, fitted)
            certificate = in_full(self.disagreement, count := len(labeller.own.labels))
            if texts:
                say(f"cascade: {len(texts):,} texts are read beside all {count:,} labels")
                if count > LONG:
                    warn(
                        f"each text of the sample is read beside {count:,} labels, which takes long; labels with "
                        "parents and beam= (--beam) need no sample"
                    )
                certificate = fit_cascade(labeller, beside, texts, self.disagreement)
            (say if certificate.held else warn)(f"cascade: {certificate}")
            fitted = replace(fitted, certificate=certificate)
        return fitted

    def _samples(self, draw: Draw) -> tuple[Sequence[str], Sequence[str]]:
        """Texts for weights and, since these suit them, others for a certificate; either none where not asked for.

        Of few texts a quarter are for weights, or as many as say anything.
        """
        count = usual_sample(self.disagreement) if self.sample is None else self.sample
        count = 0 if self.cascade is None else count
        if self.fuse is None:
            return (), draw(count)
        texts = random.Random(0).sample(both := _most(draw, count), len(both))  # noqa: S311 (a file's order is none)
        if not texts and count:
            return _most(draw, 0), ()
        place = min(fusion.SAMPLE, max(len(texts) - count, len(texts) // 4, fusion.FEWEST))
        return texts[:place], texts[place:]

    def applied_to(
        self, labeller: Labeller, fitted: FittedManyLabels | None, *, tree: Labels | None = None
    ) -> Labeller:
        """The labeller of the first scorer, with what is asked for beside it.

        fitted  what was found on texts; None where a walk alone is asked for, which needs none
        tree    the labels with those above them, for a walk

        Raises SettingError where something was not fitted, or to other labels.
        """
        if self.beam is None and not self.fits:
            return labeller
        what = (
            walk.OPTION if self.beam is not None else cascade.OPTION if self.cascade is not None else fusion.OPTION
        )
        if labeller.labels is None:
            raise SettingError(f"{what} is for one set of labels, and here each text brings its own; leave it out")
        if self.beam is not None:
            walker = WalkScorer(labeller, labeller.own if tree is None else LabelSet.of(tree), self.beam)
            return Labeller(walker, replace(labeller.choice, temperature=None), labeller.labels)
        if fitted is None:
            raise SettingError(f"{what} is fitted to texts such as will be labelled: call fit(texts) first")
        if labeller.own != fitted.labels:
            raise SettingError(f"{what} was fitted to other labels; call fit(texts) again")
        if self.fuse is not None:
            labeller = _fused(labeller, self._beside(self.fuse, labeller, fusion.OPTION, fitted), fitted)
        if self.cascade is not None:
            assert fitted.certificate is not None
            beside = self._beside(self.cascade, labeller, cascade.OPTION, fitted)
            scorer = CascadeScorer(labeller, beside, fitted.certificate)
            labeller = Labeller(scorer, labeller.choice, labeller.labels, labeller.calibration)
        return labeller

    def _beside(
        self, model: "str | Path | Model", labeller: Labeller, option: str, fitted: FittedManyLabels
    ) -> Beside:
        """A second model's scorer, opened once in a process."""
        key = option, str(model) if isinstance(model, str | Path) else id(model), os.getpid()
        if key not in fitted._opened:
            settings: dict[str, Any] = {
                name: getattr(self, name) for name in ("cache", "backend", "device", "threads")
            }
            fitted._opened[key] = open_scorer("auto", model, **settings)
        return Beside.of(fitted._opened[key], labeller, option)


def _most(draw: Draw, count: int) -> Sequence[str]:
    """So many texts and those for weights, or fewer of these where there are not so many to draw from."""
    more = fusion.SAMPLE
    while not (texts := draw(count + more)) and more > fusion.FEWEST:
        more //= 2
    return texts


def _fused(labeller: Labeller, beside: Beside, fitted: FittedManyLabels) -> Labeller:
    """The labeller of both scorers. A temperature and a none threshold that are given are the first's; what was
    fitted was fitted to the scores of both."""
    assert fitted.weights is not None
    alone, choice = Labeller(labeller.scorer, labeller.choice, labeller.labels), labeller.choice
    scorer = FusedScorer(alone, beside, fitted.weights)
    given = {"temperature": scorer.calibration.temperature, "none_threshold": scorer.calibration.none_score}
    changes: dict[str, Any] = {name: to for name, to in given.items() if getattr(choice, name) is not None}
    own = None if labeller.calibration == alone.calibration else labeller.calibration
    return Labeller(scorer, replace(choice, **changes), labeller.labels, own)


def drawn_from(texts: Sequence[str] | None) -> Draw:
    """Draws from texts, the same ones each time; SettingError, when it is asked, where there are none.

    >>> len(drawn_from(["a", "b", "c"])(2))
    2
    """

    def draw(count: int) -> Sequence[str]:
        if not texts:
            raise SettingError("cascade= and fuse= are fitted to texts such as will be labelled: call fit(texts)")
        return random.Random(0).sample(texts, min(count, len(texts)))  # noqa: S311

    return draw


def fitted_in(labeller: Labeller) -> FittedManyLabels | None:
    """What a labeller's scorer was made from; None where nothing was fitted."""
    scorer, certificate = labeller.scorer, None
    if isinstance(scorer, CascadeScorer):
        certificate, scorer = scorer.certificate, scorer.first
    weights = scorer.weights if isinstance(scorer, FusedScorer) else None
    if certificate is None and weights is None:
        return None
    return FittedManyLabels(labels=labeller.own, weights=weights, certificate=certificate)
