"""What a tokenizer.json may be made of: the kinds of its parts, the settings of each, and how far they may go.

Kinds and settings are those of `tokenizers` 0.22 and 0.23 that texts need, and a few that older files have.
None of them takes more than time and memory in proportion to the text, and `MOST_GROWTH` bounds the factor.
"""

import base64
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from sijo.tokenizers import bounds, pipelines
from sijo.tokenizers.bounds import BeyondBoundsError
from sijo.tokenizers.sentencepiece import check_charsmap

PATTERNS = {
    # GPT-2's words, in the two spellings that are about
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # spaces put together, by transformers 4 and 5 for ALBERT, DeBERTa and their like
    r"\s{2,}|[\n\r\t]",
    r"[\n\r\t]",
    r"\n",
    r"\s+",
    pipelines.SPACES,
    pipelines.WHITESPACE,
    pipelines.EDGES,
    pipelines.CTRL_WORD,
    pipelines.BEFORE_MARK,
    pipelines.FENCED,
}
"""The regular expressions a tokenizer.json may carry: each needs time in proportion to the text."""
CODES = re.compile(r"\[(\\x\{[0-9a-f]+\}-?)+\]")
"""A bare class of characters is as quick, whatever is in it; ALBERT's accents are one."""
MOST_STEPS = 32
"""Steps of a sequence; sijo's own for ALBERT has 20."""
MOST_GROWTH = 8
"""Times as many bytes as all replacements may make of a text. Fences before marks and ▁ for each space make 7.5."""
ONCE = ("BertNormalizer", "ByteLevel", "Precompiled", "Prepend")
"""Steps that lengthen a text each time, and that no tokenizer needs twice."""
MOST_SPECIAL = 64
"""Special tokens around a text."""
LONGEST_WORD = 200
"""Letters of a word that WordPiece cuts, in time that goes with their square. BERT has 100, Google's code 200."""

Check = Callable[[Any], bool]
"""Whether a setting has a value of the right type that may be."""


def _text(longest: int = bounds.LONGEST_TOKEN, shortest: int = 0) -> Check:
    return lambda value: type(value) is str and shortest <= len(value) <= longest


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(*known: object) -> Check:
    return lambda value: any(type(value) is type(each) and value == each for each in known)


def _anything(value: Any) -> bool:
    return True  # looked at apart


def _share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _pattern(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"String", "Regex"}:
        return False
    if "String" in value:
        return _text(shortest=1)(value["String"])  # an empty one is found at every place, for ever
    pattern = str(value["Regex"])
    if pattern not in PATTERNS and not CODES.fullmatch(pattern):
        raise BeyondBoundsError(
            f"cuts text with the regular expression {pattern!r:.60}, which sijo does not know and will not run, "
            "since it could run for ever"
        )
    return True


def _charsmap(value: Any) -> bool:
    if type(value) is not str or not value:
        return False
    blob = base64.b64decode(value, validate=True)
    check_charsmap(blob)
    return pipelines.precompiled(blob) is not None


def _framing(value: Any) -> bool:
    """A special token with its id, as BERT's and RoBERTa's frames have them."""
    return type(value) is list and len(value) == 2 and _text()(value[0]) and type(value[1]) is int


