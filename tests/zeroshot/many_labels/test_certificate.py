"""What a sample without labels says of a shortlist, and how often it holds."""

import math

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.evaluation.intervals import share_at_most
from sijo.zeroshot.many_labels.cascade import cheapest
from sijo.zeroshot.many_labels.certificate import (
    EACH,
    Certificate,
    certified,
    misses_allowed,
    texts_needed,
    usual_sample,
)
from sijo.zeroshot.many_labels.shortlist import SLACK, Shortlist, depths
from sijo.zeroshot.many_labels.teaching import Lesson


def so_few(count, rows, share):
    """The probability that of so many rows no more than `count` have what a share has: the sum, term by term."""
    return math.fsum(math.comb(rows, k) * share**k * (1 - share) ** (rows - k) for k in range(count + 1))


@pytest.mark.parametrize(
    "count, rows, confidence", [(0, 300, 0.95), (1, 473, 0.95), (7, 40, 0.975), (39, 40, 0.9), (3, 1000, EACH)]
)
def test_the_limit_is_where_so_few_come_by_bad_luck_alone(count, rows, confidence):
    # kills: the two-sided limit, the lower one, count and count + 1 confused, a normal approximation
    assert so_few(count, rows, share_at_most(count, rows, confidence)) == pytest.approx(1 - confidence, rel=1e-9)
    assert share_at_most(rows, rows, confidence) == 1.0


def test_limits_of_the_reference():
    # kills: a limit of another kind: reference/zero_shot.md has these to six digits
    assert share_at_most(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-12)
    assert round(share_at_most(0, 300), 6) == 0.009936


@pytest.mark.parametrize("share", [0.003, 0.01, 0.05, 0.2])
def test_allowed_misses_are_the_most_that_the_limit_allows(share):
    # kills: a search that ends one off, and one that allows a miss where even none is too many
    for texts in (1, 10, 58, 59, 298, 299, 368, 700, 1000):
        allowed = misses_allowed(texts, share, EACH)
        within = [count for count in range(texts) if share_at_most(count, texts, EACH) <= share]
        assert allowed == (max(within) if within else None)
    assert misses_allowed(texts_needed(share), share) == 0
    assert misses_allowed(texts_needed(share) - 1, share) is None


def test_the_shortlist_ends_where_the_allowed_misses_begin():
    # kills: the m-th largest depth in place of the (m + 1)-th, and a limit that the last text kept does not reach
    ranks = np.array([1, 1, 1, 2, 2, 3, 3, 4, 6, 9])  # the reference's case: one miss leaves 6, none 9
    for share, limit, misses in ((0.31, 9, 0), (0.45, 6, 1), (0.56, 4, 2)):
        found = certified(share, {"rank": ranks}, labels=10)
        assert (found.shortlist, found.misses) == (Shortlist("rank", limit), misses)
        assert found.mean_labels == limit
    assert not certified(0.3, {"rank": ranks}, labels=10).held
    assert not certified(0.5, {"rank": np.full(10, 10)}, labels=10).held  # nothing is saved: every label


def test_of_two_forms_the_cheaper_is_taken():
    # kills: the dearer form, gaps counted without their slack, a mean of something else
    random = np.random.default_rng(0)
    near = random.normal(size=(400, 12))
    near[:200, 0] += 9  # half of the texts are easy
    deciding = near.argmax(1)
    order = np.argsort(-near[200:], axis=1)
    deciding[200:] = order[np.arange(200), random.integers(4, size=200)]  # the others want four labels
    decisive = {form: depths(near, form)[np.arange(400), deciding] for form in ("rank", "gap")}
    found = certified(0.05, decisive, 12, depths(near, "gap"))
    kept = found.shortlist.keeps(near)
    assert found.shortlist.form == "gap"
    assert found.mean_labels == kept.sum(1).mean() < certified(0.05, {"rank": decisive["rank"]}, 12).mean_labels
    assert found.misses == (~kept[np.arange(400), deciding]).sum()
    assert kept.any(1).all()
    assert Shortlist("gap", SLACK).keeps(near).sum() == 400


@pytest.mark.parametrize("share, texts", [(0.05, 300), (0.02, 600)])
def test_holds_at_its_rate_over_draws(share, texts):
    # kills: a limit at a wrong place, both forms at the whole of what may go wrong, a shortlist chosen by another
    # sample's limit; and a statement that holds always, since it is far too cautious
    random = np.random.default_rng(3)
    wrong, allowed = 0, misses_allowed(texts, share, EACH)
    draws = 400
    for _ in range(draws):
        gaps = random.exponential(size=texts)  # the true share beyond t is exp(-t)
        ranks = np.ceil(20 * (1 - np.exp(-random.exponential(size=texts)))).astype(int)  # uniform over 1 to 20
        every = np.tile(np.linspace(0, 9, 20), (texts, 1))
        found = certified(share, {"rank": ranks, "gap": gaps}, 20, every)
        if not found.held:
            continue
        assert found.misses <= allowed
        limit = found.shortlist.limit
        missed = math.exp(-limit) if found.shortlist.form == "gap" else 1 - limit / 20
        wrong += missed > share
    assert 0.005 < wrong / draws <= 0.05


