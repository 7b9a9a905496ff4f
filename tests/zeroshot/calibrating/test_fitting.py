"""Calibrations that are fitted: on what, for what, how they are frozen and kept, and what is refused."""

import json
import pickle
import warnings

import numpy as np
import pytest

import sijo
from conftest import WORDS
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError, SijoWarning
from sijo.zeroshot.calibrating.fitting import automatic_method
from sijo.zeroshot.calibrating.frozen import FrozenCalibration, open_calibration
from sijo.zeroshot.calibrating.label_free import balanced
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.scorers.open import scorer_class
from sijo.zeroshot.scorers.registry import SCORERS

LABELS = ["sea", "bank", "game"]
CHANCE = np.random.default_rng(0)
TEXTS = [" ".join(CHANCE.choice(WORDS, size=CHANCE.integers(1, 9))) for _ in range(80)]
GOLD = [LABELS[place] for place in CHANCE.integers(3, size=80)]
METHODS = ("refine", "batch", "standardize", "prior", "contextual", "dcpmi")


@pytest.fixture(scope="module")
def model(tiny_model):
    return sijo.load(tiny_model)


@pytest.fixture
def make(model):
    def make(labels=LABELS, model=model, **settings):
        settings = {"hypothesis_template": "it is {}", **settings}
        return sijo.ZeroShotClassifier(labels, model, **settings)

    return make


def numbers(clf):
    return clf.used_calibration.temperature, clf.used_calibration.none_score


@pytest.mark.parametrize("how", [{}, {"none_label": "other"}, {"multi_label": True}])
@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_its_neighbours(make, method, how):
    # kills: an adjustment fitted to the batch that is answered
    if method == "refine" and "multi_label" in how:
        method = "batch"  # labels that do not share the texts
    how = {**how, "temperature": 0.01, "none_threshold": 0.985}
    clf = make(calibrate=method, **how).fit(TEXTS)
    together = clf.predict_proba(TEXTS[:6])
    alone = np.concatenate([clf.predict_proba([text]) for text in TEXTS[:6]])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together - make(**how).predict_proba(TEXTS[:6])).max() > 1e-3


def test_batch_is_the_equation(make):
    # kills: another template, an adjustment after the softmax, a temperature fitted before it
    clf = make(calibrate="batch").fit(TEXTS)
    raw = next(sijo.ZeroShotClassifier._labeller(make()).scored(TEXTS))[0]
    own = make().used_calibration
    want = Calibration(clf.used_calibration.temperature, 0.0, "").softmax(balanced(raw, own).apply(raw))
    np.testing.assert_allclose(clf.predict_proba(TEXTS), want, atol=1e-9)
    assert clf.used_calibration.none_score == own.none_score
    assert clf.used_calibration.temperature != own.temperature


@pytest.mark.parametrize("method", METHODS)
def test_labels_may_change_places_or_be_left_out_but_not_be_new(make, method, tmp_path):
    # kills: numbers kept by column; a label of another calibration taken for one of this
    make(calibrate=method).fit(TEXTS).save_calibration(tmp_path / "c.json")
    base = make(calibration=tmp_path / "c.json").predict_proba(TEXTS)
    swapped = make(["game", "sea", "bank"], calibration=tmp_path / "c.json")
    np.testing.assert_allclose(swapped.predict_proba(TEXTS), base[:, [2, 0, 1]], atol=1e-9)
    fewer = make(LABELS[:2], calibration=tmp_path / "c.json").predict_proba(TEXTS)
    np.testing.assert_allclose(fewer[:, 0] / fewer[:, 1], base[:, 0] / base[:, 1], rtol=1e-6)
    with pytest.raises(SettingError, match=r"fitted to 3 labels, and 'rain' is none of them.* fit it again"):
        make([*LABELS, "rain"], calibration=tmp_path / "c.json").predict(TEXTS)
    with pytest.raises(SettingError, match="'sea' has other words there"):
        make({"sea": "water", "bank": ()}, calibration=tmp_path / "c.json").predict(TEXTS)


