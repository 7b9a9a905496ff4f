"""A tokenizer from the files a model was published with, where no tokenizer.json lies beside them.

`vocab.txt` is WordPiece, `spm.model` and `spiece.model` are SentencePiece unigram models, `vocab.json`
with `merges.txt` is byte-level BPE or CTRL's. The `tokenizers` library does the cutting; what is here
makes it cut as the released code does. Where it cannot, `docs/tokenizers.md` says so. The same parts
make a tokenizer of a vocabulary that was learned here, in `vocabulary.py`.

A setting of tokenizer_config.json that changes ids has its effect or is refused by name.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sijo.errors import CheckpointError, RefusedError, SijoError
from sijo.tokenizers import sentencepiece as spm
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

FILES = {
    "bert": ("vocab.txt",),
    "distilbert": ("vocab.txt",),
    "electra": ("vocab.txt",),
    "albert": ("spiece.model", "vocab.txt"),
    "deberta": ("vocab.json",),
    "deberta-v2": ("spm.model", "spiece.model"),
    "ctrl": ("vocab.json",),
    "sijo": ("vocab.txt", "spm.model", "spiece.model", "vocab.json"),
}
"""Which file holds the vocabulary of a model of this type, the first that is there."""
LARGEST = 1 << 26
"""Bytes of a published file; the largest known, of 250,000 pieces, has 5 million."""
STEP = 1 << 24
"""Ids from here on are no tokens, but pieces that CTRL's merges pass through and its vocabulary lacks."""
END = "</w>"
ONLY: dict[str, tuple[object, ...]] = {
    "add_bos_token": (False,),
    "add_eos_token": (False,),
    "do_basic_tokenize": (True,),
    "errors": ("replace",),
    "never_split": (None, []),
    "sp_model_kwargs": (None, {}),
    "split_by_punct": (False,),
    "split_special_tokens": (False,),
    "subword_tokenizer_type": ("wordpiece",),
    "vocab_type": ("spm",),
    "word_tokenizer_type": ("basic",),
}
"""Settings with one value that is known here; any other is refused."""
CLASSES = ("Bert", "DistilBert", "Electra", "Albert", "Deberta", "DebertaV2", "CTRL", "PreTrained")
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
NAMES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
"""Special tokens where no file names others: in this order they are added, if the vocabulary lacks them."""
ALBERT_NAMES = NAMES | {"unk_token": "<unk>", "pad_token": "<pad>"}
CTRL_NAMES = {"unk_token": "<unk>"}

EXTENDING = r"[\p{M}\x{200c}\x{200d}\x{e33}\x{eb3}\x{ff9e}\x{ff9f}\x{1f3fb}-\x{1f3ff}]"
FENCE = "\ufdd0"  # not a character of any text; keeps a mark away from the letter before it
BEFORE_MARK = rf"(?<=.)(?={EXTENDING})"
FENCED = rf"(?<=[^\p{{M}}])\x{{{ord(FENCE):x}}}"
SPACES, EDGES, WHITESPACE, CTRL_WORD = " {2,}", r"\A | \z", r"[\s\x1c-\x1f]+", r"\S+\n?"
COMPOSING = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf")
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


