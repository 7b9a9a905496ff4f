"""A vocabulary learned from raw text, and a tokenizer of it as a family's published ones are.

The `tokenizers` library does the learning; this module decides what it learns from, and makes what comes
out of it the same in every run. A stream larger than memory is read once: chance chooses as much of it as
a budget allows, and the library never sees more. What a vocabulary is worth is measured on text that was
held back from it. How texts are read out of files belongs elsewhere.

The library's byte pairs and WordPiece vary from run to run as they stand: letters inside and at the ends
of words are numbered as a hash table hands them out, and equal counts are decided by number. So all letters
are given to it in order, as special tokens. Unigram models are learned in `unigram.py`.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import tokenizers
from sijo.batching import groups
from sijo.errors import SettingError, TextError, nearest
from sijo.random import random_bits
from sijo.tokenizers import published, unigram
from sijo.tokenizers import sentencepiece as spm
from sijo.tokenizers.tokenizer import Tokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers

Kind = Literal["wordpiece", "unigram", "bpe"]
Family = Literal["bert", "distilbert", "electra", "albert", "deberta-v2", "deberta-v3", "deberta", "ctrl"]

FAMILIES: dict[Kind, tuple[Family, ...]] = {
    "wordpiece": ("bert", "distilbert", "electra"),
    "unigram": ("albert", "deberta-v2", "deberta-v3"),
    "bpe": ("deberta", "ctrl"),
}
"""Whose tokenizers are of which kind; the first is the one that is made unless another is asked for."""
CHARACTERS = 20_000_000
"""Of text a vocabulary is learned from; twice as many make texts 0.1 % shorter (docs/tokenizers.md)."""
FEWEST, MOST = 100_000, 2_000_000_000
"""Characters that may be asked for: some to choose from, and no more than the library counts in 32 bits."""
PIECE = 1_000
"""Characters of a text that are chosen or left together."""
HELD_SHARE, MOST_HELD = 20, 1_000_000
"""One piece in so many is held back to measure on, up to so many characters."""
COVERAGE = 0.9995
"""Of all letters of the text are in the alphabet, as in SentencePiece; the rarest are not."""
LONGEST = 10
"""Tokens that a report shows."""
SEEN = 2
"""Times that a pair of pieces must stand in the text to become one."""
MARKS = re.compile(r"@(?=@)|<(?=/w>)|<(?=unk>)")
"""Where the marks of CTRL's vocabulary begin: "@@", "</w>" and "<unk>"."""
SHELTERED = {"\u200d": "\ufdd1", "\uff5e": "\ufdd2"}
"""What SentencePiece keeps and the library would change, the joiner in emoji and ～; and what no text holds."""
EAST = r"\p{Han}\p{Hiragana}\p{Katakana}"
ALIKE = (
    rf"▁?(?:[{EAST}]+|\p{{Hangul}}+|[[\p{{L}}\p{{M}}]&&[^{EAST}\p{{Hangul}}]]+"
    r"|\p{N}+|[^\p{L}\p{M}\p{N}▁]+)"
)
"""What one piece of a unigram model may hold: letters of one script, digits, or marks. For learning only."""


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What a vocabulary was learned from, and how well it suits text it has not seen."""

    kind: Kind
    """How words are cut."""
    family: Family
    """Whose published tokenizers it is made like."""
    vocab_size: int
    """Tokens it has."""
    vocab_size_asked: int
    """Tokens it was to have."""
    texts: int
    """That were read and not empty."""
    characters: int
    """In all of them."""
    characters_learned_from: int
    """Of those; the rest is held back, or beyond the budget."""
    characters_measured: int
    """What the following shares are of."""
    held_back: bool
    """Whether that is text it has not learned from; a very short one leaves none."""
    letters: int
    """In its alphabet: characters, or 256 bytes."""
    letters_left_out: int
    """Characters of the text that are too rare for it."""
    characters_covered: float
    """Share of the characters, spaces not counted, that are not lost in an unknown token."""
    words_covered: float
    """Share of the words, as spaces part them, that hold no unknown token."""
    tokens_per_word: float
    """Words as spaces part them."""
    tokens_per_character: float
    """Spaces counted."""
    single_letters: float
    """Share of the tokens of the text that are one letter, or a part of one."""
    unknown: float
    """Share of the tokens of the text that are unknown."""
    longest: tuple[str, ...]
    """The longest tokens, longest first."""
    seed: int
    """What decided which part of the text was chosen."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"longest": list(self.longest)}