def test_a_file_gives_back_every_bit(make, tmp_path):
    # kills: numbers written with six digits
    clf = make(calibrate="standardize", calibration=tmp_path / "c.json").fit(TEXTS, GOLD)
    again = make(sorted(LABELS), calibration=tmp_path / "c.json")
    assert np.array_equal(clf.predict_proba(TEXTS), again.predict_proba(TEXTS))
    assert open_calibration(tmp_path / "c.json").to_dict() == clf.frozen_.to_dict()
    kept = (tmp_path / "c.json").read_bytes()
    make(sorted(LABELS), calibrate="standardize", calibration=tmp_path / "c.json").fit(TEXTS[:40], GOLD[:40])
    assert (tmp_path / "c.json").read_bytes() == kept  # what is there is used, not fitted again
    packed = pickle.loads(pickle.dumps(clf.frozen_))
    assert packed.fingerprint == clf.frozen_.fingerprint


def test_other_models_templates_and_choices_are_refused(make, tiny_copy, tmp_path):
    # kills: a calibration of one model used by another, which would answer with certainty
    file = tmp_path / "c.json"
    make(calibrate="batch", calibration=file).fit(TEXTS)
    config = tiny_copy / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    for settings, words in (
        ({"hypothesis_template": "{}"}, r'template: "it is \{\}", and now it is "\{\}"'),
        ({"none_label": "other"}, 'choice: "one label", and now it is "one label or none"'),
        ({"multi_label": True}, 'choice: "one label", and now it is "each by itself"'),
        ({"prompt": "query: "}, "prompt: "),
        ({"model": tiny_copy}, "model: "),
    ):
        with pytest.raises(SettingError, match=words):
            make(calibration=file, **settings).predict(TEXTS)
    with pytest.raises(SettingError, match="was fitted by batch, and prior is asked for"):
        make(calibrate="prior", calibration=file).predict(TEXTS)
    clf = make(calibrate="batch").fit(TEXTS).set_params(none_label="other")
    with pytest.raises(SettingError, match="one label or none"):
        clf.predict(TEXTS)


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda fields: fields.update(format=2), RefusedError, "of format 2"),
        (lambda fields: fields.update(method="centre"), CheckpointError, "no method 'centre'"),
        (lambda fields: fields.update(temperature=-1), CheckpointError, "-1 in place of a number"),
        (lambda fields: fields.update(temperature="1"), CheckpointError, "'1' in place of a number"),
        (lambda fields: fields.update(labels=[]), CheckpointError, "0 labels for the method batch"),
        (lambda fields: fields["labels"][0].pop("shift"), CheckpointError, "shift"),
        (lambda fields: fields["labels"][0].update(scale=0), CheckpointError, "0 in place of a number"),
        (lambda fields: fields["labels"].append(fields["labels"][0]), CheckpointError, "4 labels"),
        (lambda fields: fields.update(gold_probabilities=[True]), CheckpointError, "True in place of a number"),
        (lambda fields: fields.update(checksun="ab"), CheckpointError, "a field 'checksun'"),
        (lambda fields: fields.pop("identity"), SettingError, "no calibration that sijo wrote"),
    ],
)
def test_damaged_files_are_refused(make, tmp_path, change, error, words):
    file = tmp_path / "c.json"
    make(calibrate="batch", calibration=file).fit(TEXTS)
    fields = json.loads(file.read_text())
    del fields["checksum"]  # as a person does who changes one
    file.write_text(json.dumps(fields))
    assert open_calibration(file).method == "batch"
    change(fields)
    file.write_text(json.dumps(fields))
    with pytest.raises(error, match=words):
        make(calibration=file).predict(TEXTS)


