"""Bytes out of an .xz file, by a decompressor that may hold only so much."""

import io
import lzma
from typing import IO

from sijo.errors import TextError
from sijo.files.limits import UNPACKING_BYTES

CHUNK = 1 << 16


def open_xz(packed: IO[bytes]) -> IO[bytes]:
    """The decompressed bytes of a stream of one or more .xz files.

    Raises TextError, while read, where its dictionary is larger than UNPACKING_BYTES.

    >>> open_xz(io.BytesIO(lzma.compress(b"three ") + lzma.compress(b"short lines"))).read()
    b'three short lines'
    """
    return io.BufferedReader(_Unpacked(packed), 1 << 17)


class _Unpacked(io.RawIOBase):
    """What `lzma.LZMAFile` is, but that it takes no limit."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self._rest, self._ended = packed, b"", False
        self._unpacker = lzma.LZMADecompressor(memlimit=UNPACKING_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = b""
        while not content and not self._ended:
            if self._unpacker.eof:
                self._rest = self._unpacker.unused_data.lstrip(b"\0") or self._following()
                if not self._rest:
                    self._ended = True
                    break
                self._unpacker = lzma.LZMADecompressor(memlimit=UNPACKING_BYTES)
            elif self._unpacker.needs_input and not self._rest:
                if not (more := self._packed.read(CHUNK)):
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                self._rest = more
            packed, self._rest = self._rest, b""
            content = self._decompressed(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _following(self) -> bytes:
        """What follows a file that has ended, without the zeros that may stand between two."""
        while more := self._packed.read(CHUNK):
            if more := more.lstrip(b"\0"):
                break
        return more

    def _decompressed(self, packed: bytes, most: int) -> bytes:
        try:
            return self._unpacker.decompress(packed, most)
        except lzma.LZMAError as error:
            if "limit" not in str(error):
                raise
            raise TextError(
                f"an .xz file was packed with a dictionary that takes more than {UNPACKING_BYTES >> 20} MiB to "
                "unpack; pack it again by `xz -9` or less"
            ) from None