class PublishedSettings:
    """What tokenizer_config.json and special_tokens_map.json say, with the names of special tokens."""

    def __init__(self, file: Path, fields: Mapping[str, Any]) -> None:
        self.file = file
        self.fields = fields

    @classmethod
    def read(cls, folder: Path) -> "PublishedSettings":
        """Those of a folder; none where the files are absent."""
        fields: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                fields |= read_object(folder / name)
        self = cls(folder / "tokenizer_config.json", fields)
        if "auto_map" in fields:
            raise RefusedError(
                f"{self.file} asks to run code of its own (auto_map); sijo never does. Choose another model"
            )
        return self

    def flag(self, name: str, default: bool | None, *, allowed: tuple[bool | None, ...] = (True, False)) -> Any:
        """The value of a setting, or its default; RefusedError when it has no effect here."""
        value = self.fields.get(name, default)
        if value is not default and not any(value is known for known in allowed):
            raise RefusedError(
                f"{self.file} sets {name} to {value!r}, and sijo knows {' or '.join(map(str, allowed))}; "
                "bring a tokenizer.json, or choose another model"
            )
        return value

    def check(self) -> None:
        """Refuse by name what would cut texts in a way that is not known here."""
        for name, known in ONLY.items():
            if name in self.fields and self.fields[name] not in known:
                raise RefusedError(
                    f"{self.file} sets {name} to {self.fields[name]!r}, which sijo does not do; "
                    "bring a tokenizer.json, or choose another model"
                )
        kind = str(self.fields.get("tokenizer_class") or "PreTrainedTokenizer")
        if kind.removesuffix("Fast").removesuffix("Tokenizer") not in CLASSES and kind != "TokenizersBackend":
            raise RefusedError(
                f"{self.file} names the tokenizer {kind}, which sijo does not know; bring a tokenizer.json"
            )

    def name(self, role: str, default: str | None = None) -> str | None:
        """The text of a special token, such as "[MASK]" for `mask_token`."""
        value = self.fields.get(role, default)
        value = value.get("content") if isinstance(value, dict) else value
        return value if isinstance(value, str) and value else None

    def special(self, role: str, content: str, *, lstrip: bool = False) -> AddedToken:
        """A special token with the flags that its settings give it."""
        value = self.fields.get(role)
        return added(value if isinstance(value, dict) else {"lstrip": lstrip}, content, special=True)


def build(folder: Path, *, model_type: str, settings: PublishedSettings) -> Tokenizer:
    """A tokenizer out of published files.

    Raises CheckpointError when a file is absent or damaged, and RefusedError for what it asks and
    sijo does not do.
    """
    names = FILES.get(model_type, FILES["sijo"])
    name = next((name for name in names if (folder / name).is_file()), None)
    if name is None:
        what = " or ".join(f"{name} with merges.txt" if name == "vocab.json" else name for name in names)
        raise CheckpointError(
            f"{folder} has no tokenizer.json: it was copied in part, or needs conversion. "
            f"A {model_type} model can also be read with {what}; copy that file too"
        )
    settings.check()
    file = folder / name
    with _whole(file):
        match file.suffix:
            case ".txt":
                inner, defaults = wordpiece(_lines(file), settings), NAMES
            case ".model":
                albert = model_type == "albert" or (model_type == "sijo" and name == "spiece.model")
                defaults = ALBERT_NAMES if albert else NAMES
                inner = _unigram(
                    file, settings, albert=albert, unknown=settings.name("unk_token", defaults["unk_token"])
                )
            case _:
                merges = _merges(folder / "merges.txt")
                spaced = any(right.endswith(END) for _, right in merges)
                defaults = CTRL_NAMES if spaced else NAMES
                inner = (ctrl if spaced else byte_level)(_vocabulary(file), merges, settings)
        more = folder / "added_tokens.json"
        add_tokens(
            inner,
            settings,
            defaults,
            strips=name not in ("vocab.txt", "spm.model"),
            more=read_object(more) if more.is_file() else {},
        )
    return inner


def read_object(file: Path) -> dict[str, Any]:
    """The fields of a JSON object; CheckpointError when it is damaged or something else."""
    with _whole(file):
        fields = json.loads(_read(file))
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")
    return fields


def added(flags: Mapping[str, Any], content: str, *, special: bool) -> AddedToken:
    """A token that is found in the raw text, before anything is cut."""
    sides = {name: flags.get(name) is True for name in ("lstrip", "rstrip", "single_word")}
    normalized = flags.get("normalized", not special) is True
    return AddedToken(content, special=special, normalized=normalized, **sides)


