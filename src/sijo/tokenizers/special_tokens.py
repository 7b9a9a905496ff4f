"""Special and added tokens: at which ids they stand, and the frame they form around a text and a pair."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from sijo.errors import CheckpointError, RefusedError
from sijo.tokenizers import bounds
from sijo.tokenizers.native import panicked
from sijo.tokenizers.published_settings import PublishedSettings
from tokenizers import AddedToken, Tokenizer, models, processors

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""In this order special tokens are added, where the vocabulary lacks them."""
Frame = list[tuple[int | None, list[int], int]]
"""What an input is made of, in order: special tokens, or text 0 or 1, with the token type."""


def added(flags: Mapping[str, Any], content: str, *, special: bool) -> AddedToken:
    """A token that is found in the raw text, before anything is cut."""
    sides = {name: flags.get(name) is True for name in ("lstrip", "rstrip", "single_word")}
    normalized = flags.get("normalized", not special) is True
    return AddedToken(content, special=special, normalized=normalized, **sides)


def special_names(settings: PublishedSettings) -> dict[str, str]:
    """The special tokens that settings name, by their roles."""
    return {role: name for role in ROLES if (name := settings.name(role))}


def add_tokens(
    inner: Tokenizer,
    settings: PublishedSettings,
    *,
    strips_mask: bool,
    between: int = 1,
    more: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Put special and added tokens at the ids they are declared at, with the template around a text and a pair.

    settings     name the special tokens
    strips_mask  whether the mask takes the space before it, if the settings do not say
    between      separators between two texts
    more         ids of added tokens, as added_tokens.json has them
    """
    names = special_names(settings)
    # SentencePiece never sees them, and its leading space would stand in front of each
    raw = {"normalized": False} if isinstance(inner.model, models.Unigram) else {}
    bounds.check_ids(more)
    bounds.check_added(more)
    declared = {number: added(raw, content, special=content in names.values()) for content, number in more.items()}
    for number, flags in _declared(settings).items():
        declared[number] = added({**flags, **raw}, flags["content"], special=flags.get("special") is True)
    # all at once: each call looks at all that were added before
    inner.add_tokens([declared[number] for number in sorted(declared)])
    for number, token in declared.items():
        if inner.token_to_id(token.content) != number:
            raise ValueError(
                f"the token {token.content!r} is declared as id {number} but comes to "
                f"{inner.token_to_id(token.content)}; the files are of different models"
            )
    special = []
    for role, name in names.items():
        value = settings.fields[role]
        flags = value if isinstance(value, dict) else {"lstrip": strips_mask and role == "mask_token"}
        special.append((flags, name))
    for value in _additional(settings):
        flags = value if isinstance(value, dict) else {}
        special.append((flags, flags.get("content", value)))
    bounds.check_added(content for _, content in special)
    inner.add_special_tokens([added(flags, content, special=True) for flags, content in special])
    if "cls_token" in names and "sep_token" in names:
        cls, sep = names["cls_token"], names["sep_token"]
        ids = {name: found for name in (cls, sep) if (found := inner.token_to_id(name)) is not None}
        if between == 2 and isinstance(inner.model, models.BPE):
            inner.post_processor = processors.RobertaProcessing(
                (sep, ids[sep]),
                (cls, ids[cls]),
                trim_offsets=settings.flag("trim_offsets", True),
                add_prefix_space=settings.flag("add_prefix_space", False),
            )
        else:
            second = ["$B:1", f"{sep}:1"] if between == 1 else ["$B", sep]
            inner.post_processor = processors.TemplateProcessing(
                single=[cls, "$A", sep],
                pair=[cls, "$A", *[sep] * between, *second],
                special_tokens=list(ids.items()),
            )


def _declared(settings: PublishedSettings) -> dict[int, dict[str, Any]]:
    """The added tokens that tokenizer_config.json declares, by their ids; ValueError where it does not."""
    tokens = settings.fields.get("added_tokens_decoder") or {}
    if not isinstance(tokens, dict) or not all(isinstance(flags, dict) for flags in tokens.values()):
        raise ValueError("added_tokens_decoder of tokenizer_config.json is no object of objects")
    if not all(number.isascii() and number.isdecimal() and len(number) < 10 for number in tokens):
        raise ValueError("added_tokens_decoder of tokenizer_config.json holds an id that is no whole number")
    bounds.check_added(flags.get("content") for flags in tokens.values())
    return {int(number): flags for number, flags in tokens.items()}


def _additional(settings: PublishedSettings) -> Collection[Any]:
    """The special tokens that tokenizer_config.json names beside those with a role."""
    extra = settings.fields.get("additional_special_tokens") or settings.fields.get("extra_special_tokens") or []
    if not isinstance(extra, list | dict):
        raise ValueError("the additional special tokens of tokenizer_config.json are no list")
    return extra.values() if isinstance(extra, dict) else extra


def frame_of(inner: Tokenizer, texts: int) -> Frame:
    """What an input of one text or two is made of, read off a probe: a template may be written in five ways."""
    for probe in "a0가":
        try:
            encoded = inner.encode(probe, probe if texts == 2 else None)
        except BaseException as error:
            if not isinstance(error, Exception) and not panicked(error):
                raise
            raise CheckpointError(f"this tokenizer cannot read a single letter: {error}. Copy it again.") from None
        frame: Frame = []
        for number, kind, side in zip(encoded.ids, encoded.type_ids, encoded.sequence_ids, strict=True):
            if side is None or not frame or frame[-1][0] != side:
                frame.append((side, [number] if side is None else [], kind))
        sides = [side for side, _, _ in frame if side is not None]
        if len(sides) > texts:
            raise RefusedError(
                "this tokenizer gives special tokens out as a text, or a text twice; choose another model"
            )
        if len(sides) == texts:
            return frame
    raise CheckpointError("this tokenizer finds no token in any text; copy it again")
