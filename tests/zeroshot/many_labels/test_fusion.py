"""Two scorers are added in units of their own, and the one that tells texts apart counts more."""

import math

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.composing import FittedManyLabels, _fused
from sijo.zeroshot.many_labels.composite import Beside
from sijo.zeroshot.many_labels.fusion import FusedScorer, FusionWeights, fit_fusion, second_share
from told_scorers import ToldScorer

NAMES = ["sea", "land", "rain", "sun"]
TEXTS = [str(number) for number in range(200)]


def pair(first, second, **choice):
    """A labeller by one table, and another scorer."""
    labels = LabelSet.of(NAMES)
    labeller = Labeller(ToldScorer(first, NAMES), LabelChoice(**choice), labels)
    return labeller, Beside(scorer=ToldScorer(second, NAMES), labels=labels.labels, template=labeller.template)


def tables(seed=0, weak=3.0):
    """Right labels, scores that know them, and scores on another scale that know them less and prefer a label."""
    random = np.random.default_rng(seed)
    gold = random.integers(4, size=200)
    right = np.eye(4)[gold]
    strong = 0.1 * right + random.normal(0, 0.04, size=right.shape)
    other = 40 * (right + random.normal(0, weak, size=right.shape)) + np.array([90, 0, 0, 0])
    return gold, strong, other


def information(first, second, share):
    """Mutual information of the mixture again, in plain numbers."""

    def standard(row):
        mean = math.fsum(row) / len(row)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in row) / len(row))
        return [(value - mean) / spread for value in row]

    rows = [
        [(1 - share) * a + share * b for a, b in zip(standard(one), standard(two), strict=True)]
        for one, two in zip(first.tolist(), second.tolist(), strict=True)
    ]
    variance = math.fsum(value**2 for row in rows for value in row) / (len(rows) * len(rows[0]))
    chances = []
    for row in rows:
        raised = [math.exp(value / math.sqrt(variance) / 0.4) for value in row]
        chances.append([value / math.fsum(raised) for value in raised])
    mean = [math.fsum(column) / len(rows) for column in zip(*chances, strict=True)]

    def entropy(shares):
        return -math.fsum(value * math.log(value) for value in shares if value)

    return entropy(mean) - math.fsum(map(entropy, chances)) / len(rows)


def test_the_share_is_half_way_to_what_tells_most():
    # kills: the entropies the wrong way round, mixtures compared at unlike spreads, the first's share taken for
    # the second's
    _, strong, other = tables()
    for first, second in ((strong, other), (other, strong), (strong, strong[::-1] + strong)):
        best = max(np.linspace(0, 1, 21), key=lambda share: information(first, second, share))
        assert second_share(first, second) == pytest.approx((best + 0.5) / 2, abs=1e-12)
    assert second_share(strong, other) < 0.5 < second_share(other, strong)
    assert second_share(strong, np.zeros_like(strong)) == 0.25  # one that says nothing


def test_scores_are_added_in_units_of_their_spreads():
    # kills: spreads multiplied, weights exchanged, none scores forgotten, the temperature of one alone
    _, strong, other = tables()
    labeller, beside = pair(strong, other)
    weights = FusionWeights(share=0.25, spreads=(0.05, 60.0), texts=200)
    fused = FusedScorer(labeller, beside, weights)
    none = labeller.calibration.none_score, beside.scorer.calibration.none_score
    both = Labeller(fused, labeller.choice, labeller.labels)
    rows = list(both.stream(TEXTS))
    want = 0.75 * (strong - none[0]) / 0.05 + 0.25 * (other - none[1]) / 60
    own = labeller.calibration.temperature, beside.scorer.calibration.temperature
    steep = 0.75 * 0.05 / own[0] + 0.25 * 60 / own[1]
    assert both.calibration.temperature == pytest.approx(1 / steep)
    assert both.calibration.none_score == 0.0
    for row, scores in zip(rows, want, strict=True):
        raised = np.exp((scores - scores.max()) * steep)
        chances = dict(zip(NAMES, raised / raised.sum(), strict=True))
        assert dict(zip(row.labels, row.scores, strict=True)) == pytest.approx(chances, abs=1e-9)


