"""The sentence a label is put in, in the label's language, with the particle that Korean wants behind its name.

A template has one slot, {}, for the label. In Korean what follows a noun depends on how the noun sounds at its end:
경제를 but 건강을. A template writes both forms in braces, "이 글은 {}{을/를} 다룬다.", and the label's name
decides.

A name is read as Koreans read it aloud: Hangul as it is written, digits by their Sino-Korean names, capitals letter
by letter, other Latin words by the rules that loanwords are written by. The last is a guess, good for most words
(`tests/zeroshot/test_templates.py` has a list); where nothing is known, as of Hanja, both forms are written:
을(를).
"""

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from sijo.errors import SettingError
from sijo.texts import check_text

FinalSound = Literal["vowel", "rieul", "consonant"]
"""How a word ends: in a vowel, in ㄹ, which 로 takes for a vowel, or in another consonant."""
SLOT = "{}"
BUILT_IN = {"ko": "이 글은 {}{을/를} 다룬다."}
"""Templates by language, besides the scorer's own, which is in English: chosen by benchmarks/korean.py."""

_PAIR = re.compile(r"\{([가-힣]+)/([가-힣]+)\}")
_IRREGULAR = (
    ("은", "는"),
    ("이", "가"),
    ("을", "를"),
    ("과", "와"),
    ("아", "야"),
    ("이에요", "예요"),
    ("이었다", "였다"),
)
_SYLLABLES, _FINALS, _RIEUL = 0xAC00, 28, 8
"""Where Unicode's Hangul syllables begin, how many endings each has, and which of them is ㄹ."""
_DIGITS: dict[str, FinalSound] = dict(zip("0123456789", (
    "consonant", "rieul", "vowel", "consonant", "vowel", "vowel", "consonant", "rieul", "rieul", "vowel"
), strict=True))  # fmt: skip
"""영 일 이 삼 사 오 육 칠 팔 구."""
_SIGNS: dict[str, FinalSound] = {**dict.fromkeys("%℃°+&$€£", "vowel"), **dict.fromkeys("#₩¥", "consonant")}
"""퍼센트, 도, 플러스, 앤드, 달러, 유로, 파운드; 샵, 원, 엔."""
_LETTERS: dict[str, FinalSound] = {"l": "rieul", "r": "rieul", "m": "consonant", "n": "consonant"}
"""엘, 알, 엠, 엔; the names of all other letters end in a vowel."""
_BRACKETS = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）|【[^【】]*】)\s*$")
_LONGEST_ACRONYM = 5
"""Capitals up to so many are read letter by letter, as are more without a vowel."""