@contextmanager
def _whole(file: Path) -> Iterator[None]:
    """Whatever a damaged file leads to is one sentence about that file."""
    try:
        yield
    except SijoError:
        raise
    except Exception as error:  # the library raises plain Exception
        raise CheckpointError(f"{file} is not whole: {error or type(error).__name__}. Copy it again.") from None


def _read(file: Path) -> str:
    return _bytes(file).decode("utf-8")


def _bytes(file: Path) -> bytes:
    with file.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST >> 20} MB")
    return data


def add_tokens(
    inner: Tokenizer,
    settings: PublishedSettings,
    defaults: Mapping[str, str],
    *,
    strips: bool,
    more: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Special and added tokens at the ids they are declared at, and the template around a text and a pair.

    defaults  special tokens by their roles, where the settings name no other
    strips    whether the mask takes the space before it, if the settings do not say
    more      ids of added tokens, as added_tokens.json has them
    """
    names = {role: name for role in ROLES if (name := settings.name(role, defaults.get(role)))}
    # SentencePiece never sees them, and its leading space would stand in front of each
    raw = {"normalized": False} if isinstance(inner.model, models.Unigram) else {}
    declared: dict[int, AddedToken] = {}
    for content, number in more.items():
        declared[number] = added(raw, content, special=content in names.values())
    for number, flags in settings.fields.get("added_tokens_decoder", {}).items():
        declared[int(number)] = added({**flags, **raw}, flags["content"], special=flags.get("special") is True)
    for number, token in sorted(declared.items(), key=lambda pair: pair[0]):
        (inner.add_special_tokens if token.special else inner.add_tokens)([token])
        if inner.token_to_id(token.content) != number:
            raise ValueError(
                f"the token {token.content!r} is declared as id {number} but comes to "
                f"{inner.token_to_id(token.content)}; the files are of different models"
            )
    for role, name in names.items():
        inner.add_special_tokens([settings.special(role, name, lstrip=strips and role == "mask_token")])
    extra = settings.fields.get("additional_special_tokens") or settings.fields.get("extra_special_tokens") or []
    for value in extra.values() if isinstance(extra, dict) else extra:
        flags = value if isinstance(value, dict) else {}
        inner.add_special_tokens([added(flags, str(flags.get("content", value)), special=True)])
    if "cls_token" in names and "sep_token" in names:
        cls, sep = names["cls_token"], names["sep_token"]
        inner.post_processor = processors.TemplateProcessing(
            single=[cls, "$A", sep],
            pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
            special_tokens=[(name, inner.token_to_id(name)) for name in dict.fromkeys((cls, sep))],
        )


def _lines(file: Path) -> list[str]:
    return _read(file).replace("\r\n", "\n").removesuffix("\n").split("\n")


def wordpiece(tokens: Sequence[str], settings: PublishedSettings) -> Tokenizer:
    """BERT's: words, then the longest piece first. Tokens stand in the order of their ids."""
    unknown = settings.name("unk_token", "[UNK]")
    ids = {token: number for number, token in enumerate(tokens)}
    if unknown not in ids:
        raise ValueError(f"it has no {unknown}")
    inner = Tokenizer(models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=100))
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=settings.flag("strip_accents", None, allowed=(True, False, None)),
        lowercase=settings.flag("do_lower_case", True),
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return inner


def _merges(file: Path) -> list[tuple[str, str]]:
    """Pairs to merge, first things first. Symbols may hold any space but U+0020, so only that one parts them."""
    if not file.is_file():
        raise CheckpointError(f"{file} is absent, and vocab.json is of no use without it; copy it too")
    with _whole(file):
        lines = _read(file).replace("\r\n", "\n").split("\n")
        pairs = [line.split(" ") for line in lines[lines[0].startswith("#version") :] if line]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{next(' '.join(pair) for pair in pairs if len(pair) != 2)!r} is not a pair")
    return [(left, right) for left, right in pairs]


