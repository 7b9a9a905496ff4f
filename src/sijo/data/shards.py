"""A corpus as token ids on disk: made once, in pieces that a crash cannot harm, and read without being loaded.

A prepared corpus is a folder that appears whole, with a manifest of SHA-256 digests:

    index.json       the kind of numbers, the tokenizer's fingerprint, control codes, shards, what was dropped
    00000.tokens     token ids one after another, no special ones, uint16 or uint32
    00000.sentences  where each sentence begins, in tokens, and the last ends: S + 1 of uint32
    00000.documents  where each document begins, in sentences, and the last ends: D + 1 of uint32

A shard holds whole documents of one control code. All numbers are little-endian. While it is being made,
it lies in `.NAME.preparing` beside it:

    lock             held by the one process at work here
    settings.json    what decides the shards; a resumed preparation must have the same
    progress.json    how far the files have been read, and how much of each file here that makes
    seen             digests of the documents met, in the order they came

The shards only grow, and progress.json is replaced when what it speaks of is on the disk. So a preparation
that goes on cuts off what came after, reads on from there, and makes the same bytes. Inputs for a network are
cut from the shards by `samples.py`; files become documents in `corpus.py`.
"""

import filecmp
import hashlib
import json
import os
import resource
import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from sijo.batching import groups
from sijo.data.corpus import Document, SeenDigests, SourceFile, document_digest, open_source, read_documents
from sijo.errors import CheckpointError, RefusedError, SettingError, TextError
from sijo.files.folders import (
    MANIFEST,
    begun,
    locked,
    must_agree,
    present,
    read_object,
    sync,
    unlocked,
    verify,
    whole_file,
    whole_folder,
    write_json,
)
from sijo.tokenizers.codes import code_ids
from sijo.tokenizers.tokenizer import USUAL, Tokenizer
from sijo.version import __version__

FORMAT = 1
INDEX = "index.json"
PARTS = ("tokens", "sentences", "documents")
KINDS: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
OFFSET: np.dtype[Any] = np.dtype("<u4")
NOTHING: dict[str, Any] = {"source": 0, "documents": 0, "digests": 0, "counts": {}, "codes": [], "shards": []}
"""What progress.json would say before the first commit."""
LARGEST = 2**32 - 1
"""The largest number an offset can be, so the most tokens of a shard."""
MOST_CODES = 1_000
"""Every code has shards of its own; a column with more values than this is rather a title or a number."""
BATCH_CHARACTERS = 1_000_000
"""Text read before duplicates are looked for and the tokenizer is called, which works on all processors."""
COMMIT_TOKENS = 4_000_000
"""Tokens held in memory between two commits, and the most that a killed preparation has to make again."""


@dataclass(frozen=True)
class CorpusCode:
    """A control code, and the tokens that stand for it before a text."""

    name: str
    ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Shard:
    """Whole documents of one control code, mapped from the disk: only what is looked at is read."""

    code: int | None
    """Which of the corpus's codes, or None where it has none."""
    tokens: np.memmap
    """(T,) uint16 or uint32 ids of all sentences, without special tokens."""
    sentences: np.memmap
    """(S + 1,) uint32: sentence s has tokens[sentences[s] : sentences[s + 1]]."""
    documents: np.memmap
    """(D + 1,) uint32: document d has the sentences documents[d] up to documents[d + 1]."""


