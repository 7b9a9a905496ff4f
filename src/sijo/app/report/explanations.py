"""The page of `sijo classify --explain-report`: texts with the words marked that spoke for a label, or against it.

Without a script: labels are chosen by radio buttons, and the keyboard reaches the words that changed most.
Marks are told apart by their underline as well as by colour, and the numbers stand in a table beside them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sijo.app.numbers import percent, signed
from sijo.app.report.page import rendered
from sijo.texts import shortened
from sijo.version import __version__
from sijo.zeroshot.explaining.evidence import Evidence, Explanation, TextPart
from sijo.zeroshot.templates import language_of

LEVELS = 4
"""Of a mark: `for1` to `for4` and `against1` to `against4` in the style sheet."""
FAINTEST = 0.05
"""Of the largest effect: a word below it has no mark."""
LISTED = 6
"""Words of a label in the table."""
LABELS = 8
"""Of a text, at most."""
LONGEST, LONGEST_PART = 6_000, 300
"""Characters that are shown of a text, and of a run of words in a longer one."""


class MarkedPart(NamedTuple):
    """A piece of a text as it is shown."""

    text: str
    css: str = ""
    effect: str = ""
    """What it added, where it was left out."""
    listed: bool = False
    """Whether it is among those in the table, which the keyboard reaches."""


class Panel(NamedTuple):
    """What spoke for one label."""

    title: str
    probability: str
    rival: str
    """The label that it is held against; blank for all others."""
    pieces: list[MarkedPart]
    listed: list[tuple[str, str, str, int]]
    """The words that changed most: each with its effect, its mark, and the length of its bar in hundredths."""


class ShownRow(NamedTuple):
    """A row of the table."""

    number: int
    answer: str
    notes: list[str]
    text: str
    """Shown where there is no panel."""
    panels: list[Panel]

    @property
    def language(self) -> str | None:
        """Of the text where its script tells: a browser then breaks lines between Korean words, not within them."""
        return language_of(self.text)


def explanations_page(rows: Sequence[ShownRow], total: int, title: str, scorer: str) -> str:
    """The whole page.

    rows    those that are shown
    total   how many there were
    title   of the page: where the rows come from
    scorer  what labelled them
    """
    return rendered(
        "explanations.html.j2",
        title=title,
        rows=rows,
        total=total,
        scorer=scorer,
        most=max((len(row.panels) for row in rows), default=0),
        version=__version__,
    )


def shown_row(number: int, row: Explanation) -> ShownRow:
    """A row as it is shown."""
    panels = [panel(row, evidence) for evidence in row.evidence[:LABELS]]
    if row.contrast is not None and len(row.labels) > 2:  # of two labels it is the same again
        panels.insert(1, panel(row, row.contrast))
    answer = ", ".join(row.fitting) if not row.abstained else ""
    return ShownRow(number, answer, list(notes(row)), clipped(row.text, LONGEST), panels)


def notes(row: Explanation) -> Iterator[str]:
    """What a person should know of a row."""
    if row.abstained:
        yield "abstained: no label is sure enough at the stated risk"
    elif not row.fitting and row.tokens:
        yield "no label fits"
    if not row.evidence:
        yield "no words to explain"
    if row.read_until < len(row.text):
        yield "cut: what is struck out was not read"
    if not row.whole_words:
        yield "too long for each word to be left out: runs of words share a mark"


def panel(row: Explanation, evidence: Evidence) -> Panel:
    """What spoke for one label, and against it."""
    strongest = row.strongest(LISTED, evidence)
    largest = max((abs(effect) for _, effect in strongest), default=1.0)
    strongest = [(part, effect) for part, effect in strongest if abs(effect) >= FAINTEST * largest]
    places = {part.start for part, _ in strongest}
    listed = [
        (shortened(part.text, 40), signed(effect), sign(effect), round(100 * abs(effect) / largest))
        for part, effect in strongest
    ]
    shown = list(pieces(row, evidence, places))
    probability = percent(evidence.probability) if evidence.against is None else ""
    return Panel(evidence.label, probability, evidence.against or "", shown, listed)


def pieces(row: Explanation, evidence: Evidence, listed: set[int]) -> Iterator[MarkedPart]:
    """A text piece by piece; of a long one the parts that changed most."""
    share = evidence.strengths
    kept = set(shown_parts(row.parts, share)) if len(row.text) > LONGEST else set(range(len(row.parts)))
    end, gap = 0, False
    for place, (part, strength, effect) in enumerate(zip(row.parts, share, evidence.effects, strict=True)):
        if place not in kept:
            gap = True
            continue
        yield MarkedPart(" … " if gap else row.text[end : part.start])
        end, gap = part.end, False
        text = clipped(part.text, LONGEST_PART) if len(row.text) > LONGEST else part.text
        yield MarkedPart(text, mark(strength), signed(effect), part.start in listed)
    yield MarkedPart(" …" if gap else row.text[end : row.read_until])
    if row.read_until < len(row.text):
        yield MarkedPart(clipped(row.text[row.read_until :], LONGEST_PART), "unread")


def shown_parts(parts: Sequence[TextPart], share: Sequence[float]) -> Iterator[int]:
    """The places of the parts of a long text that are shown, strongest first."""
    room = LONGEST
    for place in sorted(range(len(parts)), key=lambda place: -abs(share[place])):
        room -= min(len(parts[place].text), LONGEST_PART)
        if room < 0:
            return
        yield place


def mark(strength: float) -> str:
    """The CSS class of a word.

    >>> mark(0.01), mark(0.2), mark(-1.0)
    ('', 'for1', 'against4')
    """
    if abs(strength) < FAINTEST:
        return ""
    return f"{sign(strength)}{math.ceil(LEVELS * abs(strength))}"


def sign(effect: float) -> str:
    """Whether a word spoke for a label or against it."""
    return "for" if effect > 0 else "against"


def clipped(text: str, most: int) -> str:
    """A text, or the start of a long one."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
