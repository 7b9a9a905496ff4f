"""The classifier against its formulas, scikit-learn's conventions, and what users trip on elsewhere."""

import itertools
import math
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

import sijo
from sijo.errors import SettingError, TextError
from sijo.inference.outputs import unit
from sijo.zeroshot.calibration import Calibration

LABELS = ["sea", "bank", "game"]
TEXTS = ["the sun and the sea", "old money in the bank", "a game of ball", "goal " * 70, "rain"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return sijo.load(tiny_model)


@pytest.fixture
def make(model):
    """Classifiers of the tiny model; a template of its own words, and a temperature that spreads its scores."""

    def make(labels=LABELS, **settings):
        settings = {"hypothesis_template": "it is {}", "temperature": 0.1, **settings}
        return sijo.ZeroShotClassifier(labels, model, **settings)

    return make


def cosines(model, texts, phrases):
    """Cosine of each text with each phrase, from the vectors alone."""
    return unit(sijo.encode(model, texts).astype(float)) @ unit(sijo.encode(model, phrases).astype(float)).T


def softmax(scores, temperature):
    """From plain lists of floats."""
    raised = [math.exp(s / temperature) for s in scores]
    return [r / math.fsum(raised) for r in raised]


def test_probabilities_are_a_softmax_of_cosines(make, model):
    """Catches a label without its template, a temperature multiplied instead of divided, columns permuted."""
    want = [softmax(row, 0.1) for row in cosines(model, TEXTS, ["it is sea", "it is bank", "it is game"])]
    np.testing.assert_allclose(make().predict_proba(TEXTS), want, atol=1e-6)


def test_rows_say_what_predict_says(make):
    """Catches rows ranked the wrong way round, and a long text whose windows are kept quiet."""
    clf = make()
    probabilities = clf.predict_proba(TEXTS)
    rows = clf.classify(TEXTS)
    assert list(clf.predict(TEXTS)) == [row.label for row in rows] == [row.labels[0] for row in rows]
    for row, p in zip(rows, probabilities, strict=True):
        assert list(row.scores) == sorted(p, reverse=True) and row.score == row.scores[0]
        assert {label: pytest.approx(x) for label, x in zip(LABELS, p, strict=True)} == dict(
            zip(row.labels, row.scores, strict=True)
        )
        assert row.fitting == (row.label,)
    assert [(row.tokens, row.windows, row.truncated) for row in rows[3:]] == [(70, 3, False), (1, 1, False)]


def test_none_wins_exactly_where_every_cosine_is_below_its_score(make, model):
    """Catches none judged by a probability that depends on how many labels there are."""
    scores = cosines(model, TEXTS, [f"it is {label}" for label in LABELS])
    between = float(np.sort(scores.max(1))[1:3].mean())  # two texts below, three above
    clf = make(none_label="other", none_threshold=between)
    assert list(clf.classes_) == [*LABELS, "other"]
    below = scores.max(1) < between
    assert below.sum() == 2
    assert (clf.predict(TEXTS) == "other").tolist() == below.tolist()
    want = [softmax([*row, between], 0.1) for row in scores]
    np.testing.assert_allclose(clf.predict_proba(TEXTS), want, atol=1e-6)


def test_multi_label_judges_each_label_by_itself(make, model):
    """Catches probabilities that share one softmax: another label would then change them."""
    clf = make(multi_label=True, none_threshold=0.5)
    scores = cosines(model, TEXTS, [f"it is {label}" for label in LABELS])
    want = [[softmax([s, 0.5], 0.1)[0] for s in row] for row in scores]
    np.testing.assert_allclose(clf.predict_proba(TEXTS), want, atol=1e-6)
    fewer = make(LABELS[:1], multi_label=True, none_threshold=0.5).predict_proba(TEXTS)
    np.testing.assert_allclose(fewer[:, 0], np.array(want)[:, 0], atol=1e-6)
    assert np.array_equal(clf.predict(TEXTS), (np.array(want) >= 0.5).astype(int))
    for row, p in zip(clf.classify(TEXTS), want, strict=True):
        assert set(row.fitting) == {label for label, x in zip(LABELS, p, strict=True) if x >= 0.5}
        assert row.label == (row.fitting[0] if row.fitting else None)


def test_label_order_and_neighbours_change_nothing(make):
    """Catches scores that depend on the order of labels, or on the other texts of a batch."""
    base = make().predict_proba(TEXTS)
    for order in itertools.permutations(range(3)):
        np.testing.assert_allclose(
            make([LABELS[i] for i in order]).predict_proba(TEXTS), base[:, order], atol=1e-12
        )
    alone = np.concatenate([make().predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, base, atol=1e-5)
    wider = make([*LABELS, "rain"]).predict_proba(TEXTS)  # ratios of the old labels stay
    np.testing.assert_allclose(wider[:, 0] / wider[:, 1], base[:, 0] / base[:, 1], rtol=1e-9)


def test_each_text_may_have_labels_of_its_own(make):
    """Catches labels of one row scored in another's place, the bug of a batch with unequal label sets."""
    sets = [["sea", "bank"], ["game", "rain", "oil"], ["bank", "sea"], ["tax", "sun"], ["sea", "bank"]]
    rows = make(labels=None).classify(TEXTS, sets)
    for text, labels, row in zip(TEXTS, sets, rows, strict=True):
        [want] = make(labels).classify([text])
        assert row.labels == want.labels and row.scores == pytest.approx(want.scores, abs=1e-5)
    with pytest.raises(SettingError, match="fewer label sets than texts"):
        make().classify(TEXTS, sets[:2])
    with pytest.raises(SettingError, match="more label sets than texts"):
        make().classify(TEXTS[:2], sets)
    with pytest.raises(SettingError, match="nothing to choose between"):
        make().classify(TEXTS[:1], [["sea"]])


def test_descriptions_are_averaged_with_the_name(make, model):
    """Catches a description that is read but not used, and one that drowns the name."""
    labels = {"sea": "the sea and the rain", "bank": ["money", "a good bank and bad tax"]}
    [row] = cosines(model, ["rain"], ["it is sea", labels["sea"]])
    vectors = [unit(sijo.encode(model, phrases)) for phrases in (["it is sea", labels["sea"]],)]
    sea = unit(vectors[0].mean(0, keepdims=True).astype(float))
    want = float((unit(sijo.encode(model, ["rain"]).astype(float)) @ sea.T)[0, 0])
    clf = make(labels, multi_label=True, none_threshold=0.0, temperature=1.0)
    [got] = clf.predict_proba(["rain"])
    assert got[0] == pytest.approx(softmax([want, 0.0], 1.0)[0], abs=1e-6)
    assert row.min() < want  # the mean direction is nearer than the worse phrase


def test_an_empty_text_gets_no_label(make):
    """Catches a confident label for no words at all."""
    [row] = make().classify([""])
    assert (row.label, row.fitting, row.tokens) == (None, (), 0)
    assert row.scores == pytest.approx([1 / 3] * 3)
    assert make(none_label="other").classify([" "])[0].label == "other"
    assert make(multi_label=True, none_threshold=-1.0).classify([""])[0].fitting == ()
    with pytest.raises(TextError, match="text 2 has no words"):
        make().predict(["sea", ""])


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, "there are no labels"),
        ([], "no labels were given"),
        ("sea,bank", "one string"),
        (["sea", "Sea "], "given twice"),
        (["sea", " "], "a word or a phrase"),
        (["sea", None], "a word or a phrase"),
        (["sea"], "nothing to choose between"),
        (["sea", "\ud800"], "lone surrogate"),
    ],
)
def test_bad_labels_are_refused(make, labels, message):
    """Catches a label set that would be scored in part, or fail inside the tokenizer."""
    with pytest.raises(SettingError, match=message):
        make(labels).predict(TEXTS)