_flag, _letter, _affix = _one_of(True, False), _text(1, 1), _text(16)
_behavior = _one_of("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
_bare: Mapping[str, Check] = {}
_replace: Mapping[str, Check] = {"pattern": _pattern, "content": _text()}
_byte_level: Mapping[str, Check] = dict.fromkeys(("add_prefix_space", "trim_offsets", "use_regex"), _flag)
_metaspace: Mapping[str, Check] = {
    **dict.fromkeys(("replacement", "str_rep"), _letter),
    **dict.fromkeys(("split", "add_prefix_space"), _flag),
    "prepend_scheme": _one_of("always", "never", "first"),
}
STEPS: Mapping[str, tuple[str, Mapping[str, Mapping[str, Check]]]] = {
    "normalizer": (
        "normalizers",
        {
            "BertNormalizer": {
                **dict.fromkeys(("clean_text", "handle_chinese_chars", "lowercase"), _flag),
                "strip_accents": _or_none(_flag),
            },
            "ByteLevel": _bare,
            **dict.fromkeys(("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents"), _bare),
            "Precompiled": {"precompiled_charsmap": _charsmap},
            "Prepend": {"prepend": _letter},
            "Replace": _replace,
            "Strip": dict.fromkeys(("strip_left", "strip_right"), _flag),
        },
    ),
    "pre_tokenizer": (
        "pretokenizers",
        {
            **dict.fromkeys(("BertPreTokenizer", "UnicodeScripts", "Whitespace", "WhitespaceSplit"), _bare),
            "ByteLevel": _byte_level,
            "CharDelimiterSplit": {"delimiter": _letter},
            "Digits": {"individual_digits": _flag},
            "FixedLength": {"length": _whole(1, 1 << 20)},
            "Metaspace": _metaspace,
            "Punctuation": {"behavior": _behavior},
            "Split": {"pattern": _pattern, "behavior": _behavior, "invert": _flag},
        },
    ),
    "post_processor": (
        "processors",
        {
            "BertProcessing": {"sep": _framing, "cls": _framing},
            "ByteLevel": _byte_level,
            "RobertaProcessing": {
                **{"sep": _framing, "cls": _framing},
                **dict.fromkeys(("trim_offsets", "add_prefix_space"), _flag),
            },
            "TemplateProcessing": dict.fromkeys(("single", "pair", "special_tokens"), _anything),
        },
    ),
    "decoder": (
        "decoders",
        {
            "BPEDecoder": {"suffix": _text(16, 1)},
            **dict.fromkeys(("ByteFallback", "Fuse"), _bare),
            "ByteLevel": _byte_level,
            "Metaspace": _metaspace,
            "Replace": _replace,
            "Strip": {"content": _letter, "start": _whole(0, 16), "stop": _one_of(0)},
            "WordPiece": {"prefix": _affix, "cleanup": _flag},
        },
    ),
}
"""The kinds of steps, their settings and the values these may have; and what a sequence calls its steps."""
MODELS: Mapping[str, Mapping[str, Check]] = {
    "BPE": {
        **dict.fromkeys(("vocab", "merges"), _anything),
        **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), _or_none(_flag)),
        **dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), _or_none(_affix)),
        "unk_token": _or_none(_text()),
        "dropout": _or_none(_share),
    },
    "WordPiece": {
        "vocab": _anything,
        "unk_token": _text(),
        "continuing_subword_prefix": _affix,
        "max_input_chars_per_word": _whole(1, LONGEST_WORD),
    },
    "WordLevel": {"vocab": _anything, "unk_token": _text()},
    "Unigram": {
        "vocab": _anything,
        "unk_id": _whole(0, bounds.MOST_TOKENS),
        "byte_fallback": _or_none(_flag),
        "alpha": _or_none(_share),
        "nbest_size": _or_none(_whole(0, bounds.MOST_TOKENS)),
    },
}
"""The kinds of models with their settings, in the order in which a model without a `type` is taken for one."""
FIELDS = ("version", "truncation", "padding", "added_tokens", *STEPS, "model")
"""Of a tokenizer.json."""
ADDED_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def check_components(settings: Mapping[str, Any]) -> None:
    """Make sure that a tokenizer.json is made of what sijo knows, within bounds.

    Raises ValueError where it is damaged, and BeyondBoundsError for what sijo will not run.
    """
    for name in settings:
        if name not in FIELDS:
            raise BeyondBoundsError(f"has the field {name!r:.60}, which sijo does not know")
    known = _check_model(settings.get("model"))
    known |= _check_added(settings.get("added_tokens") or [])
    steps = {role: list(islice(_steps(role, settings.get(role)), MOST_STEPS + 1)) for role in STEPS}
    for role, chain in steps.items():
        if len(chain) > MOST_STEPS:
            raise BeyondBoundsError(f"has a {role} of more than {MOST_STEPS} steps")
        growth = math.prod(_growth(step) for step in chain if step["type"] == "Replace")
        if growth > MOST_GROWTH:
            raise BeyondBoundsError(
                f"has a {role} that may make a text {growth:,.0f} times as long, and sijo takes up to {MOST_GROWTH}"
            )
    kinds = [step["type"] for role in ("normalizer", "pre_tokenizer") for step in steps[role]]
    for kind in ONCE:
        if kinds.count(kind) > 1:
            raise BeyondBoundsError(f"has more than one step of the kind {kind}, which sijo takes once")
    frames = [step for step in steps["post_processor"] if step["type"] != "ByteLevel"]
    if len(frames) > 1:
        raise BeyondBoundsError("frames a text more than once")
    for step in frames:
        for side in step.keys() & {"cls", "sep"}:
            if step[side][1] not in known:
                raise ValueError(f"its frame holds the id {step[side][1]}, which no token has")
        if step["type"] == "TemplateProcessing":
            _check_template(step, known)


def _steps(role: str, part: Any) -> Iterator[dict[str, Any]]:
    """The steps of a part, one after the other, each with settings that may be."""
    if part is None:
        return
    if not isinstance(part, dict):
        raise ValueError(f"its {role} is no object")
    inside, kinds = STEPS[role]
    if part.get("type") == "Sequence":
        chain = part.get(inside)
        if not isinstance(chain, list) or len(part) > 2:
            raise ValueError(f"a sequence of its {role} is no list of steps")
        for step in chain:
            yield from _steps(role, step)
        return
    _check_settings(role, kinds, part, part.get("type"))
    yield part


def _check_settings(
    role: str, kinds: Mapping[str, Mapping[str, Check]], part: Mapping[str, Any], kind: Any
) -> None:
    if not isinstance(kind, str) or kind not in kinds:
        raise BeyondBoundsError(f"has a {role} of the kind {kind!r:.60}, and sijo knows {', '.join(sorted(kinds))}")
    if kind == "Precompiled" and len(part) < 2:
        raise ValueError("a map of characters is absent")  # the library panics
    for name, value in part.items():
        if name == "type":
            continue
        if name not in kinds[kind]:
            raise BeyondBoundsError(f"has a {role} {kind} with the setting {name!r:.60}, which sijo does not know")
        if not kinds[kind][name](value):
            raise BeyondBoundsError(f"has a {role} {kind} whose {name} is {value!r:.60}, which sijo does not take")


