"""Which installed fonts have the letters of labels, so that a picture shows no boxes in their place."""

from collections.abc import Iterable, Iterator
from typing import Any

from sijo.errors import warn
from sijo.texts import shortened

PREFERRED = (
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Noto Sans CJK JP",
    "Hiragino Sans",
    "Yu Gothic",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Serif CJK KR",
    "Noto Serif CJK JP",
    "Noto Serif CJK SC",
    "Arial Unicode MS",
)
"""Families that come with systems and have the letters of East Asia; others are looked at after them."""
REGULAR = (400, "normal", "regular", "book")
"""Weights that text is drawn in."""
NO_LETTERS = "Last Resort"
"""How the names of fonts begin that have a frame in place of each letter."""
MOST_TOLD = 12
"""Letters that a warning names."""


def families_for(texts: Iterable[str]) -> list[str]:
    """Names of installed fonts that together have the letters of these texts, matplotlib's own first.

    Fonts are opened only where matplotlib's own lacks a letter. Warns once of letters that no font has.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont

    families = list(rcParams["font.family"])
    texts = list(texts)
    lacking = {letter for text in texts for letter in text if not letter.isspace()}
    lacking -= _letters(findfont(FontProperties()))
    for family, file in _others() if lacking else ():
        if found := lacking & _letters(file):
            families.append(family)
            lacking -= found
        if not lacking:
            break
    if lacking:
        example = next(text for text in texts if lacking & {*text})
        letters = "".join(sorted(lacking)[:MOST_TOLD]) + "…" * (len(lacking) > MOST_TOLD)
        warn(
            f"no installed font has {len(lacking)} of the labels' letters ({letters}), as in "
            f"{shortened(example)!r}, and the picture shows boxes for them; install a font that has them, such as "
            "Noto Sans CJK, or write a page (--report FILE.html), which shows them in a browser"
        )
    return families


def _others() -> Iterator[tuple[str, str]]:
    """Families of upright fonts, each with a file of it, those of `PREFERRED` first."""
    from matplotlib.font_manager import fontManager

    files: dict[str, str] = {}
    for entry in sorted(fontManager.ttflist, key=lambda entry: entry.weight not in REGULAR):
        if entry.style == "normal" and not entry.name.startswith(NO_LETTERS):
            files.setdefault(entry.name, entry.fname)
    ranks = {name: rank for rank, name in enumerate(PREFERRED)}
    yield from sorted(files.items(), key=lambda one: (ranks.get(one[0], len(ranks)), one))


def _letters(file: str) -> set[str]:
    """What a font can draw; nothing for one that cannot be opened, or is of pictures."""
    from matplotlib.font_manager import get_font

    try:
        font: Any = get_font(file)
        return set(map(chr, font.get_charmap())) if font.scalable else set()
    except (OSError, RuntimeError):
        return set()
