"""The page of `sijo classify --explain-report`: whole, safe, readable without colour."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import sijo
from sijo.app.report import explanations
from sijo.app.report.explanations import explanations_page, shown_row
from sijo.zeroshot.explaining.evidence import Evidence, Explanation, TextPart

HOSTILE = "</p></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b\u202e"
LABELS = ["sea", HOSTILE, "bank"]


class Page(HTMLParser):
    """What stands in a page: elements with attributes, and the text of each panel."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.panels, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep it; a tooltip is no part of the text."""
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("p", "span", "s"):
            self._open.append(attributes.get("class", ""))
            if attributes.get("class") == "text":
                self.panels.append("")

    def handle_endtag(self, tag):
        """Whatever was opened last is closed."""
        if tag in ("p", "span", "s"):
            self._open.pop()

    def handle_data(self, data):
        """The words of a text."""
        if "text" in self._open and "tip" not in self._open:
            self.panels[-1] += data


def by_hand(text, words, effects, **more):
    """An explanation of one label."""
    parts, end = [], 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        parts.append(TextPart(start, end, word, len(word.split())))
    settings = {
        "label": "sea", "score": 0.9, "margin": 0.8, "labels": ("sea", "bank"), "scores": (0.9, 0.1),
        "fitting": ("sea",), "fitting_scores": (0.9,), "tokens": 9, "windows": 1, "truncated": False,
        "scorer": "embedding", "variants": len(words) + 1, "read_until": len(text), "contrast": None,
    }  # fmt: skip
    evidence = (Evidence("sea", None, 0.9, 2.2, tuple(effects)),) if words else ()
    return Explanation(**(settings | more), text=text, parts=tuple(parts), evidence=evidence)


