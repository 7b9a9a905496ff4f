"""Log-odds beside the probabilities that they are of."""

import math

import numpy as np
import pytest

from sijo.zeroshot.calibration import Calibration

NUMBERS = Calibration(temperature=0.25, none_score=0.4, origin="by hand")


def test_log_odds_are_those_of_the_probabilities():
    # kills: the best label among its own rivals, another temperature, the none score left out
    scores = np.random.default_rng(0).normal(size=(20, 5))
    for odds, shares in (
        (NUMBERS.log_odds(scores), NUMBERS.softmax(scores)),
        (NUMBERS.log_odds_with_none(scores), NUMBERS.with_none(scores)),
        (NUMBERS.log_odds_of_each(scores), NUMBERS.each(scores)),
    ):
        np.testing.assert_allclose(odds, np.log(shares) - np.log1p(-shares), atol=1e-9)


def test_log_odds_are_exact_where_probabilities_are_rounded():
    # kills: 1 - p computed from a p that is 1
    scores = np.array([[300.0, 1.0, 1.0, -300.0], [5.0, 5.0, -900.0, 4.0]])
    for row, odds in zip(scores / 0.25, NUMBERS.log_odds(scores), strict=True):
        for place, value in enumerate(row):
            others = [other for i, other in enumerate(row) if i != place]
            most = max(others)
            assert odds[place] == pytest.approx(
                value - most - math.log(sum(math.exp(x - most) for x in others)), abs=1e-9
            )
