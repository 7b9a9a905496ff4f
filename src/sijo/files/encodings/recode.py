"""Bytes in any encoding as the UTF-8 that readers of tables expect, with line feeds where lines end.

A stream is decoded in pieces, so that memory does not grow with it. Which encoding it is in, where nobody says so,
is found by `detect.py`.
"""

import codecs
import io
import re
from functools import cache
from typing import IO, NamedTuple

from sijo.errors import SettingError, TextError, nearest

MARKS = (  # UTF-32 before UTF-16, whose mark begins one of its own
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks, and the encoding that each is of."""
SUPERSETS = {
    "ascii": "cp1252",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
}
"""What Windows writes under another's name: an encoding with the same letters in the same places, and more."""
PIECE = 1 << 18
"""Bytes that are decoded at once."""
NO_ENCODINGS = ("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7")
"""Of Python's codecs: those that no table is kept in."""
QUOTED = re.compile(r'"[^"]*+"?')


class TextForm(NamedTuple):
    """How the bytes of a source become text."""

    codec: str = "utf-8"
    """An encoding, by Python's name for it."""
    returns: bool = False
    """Lines end at carriage returns, as on old Macs, and nowhere else."""

    def applied(self, stream: IO[bytes], name: str) -> IO[bytes]:
        """The same text in UTF-8, its lines ended by line feeds.

        name  what messages call the stream

        Reading raises TextError at bytes that are not of the encoding, once what stands before them was given.

        >>> TextForm("cp949", returns=True).applied(io.BytesIO("봄비\\r".encode("cp949")), "a.csv").read().decode()
        '봄비\\n'
        """
        if self == TextForm():
            return stream
        return io.BufferedReader(_Recoded(stream, self, name), 1 << 17)


class _Recoded(io.RawIOBase):
    """A stream of text in UTF-8, whatever it was written in."""

    def __init__(self, stream: IO[bytes], form: TextForm, name: str) -> None:
        self._read = getattr(stream, "read1", stream.read)
        self._decoder = codecs.getincrementaldecoder(form.codec)()
        self._ends = io.IncrementalNewlineDecoder(None, translate=True) if form.returns else None
        self._codec, self._name = form.codec, name
        self._ready, self._lines, self._ended = memoryview(b""), 1, False
        self._fault: TextError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            if self._fault is not None:
                raise self._fault
            raw = self._read(PIECE)
            self._ended = not raw
            text = self._decoded(raw)
            if self._ends is not None:
                text = self._ends.decode(text, final=self._ended)
            self._lines += text.count("\n")
            self._ready = memoryview(text.encode(errors="surrogatepass"))  # the reader refuses such halves
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _decoded(self, raw: bytes) -> str:
        """The text of the next bytes; up to a fault, which is kept for when that was given."""
        before = self._decoder.getstate()
        try:
            return self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            broken = error.object[error.start : error.end]
            self._decoder.setstate(before)
            text = self._decoder.decode(raw[: max(error.start - len(before[0]), 0)])
            line, self._ended = self._lines + text.count("\n"), False
            wider = SUPERSETS.get(self._codec)
            hint = f"; {wider} has more letters: --encoding {wider}" if wider else "; mend it, or say --encoding"
            what = f"byte 0x{broken[:1].hex()}" if broken else "the end"
            self._fault = TextError(f"{self._name}, line {line}: {what} is not {self._codec}{hint}")
            return text


@cache
def checked_encoding(name: str) -> str:
    """The codec that a person means by the name of an encoding. Raises SettingError for one that is not known.

    >>> checked_encoding("EUC-KR"), checked_encoding("Latin1"), checked_encoding("ms949")
    ('euc_kr', 'iso8859-1', 'cp949')
    """
    try:
        known = codecs.lookup(name)
    except (LookupError, UnicodeError, ValueError):  # a NUL in the name
        known = None
    if (
        known is None
        or known.name.replace("-", "_") in NO_ENCODINGS
        or not getattr(known, "_is_text_encoding", True)
    ):
        from encodings.aliases import aliases

        hint = nearest(name, {*aliases, *aliases.values()}) or "; try cp949, cp932, cp1252 or utf-16"
        raise SettingError(f"--encoding {name!r} is no encoding of text that is known here{hint}")
    return "utf-8" if known.name == "utf-8-sig" else known.name


def mark_of(head: bytes) -> str | None:
    """The encoding whose byte order mark stands at a beginning.

    >>> mark_of("봄비".encode("utf-16")), mark_of(b"spring rain")
    ('utf-16', None)
    """
    return next((codec for mark, codec in MARKS if head.startswith(mark)), None)


def ends_at_returns(head: bytes, codec: str, *, quotes: bool) -> bool:
    """Whether lines end at carriage returns alone: no line feed is in their beginning.

    quotes  whether line feeds in double quotes do not count, as in CSV

    >>> [ends_at_returns(head, "utf-8", quotes=True) for head in (b'a\\r"b\\n"\\r', b"a\\r\\nb\\r", b"a\\nb\\r")]
    [True, False, False]
    """
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False  # it may be no text at all
    if quotes:
        text = QUOTED.sub("", text)
    return "\r" in text and "\n" not in text
