"""Labels worded by their language, and with examples, under a calibration that was fitted to them."""

from dataclasses import replace

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.zeroshot.calibrating.fitting import fit_calibration
from sijo.zeroshot.calibrating.samples import Sample
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import Label, LabelSet
from sijo.zeroshot.scorers.open import open_scorer

CLOSE = 1e-12
"""A product of matrices of other shapes may round otherwise."""
pytestmark = pytest.mark.filterwarnings("ignore:.*unknown to the model")
TEXTS = ["the tide came in", "the sun came out", "금리가 올랐다"]


@pytest.fixture(scope="module")
def scorer():
    return open_scorer("embedding", None)


def test_a_calibration_knows_a_label_by_its_examples_too(scorer):
    # kills: a shift that was fitted to one prototype taken for another's
    label, other = Label("sea", examples=("the tide came in",)), Label("sun")
    fitted = fit_calibration(Labeller(scorer, LabelChoice(), LabelSet.of([label, other])), TEXTS, "contextual")
    assert fitted.adjustment([other, label], scorer.template).shift.shape == (2,)
    for changed in (Label("sea"), replace(label, examples=("we sailed on",)), replace(label, template="On {}.")):
        with pytest.raises(SettingError, match="'sea' has other words there"):
            fitted.adjustment([changed, other], scorer.template)


def test_two_wordings_of_a_korean_label_are_two(scorer):
    # kills: the label's own template kept under the second wording, which then agrees with the first always, a
    # prototype lost on the way, or kept where the name is to stand alone
    labels = LabelSet.of({"경제": {"examples": ["금리가 올랐다"]}, "sun": ()})
    labeller = Labeller(scorer, LabelChoice(), labels)
    sample = Sample.of(labeller, TEXTS)
    first, [second, third] = sample.scores, sample.others
    raw = np.concatenate([scores for scores, _ in labeller.scored(TEXTS)])
    assert np.allclose(first, raw, rtol=0, atol=CLOSE)
    bare = Labeller(scorer, LabelChoice(template="{}"), labels)
    bare_scores = np.concatenate([scores for scores, _ in bare.scored(TEXTS)])
    np.testing.assert_allclose(second, bare_scores, rtol=0, atol=CLOSE)
    assert (np.abs(first - second) > 1e-3).any(0).all()
    names = Labeller(scorer, LabelChoice(), LabelSet.of(["경제", "sun"]))
    np.testing.assert_allclose(third, np.concatenate([s for s, _ in names.scored(TEXTS)]), rtol=0, atol=CLOSE)
    assert len(Sample.of(names, TEXTS).others) == 1


def test_the_template_alone_is_that_of_the_labels(scorer):
    # kills: Korean labels held against the English template's words; particles in two forms read as words
    both = LabelSet.of(["경제", "sun"])
    with pytest.raises(SettingError, match="these stand in several"):
        fit_calibration(Labeller(scorer, LabelChoice(), both), TEXTS, "dcpmi")
    korean = fit_calibration(Labeller(scorer, LabelChoice(), LabelSet.of(["경제", "건강"])), TEXTS, "dcpmi")
    given = LabelChoice(template="이 글은 {}{을/를} 다룬다.")
    same = fit_calibration(Labeller(scorer, given, LabelSet.of(["경제", "건강"])), TEXTS, "dcpmi")
    np.testing.assert_allclose(korean.adjusted.shift, same.adjusted.shift, rtol=0, atol=CLOSE)