@dataclass
class DocumentCounts:
    """What became of the documents: read = kept + empty + duplicates."""

    read: int = 0
    kept: int = 0
    empty: int = 0
    """Rows that are blank, and documents of which the tokenizer leaves nothing."""
    duplicates: int = 0
    """Documents that another had been the like of, in all but look and under the same code."""
    characters: int = 0
    """Characters of the documents that were kept."""
    bad: dict[str, str] = field(default_factory=dict)
    """Files that were skipped from a fault on, each with the fault."""


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


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus. Any number of processes may have it open."""

    folder: Path
    codes: tuple[CorpusCode, ...]
    """In the order in which they first came; none when the documents have no codes."""
    shards: tuple[Shard, ...]
    vocab_size: int
    """Of the tokenizer."""
    tokenizer: str
    """The `text_fingerprint` of the tokenizer."""
    counts: DocumentCounts
    fingerprint: str
    """A digest of the digests of all files, 64 hexadecimal digits: equal for equal corpora."""

    @property
    def tokens(self) -> int:
        """Tokens in all shards, without codes and special tokens."""
        return sum(len(shard.tokens) for shard in self.shards)

    @property
    def sentences(self) -> int:
        """Sentences in all shards."""
        return sum(len(shard.sentences) - 1 for shard in self.shards)

    @property
    def documents(self) -> int:
        """Documents in all shards."""
        return sum(len(shard.documents) - 1 for shard in self.shards)

    @classmethod
    def open(cls, folder: Path, *, check: bool = True) -> "Corpus":
        """Map what `prepare` made.

        check  read every file once, and compare it with its SHA-256

        Without `check` the sizes of all files are still compared with what the index says.
        Each shard keeps three files open; where a process may not have as many, its limit is raised.

        Raises SettingError when no corpus is there, CheckpointError when it is damaged and RefusedError
        when a newer sijo made it.
        """
        paths = {name: present(folder, name) for name in (INDEX, MANIFEST)}
        if not any(paths.values()):
            raise SettingError(f"{folder} is no prepared corpus: it has no {INDEX}; name the folder that does")
        for name, path in paths.items():
            if path is None:
                raise CheckpointError(f"{folder / name} is absent; copy the corpus again")
        if check:
            verify(folder)
        index, manifest = (read_object(folder / name) for name in (INDEX, MANIFEST))
        if index.get("format") != FORMAT:
            raise RefusedError(
                f"{folder / INDEX} is of format {index.get('format')!r} and this sijo knows {FORMAT}; update sijo"
            )
        try:
            kind = KINDS[index["dtype"]]
            codes = tuple(CorpusCode(str(code["name"]), tuple(map(int, code["ids"]))) for code in index["codes"])
            _allow_files(3 * len(index["shards"]))
            shards = tuple(_mapped(folder, about, kind, len(codes), check) for about in index["shards"])
            listed = {INDEX, *(f"{about['name']}.{part}" for about in index["shards"] for part in PARTS)}
            corpus = cls(
                folder=folder,
                codes=codes,
                shards=shards,
                vocab_size=int(index["vocab_size"]),
                tokenizer=str(index["tokenizer"]),
                counts=DocumentCounts(**index["counts"]),
                fingerprint=hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest(),
            )
            if not shards or listed != set(manifest["files"]) or corpus.documents != corpus.counts.kept:
                raise ValueError
            return corpus
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError(
                f"{folder / INDEX} does not say what {MANIFEST} lists, or not as a corpus's index does; "
                "copy the corpus again"
            ) from None


def prepare(
    sources: Sequence[SourceFile],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    column: str | None = None,
    code_column: str | None = None,
    skip_bad: bool = False,
    shard_tokens: int = 64_000_000,
    resume: bool = False,
    overwrite: bool = False,
    tell: Callable[[PreparationProgress], None] | None = None,
) -> Corpus:
    """Make a corpus of token ids from files of text, in memory that does not depend on their size.

    sources       what is read, in this order; see `corpus.sources`
    folder        the folder to be; it appears when all is done
    column        where the text is, and
    code_column   where the control code is, in rows; see `corpus.documents`
    skip_bad      leave out what follows a fault in a file, and name it in `counts.bad`
    shard_tokens  a shard closes before it would have more, unless a single document does
    resume        go on where an earlier preparation with the same settings stopped, or start; a corpus
                  that is finished is opened
    overwrite     start over, and replace what is there at the end
    tell          is called every million characters or so

    A document without tokens is dropped, and so is one like an earlier one, whatever file that was in.
    The same files, settings and tokenizer give the same bytes, however often the preparation was
    interrupted, by `kill -9` and a full disk too; only `skip_bad` may change between one part and the next.

    Raises SettingError for settings or codes that will not do, when something is at `folder` or in the making
    there, and when a resumed preparation was begun with others; TextError at a fault in a file, or
    when no document is left. What was done until then stays, to be resumed.

    >>> import tempfile
    >>> from sijo.checkpoints.locate import built_in
    >>> tokenizer = Tokenizer.load(built_in() / "tokenizer.json", max_length=256)
    >>> poems = Path(tempfile.mkdtemp()) / "poems.txt"
    >>> _ = poems.write_text("One line. Another line.\\n\\nA new poem.\\n\\none line, another line")
    >>> corpus = prepare([SourceFile(poems)], tokenizer, poems.parent / "corpus")
    >>> corpus.documents, corpus.sentences, corpus.tokens, corpus.counts.duplicates
    (2, 3, 10, 1)
    >>> shard = corpus.shards[0]
    >>> shard.sentences.tolist(), shard.documents.tolist(), tokenizer.decode(shard.tokens[3:6].tolist())
    ([0, 3, 6, 10], [0, 2, 3], 'another line.')
    """
    if resume and overwrite:
        raise SettingError("resume goes on with a preparation and overwrite starts it over; pass one of them")
    if not sources:
        raise SettingError("there are no files to prepare a corpus from; name at least one")
    if not 1 <= shard_tokens <= LARGEST:
        raise SettingError(f"a shard of {shard_tokens} tokens cannot be; use 1 to {LARGEST:,}")
    target = Path(folder).absolute()
    work = target.with_name(f".{target.name}.preparing")
    if resume and target.exists() and not work.exists():
        return _finished(target, tokenizer)
    given = {"column": column, "code_column": code_column, "shard_tokens": shard_tokens}
    with _alone_in(work):
        earlier = _begun(work)
        if resume and target.exists() and not earlier:
            return _finished(target, tokenizer)
        if target.exists() and not (resume or overwrite):
            raise SettingError(f"{target} exists already; name another folder, or allow it to be overwritten")
        if earlier and not (resume or overwrite):
            raise SettingError(
                f"an unfinished preparation of {target} is in {work}; resume it, or overwrite it to start over"
            )
        settings = _settings(sources, tokenizer=tokenizer.text_fingerprint, **given)
        if earlier and resume:
            must_agree(earlier["settings"], settings, what="preparation")
            overwrite = earlier["overwrite"]
        else:
            _clear(work)
            with whole_file(work / "settings.json") as out:
                out.write(json.dumps({"overwrite": overwrite, "settings": settings}).encode())
        making = _Making(work, tokenizer, shard_tokens)
        placed = making.source == len(sources) and all(_same(work / name, target / name) for name in making.files())
        if target.exists() and not (overwrite or placed):
            raise SettingError(f"{target} was made by someone else in the meantime; move it away, then resume")
        if not placed:
            making.read(sources, column=column, code_column=code_column, skip_bad=skip_bad, tell=tell)
            with whole_folder(target, overwrite=overwrite) as fresh:
                for name in making.files():
                    _link(work / name, fresh / name)
                write_json(fresh / INDEX, making.index())
        _clear(work)
    return Corpus.open(target, check=False)


class _Growing:
    """A shard in the making: how much it holds, and what of that is not yet on the disk."""

    def __init__(
        self, name: str, code: int | None, tokens: int = 0, sentences: int = 0, documents: int = 0
    ) -> None:
        self.name, self.code = name, code
        self.tokens, self.sentences, self.documents = tokens, sentences, documents
        first = [] if documents else [0]
        self.new = {"tokens": array("I"), "sentences": array("I", first), "documents": array("I", first)}

    def add(self, sentences: list[list[int]]) -> None:
        """One more document."""
        for ids in sentences:
            self.new["tokens"].fromlist(ids)
            self.tokens += len(ids)
            self.new["sentences"].append(self.tokens)
        self.sentences += len(sentences)
        self.new["documents"].append(self.sentences)
        self.documents += 1

    def about(self) -> dict[str, Any]:
        """Its entry in the index."""
        return {name: getattr(self, name) for name in ("name", "code", *PARTS)}


class _Making:
    """What a preparation has made: in its folder, up to where progress.json says, and in memory from there on."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, shard_tokens: int) -> None:
        self.folder, self.tokenizer, self.shard_tokens = folder, tokenizer, shard_tokens
        ids = max(tokenizer.vocab_size, tokenizer.largest_id + 1)
        self.dtype = "uint16" if ids <= 1 << 16 else "uint32"
        path = folder / "progress.json"
        progress = read_object(path) if path.exists() else NOTHING
        self.source: int = progress["source"]
        self.documents: int = progress["documents"]
        self.counts = DocumentCounts(**progress["counts"])
        self.codes = [CorpusCode(code["name"], tuple(code["ids"])) for code in progress["codes"]]
        self.shards = [_Growing(**about) for about in progress["shards"]]
        self._numbers = {code.name: number for number, code in enumerate(self.codes)}
        self._spelled = {code.ids: code.name for code in self.codes}
        self._open = {shard.code: shard for shard in self.shards}  # the last of each code
        self._digests: int = progress["digests"]
        self._new_digests = bytearray()
        self._new_tokens = 0
        self._share: Callable[[], float | None] = lambda: 0.0  # of the file at work
        self._cut_back()
        self._seen = SeenDigests(np.fromfile(folder / "seen", "<u8") if self._digests else None)

    def files(self) -> dict[str, int]:
        """The bytes of each file of the shards."""
        width = KINDS[self.dtype].itemsize
        sizes = {}
        for shard in self.shards:
            sizes[f"{shard.name}.tokens"] = width * shard.tokens
            sizes[f"{shard.name}.sentences"] = OFFSET.itemsize * (shard.sentences + 1)
            sizes[f"{shard.name}.documents"] = OFFSET.itemsize * (shard.documents + 1)
        return sizes

    def index(self) -> dict[str, Any]:
        """What index.json has to say."""
        return {
            "format": FORMAT,
            "dtype": self.dtype,
            "vocab_size": self.tokenizer.vocab_size,
            "tokenizer": self.tokenizer.text_fingerprint,
            "codes": [{"name": code.name, "ids": list(code.ids)} for code in self.codes],
            "shards": [shard.about() for shard in self.shards],
            "counts": asdict(self.counts),
        }

    def read(
        self,
        sources: Sequence[SourceFile],
        *,
        column: str | None,
        code_column: str | None,
        skip_bad: bool,
        tell: Callable[[PreparationProgress], None] | None,
    ) -> None:
        """Read what has not been read, and bring all to the disk."""
        for name in dict.fromkeys(source.code for source in sources if source.code is not None):
            self._ids(name)
        for source in sources[self.source :]:  # what would else be found out after hours
            with suppress(*[TextError] * skip_bad):
                open_source(source, column=column, code_column=code_column)
        sizes = [source.path.stat().st_size for source in sources]
        for batch in _batches(self._rest(sources, column=column, code_column=code_column, skip_bad=skip_bad)):
            self._take(batch)
            if self._new_tokens >= COMMIT_TOKENS:
                self._commit()
            if tell is not None:
                done = sum(sizes[: self.source]) + sizes[self.source] * (self._share() or 0.0)
                tokens = sum(shard.tokens for shard in self.shards)
                tell(
                    PreparationProgress(done / sum(sizes), str(sources[self.source].path), self.counts.kept, tokens)
                )
        if not self.shards:
            bad = "".join(f"; {name} was skipped ({reason})" for name, reason in self.counts.bad.items())
            raise TextError(
                f"nothing is left of {len(sources)} files: of {self.counts.read} documents {self.counts.empty} "
                f"were empty and {self.counts.duplicates} like another{bad}; give files that hold text"
            )
        self.source, self.documents = len(sources), 0
        self._commit()

    def _rest(
        self, sources: Sequence[SourceFile], *, column: str | None, code_column: str | None, skip_bad: bool
    ) -> Iterator[tuple[int, Document]]:
        """The documents that have not been taken, each with the number of its source."""
        taken = self.documents
        for number in range(self.source, len(sources)):
            source = sources[number]
            try:
                table = open_source(source, column=column, code_column=code_column)
                self._share = table.share
                found = read_documents(table, source, code_column=code_column)
                if sum(1 for _ in islice(found, taken)) < taken:
                    raise SettingError(f"{source.path} has changed since it was begun; start over with overwrite")
                for document in found:
                    yield number, document
            except TextError as error:
                if not skip_bad:
                    raise
                self.counts.bad[_legible(str(source.path))] = _legible(str(error))
            taken = 0

    def _take(self, batch: list[tuple[int, Document]]) -> None:
        """Tokenize those documents of a batch that are new, and put them into shards."""
        filled = [document for _, document in batch if document.sentences]
        digests = np.frombuffer(b"".join(map(document_digest, filled)), "<u8")
        first = self._seen.first_time(digests)
        self._new_digests += digests[first].tobytes()
        new = [document for document, is_first in zip(filled, first, strict=True) if is_first]
        texts = chain.from_iterable(document.sentences for document in new)
        ids = chain.from_iterable(map(self.tokenizer.ids, groups(texts)))
        empty = len(batch) - len(filled)
        for document in new:
            sentences = [tokens for tokens in islice(ids, len(document.sentences)) if tokens]
            if sentences:
                self._add(document, sentences)
            else:
                empty += 1
        self.counts.read += len(batch)
        self.counts.empty += empty
        self.counts.duplicates += len(filled) - len(new)
        number = batch[-1][0]
        before = self.documents if number == self.source else 0
        self.source, self.documents = number, before + sum(1 for other, _ in batch if other == number)

    def _add(self, document: Document, sentences: list[list[int]]) -> None:
        tokens = sum(map(len, sentences))
        if tokens > LARGEST:
            raise TextError(f"a document has {tokens:,} tokens and a shard can hold {LARGEST:,}; cut it in pieces")
        code = None if document.code is None else self._number(document.code)
        shard = self._open.get(code)
        if shard is None or shard.tokens + tokens > self.shard_tokens:
            shard = self._open[code] = _Growing(f"{len(self.shards):05}", code)
            self.shards.append(shard)
        shard.add(sentences)
        self._new_tokens += tokens
        self.counts.kept += 1
        self.counts.characters += document.characters

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            if len(self.codes) == MOST_CODES:
                raise SettingError(
                    f"there are more than {MOST_CODES:,} control codes, of which {name!r} is one; name a column "
                    "that tells kinds of text"
                )
            self._numbers[name] = len(self.codes)
            self.codes.append(CorpusCode(name, self._ids(name)))
        return self._numbers[name]

    def _ids(self, name: str) -> tuple[int, ...]:
        ids = code_ids(name, self.tokenizer)
        if not ids or any(self.tokenizer.id(unknown) in ids for unknown in USUAL["unk_token"]):
            raise SettingError(
                f"the tokenizer has no tokens for the control code {name!r}; give it another name, or train the "
                "tokenizer with this one as a special token"
            )
        if (other := self._spelled.setdefault(ids, name)) != name:
            raise SettingError(
                f"the control codes {other!r} and {name!r} are the same tokens; give one of them another name"
            )
        return ids

    def _commit(self) -> None:
        """Bring to the disk all that is in memory, and then how far that is."""
        for shard in self.shards:
            for part, new in shard.new.items():
                kind = KINDS[self.dtype] if part == "tokens" else OFFSET
                _append(self.folder / f"{shard.name}.{part}", np.asarray(new).astype(kind).tobytes())
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
        with whole_file(self.folder / "progress.json") as out:
            out.write(json.dumps(progress).encode())

    def _cut_back(self) -> None:
        """Bring every file to the length it had at the last commit."""
        sizes = {**self.files(), "seen": 8 * self._digests}
        for path in self.folder.iterdir():
            if path.name not in (*sizes, "lock", "settings.json", "progress.json"):
                path.unlink()
        for name, size in sizes.items():
            path = self.folder / name
            there = path.stat().st_size if path.exists() else 0
            if there < size:
                raise CheckpointError(f"{path} has {there} bytes and had {size}; start over with overwrite")
            if there > size:
                os.truncate(path, size)


