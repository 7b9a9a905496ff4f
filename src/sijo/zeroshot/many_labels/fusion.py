"""Two scorers heard together, each as much as texts without labels say it deserves.

Letters: n texts, L labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sijo.errors import SettingError
from sijo.inference.outputs import NotFiniteError, ReadCounts
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import Labeller
from sijo.zeroshot.many_labels.composite import Beside, CompositeScorer, must_be_fitted_to
from sijo.zeroshot.scorers.scorer import ScoreRequest

OPTION = "fuse= (--fuse)"
FEWEST = 32
"""Texts that say anything of a scorer."""
SAMPLE = 512
"""Texts that weights are found on, at most."""
PROPORTIONS = np.linspace(0, 1, 21)
SHARP = Calibration(0.4, 0.0, origin="chosen on eight sets, of five temperatures that differed little")
"""What makes mixtures of unit spread probabilities, to compare them."""


@dataclass(frozen=True, kw_only=True)
class FusionWeights:
    """How much each of two scorers counts."""

    share: float
    """Of the second, from 0 to 1."""
    spreads: tuple[float, float]
    """How far labels of one text lie apart by each, so that both count in units of their own."""
    texts: int
    """They were found on."""

    @property
    def record(self) -> dict[str, object]:
        """For JSON."""
        return {"share": round(self.share, 6), "spreads": [float(f"{one:.6g}") for one in self.spreads]}

    def __str__(self) -> str:
        return f"the second counts {self.share:.0%}, by {self.texts:,} texts without labels"


class FusedScorer(CompositeScorer):
    """The scores of two scorers, each less its none score and in units of its spread, weighted.

        s = (1 - w) (a - a0) / spread(a) + w (b - b0) / spread(b)

    So 0 stands for none of these. The temperature is the one at which a difference counts as both would have it
    count: 1 / T = (1 - w) spread(a) / T(a) + w spread(b) / T(b).

    first    a labeller that is not calibrated
    second   another scorer, with the same labels
    weights  how much each counts
    """

    name = "fused"

    def __init__(self, first: Labeller, second: Beside, weights: FusionWeights) -> None:
        super().__init__(first.scorer)
        self.labels, self.second, self.weights = first.own, second, weights
        self.one_scale = self.one_scale and second.scorer.one_scale
        self.reads_others = self.reads_others or second.scorer.reads_others
        self.rows = min(self.rows, second.scorer.rows)
        self._none = first.calibration.none_score, second.scorer.calibration.none_score
        steepness = [
            part * spread / own.temperature
            for part, spread, own in zip(
                self._parts, weights.spreads, (first.calibration, second.scorer.calibration), strict=True
            )
        ]
        self.calibration = Calibration(1 / sum(steepness), 0.0, origin=f"of two scorers: {weights}")

    @property
    def _parts(self) -> tuple[float, float]:
        return 1 - self.weights.share, self.weights.share

    @property
    def settings(self) -> dict[str, object]:
        """What else decides the scores, for the record of a run."""
        own = {"scorer": self.first.name, **self.weights.record, "second": self.second.record}
        return self.first.settings | {"fused": own}

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, ReadCounts]:
        """Fused scores (n, L) float64; of a row with labels of its own, -inf for others."""
        must_be_fitted_to(request, self.labels, OPTION, lists=True)
        scores, reading = self.first.score(request)
        others, read = self.second.score(request.texts, absolute=request.absolute, lists=request.lists)
        fused = np.full(scores.shape, -np.inf)
        wanted = request.wanted
        both = zip((scores, others), self._none, self.weights.spreads, self._parts, strict=True)
        fused[wanted] = sum(part * (own[wanted] - none) / spread for own, none, spread, part in both)
        cut = reading.truncated | read.truncated
        return fused, ReadCounts(reading.tokens, reading.windows, cut)


def fit_fusion(
    labeller: Labeller, second: Beside, texts: Sequence[str], tell: Callable[[int], None] = lambda count: None
) -> FusionWeights:
    """How much each scorer counts, found without labels.

    labeller  the first scorer's, not calibrated
    second    the other, with the same labels
    texts     such as will be labelled; those without tokens are left out
    tell      told how many texts were read

    Raises SettingError for fewer than two labels and for too few texts.
    """
    if len(labeller.own.labels) < 2:
        raise SettingError(f"{OPTION} weighs two scorers by how they tell labels apart, and there is one label")
    absolute, parts = labeller.choice.absolute, list[tuple[np.ndarray, np.ndarray]]()
    for start in range(0, len(texts), labeller.rows):
        part = texts[start : start + labeller.rows]
        try:
            scores, reading = labeller.scorer.score(
                ScoreRequest(part, labeller.own.labels, labeller.template, absolute)
            )
            others, _ = second.score(part, absolute=absolute)
        except NotFiniteError as error:
            raise error.after(start) from None
        kept = reading.tokens > 0
        parts.append((scores[kept], others[kept]))
        tell(len(part))
    if (count := sum(len(scores) for scores, _ in parts)) < FEWEST:
        raise SettingError(
            f"{OPTION} finds its weights on texts, and {count:,} with words are too few; give {FEWEST} at least"
        )
    first, other = (np.concatenate(column) for column in zip(*parts, strict=True))
    return FusionWeights(share=second_share(first, other), spreads=(spread(first), spread(other)), texts=count)


def spread(scores: np.ndarray) -> float:
    """How far the labels of a text lie apart (n, L), by the root of the mean variance."""
    return float(np.sqrt(scores.var(axis=1).mean())) or 1.0


def second_share(first: np.ndarray, second: np.ndarray) -> float:
    """How much the second counts, from 1/4 to 3/4, by the scores (n, L) of both.

    Each text's scores are standardised by each scorer, and mixed in every proportion; the mixture, brought to the
    same spread, makes probabilities p. The best proportion is that whose labels tell most about the texts: the
    mutual information H(mean p) - mean H(p), which is high where texts have one clear label each and not all the
    same one. What is returned lies half way between it and equal parts: on eight sets that chose this rule,
    the proportion alone was as good on average and worse at worst.

    Source: the criterion is that of Bridle, Heading and MacKay 1992, Advances in NIPS 4, 1096-1101, for networks
    that learn without labels.

    >>> clear = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    >>> one_for_all = np.array([[1.0, 0.5, 0.0], [1.0, 0.4, 0.0], [1.0, 0.6, 0.0]])
    >>> second_share(clear, one_for_all), second_share(one_for_all, clear)
    (0.25, 0.75)
    """
    standard = [_standardised(scores) for scores in (first, second)]
    told = [_information((1 - share) * standard[0] + share * standard[1]) for share in PROPORTIONS]
    return float((PROPORTIONS[int(np.argmax(told))] + 0.5) / 2)


def _standardised(scores: np.ndarray) -> np.ndarray:
    """Each text's scores with mean 0 and variance 1; 0 where all are the same."""
    middle: np.ndarray = scores - scores.mean(1, keepdims=True)
    standard: np.ndarray = middle / np.maximum(scores.std(1, keepdims=True), np.finfo(float).tiny)
    return standard


def _information(mixed: np.ndarray) -> float:
    """The mutual information of texts and labels, in nats."""
    shares = SHARP.softmax(mixed / spread(mixed))
    return float(_entropy(shares.mean(0)) - _entropy(shares).mean())


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Of each row, in nats."""
    inside: np.ndarray = -(shares * np.log(np.maximum(shares, np.finfo(float).tiny))).sum(-1)
    return inside
