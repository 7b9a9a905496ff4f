"""A corpus made of files of text: once, in pieces that a crash cannot harm.

While the shards of `shards.py` are being made, they lie in `.NAME.preparing` beside the corpus to be:

    lock            held by the one process at work here
    settings.json   what decides the shards; a resumed preparation must have the same
    progress.json   how far the files have been read, and how much of each file here that makes
    seen            digests of the documents met, in the order they came

The shards only grow, and progress.json is replaced when what it speaks of is on the disk. So a preparation
that goes on cuts off what came after, reads on from there, and makes the same bytes. Files become documents
in `corpus.py`.
"""

import filecmp
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from sijo.batching import groups
from sijo.data.corpus import Document, SeenDigests, SourceFile, document_digest, open_source, read_documents
from sijo.data.corpus_identity import leave_identity, must_be_made_of
from sijo.data.shards import (
    FORMAT,
    INDEX,
    KINDS,
    LARGEST,
    Corpus,
    DocumentCounts,
    GrowingShard,
    shard_layout,
)
from sijo.data.tokenized_sentence import TokenizedSentence, tokenized_sentences
from sijo.errors import CheckpointError, SettingError, TextError
from sijo.files.atomic import sync, whole_folder
from sijo.files.inputs.sources import TextReading
from sijo.files.json_files import read_object, write_json
from sijo.files.paths import FolderFile, present
from sijo.files.private import open_file
from sijo.files.records import AS_TOLD
from sijo.files.resumable import SETTINGS, ResumableFolder
from sijo.files.tables import TextTable
from sijo.tokenizers.codes import code_ids
from sijo.tokenizers.tokenizer import USUAL, Tokenizer
from sijo.version import __version__

PROGRESS = "progress.json"
NOTHING: dict[str, Any] = {"source": 0, "documents": 0, "digests": 0, "counts": {}, "codes": [], "shards": []}
"""What progress.json would say before the first commit."""
MOST_CODES = 1_000
"""Every code has shards of its own; a column with more values than this is rather a title or a number."""
BATCH_CHARACTERS = 1_000_000
"""Text read before duplicates are looked for and the tokenizer is called, which works on all processors."""
COMMIT_TOKENS = 4_000_000
"""Tokens held in memory between two commits, and the most that a killed preparation has to make again."""


@dataclass(frozen=True)
class PreparationProgress:
    """How far a preparation has come."""

    share: float
    """How much of all files has been read, from 0 to 1, by bytes as they lie on the disk."""
    file: str
    """The file at work."""
    documents: int
    """Documents kept so far."""
    tokens: int
    """Their tokens."""


def prepare(
    sources: Sequence[SourceFile],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    column: str | None = None,
    code_column: str | None = None,
    how: TextReading = AS_TOLD,
    skip_bad: bool = False,
    shard_tokens: int = 64_000_000,
    keep_text: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    tell: Callable[[PreparationProgress], None] | None = None,
) -> Corpus:
    """Make a corpus of token ids from files of text, in memory that does not depend on their size.

    sources       what is read, in this order; see `corpus.sources`
    folder        the folder to be; it appears when all is done
    column, code_column, how  where text and control code are in rows, and what was said of files; see `documents`
    skip_bad      leave out what follows a fault in a file, and name it in `counts.bad`
    shard_tokens  a shard closes before it would have more, unless a single document does
    keep_text     keep what was written beside the tokens, for a reader with another tokenizer
    resume        go on where an earlier preparation with the same settings stopped, or start; a corpus that is
                  finished is opened, if it was made of the same with the same settings
    overwrite     start over, and replace what is there at the end
    tell          is called every million characters or so

    A document without tokens is dropped, and so is a duplicate of an earlier one in any file.
    The same files, settings and tokenizer give the same bytes, however often the preparation was
    interrupted, by `kill -9` and a full disk too; only `skip_bad` may change between one part and the next.

    Raises SettingError for settings or codes that will not do, when something is at `folder` or in the making
    there, and when a resumed preparation was begun with different ones; TextError at a fault in a file, or
    when no document is left. What was done until then stays, to be resumed.

    >>> import tempfile
    >>> from sijo.checkpoints.locate import locate
    >>> tokenizer = Tokenizer.load(locate("all-minilm-l6-v2") / "tokenizer.json", max_length=256)
    >>> poems = Path(tempfile.mkdtemp()) / "poems.txt"
    >>> _ = poems.write_text("One line. Another line.\\n\\nA new poem.\\n\\none line, another line")
    >>> corpus = prepare([SourceFile(poems)], tokenizer, poems.parent / "corpus")
    >>> corpus.documents, corpus.sentences, corpus.tokens, corpus.counts.duplicates
    (2, 3, 10, 1)
    >>> shard = corpus.shards[0]
    >>> shard.sentences.tolist(), shard.documents.tolist(), tokenizer.decode(shard.tokens[3:6].tolist())
    ([0, 3, 6, 10], [0, 2, 3], 'another line.')
    """
    _check(sources, shard_tokens, resume=resume, overwrite=overwrite)
    target = Path(folder).absolute()
    making = target.with_name(f".{target.name}.preparing")
    own: dict[str, Any] = {"column": column, "code_column": code_column, "shard_tokens": shard_tokens}
    own |= {"keep_text": keep_text} if keep_text else {}
    settings = own | how.told()
    finished = partial(_finished, target, tokenizer, settings, sources)
    if resume and target.exists() and not making.exists():
        return finished()
    target.parent.mkdir(parents=True, exist_ok=True)
    with ResumableFolder(making, results=PROGRESS).lock() as work:
        if not work.worth_resuming():
            work.clear()
        if resume and target.exists() and not work.begun_with():
            return finished()
        if target.exists() and not (resume or overwrite):
            raise SettingError(f"{target} exists already; name another folder, or allow it to be overwritten")
        if work.begun_with() and not (resume or overwrite):
            unfinished = f"an unfinished preparation of {target} is in {making}"
            raise SettingError(f"{unfinished}; resume it, or overwrite it to start over")
        begun_with = _settings(sources, tokenizer, settings)
        overwrite = work.begin(begun_with, work="preparation", resume=resume, overwrite=overwrite)
        preparation = _Preparation(work, tokenizer, sources, how, skip_bad=skip_bad, **own)
        if not preparation.is_placed(target):
            if target.exists() and not overwrite:
                raise SettingError(f"{target} was made by someone else in the meantime; move it away, then resume")
            preparation.read(tell)
            preparation.place(target, overwrite=overwrite)
        corpus = Corpus.open(target, check=False)
        leave_identity(target, work, fingerprint=corpus.fingerprint, settings=settings, sources=sources)
        work.clear()
    return corpus