def train_tokenizer(
    texts: Iterable[str],
    *,
    kind: Kind,
    vocab_size: int,
    family: Family | None = None,
    cased: bool = False,
    specials: Sequence[str] = (),
    max_length: int = 512,
    characters: int = CHARACTERS,
    seed: int = 0,
) -> tuple[Tokenizer, TokenizerReport]:
    """Learn a vocabulary from texts, in one pass and in memory for `characters` of them.

    texts       read once; the same in the same order give the same tokenizer, byte for byte
    kind        "wordpiece", "unigram" or "bpe"
    vocab_size  tokens, special ones included; a short text may hold fewer
    family      whose special tokens, template and way to cut; bert, albert and deberta by default
    cased       capitals stay, in a family that folds them: BERT's, DistilBERT's, ELECTRA's and ALBERT's
    specials    more special tokens, such as control codes, at the end of the vocabulary
    max_length  tokens of the longest input, special ones included
    characters  to learn from; of more, pieces of 1,000 characters are chosen by chance
    seed        of that chance

    Raises SettingError for what cannot be, such as a vocabulary that its letters alone overfill, and
    TextError where there is nothing to learn from.

    >>> texts = [f"The {noun} of {place}." for noun in ("sea", "rain", "poem") for place in ("old", "two", "home")]
    >>> tokenizer, report = train_tokenizer(texts, kind="wordpiece", vocab_size=60)
    >>> tokenizer.decode(tokenizer.windows(["The old sea."])[0][0]), tokenizer.pad_id, tokenizer.vocab_size
    ('the old sea.', 0, 54)
    """
    family = family_of(kind, family)
    if not FEWEST <= characters <= MOST:
        raise SettingError(f"characters={characters} to learn from; use {FEWEST:,} to {MOST:,}")
    if max_length < 3:
        raise SettingError(f"max_length={max_length} leaves no room for text beside special tokens; use 3 or more")
    text = _chosen(texts, characters=characters, seed=seed)
    folded = not cased and family in ("bert", "distilbert", "electra", "albert")
    settings = published.PublishedSettings(Path(), {"do_lower_case": folded, "keep_accents": not folded})
    names = {"albert": published.ALBERT_NAMES, "ctrl": published.CTRL_NAMES}.get(family, published.NAMES)
    more = [name for name in dict.fromkeys(specials) if name not in names.values()]
    size = vocab_size - len(more)
    match kind:
        case "wordpiece":
            inner, letters = _wordpiece(text.learned, size, settings)
        case "unigram":
            inner, letters = _unigram(text.learned, size, settings, family)
        case _:
            inner, letters = (_ctrl if family == "ctrl" else _bytes)(text.learned, size, settings)
    published.add_tokens(inner, settings, names, strips=family in ("albert", "deberta"))
    measured = _measured(inner, names["unk_token"], text.held if text.held.characters else text.learned)
    tokenizer = Tokenizer(inner, max_length=max_length, names=names, typed=family != "distilbert")
    tokenizer = tokenizer.with_specials(more)
    return tokenizer, TokenizerReport(
        kind=kind,
        family=family,
        vocab_size=tokenizer.vocab_size,
        vocab_size_asked=vocab_size,
        texts=text.texts,
        characters=text.characters,
        characters_learned_from=text.learned.characters,
        held_back=bool(text.held.characters),
        letters=len(letters.kept),
        letters_left_out=letters.left_out,
        seed=seed,
        **measured,
    )


def family_of(kind: Kind, family: Family | None) -> Family:
    """The family asked for, or the kind's first; SettingError for names that are not known or not of one another.

    >>> family_of("unigram", None)
    'albert'
    """
    if kind not in FAMILIES:
        raise SettingError(
            f"no kind of tokenizer {kind!r}{nearest(kind, FAMILIES) or '.'} Kinds: {', '.join(FAMILIES)}"
        )
    if family is None:
        return FAMILIES[kind][0]
    if family not in get_args(Family):
        known = get_args(Family)
        raise SettingError(f"no family {family!r}{nearest(family, known) or '.'} Families: {', '.join(known)}")
    if family not in FAMILIES[kind]:
        own = next(kind for kind, families in FAMILIES.items() if family in families)
        raise SettingError(
            f"the tokenizers of {family} are of the kind {own}, not {kind}; use kind {own}, "
            f"or a family out of {', '.join(FAMILIES[kind])}"
        )
    return family


