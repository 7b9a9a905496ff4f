"""Files of raw text, read as documents: lists of sentences, each perhaps with a control code.

What the words of a command line mean, where a document and a sentence end, and when two documents
are one and the same is decided here. Documents stream by in the order of the files; of those gone by
only 8 bytes each are kept. Tokens, and how they are kept, are the business of `shards.py`.
"""

import glob
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import numpy as np

from sijo.errors import SettingError, TextError, nearest, nearest_file
from sijo.files.inputs.columns import no_column, parted_at
from sijo.files.inputs.sources import TextReading
from sijo.files.records import AS_TOLD
from sijo.files.table_formats import DECOMPRESS, STREAMS, SUFFIXES, ending
from sijo.files.tables import RowBlock, TextTable
from sijo.names import column_named

LONGEST_DOCUMENT = 1_000_000
"""Characters of a document of plain text, which without blank lines would be its whole file."""
SENTENCE_END = re.compile(
    r"[.!?…。！？]"
    r"(?<!\b[A-Za-z]\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bvs\.)(?<!\bMrs\.)(?<!\bProf\.)"
    r"[\"'”’»)\]}」』】）》〉›]*+\s++"
)
"""Where a sentence may end; nothing in it is tried twice, so it needs time in proportion to the text."""


def _is_mark(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] in "PZ"


ASCII_MARKS = bytes(number for number in range(128) if _is_mark(chr(number)))


@dataclass(frozen=True)
class SourceFile:
    """A file, and the control code of all that is in it, if it was given one."""

    path: Path
    code: str | None = None


@dataclass(frozen=True)
class Document:
    """Sentences that follow one another."""

    sentences: list[str]
    code: str | None = None

    @property
    def characters(self) -> int:
        """Characters of all sentences, without what stood between them."""
        return sum(map(len, self.sentences))


def sources(names: Sequence[str]) -> list[SourceFile]:
    """The files that the words of a command line mean, in that order, each once.

    A word is a file, a folder or a pattern such as `data/**/*.jsonl`; or `code=` and one of these, and
    then all of its documents carry that control code. What exists under the whole word goes before that
    reading. A folder gives the files with a known suffix in it and below, in order of their paths; names
    that begin with a dot are passed over, and links to folders not followed.

    Raises SettingError for a word that means no file, a file that cannot be read twice or whose suffix is not
    known, and when only some of the words carry a code.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.txt", "a.csv.gz", ".c.txt", "notes.md"):
    ...     (folder / name).touch()
    >>> [(source.path.name, source.code) for source in sources([f"Poems={folder}"])]
    [('a.csv.gz', 'Poems'), ('b.txt', 'Poems')]
    """
    if isinstance(names, str):
        raise SettingError(f"names is one string, {names!r}, and would be read letter by letter; pass a list")
    files = list(dict.fromkeys(chain.from_iterable(map(_meant, names))))
    plain = next((source for source in files if source.code is None), None)
    coded = next((source for source in files if source.code is not None), None)
    if plain and coded:
        raise SettingError(
            f"{coded.path} has the control code {coded.code!r} and {plain.path} has none; give all of them one, "
            f"as in code={plain.path}, or none"
        )
    return files


def open_source(
    source: SourceFile, *, column: str | None = None, code_column: str | None = None, how: TextReading = AS_TOLD
) -> TextTable:
    """A source at its start, with all checked that can be before its rows are read.

    how  what was said of the files, which is for those of a kind that has it

    Raises what `documents` does, as far as the first row shows it.
    """
    kind = SUFFIXES[ending(source.path)[0]]
    plain = kind == "text"
    # plain text has no columns, and is read as such whatever its first lines look like
    table = TextTable(
        source.path, kind="text" if plain else None, column=None if plain else column, **vars(how.fitting(kind))
    )
    known = table.columns if table.kind != "text" else ()
    if code_column is not None and known is not None and column_named(code_column, known) is None:
        if parted_at(known) is not None:
            raise SettingError(f"{table.name} has {no_column(code_column, known)}")
        raise SettingError(
            f"{table.name} has no column {code_column!r} to take control codes from{nearest(code_column, known)}"
            + (f". Columns: {', '.join(known)}" if known else "; give it one as code=FILE")
        )
    return table


def must_concern(how: TextReading, files: Sequence[SourceFile]) -> None:
    """Raise SettingError where something was said of files and none of them is of a kind that has it.

    >>> must_concern(TextReading(encoding="cp949"), [SourceFile(Path("a.txt")), SourceFile(Path("b.parquet"))])
    >>> must_concern(TextReading(encoding="cp949"), [SourceFile(Path("b.parquet"))])
    Traceback (most recent call last):
    sijo.errors.SettingError: b.parquet is read as parquet, which needs no encoding; leave --encoding out
    """
    kinds = {SUFFIXES[ending(file.path)[0]]: file for file in files}
    for name in ("delimiter", "header", "encoding", "sheet"):
        alone = replace(AS_TOLD, **{name: getattr(how, name)})
        if kinds and all(alone.fitting(kind) != alone for kind in kinds):
            kind, file = next(iter(kinds.items()))
            alone.checked(kind, str(file.path))


