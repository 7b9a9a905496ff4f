"""Which encoding a source is in, where nobody says so.

A byte order mark says it, and text that reads as UTF-8 is UTF-8. Else an encoding is taken, with a warning, where
it alone of several reads the whole source without a fault and as letters that its languages use much. Where it is
not alone nothing is taken: a line is shown as each would read it. Code pages of one byte a letter read anything, so
none of them is taken unasked; charset-normalizer says which of the ninety there are make words of it.
"""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, NamedTuple

from sijo.errors import SettingError, TextError, warn
from sijo.files.encodings.recode import PIECE, TextForm, ends_at_returns, mark_of
from sijo.files.inputs.input_kind import packing, peeked
from sijo.files.table_formats import undamaged

Opened = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens a source at its start."""
SAMPLE_BYTES = 1 << 15
"""Of lines that are not ASCII, by which single-byte encodings are told and damaged UTF-8 is."""
SURE = 64
"""Continuation bytes in their places, after which text is UTF-8, whatever comes later."""
LONGEST_LINE = 100_000_000
"""Bytes of ASCII without the end of a line, after which nothing is looked for: the reader refuses it."""
LEAST_LETTERS, LEAST_KINDS = 4, 3
"""Letters, and different ones, that an encoding must make of a source to be taken for it."""
LETTERS_COUNTED = 1 << 15
SHOWN, MOST_SHOWN = 40, 4
"""Characters of a line in a message, and encodings."""
NOT_ASCII = re.compile(rb"[^\0-\x7f]")
OTHER_PAGES = ("cp1250", "cp1251")
"""Shown where nothing more likely is."""
COMMON_HANZI = (
    "的一是不了在人有我他她它这這个個们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於"
    "着著下自之年过過发發后後作里裡好很没沒都还還去看想吃买買给給让讓"
)


class CodecLetters(NamedTuple):
    """By which letters text is known to be in an encoding."""

    usual: frozenset[str]
    """Those that its languages use much."""
    share: float
    """How many of all letters these are, at least."""


def _hangul() -> frozenset[str]:
    """The 2,350 syllables of KS X 1001, in which nearly all of Korean is written; cp949 has 8,822 more."""
    places = (bytes((row, place)) for row in range(0xB0, 0xC9) for place in range(0xA1, 0xFF))
    return frozenset(b"".join(places).decode("euc_kr"))


KANA = frozenset(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC)))
"""Of full width: what is Korean would be full of halves."""
MULTIBYTE = {
    "cp949": CodecLetters(_hangul(), 0.85),
    "cp932": CodecLetters(KANA, 0.2),
    "euc_jp": CodecLetters(KANA, 0.2),
    "gb18030": CodecLetters(frozenset(COMMON_HANZI), 0.12),
    "big5": CodecLetters(frozenset(COMMON_HANZI), 0.12),
}
"""What may be taken unasked. EUC-KR is part of cp949, and Shift-JIS of cp932."""
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")


def form_told(
    opened: Opened | None, stream: IO[bytes], name: str, *, encoding: str | None, quotes: bool
) -> tuple[TextForm, IO[bytes]]:
    """How a source is to be read, and its stream at its start.

    opened  opens it again; None for a pipe, of which no more is read than its first lines

    The rest is as `form_of` has it.
    """
    if opened is not None:
        return form_of(opened, name, encoding=encoding, quotes=quotes), stream
    with undamaged(name):
        head, stream = peeked(stream)
    return form_of_pipe(head, name, encoding=encoding, quotes=quotes), stream


def form_of(
    opened: Opened, name: str, *, encoding: str | None, quotes: bool, option: str | None = "--encoding"
) -> TextForm:
    """How a source that can be read again is to be read.

    encoding  what somebody said; None to find out
    quotes    whether line ends in double quotes end no line, as in CSV
    option    by which a person says it; None where the source is to be saved as UTF-8

    Warns where an encoding is taken that nobody said. Raises TextError where there is none, or several: it shows a
    line in each of them. SettingError for one that was said, and cannot be.

    >>> from functools import partial
    >>> from warnings import catch_warnings, simplefilter
    >>> with catch_warnings():
    ...     simplefilter("ignore")
    ...     form_of(partial(BytesIO, "봄비가 오는 날\\n".encode("cp949")), "a.txt", encoding=None, quotes=False)
    TextForm(codec='cp949', returns=False)
    """
    head = next(_pieces(opened, name), b"")
    codec = _said(head, name, encoding) or _found(opened, head, name, option)
    return TextForm(codec, ends_at_returns(head, codec, quotes=quotes))


def form_of_pipe(head: bytes, name: str, *, encoding: str | None, quotes: bool) -> TextForm:
    """How a source that can be read once is to be read, by its beginning; what is not UTF-8 must be said.

    Raises TextError, which shows a line of it in each encoding that it may be.
    """
    codec = _said(head, name, encoding)
    if codec is None:
        whole = head[: head.rfind(b"\n") + 1] or head
        if _wide(head) is not None or not _is_utf8(lambda: BytesIO(whole), name):
            raise TextError(
                f"{name} is not UTF-8, and a pipe cannot be read twice to find out what it is; say it by "
                f"--encoding, or save it to a file{_shown(lambda: BytesIO(whole), head, name)}"
            )
        codec = "utf-8"
    return TextForm(codec, ends_at_returns(head, codec, quotes=quotes))


def _said(head: bytes, name: str, encoding: str | None) -> str | None:
    """The encoding that a byte order mark, or a person, says."""
    mark = mark_of(head)
    if encoding is None:
        return mark
    if mark is not None and not encoding.startswith(mark):
        raise SettingError(
            f"{name} begins with the byte order mark of {mark.upper()}, and --encoding says {encoding}; leave "
            "--encoding out"
        )
    if mark is None and encoding != "utf-8" and not head.isascii() and _reads(head, "utf-8"):
        warn(f"{name} would be UTF-8 by its beginning, and is read as {encoding}, as --encoding says")
    return mark or encoding


def _found(opened: Opened, head: bytes, name: str, option: str | None) -> str:
    """The encoding of a source that says nothing."""
    otherwise = f"{option} says otherwise" if option else "if that is wrong, save it as UTF-8"
    if packing(head) is not None:
        return "utf-8"  # its reader says what it is
    if (wide := _wide(head)) is not None and wide in _whole_readers(opened, [wide], name):
        warn(f"{name} has no byte order mark, and is read as {wide}, by its zero bytes; {otherwise}")
        return wide
    if b"\0" in head or _is_utf8(opened, name):
        return "utf-8"  # where it is no text at all its reader says so too
    lines = _OtherLines()
    readers = _whole_readers(opened, MULTIBYTE, name, lines)
    if _is_damaged_utf8(lines.sample):
        return "utf-8"  # its reader tells the byte
    taken = [codec for codec, reader in readers.items() if reader.is_plausible()]
    if len(taken) != 1:
        raise _refusal(opened, lines, taken or list(readers), name, option)
    warn(
        f"{name} is not UTF-8, and is read as {taken[0]}, line {lines.number} as {_line(lines.first, taken[0])}; "
        f"{otherwise}"
    )
    return taken[0]


def _wide(head: bytes) -> str | None:
    """The encoding of two or four bytes a letter that a beginning without a mark is in, if any: by its ASCII."""
    zeros = head.count(0)
    if not zeros or (4 * zeros < len(head) and _reads(head, "utf-8")):
        return None
    plain = {}
    for codec in WIDE:
        with suppress(UnicodeDecodeError):
            text = codecs.getincrementaldecoder(codec)().decode(head)
            plain[codec] = 0 if "\0" in text else sum(map(str.isascii, text))
    best = max(plain, key=lambda codec: plain[codec], default=None)
    others = sum(plain.values()) - plain.get(best or "", 0)
    return best if best is not None and plain[best] > max(4 * others, len(head) / 80) else None


def _reads(head: bytes, codec: str) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _pieces(opened: Opened, name: str) -> Iterator[bytes]:
    """The bytes of a source, up to where it is damaged, which its reader tells."""
    with opened() as stream, suppress(TextError), undamaged(name):
        while raw := stream.read(PIECE):
            yield raw


def _is_utf8(opened: Opened, name: str) -> bool:
    """Whether a source reads as UTF-8, as far as it must be read to be sure."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    continued = unended = 0
    try:
        for raw in _pieces(opened, name):
            continued += len(raw) - len(decoder.decode(raw))
            unended = 0 if b"\n" in raw or b"\r" in raw else unended + len(raw)
            if continued > SURE or unended > LONGEST_LINE:
                return True
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class _OtherLines:
    """Lines that are not ASCII: the first of them, and more, up to some bytes."""

    sample: bytes = b""
    first: bytes = b""
    number: int = 0
    """Of the first one, from 1; 0 where there is none yet."""
    _before: int = 0
    _line: bytes = field(default=b"", repr=False)
    """What is kept of the line that has not ended."""
    _return: bytes = field(default=b"", repr=False)
    """A carriage return behind it, which a line feed may follow."""

    def add(self, raw: bytes) -> None:
        """Look into the next bytes of a source."""
        if len(self.sample) >= SAMPLE_BYTES:
            return
        raw = self._return + raw
        self._return = b"\r" if raw.endswith(b"\r") else b""
        for part in raw.removesuffix(b"\r").splitlines(keepends=True):
            self._line = _kept(self._line, part)
            if part.endswith((b"\n", b"\r")):
                self.end()

    def end(self) -> None:
        """The line has no more bytes."""
        self._before += 1
        if not self._line.isascii():
            self.first, self.number = self.first or self._line, self.number or self._before
            self.sample += self._line
        self._line = b""