def test_a_page_is_all_of_the_texts_and_nothing_but_them(sijo_cli, write, tiny_model, tmp_path):
    # kills: a text put in as markup, a page that loads or runs anything, ids that texts decide, words lost between
    # marks, a label's panel without its choice
    texts = ["the sea, and rain", f"old {HOSTILE} money", "바다와  은행 👩\u200d🚀!", ""]
    rows = write("<b>rows.jsonl", "".join(f'{{"text": {json.dumps(text)}}}\n' for text in texts))
    labels = write("labels.json", json.dumps(LABELS))
    out = tmp_path / "why.html"
    ran = sijo_cli("classify", rows, "--model", tiny_model, "--labels-file", labels, "--explain-report", out)
    assert ran.code == 0 and f"explanations: {out}" in ran.err and b'"why"' in ran.out
    page = Page(out.read_text())
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base", "a"}
    allowed = {
        "class",
        "style",
        "title",
        "tabindex",
        "type",
        "name",
        "id",
        "for",
        "checked",
        "scope",
        "dir",
        "lang",
    }
    allowed |= {"charset", "http-equiv", "content", "aria-label", "role"}
    for _, attributes in page.elements:
        assert attributes.keys() <= allowed
        assert re.fullmatch(r"(width:\d+%)?", attributes.get("style", "")) and "url(" not in str(attributes)
    [policy] = [one["content"] for _, one in page.elements if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    shown = [text.replace("\x1b", r"\u001b").replace("\u202e", r"\u202e") for text in texts]
    for place, text in enumerate(shown[:3]):
        panels = page.panels[place * 4 : place * 4 + 4]  # three labels, and the first rather than the next
        assert [panel.rstrip("\n") for panel in panels] == [text] * 4
    names = {one["name"] for tag, one in page.elements if tag == "input"}
    assert names == {"t1", "t2", "t3"} and sum(one.get("class") == "panel" for _, one in page.elements) == 12
    assert {one["for"] for tag, one in page.elements if tag == "label"} == {
        one["id"] for tag, one in page.elements if tag == "input"
    }
    assert "no words to explain" in out.read_text()


def test_marks_grow_with_effects_and_say_their_sign():
    # kills: for and against changed over, a mark for what changed nothing, the strength of another label's words
    row = by_hand("a b c d e", "abcde", [4.0, -4.0, 0.1, 1.0, -2.0])
    [panel] = shown_row(7, row).panels
    marks = {piece.text: piece.css for piece in panel.pieces if piece.effect}
    assert marks == {"a": "for4", "b": "against4", "c": "", "d": "for1", "e": "against2"}
    assert [word[:3] for word in panel.listed] == [
        ("a", "+4.0", "for"), ("b", "−4.0", "against"), ("e", "−2.0", "against"), ("d", "+1.0", "for"),
    ]  # fmt: skip
    assert [word[3] for word in panel.listed] == [100, 100, 50, 25]
    assert "".join(piece.text for piece in panel.pieces) == row.text


def test_a_page_says_what_is_special_of_a_row():
    # kills: a row that abstains shown as decided; what was not read shown as if it was
    cut = by_hand("the sea is not read", ["the", "sea"], [0.0, 1.0], read_until=7, truncated=True)
    text = explanations_page([shown_row(3, cut)], 900, "rows", "embedding")
    assert '<s class="unread"> is not read</s>' in text and "what is struck out was not read" in text
    assert "The first 1 of 900 rows" in text and 'class="number">3</span><span dir="auto">sea</span>' in text
    unsure = by_hand("sea", ["sea"], [1.0], abstained=True, fitting=("sea", "bank"), label=None)
    text = explanations_page([shown_row(1, unsure)], 1, "rows", "embedding")
    assert "abstained" in text and 'class="number">1</span><span dir="auto">–</span>' in text and ">1 row," in text
    nothing = by_hand("sea", ["sea"], [1.0], fitting=(), label=None)
    assert "no label fits" in explanations_page([shown_row(1, nothing)], 1, "rows", "embedding")
    runs = by_hand("the sea. rain", ["the sea.", "rain"], [1.0, 0.2])
    assert "runs of words share a mark" in explanations_page([shown_row(1, runs)], 1, "rows", "embedding")


def test_korean_is_told_to_the_browser_as_korean():
    # kills: a language of all rows, or of none, so that lines break within Korean words; a rival left unsaid
    korean = by_hand("바다가 the 좋다", ["바다가", "좋다"], [1.0, 0.2])
    text = explanations_page([shown_row(1, korean)], 1, "rows", "embedding")
    assert '<p class="text" dir="auto" lang="ko">' in text and '<tbody lang="ko">' in text
    assert ".text:lang(ko), .words :lang(ko) { word-break: keep-all; }" in text
    rivals = Evidence("sea", "은행", 0.9, 2.2, (1.0, 0.5))
    english = by_hand("the sea", ["the", "sea"], [1.0, 0.2], contrast=rivals, labels=("sea", "은행", "home"))
    text = explanations_page([shown_row(1, english)], 1, "rows", "embedding")
    assert 'lang="ko"' not in text and '<p class="text" dir="auto">' in text
    assert "<b>sea</b> rather than <b>은행</b></label>" in text and 'aria-label="sea rather than 은행"' in text


def test_a_very_long_text_is_shown_by_what_matters():
    # kills: a page as large as its texts, the one word that matters cut out
    words = [f"w{number:05}" for number in range(50_000)]
    row = by_hand(" ".join(words), words, [5.0 if word == "w40000" else 0.001 for word in words])
    [panel] = shown_row(1, row).panels
    assert sum(len(piece.text) for piece in panel.pieces) < 3 * explanations.LONGEST
    assert ("w40000", "for4") in [(piece.text, piece.css) for piece in panel.pieces]
    one = by_hand("sea " * 5_000, ["sea " * 4_999 + "sea"], [1.0])
    assert len(explanations_page([shown_row(1, one)], 1, "rows", "embedding")) < 30_000


def luminance(colour):
    """Of #rrggbb, from 0 to 1: WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_on_every_mark(dark):
    # kills: a background on which a word cannot be read; a mark told by its colour alone
    folder = Path(sijo.__file__).parent / "app" / "report"
    colours = {}
    for name in ("report.css", "explanations.css"):
        light, _, night = (folder / name).read_text().partition("prefers-color-scheme: dark")
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", light))
        if dark:
            colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", night))
    contrast = lambda one, other: (luminance(one) + 0.05) / (luminance(other) + 0.05)  # noqa: E731
    for way in ("for", "against"):
        for level in range(1, 5):
            ratio = contrast(colours["ink"], colours[f"{way}{level}"])
            assert max(ratio, 1 / ratio) >= 4.5, (way, level)
        ratio = contrast(colours[way], colours["card"])
        assert max(ratio, 1 / ratio) >= 3  # of what is no text
    style = (folder / "explanations.css").read_text()
    assert "solid var(--for)" in style and "dashed var(--against)" in style
