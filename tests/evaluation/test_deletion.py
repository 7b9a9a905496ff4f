"""The deletion curve, beside plain numbers."""

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.evaluation.deletion import deletion_curve

WEIGHTS = [[5.0, 1.0, 0.0, 0.0, 2.0], [1.0] * 10, [4.0], [], [0.0, 7.0]]


def falls(removals):
    return [sum(WEIGHTS[removal.text][word] for word in removal.words) for removal in removals]


def test_the_curve_takes_away_what_was_named():
    # kills: the weakest words taken for the strongest, shares rounded to nothing, texts of one word counted, one
    # text's removals laid to another
    points = deletion_curve(WEIGHTS, falls, shares=(0.1, 0.4, 1.0), draws=400)
    assert [point.share for point in points] == [0.1, 0.4, 1.0]
    assert points[0].named.value == pytest.approx((5 + 1 + 7) / 3)
    assert points[1].named.value == pytest.approx((7 + 4 + 7) / 3)
    assert points[0].random.value == pytest.approx((8 / 5 + 1 + 3.5) / 3, abs=0.2)
    assert points[2].named.value == points[2].random.value == pytest.approx((8 + 10 + 7) / 3)
    assert points[0].gap.value == pytest.approx(points[0].named.value - points[0].random.value)
    assert points[2].gap.low == points[2].gap.high == 0 and points[0].gap.low <= points[0].gap.value


def test_effects_that_say_nothing_gain_nothing():
    # kills: a random choice that may never hit the words that count, named and random falls of different texts
    random = np.random.default_rng(0)
    truth = random.gamma(1.0, size=(300, 12))
    told = random.normal(size=truth.shape)
    [point] = deletion_curve(told, lambda r: [truth[one.text, list(one.words)].sum() for one in r], shares=[0.25])
    assert point.gap.low < 0 < point.gap.high and point.gap.high - point.gap.low < 0.6
    [point] = deletion_curve(truth, lambda r: [truth[one.text, list(one.words)].sum() for one in r], shares=[0.25])
    assert point.gap.low > 2


def test_what_cannot_be_measured_is_refused():
    # kills: a mean of nothing
    with pytest.raises(SettingError, match="two words"):
        deletion_curve([[1.0], []], falls)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(SettingError, match="shares"):
            deletion_curve(WEIGHTS, falls, shares=[share])