def test_fused_scores_are_right_more_often_than_either():
    # kills: a fusion that is one of the two under another name, labels in another order for the second
    gold, strong, other = tables(weak=0.6)
    other = other - np.array([90, 0, 0, 0])
    labeller, beside = pair(strong + np.random.default_rng(4).normal(0, 0.05, strong.shape), other)
    weights = fit_fusion(labeller, beside, TEXTS)
    fused = Labeller(FusedScorer(labeller, beside, weights), labeller.choice, labeller.labels)
    right = [
        np.mean([row.label == NAMES[place] for row, place in zip(one.stream(TEXTS), gold, strict=True)])
        for one in (labeller, Labeller(beside.scorer, LabelChoice(), labeller.labels), fused)
    ]
    assert right[2] > max(right[:2])
    assert weights.spreads == pytest.approx(
        (math.sqrt(labeller.scorer.table.var(1).mean()), math.sqrt(other.var(1).mean()))
    )


def test_each_by_itself_goes_by_both():
    # kills: scores of labels that compete where they are judged by themselves
    _, strong, other = tables()
    labeller, beside = pair(strong, other, multi_label=True)
    scorer = FusedScorer(labeller, beside, FusionWeights(share=0.5, spreads=(0.05, 60.0), texts=200))
    both = Labeller(scorer, labeller.choice, labeller.labels)
    none = labeller.calibration.none_score, beside.scorer.calibration.none_score
    want = 0.5 * (strong - none[0]) / 0.05 + 0.5 * (other - none[1]) / 60 >= 0
    for row, fits in zip(both.stream(TEXTS), want, strict=True):
        assert set(row.fitting) == {name for name, fit in zip(NAMES, fits, strict=True) if fit}


def test_numbers_that_are_given_count_once_and_fitted_ones_are_of_both():
    # kills: a cosine's temperature and none threshold on scores in units of spread, a fitted temperature forgotten
    _, strong, other = tables()
    given = {"temperature": 0.02, "none_label": "none", "none_threshold": 0.08}
    labeller, beside = pair(strong, other, **given)
    weights = FusionWeights(share=0.25, spreads=(0.05, 60.0), texts=200)
    fitted = FittedManyLabels(labels=labeller.own, weights=weights)
    second = beside.scorer.calibration
    steep = 0.75 * 0.05 / 0.02 + 0.25 * 60 / second.temperature
    both = _fused(labeller, beside, fitted)
    want = 0.75 * (strong - 0.08) / 0.05 + 0.25 * (other - second.none_score) / 60
    logits = np.c_[want, np.zeros(len(want))] * steep
    raised = np.exp(logits - logits.max(1, keepdims=True))
    chances = np.concatenate([part for part, _ in both.judged(TEXTS)])
    assert chances == pytest.approx(raised / raised.sum(1, keepdims=True), abs=1e-9)
    plain, beside = pair(strong, other)
    own = Calibration(0.7, 0.2, origin="fit on some")
    both = _fused(Labeller(plain.scorer, plain.choice, plain.labels, own), beside, fitted)
    scores = np.concatenate([part for part, _ in both.scored(TEXTS)])
    none = plain.calibration.none_score
    assert scores == pytest.approx(0.75 * (strong - none) / 0.05 + 0.25 * (other - second.none_score) / 60)
    assert both.calibration == own


def test_too_few_texts_and_one_label():
    # kills: weights from nothing, texts without words that count
    _, strong, other = tables()
    labeller, beside = pair(strong, other)
    for texts in ([], TEXTS[:31], [*TEXTS[:31], "", ""]):
        with pytest.raises(SettingError, match="are too few; give 32 at least"):
            fit_fusion(labeller, beside, texts)
    assert fit_fusion(labeller, beside, TEXTS[:32]).texts == 32
    alone = Labeller(labeller.scorer, LabelChoice(multi_label=True), LabelSet.of(["sea"]))
    with pytest.raises(SettingError, match="there is one label"):
        fit_fusion(alone, beside, TEXTS)
