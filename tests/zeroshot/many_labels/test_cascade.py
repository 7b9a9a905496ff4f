"""A shortlist changes an answer only where a label that decides it is not on it."""

import numpy as np
import pytest

import battery
from sijo.checkpoints.save import save
from sijo.errors import SettingError
from sijo.jobs.open_labels.one_pass_settings import default_one_pass
from sijo.jobs.open_labels.one_pass_setup import with_one_pass
from sijo.training.settings import with_changes
from sijo.zeroshot.calibrating.conformal import LabelSets
from sijo.zeroshot.explaining.occlusion import explain
from sijo.zeroshot.labeller import LabelChoice, Labeller
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.many_labels.cascade import MOST_PAIRS, CascadeScorer, deciding_labels, fit_cascade
from sijo.zeroshot.many_labels.certificate import Certificate, in_full
from sijo.zeroshot.many_labels.composing import ManyLabels
from sijo.zeroshot.many_labels.composite import Beside
from sijo.zeroshot.many_labels.shortlist import Shortlist
from sijo.zeroshot.scorers.open import open_scorer
from told_scorers import ToldScorer

NAMES = ["sea", "land", "rain", "sun", "game", "team", "ball"]
TEXTS = [str(number) for number in range(60)]


def pair(labels=NAMES, seed=0, *, beside=0.0, texts=60, noise=0.3, **choice):
    """A labeller by a verifier, and a shortlister that is right more often than not."""
    random = np.random.default_rng(seed)
    labels = LabelSet.of(labels)
    truth = random.normal(0, 0.3, size=(texts, len(labels.names)))
    verifier = ToldScorer(truth, labels.names, beside=beside)
    near = ToldScorer(truth + random.normal(0, noise, size=truth.shape), labels.names)
    labeller = Labeller(verifier, LabelChoice(**choice), labels)
    own = labeller.own
    return labeller, Beside(scorer=near, labels=own.labels, template=labeller.template)


def with_shortlist(labeller, beside, shortlist):
    """The cascade's labeller."""
    certificate = Certificate(asked=0.1, shortlist=shortlist, texts=9, misses=0, labels=7, mean_labels=2.0)
    scorer = CascadeScorer(labeller, beside, certificate)
    return Labeller(scorer, labeller.choice, labeller.labels, labeller.calibration)