def _kept(line: bytes, part: bytes) -> bytes:
    """A line that goes on: some bytes of it, from near the first that is not ASCII where that is far."""
    if len(line) >= SAMPLE_BYTES:
        return line
    line += part
    other = NOT_ASCII.search(line)
    before = len(line) if other is None else other.start()
    return line[max(before - SHOWN // 2, 0) if before >= SAMPLE_BYTES else 0 :][:SAMPLE_BYTES]


class _CodecReader:
    """A decoder, and what letters it has met."""

    def __init__(self, codec: str) -> None:
        self.decoder = codecs.getincrementaldecoder(codec)()
        self._usual, self._share = MULTIBYTE.get(codec, CodecLetters(frozenset(), 1))
        self._met = Counter[str]()

    def read(self, raw: bytes, *, final: bool = False) -> None:
        """Decode the next bytes; UnicodeDecodeError where they cannot be."""
        text = self.decoder.decode(raw, final=final)
        if not text.isascii() and self._met.total() < LETTERS_COUNTED:
            self._met.update(_letters(text))

    def is_plausible(self) -> bool:
        """Whether enough of the letters are usual ones of its languages."""
        usual = [count for letter, count in self._met.items() if letter in self._usual]
        enough = len(usual) >= LEAST_KINDS and sum(usual) >= LEAST_LETTERS
        return enough and sum(usual) >= self._share * self._met.total()


def _letters(text: str) -> Counter[str]:
    """The letters of a text that are not ASCII."""
    return Counter({one: count for one, count in Counter(text).items() if one.isalpha() and not one.isascii()})


def _whole_readers(
    opened: Opened, candidates: Iterable[str], name: str, lines: _OtherLines | None = None
) -> dict[str, _CodecReader]:
    """Those encodings in which a source reads from its beginning to its end."""
    readers = {codec: _CodecReader(codec) for codec in candidates}

    def read(raw: bytes, *, final: bool = False) -> None:
        for codec, reader in list(readers.items()):
            try:
                reader.read(raw, final=final)
            except UnicodeDecodeError:
                del readers[codec]

    for raw in _pieces(opened, name):
        read(raw)
        if lines is not None:
            lines.add(raw)
    read(b"", final=True)
    if lines is not None:
        lines.end()
    return readers


def _is_damaged_utf8(sample: bytes) -> bool:
    """Whether most of what is not ASCII is UTF-8, so that the rest is a fault in it."""
    text = sample.decode(errors="replace")
    faults = text.count("\ufffd")
    return _letters(text).total() > 2 * faults


def _refusal(
    opened: Opened, lines: _OtherLines, candidates: Sequence[str], name: str, option: str | None
) -> TextError:
    shown = _readings(opened, lines, candidates, name)
    if not shown:
        way = f"say {option}" if option else "save it as UTF-8"
        return TextError(f"{name} is neither UTF-8 nor text in another encoding known here; if it is, {way}")
    way = f"say which by {option}, or save it as UTF-8" if option else "save it as UTF-8"
    return TextError(f"{name} is not UTF-8, and may be in several encodings; {way}: line {lines.number} is {shown}")


def _shown(opened: Opened, head: bytes, name: str) -> str:
    """What a refusal adds on the beginning of a pipe: a line as each encoding reads it."""
    if (wide := _wide(head)) is not None:
        return f": by its zero bytes it is {wide}"
    lines = _OtherLines()
    readers = _whole_readers(opened, MULTIBYTE, name, lines)
    plausible = [codec for codec, reader in readers.items() if reader.is_plausible()]
    shown = _readings(opened, lines, plausible or list(readers), name)
    return f": line {lines.number} is {shown}" if shown else ""


def _readings(opened: Opened, lines: _OtherLines, candidates: Sequence[str], name: str) -> str:
    """The first line that is not ASCII in each of these encodings and those of one byte a letter that suit it."""
    from charset_normalizer import from_bytes  # here, since most files are UTF-8

    single = [match.encoding for match in from_bytes(lines.sample) if not match.multi_byte_usage]
    single = list(dict.fromkeys(["cp1252", *single[:MOST_SHOWN], *OTHER_PAGES]))
    whole = [*candidates, *_whole_readers(opened, single, name)]
    shown = {_line(lines.first, codec): codec for codec in reversed(whole) if _is_written(lines.first, codec)}
    first = sorted(shown.items(), key=lambda reading: whole.index(reading[1]))[:MOST_SHOWN]
    return ", ".join(f"{line} in {codec}" for line, codec in first)


def _is_written(line: bytes, codec: str) -> bool:
    """Whether a line reads, as letters that people write: none for private use, no control codes."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(line).strip()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _line(line: bytes, codec: str) -> str:
    """A line for a message."""
    text = codecs.getincrementaldecoder(codec)().decode(line).strip()
    return repr(text[:SHOWN] + "…" * (len(text) > SHOWN))