def _vocabulary(file: Path) -> dict[str, int]:
    ids = read_object(file)
    if any(type(number) is not int or not 0 <= number < STEP for number in ids.values()):
        raise ValueError("an id is not a whole number")
    if len(set(ids.values())) < len(ids):
        raise ValueError("two tokens have one id")
    return ids


def byte_level(ids: dict[str, int], merges: list[tuple[str, str]], settings: PublishedSettings) -> Tokenizer:
    """GPT-2's, and DeBERTa's: pairs of bytes, each byte written as a letter."""
    inner = Tokenizer(models.BPE(ids, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.flag("add_prefix_space", False))
    inner.decoder = decoders.ByteLevel()
    return inner


def ctrl(ids: dict[str, int], merges: list[tuple[str, str]], settings: PublishedSettings) -> Tokenizer:
    """CTRL writes `un@@ able`, the merges `un able</w>`: each token is renamed as the merges call it."""
    unknown = settings.name("unk_token", "<unk>")
    if unknown not in ids:
        raise ValueError(f"it has no {unknown}")
    renamed = {to_merged(token) if token != unknown else token: number for token, number in ids.items()}
    # a piece that only stands between others has no id of its own, yet merging must pass through it
    for piece in dict.fromkeys(part for left, right in merges for part in (left, right, left + right)):
        renamed.setdefault(piece, STEP + len(renamed))
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


def _unigram(file: Path, settings: PublishedSettings, *, albert: bool, unknown: str | None) -> Tokenizer:
    model = spm.read_model(_bytes(file))
    texts = [text for text, _, _ in model.pieces]
    kinds = [kind for _, _, kind in model.pieces]
    if strange := model.strange():
        raise RefusedError(f"{file} has {strange}, which sijo does not do; choose another model")
    if len(set(texts)) < len(texts) or "" in texts or kinds.count(spm.UNKNOWN) != 1 or spm.NORMAL not in kinds:
        raise ValueError("its pieces are not each once there, with one for the unknown")
    if model.byte_fallback() and kinds.count(spm.BYTE) != 256:
        raise ValueError("it falls back on bytes but lacks some of the 256")
    settings.flag("add_prefix_space", True, allowed=(True,))
    if unknown and unknown not in texts:  # the piece "<unk>" of a DeBERTa is shown as [UNK]
        model.pieces[kinds.index(spm.UNKNOWN)] = (unknown, 0.0, spm.UNKNOWN)
    return unigram(model, settings, albert=albert, mapped=_charsmap(file, model))


def unigram(
    model: spm.SentencePieceModel,
    settings: PublishedSettings,
    *,
    albert: bool,
    mapped: list[normalizers.Normalizer],
) -> Tokenizer:
    """SentencePiece's, with ALBERT's own steps before it or without.

    mapped  what stands for the model's map of characters
    """
    texts = [text for text, _, _ in model.pieces]
    kinds = [kind for _, _, kind in model.pieces]
    scores = _scores(model, albert=albert)
    number = kinds.index(spm.UNKNOWN)
    inner = Tokenizer(
        models.Unigram(list(zip(texts, scores, strict=True)), number, byte_fallback=model.byte_fallback())
    )
    inner.normalizer = normalizers.Sequence([*before(settings, albert=albert), *mapped, *_spaces(model)])
    joined = any(SPACE in text[1:] for text, kind in zip(texts, kinds, strict=True) if kind == spm.NORMAL)
    inner.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=not joined)
    strip = [decoders.Strip(" ", 1, 0)] if model.dummy_prefix() else []
    inner.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    special = [text for text, kind in zip(texts, kinds, strict=True) if kind in (spm.UNKNOWN, spm.CONTROL)]
    inner.add_special_tokens([added({}, text, special=True) for text in special])
    return inner