def documents(
    source: SourceFile, *, column: str | None = None, code_column: str | None = None, how: TextReading = AS_TOLD
) -> Iterator[Document]:
    """The documents of a file, one at a time.

    column       where the text is in CSV, JSON Lines and Parquet; by default `text`, else the only column
    code_column  where each row's control code is; in a source with a code, where the words are that its text then
                 begins with: a second code, such as "Rating: 5.0" in Reviews (CTRL, section 3.2)
    how          what was said of the files

    In plain text each line is a sentence or a paragraph, and a document ends at a blank line and at the
    end of the file, as BERT, ALBERT and ELECTRA have it. One that grows beyond a million characters
    (LONGEST_DOCUMENT) is cut at the last end of a sentence before. In the other formats a row is a document,
    of any length, and its lines are paragraphs; a row without text is none. Numbers as codes are written as
    they read: 7, 0.5, true.

    Raises SettingError for a column that is not there, and TextError, with file and line or row, where the
    file is broken or a code is missing; all documents before that place have been given by then.

    >>> import tempfile
    >>> poem = Path(tempfile.mkdtemp()) / "poem.txt"
    >>> _ = poem.write_text("One line. Two more.\\nA third.\\n\\nAnother poem.\\n")
    >>> [document.sentences for document in documents(SourceFile(poem))]
    [['One line.', 'Two more.', 'A third.'], ['Another poem.']]
    """
    table = open_source(source, column=column, code_column=code_column, how=how)
    return (row for row in read_documents(table, source, code_column=code_column) if row.sentences)


def read_documents(table: TextTable, source: SourceFile, *, code_column: str | None = None) -> Iterator[Document]:
    """The documents of an opened source, and one without sentences for each row that is blank."""
    if table.kind == "text":
        return _from_lines(table, source.code)
    return _from_rows(table, source.code, code_column)


def sentences(text: str) -> list[str]:
    """The sentences of a text, by a rule that knows no language and no context.

    A sentence ends at a line feed; and at `.`, `!`, `?`, `…`, `。`, `！` or `？` with the closing quotes and
    brackets behind it, where white space follows and then anything but a lower-case letter. It does not
    end after a single Latin letter (J. Smith, U.S. Navy, e.g. London, and wrongly: Plan B. Then) nor after
    Mr, Mrs, Ms, Dr, Prof, St and vs. Other abbreviations (No. 5, Inc. Then, Jan. 3) are parted. Where no
    white space is written between sentences, as in Chinese, a line is one.

    Takes time in proportion to the text.

    >>> sentences('Dr. Kim laughed. "Why not?" He asked... and left.')
    ['Dr. Kim laughed.', '"Why not?"', 'He asked... and left.']
    >>> sentences("비가 왔다. 우산이 없었다!")
    ['비가 왔다.', '우산이 없었다!']
    """
    parts = []
    for paragraph in map(str.strip, text.split("\n")):
        start = 0
        for end in SENTENCE_END.finditer(paragraph):
            if not paragraph[end.end()].islower():
                parts.append(paragraph[start : end.end()].rstrip())
                start = end.end()
        if paragraph:
            parts.append(paragraph[start:])
    return parts


def document_digest(document: Document) -> bytes:
    """Eight bytes that are the same for documents of one code that differ in look alone.

    Case, white space, punctuation and compatibility forms (ﬁ, Ａ, ½) do not count; symbols such as $ and
    emoji do. The same text under two codes is two documents. Among 100 million documents
    the probability that any two different ones are taken for one is 3 in 10,000 (n² / 2⁶⁵).

    >>> shouted, written = Document(["SO she said. Its over"]), Document(["“So,” she said…", "It's over!"])
    >>> document_digest(shouted) == document_digest(written)
    True
    """
    folded = unicodedata.normalize("NFKC", " ".join(document.sentences)).casefold()
    if not folded.isascii():
        folded = _marks().sub("", folded)
    code = b"" if document.code is None else document.code.encode() + b"\0"  # no text holds a NUL
    return blake2b(code + folded.encode().translate(None, ASCII_MARKS), digest_size=8).digest()


