"""A vocabulary learned from raw text, and a tokenizer of it in the style of a family's published ones.

The `tokenizers` library does the learning; this module makes what comes out of it the same in every run, and
`choose_text.py` decides what it learns from. How texts are read out of files belongs elsewhere.

The library's byte pairs and WordPiece vary from run to run as they stand: letters inside and at the ends
of words are numbered as a hash table hands them out, and equal counts are decided by number. So all letters
are given to it in order, as special tokens. Unigram models are learned in `unigram.py`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from sijo.batching import groups
from sijo.errors import SettingError
from sijo.texts import check_text
from sijo.tokenizers import pipelines, unigram
from sijo.tokenizers import sentencepiece as spm
from sijo.tokenizers.choose_text import Alphabet, PieceSample, alphabet_of, choose_text
from sijo.tokenizers.published_settings import PublishedSettings
from sijo.tokenizers.special_tokens import add_tokens
from sijo.tokenizers.style import TokenizerStyle
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.tokenizers.tokenizer_report import TokenizerReport, measured
from tokenizers import models, pre_tokenizers, trainers

CHARACTERS = 20_000_000
"""Of text a vocabulary is learned from; twice as many make texts 0.1 % shorter (docs/tokenizers.md)."""
FEWEST, MOST = 100_000, 2_000_000_000
"""Characters that may be learned from: some to choose from, and no more than the library counts in 32 bits."""
LARGEST, LONGEST = 10_000_000, 1_000_000
"""Tokens of a vocabulary, and of an input."""
OPTIONS: dict[str, Any] = {"limit_alphabet": 0, "min_frequency": 2, "show_progress": False}
"""A pair of pieces becomes one where it stands in the text twice; and no letters are known but those that are given
as special tokens, in order: so byte pairs are the same in each run."""
MARKS = re.compile(r"@(?=@)|<(?=/w>)|<(?=unk>)")
"""Where the marks of CTRL's vocabulary begin: "@@", "</w>" and "<unk>"."""
EAST = r"\p{Han}\p{Hiragana}\p{Katakana}"
ALIKE = (
    rf"▁?(?:[{EAST}]+|\p{{Hangul}}+|[[\p{{L}}\p{{M}}]&&[^{EAST}\p{{Hangul}}]]+"
    r"|\p{N}+|[^\p{L}\p{M}\p{N}▁]+)"
)
"""What one piece of a unigram model may hold: letters of one script, digits, or marks. For learning only."""

Learned = tuple[tokenizers.Tokenizer, Alphabet]


def train_tokenizer(
    texts: Iterable[str],
    style: TokenizerStyle,
    *,
    vocab_size: int,
    cased: bool = False,
    specials: Sequence[str] = (),
    max_length: int = 512,
    characters: int = CHARACTERS,
    seed: int = 0,
) -> tuple[Tokenizer, TokenizerReport]:
    """Learn a vocabulary from texts, in one pass and in memory for `characters` of them.

    texts       read once; the same in the same order give the same tokenizer, byte for byte
    style       kind, special tokens, template and way to cut: `sijo.models.tokenizer_style` knows the families'
    vocab_size  tokens, special ones included; a short text may hold fewer
    cased       capitals stay, in a style that folds them: BERT's, DistilBERT's, ELECTRA's and ALBERT's
    specials    more special tokens, such as control codes, at the end of the vocabulary
    max_length  tokens of the longest input, special ones included
    characters  to learn from; of more, pieces of 1,000 characters are chosen at random
    seed        of that choice

    Raises SettingError for what cannot be, such as a vocabulary that its letters alone overfill, and
    TextError where there is nothing to learn from.

    >>> from sijo.models import tokenizer_style
    >>> texts = [f"The {noun} of {place}." for noun in ("sea", "rain", "poem") for place in ("old", "two", "home")]
    >>> tokenizer, report = train_tokenizer(texts, tokenizer_style("wordpiece"), vocab_size=60)
    >>> tokenizer.decode(tokenizer.windows(["The old sea."])[0][0]), tokenizer.pad_id, tokenizer.vocab_size
    ('the old sea.', 0, 54)
    """
    if not FEWEST <= characters <= MOST:
        raise SettingError(f"characters={characters} to learn from; use {FEWEST:,} to {MOST:,}")
    if not 3 <= max_length <= LONGEST:
        raise SettingError(
            f"max_length={max_length} leaves no room for text beside special tokens, or is no length; use 3 to "
            f"{LONGEST:,}"
        )
    if not 1 <= vocab_size <= LARGEST:
        raise SettingError(f"vocab_size={vocab_size} is no vocabulary; ask for some thousands, up to {LARGEST:,}")
    for name in specials:
        check_text(name, f"the special token {name!r}")
    text = choose_text(texts, characters=characters, seed=seed)
    folds = style.folds and not cased
    settings = PublishedSettings(Path(), {**style.special, "do_lower_case": folds, "keep_accents": not folds})
    more = [name for name in dict.fromkeys(specials) if name not in style.special.values()]
    learn = {"wordpiece": _wordpiece, "unigram": _unigram, "bpe": _byte_pairs}[style.kind]
    inner, alphabet = learn(text.learned, vocab_size - len(more), style, settings)
    add_tokens(inner, settings, strips_mask=style.strips_mask, between=style.between)
    shares = measured(inner, style.special["unk_token"], text.held if text.held.characters else text.learned)
    tokenizer = Tokenizer(inner, max_length=max_length, names=style.special, typed=style.token_types)
    tokenizer = tokenizer.with_specials(more)
    return tokenizer, TokenizerReport(
        kind=style.kind,
        family=style.name,
        vocab_size=tokenizer.vocab_size,
        vocab_size_asked=vocab_size,
        texts=text.texts,
        characters=text.characters,
        characters_learned_from=text.learned.characters,
        held_back=bool(text.held.characters),
        letters=len(alphabet.kept),
        letters_left_out=alphabet.left_out,
        seed=seed,
        **shares,
    )


