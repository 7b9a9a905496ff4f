"""Masks: budgets, laws of choice, whole words, and what stands in a token's place, against plain Python.

The references use lists and sets, are written from the papers' rules rather than from our code, and share with it
only the dice and the order in which they are thrown.
"""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sijo.errors import SettingError
from sijo.objectives.masking import Masking, choose, choose_by_frequency, replace_chosen

BY_SAMPLE = ["token", "word", "ngram", "deberta_ngram", "span"]


def dice(*key):
    """Dice for one sample: Philox, keyed as `sijo.random` does it."""
    return np.random.Generator(np.random.Philox(key=np.array((*key, 0, 0)[:2], dtype=np.uint64)))


def must_be_likely(seen, expected):
    """A chi-square test of counts that fails by chance once in a million."""
    assert len(seen) == len(expected) and math.isclose(sum(seen), sum(expected), rel_tol=1e-9)
    statistic = math.fsum((a - b) ** 2 / b for a, b in zip(seen, expected, strict=True))
    free = len(seen) - 1
    bound = free * (1 - 2 / (9 * free) + 4.75 * math.sqrt(2 / (9 * free))) ** 3  # Wilson and Hilferty
    assert statistic < bound, (statistic, bound, seen, expected)


def text(number):
    """Segments of words of up to four pieces between special tokens, some begun within a word, and padding."""
    chance = np.random.default_rng(number)
    candidates, starts = [False], [True]
    for _ in range(chance.integers(1, 4)):
        for word in range(chance.integers(1, 25)):
            pieces = chance.choice([1, 1, 1, 2, 3, 4])
            candidates += [True] * pieces
            starts += [bool(word) or chance.random() < 0.5] + [False] * (pieces - 1)
        candidates.append(False)
        starts.append(bool(chance.random() < 0.5))  # what is said of a special token must not matter
    tokens, padding = len(candidates), [False] * int(chance.integers(0, 5))
    return np.array(candidates + padding), np.array(starts + padding), tokens


def plain_segments(candidates, starts):
    """Segments of words of places."""
    segments, before = [], False
    for place, (free, start) in enumerate(zip(candidates, starts, strict=True)):
        if free and not before:
            segments.append([[place]])
        elif free and start:
            segments[-1].append([place])
        elif free:
            segments[-1][-1].append(place)
        before = free
    return segments


def plain_length(weights, die):
    """1, 2, 3, … by weights that need not sum to 1."""
    at = die * math.fsum(weights)
    for number, weight in enumerate(weights, 1):
        at -= weight
        if at < 0:
            return number
    return len(weights)


def plain_spans(candidates, starts, budget, weights, chance):
    """ALBERT's rules: n-grams of whole words from shuffled words. Gives the n-grams taken, as lists of places."""
    words = [(segment, at) for segment in plain_segments(candidates, starts) for at in range(len(segment))]
    order, lengths = ([chance.random() for _ in words] for _ in range(2))
    taken, covered = [], set()
    for number in sorted(range(len(words)), key=order.__getitem__):
        if len(covered) >= budget:
            break
        segment, at = words[number]
        reach = segment[at : at + len(weights)]
        count = plain_length(weights[: len(reach)], lengths[number])
        while count and sum(map(len, reach[:count])) + len(covered) > budget:
            count -= 1
        span = [place for word in reach[:count] for place in word]
        if span and not covered & set(span):
            taken.append(span)
            covered |= set(span)
    return taken