def _batches(documents: Iterator[tuple[int, Document]]) -> Iterator[list[tuple[int, Document]]]:
    """Bounded runs of a stream. A document weighs something by itself, or empty ones would pile up."""
    batch: list[tuple[int, Document]] = []
    weight = 0
    for number, document in documents:
        batch.append((number, document))
        weight += document.characters + 50
        if weight >= BATCH_CHARACTERS:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _append(path: Path, new: bytes | bytearray) -> None:
    if new:
        with path.open("ab") as out:
            out.write(new)
            out.flush()
            os.fsync(out.fileno())


def _mapped(folder: Path, about: dict[str, Any], kind: np.dtype[Any], codes: int, check: bool) -> Shard:
    """A shard, its files compared with its entry in the index. Raises KeyError or ValueError for a bad entry."""
    code, lengths = about["code"], [about[part] for part in PARTS]
    if not all(type(length) is int and length > 0 for length in lengths):
        raise ValueError
    if code not in (range(codes) if codes else [None]):
        raise ValueError
    arrays = []
    for part, length in zip(PARTS, lengths, strict=True):
        dtype, items = (kind, length) if part == "tokens" else (OFFSET, length + 1)
        name = f"{about['name']}.{part}"
        path = present(folder, name)
        size = 0 if path is None else path.stat().st_size
        if path is None or size != items * dtype.itemsize:
            raise CheckpointError(
                f"{folder / name} has {size} bytes, and by {INDEX} it has {items * dtype.itemsize}; copy it again"
            )
        arrays.append(np.memmap(path, dtype, "r"))
    for part, offsets, end in zip(PARTS[1:], arrays[1:], lengths[:-1], strict=True):
        rising = not check or bool((offsets[1:] > offsets[:-1]).all())
        if offsets[0] != 0 or offsets[-1] != end or not rising:
            raise CheckpointError(f"{folder / about['name']}.{part} leads out of its shard; copy the corpus again")
    return Shard(code, *arrays)


