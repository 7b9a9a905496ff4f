"""The pieces of a unigram model: as good as SentencePiece's, as many as asked for, in bounded memory.

References: `sentencepiece` trained on the same lines, and every way to cut a piece.
"""

import itertools
import random
import sys
from collections import Counter
from pathlib import Path

import sentencepiece

from sijo.models import tokenizer_style
from sijo.tokenizers import unigram
from sijo.tokenizers.train import train_tokenizer

sys.path.append(str(Path(__file__).parent))
import tokenizer_references as references


def test_unigram_cuts_as_short_as_sentencepiece():
    # kills: seeds that stand in two different words alone, which leaves out most words (1.29 times as many
    # tokens); no second round; letters that weigh as much as words
    lines = [line.lower() for line in references.english()]
    learned, held = lines[:3000], lines[3000:4000]
    model = sentencepiece.SentencePieceProcessor(model_proto=references.train(learned, vocab_size=2000))
    tokenizer, report = train_tokenizer(learned, tokenizer_style("unigram", "albert"), vocab_size=2000)
    assert report.vocab_size == 2000
    ours, theirs = (sum(map(len, ids)) for ids in (tokenizer.ids(held), model.encode(held)))
    assert ours < 1.01 * theirs


def test_unigram_pieces_that_are_missed_least_go():
    # kills: a way without a piece that still uses it; the best way of two pieces alone
    scores = {"a": -3.0, "b": -3.0, "ab": -2.0, "ba": -2.5, "aba": -2.0, "abab": -9.0}
    for piece in ("ab", "aba", "abab", "babab"):
        ways = (
            [piece[i:j] for i, j in itertools.pairwise([0, *cuts, len(piece)])]
            for count in range(1, len(piece))
            for cuts in itertools.combinations(range(1, len(piece)), count)
        )
        best = max(sum(scores[part] for part in way) for way in ways if all(part in scores for part in way))
        assert unigram._without(piece, scores) == best


def test_unigram_keeps_all_letters_and_makes_as_many_pieces_as_asked_for():
    # kills: a letter lost that only whole words hold; pieces lost after the last round
    words = Counter(f"▁{word}" for line in references.english()[:80] for word in line.split())
    letters = set("".join(words))
    for size in (len(letters), 120, 250):
        pieces = dict(unigram.learn(words, size))
        assert len(pieces) == size and letters <= set(pieces)


def test_unigram_seeds_stay_within_a_bound(monkeypatch):
    # kills: every substring of a long text without spaces held at once; frequent ones forgotten
    chance = random.Random(8)
    text = [("".join(chance.choices("가나다라마바사아자차카타파하", k=60)) + "한국어", 1) for _ in range(40)]
    whole = unigram._seeds(text, 50)
    monkeypatch.setattr(unigram, "MOST_SUBSTRINGS", 3000)
    assert unigram._seeds(text, 50)["한국어"] == whole["한국어"] == 3 * 40
