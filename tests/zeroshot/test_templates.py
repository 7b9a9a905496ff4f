"""Templates by language, and the particle behind a Korean label."""

import unicodedata

import pytest

from sijo.errors import SettingError
from sijo.zeroshot.templates import Template, final_sound, language_of, with_form

VOWEL = (
    "경제 스포츠 AI IT API 5G USB R&B C++ 2 4 5 9 2024 1.5 1,000,000,000,000 50% 25℃ art test news software movie "
    "server computer food card blog golf fish graph box quiz show break boat bank network tape cake coffee me "
    "IoT iPad UNESCO WiFi"
)
RIEUL = "물 서울 예술 SQL HTML URL R L email Google apple file 1 7 8 21 007"
CONSONANT = (
    "건강 음악 NLP-M VPN 0 3 6 10 100 1000 10,000 100000000 3.0 2030 C# web music job club book rock shop map app "
    "internet market robot game phone online time column marketing K-pop"
)


@pytest.mark.parametrize(
    ("sound", "names"), [("vowel", VOWEL), ("rieul", RIEUL), ("consonant", CONSONANT)], ids=str
)
def test_how_a_name_ends(sound, names):
    # kills: R of SQL's kind read as an English r, 10 read as zero, a silent e that is heard, ㄹ as any consonant
    wrong = {name: final_sound(name) for name in names.split() if final_sound(name) != sound}
    assert not wrong


def syllable_by_hand(letter: str) -> str:
    """The last sound of a syllable, by Unicode's decomposition and not by arithmetic."""
    jamo = unicodedata.normalize("NFD", letter)
    return "vowel" if len(jamo) == 2 else "rieul" if jamo[2] == "\u11af" else "consonant"


def test_every_syllable_of_hangul():
    # kills: an offset of one in the table of endings; checked against Unicode's own decomposition
    letters = [chr(code) for code in range(0xAC00, 0xD7A4)]
    assert all(final_sound(letter) == syllable_by_hand(letter) for letter in letters)
    assert final_sound(unicodedata.normalize("NFD", "건강")) == "consonant"


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("건강", "건강은 건강이 건강을 건강과 건강으로 건강이다 건강이나"),
        ("경제", "경제는 경제가 경제를 경제와 경제로 경제다 경제나"),
        ("예술", "예술은 예술이 예술을 예술과 예술로 예술이다 예술이나"),
        ("'과학'", "'과학'은 '과학'이 '과학'을 '과학'과 '과학'으로 '과학'이다 '과학'이나"),
        (
            "정보(건강)",
            "정보(건강)는 정보(건강)가 정보(건강)를 정보(건강)와 정보(건강)로 정보(건강)다 정보(건강)나",
        ),
        ("(기타)", "(기타)는 (기타)가 (기타)를 (기타)와 (기타)로 (기타)다 (기타)나"),
        ("美", "美은(는) 美이(가) 美을(를) 美과(와) 美(으)로 美(이)다 美(이)나"),
        ("👍", "👍은(는) 👍이(가) 👍을(를) 👍과(와) 👍(으)로 👍(이)다 👍(이)나"),
    ],
)
def test_particles(name, filled):
    # kills: 서울으로; the word in brackets taken for the last; one form given where nobody knows
    pairs = ("은/는", "이/가", "을/를", "과/와", "으로/로", "이다/다", "이나/나")
    particles = [with_form(name, *pair.split("/")) for pair in pairs]
    assert [name + particle for particle in particles] == filled.split()
    assert [with_form(name, *pair.split("/")[::-1]) for pair in pairs] == particles  # 는/은 is written too


def test_a_template_is_filled():
    # kills: a particle chosen by the template's own letters; other braces touched; a name that holds a pair filled
    assert Template("'{}'{이/가} 이 글의 주제{이다/다}.").fill("건강") == "'건강'이 이 글의 주제이다."
    assert Template('{"text": "{}"}').fill("a{b}") == '{"text": "a{b}"}'
    assert Template("{}{은/는}").fill("{을/를}") == "{을/를}은"


@pytest.mark.parametrize("text", ["no slot", "{} and {}", "{}{을/은}", "{}{가나/다}", "{}\ud800", 3])
def test_templates_that_will_not_do(text):
    # kills: a particle pair with a slip in it that stands in every sentence as it was written
    with pytest.raises(SettingError, match="template"):
        Template(text)


def test_the_language_is_told_by_hangul_alone():
    # kills: an English name under a Korean template because its letters are no Hangul
    assert [language_of(name) for name in ("경제", "IT 산업", "economy", "経済", "")] == [
        "ko",
        "ko",
        None,
        None,
        None,
    ]
