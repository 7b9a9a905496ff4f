"""A corpus as token ids on disk: read without being loaded.

A prepared corpus is a folder that appears whole, with a manifest of SHA-256 digests:

    index.json       the kind of numbers, the tokenizer's fingerprint, control codes, shards, what was dropped
    00000.tokens     token ids one after another, no special ones, uint16 or uint32
    00000.sentences  where each sentence begins, in tokens, and the last ends: S + 1 of uint32
    00000.documents  where each document begins, in sentences, and the last ends: D + 1 of uint32

and where the text is kept too, for a reader with another tokenizer:

    00000.text       the sentences in UTF-8, each with a blank behind it
    00000.places     where in it the text of each token begins, in bytes: T of uint32

A shard holds whole documents of one control code. All numbers are little-endian. Files of text become
shards in `prepare_shards.py`; inputs for a network are cut from the shards by `samples.py`.
"""

import hashlib
import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sijo.data.tokenized_sentence import TokenizedSentence
from sijo.errors import CheckpointError, SettingError
from sijo.files.json_files import read_object, read_versioned
from sijo.files.manifest import MANIFEST, verify
from sijo.files.paths import allow_files, present

FORMAT = 1
INDEX = "index.json"
PARTS = ("tokens", "sentences", "documents")
KINDS: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
OFFSET: np.dtype[Any] = np.dtype("<u4")
BYTE: np.dtype[Any] = np.dtype("u1")
LARGEST = 2**32 - 1
"""The largest number an offset can be, so the most tokens of a shard."""


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
    text: np.memmap | None = None
    """(N,) uint8: the sentences as they were written, in UTF-8; None where they were not kept."""
    places: np.memmap | None = None
    """(T,) uint32: where in it the text of each token begins."""

    def written(self, start: int, end: int) -> str | None:
        """The text of the tokens start, …, end - 1, as it was written; None where it was not kept."""
        if self.text is None or self.places is None:
            return None
        last = int(self.places[end]) if end < len(self.places) else len(self.text)
        return self.text[int(self.places[start]) : last].tobytes().decode().strip()


@dataclass
class DocumentCounts:
    """What became of the documents: read = kept + empty + duplicates."""

    read: int = 0
    kept: int = 0
    empty: int = 0
    """Rows that are blank, and documents of which the tokenizer leaves nothing."""
    duplicates: int = 0
    """Documents that differ from an earlier one of the same code in no more than case, spaces and punctuation."""
    characters: int = 0
    """Characters of the documents that were kept."""
    bad: dict[str, str] = field(default_factory=dict)
    """Files that were skipped from a fault on, each with the fault."""


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
    def keeps_text(self) -> bool:
        """Whether what was written is there beside the tokens."""
        return all(shard.text is not None for shard in self.shards)

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
        Each shard keeps three files open, or five; where a process may not have as many, its limit is raised.

        Raises SettingError when no corpus is there, CheckpointError when it is damaged and RefusedError
        when a newer sijo made it.
        """
        files = {name: file for name in (INDEX, MANIFEST) if (file := present(folder, name, check=check))}
        if not files:
            raise SettingError(f"{folder} is no prepared corpus: it has no {INDEX}; name the folder that does")
        for name in {INDEX, MANIFEST} - files.keys():
            raise CheckpointError(f"{folder / name} is absent; copy the corpus again")
        if check:
            verify(folder)
        index, manifest = read_versioned(files[INDEX], FORMAT), read_object(files[MANIFEST])
        try:
            kind = KINDS[index["dtype"]]
            codes = tuple(CorpusCode(str(code["name"]), tuple(map(int, code["ids"]))) for code in index["codes"])
            allow_files((len(PARTS) + 2) * len(index["shards"]))
            shards = tuple(_mapped(folder, about, kind, len(codes), check) for about in index["shards"])
            listed = {INDEX, *(name for about in index["shards"] for name, *_ in shard_layout(about, kind))}
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


class GrowingShard:
    """A shard in the making: how much it holds, and what of that is not yet on the disk."""

    def __init__(
        self,
        name: str,
        code: int | None,
        tokens: int = 0,
        sentences: int = 0,
        documents: int = 0,
        text: int | None = None,
    ) -> None:
        self.name, self.code = name, code
        self.tokens, self.sentences, self.documents = tokens, sentences, documents
        self.text = text  # bytes of it; None where it is not kept
        first = [] if documents else [0]
        self.new = {"tokens": array("I"), "sentences": array("I", first), "documents": array("I", first)}
        if text is not None:
            self.new |= {"text": array("B"), "places": array("I")}

    def add(self, sentences: Sequence[TokenizedSentence]) -> None:
        """One more document."""
        for ids, text, places in sentences:
            self.new["tokens"].fromlist(ids)
            self.tokens += len(ids)
            self.new["sentences"].append(self.tokens)
            if self.text is not None:
                self.new["text"].frombytes(text)
                self.new["places"].extend(self.text + place for place in places)
                self.text += len(text)
        self.sentences += len(sentences)
        self.new["documents"].append(self.sentences)
        self.documents += 1

    def about(self) -> dict[str, Any]:
        """Its entry in the index."""
        kept = {} if self.text is None else {"text": self.text}
        return {name: getattr(self, name) for name in ("name", "code", *PARTS)} | kept


def shard_layout(about: dict[str, Any], kind: np.dtype[Any]) -> list[tuple[str, np.dtype[Any], int]]:
    """Each file of a shard: its name, the kind of its numbers and how many.

    about  the shard's entry in the index
    kind   of the corpus's token ids
    """
    files = [
        (f"{about['name']}.{part}", *((kind, about[part]) if part == "tokens" else (OFFSET, about[part] + 1)))
        for part in PARTS
    ]
    if "text" in about:
        files += [
            (f"{about['name']}.text", BYTE, about["text"]),
            (f"{about['name']}.places", OFFSET, about["tokens"]),
        ]
    return files


def _mapped(folder: Path, about: dict[str, Any], kind: np.dtype[Any], codes: int, check: bool) -> Shard:
    """A shard, its files compared with its entry in the index. Raises KeyError or ValueError for a bad entry."""
    code, lengths = about["code"], [about[part] for part in (*PARTS, *({"text"} & about.keys()))]
    are_counts = all(type(length) is int and length > 0 for length in lengths)
    if not are_counts or code not in (range(codes) if codes else [None]):
        raise ValueError
    arrays = []
    for name, dtype, items in shard_layout(about, kind):
        file, must = present(folder, name, check=check), items * dtype.itemsize
        if file is None:
            raise CheckpointError(f"{folder / name} is absent, though {INDEX} names it; copy the corpus again")
        with file.open() as opened:
            if (size := os.fstat(opened.fileno()).st_size) != must:
                raise CheckpointError(f"{file} has {size} bytes, and by {INDEX} it has {must}; copy it again")
            arrays.append(np.memmap(opened, dtype, "r"))
    for part, offsets, end in zip(PARTS[1:], arrays[1:3], lengths[:2], strict=True):
        rising = not check or bool((offsets[1:] > offsets[:-1]).all())
        if offsets[0] != 0 or offsets[-1] != end or not rising:
            raise CheckpointError(f"{folder / about['name']}.{part} leads out of its shard; copy the corpus again")
    if check and "text" in about and (arrays[4][-1] > lengths[3] or (arrays[4][1:] < arrays[4][:-1]).any()):
        raise CheckpointError(f"{folder / about['name']}.places leads out of its text; copy the corpus again")
    return Shard(code, *arrays)