def test_other_bad_settings_are_refused(make):
    for settings, message in (
        ({"hypothesis_template": "it is"}, "exactly once"),
        ({"scorer": "embeding"}, "did you mean 'embedding'"),
        ({"temperature": -1.0}, "must be above 0"),
        ({"temperature": "fit"}, "call fit"),
        ({"none_label": "Sea "}, "also one of the labels"),
        ({"none_label": " "}, "is no name"),
        ({"none_label": "other", "multi_label": True}, "Leave one out"),
    ):
        with pytest.raises(SettingError, match=message):
            make(**settings).predict(TEXTS)
    with pytest.raises(SettingError, match="one string"):
        make().classify("the sea")
    with pytest.raises(TextError, match="text 2 is of type int"):
        make().classify(["sea", 3])
    with pytest.raises(TextError, match="text 1 holds a lone surrogate"):
        make().classify(["\udc00"])


def test_clone_pickle_params_and_settings_changed_later(make, tiny_model):
    """Catches a copy that drags the model along or loses a setting, and a model kept after set_params."""
    clf = make(none_label="other")
    before = clf.predict_proba(TEXTS)
    copy = clone(clf)
    assert copy.get_params()["none_label"] == "other" and not hasattr(copy, "_opened")
    by_name = sijo.ZeroShotClassifier(LABELS, str(tiny_model))
    answers = by_name.predict_proba(TEXTS)
    assert len(packed := pickle.dumps(by_name)) < 2_000
    assert np.array_equal(pickle.loads(packed).predict_proba(TEXTS), answers)
    assert np.array_equal(copy.predict_proba(TEXTS), before)
    copy.set_params(labels=LABELS[:2], none_label=None)
    assert copy.predict_proba(TEXTS).shape == (5, 2)