class SeenDigests:
    """Numbers met before, in 8 bytes each, and 16 for a moment when they are put in order.

    They are kept as sorted runs, each more than twice as long as the next; so there are few to look into, and
    a number is moved seldom.

    numbers  what has been met already, each once, (N,) uint64; put in order where it lies

    >>> seen = SeenDigests()
    >>> seen.first_time(np.array([7, 8, 7], np.uint64)).tolist()
    [True, True, False]
    >>> seen.first_time(np.array([9, 8], np.uint64)).tolist()
    [True, False]
    """

    def __init__(self, numbers: np.ndarray | None = None) -> None:
        self._runs: list[np.ndarray] = []
        if numbers is not None and len(numbers):
            numbers.sort()
            self._runs.append(numbers)

    def first_time(self, numbers_N: np.ndarray) -> np.ndarray:
        """Which of these are met for the first time, (N,) bool; from now on all of them have been."""
        ranked, places = np.unique(numbers_N, return_index=True)
        new = np.ones(len(ranked), bool)
        for run in self._runs:
            place = np.searchsorted(run, ranked)
            new &= run[np.minimum(place, len(run) - 1)] != ranked
        self._add(ranked[new])
        first = np.zeros(len(numbers_N), bool)
        first[places[new]] = True
        return first

    def _add(self, run: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        if len(run):
            self._runs.append(run)


def _meant(word: str) -> Iterator[SourceFile]:
    """The files that a word of the command line means."""
    code, equals, rest = word.partition("=")
    if paths := _files(word):
        yield from map(SourceFile, paths)
    elif equals and code and (paths := _files(rest)):
        yield from (SourceFile(path, code) for path in paths)
    elif equals and not code:
        raise SettingError(f"{word!r} has no control code before the '='; write one, or {rest!r} alone")
    else:
        path = Path(rest or word)
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SettingError(
            f"no file, folder or files of a pattern {rest or word!r}{nearest_file(path.name, siblings)}"
        )


def _files(name: str) -> list[Path]:
    """The files under a path, or under those that a pattern fits; none when there is no such path."""
    if os.path.lexists(name):
        return _below(Path(name))
    matches = glob.glob(name, recursive=True)  # noqa: PTH207 (Path's own takes no absolute pattern)
    return [path for each in sorted(matches) for path in _below(Path(each))]


def _below(path: Path) -> list[Path]:
    packed = f"with or without {', '.join(DECOMPRESS)}"
    if path.is_dir():
        files: list[Path] = []
        for place, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            files += (Path(place, name) for name in names if not name.startswith("."))
        files = sorted(file for file in files if ending(file)[0] in STREAMS)  # a .json is mostly settings there
        if not files:
            raise SettingError(
                f"the folder {path} holds no file that ends in one of {', '.join(STREAMS)}, {packed}"
            )
        return files
    if not path.is_file():
        raise SettingError(
            f"{path} is a pipe, a device or a broken link; save what it gives to a file and name that"
        )
    if ending(path)[0] not in SUFFIXES:
        raise SettingError(
            f"{path} ends in none of {', '.join(SUFFIXES)}, {packed}; rename it to say what it holds"
        )
    return [path]


def _from_lines(table: TextTable, code: str | None) -> Iterator[Document]:
    held: list[str] = []
    characters = 0
    for line in _lines(table):
        parts = sentences(line)
        for sentence in parts or [""]:
            characters += len(sentence)
            if held and (not parts or characters > LONGEST_DOCUMENT):
                yield Document(held, code)
                held, characters = [], len(sentence)
            if parts:
                held.append(sentence)


def _lines(table: TextTable) -> Iterator[str]:
    """The lines of plain text, and a blank one behind the last; behind the last sound one, if there is a fault."""
    try:
        for block in table.blocks(up_to_fault=True):
            yield from block.texts
    except TextError:
        yield ""
        raise
    yield ""


def _from_rows(table: TextTable, code: str | None, code_column: str | None) -> Iterator[Document]:
    for block in table.blocks(up_to_fault=True):
        values = [None] * len(block.texts) if code_column is None else _codes(block, code_column)
        for row, (text, value) in enumerate(zip(block.texts, values, strict=True), block.first_row + 1):
            parts = sentences(text)
            if parts and code_column is not None:
                own = _code(value, f"{table.name}, row {row}: the control code in {code_column!r}")
                yield Document(parts, own) if code is None else Document([own, *parts], code)
            else:
                yield Document(parts, code)


def _codes(block: RowBlock, code_column: str) -> list[object]:
    try:
        return block.values(code_column)
    except SettingError:  # none of these records of JSON Lines has it
        return [None] * len(block.texts)


def _code(value: object, where: str) -> str:
    """A control code as text; TextError when there is none."""
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, int | float | Decimal):
        return str(value)
    if value is None:
        raise TextError(f"{where} is null or absent; give every row one")
    if not isinstance(value, str):
        raise TextError(f"{where} is {type(value).__name__}, not a string or number; write it as a string")
    if not value.strip() or not value.isprintable():
        raise TextError(f"{where}, {value[:40]!r}, is no name; write one of printable characters")
    return value


@cache
def _marks() -> re.Pattern[str]:
    """Punctuation and white space beyond ASCII, of the first 65,536 characters; found once, in 0.05 s."""
    return re.compile(f"[{''.join(filter(_is_mark, map(chr, range(128, 1 << 16))))}]+")