def model_kind(model: Mapping[str, Any]) -> str:
    """The kind of a model; of one in an old file, which does not say so, by what it has."""
    if "type" in model:
        return str(model["type"])
    if "merges" in model:
        return "BPE"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _check_model(model: Any) -> set[int]:
    """The ids of a model's tokens, once it is sure that they may be."""
    if not isinstance(model, dict):
        raise ValueError("it has no model")
    kind, vocab = model_kind(model), model.get("vocab")
    _check_settings("model", MODELS, model, kind)
    if kind == "Unigram":
        bounds.check_pieces(vocab)
        pieces = range(len(model["vocab"]))
        if model.get("unk_id") not in pieces:
            raise ValueError("its unk_id is not that of a piece")
        return set(pieces)
    if not isinstance(vocab, dict):
        raise ValueError("its vocabulary is no object")
    suffix, prefix = model.get("end_of_word_suffix"), model.get("continuing_subword_prefix") or ""
    bounds.check_ids(vocab, steps=pipelines.STEP if suffix == pipelines.END else 0)
    unknown = model.get("unk_token")
    if unknown is None and max(vocab.values(), default=0) >= pipelines.STEP:
        raise ValueError("its vocabulary has steps of merging and no unknown token")
    if unknown not in vocab and (kind != "BPE" or unknown is not None):
        raise ValueError(f"its vocabulary lacks the unknown token {unknown!r:.60}")
    if kind == "BPE":
        merges = model.get("merges")
        if not isinstance(merges, list):
            raise ValueError("its merges are no list")
        bounds.check_merges(merges, vocab, prefix=prefix)
    return set(vocab.values())


def _check_added(tokens: Any) -> set[int]:
    """The ids of the added tokens, once it is sure that they may be."""
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise ValueError("its added tokens are no list of objects")
    for token in tokens:
        if not token.keys() <= {"id", "content", *ADDED_FLAGS}:
            raise BeyondBoundsError(f"has the added token {token!r:.60} with a setting that sijo does not know")
        if not token.get("content") or not all(type(token.get(flag, False)) is bool for flag in ADDED_FLAGS):
            raise ValueError(f"the added token {token!r:.60} is none")
    bounds.check_added(token["content"] for token in tokens)
    bounds.check_ids({token["content"]: token.get("id") for token in tokens})
    return {token["id"] for token in tokens}


def _growth(step: Mapping[str, Any]) -> float:
    """Times as many bytes as a replacement makes of a text at most, and a Unicode form of that."""
    pattern, content = step["pattern"], step.get("content", "")
    longer = max(len(text.encode()) for text in (content, unicodedata.normalize("NFKD", content)))
    if "String" in pattern:
        return max(1.0, longer / len(pattern["String"].encode()))
    if pattern["Regex"] == pipelines.BEFORE_MARK:  # what it finds is empty, and stands before two bytes or more
        return 1 + longer / 2
    return max(1.0, longer)


def _check_template(step: Mapping[str, Any], known: set[int]) -> None:
    """Make sure that a template holds each text once, and of special tokens those that there are."""
    special: dict[str, int] = {}
    for name, token in _object(step.get("special_tokens")).items():
        ids, names = _object(token).get("ids"), token.get("tokens")
        if not isinstance(ids, list) or not isinstance(names, list) or not 0 < len(ids) == len(names):
            raise ValueError(f"the special token {name!r:.60} of its template is none")
        if not all(type(number) is int and number in known for number in ids):
            raise ValueError(f"its template holds an id for {name!r:.60} that no token has")
        special[name] = len(ids)
    for side, texts in (("single", ["A"]), ("pair", ["A", "B"])):
        pieces = step.get(side)
        if not isinstance(pieces, list) or not all(len(_object(piece)) == 1 for piece in pieces):
            raise ValueError(f"the {side} of its template is no list of pieces")
        inner = [(kind, _object(value)) for piece in pieces for kind, value in piece.items()]
        if sorted(str(value.get("id")) for kind, value in inner if kind == "Sequence") != texts:
            raise ValueError(f"the {side} of its template does not hold each text once")
        names = [value.get("id") for kind, value in inner if kind == "SpecialToken"]
        if missing := [name for name in names if name not in special]:
            raise ValueError(f"its template names the token {missing[0]!r:.60}, which it does not have")
        if sum(special[name] for name in names) > MOST_SPECIAL:
            raise BeyondBoundsError(f"puts more than {MOST_SPECIAL} special tokens around a text")
        types = [value.get("type_id") for _, value in inner]
        if not all(_one_of(0, 1)(kind) for kind in types):
            raise BeyondBoundsError(f"has a template with token types {types!r:.60}, and sijo knows 0 and 1")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60} is no object")
    return value