def _check(sources: Sequence[SourceFile], shard_tokens: int, *, resume: bool, overwrite: bool) -> None:
    """Refuse what no preparation can be begun with."""
    if resume and overwrite:
        raise SettingError("resume goes on with a preparation and overwrite starts it over; pass one of them")
    if not sources:
        raise SettingError("there are no files to prepare a corpus from; name at least one")
    if not 1 <= shard_tokens <= LARGEST:
        raise SettingError(f"a shard of {shard_tokens} tokens cannot be; use 1 to {LARGEST:,}")


@dataclass
class _Preparation:
    """What a preparation has made: in its folder, up to where progress.json says, and in memory from there on."""

    work: ResumableFolder
    tokenizer: Tokenizer
    sources: Sequence[SourceFile]
    how: TextReading
    column: str | None
    code_column: str | None
    shard_tokens: int
    skip_bad: bool
    keep_text: bool = False

    def __post_init__(self) -> None:
        self.folder = self.work.folder
        ids = max(self.tokenizer.vocab_size, self.tokenizer.largest_id + 1)
        self.dtype = "uint16" if ids <= 1 << 16 else "uint32"
        file = present(self.folder, PROGRESS)
        progress = NOTHING if file is None else read_object(file)
        self.source: int = progress["source"]
        self.documents: int = progress["documents"]
        self.counts = DocumentCounts(**progress["counts"])
        self.codes: dict[str, tuple[int, ...]] = {code["name"]: tuple(code["ids"]) for code in progress["codes"]}
        self.shards = [GrowingShard(**about) for about in progress["shards"]]
        self._spelled = {ids: name for name, ids in self.codes.items()}
        self._open = {shard.code: shard for shard in self.shards}  # the last of each code
        self._digests: int = progress["digests"]
        self._new_digests = bytearray()
        self._new_tokens = 0
        self._share: Callable[[], float | None] = lambda: 0.0  # of the file at work
        self._cut_back()
        self._seen = SeenDigests(self._kept_digests() if self._digests else None)

    def _kept_digests(self) -> np.ndarray:
        with FolderFile(self.folder, "seen").open() as opened:
            return np.fromfile(opened, "<u8")

    def files(self) -> dict[str, int]:
        """The bytes of each file of the shards."""
        return {
            file: kind.itemsize * count
            for shard in self.shards
            for file, kind, count in shard_layout(shard.about(), KINDS[self.dtype])
        }

    def is_placed(self, target: Path) -> bool:
        """Whether all is made, and the corpus in its place is this one."""
        pairs = [(self.folder / name, target / name) for name in self.files()]
        return self.source == len(self.sources) and all(
            placed.exists() and (file.samefile(placed) or filecmp.cmp(file, placed, shallow=False))
            for file, placed in pairs
        )

    def place(self, target: Path, *, overwrite: bool) -> None:
        """Put the corpus in its place."""
        with whole_folder(target, overwrite=overwrite, private=True) as fresh:
            for name in self.files():
                _link(self.folder / name, fresh / name)
            write_json(fresh / INDEX, self.index())

    def index(self) -> dict[str, Any]:
        """What index.json has to say."""
        return {
            "format": FORMAT,
            "dtype": self.dtype,
            "vocab_size": self.tokenizer.vocab_size,
            "tokenizer": self.tokenizer.text_fingerprint,
            "codes": [{"name": name, "ids": list(ids)} for name, ids in self.codes.items()],
            "shards": [shard.about() for shard in self.shards],
            "counts": asdict(self.counts),
        }

    def read(self, tell: Callable[[PreparationProgress], None] | None) -> None:
        """Read what has not been read, and bring all to the disk."""
        for name in dict.fromkeys(source.code for source in self.sources if source.code is not None):
            self._ids(name)
        for source in self.sources[self.source :]:  # what would else be found out after hours
            with suppress(TextError) if self.skip_bad else nullcontext():
                self._opened(source)
        sizes = [source.path.stat().st_size for source in self.sources]
        for batch in groups(self._rest(), rows=sys.maxsize, characters=BATCH_CHARACTERS, size=_weight):
            self._take(batch)
            if self._new_tokens >= COMMIT_TOKENS:
                self._commit()
            if tell is not None:
                done = sum(sizes[: self.source]) + sizes[self.source] * (self._share() or 0.0)
                tokens = sum(shard.tokens for shard in self.shards)
                file = str(self.sources[self.source].path)
                tell(PreparationProgress(done / sum(sizes), file, self.counts.kept, tokens))
        if not self.shards:
            bad = "".join(f"; {name} was skipped ({reason})" for name, reason in self.counts.bad.items())
            raise TextError(
                f"nothing is left of {len(self.sources)} files: of {self.counts.read} documents "
                f"{self.counts.empty} were empty and {self.counts.duplicates} like another{bad}; give files that "
                "hold text"
            )
        self.source, self.documents = len(self.sources), 0
        self._commit()

    def _opened(self, source: SourceFile) -> TextTable:
        return open_source(source, column=self.column, code_column=self.code_column, how=self.how)

    def _rest(self) -> Iterator[tuple[int, Document]]:
        """The documents that have not been taken, each with the number of its source."""
        taken = self.documents
        for number, source in enumerate(self.sources[self.source :], self.source):
            try:
                table = self._opened(source)
                self._share = table.share
                documents = read_documents(table, source, code_column=self.code_column)
                if sum(1 for _ in islice(documents, taken)) < taken:
                    raise SettingError(f"{source.path} has changed since it was begun; start over with overwrite")
                for document in documents:
                    yield number, document
            except TextError as error:
                if not self.skip_bad:
                    raise
                self.counts.bad[_printable(str(source.path))] = _printable(str(error))
            taken = 0

    def _take(self, batch: list[tuple[int, Document]]) -> None:
        """Tokenize those documents of a batch that are new, and put them into shards."""
        filled = [document for _, document in batch if document.sentences]
        digests = np.frombuffer(b"".join(map(document_digest, filled)), "<u8")
        first = self._seen.first_time(digests)
        self._new_digests += digests[first].tobytes()
        new = [document for document, is_first in zip(filled, first, strict=True) if is_first]
        texts = chain.from_iterable(document.sentences for document in new)
        tokenized = tokenized_sentences(self.tokenizer, texts, keep_text=self.keep_text)
        self.counts.read += len(batch)
        self.counts.empty += len(batch) - len(filled)
        self.counts.duplicates += len(filled) - len(new)
        for document in new:
            if sentences := [part for part in islice(tokenized, len(document.sentences)) if part.ids]:
                self._add(document, sentences)
            else:
                self.counts.empty += 1
        number = batch[-1][0]
        before = self.documents if number == self.source else 0
        self.source, self.documents = number, before + sum(1 for source, _ in batch if source == number)

    def _add(self, document: Document, sentences: list[TokenizedSentence]) -> None:
        tokens = sum(len(sentence.ids) for sentence in sentences)
        size = sum(len(sentence.text) for sentence in sentences)
        if max(tokens, size) > LARGEST:
            raise TextError(f"a document has {tokens:,} tokens and a shard can hold {LARGEST:,}; cut it in pieces")
        code = None if document.code is None else self._number(document.code)
        shard = self._open.get(code)
        full = shard is not None and (
            shard.tokens + tokens > self.shard_tokens or (shard.text or 0) + size > LARGEST
        )
        if shard is None or full:
            text = 0 if self.keep_text else None
            shard = self._open[code] = GrowingShard(f"{len(self.shards):05}", code, text=text)
            self.shards.append(shard)
        shard.add(sentences)
        self._new_tokens += tokens
        self.counts.kept += 1
        self.counts.characters += document.characters

    def _number(self, name: str) -> int:
        if name not in self.codes:
            if len(self.codes) == MOST_CODES:
                raise SettingError(
                    f"there are more than {MOST_CODES:,} control codes, of which {name!r} is one; name a column "
                    "that tells kinds of text"
                )
            self.codes[name] = self._ids(name)
        return list(self.codes).index(name)

    def _ids(self, name: str) -> tuple[int, ...]:
        ids = code_ids(name, self.tokenizer)
        if not ids or any(self.tokenizer.id(unknown) in ids for unknown in USUAL["unk_token"]):
            raise SettingError(
                f"the tokenizer has no tokens for the control code {name!r}; give it another name, or train the "
                "tokenizer with this one as a special token"
            )
        if (spelled := self._spelled.setdefault(ids, name)) != name:
            raise SettingError(
                f"the control codes {spelled!r} and {name!r} are the same tokens; give one of them another name"
            )
        return ids

    def _commit(self) -> None:
        """Bring to the disk all that is in memory, and then how far that is."""
        for shard in self.shards:
            layout = shard_layout(shard.about(), KINDS[self.dtype])
            for (file, kind, _), new in zip(layout, shard.new.values(), strict=True):
                _append(self.folder / file, np.asarray(new).astype(kind).tobytes())
                del new[:]
        _append(self.folder / "seen", self._new_digests)
        self._digests += len(self._new_digests) // 8
        self._new_digests.clear()
        self._new_tokens = 0
        progress = {
            "source": self.source,
            "documents": self.documents,
            "digests": self._digests,
            **{name: value for name, value in self.index().items() if name in NOTHING},
        }
        self.work.write_file(PROGRESS, json.dumps(progress).encode())

    def _cut_back(self) -> None:
        """Bring every file to the length it had at the last commit."""
        sizes = {**self.files(), "seen": 8 * self._digests}
        for path in self.folder.iterdir():
            if path.name not in (*sizes, "lock", SETTINGS, PROGRESS):
                path.unlink()
        for name, size in sizes.items():
            file = present(self.folder, name)
            path, length = self.folder / name, 0
            if file is not None:
                with file.open() as opened:
                    length = os.fstat(opened.fileno()).st_size
            if length < size:
                raise CheckpointError(f"{path} has {length} bytes and had {size}; start over with overwrite")
            if length > size:
                os.truncate(path, size)


