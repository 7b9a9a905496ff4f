"""JSON that is not of one record a line: an array of objects, or objects one after another, read as they come."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from sijo.errors import TextError
from sijo.files.limits import LONGEST_ROW, check_values, too_long
from sijo.files.table_formats import undamaged

CHUNK = 1 << 16
SPACE = " \t\r\n"
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)
"""What tells where a value ends: brackets, and strings, in which they mean nothing; a quote alone begins a
string that is cut short."""
BEGINNINGS = {"[": "an array", '"': "a string", "n": "null", "t": "a boolean", "f": "a boolean"} | dict.fromkeys(
    "-0123456789", "a number"
)
LINE_END = re.compile(r"[ \t]*[\r\n]\s*")


def read_json(
    stream: IO[bytes], name: str, longest: int = LONGEST_ROW
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each record of a JSON file: where it is, its raw text in one line, and what that means.

    The file is one array of objects, or one object or several one after another, as in JSON Lines.

    longest  characters of a record, at most

    Raises TextError at the first record that is none, after those before it.

    >>> import io
    >>> [record for _, _, record in read_json(io.BytesIO(b'[{"text": "the sea"}, {"text": "a pitch"}]'), "a.json")]
    [{'text': 'the sea'}, {'text': 'a pitch'}]
    """
    text = _Text(stream, name, longest)
    in_array = text.skip(SPACE) == "["
    if in_array:
        text.take(1)
    number = 0
    while (begins := text.skip(SPACE)) and not (in_array and begins == "]"):
        if in_array and number:
            if begins != ",":
                raise _broken(name, number + 1, f"',' or ']' is expected, and {begins!r} stands there")
            text.take(1)
            begins = text.skip(SPACE)
        number += 1
        where = f"{name}, record {number}"
        if begins != "{":
            if (noun := BEGINNINGS.get(begins)) is None:
                raise _broken(name, number, f"it begins with {begins!r}")
            raise TextError(f"{where} is {noun}, not an object; a table is an array of objects, one for each row")
        raw = text.record(where)
        check_values(raw, where)
        try:
            record = json.loads(raw)
        except json.JSONDecodeError as error:
            raise _broken(name, number, f"{error.msg}, character {error.pos + 1} of it") from None
        except RecursionError:
            raise TextError(f"{where} is nested too deeply to be read; flatten the record") from None
        except ValueError as error:  # a number of more digits than Python converts
            raise TextError(f"{where} cannot be read: {error}") from None
        yield where, LINE_END.sub(" ", raw), record  # no string of JSON has a line end in it
    if in_array:
        if not begins:
            raise _broken(name, number + 1, "the file ends before the array does")
        text.take(1)
        if text.skip(SPACE):
            raise TextError(f"{name} goes on after its array; make it one array, or one record a line (.jsonl)")


def _broken(name: str, number: int, reason: str) -> TextError:
    return TextError(f"{name}, record {number} is not JSON ({reason}); mend it, or make the file anew")


class _Text:
    """The text of a stream, of which no more is held than a record and a chunk."""

    def __init__(self, stream: IO[bytes], name: str, longest: int) -> None:
        self._stream, self._name, self._longest = stream, name, longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._ended, self._bytes = "", 0, False, 0

    def skip(self, characters: str) -> str:
        """The first character that is none of these, which stays; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in characters:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def take(self, characters: int) -> None:
        """Go on after so many characters."""
        self._at += characters

    def record(self, where: str) -> str:
        """The object that begins here; or all the rest, where its end is missing."""
        depth, at = 0, self._at
        while True:
            token = TOKEN.search(self._text, at)
            if token is not None and token[0] != '"':
                at = token.end()
                depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
                if depth == 0:
                    return self._until(at)
                continue
            at = (len(self._text) if token is None else token.start()) - self._at
            if len(self._text) - self._at > self._longest:
                raise too_long(where, self._longest)
            if not self._read():
                return self._until(len(self._text))

    def _until(self, end: int) -> str:
        raw, self._at = self._text[self._at : end], end
        return raw

    def _read(self) -> bool:
        """Whether there was more: as much again as is held, so that nothing is looked at more than twice."""
        held = self._text[self._at :]
        with undamaged(self._name):
            content = b"" if self._ended else self._stream.read(max(CHUNK, min(len(held), self._longest)))
        self._ended = not content
        try:
            more = self._decoder.decode(content, final=self._ended)
        except UnicodeDecodeError as error:
            at = self._bytes + len(content) - len(error.object) + error.start
            raise TextError(
                f"{self._name}: byte {at + 1}, 0x{error.object[error.start]:02x}, is not UTF-8; convert the file"
            ) from None
        if "\0" in more:
            raise TextError(f"{self._name} holds a NUL character; remove it, or convert the file if it is UTF-16")
        self._bytes += len(content)
        self._text, self._at = held + more, 0
        return not self._ended or bool(more)
