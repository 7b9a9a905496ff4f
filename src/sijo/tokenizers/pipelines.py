"""What happens to a text on its way to tokens: normaliser, pre-tokenizer, model and decoder of each kind.

The `tokenizers` library does the cutting; what is here makes it cut as the released code does, for a published
vocabulary as for one that was learned here. Where it cannot, `docs/tokenizers.md` says so.
"""

import unicodedata
from collections.abc import Sequence

from sijo.errors import RefusedError
from sijo.tokenizers import bounds
from sijo.tokenizers import sentencepiece as spm
from sijo.tokenizers.bounds import BeyondBoundsError
from sijo.tokenizers.published_settings import PublishedSettings
from sijo.tokenizers.special_tokens import added
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

STEP = 1 << 24
"""Ids from here on are no tokens, but pieces that CTRL's merges pass through and its vocabulary lacks."""
END = "</w>"
"""Stands at the end of a word in merges such as CTRL's."""
EXTENDING = r"[\p{M}\x{200c}\x{200d}\x{e33}\x{eb3}\x{ff9e}\x{ff9f}\x{1f3fb}-\x{1f3ff}]"
FENCE = "\ufdd0"  # not a character of any text; keeps a mark away from the letter before it
BEFORE_MARK = rf"(?<=.)(?={EXTENDING})"
FENCED = rf"(?<=[^\p{{M}}])\x{{{ord(FENCE):x}}}"
SPACES, EDGES, WHITESPACE, CTRL_WORD = " {2,}", r"\A | \z", r"[\s\x1c-\x1f]+", r"\S+\n?"
COMPOSING = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf")
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
MOST_MAPPED = 3
"""Times as many bytes as a map of characters may make of a short character."""
SHELTERED = {"\u200d": "\ufdd1", "\uff5e": "\ufdd2"}
"""What SentencePiece keeps and the library would change, the joiner in emoji and ～; and what no text holds."""


def wordpiece(tokens: Sequence[str], settings: PublishedSettings) -> Tokenizer:
    """BERT's: words, then the longest piece first. Tokens stand in the order of their ids."""
    ids = {token: number for number, token in enumerate(tokens)}
    inner = Tokenizer(models.WordPiece(ids, unk_token=_unknown(ids, settings), max_input_chars_per_word=100))
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=settings.flag("strip_accents", None, allowed=(True, False, None)),
        lowercase=settings.flag("do_lower_case", True),
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return inner


def _unknown(ids: dict[str, int], settings: PublishedSettings) -> str:
    """The unknown token; ValueError where the vocabulary lacks it."""
    unknown = settings.name("unk_token")
    if unknown is None or unknown not in ids:
        raise ValueError(f"it has no {unknown}")
    return unknown


# --- byte pairs --------------------------------------------------------------------------------------------------


def byte_level(ids: dict[str, int], merges: list[tuple[str, str]], settings: PublishedSettings) -> Tokenizer:
    """GPT-2's, and DeBERTa's: pairs of bytes, each byte written as a letter."""
    bounds.check_merges(merges, ids)
    inner = Tokenizer(models.BPE(ids, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.flag("add_prefix_space", False))
    inner.decoder = decoders.ByteLevel()
    return inner


def ctrl(ids: dict[str, int], merges: list[tuple[str, str]], settings: PublishedSettings) -> Tokenizer:
    """CTRL writes `un@@ able`, the merges `un able</w>`: each token is renamed as the merges call it."""
    unknown = _unknown(ids, settings)
    renamed = {to_merged(token) if token != unknown else token: number for token, number in ids.items()}
    # a piece that only stands between others has no id of its own, yet merging must pass through it
    for piece in dict.fromkeys(part for left, right in merges for part in (left, right, left + right)):
        renamed.setdefault(piece, STEP + len(renamed))
    bounds.check_tokens(renamed)
    inner = Tokenizer(models.BPE(renamed, merges, unk_token=unknown, end_of_word_suffix=END))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(CTRL_WORD), "removed", invert=True)
    inner.decoder = decoders.BPEDecoder(suffix=END)
    return inner


def to_merged(token: str) -> str:
    """CTRL's name of a token as the merges call it.

    >>> to_merged("un@@"), to_merged("able")
    ('un', 'able</w>')
    """
    return token.removesuffix("@@") if token.endswith("@@") else token + END


def from_merged(piece: str) -> str:
    """What CTRL's vocabulary calls a token of that name among its merges.

    >>> from_merged("un"), from_merged("able</w>")
    ('un@@', 'able')
    """
    return piece.removesuffix(END) if piece.endswith(END) else f"{piece}@@"


# --- unigram models ----------------------------------------------------------------------------------------------


def unigram(
    model: spm.SentencePieceModel,
    settings: PublishedSettings,
    *,
    albert_steps: bool,
    mapped: list[normalizers.Normalizer],
) -> Tokenizer:
    """SentencePiece's, with ALBERT's own steps before it or without.

    mapped  what stands for the model's map of characters
    """
    texts = [text for text, _, _ in model.pieces]
    kinds = [kind for _, _, kind in model.pieces]
    scored = list(zip(texts, _scores(model, albert_steps=albert_steps), strict=True))
    inner = Tokenizer(models.Unigram(scored, kinds.index(spm.UNKNOWN), byte_fallback=model.byte_fallback()))
    before = _before(settings, albert_steps=albert_steps)
    inner.normalizer = normalizers.Sequence([*before, *mapped, *_spaces(model)])
    joined = any(SPACE in text[1:] for text, kind in zip(texts, kinds, strict=True) if kind == spm.NORMAL)
    inner.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=not joined)
    strip = [decoders.Strip(" ", 1, 0)] if model.dummy_prefix() else []
    inner.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    special = [text for text, kind in zip(texts, kinds, strict=True) if kind in (spm.UNKNOWN, spm.CONTROL)]
    inner.add_special_tokens([added({}, text, special=True) for text in special])
    return inner