# --- which text ------------------------------------------------------------------------------------------------


class PieceSample:
    """Of all pieces that come, those with the smallest numbers, as many as a budget of characters allows.

    Numbers differ. Which pieces they are does not depend on the order in which they come, and memory holds
    the budget and no more.

    >>> sample = PieceSample(10)
    >>> for number, piece in [(7, "line"), (3, "three"), (5, "short")]:
    ...     sample.add(number, piece)
    >>> list(sample), sample.characters
    (['three', 'short'], 10)
    """

    def __init__(self, budget: int) -> None:
        self.characters = 0
        self._budget = budget
        self._heap: list[tuple[int, str]] = []
        self._end = math.inf  # a piece with this number or more was too much once

    def add(self, number: int, piece: str) -> None:
        """Take a piece, and drop those with the largest numbers while it is too much."""
        if number >= self._end:
            return
        heappush(self._heap, (-number, piece))
        self.characters += len(piece)
        while self.characters > self._budget:
            largest, dropped = heappop(self._heap)
            self.characters -= len(dropped)
            self._end = -largest

    def __iter__(self) -> Iterator[str]:
        """In the order of their numbers."""
        return (piece for _, piece in sorted(self._heap, reverse=True))


@dataclass
class TextSample:
    """What was read, and what was chosen of it."""

    learned: PieceSample
    held: PieceSample
    texts: int = 0
    characters: int = 0


