"""What a SentencePiece file says: its pieces, how it was trained, and its map of characters.

A `spm.model` or `spiece.model` is a protobuf message. It is read here in one pass, bounded by its own
length, so that no native parser meets an untrusted file.
"""

import struct
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from sijo.tokenizers import bounds
from sijo.tokenizers.bounds import BeyondBoundsError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces, as the file numbers them."""
Value = TypeVar("Value", int, bytes)
BYTE_FALLBACK = 35
"""The number of that setting of the trainer."""
MOST_FIELDS = bounds.MOST_TOKENS + 1024
"""Fields of a message: pieces, and some settings. A piece has three."""
LEAF = 1 << 31
"""Marks a unit of a map that holds a replacement's place."""
LONGEST_CHARSMAP = 1 << 20
"""Bytes of a map of characters; the longest known has 0.3 million."""
LONGEST_REPLACEMENT = 64
"""Bytes that one character may become; in SentencePiece's rules the longest has 33."""


class SentencePieceModel(NamedTuple):
    """Pieces, each with its score and kind, and two groups of settings by their numbers in the format."""

    pieces: list[tuple[str, float, int]]
    trainer: dict[int, int | bytes]
    normalizer: dict[int, int | bytes]

    def renumbered(self, first: Sequence[str], last: Sequence[str]) -> "SentencePieceModel":
        """The same under fairseq's numbers: other pieces in place of the first three, and more at the end.

        first, last  the pieces; "<unk>" of them stands for what is unknown, and no other is found in a text

        Raises BeyondBoundsError where the first three are others, for then nobody knows which numbers are meant.
        """
        begins = [(text, kind) for text, _, kind in self.pieces[:3]]
        if begins != [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]:
            raise BeyondBoundsError(
                f"begins with {', '.join(text for text, _ in begins)!r:.60}, and fairseq's numbers are known of "
                "files that begin with <unk>, <s>, </s>"
            )
        around = ([(text, 0.0, UNKNOWN if text == "<unk>" else CONTROL) for text in part] for part in (first, last))
        before, behind = around
        return self._replace(pieces=[*before, *self.pieces[3:], *behind])

    def byte_fallback(self) -> bool:
        """Whether a character that no piece holds is written in bytes."""
        return bool(self.trainer.get(BYTE_FALLBACK, 0))

    def unsupported(self) -> str | None:
        """A setting that changes ids and that sijo does not support, if there is one."""
        settings = {
            "a model_type other than unigram": self.trainer.get(3, 1) != 1,
            "treat_whitespace_as_suffix": self.trainer.get(24, 0),
            "escape_whitespaces=false": not self.normalizer.get(5, 1),
            "pieces out of use": any(kind == UNUSED for _, _, kind in self.pieces),
        }
        return next((name for name, yes in settings.items() if yes), None)

    def rule(self) -> str:
        """The name of the rule its map of characters was made by."""
        return _is(bytes, self.normalizer.get(1, b"")).decode()

    def charsmap(self) -> bytes:
        """Its map of characters, checked; empty when it has none."""
        blob = _is(bytes, self.normalizer.get(2, b""))
        check_charsmap(blob)
        return blob

    def dummy_prefix(self) -> bool:
        """Whether each text begins with a space of its own."""
        return bool(self.normalizer.get(3, 1))

    def remove_extra_whitespaces(self) -> bool:
        """Whether runs of spaces become one and the ends have none."""
        return bool(self.normalizer.get(4, 1))


def read_model(data: bytes) -> SentencePieceModel:
    """Read spm.model or spiece.model; ValueError when it is not whole, BeyondBoundsError when it is too large."""
    model = SentencePieceModel([], {}, {})
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(_is(bytes, value), most=8))
            score = struct.unpack("<f", _is(bytes, piece.get(2, bytes(4))))[0]
            model.pieces.append((_is(bytes, piece.get(1, b"")).decode(), score, _is(int, piece.get(3, NORMAL))))
        elif number in (2, 3):
            (model.trainer if number == 2 else model.normalizer).update(_fields(_is(bytes, value)))
    bounds.check_pieces([[text, score] for text, score, _ in model.pieces])
    if sum(kind in (UNKNOWN, CONTROL) for _, _, kind in model.pieces) > bounds.MOST_ADDED:
        raise BeyondBoundsError(f"has more than {bounds.MOST_ADDED:,} control pieces")
    return model


def _fields(data: bytes, *, most: int = MOST_FIELDS) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message, in one pass: numbers as they are, everything else as bytes."""
    at = count = 0
    while at < len(data):
        if (count := count + 1) > most:
            raise BeyondBoundsError(f"has more than {most:,} fields in a message")
        key, at = _number(data, at)
        if key & 7 == 0:
            number, at = _number(data, at)
            yield key >> 3, number
            continue
        if key & 7 not in (1, 2, 5):
            raise ValueError("it is not a SentencePiece model")
        length, at = _number(data, at) if key & 7 == 2 else (8 if key & 7 == 1 else 4, at)
        if length > len(data) - at:
            raise ValueError("it ends too early")
        yield key >> 3, data[at : at + length]
        at += length


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends too early")
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError("it is not a SentencePiece model")


def _is(kind: type[Value], value: int | bytes) -> Value:
    if not isinstance(value, kind):
        raise ValueError("it is not a SentencePiece model")
    return value


def check_charsmap(blob: bytes) -> None:
    """Make sure that looking a character up in a precompiled map cannot leave the map.

    The map is a length, a double array of 32-bit units, and NUL-ended replacements. The native code
    follows its offsets unchecked and ends the process's work with a panic where one leads outside.
    Raises ValueError.
    """
    if not blob:
        return
    size = int.from_bytes(blob[:4], "little")
    if len(blob) < 8 or size % 4 or not 4 <= size <= len(blob) - 4:
        raise ValueError("its map of characters is cut short")
    texts = blob[4 + size :]
    whole = unicodedata.normalize("NFKD", texts.decode())  # as a step behind it may
    if len(blob) > LONGEST_CHARSMAP or max(map(len, whole.encode().split(b"\0"))) > LONGEST_REPLACEMENT:
        raise BeyondBoundsError(
            f"has a map of characters of more than {LONGEST_CHARSMAP >> 20} MB, or with a replacement of more than "
            f"{LONGEST_REPLACEMENT} bytes"
        )
    units = np.frombuffer(blob, "<u4", size // 4, 4)
    at = np.flatnonzero(units < LEAF).astype(np.uint32)
    bases = at ^ ((units[at] >> 10) << ((units[at] & 512) >> 6))
    if ((bases | 255) >= len(units)).any():
        raise ValueError("its map of characters leads outside of itself")
    ends = bases[(units[at] & 256) != 0]  # a match ends here, and its replacement begins at
    places = units[ends] & (LEAF - 1)
    octets = np.frombuffer(texts, np.uint8)
    if (places >= len(texts)).any() or (octets[places] & 0xC0 == 0x80).any():
        raise ValueError("its map of characters names a replacement that is not there")