def test_what_it_costs_counts_the_sample():
    # kills: a saving that leaves out what the sample cost
    shown = Certificate(
        asked=0.01, shortlist=Shortlist("rank", 15), texts=1_000, misses=2, labels=150, mean_labels=15.0
    )
    assert shown.times_fewer(4_500) == pytest.approx(150 * 4_500 / (15 * 4_500 + 150 * 1_000))
    assert shown.times_fewer(10**9) == pytest.approx(10, abs=1e-3)
    assert "2 of 1,000 texts" in str(shown) and "15.0 of 150" in str(shown)


def test_shares_that_are_none():
    # kills: a certificate of nothing, a sample without end
    for share in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(SettingError, match="is no share of texts"):
            usual_sample(share)
        with pytest.raises(SettingError, match="is no share of texts"):
            certified(share, {"rank": np.ones(500)}, labels=3)
    few = certified(0.01, {"rank": np.ones(100)}, labels=3)
    assert "that takes 368" in str(few)
    assert misses_allowed(usual_sample(0.01), 0.01, EACH) > 0


def spoiled(random, texts, labels=12):
    """A shortlister's scores, and those of a verifier that likes some labels and takes others for each other."""
    near = random.normal(size=(texts, labels))
    taken = near @ np.roll(np.eye(labels), 1, axis=0) + np.linspace(-2, 2, labels)
    return near, taken + random.normal(0, 0.3, size=near.shape)


TEACH = np.array([(row + 1) * 210 // 600 > row * 210 // 600 for row in range(600)])
"""The texts of a sample of 600 that teach."""


def test_a_taught_shortlister_is_certified_on_texts_that_did_not_teach_it():
    # kills: texts that teach and certify, a lesson that is forgotten where it is used, a cost without the teachers,
    # a limit at the confidence of one of several kinds
    near, scores = spoiled(np.random.default_rng(1), 600)
    deciding = np.arange(12) == scores.argmax(1)[:, None]
    for alone, form in ((False, "reach"), (True, "gap")):
        found = cheapest(0.05, near, scores, deciding, alone=alone)
        assert (found.texts, found.taught, found.shortlist.form) == (390, 210, form)
        assert found.lesson.digest == Lesson.of(near[TEACH], scores[TEACH]).digest
        kept = found.shortlist.keeps(found.lesson.said(near), scores / found.lesson.unit)
        assert found.misses == (deciding & ~kept)[~TEACH].sum() == misses_allowed(390, 0.05, EACH)
        assert found.mean_labels == pytest.approx(kept[~TEACH].sum(1).mean(), abs=0.01)
        assert found.mean_labels < 0.5 * certified(0.05, {"rank": depths(near, "rank")[deciding]}, 12).mean_labels
        assert found.times_fewer(1_000) == pytest.approx(12 * 1_000 / (found.mean_labels * 1_000 + 12 * 600))
    few = cheapest(0.05, near[:90], scores[:90], deciding[:90])  # fewer teach before fewer certify than must
    assert (few.texts, few.taught) == (72, 18)
    assert cheapest(0.05, near[:72], scores[:72], deciding[:72]).lesson is None
    few = cheapest(0.05, near[:71], scores[:71], deciding[:71])
    assert not few.held and "that takes 72 without a miss" in str(few)
    plain = cheapest(0.05, scores + 0.02 * near, scores, deciding)  # it knows all but a little
    assert (plain.texts, plain.lesson) == (600, None) and plain.misses <= misses_allowed(600, 0.05, EACH)


def test_taught_shortlists_hold_at_their_rate():
    # kills: a lesson certified on its own teachers, a kind that is chosen by the texts that certify it
    random = np.random.default_rng(2)
    pool, verifier = spoiled(random, 20_000)
    best = np.arange(12) == verifier.argmax(1)[:, None]
    for alone in (False, True):
        wrong, draws = 0, 150
        for _ in range(draws):
            rows = random.integers(len(pool), size=240)
            found = cheapest(0.1, pool[rows], verifier[rows], best[rows], alone=alone)
            assert found.lesson is not None
            kept = found.shortlist.keeps(found.lesson.said(pool), verifier / found.lesson.unit)
            wrong += (best & ~kept).any(1).mean() > 0.1
        assert wrong / draws <= 0.05


def test_a_lesson_is_ridge_regression_from_what_both_share():
    # kills: the map transposed, the ridge towards nothing, a mean left out, spreads of the wrong scorer
    random = np.random.default_rng(3)
    near, scores = spoiled(random, 40, labels=3)
    near, scores = 5 * near, 7 * scores

    def standard(table):
        less = table - table.mean(1, keepdims=True)
        return less / math.sqrt((less**2).mean())

    own, wanted = standard(near), scores / math.sqrt(scores.var(axis=1).mean())
    middle, constant = own.mean(0), wanted.mean(0)
    alike = ((own - middle) * (wanted - constant)).sum() / ((own - middle) ** 2).sum()
    lesson = Lesson.of(near, scores)

    def loss(weights):
        off = wanted - constant - (own - middle) @ weights
        return (off**2).sum() + 0.1 * 40 * ((weights - alike * np.eye(3)) ** 2).sum()

    best = loss(lesson.weights)
    for _ in range(30):
        assert loss(lesson.weights + random.normal(0, 0.01, size=(3, 3))) > best
    assert lesson.said(near) == pytest.approx((own - middle) @ lesson.weights + constant)
    assert lesson.digest != Lesson.of(near, scores[:, ::-1]).digest
    higher = Lesson.of(near, scores + 5)  # on the verifier's own level, which a reach compares
    assert higher.said(near) == pytest.approx(lesson.said(near) + 5 / lesson.unit)
    assert higher.digest != lesson.digest
