"""A published vocabulary cut down to the tokens that some text uses: a smaller table, its rows as they were.

For a model in fewer languages than it was trained in, and for a student of one (docs/distilling.md). A word whose
token is gone is spelled by pieces that stay; a text none of whose tokens is gone is cut as before.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sijo.batching import groups
from sijo.errors import SettingError, TextError, nearest, warn
from sijo.random import random_bits
from sijo.texts import texts_in
from sijo.tokenizers.choose_text import PieceSample
from sijo.tokenizers.pipelines import SPACE
from sijo.tokenizers.tokenizer import Tokenizer

INSIDE = {"WordPiece": "##", "Unigram": ""}
"""The kinds that can be cut, and what stands before a token inside a word."""
REMEMBERED = 2_000_000
"""Tokens, of each text its different ones, by which it is known how many texts are cut as before."""
SIGNS = "signs"
"""What `script_of` calls whatever is no letter."""
MOST_SHOWN = 6
"""Scripts that a warning names."""


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """What was kept of a vocabulary."""

    vocab_size: int
    """Tokens that stayed."""
    vocab_size_before: int
    """Tokens that there were."""
    texts: int
    """With a token in them."""
    texts_unchanged: float
    """Share of those that are cut into the same tokens as before; of many, as many as have `REMEMBERED` tokens."""
    tokens: int
    """Of the texts, as they were cut before."""
    covered: float
    """Share of those whose token stayed; the others become several tokens."""
    letters_lost: Mapping[str, int]
    """By script, letters that had a token and are in none now: they become unknown."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def prune_tokenizer(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    vocab_size: int,
    scripts: Sequence[str] = (),
    always: Sequence[str] = (),
) -> tuple[Tokenizer, PruneReport]:
    """A WordPiece or unigram tokenizer with its special tokens, the letters that are needed, and what is used most.

    tokenizer   of a model, such as `sijo.load().tokenizer`
    texts       read once; of tokens that are used alike letters stay first, then the one with the smaller id
    vocab_size  tokens that stay; their order does, and with it the scores of a unigram model
    scripts     whose letters all stay, whether the text has them or not: "hangul", "latin"; see `script_of`
    always      texts of which every token stays, such as what a model puts before each text

    Letters of ASCII and those of the text stay, as wholes and inside words, and whatever else is needed to spell
    the text: with them alone nothing of it that was known becomes unknown. Where letters that are not in the text
    go, a SijoWarning tells how many of which scripts, unless the model writes them in bytes.
    Raises SettingError for another kind of tokenizer, where the letters alone are more, and for a script of which
    there is no letter; TextError without text.

    >>> from sijo.checkpoints.locate import locate
    >>> whole = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    >>> short, cut = prune_tokenizer(whole, ["a kettle on the stove", "the kettle sings"], vocab_size=220)
    >>> [short.token(number) for number in short.ids(["the kettle steams"])[0]], short.vocab_size
    (['the', 'kettle', 's', '##t', '##e', '##a', '##m', '##s'], 220)
    >>> cut.covered, cut.texts_unchanged, cut.letters_lost["hangul"]
    (1.0, 1.0, 35)
    """
    if tokenizer.kind not in INSIDE:
        raise SettingError(
            f"a WordPiece or unigram vocabulary can be cut, and this one is {tokenizer.kind}: its tokens are built "
            "from each other. Learn a smaller one: sijo tokenizer train"
        )
    if not 1 <= vocab_size <= tokenizer.vocab_size:
        raise SettingError(f"vocab_size={vocab_size} must be up to the {tokenizer.vocab_size} tokens there are")
    vocabulary = _Vocabulary(tokenizer)
    vocabulary.check_scripts(scripts)
    counts, sample, read = _counted(tokenizer, texts)
    if not read:
        raise TextError("there is no text to count tokens in; give at least one that is not blank")
    fixed = set[int]().union(*tokenizer.ids(always))
    needed = fixed | vocabulary.needed({*map(int, np.flatnonzero(counts))}, scripts)
    if not len(needed) <= vocab_size:
        raise SettingError(
            f"vocab_size={vocab_size} must be at least the {len(needed)} letters and special tokens that have to "
            f"stay, and up to the {tokenizer.vocab_size} tokens that there are"
        )
    others = sorted(
        vocabulary.names.keys() - needed,
        key=lambda number: (-counts[number], number not in vocabulary.letters, number),
    )
    kept = sorted(needed.union(others[: vocab_size - len(needed)]))
    stays = np.isin(np.arange(len(counts)), kept)
    if lost := vocabulary.lost(kept):
        _warn_of(lost)
    cut = PruneReport(
        vocab_size=len(kept),
        vocab_size_before=tokenizer.vocab_size,
        texts=read,
        texts_unchanged=float(np.mean([stays[ids].all() for ids in sample])),
        tokens=int(counts.sum()),
        covered=float(counts[stays].sum() / counts.sum()),
        letters_lost=lost,
    )
    return tokenizer.only(kept), cut