def test_it_works_in_a_pipeline_and_a_grid_search(make):
    """Catches an estimator that only looks like one."""
    gold = ["sea", "bank", "game", "game", "sea"] * 2
    pipeline = make_pipeline(FunctionTransformer(lambda texts: [t.lower() for t in texts]), make())
    pipeline.fit(TEXTS * 2, gold)
    assert 0 <= pipeline.score(TEXTS * 2, gold) <= 1
    grid = {"hypothesis_template": ["{}", "it is {}"], "temperature": [0.1, "fit"]}
    search = GridSearchCV(make(), grid, cv=2).fit(TEXTS * 2, gold)
    assert set(search.best_params_) == set(grid)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_check_estimator_passes(model):
    """Catches tags that scikit-learn does not understand; of its battery it runs what suits texts."""
    check_estimator(sijo.ZeroShotClassifier(LABELS, model))


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_the_other_checks_of_scikit_learn_that_apply(check):
    """Catches a constructor that changes its arguments, and parameters lost in a copy.

    scikit-learn skips these for an estimator of texts, since it has only numbers to feed; these need none. Those
    that call `fit` with numbers are refused; `test_texts.py` asks the same with texts.
    """
    check("ZeroShotClassifier", sijo.ZeroShotClassifier(LABELS))


def test_labels_come_from_y(make):
    clf = make(labels=None).fit(TEXTS, np.array(["sea", "bank", "game", "game", "sea"]))
    assert list(clf.classes_) == ["bank", "game", "sea"]
    with pytest.raises(SettingError, match="5 texts and 2 labels"):
        clf.fit(TEXTS, ["sea", "bank"])
    with pytest.raises(TextError, match="y holds 'see', which is not a label; did you mean 'sea'"):
        make(temperature="fit").fit(TEXTS, ["see"] * 5)


@pytest.mark.parametrize("labels", [["sea", "bank", "game"], {"game": "ball", "bank": "money", "sea": ()}])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr", "top_k_accuracy"])
def test_scorers_of_probabilities_know_the_columns(make, labels, scoring):
    # kills: columns in the order that labels were given in, which scikit-learn's scorers take for sorted ones
    texts, gold = ["the sea", "the bank", "a game"] * 2, ["sea", "bank", "game"] * 2
    in_order = sorted(labels) if isinstance(labels, list) else dict(sorted(labels.items()))
    got, want = (cross_val_score(make(these), texts, gold, cv=2, scoring=scoring) for these in (labels, in_order))
    np.testing.assert_allclose(got, want, atol=1e-9)
    clf = make(labels, none_label="a")
    assert list(clf.classes_) == [*labels, "a"] and list(clf.fit().classes_) == [*labels, "a"]
    assert list(clf.fit(texts, gold).classes_) == ["bank", "game", "sea", "a"]
    by_name = dict(zip(clf.classes_, clf.predict_proba(texts)[0], strict=True))
    row = clf.classify(texts)[0]
    assert by_name == pytest.approx(dict(zip(row.labels, row.scores, strict=True)), abs=1e-9)


def test_ensembles_know_the_columns(make):
    # kills: a vote over the columns of one order that is read in another
    texts, gold = np.array(["the sea", "the bank", "a game"]), ["sea", "bank", "game"]
    votes = VotingClassifier([("one", make()), ("two", make())], voting="soft").fit(texts, gold)
    assert votes.predict(texts).tolist() == make().predict(texts).tolist()


def test_labels_that_can_be_read_once_are_refused(make):
    # kills: labels that are there for the first look alone, and then "no labels were given"
    with pytest.raises(SettingError, match=r"labels is of type generator, .* list\(labels\)"):
        make(name for name in LABELS).predict(TEXTS[:1])


def test_fitting_finds_the_temperature_that_made_the_labels():
    """Catches a temperature fitted upside down, and a none score on the wrong scale."""
    chance = np.random.default_rng(0)
    scores = chance.normal(0.3, 0.2, size=(20_000, 4))
    true = Calibration(0.15, 0.0, "").softmax(scores)
    gold = (true.cumsum(1) > chance.random((20_000, 1))).argmax(1)
    fitted = Calibration.fit(scores, gold, origin="drawn")
    assert fitted.temperature == pytest.approx(0.15, rel=0.05)
    right, wrong = scores[np.arange(20_000), gold], scores[np.arange(20_000), (gold + 1) % 4]
    assert wrong.mean() < fitted.none_score < right.mean()


def test_fitted_numbers_are_used(make):
    gold = ["sea", "bank", "game", "game", "sea"]
    clf = make(temperature="fit").fit(TEXTS, gold)
    assert clf.used_calibration.origin == "fit on 5 texts"
    assert clf.used_calibration.temperature == clf.calibration_.temperature != 0.1
    assert clf.set_params(temperature=0.3).fit(TEXTS, gold).used_calibration.temperature == 0.3
    assert not hasattr(clf, "calibration_")


def test_a_stream_is_answered_before_it_ends(make):
    """Catches a stream collected in a list first."""
    drawn = itertools.count()
    answers = make().stream(f"sea {next(drawn)}" for _ in iter(int, 1))
    assert next(answers).label in LABELS
    assert next(drawn) == 2048


def test_the_built_in_model_labels_real_text(minilm):
    """Catches vectors that are well-formed and mean nothing."""
    clf = sijo.ZeroShotClassifier(["cooking", "football", "banking", "weather"], minilm)
    texts = [
        "Knead the dough and let it rise for an hour.",
        "The striker scored twice in extra time.",
        "My account was charged twice for one transfer.",
        "Heavy rain and strong wind tomorrow.",
    ]
    assert list(clf.predict(texts)) == clf.labels
