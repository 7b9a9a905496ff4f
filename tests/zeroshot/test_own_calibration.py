"""What the cosines of an encoder mean, told by its own folder."""

import json

import numpy as np
import pytest

import sijo
from sijo.checkpoints.conversion.convert import convert
from sijo.errors import CheckpointError, SettingError
from sijo.files.manifest import write_manifest
from sijo.zeroshot.calibrating.fitting import fit_calibration
from sijo.zeroshot.calibration import MINILM, OWN, Calibration, own_calibration, write_calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import open_scorer

NUMBERS = Calibration(temperature=0.005, none_score=0.98, origin="which spread the tiny model's scores")


def classifier(model, **settings):
    return sijo.ZeroShotClassifier(["sea", "bank"], model, hypothesis_template="it is {}", **settings)


def test_a_model_s_own_numbers_are_used(tiny_copy):
    # kills: a file that is not looked at, a none score that is left, opened models that have others than folders
    assert own_calibration(tiny_copy) is None and own_calibration(None) is None
    assert classifier(tiny_copy).used_calibration == MINILM
    write_calibration(tiny_copy, NUMBERS)
    write_manifest(tiny_copy)
    for model in (tiny_copy, sijo.load(tiny_copy)):
        own = classifier(model, none_label="other")
        assert own.used_calibration == NUMBERS
        told = classifier(model, none_label="other", temperature=0.005, none_threshold=0.98)
        assert np.array_equal(own.predict_proba(["the sea"]), told.predict_proba(["the sea"]))
    convert(tiny_copy, tiny_copy.with_name("converted"))
    assert own_calibration(tiny_copy.with_name("converted")) == NUMBERS
    assert classifier(tiny_copy, temperature=0.5).used_calibration.temperature == 0.5


WHOLE = {"temperature": 0.05, "none_score": 0.8, "origin": "four numbers", "error_scale": 1.2, "error_power": 0.5}


@pytest.mark.parametrize(
    "content, words",
    [
        (WHOLE | {"temperature": 0.0}, "must be above 0"),
        (WHOLE | {"temperature": -1.0}, "must be above 0"),
        (WHOLE | {"temperature": 1e-320}, "too near to 0"),
        (WHOLE | {"temperature": 101.0}, "at most 100"),
        (WHOLE | {"none_score": 1.5}, "at most 1"),
        (WHOLE | {"error_scale": 0.0}, "above 0, and 10 at most"),
        (WHOLE | {"error_scale": 11.0}, "above 0, and 10 at most"),
        (WHOLE | {"error_power": 1.5}, "above 0, and 1 at most"),
        (WHOLE | {"none_score": "0.8"}, "numbers is none"),
        (WHOLE | {"temperature": True}, "numbers is none"),
        (WHOLE | {"temperature": 10**400}, "too large|at most|not finite|long"),
        (WHOLE | {"origin": ""}, "0 characters"),
        (WHOLE | {"origin": "x" * 3_000}, "3,000 characters"),
        (WHOLE | {"scorer": "embedding"}, "other things"),
        ({name: WHOLE[name] for name in ("temperature", "origin")}, "other things"),
        ([0.05, 0.8], "JSON object"),
        ('{"temperature": NaN, "none_score": 0.8, "origin": "x"}', "not finite"),
        ('{"temperature": 1e999, "none_score": 0.8, "origin": "x"}', "not finite"),
        ('{"temperature": 0.05', "not whole JSON"),
        (" " * 16_000_001, "longer than"),
    ],
)
def test_a_bad_file_is_named(tiny_copy, content, words):
    # kills: answers that are NaN, or all alike, by numbers that nobody fitted
    (tiny_copy / OWN).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError, match=words) as refused:
        classifier(tiny_copy).predict(["the sea"])
    assert OWN in str(refused.value)


def test_wordings_that_agree_leave_as_many_errors_as_the_model_says():
    # kills: confidence of an encoder that reads two sentences alike and is wrong all the same
    scorer = open_scorer("embedding", "all-minilm-l6-v2")
    words = (
        "football",
        "tennis",
        "rain",
        "sunshine",
        "an umbrella",
        "a field",
        "a cup",
        "the wind",
        "skiing",
        "Monday",
    )
    texts = [f"{word} {more}" for word in words for more in ("today", "again", "news", "at last", "in town")] * 2
    temperatures = []
    for scale, power in ((2.0, 1.0), (1.0, 0.25)):
        scorer.calibration = Calibration(0.06, 0.2, "by hand", scale, power)
        labeller = Labeller(scorer, LabelChoice(), LabelSet.of(["sport", "weather"]))
        temperatures.append(fit_calibration(labeller, texts, "batch").numbers.temperature)
    assert temperatures[1] > 1.5 * temperatures[0]


def test_whole_numbers_and_the_usual_errors_need_no_more_words(tmp_path):
    # kills: a file that sijo itself wrote, of 1 and 0, and does not read
    write_calibration(tmp_path, Calibration(1, 0, "by hand"))
    assert own_calibration(tmp_path) == Calibration(1.0, 0.0, "by hand")
    (tmp_path / OWN).write_text('{"temperature": 0.05, "none_score": 0, "origin": "three"}')
    assert own_calibration(tmp_path) == Calibration(0.05, 0.0, "three")


def test_what_would_not_be_read_is_not_written(tmp_path):
    # kills: a folder that cannot be opened any more
    for numbers in (Calibration(200.0, 0.5, "x"), Calibration(0.05, 1.5, "x"), Calibration(0.05, 0.5, "")):
        with pytest.raises(SettingError):
            write_calibration(tmp_path, numbers)
    assert list(tmp_path.iterdir()) == []