def _weight(numbered: tuple[int, Document]) -> int:
    return numbered[1].characters + 50  # a document weighs something by itself, or empty ones would pile up


def _append(path: Path, new: bytes | bytearray) -> None:
    if new:
        handle = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, private=True)
        with os.fdopen(handle, "ab") as out:
            out.write(new)
        sync(path)


def _finished(folder: Path, tokenizer: Tokenizer, how: dict[str, Any], sources: Sequence[SourceFile]) -> Corpus:
    """The corpus that a resumed preparation finds finished, once it is sure that it would make the same."""
    corpus = Corpus.open(folder)
    if corpus.tokenizer != tokenizer.text_fingerprint:
        raise SettingError(f"{folder} was prepared with another tokenizer; name another folder, or overwrite it")
    must_be_made_of(folder, fingerprint=corpus.fingerprint, settings=how, sources=sources)
    return corpus


def _settings(sources: Sequence[SourceFile], tokenizer: Tokenizer, how: dict[str, Any]) -> dict[str, Any]:
    """What decides the shards, each by the name that a refusal gives it."""
    settings = {"sijo": __version__, "tokenizer": tokenizer.text_fingerprint, **how}
    settings["the number of files"] = len(sources)
    for source in sources:
        path, stat = source.path.absolute(), source.path.stat()
        seconds, rest = divmod(stat.st_mtime_ns, 10**9)
        changed = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        name = str(path) if source.code is None else f"{source.code}={path}"
        settings[name] = f"{stat.st_size} bytes, changed {changed}.{rest:09} UTC"
    return settings


def _link(file: Path, name: Path) -> None:
    """Give a file another name too, so that it is there under the first until all have the second."""
    try:
        name.hardlink_to(file)
    except OSError:  # a file system without such links
        shutil.copyfile(file, name)


def _printable(text: str) -> str:
    """A text that UTF-8 can hold, whatever bytes are in a file's name."""
    return text.encode("utf-8", "backslashreplace").decode()