def certifying(rows):
    """The part of a sample that does not teach."""
    count = int(0.35 * len(rows))
    return [row for place, row in enumerate(rows) if (place + 1) * count // len(rows) == place * count // len(rows)]


def answers(labeller, texts=TEXTS):
    """What is given to each text."""
    return [(row.label, row.fitting) for row in labeller.stream(texts)]


@pytest.mark.parametrize(
    "choice", [{}, {"none_label": "none", "none_threshold": 0.3}, {"multi_label": True, "threshold": 0.6}]
)
@pytest.mark.parametrize("shortlist", [Shortlist("rank", 1), Shortlist("rank", 3), Shortlist("gap", 0.25)])
def test_answers_differ_only_where_a_deciding_label_is_left_out(choice, shortlist):
    # kills: a shortlist by the verifier's own order, the none label forced on a list, labels left out that fit,
    # scores of others taken for the verifier's (they are NaN here), a miss that is none counted
    tree = {name: {"parent": "sea", "threshold": 0.7} if name in ("rain", "sun") else () for name in NAMES}
    tree["sea"] = {"threshold": 0.3}  # given where rain reaches that, too
    labeller, beside = pair(tree if "multi_label" in choice else NAMES, **choice)
    full, short = answers(labeller), answers(with_shortlist(labeller, beside, shortlist))
    kept = shortlist.keeps(beside.score(TEXTS, absolute=False)[0])
    deciding = deciding_labels(labeller, labeller.scorer.table)
    missed = (deciding & ~kept).any(1) & (np.arange(60) >= 0)
    differs = np.array([one != other for one, other in zip(full, short, strict=True)])
    assert not (differs & ~missed).any()
    assert missed.any() and differs.any()
    if "multi_label" not in choice:
        assert (differs == missed).all()


def test_labels_that_were_not_read_have_no_probability_and_stand_behind():
    # kills: a share for labels that nobody asked about, and their order by chance
    labeller, beside = pair()
    rows = list(with_shortlist(labeller, beside, Shortlist("rank", 3)).stream(TEXTS))
    near = beside.scorer.table
    for row, text, scores in zip(rows, TEXTS, near, strict=True):
        order = [NAMES[place] for place in np.argsort(-scores)]
        assert set(row.labels[:3]) == set(order[:3]), text
        assert list(row.labels[3:]) == order[3:]
        assert row.scores[3:] == (0.0,) * 4 and sum(row.scores) == pytest.approx(1)
        own = np.exp(labeller.scorer.table[int(text), [NAMES.index(name) for name in row.labels[:3]]] / 0.0655)
        if labeller.calibration.temperature == 0.0655:
            assert row.scores[:3] == pytest.approx(tuple(own / own.sum()))


def test_nothing_goes_by_scores_that_were_not_read():
    # kills: a word that adds 1e30 to a label, since the label fell off the shortlist without it
    cascade = with_shortlist(*pair(), Shortlist("rank", 2))
    with pytest.raises(SettingError, match="an explanation goes by all labels' scores, and the cascade scorer"):
        list(explain(cascade, TEXTS))
    with pytest.raises(SettingError, match="a calibration goes by all labels' scores"):
        Labeller(cascade.scorer, cascade.choice, cascade.labels, sets=LabelSets(0.1, 0.3))


def test_the_verifier_reads_the_shortlist_alone():
    # kills: a cascade that verifies all labels and hides it
    labeller, beside = pair()
    cascade = with_shortlist(labeller, beside, Shortlist("rank", 2))
    answers(cascade)
    assert labeller.scorer.asked == 2 * len(TEXTS)
    assert beside.scorer.asked == 7 * len(TEXTS)


@pytest.mark.parametrize("certificate", [in_full(0.1, 7), None])
def test_a_shortlist_of_all_labels_changes_nothing(certificate):
    # kills: another row for a text whose labels were all read
    labeller, beside = pair()
    full = list(labeller.stream(TEXTS))
    cascade = with_shortlist(labeller, beside, Shortlist("rank", 7))
    if certificate is not None:
        scorer = CascadeScorer(labeller, beside, certificate)
        cascade = Labeller(scorer, labeller.choice, labeller.labels, labeller.calibration)
    for one, other in zip(full, cascade.stream(TEXTS), strict=True):
        assert (one.label, one.labels, one.scores) == (other.label, other.labels, other.scores)


@pytest.mark.parametrize("beside_others", [0.0, 0.01])
def test_what_is_found_holds_on_the_sample(beside_others):
    # kills: containment taken for agreement where labels are read beside each other; misses not counted; readings
    # of the sample that nobody counts
    labeller, beside = pair(beside=beside_others, texts=400, noise=0.1)
    texts = [str(number) for number in range(400)]
    found = fit_cascade(labeller, beside, texts, 0.05)
    assert found.held and 1 <= found.mean_labels < 7
    read = labeller.scorer.asked
    assert read == (14 if beside_others else 7) * 400
    assert found.times_fewer(5_000) == pytest.approx(7 * 5_000 / (found.mean_labels * 5_000 + read))
    cascade = Labeller(CascadeScorer(labeller, beside, found), labeller.choice, labeller.labels)
    pairs = list(zip(answers(labeller, texts), answers(cascade, texts), strict=True))
    apart = pairs if found.lesson is None else certifying(pairs)
    differ = sum(one != other for one, other in apart)
    assert len(apart) == found.texts
    assert differ <= found.misses <= 12
    assert (differ == found.misses) or beside_others


def test_texts_without_words_decide_nothing():
    # kills: an empty text that counts as missed
    labeller, beside = pair()
    beside.scorer.table[0] = -labeller.scorer.table[0]
    found = fit_cascade(labeller, beside, [""] * 100, 0.1)
    assert (found.misses, found.mean_labels) == (0, 1)


def test_what_was_taught_is_used():
    # kills: a lesson that is certified and then forgotten
    labeller, beside = pair(texts=400, noise=0.05)
    beside.scorer.table = beside.scorer.table[:, ::-1].copy()  # it takes each label for another
    texts = [str(number) for number in range(400)]
    found = fit_cascade(labeller, beside, texts, 0.05)
    assert found.lesson is not None and found.mean_labels < 4
    cascade = Labeller(CascadeScorer(labeller, beside, found), labeller.choice, labeller.labels)
    pairs = list(zip(answers(labeller, texts), answers(cascade, texts), strict=True))
    assert sum(one != other for one, other in certifying(pairs)) == found.misses
    assert labeller.scorer.asked - 2 * 7 * 400 == pytest.approx(400 * found.mean_labels, rel=0.05)


@pytest.mark.parametrize("neighbours", ["hidden", "seen"])
def test_labels_that_are_read_together(tiny_model, tmp_path, neighbours):
    # kills: a shortlist that is certified by scores of another list than it is asked with, lists whose labels come
    # back in each other's columns, labels in turns where those that are read beside each other change the answer
    model = with_one_pass(with_changes(default_one_pass(tiny_model), [f"neighbours={neighbours}"]))
    battery.scramble(model, 0.2)
    save(model, tmp_path / "model")
    random = np.random.default_rng(0)
    words = ["sea", "rain", "sun", "land", "game", "money", "ball", "old"]
    texts = [" ".join(random.choice(words, 4)) for _ in range(150)]
    labeller = Labeller(open_scorer("auto", tmp_path / "model"), LabelChoice(), LabelSet.of(NAMES))
    assert (labeller.scorer.name, labeller.scorer.reads_others) == ("one_pass", neighbours == "seen")
    beside = Beside.of(open_scorer("auto", None), labeller, "cascade=")
    if neighbours == "seen":  # asked with the list alone, as if there were no other label
        few = texts[:12]
        cascade = with_shortlist(labeller, beside, Shortlist("rank", 3))
        for text, row in zip(few, cascade.stream(few), strict=True):
            own = sorted(row.labels[:3], key=NAMES.index)
            alone = next(iter(Labeller(labeller.scorer, LabelChoice(), LabelSet.of(own)).stream([text])))
            assert row.labels[:3] == alone.labels
            assert row.scores[:3] == pytest.approx(alone.scores, abs=1e-5)
        assert fit_cascade(labeller, beside, texts[:60], 0.3).reread == 1 + 2 + 4
        return
    found = fit_cascade(labeller, beside, texts, 0.2)
    assert found.held and found.shortlist.form == "reach" and found.mean_labels < 7 and not found.reread
    cascade = Labeller(CascadeScorer(labeller, beside, found), labeller.choice, labeller.labels)
    pairs = list(zip(answers(labeller, texts), answers(cascade, texts), strict=True))
    assert 0 < sum(one != other for one, other in certifying(pairs)) <= found.misses


def test_ten_thousand_labels_take_bounded_memory():
    # kills: all pairs of a block at once
    names = [f"label {number}" for number in range(10_000)]
    random = np.random.default_rng(0)
    table = random.normal(size=(30, 10_000))
    labels = LabelSet.of(names)
    verifier = ToldScorer(table, names)
    verifier.label_tokens = None  # the names of the labels are not what is tested
    labeller = Labeller(verifier, LabelChoice(template="{}"), labels)
    beside = Beside(scorer=ToldScorer(table, names), labels=labels.labels, template="{}")
    fit_cascade(labeller, beside, [str(number) for number in range(30)], 0.2)
    assert max(rows * columns for rows, columns in verifier.requests) <= MOST_PAIRS
    assert with_shortlist(labeller, beside, Shortlist("rank", 5)).rows * 10_000 <= MOST_PAIRS


def test_what_does_not_go_together_is_refused():
    # kills: a shortlist for labels that it was not fitted to, and a calibration to scores that nobody has
    labeller, beside = pair()
    cascade = with_shortlist(labeller, beside, Shortlist("rank", 2))
    with pytest.raises(SettingError, match="fitted to one set of labels, and these are others"):
        list(cascade.stream(["1"], [["sea", "land"]]))
    for asked in ({"beam": 2}, {"needs_all": True}, {"disagreement": 0.0}, {"sample": 0}):
        with pytest.raises(SettingError, match=r"leave|give"):
            ManyLabels(cascade="built-in", **asked)
    with pytest.raises(SettingError, match="names the model that labels by itself"):
        Beside.of(labeller.scorer, labeller, "cascade=")