class Template:
    """A sentence with one slot for a label's name, and particles that follow it.

    >>> topic = Template("이 글은 {}{을/를} 다룬다.")
    >>> [topic.fill(name) for name in ("경제", "건강", "AI", "SQL", "사과(apple)")]
    ['이 글은 경제를 다룬다.', '이 글은 건강을 다룬다.', '이 글은 AI를 다룬다.', '이 글은 SQL을 다룬다.', \
'이 글은 사과(apple)를 다룬다.']

    Raises SettingError for a text without the slot, with two, or with a pair in braces that is no particle.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or text.count(SLOT) != 1:
            raise SettingError(
                f"the template {text!r} needs the two characters {{}} exactly once, where the label goes, as in "
                '"This text is about {}."'
            )
        check_text(text, "the template")
        for pair in _PAIR.finditer(text):
            if _forms(pair[1], pair[2]) is None:
                raise SettingError(
                    f"the template {text!r} has {pair[0]}, which is no pair of particles; write one such as "
                    "{은/는}, {이/가}, {을/를}, {과/와}, {으로/로} or {이다/다}"
                )
        self.text = text
        self._pairs = _PAIR.search(text) is not None

    def fill(self, name: str) -> str:
        """The sentence about a label of that name."""
        return name.join(self.around(name))

    def around(self, name: str) -> tuple[str, str]:
        """What stands before and behind a label of that name.

        >>> Template("이 글은 {}{을/를} 다룬다.").around("건강")
        ('이 글은 ', '을 다룬다.')
        """
        text = _PAIR.sub(lambda pair: with_form(name, pair[1], pair[2]), self.text) if self._pairs else self.text
        before, _, after = text.partition(SLOT)
        return before, after


def without_label(template: str) -> str:
    """The words of a template without its slot, and without particles in two forms.

    >>> without_label("이 글은 {}{을/를} 다룬다."), without_label("{}")
    ('이 글은 다룬다.', '')
    """
    return " ".join(_PAIR.sub("", template).replace(SLOT, " ").split())


@lru_cache(maxsize=256)
def template_of(text: str) -> Template:
    """The template of a text, kept for the labels that follow.

    >>> template_of("This is about {}.").fill("sport")
    'This is about sport.'
    """
    return Template(text)


def with_form(name: str, one: str, other: str) -> str:
    """The particle that follows a name, of two forms in either order; both where nobody knows how the name ends.

    >>> with_form("서울", "으로", "로"), with_form("부산", "으로", "로"), with_form("美", "을", "를")
    ('로', '으로', '을(를)')
    """
    forms = _forms(one, other)
    if forms is None:
        raise SettingError(f"{one}/{other} is no pair of particles; one such as 은/는 is")
    after_consonant, after_vowel = forms
    match final_sound(name):
        case None if after_consonant.endswith(after_vowel):
            return f"({after_consonant.removesuffix(after_vowel)}){after_vowel}"
        case None:
            return f"{after_consonant}({after_vowel})"
        case "rieul" if after_vowel.startswith("로"):
            return after_vowel
        case "vowel":
            return after_vowel
        case _:
            return after_consonant


def _forms(one: str, other: str) -> tuple[str, str] | None:
    """The form after a consonant and the one after a vowel; None for what is no pair of particles."""
    for pair in ((one, other), (other, one)):
        after_consonant, after_vowel = pair
        if pair in _IRREGULAR or after_consonant == f"이{after_vowel}":
            return pair
        if after_vowel.startswith("로") and after_consonant == f"으{after_vowel}":
            return pair
    return None


def final_sound(name: str) -> FinalSound | None:
    """How a name ends when a Korean reads it aloud; None where that cannot be told from its letters.

    Marks, quotes and what stands in brackets at the end are passed over, as the rules of Korean spelling ask.

    >>> [final_sound(name) for name in ("음악", "물", "뉴스", "2026", "5G", "R&B", "3월(March)", "日本")]
    ['consonant', 'rieul', 'vowel', 'consonant', 'vowel', 'vowel', 'rieul', None]
    """
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name)).strip()
    while (shorter := _BRACKETS.sub("", name)) and shorter != name:
        name = shorter
    while name and not (name[-1].isalnum() or name[-1] in _SIGNS):
        name = name[:-1]
    if not name:
        return None
    last = name[-1]
    if "가" <= last <= "힣":
        final = (ord(last) - _SYLLABLES) % _FINALS
        return "vowel" if final == 0 else "rieul" if final == _RIEUL else "consonant"
    if last in _DIGITS:
        return _of_number(name)
    if last in _SIGNS:
        return _SIGNS[last]
    return _of_latin(name) if last.isascii() and last.isalpha() else None


def _of_number(name: str) -> FinalSound:
    """How the number at the end of a name ends: 십, 백, 천, 만, 억 and 경 in a consonant, 조 and 해 in a vowel."""
    number = re.search(r"[\d,.]*\d$", name)
    assert number is not None
    digits = number[0].replace(",", "")
    zeros = len(digits) - len(digits.rstrip("0"))
    if zeros == 0 or "." in digits or zeros == len(digits):
        return _DIGITS[digits[-1]]
    return "vowel" if zeros // 4 in (3, 5) else "consonant"


def _of_latin(name: str) -> FinalSound:
    """How the Latin word, or letter, at the end of a name ends."""
    found = re.search(r"[A-Za-z]+$", name)
    assert found is not None
    word = found[0]
    lower, last = word.lower(), word[-1].lower()
    spelled = word.isupper() and (len(word) <= _LONGEST_ACRONYM or not set(lower) & set("aeiouy"))
    if len(word) == 1 or spelled or (word[-1].isupper() and not word.isupper()):
        return _LETTERS.get(last, "vowel")
    if re.search(r"[aeiouy].*[^e]e$", lower) and lower[-2] in "lmn":  # file 파일, game 게임, phone 폰
        return "rieul" if lower[-2] == "l" else "consonant"
    if last == "l":
        return "rieul"
    if last in "mn" or lower.endswith("ng"):
        return "consonant"
    # a stop behind a short vowel closes the syllable, 웹 북 앱 넷 뮤직; behind anything else it opens a new one
    if re.search(r"(?:^|[^aeiou])(?:[aeiouy]|oo)(?:[bptkc]|ck|pp|tt)$", lower):
        return "consonant"
    return "vowel"


def language_of(name: str) -> str | None:
    """The language that a name's script alone tells: "ko" where it has Hangul; None where it does not tell.

    >>> language_of("경제"), language_of("IT 산업"), language_of("economy")
    ('ko', 'ko', None)
    """
    return "ko" if re.search("[가-힣ㄱ-ㆎ]", unicodedata.normalize("NFC", name)) else None
