"""Label sets hold the right label as often as is stated: on simulated texts, since real ones have one answer."""

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.zeroshot.calibrating.conformal import LabelSets, none_score_at
from sijo.zeroshot.calibration import Calibration


def drawn(chance, texts):
    """Probabilities (n, 5) that are too sure, and right labels."""
    scores = chance.normal(0, 1, size=(texts, 5))
    true = Calibration(1.0, 0.0, "").softmax(scores)
    gold = (true.cumsum(1) > chance.random((texts, 1))).argmax(1)
    return Calibration(0.4, 0.0, "").softmax(scores), gold


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.3])
def test_coverage_over_a_hundred_splits(risk):
    # kills: a rank one off the other way, n in place of n + 1 the wrong way round, a mean taken for a promise
    chance = np.random.default_rng(1)
    held, wrong = [], []
    for _ in range(100):
        chances, gold = drawn(chance, 1_400)
        sets = LabelSets.fit(chances[np.arange(400), gold[:400]].tolist(), risk)
        inside, right = sets.holds(chances[400:]), gold[400:]
        held.append(inside[np.arange(1_000), right].mean())
        answered = inside.sum(1) == 1
        wrong.append((answered & (inside.argmax(1) != right)).mean())
    assert np.mean(held) == pytest.approx(1 - risk, abs=0.01)
    assert np.mean(wrong) <= risk


def test_the_smallest_sample_that_can_state_a_risk():
    # kills: an index beyond the sample, and a risk stated from nothing
    assert LabelSets.fit([0.1] + [0.9] * 18, 0.05).least == 0.1  # the 19th of 19
    with pytest.raises(SettingError, match=r"needs at least 19 labelled texts kept apart, and there are 18"):
        LabelSets.fit([0.9] * 18, 0.05)
    for risk in (0.0, 1.0, -0.1, 5.0, float("nan")):
        with pytest.raises(SettingError, match="is no share of texts"):
            LabelSets.fit([0.9] * 100, risk)


@pytest.mark.parametrize("risk", [0.02, 0.1])
def test_texts_in_scope_that_are_given_up(risk):
    # kills: a rank from the wrong end, one too many
    chance = np.random.default_rng(2)
    lost = []
    for _ in range(200):
        best = chance.gamma(2, size=1_200)
        lost.append((best[200:] < none_score_at(best[:200], risk)).mean())
    assert risk - 0.008 < np.mean(lost) <= risk + 0.001  # at most (n + 1) risk rounded down, of n + 1
    with pytest.raises(SettingError, match=r"none_risk=0.02 needs at least 49 texts in scope, and there are 48"):
        none_score_at(np.arange(48.0), 0.02)
