"""How texts and pairs are cut for a network, by arguments of transformers' tokenizers that pipelines pass on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sijo.errors import SettingError, TextError
from sijo.tokenizers.tokenizer import FramedInput, Tokenizer

Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
TOKENIZER_ARGUMENTS = ("truncation", "max_length", "padding", "add_special_tokens")


@dataclass(frozen=True, kw_only=True)
class InputCut:
    """What is cut, and to how many tokens."""

    truncation: Truncation = "do_not_truncate"
    max_length: int | None = None
    """Tokens of an input, special ones counted; None for as many as the model reads."""
    special: bool = True
    """Whether special tokens are put around texts."""

    @classmethod
    def of(
        cls,
        truncation: Any = None,
        max_length: int | None = None,
        padding: Any = False,
        add_special_tokens: bool = True,
    ) -> "InputCut":
        """From the arguments of a tokenizer; SettingError for what they cannot be.

        padding  changes no answer here, where none is read of padding, and is only looked at

        >>> InputCut.of(truncation=True).truncation, InputCut.of(max_length=8).truncation
        ('longest_first', 'longest_first')
        """
        if max_length is not None and (type(max_length) is not int or max_length < 1):
            raise SettingError(f"max_length={max_length!r} is no number of tokens; give 1 or more")
        if not isinstance(padding, bool) and padding not in ("longest", "max_length", "do_not_pad"):
            raise SettingError(f"padding={padding!r} is none of True, False, longest, max_length and do_not_pad")
        if not isinstance(add_special_tokens, bool):
            raise SettingError(f"add_special_tokens={add_special_tokens!r} is neither True nor False")
        if truncation is None:
            truncation = max_length is not None
        return cls(truncation=named(truncation), max_length=max_length, special=add_special_tokens)


def named(truncation: Any) -> Truncation:
    """What a tokenizer's argument says of cutting, by its name; SettingError for what it cannot be.

    >>> named(True), named(False), named("only_first")
    ('longest_first', 'do_not_truncate', 'only_first')
    """
    if isinstance(truncation, bool):
        truncation = "longest_first" if truncation else "do_not_truncate"
    name = str(getattr(truncation, "value", truncation))
    if name not in get_args(Truncation):
        raise SettingError(f"truncation={truncation!r} is none of True, False, {', '.join(get_args(Truncation))}")
    chosen: Truncation = name  # type: ignore[assignment] # just looked up
    return chosen


def cut_inputs(
    tokenizer: Tokenizer, texts: Sequence[str], seconds: Sequence[str | None], cut: InputCut
) -> list[FramedInput]:
    """Each text, with its second where that is not None, as one input in tokens.

    Raises TextError for one that is longer than the model, where nothing is to be cut.

    >>> from sijo.checkpoints.describe import describe
    >>> tokenizer = describe("all-minilm-l6-v2").tokenizer
    >>> [input.ids for input in cut_inputs(tokenizer, ["A short poem."], [None], InputCut.of(True, 4))]
    [[101, 1037, 2460, 102]]
    """
    distinct = list(dict.fromkeys([*texts, *(second for second in seconds if second is not None)]))
    ids = dict(zip(distinct, tokenizer.ids(distinct), strict=True))
    return [
        _cut(tokenizer, ids[text], None if second is None else ids[second], cut)
        for text, second in zip(texts, seconds, strict=True)
    ]


def _cut(tokenizer: Tokenizer, first: list[int], second: list[int] | None, cut: InputCut) -> FramedInput:
    longest = tokenizer.max_length if cut.max_length is None else min(cut.max_length, tokenizer.max_length)
    around = longest - tokenizer.room(longest, pair=second is not None) if cut.special else 0
    room = longest - around
    if cut.truncation == "do_not_truncate":
        if len(first) + len(second or ()) > (most := tokenizer.max_length - around):
            raise TextError(
                f"an input has {len(first) + len(second or ())} tokens, and the model reads {most}; give "
                "truncation=True to cut it, or sijo.predict, which tells of each text that was cut"
            )
        return tokenizer.framed(first, second, special=cut.special)
    if room < 0:
        raise SettingError(f"max_length={longest} leaves no room for text beside the special tokens; raise it")
    if second is None:
        if cut.truncation == "only_second" and len(first) > room:
            raise TextError(
                f"a text has {len(first)} tokens, there is room for {room}, and truncation='only_second' is for "
                "pairs; say True"
            )
        return tokenizer.framed(first[:room], special=cut.special)
    counts = _shares(len(first), len(second), room, cut.truncation)
    return tokenizer.framed(first[: counts[0]], second[: counts[1]], special=cut.special)


def _shares(first: int, second: int, room: int, truncation: Truncation) -> tuple[int, int]:
    """How many tokens of each of two texts are kept: as transformers' fast tokenizers share the room."""
    if first + second <= room:
        return first, second
    match truncation:
        case "only_first":
            if second >= room:
                raise TextError(f"the second text has {second} tokens and leaves no room of {room} for the first")
            return room - second, second
        case "only_second":
            if first >= room:
                raise TextError(f"the first text has {first} tokens and leaves no room of {room} for the second")
            return first, room - first
    short, long = sorted((first, second))
    long = max(short, room - short) if short <= room else short
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return (long, short) if first > second else (short, long)
