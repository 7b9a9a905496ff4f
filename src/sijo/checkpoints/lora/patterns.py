r"""Patterns that a checkpoint's author wrote, matched in time that grows with the text and never explodes.

Regular expressions as adapters' configurations hold them: letters, `.`, `\d`, `[a-z]`, groups, `|`, `?`, `*`, `+`.
All places that a text may have been read to are carried along together, so nothing is ever tried again.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sijo.errors import RefusedError

LONGEST = 2_000
"""Characters of a pattern."""
DEEPEST = 20
"""Groups within groups."""
TOKENS = re.compile(
    r"(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)|(?P<at>[\^$])"
    r"|(?P<one>\\[dw]|\\[^\w\s]|\.|\[[\w-]+\]|[\w-])",
    re.ASCII,
)
REPEAT = re.compile(r"([?*+])\??")


@dataclass(frozen=True)
class Piece:
    """A part of a pattern, and how often it may stand there."""

    step: Callable[[str, set[int]], set[int]]
    """From the places that were read to, to those after it."""
    repeat: str = ""
    """Once, or `?`, `*`, `+`."""

    def after(self, text: str, places: set[int]) -> set[int]:
        """The places that the text may have been read to behind it."""
        once = fresh = self.step(text, places)
        if self.repeat in ("*", "+"):
            once = {*once}  # added to in place: a copy for each letter would take the square of their number
            while fresh := self.step(text, fresh) - once:
                once |= fresh
        return once | places if self.repeat in ("?", "*") else once


class Pattern:
    r"""A regular expression of few means; RefusedError for one of others.

    >>> Pattern(r".*\.(query|value)").matches("encoder.layer.0.attention.self.query")
    True
    >>> Pattern("(a+)+b").matches("a" * 100_000)
    False
    """

    def __init__(self, words: str) -> None:
        self.words = words
        if len(words) > LONGEST:
            raise RefusedError(f"the pattern {words[:60]!r}… has {len(words):,} characters; sijo reads {LONGEST:,}")
        self._at = 0
        self._ways = self._alternatives(0)
        if self._at < len(words):
            self._refuse()

    def matches(self, text: str, starts: Iterable[int] = (0,)) -> bool:
        """Whether the text can be read from one of these places to its end."""
        return len(text) in self.ends(text, starts)

    def ends(self, text: str, starts: Iterable[int]) -> set[int]:
        """The places that the text can be read to, from any of these."""
        return _through(self._ways, text, set(starts))

    def _alternatives(self, depth: int) -> list[list[Piece]]:
        if depth > DEEPEST:
            self._refuse()
        ways: list[list[Piece]] = [[]]
        while token := TOKENS.match(self.words, self._at):
            kind, found = token.lastgroup, token.group()
            if kind == "close":
                break
            self._at = token.end()
            if kind == "bar":
                ways.append([])
                continue
            if kind == "open":
                inner = self._alternatives(depth + 1)
                if not self.words.startswith(")", self._at):
                    self._refuse()
                self._at += 1
                step = lambda text, places, inner=inner: _through(inner, text, places)  # noqa: E731
            elif kind == "at":
                step = lambda text, places, start=found == "^": places & {0 if start else len(text)}  # noqa: E731
            else:
                fits = _letter(found)
                step = lambda text, places, fits=fits: {  # noqa: E731
                    place + 1 for place in places if place < len(text) and fits(text[place])
                }
            often = REPEAT.match(self.words, self._at) if kind != "at" else None
            self._at = often.end() if often else self._at
            ways[-1].append(Piece(step, often.group(1) if often else ""))
        return ways

    def _refuse(self) -> None:
        raise RefusedError(
            f"the pattern {self.words[:60]!r} cannot be read at character {self._at + 1}: sijo runs no regular "
            "expression of a checkpoint's author, but reads letters, ., \\d, [a-z], groups, |, ?, * and +"
        )


def _through(ways: list[list[Piece]], text: str, places: set[int]) -> set[int]:
    ends: set[int] = set()
    for way in ways:
        reached = places
        for piece in way:
            reached = piece.after(text, reached)
        ends |= reached
    return ends


def _letter(sign: str) -> Callable[[str], bool]:
    """Which characters a part of one character stands for."""
    if sign == ".":
        return lambda letter: letter != "\n"
    if sign == "\\d":
        return lambda letter: letter.isascii() and letter.isdigit()
    if sign == "\\w":
        return lambda letter: letter == "_" or letter.isalnum()
    if sign.startswith("["):
        inside = sign[1:-1]
        spans = re.findall(r"(\w)-(\w)|([\w-])", inside)
        chosen = [(first or single, last or single) for first, last, single in spans]
        return lambda letter: any(first <= letter <= last for first, last in chosen)
    return lambda letter, own=sign[-1]: letter == own  # type: ignore[misc]
