"""The background that a model carries: one text alone can be centred, whatever the labels."""

import numpy as np
import pytest

import sijo
from conftest import WORDS
from sijo.errors import CheckpointError, SettingError
from sijo.files.manifest import write_manifest
from sijo.inference.outputs import unit
from sijo.zeroshot.calibrating.background import TEXTS, VECTORS, write_background
from sijo.zeroshot.calibrating.label_free import balanced
from sijo.zeroshot.calibration import Calibration

CHANCE = np.random.default_rng(0)
SAMPLE = [" ".join(CHANCE.choice(WORDS, size=6)) for _ in range(64)]


NUMBERS = Calibration(temperature=0.005, none_score=0.98, origin="which spread the tiny model's scores")


def classifier(folder, labels=("sea", "bank"), **settings):
    how = {"calibrate": "batch", "temperature": NUMBERS.temperature, "hypothesis_template": "it is {}"}
    return sijo.ZeroShotClassifier(list(labels), folder, **(how | settings))


@pytest.fixture
def carrying(tiny_copy):
    write_background(tiny_copy, sijo.encode(tiny_copy, SAMPLE))
    write_manifest(tiny_copy)
    return tiny_copy


def test_one_text_alone_is_calibrated(carrying):
    # kills: another batch's means, labels of the first call kept for the next, eight bits read with a wrong scale
    for labels in (["sea", "bank"], ["oil", "tax", "rain"]):
        phrases = [f"it is {label}" for label in labels]
        cosines = (
            unit(sijo.encode(carrying, [*SAMPLE, "the old sea"]).astype(float))
            @ unit(sijo.encode(carrying, phrases).astype(float)).T
        )
        want = NUMBERS.softmax(balanced(cosines[:-1], NUMBERS).apply(cosines[-1:]))
        got = classifier(carrying, labels).predict_proba(["the old sea"])
        np.testing.assert_allclose(got, want, atol=0.02)
        assert (
            np.abs(got - classifier(carrying, labels, calibrate="none").predict_proba(["the old sea"])).max() > 0.05
        )


def test_each_row_is_calibrated_for_its_own_labels(carrying):
    # kills: one adjustment for the union of all rows' labels
    sets = [["sea", "bank"], ["rain", "oil", "tax"]]
    clf = classifier(carrying)
    rows = clf.set_params(labels=None).classify(["the sea", "the tax"], sets)
    for text, labels, row in zip(["the sea", "the tax"], sets, rows, strict=True):
        [want] = classifier(carrying, labels).classify([text])
        assert row.labels == want.labels and row.scores == pytest.approx(want.scores, abs=1e-5)


def test_texts_serve_where_vectors_do_not(tiny_copy):
    # kills: vectors read with one prompt and used with another; a background of texts that is never looked at
    write_background(tiny_copy, sijo.encode(tiny_copy, SAMPLE))
    with pytest.raises(SettingError, match="carries no background"):
        classifier(tiny_copy, prompt="query: ").predict(["the sea"])
    (tiny_copy / TEXTS).write_text("\n".join(SAMPLE))
    by_texts = classifier(tiny_copy, prompt="query: ").predict_proba(["the sea"])
    fitted = classifier(tiny_copy, prompt="query: ").fit(SAMPLE)
    np.testing.assert_allclose(by_texts, fitted.predict_proba(["the sea"]), atol=1e-6)


def test_a_background_of_another_model_is_refused(tiny_copy):
    # kills: a product of widths that happen to fit, scales that are no numbers
    file = write_background(tiny_copy, CHANCE.normal(size=(40, 8)))
    with pytest.raises(CheckpointError, match=r"does not hold vectors \(B, 16\)"):
        classifier(tiny_copy).predict(["the sea"])
    write_background(tiny_copy, CHANCE.normal(size=(40, 16)))
    content = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    content[begin : begin + 4] = b"\x00\x00\xc0\x7f"  # the first scale, which stands before the vectors
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="a scale that is NaN"):
        classifier(tiny_copy).predict(["the sea"])
    file.write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        classifier(tiny_copy).predict(["the sea"])
    with pytest.raises(SettingError, match="zero or not finite"):
        write_background(tiny_copy, np.zeros((2, 16)))
    assert [path.name for path in tiny_copy.glob("*background*")] == [VECTORS]


def test_a_few_texts_are_no_background(tiny_copy):
    write_background(tiny_copy, CHANCE.normal(size=(31, 16)))
    with pytest.raises(SettingError, match="at least 32 texts and has 31"):
        classifier(tiny_copy).predict(["the sea"])
