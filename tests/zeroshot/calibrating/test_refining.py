"""Label vectors drawn to texts: the equation in plain numbers, what it is worth on texts made for it, refusals."""

import json
import math

import numpy as np
import pytest

import sijo
from conftest import WORDS
from sijo.errors import CheckpointError, SettingError
from sijo.inference.outputs import unit
from sijo.zeroshot.calibrating.fitting import fit_calibration
from sijo.zeroshot.calibrating.label_free import balanced
from sijo.zeroshot.calibrating.refining import Refinement, temperature_of
from sijo.zeroshot.calibration import Calibration
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.measured import measure, score_texts
from sijo.zeroshot.scorers.open import open_scorer

LABELS = ["sea", "bank", "game"]
CHANCE = np.random.default_rng(0)
TEXTS = [" ".join(CHANCE.choice(WORDS, size=CHANCE.integers(1, 9))) for _ in range(80)]
GOLD = [LABELS[place] for place in CHANCE.integers(3, size=80)]


def norm(vector):
    return math.sqrt(sum(x * x for x in vector))


def by_hand(texts, labels, none=None):
    """The equations of refining.py in loops of plain numbers."""
    cosines = [[sum(a * b for a, b in zip(x, v, strict=True)) for v in labels] for x in texts]
    apart = [c - sum(row) / len(row) for row in cosines for c in row]
    t = 0.5 * math.sqrt(sum(a * a for a in apart) / len(apart))
    prototypes = [[0.0] * len(labels[0]) for _ in labels]
    for x, row in zip(texts, cosines, strict=True):
        odds = [math.exp(c / t) for c in row]
        total = sum(odds) + (0.0 if none is None else math.exp(none / t))
        for m, odd in zip(prototypes, odds, strict=True):
            for place, value in enumerate(x):
                m[place] += odd / total * value
    return [[value / norm(m) for value in m] for m in prototypes]


@pytest.mark.parametrize("none", [None, 0.3])
def test_prototypes_by_hand(none):
    # kills: a spread over all cosines at once, a temperature of its own for each label, none left out of the sum
    texts = unit(CHANCE.normal(size=(7, 4)) + np.array([1.0, 0.5, 0.0, 0.0]))
    labels = unit(CHANCE.normal(size=(3, 4)))
    want = by_hand(texts.tolist(), labels.tolist(), none)
    refinement = Refinement(texts, labels, none)
    np.testing.assert_allclose(refinement.prototypes, want, rtol=0, atol=1e-12)
    for place, x in enumerate(texts):  # and without the text itself
        part = refinement.belongs.copy()
        part[place] = 0
        scores = unit(labels + unit(part.T @ texts)) @ x
        np.testing.assert_allclose(refinement.scores_without_itself()[place], scores, rtol=0, atol=1e-12)


def test_a_scale_of_its_own():
    # kills: a temperature of one encoder, at which another's cosines, which lie closer, are all alike
    texts, labels = unit(CHANCE.normal(size=(50, 6))), unit(CHANCE.normal(size=(3, 6)))
    wide = np.concatenate([texts, np.zeros((50, 1))], 1)
    lift = 3.0  # a direction that all share, as in multilingual-e5
    near = unit(np.concatenate([texts, np.full((50, 1), lift)], 1))
    near_labels = unit(np.concatenate([labels, np.full((3, 1), lift)], 1))
    own = np.concatenate([labels, np.zeros((3, 1))], 1)
    assert temperature_of(near @ near_labels.T) < 0.2 * temperature_of(wide @ own.T)
    first, second = (
        Calibration(temperature_of(cosines), 0.0, "").softmax(cosines)
        for cosines in (wide @ own.T, near @ near_labels.T)
    )
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_a_label_that_most_texts_have_keeps_them():
    # kills: labels evened out, which takes texts away from the one that has them
    chance = np.random.default_rng(0)
    gold = np.repeat([0, 1, 2], [120, 40, 40])
    texts = unit(np.eye(8)[gold] + 0.3 * chance.normal(size=(200, 8)))
    names = unit(np.eye(3, 8) + 0.8 * np.abs(chance.normal(size=(3, 8))))  # which say other things besides
    plain = texts @ names.T
    refined = Refinement(texts, names).scores_without_itself()
    even = balanced(plain, Calibration(temperature_of(plain), 0.0, "")).apply(plain)
    right, right_plain, right_even = ((scores.argmax(1) == gold).mean() for scores in (refined, plain, even))
    assert right > max(right_plain, right_even) + 0.03


@pytest.fixture(scope="module")
def scorer(tiny_model):
    return open_scorer("embedding", tiny_model)


@pytest.fixture(scope="module")
def minilm():
    return open_scorer("embedding", "all-minilm-l6-v2")