def _scores(model: spm.SentencePieceModel, *, albert: bool) -> list[float]:
    """Scores with which the library's search finds what SentencePiece's does.

    What the user defined always wins there, and control and byte pieces are never found in a text:
    they score below any way to write their names in other pieces. So do ALBERT's digits with a comma.

    All are 2**24 times what the file says. That makes whole numbers of its float32: sums are exact, so of
    equal ways the first found wins, and the library's own JSON reader is off by a bit where numbers are not
    whole. Which way is best does not change, since no known piece holds a character that is none.
    """
    worst = min(score for _, score, kind in model.pieces if kind == spm.NORMAL)
    never = min(worst, -1.0) * (2 + max(len(text) for text, _, kind in model.pieces if kind != spm.NORMAL))
    scores = []
    for text, own, kind in model.pieces:
        score = own
        if kind == spm.USER_DEFINED:
            score = 0.1 * (len(text.encode()) - 1)
        elif kind != spm.NORMAL or (albert and text[-1] == "," and text[-2:-1].isdigit()):
            score = never
        scores.append(float(round(score * 2**24)))
    return scores


def before(settings: PublishedSettings, *, albert: bool) -> list[normalizers.Normalizer]:
    """What the released code does to a text before SentencePiece sees it."""
    steps: list[normalizers.Normalizer] = []
    if albert:
        if settings.flag("remove_space", True):
            steps += [normalizers.Replace(Regex(WHITESPACE), " "), normalizers.Replace(Regex(EDGES), "")]
        steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not settings.flag("keep_accents", False):
            steps += [normalizers.NFKD(), normalizers.Replace(Regex(_combining()), "")]
    if settings.flag("do_lower_case", albert):
        steps.append(normalizers.Lowercase())
    return steps


def _combining() -> str:
    """The characters that have a combining class, as a class of a regular expression.

    `StripAccents` also takes marks without one: vowels of Thai, the keycap of an emoji.
    """
    marks = [code for code in range(0x20000) if unicodedata.combining(chr(code))]
    runs = [code for code in marks if not unicodedata.combining(chr(code - 1))]
    ends = [code for code in marks if not unicodedata.combining(chr(code + 1))]
    return "[" + "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in zip(runs, ends, strict=True)) + "]"


def _charsmap(file: Path, model: spm.SentencePieceModel) -> list[normalizers.Normalizer]:
    """The model's own map of characters, applied as SentencePiece applies it: the longest match first.

    The library looks up whole graphemes of less than six bytes, takes their shortest match and drops
    the rest; of longer ones it looks up single characters. So marks are fenced off first, and what the
    map would have joined is joined by NFC, one mark a round so that no mark passes another.
    """
    blob, rule = model.charsmap(), model.rule()
    if not blob:
        return []
    if rule not in COMPOSING:
        raise RefusedError(
            f"{file} normalises by the rule {rule!r}; sijo knows {', '.join(COMPOSING)} and identity"
        )
    own = normalizers.Precompiled(blob)
    symbols = [text for text, _, kind in model.pieces if kind == spm.USER_DEFINED]
    changed = next((symbol for symbol in symbols if own.normalize_str(symbol) != symbol), None)
    if changed is not None:
        raise RefusedError(f"{file} keeps {changed!r} whole, but its own map would change it; choose another model")
    join = [normalizers.Replace(Regex(FENCED), ""), normalizers.NFC()]
    fence = normalizers.Replace(Regex(BEFORE_MARK), FENCE)
    return [fence, own, *join, *join, *join, normalizers.Replace(FENCE, "")]


def _spaces(model: spm.SentencePieceModel) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    if model.remove_extra_whitespaces():
        steps += [normalizers.Replace(Regex(SPACES), " "), normalizers.Replace(Regex(EDGES), "")]
    if model.dummy_prefix():
        steps.append(normalizers.Prepend(SPACE))
    return [*steps, normalizers.Replace(" ", SPACE)]
