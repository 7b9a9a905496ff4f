"""Which text is learned from: a sample of a stream in bounded memory, and an alphabet without rare letters."""

import itertools
import random
import tracemalloc

import tokenizers
from sijo.models import tokenizer_styles
from sijo.tokenizers.choose_text import PieceSample, alphabet_of
from sijo.tokenizers.train import FEWEST, train_tokenizer

STYLES = tokenizer_styles()


def test_a_stream_larger_than_the_budget():
    # kills: all of the stream kept; its head alone; words of the last texts that cannot be learned
    def stream():
        chance = random.Random(5)
        for part in ("sea", "land"):
            for _ in range(10_000):
                yield f"the {part} and {chance.randrange(10**6)} of the {part}s"

    tracemalloc.start()
    tokenizer, report = train_tokenizer(stream(), STYLES["bert"], vocab_size=400, characters=FEWEST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.texts == 20_000 and report.characters > 6 * FEWEST
    assert 0.99 * FEWEST < report.characters_learned_from <= FEWEST
    assert report.characters_measured <= FEWEST // 20 and report.held_back
    assert peak < 1_500_000  # bytes; 20,000 such strings alone take 1.7 million
    assert tokenizer.id("sea") and tokenizer.id("lands")


def test_the_sample_is_the_smallest_numbers_that_fit():
    # kills: a small piece let in after a larger number was dropped; the sum miscounted
    chance = random.Random(6)
    for _ in range(300):
        pieces = [
            (number, "x" * chance.randint(1, 9)) for number in chance.sample(range(99), chance.randint(0, 12))
        ]
        sample = PieceSample(20)
        for number, piece in pieces:
            sample.add(number, piece)
        ordered = [piece for _, piece in sorted(pieces)]
        sums = itertools.accumulate(map(len, ordered))
        want = ordered[: sum(1 for characters in sums if characters <= 20)]
        assert list(sample) == want and sample.characters == len("".join(want))


def test_a_long_text_is_chosen_in_pieces_without_parting_words():
    # kills: one document that fills the budget, or is too long for it and lost; words cut at a piece's end
    words = [f"w{number:05}" for number in range(40_000)]
    _, report = train_tokenizer([" ".join(words)], STYLES["deberta"], vocab_size=300, characters=FEWEST)
    assert report.texts == 1 and report.characters_learned_from > 0.98 * FEWEST
    sample = PieceSample(10**6)
    sample.add(1, "한" * 1500)
    assert len(alphabet_of(sample, tokenizers.Tokenizer(tokenizers.models.BPE())).kept) == 1


def test_a_short_text_is_learned_even_if_all_of_it_was_held_back():
    # kills: one text in twenty for which there is "no text"
    for seed in range(60):
        tokenizer, report = train_tokenizer(["poem"], STYLES["bert"], vocab_size=99, seed=seed)
        assert tokenizer.id("p") and not report.held_back and report.characters_learned_from == report.characters


def test_rare_letters_are_left_out_and_ascii_stays():
    # kills: an alphabet as large as the text's; a rare ASCII letter lost; letters dropped by code point
    lines = ["가나다라 " * 200, "漢", "字" * 9, "z"]
    tokenizer, report = train_tokenizer(lines, STYLES["ctrl"], vocab_size=99)
    assert report.letters_left_out == 0  # one in 800 is more than 5 in 10,000 ...
    lines[0] *= 10
    tokenizer, report = train_tokenizer(lines, STYLES["ctrl"], vocab_size=99)
    assert report.letters_left_out == 1 and tokenizer.id("漢") is None  # ... and here it is less
    assert tokenizer.id("字") is not None and tokenizer.id("z") is not None