def labeller(scorer, labels=LABELS, **choice):
    return Labeller(scorer, LabelChoice(**{"template": "it is {}", **choice}), LabelSet.of(labels))


def without_itself(plain, texts):
    """The scores of texts with labels drawn to the others."""
    vectors = unit(plain.scorer.engine.encode(texts).vectors.astype(float))
    return Refinement(vectors, plain.scorer.vectors(plain.own.labels, plain.template)).scores_without_itself()


def test_the_labels_vectors_are_the_equation(minilm):
    # kills: prototypes by column, of labels worded otherwise, or of texts without words; a label of several phrases
    # that weighs less than its texts
    labels = {"sea": ["oil rain"], "bank": (), "game": ()}
    plain = labeller(minilm, labels)
    fitted = fit_calibration(plain, [*TEXTS, ""], "refine")
    vectors, words = (
        unit(minilm.engine.encode(TEXTS).vectors.astype(float)),
        minilm.vectors(plain.own.labels, plain.template),
    )
    refinement = Refinement(vectors, words)
    want = unit(words + unit(np.round(127 * refinement.prototypes / np.abs(refinement.prototypes).max(1)[:, None])))
    calibrated = fitted.applied_to(labeller(minilm, dict(reversed(labels.items()))))
    [(scores, _)] = calibrated.scored(TEXTS)
    level = (vectors @ words.T).max(1).mean() - refinement.scores_without_itself().max(1).mean()
    np.testing.assert_allclose(scores, (vectors @ want.T)[:, ::-1] + level, rtol=0, atol=1e-6)
    assert not minilm.is_refined and np.array_equal(minilm.vectors(plain.own.labels, plain.template), words)


def test_many_labels_that_are_evenly_used_are_balanced_too(minilm):
    # kills: a shift that is computed and not applied, or by scores before labels were drawn
    names = ["sea", "bank", "game", "rain", "oil"]
    texts = [f"{name} {word}" for name in names for word in WORDS[:16]]
    fitted = fit_calibration(labeller(minilm, names), texts, "refine")
    assert np.abs(fitted.adjusted.shift).max() > 1e-6
    drawn = without_itself(labeller(minilm, names), texts)
    spread = Calibration(temperature_of(drawn), 0.0, "")
    np.testing.assert_allclose(fitted.adjusted.shift, balanced(drawn, spread).shift, atol=1e-9)
    refined = fitted.applied_to(labeller(minilm, names))
    raw = unit(minilm.engine.encode(texts).vectors) @ refined.scorer.vectors(refined.own.labels, "it is {}").T
    [(scores, _)] = refined.scored(texts)
    np.testing.assert_allclose(scores, raw - fitted.adjusted.shift + fitted.adjusted.level, atol=1e-6)
    assert not fit_calibration(labeller(minilm, names[:4]), texts, "refine").adjusted.shift.any()


def test_texts_that_were_scored_once_are_measured_by_moved_labels(scorer):
    # kills: an evaluation that takes raw scores of labels that have moved since
    plain = labeller(scorer)
    calibrated = fit_calibration(plain, TEXTS, "refine").applied_to(plain)
    scored = score_texts(plain, TEXTS, vectors=True)
    [(want, _)] = calibrated.judged(TEXTS)
    measured = measure(calibrated, scored, GOLD, resamples=100)
    np.testing.assert_allclose(measured.probabilities, want, rtol=0, atol=1e-6)
    assert np.abs(want - measure(plain, scored, GOLD, resamples=100).probabilities).max() > 1e-3
    with pytest.raises(TypeError, match="keeps those of the texts"):
        measure(calibrated, score_texts(plain, TEXTS), GOLD, resamples=100)


def test_confidence_counts_how_wordings_agreed_before(minilm):
    # kills: confidence from labels that the same texts have drawn together, whatever their words
    plain = labeller(minilm)
    fitted = fit_calibration(plain, TEXTS, "refine")
    second = labeller(minilm, template="{}")  # the scorer's other sentence, for a template that is not it
    scores = [next(one.scored(TEXTS))[0] for one in (plain, second)]
    scores += [without_itself(one, TEXTS) for one in (plain, second)]
    before, after = ((a.argmax(1) != b.argmax(1)).mean() for a, b in (scores[:2], scores[2:]))
    chance = 1 / 3
    expected = max(1 - before - after, chance + 0.1 * (1 - chance))
    assert before != after and expected > chance + 0.11
    confidence = fitted.numbers.softmax(scores[2]).max(1).mean()
    assert confidence == pytest.approx(expected, abs=1e-6)