@pytest.mark.parametrize("method", ["batch", "refine"])
def test_a_bit_flipped_anywhere_is_found(make, tmp_path, method):
    # kills: a digit of a shift, a letter of a prototype or of a label's sentence that a disk changed, believed
    file = tmp_path / "c.json"
    made = make(LABELS[:2], calibrate=method, calibration=file).fit(TEXTS).frozen_
    whole, found = file.read_bytes(), 0
    for place in range(0, len(whole), 1 + len(whole) // 1500):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        file.write_bytes(content)
        try:
            assert open_calibration(file).to_dict() == made.to_dict()  # a blank may become another
        except SijoError:
            found += 1
    assert found > 500
    file.write_bytes(whole.replace(b'"texts": ', b'"texts": 1'))
    with pytest.raises(CheckpointError, match="checksum is of other contents"):
        make(calibration=file).predict(TEXTS)


def test_files_that_are_none(make, tmp_path):
    (tmp_path / "x.json").write_text('{"temperature": 1e999}')
    for path, words in (("absent.json", "is not there"), (".", "is a folder"), ("x.json", "is not JSON")):
        with pytest.raises(SettingError, match=words):
            make(calibration=tmp_path / path).predict(TEXTS)
    precious = tmp_path / "x.json"
    with pytest.raises(SettingError, match="is not JSON"):
        make(calibrate="batch").fit(TEXTS).save_calibration(precious)
    assert precious.read_text() == '{"temperature": 1e999}'
    with pytest.raises(SettingError, match="there is no folder"):
        make(calibrate="batch").fit(TEXTS).save_calibration(tmp_path / "no" / "c.json")


def test_what_is_not_fitted_says_so(make):
    # kills: probabilities of a calibration that never was
    for settings, words in (
        ({"calibrate": "batch"}, r"carries no background of its own: call fit\(texts\) first"),
        ({"calibrate": "auto"}, r"call fit\(texts\) first"),
        ({"calibrate": "centre"}, "no calibration 'centre'"),
        ({"risk": 0.1}, r"call fit\(X, y\)"),
    ):
        with pytest.raises(SettingError, match=words):
            make(**settings).predict(TEXTS)
    with pytest.raises(SettingError, match="at least 32 texts and has 20"):
        make(calibrate="batch").fit(TEXTS[:20])
    with pytest.raises(SettingError, match="at least 32 texts and has 30"):
        make(calibrate="batch").fit(TEXTS[:30] + [""] * 10)  # those without words say nothing of labels
    with pytest.raises(SettingError, match=r"call fit\(texts\)"):
        make(calibrate="batch").fit()
    with pytest.raises(SettingError, match="are what calibrate='prior'"):
        make(calibrate="batch", label_shares="estimate").fit(TEXTS)
    with pytest.raises(SettingError, match="no words of its own"):
        make(calibrate="dcpmi", hypothesis_template="{}").predict(TEXTS)


def test_contextual_needs_no_texts(make):
    # kills: fit asked for where there is nothing to fit; other labels answered with the first ones' numbers
    clf = make(calibrate="contextual")
    rows = clf.classify(TEXTS[:4], [LABELS, LABELS[:2], LABELS[::-1], ["oil", "rain"]])
    for text, labels, row in zip(TEXTS, [LABELS, LABELS[:2], LABELS[::-1], ["oil", "rain"]], rows, strict=False):
        [want] = make(labels, calibrate="contextual").classify([text])
        assert row.labels == want.labels and row.scores == pytest.approx(want.scores, abs=1e-5)
    assert numbers(clf) == numbers(make())


def test_shares_are_matched(make):
    shares = {"game": 0.2, "sea": 0.5, "bank": 0.3}
    clf = make(calibrate="prior", label_shares=shares, temperature=0.05).fit(TEXTS)
    assert clf.predict_proba(TEXTS).mean(0) == pytest.approx([0.5, 0.3, 0.2], abs=2e-4)
    even = make(calibrate="prior", temperature=0.05).fit(TEXTS).predict_proba(TEXTS).mean(0)
    assert even == pytest.approx([1 / 3] * 3, abs=2e-4)
    uneven = [text for text, place in zip(TEXTS, make().predict(TEXTS), strict=True) if place != "game"] * 2
    estimated = make(calibrate="prior", label_shares="estimate", temperature=0.002).fit(uneven)
    assert np.ptp(estimated.predict_proba(uneven).mean(0)) > 0.02
    with pytest.raises(SettingError, match="label shares are given for"):
        make(calibrate="prior", label_shares={"sea": 1.0}).fit(TEXTS)
    with pytest.raises(SettingError, match=r"sum to 0\.9"):
        make(calibrate="prior", label_shares={"game": 0.2, "sea": 0.4, "bank": 0.3}).fit(TEXTS)


def test_the_rule_of_auto():
    # kills: a rule turned round, or that reads a limit the wrong way
    chance = np.random.default_rng(0)
    even = chance.random((64, 5))
    assert automatic_method(even, "labels") == "batch"
    assert automatic_method(even[:63], "labels") == automatic_method(even[:, :4], "labels") == "none"
    assert automatic_method(even, "none") == "none"
    uneven = even + [2, 0, 0, 0, 0] * (chance.random((64, 1)) < 0.7)
    assert automatic_method(uneven, "labels") == "none"
    for scores in (even, uneven, even[:, :2]):
        assert automatic_method(scores, "labels", "refine") == "refine"
        assert automatic_method(scores, "none", "refine") == "none"
    assert automatic_method(even[:63], "labels", "refine") == "none"
    assert automatic_method(even[:, :1], "labels and none", "refine") == "none"
    preferred = {name: scorer_class(name).calibrated_by for name in SCORERS}
    assert preferred == dict.fromkeys(SCORERS) | {"embedding": "refine", "cloze": "batch", "replaced": "batch"}


def test_a_few_labels_fit_the_temperature_and_keep_the_rest_apart(make):
    # kills: a temperature and a risk from the same texts
    clf = make(calibrate="batch", temperature="fit", risk=0.2).fit(TEXTS, GOLD)
    assert clf.used_calibration.origin == "fit on 40 labelled texts, calibrated by batch"
    assert len(clf.frozen_.gold_probabilities) == 40
    spoiled = [GOLD[place] if place % 2 == 0 else LABELS[place % 3] for place in range(80)]
    other = make(calibrate="batch", temperature="fit", risk=0.2).fit(TEXTS, spoiled)
    assert other.used_calibration.temperature == clf.used_calibration.temperature
    assert other.frozen_.gold_probabilities != clf.frozen_.gold_probabilities
    chances = clf.predict_proba(TEXTS)
    places = [list(clf.classes_).index(name) for name in GOLD]
    want = sorted(chances[np.arange(80), places][1::2])
    assert sorted(clf.frozen_.gold_probabilities) == pytest.approx(want, abs=1e-6)


def test_rows_that_abstain_say_so(make):
    # kills: a label given where the set has several, or a set that leaves out what reaches the threshold
    clf = make(risk=0.1, temperature=0.01).fit(TEXTS, GOLD)
    loose = clf.set_params(risk=0.9).classify(TEXTS)
    assert {len(row.fitting) for row in loose} == {0, 1}  # where none is likely enough, that is told too
    assert all(row.abstained and row.label is None for row in loose if not row.fitting)
    clf.set_params(risk=0.1)
    least = clf.frozen_.sets(0.1).least
    rows, chances = clf.classify([*TEXTS, ""]), clf.predict_proba([*TEXTS, ""])
    for row, p in zip(rows[:-1], chances, strict=False):
        want = {label for label, x in zip(clf.classes_, p, strict=True) if x >= least}
        assert set(row.fitting) == want and row.abstained == (len(want) != 1)
        assert row.label == (None if row.abstained else row.fitting[0])
        top = sorted(p, reverse=True)
        assert row.margin == pytest.approx(top[0] - top[1]) and row.scorer == "embedding"
    assert {row.abstained for row in rows[:-1]} >= {True}
    assert (rows[-1].label, rows[-1].abstained) == (None, False)  # without words there is nothing to abstain from
    assert clf.predict(TEXTS).tolist() == [row.label for row in rows[:-1]]
    with pytest.raises(SettingError, match="that of one label a text"):
        make(risk=0.1, multi_label=True).fit(TEXTS, GOLD).predict(TEXTS)
    with pytest.raises(SettingError, match="needs at least 99 labelled texts kept apart, and there are 40"):
        make(risk=0.01).fit(TEXTS, GOLD).predict(TEXTS)
    with pytest.raises(SettingError, match="was fitted with labelled texts"):
        make(calibrate="batch", risk=0.1).fit(TEXTS).predict(TEXTS)


def test_a_method_of_none_changes_no_score(make):
    # kills: numbers that are added where nothing is to be
    clf = make(risk=0.3, temperature=0.1).fit(TEXTS, GOLD)
    assert isinstance(clf.frozen_, FrozenCalibration) and clf.frozen_.method == "none"
    plain = make(temperature=0.1).fit(TEXTS, GOLD)
    assert np.array_equal(clf.predict_proba(TEXTS), plain.predict_proba(TEXTS))


@pytest.mark.parametrize(
    "columns", [["not_entailment", "entailment"], ["contradiction", "neutral", "entailment"], LABELS]
)
@pytest.mark.parametrize("method", ["batch", "standardize", "prior", "contextual"])
def test_other_scorers_are_calibrated_too(tiny_model, columns, method):
    # kills: a second template where none was measured, labels of a head that are looked up under a sentence
    head = sijo.load(tiny_model, head="new:sequence-classification", labels=columns)
    scored = (None, head, "trained") if columns is LABELS else (LABELS, head, "entailment")
    clf = sijo.ZeroShotClassifier(*scored, calibrate=method).fit(TEXTS[:40])
    plain = sijo.ZeroShotClassifier(*scored)
    assert numbers(clf) == numbers(plain) == (1.0, 0.0)  # the head's own
    if method == "prior":
        assert clf.predict_proba(TEXTS[:40]).mean(0) == pytest.approx([1 / 3] * 3, abs=2e-4)
    else:
        assert not np.allclose(clf.predict_proba(TEXTS[:5]), plain.predict_proba(TEXTS[:5]), atol=1e-9)


def test_a_precision_that_is_yet_to_be_taken_is_taken_before(make, tiny_model):
    # kills: a calibration fitted in float32 and then refused, since the texts are read in another precision
    clf = make(model=str(tiny_model), precision="auto", calibrate="batch").fit(TEXTS)
    assert clf.frozen_.identity["precision"] == clf.precision_.precision
    assert len(clf.predict(TEXTS)) == 80


@pytest.mark.parametrize("method", ["none", "batch", "prior"])
def test_a_share_of_texts_in_scope_is_given_up(make, tmp_path, method):
    # kills: a none score of raw scores held against adjusted ones; one fitted to texts known to be out of scope
    how = {"none_label": "other", "calibrate": method}
    clf = make(none_risk=0.1, **how, calibration=tmp_path / "c.json").fit(TEXTS)
    lost = (clf.predict(TEXTS) == "other").sum()
    assert 5 <= lost <= 8  # 8 of 81; equal texts may share the border
    best = next(clf._labeller().scored(TEXTS))[0].max(1)
    assert clf.used_calibration.none_score == pytest.approx(np.sort(best)[7], abs=1e-9)
    assert clf.used_calibration.origin.endswith("at most 0.1 of texts in scope called none")
    again = make(none_risk=0.1, **how, calibration=tmp_path / "c.json")
    assert again.predict(TEXTS).tolist() == clf.predict(TEXTS).tolist()
    with pytest.raises(SettingError, match=r"fitted at none_risk=0\.1, and 0\.2 is asked for"):
        make(none_risk=0.2, **how, calibration=tmp_path / "c.json").predict(TEXTS)
    gold = ["other" if place % 4 == 1 else name for place, name in enumerate(GOLD)]
    known = make(none_risk=0.1, **how).fit(TEXTS, gold)
    inside = [text for place, text in enumerate(TEXTS) if place % 4 == 3]  # kept apart, and in scope
    assert (known.predict(inside) == "other").sum() == 1  # floor(2.1) - 1 lie below
    for settings, words in (
        ({}, "give that label a name"),
        ({"none_label": "other", "none_threshold": 0.9}, "leave none_th"),
    ):
        with pytest.raises(SettingError, match=words):
            make(none_risk=0.1, **settings).fit(TEXTS)
    with pytest.raises(SettingError, match=r"call fit\(texts\) first"):
        make(none_risk=0.1, none_label="other").predict(TEXTS)


def test_texts_of_a_sorted_table_are_warned_of():
    # kills: a calibration fitted to the first rows of a table that begins with one label's, in silence
    labels = ["sea", "bank", "game", "rain"]
    one = [f"the sea and {word}" for word in WORDS]
    make = lambda: sijo.ZeroShotClassifier(labels, calibrate="refine")  # noqa: E731
    with pytest.warns(SijoWarning, match=r"fall to about 1\.\d of 4 labels.* sample of all"):
        make().fit(one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit([f"the {label} and {word}" for word in WORDS[:20] for label in labels])