def _wordpiece(sample: PieceSample[str], size: int, style: TokenizerStyle, settings: PublishedSettings) -> Learned:
    form = pipelines.wordpiece(style.first, settings)
    alphabet = alphabet_of(sample, form)
    # punctuation and Chinese letters are words of their own
    inside = [letter for letter in alphabet.kept if len(form.pre_tokenizer.pre_tokenize_str(f"a{letter}a")) == 1]
    known = [*style.first, *alphabet.kept, *(f"##{letter}" for letter in inside)]
    what = f"{len(alphabet.kept):,} letters, {len(inside):,} of them also inside words,"
    _must_fit(len(known) + len(style.last), size, what)
    trainer = trainers.WordPieceTrainer(vocab_size=size - len(style.last), special_tokens=known, **OPTIONS)
    model = models.WordPiece(unk_token=style.special["unk_token"])
    learned = _learned(model, trainer, form, alphabet.texts(sample))
    return pipelines.wordpiece([*_by_id(learned["vocab"]), *style.last], settings), alphabet


def _byte_pairs(sample: PieceSample[str], size: int, style: TokenizerStyle, settings: PublishedSettings) -> Learned:
    """Pairs of bytes as GPT-2's, or of letters as CTRL's, where every piece has an id."""
    texts: Iterable[str]
    suffix: dict[str, Any] = {} if style.bytes else {"end_of_word_suffix": pipelines.END}
    if style.bytes:
        form = pipelines.byte_level({}, [], settings)
        alphabet = Alphabet(sorted(pre_tokenizers.ByteLevel.alphabet()), 0, {})
        known, texts, what = alphabet.kept, sample, "256 bytes"
    else:
        form = pipelines.ctrl({style.special["unk_token"]: 0}, [], settings)
        alphabet = alphabet_of(sample, form)
        known = sorted([*alphabet.kept, *(letter + pipelines.END for letter in alphabet.kept)])
        # a piece with a mark of CTRL's own in it could not be told from another piece so marked
        texts = (MARKS.sub(r"\g<0> ", piece).replace("\n", " ") for piece in alphabet.texts(sample))
        what = f"{len(alphabet.kept):,} letters, inside words and at their end,"
    room = size - len(style.first) - len(style.last)
    _must_fit(len(known) + size - room, size, what)
    trainer = trainers.BpeTrainer(vocab_size=room, special_tokens=known, **OPTIONS, **suffix)
    learned = _learned(models.BPE(**suffix), trainer, form, texts)
    names = _by_id(learned["vocab"])
    names = [*style.first, *(names if style.bytes else map(pipelines.from_merged, names)), *style.last]
    ids = {name: number for number, name in enumerate(names)}
    build = pipelines.byte_level if style.bytes else pipelines.ctrl
    return build(ids, [tuple(pair) for pair in learned["merges"]], settings), alphabet


def _unigram(sample: PieceSample[str], size: int, style: TokenizerStyle, settings: PublishedSettings) -> Learned:
    unknown = style.special["unk_token"]
    octets = [f"<0x{number:02X}>" for number in range(256)] if style.bytes else []
    known = [(name, 0.0, spm.UNKNOWN if name == unknown else spm.CONTROL) for name in style.first]
    known += [(name, 0.0, spm.BYTE) for name in octets]

    def made(pieces: list[tuple[str, float]]) -> tokenizers.Tokenizer:
        normal = [(piece, score, spm.NORMAL) for piece, score in pieces]
        model = spm.SentencePieceModel([*known, *normal], {spm.BYTE_FALLBACK: len(octets)}, {})
        return pipelines.unigram(model, settings, albert_steps=style.albert_steps, mapped=pipelines.nmt_nfkc())

    form = made([(pipelines.SPACE, 0.0)])
    alphabet = alphabet_of(sample, form)
    raw = Counter(word for piece in alphabet.texts(sample) for word in piece.split())
    alike = pre_tokenizers.Split(tokenizers.Regex(ALIKE), "removed", invert=True)
    words: Counter[str] = Counter()
    for word, count in raw.items():
        for part, _ in alike.pre_tokenize_str(form.normalizer.normalize_str(word)):
            words[part] += count
    letters = len(set().union(*words))
    room = size - len(known) - len(style.last)
    _must_fit(size - room + letters, size, f"{letters:,} letters, a space among them,")
    return made(unigram.learn(words, room)), alphabet


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