def test_confidence_of_described_labels_counts_what_names_alone_say(minilm):
    # kills: descriptions that are the same in both sentences, which agree and so are sure of everything
    said = {"sea": ["money and banks"], "bank": ["a match, a player"], "game": ()}
    ways = [labeller(minilm, said), labeller(minilm, said, template="{}"), labeller(minilm, LABELS)]
    fitted = [fit_calibration(way, TEXTS, "batch") for way in ways]
    plain = [next(way.scored(TEXTS))[0] for way in ways]
    moved = [next(one.applied_to(way).scored(TEXTS))[0] for one, way in zip(fitted, ways, strict=True)]
    apart, bare = (
        sum((scores[0].argmax(1) != scores[other].argmax(1)).mean() for scores in (plain, moved)) / 2
        for other in (1, 2)
    )
    assert bare > apart + 0.1
    confidence = fitted[0].numbers.softmax(moved[0]).max(1).mean()
    assert confidence == pytest.approx(1 - (apart + bare) / 2, abs=1e-6)


def test_texts_given_up_are_counted_by_labels_drawn_to_the_others(scorer):
    # kills: a none score of texts that lie near prototypes since they are a part of them: new ones are given up
    plain = labeller(scorer, none_label="other")
    fitted = fit_calibration(plain, TEXTS, "refine", none_risk=0.1)
    vectors = unit(scorer.engine.encode(TEXTS).vectors.astype(float))
    words = scorer.vectors(plain.own.labels, plain.template)
    without = Refinement(vectors, words, plain.calibration.none_score).scores_without_itself().max(1)
    assert fitted.numbers.none_score == pytest.approx(
        np.sort(without)[7] + fitted.adjusted.level, abs=1e-9
    )  # 8 of 81


def test_what_cannot_be_refined(scorer, tiny_model):
    # kills: labels drawn to too few texts, to one label's own, or under a scorer without vectors
    head = sijo.load(tiny_model, head="new:sequence-classification", labels=["not_entailment", "entailment"])
    entails = open_scorer("entailment", head)
    for refused, texts, words in (
        (labeller(scorer), TEXTS[:20], "at least 32 texts and has 20"),
        (labeller(scorer, multi_label=True), TEXTS, "parts texts among labels"),
        (labeller(scorer, ["sea"], none_label="other"), TEXTS, "takes two labels that share the texts"),
        (labeller(entails), TEXTS, "the entailment scorer has none; calibrate by batch"),
    ):
        with pytest.raises(SettingError, match=words):
            fit_calibration(refused, texts, "refine")
    with pytest.raises(SettingError, match="equally near to every text"):
        Refinement(np.eye(2), np.array([[0.6, 0.8], [0.6, 0.8]]))
    with pytest.raises(SettingError, match=r"such as will be labelled: call fit\(texts\) first"):
        sijo.ZeroShotClassifier(LABELS, tiny_model, calibrate="refine").predict(TEXTS)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda row: row.pop("prototype"), "prototype"),
        (lambda row: row.update(prototype="%%%"), "damaged"),
        (lambda row: row.update(prototype="!" + row["prototype"]), "damaged"),
        (lambda row: row.update(prototype=row["prototype"][:8]), "damaged"),
        (lambda row: row.update(prototype=""), "damaged"),
    ],
)
def test_damaged_prototypes_are_refused(tiny_model, tmp_path, change, words):
    file = tmp_path / "c.json"
    sijo.ZeroShotClassifier(LABELS, tiny_model, calibrate="refine", calibration=file).fit(TEXTS)
    fields = json.loads(file.read_text())
    change(fields["labels"][1])
    file.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=words):
        sijo.ZeroShotClassifier(LABELS, tiny_model, calibration=file).predict(TEXTS)


def test_no_file_is_written_that_is_too_long_to_be_read(tiny_model, tmp_path, monkeypatch):
    # kills: a calibration that is lost when it is wanted
    clf = sijo.ZeroShotClassifier(LABELS, tiny_model, calibrate="refine").fit(TEXTS)
    clf.save_calibration(tmp_path / "c.json")
    monkeypatch.setattr("sijo.zeroshot.calibrating.frozen.LONGEST_JSON", (tmp_path / "c.json").stat().st_size - 1)
    with pytest.raises(SettingError, match="of 3 labels takes 0 MB, and a file of more than 0 is not read again"):
        clf.save_calibration(tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_prototypes_of_another_width_are_refused(tiny_model, tmp_path):
    # kills: numpy's own words on shapes that do not fit
    file = tmp_path / "c.json"
    sijo.ZeroShotClassifier(LABELS, tiny_model, calibrate="refine", calibration=file).fit(TEXTS)
    fields = json.loads(file.read_text())
    del fields["checksum"]
    for row in fields["labels"]:
        row["prototype"] = "fwA="  # 127 and 0
    file.write_text(json.dumps(fields))
    with pytest.raises(SettingError, match="prototypes of width 2, and the model's vectors have"):
        sijo.ZeroShotClassifier(LABELS, tiny_model, calibration=file).predict(TEXTS)
