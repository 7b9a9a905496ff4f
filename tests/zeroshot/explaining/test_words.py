"""Words of many scripts, and what is left of a text without some of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sijo.zeroshot.explaining.words import Words

CASES = {
    "금리가 0.5%p 올랐다!": "금리가|0.5|%|p|올랐다|!",
    "AI가 金대통령을 이겼다.경제·사회 면": "AI가|金대통령을|이겼다|.|경제|·|사회|면",
    "$5.99, ₩1,000~": "$|5.99|,|₩|1,000|~",
    "한글'인용'끝": "한글|'|인용|'|끝",
    "Don't e-mail U.S.A., 1,000 (really?!)": "Don't|e-mail|U.S.A|.,|1,000|(|really|?!)",
    "café naïve’s 'word' a,b": "café|naïve’s|'|word|'|a|,|b",
    "e\u0301te\u0301 हिन्दी क्\u200dष": "e\u0301te\u0301|हिन्दी|क्\u200dष",
    "日本銀行は金利をテーマにした。": "日本銀行|は|金利|を|テーマ|にした|。",
    "中国AI技术。": "中|国|AI|技|术|。",
    "ไทยดี": "ไ|ท|ย|ดี",
    "👩\u200d🚀👍🏽🇰🇷🇺🇸❤\ufe0f1\ufe0f\u20e3": "👩\u200d🚀|👍🏽|🇰🇷|🇺🇸|❤\ufe0f|1\ufe0f\u20e3",
    " \t\n": "",
    "a\x00b": "a|b",
}


@pytest.mark.parametrize("text", CASES)
def test_words_of_every_script(text):
    # kills: an eojeol cut into syllables, an emoji parted from its tone, flags run together, Kanji one by one
    # beside kana, a Chinese sentence as one word, marks left alone, quotes that join Korean words
    words = Words(text)
    assert words.texts == [word for word in CASES[text].split("|") if word]
    for word, shown in zip(words.words, words.texts, strict=True):
        assert word.spoken == any(
            letter.isalnum() or letter in "%$₩" or ord(letter) > 0x2700 for letter in shown if letter not in "。’"
        )


@given(st.text(alphabet=st.sampled_from("ab 1.,'-\n가나字かカ👩\u200d🏽🇰!…é\u0301ไ\u200b\x00"), max_size=40))
def test_words_hold_all_that_is_no_space(text):
    # kills: a character in two words, or in none; words out of order
    words = Words(text)
    covered = {place for word in words.words for place in range(word.start, word.end)}
    assert len(covered) == sum(word.end - word.start for word in words.words)
    assert all(not letter.strip("\x00") or letter.isspace() for i, letter in enumerate(text) if i not in covered)
    assert [*words.words] == sorted(words.words, key=lambda word: word.start)


@pytest.mark.parametrize(
    "text, runs, rest",
    [
        ("The old (red) boat", [(1, 2)], "The (red) boat"),
        ("The old (red) boat", [(3, 4)], "The old () boat"),
        ("The boat.", [(0, 1)], "boat."),
        ("The boat", [(1, 2)], "The"),
        ("ice/snow", [(1, 2)], "ice snow"),
        ("中国经济", [(1, 2)], "中经济"),
        ("one", [(0, 1)], ""),
        ("a b c d e", [(0, 1), (2, 4)], "b e"),
        ("a b c d e", [(3, 5), (2, 3)], "a b"),
        ("바다는 넓고 푸르다", [(1, 2)], "바다는 푸르다"),
    ],
)
def test_a_text_without_words(text, runs, rest):
    # kills: two spaces left behind, words run together, the wrong one of several taken away
    assert Words(text).without(*runs) == rest


def test_parts_are_sentences_first():
    # kills: a sentence's full stop given to the next, newlines passed over, too many parts, words left out
    words = Words("Tides turn. 배는 기다린다! It rains\nAll day (or so?) it did")
    sentences = [(0, 3), (3, 6), (6, 8), (8, 14), (14, 16)]
    assert [words.text[slice(*words.span(*run))] for run in sentences][1:3] == ["배는 기다린다!", "It rains"]
    assert words.parts(0, len(words), 9)[:3] == sentences[:3]
    assert words.parts(3, 6, 9) == [(3, 4), (4, 5), (5, 6)]
    for most in range(1, 5):
        parts = words.parts(0, len(words), most)
        assert len(parts) == most and parts[0][0] == 0 and parts[-1][1] == len(words)
        assert all(before[1] == after[0] for before, after in pairwise(parts))
