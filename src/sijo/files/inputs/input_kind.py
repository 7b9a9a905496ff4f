"""What a stream holds, where no name says it: plain text, CSV, JSON Lines or Parquet, packed or not.

It is told from the first lines, and only where it is sure: bytes by which a format begins; a JSON object in the
first line; a header that has the text's column. Where lines look like a table and are not sure to be one, neither
reading is taken: whole lines would be labelled, header included, or texts cut at their commas.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from sijo.errors import SettingError, warn
from sijo.files.table_formats import PACKED, Kind, separator_of
from sijo.names import column_named

PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
LINES = 20
"""By which a stream is told."""
HEAD_BYTES, LONGEST_LINE = 1 << 16, 1 << 22
"""Read for them at most; and where not even one line has ended."""
DELIMITERS = ",\t;|"
NAME = re.compile(r"[^\W\d][\w.\-/#()]*(?: [\w.\-/#()]+){0,2}")
"""What a column is called: up to three words, the first of which begins with a letter."""
LONGEST_NAME = 40
UNNAMED = re.compile(r"Unnamed: \d+")
"""What pandas calls a column of row numbers that was written twice."""
WORDS = """
texts sentence sentences review reviews comment comments document documents content contents body title headline
message messages tweet tweets post posts question questions query utterance utterances description descriptions
feedback response responses answer answers abstract summary caption paragraph passage opinion opinions
텍스트 문장 리뷰 후기 댓글 문서 본문 내용 제목 메시지 질문 문의 발화 설명 의견 답변 응답 초록 요약
"""
USUAL = frozenset(WORDS.split())
"""What a column of texts is often called."""
FLAGS = "--input-format csv (with --no-header where line 1 is a row), or --input-format text if each line is a text"


class TableKind(NamedTuple):
    """What a stream was told to hold."""

    kind: Kind
    delimiter: str | None = None


def peeked(stream: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """The first lines of a stream, read no further than for them; and the stream as it was.

    >>> head, stream = peeked(io.BytesIO(b"three\\nshort\\nlines\\n"))
    >>> head == stream.read()
    True
    """
    head, read = b"", getattr(stream, "read1", stream.read)
    while head.count(b"\n") < LINES and len(head) < (HEAD_BYTES if b"\n" in head else LONGEST_LINE):
        if not (more := read(1 << 13)):
            break
        head += more
    return head, io.BufferedReader(_Rejoined(head, stream), 1 << 17)


class _Rejoined(io.RawIOBase):
    """What was read of a stream, and then the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), getattr(rest, "read1", rest.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._head.read(len(buffer)) or self._rest(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def packing(head: bytes) -> str | None:
    """The suffix of the packer that wrote a stream, or None."""
    return next((suffix for mark, suffix in PACKED.items() if head.startswith(mark)), None)


def told(head: bytes, name: str, *, column: str | None) -> TableKind:
    """What a stream that begins so holds.

    head    its first lines
    name    what messages call it
    column  where the text is, if that was said; else `text` is looked for

    Raises SettingError, which names the options that say it, where it looks like a table but might be plain text.

    >>> told(b"id,text\\n1,the sea\\n", "standard input", column=None)
    TableKind(kind='csv', delimiter=',')
    >>> told(b"Well, I came, I saw\\nand left, quietly\\n", "standard input", column=None)
    TableKind(kind='text', delimiter=None)
    """
    if head.startswith(PARQUET):
        return TableKind("parquet")
    if head.startswith(ZIP):
        return TableKind("xlsx")  # whose reader says what it lacks, where it is something else
    whole, end, rest = head.removeprefix(b"\xef\xbb\xbf").rpartition(b"\n")
    try:
        text = (whole + end or rest).decode()
    except UnicodeDecodeError:
        return TableKind("text")  # the reader says which byte is wrong
    if len(head) < HEAD_BYTES and end:
        text += rest.decode(errors="ignore")  # the last line may lack its end
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if lines and (separator := separator_of(lines[0])) is not None:
        return TableKind("csv", separator)
    comments = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    found = _json(lines, name) or _csv(lines[comments:], name, column) or TableKind("text")
    if comments and found.kind == "csv":
        raise SettingError(
            f"{name} looks like CSV after its first lines, which are comments; remove them, as by `grep -v '^#'`, "
            "or pass --input-format text if each line is a text"
        )
    return found


def is_name(cell: str) -> bool:
    """Whether a cell of a header reads as the name of a column, rather than as a text or a number.

    >>> [is_name(cell) for cell in ("review_text", "Review Text", "it rained all day", "7", "So what?")]
    [True, True, False, False, False]
    """
    return len(cell) <= LONGEST_NAME and (NAME.fullmatch(cell) or UNNAMED.fullmatch(cell)) is not None


def is_header(cell: str) -> bool:
    """Whether the one cell of a line can be no text but only a name: one word, words with capitals, or words of
    which the last is what a column of texts is often called.

    >>> [is_header(cell) for cell in ("review", "Review Text", "review text (raw)", "so good", "비가 왔다")]
    [True, True, True, False, False]
    """
    name = re.sub(r" ?\([^()]*\)$", "", cell.rstrip(":")) or cell
    words = name.split()
    if not is_name(name) or name.endswith("."):
        return False
    return (
        len(words) == 1 or all(word[0].isupper() for word in words) or (_is_usual(words[-1]) and words[0] != "no")
    )


def _is_usual(word: str) -> bool:
    return word.casefold() in USUAL or word.casefold() == "text"


def _json(lines: Sequence[str], name: str) -> TableKind | None:
    if not lines or lines[0].lstrip()[:1] not in ("{", "["):
        return None
    first = lines[0].strip()
    try:
        if isinstance(json.loads(first), dict):
            return TableKind("jsonl")
    except (ValueError, RecursionError):
        pass
    if re.match(r'\[\s*\{\s*"', "".join(lines[:3])):
        return TableKind("json")
    if re.match(r'\{\s*("|$)|\[\s*(\{|"|$)', first):
        raise SettingError(
            f"{name} looks like JSON, but neither of one object a line nor an array of objects; pass "
            "--input-format json if it is, or --input-format text if each line is a text"
        )
    return None


def _csv(lines: Sequence[str], name: str, column: str | None) -> TableKind | None:
    wanted = "text" if column is None else column
    if not lines:
        return None
    first = lines[0].strip('"')
    if column not in (None, "text") and _has([first], wanted, column):
        return TableKind("csv", ",")
    if first.casefold() == "text":
        raise SettingError(f"{name} begins with the line {first!r}, which may be a header; pass {FLAGS}")
    if first.strip() and all(map(_is_usual, first.split())) and len(lines) > 1:
        warn(
            f"line 1 of {name} is {first!r}, which may be a header, and is read as a text; pass --input-format csv "
            "if it is one, or --input-format text if not"
        )
    for delimiter in DELIMITERS:
        rows = list(_rows(lines, delimiter))
        header = rows[0] if rows else []
        if len(header) < 2:
            continue
        named = all(map(is_name, header[1:])) and (not header[0] or is_name(header[0]))
        if _has(header, wanted, column) and (named or column is not None):
            return TableKind("csv", delimiter)
        stripped = [cell.strip() for cell in header]
        if wanted in stripped or _looks_like_rows(rows, lines, delimiter, named=named):
            has_header = wanted in stripped or all(map(is_name, filter(None, stripped)))
            columns = f"the columns {', '.join(stripped)}; name the text's with --column, or"
            what = columns if has_header else "no header;"
            parted = "" if delimiter == "," else f" parted by {delimiter!r} (--delimiter)"
            raise SettingError(f"{name} looks like CSV{parted} with {what} pass {FLAGS}")
    return None


def _has(header: Sequence[str], wanted: str, column: str | None) -> bool:
    """Whether a header has the text's column; what nobody named must stand there to the letter."""
    return wanted in header or (column is not None and column_named(column, header) is not None)


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """The rows of some lines up to the last that is whole; one of another number of fields where it is no CSV."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        if "unexpected end of data" not in str(error):
            yield []


def _looks_like_rows(rows: Sequence[Sequence[str]], lines: Sequence[str], delimiter: str, *, named: bool) -> bool:
    """Whether lines hold what prose does not.

    named  whether the first is made of names: then another with as many fields will do, or, where the names are of
           one plain word each, with more, as of texts whose commas nobody quoted. Else lines have as many fields,
           and there are tabs, or in three lines or more fields in quotes or a column of numbers; or each of them
           begins with another number.
    """
    fields = [len(row) for row in rows]
    alike = min(fields) == max(fields)
    if named and len(rows) > 1:
        plain = all(cell.isascii() and " " not in cell for cell in rows[0])
        return alike or (plain and min(fields) == fields[0])
    if delimiter == "\t" and len(rows) > 1 and alike:
        return True
    if len(rows) < 3 or min(fields) < 2:
        return False
    quoted = any(line.startswith('"') or f'{delimiter}"' in line for line in lines)
    columns = [*zip(*rows, strict=False)]
    if not quoted and any(cell.startswith(" ") for row in rows for cell in row[1:]):
        return all(map(_is_number, columns[0])) and len({*columns[0]}) == len(rows)
    numbers = any(all(map(_is_number, column)) for column in columns)
    return alike and (quoted or numbers)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip() == cell