def _allow_files(count: int) -> None:
    """Let this process have so many more files open, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1_000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _finished(folder: Path, tokenizer: Tokenizer) -> Corpus:
    """The corpus that a resumed preparation finds finished."""
    corpus = Corpus.open(folder)
    if corpus.tokenizer != tokenizer.text_fingerprint:
        raise SettingError(f"{folder} was prepared with another tokenizer; name another folder, or overwrite it")
    return corpus


def _settings(sources: Sequence[SourceFile], **given: object) -> dict[str, Any]:
    """What decides the shards, each by the name that a refusal gives it."""
    settings: dict[str, Any] = {"sijo": __version__, **given, "the number of files": len(sources)}
    for source in sources:
        path, about = source.path.absolute(), source.path.stat()
        seconds, rest = divmod(about.st_mtime_ns, 10**9)
        changed = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        word = str(path) if source.code is None else f"{source.code}={path}"
        settings[word] = f"{about.st_size} bytes, changed {changed}.{rest:09} UTC"
    return settings


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """A folder to work in, held against other processes. It goes when it holds nothing to be resumed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            yield
        finally:
            if not _begun(folder):
                _clear(folder)
                unlocked(folder)


def _begun(folder: Path) -> Any:
    """The settings of what can be resumed there, and whether it may overwrite; None when there is nothing."""
    settings = begun(folder)
    # one that may overwrite is remembered at once, or what it is to replace would be taken for its work
    worth = settings is not None and (settings["overwrite"] or (folder / "progress.json").exists())
    return settings if worth else None


def _clear(folder: Path) -> None:
    """Remove all but the lock. The settings go first: without them, whatever else is there is litter."""
    (folder / "settings.json").unlink(missing_ok=True)
    sync(folder)
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()


def _link(file: Path, name: Path) -> None:
    """Give a file another name too, so that it is there under the first until all have the second."""
    try:
        name.hardlink_to(file)
    except OSError:  # a file system without such links
        shutil.copyfile(file, name)


def _same(file: Path, other: Path) -> bool:
    return other.exists() and (file.samefile(other) or filecmp.cmp(file, other, shallow=False))


def _legible(text: str) -> str:
    """A text that UTF-8 can hold, whatever bytes a file's name is of."""
    return text.encode("utf-8", "backslashreplace").decode()
