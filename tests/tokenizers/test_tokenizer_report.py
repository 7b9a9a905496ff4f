"""What a vocabulary is worth, measured as plain counting does."""

import pytest

import tokenizers
from sijo.tokenizers.choose_text import PieceSample
from sijo.tokenizers.tokenizer_report import measured


def test_measures_are_those_of_plain_counting():
    # kills: characters of a whole word counted where one is lost; spaces among them; words parted at punctuation
    inner, words = (
        tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1, "sea": 2}, "[UNK]")),
        "\\S+",
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(words), "removed", invert=True)
    sample = PieceSample(1000)
    sample.add(1, "a sea, a sea")
    sample.add(2, "a  bc sea")
    assert measured(inner, "[UNK]", sample) == {
        "characters_measured": 21,
        "characters_covered": pytest.approx(1 - 6 / 15),  # "sea," and "bc"
        "words_covered": pytest.approx(1 - 2 / 7),
        "tokens_per_word": 1.0,
        "tokens_per_character": pytest.approx(7 / 21),
        "single_letters": pytest.approx(3 / 7),
        "unknown": pytest.approx(2 / 7),
        "longest": ("[UNK]", "sea"),
    }
