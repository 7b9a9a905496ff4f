"""Texts of a run, token by token: which masked ones were guessed right, which replaced ones were spotted."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sijo.app.numbers import percent
from sijo.app.report.run_record import RunRecord, title_of
from sijo.errors import TextError
from sijo.files.json_lines import RUN_FILES

SHOWN = 4
"""How many texts of a run are shown, spread over it, the newest first."""
SUSPECTED = 0.5
"""The probability from which a token counts as spotted."""
GUESSED = {"good": "guessed right", "bad": "not, with the guess above"}
SPOTTED = {
    "good": "replaced and spotted",
    "bad": "replaced and missed",
    "odd": "original and suspected",
    "calm": "original and trusted",
}
"""What each CSS class means, of masked tokens and of replaced ones."""
SPECIAL = re.compile(r"\[[A-Z]+\]|<[^<>\s]+>")
STARTS = ("▁", "Ġ")
"""With which a token begins a word, where there are such."""


class MarkedToken(NamedTuple):
    """A token as it is shown."""

    text: str
    css: str = ""
    """Its CSS classes; none where there is nothing to say of it."""
    title: str = ""
    """What there is to say."""
    above: str | None = None
    """A token written above it."""


class ExampleText(NamedTuple):
    """A text with its step and objective, what its colours mean, and whether a space precedes each token."""

    title: str
    legend: list[tuple[str, str]]
    tokens: list[tuple[bool, MarkedToken]]


def example_texts(run: RunRecord) -> list[ExampleText]:
    """Some texts of a run, spread over it; TextError names a line that is no example."""
    last = len(run.examples) - 1
    places = {last - last * number // (SHOWN - 1) for number in range(SHOWN)} if last >= 0 else ()
    texts = []
    for place in sorted(places, reverse=True):
        try:
            texts.append(example_text(run.examples[place]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise TextError(
                f"line {place + 1} of {run.folder / RUN_FILES[2]} is no example of a run ({error!r}); remove it"
            ) from None
    return texts


def example_text(example: Mapping[str, Any]) -> ExampleText:
    """A text with what was guessed of its masked tokens, or where tokens were replaced, which were spotted."""
    text, truth = example["text"], example["truth"]
    rows = zip(text, truth, example["asked"], example["guess"], strict=True)
    shown, meanings, tokens = truth, GUESSED, [guessed_token(*row) for row in rows]
    if "spotted" in example:
        rows = zip(text, truth, example["replaced"], example["spotted"], strict=True)
        shown, meanings, tokens = text, SPOTTED, [spotted_token(*row) for row in rows]
    counts = Counter(token.css.removesuffix(" special") for token in tokens)
    return ExampleText(
        title=f"step {example['step']:,}, {title_of(example['objective'])}",
        legend=[(css, f"{counts[css]} {meaning}") for css, meaning in meanings.items()],
        tokens=list(zip(spaces(shown), tokens, strict=True)),
    )


def guessed_token(text: str, truth: str, masked: bool, guess: str) -> MarkedToken:
    """A token of the true text, and where it was masked, what was guessed."""
    if not masked:
        return MarkedToken(bare(truth), "special" if is_special(truth) else "")
    if guess == truth:
        return MarkedToken(bare(truth), "good", f"read as {text}, guessed right")
    return MarkedToken(bare(truth), "bad", f"read as {text}, guessed {guess}", bare(guess))


def spotted_token(text: str, truth: str, replaced: bool, probability: float) -> MarkedToken:
    """A token that may have been replaced, and whether it was taken for that."""
    suspected = probability >= SUSPECTED
    css = ("good" if suspected else "bad") if replaced else ("odd" if suspected else "calm")
    title = f"{SPOTTED[css]}: {percent(probability)} likely to be replaced"
    if replaced:
        return MarkedToken(bare(text), css, f"{title}; was {truth}", bare(truth))
    return MarkedToken(bare(text), f"{css} special" if is_special(text) else css, title)


def is_special(token: str) -> bool:
    """Whether a token is no part of the text, such as [SEP]."""
    return SPECIAL.fullmatch(token) is not None


def bare(token: str) -> str:
    """A token without the signs that say how it is joined to others.

    >>> bare("##ing"), bare("▁sea"), bare("un@@"), bare("##")
    ('ing', 'sea', 'un', '##')
    """
    shown = token[2:] if token.startswith("##") else token[1:] if token.startswith(STARTS) else token
    return shown.removesuffix("@@") or token


def spaces(tokens: Sequence[str]) -> Iterator[bool]:
    """Whether there is a space before each token, told by the signs of WordPiece, Unigram and BPE.

    >>> list(spaces(["[CLS]", "sail", "##ing"])), list(spaces(["▁sail", "ing", "</s>"])), list(spaces(["a@@", "b"]))
    ([False, True, False], [False, False, True], [False, False])
    """
    marked = any(token.startswith(STARTS) for token in tokens)
    for place, token in enumerate(tokens):
        if place == 0 or token.startswith("##") or tokens[place - 1].endswith("@@"):
            yield False
        else:
            yield not marked or token.startswith(STARTS) or is_special(token)