def _scores(model: spm.SentencePieceModel, *, albert_steps: bool) -> list[float]:
    """Scores with which the library's search finds what SentencePiece's does.

    What the user defined always wins there, and control and byte pieces are never found in a text:
    they score below any way to write their names in other pieces. So do ALBERT's digits with a comma.

    All are 2**24 times what the file says. That makes whole numbers of its float32: sums are exact, so of
    equal ways the first one wins, and the library's own JSON reader is off by a bit where numbers are not
    whole. Which way is best does not change, since no known piece holds a character that is none.
    """
    worst = min(score for _, score, kind in model.pieces if kind == spm.NORMAL)
    never = min(worst, -1.0) * (2 + max(len(text) for text, _, kind in model.pieces if kind != spm.NORMAL))
    scores = []
    for text, own, kind in model.pieces:
        score = own
        if kind == spm.USER_DEFINED:
            score = 0.1 * (len(text.encode()) - 1)
        elif kind != spm.NORMAL or (albert_steps and text[-1] == "," and text[-2:-1].isdigit()):
            score = never
        scores.append(float(round(score * 2**24)))
    return scores


def _before(settings: PublishedSettings, *, albert_steps: bool) -> list[normalizers.Normalizer]:
    """What the released code does to a text before SentencePiece sees it."""
    steps: list[normalizers.Normalizer] = []
    if albert_steps:
        if settings.flag("remove_space", True):
            steps += [normalizers.Replace(Regex(WHITESPACE), " "), normalizers.Replace(Regex(EDGES), "")]
        steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not settings.flag("keep_accents", False):
            steps += [normalizers.NFKD(), normalizers.Replace(Regex(combining_marks()), "")]
    if settings.flag("do_lower_case", albert_steps):
        steps.append(normalizers.Lowercase())
    return steps


def combining_marks() -> str:
    """The characters that have a combining class, as a class of a regular expression.

    `StripAccents` also takes marks without one: vowels of Thai, the keycap of an emoji.
    """
    marks = [code for code in range(0x20000) if unicodedata.combining(chr(code))]
    starts = [code for code in marks if not unicodedata.combining(chr(code - 1))]
    ends = [code for code in marks if not unicodedata.combining(chr(code + 1))]
    return "[" + "".join(rf"\x{{{start:x}}}-\x{{{end:x}}}" for start, end in zip(starts, ends, strict=True)) + "]"


def own_charsmap(model: spm.SentencePieceModel, source: object) -> list[normalizers.Normalizer]:
    """The model's own map of characters, applied as SentencePiece applies it: the longest match first.

    The library looks up whole graphemes of less than six bytes, takes their shortest match and drops
    the rest; of longer ones it looks up single characters. So marks are fenced off first, and what the
    map would have joined is joined by NFC, one mark a round so that no mark passes another.

    source  the file, for RefusedError to name
    """
    blob, rule = model.charsmap(), model.rule()
    if not blob:
        return []
    if rule not in COMPOSING:
        raise RefusedError(
            f"{source} normalises by the rule {rule!r}; sijo knows {', '.join(COMPOSING)} and identity"
        )
    own = precompiled(blob)
    symbols = [text for text, _, kind in model.pieces if kind == spm.USER_DEFINED]
    changed = next((symbol for symbol in symbols if own.normalize_str(symbol) != symbol), None)
    if changed is not None:
        raise RefusedError(
            f"{source} keeps {changed!r} whole, but its own map would change it; choose another model"
        )
    join = [normalizers.Replace(Regex(FENCED), ""), normalizers.NFC()]
    fence = normalizers.Replace(Regex(BEFORE_MARK), FENCE)
    return [fence, own, *join, *join, *join, normalizers.Replace(FENCE, "")]


def precompiled(blob: bytes) -> normalizers.Normalizer:
    """A checked map of characters; BeyondBoundsError where it lengthens a text as no rule of SentencePiece does.

    In those a character of one or two bytes becomes at most 2.5 times as long, ½, and one of three bytes 11 times.
    """
    own = normalizers.Precompiled(blob)
    short = (chr(code) for code in range(1, 0x800))
    mapped = ((letter, unicodedata.normalize("NFKD", own.normalize_str(letter))) for letter in short)
    if any(len(text.encode()) > MOST_MAPPED * len(letter.encode()) for letter, text in mapped):
        raise BeyondBoundsError(f"has a map of characters that makes some {MOST_MAPPED} times as long or more")
    return own


def nmt_nfkc() -> list[normalizers.Normalizer]:
    """SentencePiece's rule of that name as the library has it, in place of the table that published files carry."""
    away = [normalizers.Replace(letter, shelter) for letter, shelter in SHELTERED.items()]
    back = [normalizers.Replace(shelter, letter) for letter, shelter in SHELTERED.items()]
    return [*away, normalizers.Nmt(), normalizers.NFKC(), *back]


def _spaces(model: spm.SentencePieceModel) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    if model.remove_extra_whitespaces():
        steps += [normalizers.Replace(Regex(SPACES), " "), normalizers.Replace(Regex(EDGES), "")]
    if model.dummy_prefix():
        steps.append(normalizers.Prepend(SPACE))
    return [*steps, normalizers.Replace(" ", SPACE)]
