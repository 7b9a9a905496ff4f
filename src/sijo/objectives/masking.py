"""Masking: which tokens are targets, and what the model sees in their place.

Every rule is a pure function of uniform draws. They come from numpy's `Generator.random()` and nothing else: its
doubles are the bits of the generator, while what `permutation` or `integers` make of those may change with numpy.
Only candidate tokens use draws, so padding changes none. Nothing here knows a tokenizer or a network.

Three released codes are followed in what they meant, not to the letter:

ELECTRA   draws places with replacement, so 7 % are drawn twice; here no place is drawn twice (electra issue 41).
DeBERTa   applies the bound from left to right, so the end of a text is never a target; here at random.
ALBERT    lets an n-gram run on behind a [SEP]; here a phrase ends where its segment ends.

Letters: B batch, L length, P candidate places, W words among them, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sijo.errors import SettingError, nearest

Choice = Literal["token", "word", "ngram", "deberta_ngram", "span", "frequency"]
Bools = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]

SMOOTHING = 0.7
"""How much rare tokens are preferred by frequency: the `mlm_smoothing` of DistilBERT's script."""
SPAN_END = 0.2
"""Probability that a span of SpanBERT's ends after a word."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """Which tokens a masked model has to predict, and what it sees in their place.

    BERT         choice="token", or "word" for whole words; most=20 at length 128
    ALBERT       choice="ngram", most=20
    ELECTRA      choice="token", most=int((share + 0.005) * length), mask=0.85, keep=0.15, random=0
    DeBERTa      choice="deberta_ngram"; with longest=1, mask=1, keep=0, random=0 the generator of v3
    SpanBERT     choice="span", longest=10
    DistilBERT   choice="frequency"
    """

    choice: Choice = "token"
    """Tokens, all alike; whole words; runs of up to `longest` words, short ones more often (ALBERT); one such run
    in each window of words (DeBERTa); longer runs, each replaced as one (SpanBERT); or rare tokens rather than
    frequent ones (DistilBERT)."""
    share: float = 0.15
    """Of the tokens, special ones counted, how many are targets."""
    most: int | None = None
    """At most so many of a sample; None sets no other bound than the share."""
    longest: int = 3
    """Words of an n-gram or span at most."""
    mask: float = 0.8
    """Of the target tokens, how many are replaced by [MASK]."""
    keep: float = 0.1
    """How many of them stay as they are."""
    random: float = 0.1
    """How many of them are replaced by a token drawn from the whole vocabulary."""

    def __post_init__(self) -> None:
        known = get_args(Choice)
        if self.choice not in known:
            raise SettingError(
                f"no masking.choice {self.choice!r}{nearest(str(self.choice), known)}; there are {', '.join(known)}"
            )
        if not 0 < self.share <= 1:
            raise SettingError(
                f"masking.share={self.share} is no share of the tokens; give one above 0 and up to 1, such as 0.15"
            )
        if self.most is not None and self.most < 1:
            raise SettingError(
                f"masking.most={self.most} leaves nothing to ask; give 1 or more, or null for no such bound"
            )
        if self.most is not None and self.choice == "frequency":
            raise SettingError(
                f"masking.most={self.most} is a bound for each sample, but by frequency a batch shares what it is "
                "asked; leave it null"
            )
        if self.longest < 1:
            raise SettingError(f"masking.longest={self.longest} words make no n-gram; give 1 or more")
        parts = self.mask, self.keep, self.random
        if not (min(parts) >= 0 and abs(sum(parts) - 1) < 1e-9):
            raise SettingError(
                f"masking.mask={self.mask}, keep={self.keep} and random={self.random} must be shares that make 1 "
                "together, such as 0.8, 0.1 and 0.1"
            )

    def budget(self, tokens: int) -> int:
        """How many of so many tokens are targets: at least one; a half goes to the even number.

        By frequency it is a whole batch's, rounded up, as in DistilBERT's script.

        tokens  of a sample, [CLS] and [SEP] among them, padding not: as BERT, ALBERT, ELECTRA and DeBERTa count

        >>> [Masking(choice="ngram", most=20).budget(tokens) for tokens in (512, 128, 30, 6, 2)]
        [20, 19, 4, 1, 1]
        """
        if self.choice == "frequency":
            return math.ceil(self.share * tokens)
        wanted = max(1, round(self.share * tokens))
        return wanted if self.most is None else min(self.most, wanted)


def choose(
    masking: Masking,
    candidates_L: Bools,
    starts_L: Bools,
    generator: np.random.Generator,
    *,
    tokens: int | None = None,
) -> Bools:
    """The target tokens of one sample, never more than its budget.

    A word begins at a token of `starts_L` or behind a token that is no candidate, and is chosen whole.

    token          so many as the budget says, all alike
    word           words in random order; one that no longer fits is passed over (BERT's whole-word masking)
    ngram          words in random order, each the first of n words with p(n) as 1/n, renormalised over those left
                   in its segment; n shrinks to what fits; passed over if it meets one chosen before (ALBERT)
    span           the same, with p(n) as 0.8^n: 3.8 words on average over 1 to 10 (SpanBERT)
    deberta_ngram  from a random word on and around the end, n as 1/n and one run of n words in each window of
                   6n (more generally, int(1 / share) times n); of the words in them, in random order, those that
                   fit. Every word is equally likely, and a run may pass over a special token. With longest=1 the
                   words are tokens.

    candidates_L  True where a token may be a target, so not at special tokens or padding
    starts_L      True where a token begins a word; `token` does not look at it
    generator     random generator of this sample
    tokens        how many tokens of the sample the share is of; by default L

    Returns booleans of shape (L,). All are False if there is no candidate, or no word fits the budget.
    Raises SettingError for a choice by frequency, which is a batch's: `choose_by_frequency`.
    Source: Devlin et al. 2018; the released ALBERT and DeBERTa codes; Joshi et al. 2020 (arXiv:1907.10529) and its
    code, where spans are drawn anew with replacement and the last word is cut to the budget: not here.

    >>> inner = np.array([False, *[True] * 9, False])
    >>> generator = np.random.Generator(np.random.Philox(key=1))
    >>> choose(Masking(choice="ngram", share=0.4), inner, inner, generator).astype(int).tolist()
    [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    """
    if masking.choice == "frequency":
        raise SettingError('masking.choice="frequency" chooses for a whole batch; call choose_by_frequency')
    budget = masking.budget(len(candidates_L) if tokens is None else tokens)
    places_P = np.flatnonzero(candidates_L)
    chosen_L = np.zeros(len(candidates_L), dtype=bool)
    if masking.choice == "token":
        chosen_L[places_P[_order(generator.random(len(places_P)))[:budget]]] = True
        return chosen_L

    apart_P = np.diff(places_P, prepend=-2) > 1  # True behind a special token, and at the first place
    begins_P = apart_P | starts_L[places_P]
    if masking.choice == "deberta_ngram" and masking.longest == 1:
        begins_P[:] = True
    edges = np.append(np.flatnonzero(begins_P), len(places_P))
    if masking.choice == "deberta_ngram":
        firsts = _windowed(masking, len(edges) - 1, generator)
        lengths = [1] * len(firsts)
    else:
        segment_W = np.cumsum(apart_P)[edges[:-1]]
        left_W = np.searchsorted(segment_W, segment_W, side="right") - np.arange(len(segment_W))
        order_draws_W, length_draws_W = generator.random((2, len(segment_W)))
        order_W = _order(order_draws_W)
        firsts, lengths = order_W.tolist(), _lengths(masking, length_draws_W, left_W)[order_W].tolist()
    taken_W = _filled(firsts, lengths, edges.tolist(), budget)
    chosen_L[places_P] = np.repeat(taken_W, np.diff(edges))
    return chosen_L


def choose_by_frequency(
    masking: Masking,
    input_ids_BL: Integers,
    candidates_BL: Bools,
    keep_BL: Bools,
    counts_V: Integers,
    generators: Sequence[np.random.Generator],
) -> Bools:
    """The target tokens of a batch, rare ones rather than frequent ones (DistilBERT).

    The batch has one budget. Tokens are drawn one after the other without replacement, each with a probability as
    count^-0.7 among those left, so samples get different shares. Each sample has a random generator of its own: the
    order of the samples changes nothing, but which others are in the batch does. Call it with the whole batch of a
    step, or with one sample at a time where a sample's targets must not depend on the others.

    input_ids_BL   what tokens they are
    candidates_BL  True where a token may be a target
    keep_BL        True at real tokens, special ones among them: the share is of these
    counts_V       how often each token occurs in the corpus; never counts as once
    generators     random generator of each sample

    Returns booleans of shape (B, L); all candidates if they are fewer than the budget.
    Source: the released distillation script and its `mlm_smoothing`. Drawn as the first arrivals of as many
    waits as tokens, each exponential (Efraimidis and Spirakis 2006), which is the same law as one after the other.

    >>> ids = np.array([[0, 1, 1, 2, 1, 1, 0]])
    >>> philox, counts = np.random.Generator(np.random.Philox(key=1)), np.array([0, 90_000, 1])
    >>> choose_by_frequency(Masking(choice="frequency"), ids, ids > 0, ids >= 0, counts, [philox])
    array([[False, False, False,  True,  True, False, False]])
    """
    draws = [rng.random(int(count)) for count, rng in zip(candidates_BL.sum(1), generators, strict=True)]
    weights_P = np.maximum(counts_V[input_ids_BL[candidates_BL]], 1.0) ** -SMOOTHING
    waits_P = -np.log1p(-np.concatenate(draws)) / weights_P
    chosen_P = np.zeros(len(waits_P), dtype=bool)
    chosen_P[_order(waits_P)[: masking.budget(int(keep_BL.sum()))]] = True
    chosen_BL = np.zeros(candidates_BL.shape, dtype=bool)
    chosen_BL[candidates_BL] = chosen_P
    return chosen_BL


def replace_chosen(
    masking: Masking,
    input_ids_L: Integers,
    chosen_L: Bools,
    generator: np.random.Generator,
    *,
    mask_id: int,
    vocab_size: int,
) -> Integers:
    """The ids that the model sees: of the target tokens some are [MASK], some kept, some drawn at random.

    Each token has a draw of its own, in whole words and n-grams too (BERT, ALBERT, DeBERTa). With choice="span" one
    draw decides for a run of chosen tokens, as in SpanBERT's paper, so spans that touch share one. Random tokens
    come from the whole vocabulary, special tokens and the true one among them, as in the released codes of BERT,
    ALBERT, DeBERTa and DistilBERT.

    input_ids_L  the clean tokens
    chosen_L     True at the targets
    generator    random generator of this sample
    mask_id      the id of [MASK]
    vocab_size   random tokens are drawn from [0, vocab_size)

    Returns new ids of the same shape and type.

    >>> ids, chosen = np.arange(10, 18), np.array([False, True] * 4)
    >>> generator = np.random.Generator(np.random.Philox(key=5))
    >>> replace_chosen(Masking(), ids, chosen, generator, mask_id=4, vocab_size=100).tolist()
    [10, 4, 12, 4, 14, 4, 16, 4]
    """
    places_P = np.flatnonzero(chosen_L)
    fate_P, draw_P = generator.random((2, len(places_P)))
    if masking.choice == "span":
        first_P = np.diff(places_P, prepend=-2) > 1
        fate_P = fate_P[first_P][np.cumsum(first_P) - 1]
    hidden_P, drawn_P = fate_P < masking.mask, fate_P >= 1 - masking.random
    shown_L = input_ids_L.copy()
    shown_L[places_P[hidden_P]] = mask_id
    shown_L[places_P[drawn_P]] = (draw_P[drawn_P] * vocab_size).astype(shown_L.dtype)
    return shown_L


def _order(draws: NDArray[np.float64]) -> NDArray[np.intp]:
    """A random order: by ascending draw; of two equal ones the earlier comes first."""
    return np.argsort(draws, kind="stable")


def _lengths(masking: Masking, draws_W: NDArray[np.float64], left_W: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many words each span has, of the `left_W` there are from its first to the end of the segment."""
    longest = 1 if masking.choice == "word" else masking.longest
    words = np.arange(1, longest + 1)
    edges = np.cumsum((1 - SPAN_END) ** words if masking.choice == "span" else 1 / words)
    room_W = np.minimum(left_W, longest)
    words_W: NDArray[np.intp] = np.searchsorted(edges, draws_W * edges[room_W - 1], side="right") + 1
    return np.minimum(words_W, room_W)  # a draw just under 1 may round up to the last edge


def _windowed(masking: Masking, words: int, generator: np.random.Generator) -> list[int]:
    """The words in DeBERTa's windows, in random order."""
    turn = int(generator.random() * words)
    length_draws_W, start_draws_W, order_draws_W = generator.random((3, words))
    lengths = _lengths(masking, length_draws_W, np.full(words, masking.longest)).tolist()
    masked: list[int] = []
    at = 0
    for length, draw in zip(lengths, start_draws_W.tolist(), strict=True):
        if at >= words:
            break
        window = min(length * int(1 / masking.share), words - at)
        start = at + int(draw * window)
        end = min(start + length, words)
        masked += range(start, end)
        at = max(at + window, end)
    turned_W = (np.array(masked, dtype=np.intp) + turn) % max(words, 1)
    ordered: list[int] = turned_W[_order(order_draws_W[turned_W])].tolist()
    return ordered


def _filled(firsts: Sequence[int], lengths: Sequence[int], edges: Sequence[int], budget: int) -> list[bool]:
    """True at the words of spans taken one after the other, while tokens are left in the budget.

    firsts   the first word of each span
    lengths  words of each; as many of them are taken as fit
    edges    where each word begins, counted in tokens, and where the last ends
    """
    taken = [False] * (len(edges) - 1)
    for first, length in zip(firsts, lengths, strict=True):
        words = length
        while words and edges[first + words] - edges[first] > budget:
            words -= 1
        if words and not any(taken[first : first + words]):
            taken[first : first + words] = [True] * words
            budget -= edges[first + words] - edges[first]
            if not budget:
                break
    return taken