def script_of(letter: str) -> str:
    """The script of a letter, as Unicode's name of it begins; "signs" for what is no letter.

    >>> [script_of(letter) for letter in "시aé水ю7😀"]
    ['hangul', 'latin', 'latin', 'cjk', 'cyrillic', 'signs', 'signs']
    """
    if unicodedata.category(letter)[0] not in "LM":
        return SIGNS
    return unicodedata.name(letter, SIGNS).split(" ")[0].split("-")[0].lower()


class _Vocabulary:
    """What a tokenizer's tokens are to its letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        names = {number: tokenizer.token(number) for number in range(tokenizer.largest_id + 1)}
        # of two tokens of one name a text becomes one
        self.names = {n: name for n, name in names.items() if name is not None and tokenizer.id(name) == n}
        self.inside = INSIDE[tokenizer.kind]
        singles = {number: name.removeprefix(self.inside) for number, name in self.names.items()}
        self.letters = {number: letter for number, letter in singles.items() if len(letter) == 1}
        """Of each token that is one letter, as a whole or inside a word."""
        self.essential = tokenizer.essential_ids
        self.spells_bytes = "<0x00>" in {self.names.get(number) for number in self.essential}
        """Whether a letter without a token is written in bytes."""

    def check_scripts(self, scripts: Sequence[str]) -> None:
        """Raise SettingError for a script of which there is no letter."""
        known = sorted({*map(script_of, self.letters.values())})
        for script in scripts:
            if script not in known:
                raise SettingError(
                    f"no token of this tokenizer is a letter of the script {script!r}{nearest(script, known)}; "
                    f"there are letters of {', '.join(known)}"
                )

    def needed(self, used: Set[int], scripts: Sequence[str]) -> set[int]:
        """The tokens without which it is no tokenizer, or something of a text that uses these becomes unknown."""
        of_text = {*SPACE, *"".join(self.names[number] for number in used)}
        stay = {
            number
            for number, letter in self.letters.items()
            if letter.isascii() or letter in of_text or script_of(letter) in scripts
        }
        if not self.spells_bytes:
            known = {*self.names.values()}
            stay |= {number for number in used if not known.issuperset(self._spelled(number))}
        return stay | self.essential

    def lost(self, kept: Iterable[int]) -> dict[str, int]:
        """Letters that had a token and are in none of these, by their scripts, most first."""
        if self.spells_bytes:
            return {}
        gone = {*self.letters.values()}.difference("".join(self.names[number] for number in kept))
        scripts = Counter(map(script_of, gone))
        return {script: scripts[script] for script in sorted(scripts, key=lambda name: (-scripts[name], name))}

    def _spelled(self, number: int) -> list[str]:
        """The tokens of single letters that a token's text could be cut into."""
        name = self.names[number]
        body = name.removeprefix(self.inside)
        starts = "" if body == name else self.inside
        return [(self.inside if place else starts) + letter for place, letter in enumerate(body)]


def _counted(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[np.ndarray, PieceSample[np.ndarray], int]:
    """How often each token is used, of some texts which they use, and in how many texts there are any."""
    counts = np.zeros(tokenizer.largest_id + 1, dtype=np.int64)
    sample: PieceSample[np.ndarray] = PieceSample(REMEMBERED)
    read = 0
    for group in groups(texts_in(texts)):
        for ids in filter(None, tokenizer.ids(group)):
            distinct, times = np.unique(ids, return_counts=True)
            counts[distinct] += times
            sample.add(random_bits(0, "cut", read), distinct)
            read += 1
    return counts, sample, read


def _warn_of(lost: Mapping[str, int]) -> None:
    listed = ", ".join(f"{script} {count:,}" for script, count in list(lost.items())[:MOST_SHOWN])
    others = f" and {len(lost) - MOST_SHOWN} other scripts" if len(lost) > MOST_SHOWN else ""
    warn(
        f"letters and signs that no token holds any more become unknown, {sum(lost.values()):,} in all: {listed}"
        f"{others}; to keep some, give text that has them, or scripts= (--script), such as {next(iter(lost))}"
    )