def _chosen(texts: Iterable[str], *, characters: int, seed: int) -> TextSample:
    if isinstance(texts, str):
        raise SettingError("texts is one string, and would be read letter by letter; pass a list of texts")
    text = TextSample(PieceSample(characters), PieceSample(min(characters // HELD_SHARE, MOST_HELD)))
    pieces = 0
    for one in texts:
        if not one.strip():
            continue
        text.texts += 1
        text.characters += len(one)
        if not _is_sound(one):
            raise TextError(
                f"text {text.texts}, {one[:40]!r}, holds half of a surrogate pair; decode it anew, as UTF-8"
            )
        for piece in _pieces(one):
            number, held = divmod(random_bits(seed, "vocabulary", pieces), HELD_SHARE)
            pieces += 1
            (text.learned if held else text.held).add(number, piece)
    if not text.texts:
        raise TextError("there is no text to learn a vocabulary from; give at least one that is not blank")
    if not text.learned.characters:  # so short that all was held back
        text.learned, text.held = text.held, text.learned
    return text


def _is_sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most PIECE characters, cut at spaces where there are any."""
    start = 0
    while len(text) - start > PIECE:
        space = text.rfind(" ", start + 1, start + PIECE)
        end = space if space > start else start + PIECE
        yield text[start:end]
        start = end
    yield text[start:]


@dataclass(frozen=True)
class Letters:
    """The alphabet of a text."""

    kept: list[str]
    """In order."""
    left_out: int
    """How many others the text has."""
    blanks: dict[int, str]
    """A space for each character that would become one of those."""

    def texts(self, sample: PieceSample) -> Iterator[str]:
        """The pieces of a sample without the letters that are left out."""
        return (piece.translate(self.blanks) for piece in sample) if self.blanks else iter(sample)


def _letters(sample: PieceSample, form: tokenizers.Tokenizer) -> Letters:
    """All of ASCII that the text has, and of other letters the most frequent, so that COVERAGE of it remains.

    form  what the text is made into before it is cut
    """
    raw: Counter[str] = Counter()
    for piece in sample:
        raw.update(piece)
    become = {
        letter: _visible(form.normalizer.normalize_str(letter) if form.normalizer else letter) for letter in raw
    }
    counts: Counter[str] = Counter()
    for letter, count in raw.items():
        counts.update(dict.fromkeys(become[letter], count))
    if not counts:
        raise TextError("the text has no letter in it to learn from; give other text")
    spare, kept = (1 - COVERAGE) * counts.total(), set(counts)
    rare = sorted(
        (letter for letter in counts if not letter.isascii()), key=lambda letter: (counts[letter], letter)
    )
    for letter in rare:
        spare -= counts[letter]
        if spare < 0:
            break
        kept.remove(letter)
    blanks = {ord(letter): " " for letter, small in become.items() if not kept.issuperset(small)}
    return Letters(sorted(kept), len(counts) - len(kept), blanks)


def _visible(letters: str) -> str:
    return "".join(letter for letter in letters if not letter.isspace() and letter != published.SPACE)


# --- learning ----------------------------------------------------------------------------------------------------


def _wordpiece(
    sample: PieceSample, size: int, settings: published.PublishedSettings
) -> tuple[tokenizers.Tokenizer, Letters]:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    form = published.wordpiece(specials, settings)
    letters = _letters(sample, form)
    # punctuation and Chinese letters are words of their own
    inside = [letter for letter in letters.kept if len(form.pre_tokenizer.pre_tokenize_str(f"a{letter}a")) == 1]
    given = [*specials, *letters.kept, *(f"##{letter}" for letter in inside)]
    _must_fit(len(given), size, f"{len(letters.kept):,} letters, {len(inside):,} of them also inside words,")
    trainer = trainers.WordPieceTrainer(**_options(size, given))
    learned = _learned(models.WordPiece(unk_token=specials[1]), trainer, form, letters.texts(sample))
    return published.wordpiece(_by_id(learned["vocab"]), settings), letters


def _bytes(
    sample: PieceSample, size: int, settings: published.PublishedSettings
) -> tuple[tokenizers.Tokenizer, Letters]:
    first, last = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "[MASK]"
    form = published.byte_level({}, [], settings)
    letters = Letters(sorted(pre_tokenizers.ByteLevel.alphabet()), 0, {})
    _must_fit(len(letters.kept) + len(first) + 1, size, "256 bytes")
    trainer = trainers.BpeTrainer(**_options(size - len(first) - 1, letters.kept))
    learned = _learned(models.BPE(), trainer, form, sample)
    ids = {name: number for number, name in enumerate([*first, *_by_id(learned["vocab"]), last])}
    return published.byte_level(ids, [tuple(pair) for pair in learned["merges"]], settings), letters


def _ctrl(
    sample: PieceSample, size: int, settings: published.PublishedSettings
) -> tuple[tokenizers.Tokenizer, Letters]:
    """Every piece has an id; `<unk>` and a line's end are the last, as in the published vocabulary."""
    last = ["<unk>", "\n"]
    form = published.ctrl({"<unk>": 0}, [], settings)
    letters = _letters(sample, form)
    given = sorted([*letters.kept, *(letter + published.END for letter in letters.kept)])
    _must_fit(len(given) + len(last), size, f"{len(letters.kept):,} letters, inside words and at their end,")
    trainer = trainers.BpeTrainer(**_options(size - len(last), given), end_of_word_suffix=published.END)
    # a piece with a mark of CTRL's own in it could not be told from another piece so marked
    texts = (MARKS.sub(r"\g<0> ", piece).replace("\n", " ") for piece in letters.texts(sample))
    learned = _learned(models.BPE(end_of_word_suffix=published.END), trainer, form, texts)
    names = [*map(published.from_merged, _by_id(learned["vocab"])), *last]
    ids = {name: number for number, name in enumerate(names)}
    return published.ctrl(ids, [tuple(pair) for pair in learned["merges"]], settings), letters


def _unigram(
    sample: PieceSample, size: int, settings: published.PublishedSettings, family: Family
) -> tuple[tokenizers.Tokenizer, Letters]:
    albert = family == "albert"
    first = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"] if albert else ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    unknown = "<unk>" if albert else "[UNK]"
    octets = [f"<0x{number:02X}>" for number in range(256)] if family == "deberta-v3" else []
    given = [(name, 0.0, spm.UNKNOWN if name == unknown else spm.CONTROL) for name in first]
    given += [(name, 0.0, spm.BYTE) for name in octets]

    def made(pieces: list[tuple[str, float]]) -> tokenizers.Tokenizer:
        normal = [(piece, score, spm.NORMAL) for piece, score in pieces]
        model = spm.SentencePieceModel([*given, *normal], {spm.BYTE_FALLBACK: len(octets)}, {})
        return published.unigram(model, settings, albert=albert, mapped=_nmt_nfkc())

    form = made([(published.SPACE, 0.0)])
    letters = _letters(sample, form)
    raw: Counter[str] = Counter()
    for piece in letters.texts(sample):
        raw.update(piece.split())
    alike = pre_tokenizers.Split(tokenizers.Regex(ALIKE), "removed", invert=True)
    words: Counter[str] = Counter()
    for word, count in raw.items():
        for part, _ in alike.pre_tokenize_str(form.normalizer.normalize_str(word)):
            words[part] += count
    alone = len(set().union(*words))
    room = size - len(given) - (0 if albert else 1)  # DeBERTa's [MASK] is the last of all
    _must_fit(size - room + alone, size, f"{alone:,} letters, a space among them,")
    return made(unigram.learn(words, room)), letters


def _nmt_nfkc() -> list[normalizers.Normalizer]:
    """SentencePiece's rule of that name as the library has it, in place of the table that published files carry."""
    away = [normalizers.Replace(letter, shelter) for letter, shelter in SHELTERED.items()]
    back = [normalizers.Replace(shelter, letter) for letter, shelter in SHELTERED.items()]
    return [*away, normalizers.Nmt(), normalizers.NFKC(), *back]


def _options(size: int, given: list[str]) -> dict[str, Any]:
    """What makes byte pairs the same in each run: all letters in order, as special tokens, and no others."""
    return {
        "vocab_size": size,
        "special_tokens": given,
        "limit_alphabet": 0,
        "min_frequency": SEEN,
        "show_progress": False,
    }


def _must_fit(fewest: int, size: int, what: str) -> None:
    if fewest > size:
        raise SettingError(
            f"a vocabulary of {size:,} has no room for the text's {what} beside its special tokens; "
            f"ask for {fewest:,}, or some thousands more to learn words too"
        )


def _learned(model: Any, trainer: Any, form: tokenizers.Tokenizer, texts: Iterable[str]) -> dict[str, Any]:
    """The model that the library learns from texts which are read as `form` reads them."""
    inner = tokenizers.Tokenizer(model)
    if form.normalizer is not None:
        inner.normalizer = form.normalizer
    inner.pre_tokenizer = form.pre_tokenizer
    inner.train_from_iterator(groups(texts), trainer)
    settings: dict[str, Any] = json.loads(inner.to_str())["model"]
    return settings


def _by_id(ids: dict[str, int]) -> list[str]:
    return sorted(ids, key=ids.__getitem__)


# --- measuring -------------------------------------------------------------------------------------------------


def _measured(inner: tokenizers.Tokenizer, unknown: str, sample: PieceSample) -> dict[str, Any]:
    """The fields of a report that are about the texts of a sample."""
    number = inner.token_to_id(unknown)
    counts = np.zeros(inner.get_vocab_size(), dtype=np.int64)
    words = letters = lost_words = lost_letters = 0
    for texts in groups(sample):
        encodings = inner.encode_batch(texts, add_special_tokens=False)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int64)
        counts += np.bincount(ids, minlength=len(counts))
        for text, encoding in zip(texts, encodings, strict=True):
            parted = text.split()
            words += len(parted)
            letters += sum(map(len, parted))
            if number not in encoding.ids:
                continue
            lost = bytearray(len(text))
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == number:
                    lost[start:end] = bytes([1]) * (end - start)
            inside = [sum(lost[word.start() : word.end()]) for word in re.finditer(r"\S+", text)]
            lost_letters += sum(inside)
            lost_words += sum(map(bool, inside))
    shown = [inner.decode([n], skip_special_tokens=False).removeprefix("##").strip() for n in range(len(counts))]
    tokens = max(int(counts.sum()), 1)
    special = {token.content for token in inner.get_added_tokens_decoder().values()}
    long = sorted((token for token in {*shown} - special if len(token) > 1), key=lambda token: (-len(token), token))
    return {
        "characters_measured": sample.characters,
        "characters_covered": 1 - lost_letters / max(letters, 1),
        "words_covered": 1 - lost_words / max(words, 1),
        "tokens_per_word": tokens / max(words, 1),
        "tokens_per_character": tokens / max(sample.characters, 1),
        "single_letters": int(counts[[len(token) < 2 for token in shown]].sum()) / tokens,
        "unknown": int(counts[number]) / tokens,
        "longest": tuple(long[:LONGEST]),
    }