def plain_windows(candidates, starts, budget, longest, share, chance):
    """DeBERTa's windows, walked around the text from a random word, then chosen words in random order."""
    segments = plain_segments(candidates, starts)
    words = [word for segment in segments for word in segment]
    if longest == 1:
        words = [[place] for word in words for place in word]
    turn = math.floor(chance.random() * len(words))
    lengths, begins, order = ([chance.random() for _ in words] for _ in range(3))
    chosen, at, throw = [], 0, 0
    while at < len(words):
        length = plain_length([1 / n for n in range(1, longest + 1)], lengths[throw])
        window = min(length * math.floor(1 / share), len(words) - at)
        start = at + math.floor(begins[throw] * window)
        chosen += [(place + turn) % len(words) for place in range(start, start + length) if place < len(words)]
        at, throw = max(at + window, start + length), throw + 1
    covered = set()
    for word in sorted(chosen, key=order.__getitem__):
        if len(covered) + len(words[word]) <= budget:
            covered |= set(words[word])
    return covered


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"choice": "tokens"}, "did you mean 'token'"),
        ({"share": 0.0}, "masking.share=0.0"),
        ({"share": 1.5}, "masking.share=1.5"),
        ({"share": float("nan")}, "masking.share=nan"),
        ({"most": 0}, "masking.most=0"),
        ({"most": 20, "choice": "frequency"}, "leave it null"),
        ({"longest": 0}, "masking.longest=0"),
        ({"mask": 0.9}, "make 1 together"),
        ({"mask": 1.1, "keep": -0.2}, "make 1 together"),
        ({"keep": float("nan")}, "make 1 together"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    # kills: each check left out; comparisons that let nan through
    with pytest.raises(SettingError, match=words):
        Masking(**settings)


@pytest.mark.parametrize(
    ("settings", "budgets"),
    [
        ({"choice": "ngram", "most": 20}, {512: 20, 128: 19, 6: 1, 2: 1}),  # ALBERT
        ({"most": int((0.15 + 0.005) * 128)}, {128: 19, 100: 15, 64: 10}),  # ELECTRA: small, base, large
        ({"most": int((0.15 + 0.005) * 512)}, {512: 77, 600: 79}),
        ({"most": int((0.25 + 0.005) * 512), "share": 0.25}, {512: 128, 600: 130}),
        ({"choice": "deberta_ngram"}, {512: 77}),
        ({}, {10: 2, 30: 4, 50: 8, 1: 1, 10_000: 1500}),  # 1.5, 4.5 and 7.5 go to the even number
        ({"choice": "frequency"}, {101: 16, 128: 20, 8192: 1229}),
    ],
)
def test_budgets_are_the_published_ones(settings, budgets):
    # kills: halves rounded up (5 of 30), rounding down, `most` left out, no floor of 1, frequency not rounded up
    masking = Masking(**settings)
    assert {tokens: masking.budget(tokens) for tokens in budgets} == budgets


# --- which tokens --------------------------------------------------------------------------------


def test_tokens_are_the_ones_of_the_lowest_dice():
    # kills: padding counted in the share or thrown dice for; special tokens drawn; places not mapped back
    for number in range(100):
        candidates, starts, tokens = text(number)
        budget = max(1, round(0.15 * tokens))
        chance = dice(number)
        thrown = sorted((chance.random(), place) for place in range(len(candidates)) if candidates[place])
        chosen = choose(Masking(choice="token"), candidates, starts, dice(number), tokens=tokens)
        assert np.flatnonzero(chosen).tolist() == sorted(place for _, place in thrown[:budget])


@pytest.mark.parametrize(
    ("masking", "weights"),
    [
        (Masking(choice="word"), [1]),
        (Masking(choice="ngram"), [1, 1 / 2, 1 / 3]),
        (Masking(choice="ngram", most=4, longest=2), [1, 1 / 2]),
        (Masking(choice="ngram", share=0.6, longest=5), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (Masking(choice="span", longest=10), [0.2 * 0.8**n for n in range(10)]),
        (Masking(choice="span", share=0.5, longest=4), [0.2 * 0.8**n for n in range(4)]),
    ],
    ids=lambda value: value.choice if isinstance(value, Masking) else "",
)
def test_runs_of_words_are_the_plain_ones(masking, weights):
    # kills: no renormalising near a segment's end, runs over a [SEP], a word glued over a [SEP], overlapping runs,
    # stopping (not shrinking, then passing over) at what does not fit, words torn, dice read in another order
    for number in range(150):
        candidates, starts, tokens = text(number)
        budget = masking.budget(tokens)
        spans = plain_spans(candidates, starts, budget, weights, dice(number))
        chosen = choose(masking, candidates, starts, dice(number), tokens=tokens)
        assert np.flatnonzero(chosen).tolist() == sorted(place for span in spans for place in span)
        assert chosen.sum() <= budget


@pytest.mark.parametrize(("longest", "share"), [(1, 0.15), (3, 0.15), (3, 0.3), (5, 0.9)])
def test_windows_of_words_are_the_plain_ones(longest, share):
    # kills: a start beyond its window, windows that forget a run that stands out of one, the budget exceeded by a
    # word's last pieces, words with longest=1, dice read in another order
    masking = Masking(choice="deberta_ngram", longest=longest, share=share)
    for number in range(150):
        candidates, starts, tokens = text(number)
        covered = plain_windows(candidates, starts, masking.budget(tokens), longest, share, dice(number))
        chosen = choose(masking, candidates, starts, dice(number), tokens=tokens)
        assert np.flatnonzero(chosen).tolist() == sorted(covered)


@pytest.mark.parametrize("choice", BY_SAMPLE)
def test_only_whole_words_and_no_special_token(choice):
    # kills: words torn, a budget exceeded or special tokens asked about, whatever the references say
    torn = 0
    for number in range(100):
        candidates, starts, tokens = text(number)
        masking = Masking(choice=choice, share=0.4)
        chosen = choose(masking, candidates, starts, dice(number), tokens=tokens)
        assert not chosen[~candidates].any()
        assert chosen.sum() <= masking.budget(tokens)
        words = [word for segment in plain_segments(candidates, starts) for word in segment]
        torn += sum(len(set(chosen[word])) > 1 for word in words)
    assert (torn > 0) == (choice == "token")


@pytest.mark.parametrize("choice", BY_SAMPLE)
def test_padding_and_a_second_call_change_nothing(choice):
    # kills: dice thrown for padding; chance from anywhere but the given dice
    candidates, starts, tokens = text(3)
    masking = Masking(choice=choice)
    short = choose(masking, candidates[:tokens], starts[:tokens], dice(7))
    padded = np.zeros((2, 200), dtype=bool)
    padded[:, :tokens] = candidates[:tokens], starts[:tokens]
    long = choose(masking, *padded, dice(7), tokens=tokens)
    assert short.any()
    assert np.flatnonzero(short).tolist() == np.flatnonzero(long).tolist()
    others = {
        tuple(np.flatnonzero(choose(masking, candidates, starts, dice(7, n), tokens=tokens))) for n in range(20)
    }
    assert len(others) > 5


@pytest.mark.parametrize("choice", BY_SAMPLE)
def test_texts_with_nothing_to_ask(choice):
    # kills: a crash on [CLS] [SEP] alone, on a word longer than the budget, and on an empty sample
    nothing = np.zeros(4, dtype=bool)
    assert not choose(Masking(choice=choice), nothing, nothing, dice(0)).any()
    assert choose(Masking(choice=choice), nothing[:0], nothing[:0], dice(0)).tolist() == []
    one_word = np.array([False, True, True, True, False])
    chosen = choose(Masking(choice=choice), one_word, np.array([True, True, False, False, True]), dice(0))
    assert chosen.sum() == (1 if choice == "token" else 0)


class OnlyDoubles:
    """Dice that can be thrown in one way alone."""

    def __init__(self, chance):
        self.random = chance.random


@pytest.mark.parametrize(
    ("choice", "asked", "shown"),
    [
        (
            "token",
            [1, 6, 9, 10, 11, 12, 13, 14, 16, 19, 22, 25],
            [4, 3, 109, 4, 4, 4, 16, 16, 4, 36, 5, 29],
        ),
        (
            "word",
            [1, 2, 9, 13, 14, 16, 17, 18, 21, 22, 23, 24],
            [4, 36, 5, 29, 4, 4, 4, 4, 121, 122, 4, 4],
        ),
        (
            "ngram",
            [1, 2, 9, 13, 14, 16, 17, 18, 19, 20, 21, 24],
            [4, 36, 5, 29, 4, 4, 4, 4, 119, 120, 4, 4],
        ),
        (
            "deberta_ngram",
            [1, 2, 9, 10, 11, 13, 14, 16, 17, 19, 20, 21],
            [22, 4, 4, 110, 0, 25, 4, 12, 49, 39, 120, 22],
        ),
        (
            "span",
            [1, 2, 9, 10, 11, 13, 14, 16, 17, 18, 21, 24],
            [4, 4, 5, 29, 21, 4, 4, 4, 4, 4, 4, 4],
        ),
    ],
)
def test_masks_of_earlier_versions_stay(choice, asked, shown):
    # kills: any change of the dice or their order, after which a resumed run would see other masks; other sources
    # of chance than random()
    candidates = np.array([False, *[True] * 14, False, *[True] * 12, False])
    starts = np.arange(29) % 3 != 2
    chance = OnlyDoubles(dice(11))
    masking = Masking(choice=choice, share=0.4, mask=0.4, keep=0.2, random=0.4)
    chosen = choose(masking, candidates, starts, chance)
    ids = replace_chosen(masking, np.arange(100, 129), chosen, chance, mask_id=4, vocab_size=50)
    assert (np.flatnonzero(chosen).tolist(), ids[chosen].tolist()) == (asked, shown)


# --- laws of choice, by many draws -----------------------------------------------------------------


def runs(chosen):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(chosen.astype(int), prepend=0, append=0))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize(
    ("choice", "longest", "law"),
    [
        ("ngram", 3, [6 / 11, 3 / 11, 2 / 11]),
        ("span", 10, [0.2 * 0.8**n / (1 - 0.8**10) for n in range(10)]),
        ("deberta_ngram", 3, [6 / 11, 3 / 11, 2 / 11]),
    ],
)
def test_lengths_follow_their_law(choice, longest, law):
    # kills: all lengths alike, 2^-n, a geometric law whose tail is heaped on the longest, the last length left out
    words = 100_000
    everything = np.ones(words, dtype=bool)
    seen = Counter()
    for number in range(10):
        if choice == "deberta_ngram":  # windows of a hundred words a word, so that runs do not touch; no bound
            masking = Masking(choice=choice, longest=longest, share=0.01)
            chosen = choose(masking, everything, everything, dice(number), tokens=100 * words)
        else:
            chosen = choose(
                Masking(choice=choice, longest=longest, share=0.005), everything, everything, dice(number)
            )
        seen.update(runs(chosen))
    lone = [seen[length] for length in range(1, longest + 1)]
    assert sum(lone) > 1000 and sum(seen.values()) - sum(lone) < 0.01 * sum(lone)
    must_be_likely(lone, [sum(lone) * share for share in law])


def test_a_segment_of_two_words_ends_an_ngram():
    # kills: a run that passes a [SEP] (a third of the pairs would be touched twice), a law cut off but not
    # renormalised: of two words, the first alone is 1/2 of 2/3, both 1/2 of 1/3, the second alone 1/2
    pairs = 40_000
    candidates = np.tile([False, True, True], pairs)
    seen = Counter()
    for number in range(5):
        chosen = choose(Masking(choice="ngram", share=0.002), candidates, candidates, dice(number))
        seen.update(map(tuple, chosen.reshape(pairs, 3)[:, 1:].tolist()))
    touched = [seen[pair] for pair in [(True, False), (True, True), (False, True)]]
    must_be_likely(touched, [sum(touched) * share for share in (1 / 3, 1 / 6, 1 / 2)])


def test_albert_realises_its_shares_with_its_budget():
    # kills: spans drawn again until one fits, or whole n-grams preferred as the budget runs out. Known of
    # these rules at 512 tokens, words of one piece and 20 predictions: 57.6, 26.5 and 15.9 %
    candidates = np.array([False, *[True] * 510, False])
    seen = Counter()
    for number in range(250):
        spans = plain_spans(candidates, candidates, 20, [1, 1 / 2, 1 / 3], dice(number))
        seen.update(map(len, spans))
        chosen = choose(Masking(choice="ngram", most=20), candidates, candidates, dice(number))
        assert np.flatnonzero(chosen).tolist() == sorted(place for span in spans for place in span)
    shares = [seen[length] / sum(seen.values()) for length in (1, 2, 3)]
    assert shares == pytest.approx([0.576, 0.265, 0.159], abs=0.02)


@pytest.mark.parametrize(
    ("choice", "longest", "words", "draws"),
    [
        ("token", 1, 126, 2000),
        ("word", 1, 126, 1500),
        ("deberta_ngram", 1, 510, 1000),
        ("deberta_ngram", 3, 510, 1000),
        ("deberta_ngram", 1, 20, 2000),
        ("deberta_ngram", 3, 20, 2000),
    ],
)
def test_every_place_has_the_same_chance(choice, longest, words, draws):
    # kills: DeBERTa's bound applied from left to right (its last places are never asked about); a last window of
    # fewer words, or first words that fewer runs reach, at the same end of every text
    candidates = np.array([False, *[True] * words, False])
    masking = Masking(choice=choice, longest=longest)
    seen = np.zeros(words + 2, dtype=int)
    for number in range(draws):
        seen += choose(masking, candidates, candidates, dice(number))
    assert seen.sum() > 0.9 * draws * masking.budget(words + 2)
    must_be_likely(seen[1:-1].tolist(), [seen.sum() / words] * words)


# --- by frequency ----------------------------------------------------------------------------------


COUNTS = np.array([10**6, 1000, 10, 0, 1, 50])


def by_frequency(ids, chances, share=0.15):
    return choose_by_frequency(Masking(choice="frequency", share=share), ids, ids > 0, ids >= 0, COUNTS, chances)


def test_frequency_is_the_plain_one():
    # kills: a power near 0.7 but not it, dice read in another order, counts of the wrong tokens
    chance = np.random.default_rng(0)
    for number in range(60):
        ids = chance.integers(-1, 6, (4, 40))
        free = [(row, place) for row in range(4) for place in range(40) if ids[row, place] > 0]
        thrown = [dice(number, row) for row in range(4)]
        waits = sorted(
            (-math.log(1 - thrown[row].random()) * max(int(COUNTS[ids[row, place]]), 1) ** 0.7, row, place)
            for row, place in free
        )
        budget = math.ceil(0.15 * int((ids >= 0).sum()))
        chosen = by_frequency(ids, [dice(number, row) for row in range(4)])
        assert list(zip(*np.nonzero(chosen), strict=True)) == sorted(
            (row, place) for _, row, place in waits[:budget]
        )


def test_one_token_is_drawn_by_frequency():
    # kills: weights of another power, counts of 0 not raised to 1, dice used without their logarithm, most frequent
    # first. Weights of 1000, 10, 0 and 1: 0.00794328, 0.19952623, 1, 1 (by hand); 0 is special here
    ids = np.array([[0, 1, 2], [3, 4, -1]])
    draws = 3000
    seen = Counter()
    for number in range(draws):
        [place] = np.flatnonzero(by_frequency(ids, [dice(number, 0), dice(number, 1)]))
        seen[int(ids.flat[place])] += 1
    expected = [0.00359837, 0.09038686, 0.45300739, 0.45300738]
    must_be_likely([seen[token] for token in (1, 2, 3, 4)], [draws * share for share in expected])


def test_two_tokens_are_drawn_one_after_the_other():
    # kills: u / w or u * w in place of an exponential wait, whose first draw may be right and whose second is not
    ids = np.array([[0, 1, 2, 5, 4, -1, -1]])
    weights = {token: max(int(COUNTS[token]), 1) ** -0.7 for token in (1, 2, 5, 4)}
    whole = sum(weights.values())
    pairs = [(a, b) for a in weights for b in weights if a < b]
    law = [
        sum(weights[a] / whole * weights[b] / (whole - weights[a]) for a, b in (pair, pair[::-1])) for pair in pairs
    ]
    draws = 3000
    seen = Counter()
    for number in range(draws):
        seen[tuple(sorted(ids[by_frequency(ids, [dice(number)], share=0.3)].tolist()))] += 1
    must_be_likely([seen[pair] for pair in pairs], [draws * share for share in law])


def test_a_batch_shares_one_budget_whatever_its_order():
    # kills: a budget for each sample, padding counted in it, special tokens drawn, dice that follow the row or the
    # width of the batch
    chance = np.random.default_rng(0)
    lengths = [40, 9, 25, 3, 31]
    rows = [[0, *chance.integers(1, 6, length).tolist(), 0] for length in lengths]

    def asked(order, width):
        ids = np.array([rows[row] + [-1] * (width - len(rows[row])) for row in order])
        chosen = by_frequency(ids, [dice(9, row) for row in order])
        return {row: np.flatnonzero(places).tolist() for row, places in zip(order, chosen, strict=True)}

    first = asked([0, 1, 2, 3, 4], 42)
    assert sum(map(len, first.values())) == math.ceil(0.15 * sum(map(len, rows)))
    assert len({len(places) / len(rows[row]) for row, places in first.items()}) > 1
    assert all(rows[row][place] for row, places in first.items() for place in places)
    assert asked([3, 0, 4, 2, 1], 60) == first


def test_fewer_candidates_than_the_budget_are_all_asked():
    # kills: a crash, or special tokens drawn in their stead
    ids = np.array([[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]])
    assert np.flatnonzero(by_frequency(ids, [dice(0)])).tolist() == [13]
    assert not by_frequency(np.zeros((2, 5), dtype=int), [dice(0), dice(1)]).any()


def test_one_sample_by_frequency_is_sent_elsewhere():
    # kills: a choice that ignores the counts in silence
    everything = np.ones(5, dtype=bool)
    with pytest.raises(SettingError, match="choose_by_frequency"):
        choose(Masking(choice="frequency"), everything, everything, dice(0))


# --- what stands in their place ----------------------------------------------------------------------


VOCABULARY, MASK, TRUE = 30, 1000, 2000  # far apart, so that each fate shows


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.85, 0.15, 0.0), (1.0, 0.0, 0.0), (0.5, 0.1, 0.4)])
def test_fates_of_the_chosen_tokens(shares):
    # kills: keep and random exchanged, one die for all, ELECTRA's third share not 0, random ids that miss the first
    # or the last of the vocabulary, a token changed that nobody chose, the clean ids overwritten, another dtype
    mask, keep, random = shares
    count = 60_000
    clean = np.full(count, TRUE, dtype=np.int32)
    chosen = dice(1).random(count) < 0.5
    masking = Masking(mask=mask, keep=keep, random=random)
    shown = replace_chosen(masking, clean, chosen, dice(2), mask_id=MASK, vocab_size=VOCABULARY)
    assert shown.dtype == np.int32 and (clean == TRUE).all() and (shown[~chosen] == TRUE).all()
    drawn = shown[shown < VOCABULARY]
    for share, seen in zip(shares, [(shown == MASK).sum(), (shown[chosen] == TRUE).sum(), len(drawn)], strict=True):
        expected = share * chosen.sum()
        assert abs(seen - expected) <= 4.9 * math.sqrt(expected * (1 - share))  # 0 where the share is 0 or 1
    if random:
        assert drawn.min() >= 0
        must_be_likely(np.bincount(drawn, minlength=VOCABULARY).tolist(), [len(drawn) / VOCABULARY] * VOCABULARY)


@pytest.mark.parametrize("choice", ["word", "ngram", "span"])
def test_a_span_has_one_fate_and_a_word_does_not(choice):
    # kills: SpanBERT's spans decided token by token, other choices run by run, one random token for a whole span
    count = 20_000
    chosen = np.arange(4 * count) % 4 != 0  # runs of three
    clean = np.full(len(chosen), TRUE)
    shown = replace_chosen(Masking(choice=choice), clean, chosen, dice(3), mask_id=MASK, vocab_size=VOCABULARY)
    spans = shown.reshape(count, 4)[:, 1:]
    fates = np.where(spans == MASK, 0, np.where(spans == TRUE, 1, 2))
    alike = (fates == fates[:, :1]).all(1)
    if choice == "span":
        assert alike.all()
        must_be_likely(np.bincount(fates[:, 0], minlength=3).tolist(), [0.8 * count, 0.1 * count, 0.1 * count])
        assert any(a != b for a, b in pairwise(spans[fates[:, 0] == 2].ravel().tolist()[:3]))
    else:
        assert abs(alike.mean() - (0.8**3 + 2 * 0.1**3)) < 0.02
