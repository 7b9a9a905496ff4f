"""A model's outputs kept between runs, by the text, or the pair of texts, that they are of."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sijo.batching import AnyText
from sijo.files.cache import SqliteCache


class Entry(NamedTuple):
    """The output for one text, or for one pair."""

    vector: np.ndarray
    """(D,) float32: a text's vector, or a pair's logits."""
    tokens: int
    windows: int
    truncated: bool


class OutputStore(Protocol):
    """Where a model's outputs are kept, by the text, or the pair of texts, that they are of."""

    def get(self, texts: Sequence[AnyText]) -> dict[AnyText, Entry]:
        """The entries of those texts, or pairs, that are known."""

    def put(self, entries: Mapping[AnyText, Entry]) -> None:
        """Keep entries; all of them, or on an error none."""


class OutputsInMemory:
    """A model's outputs kept for as long as the process lives, the newest of them; texts themselves are not.

    most  bytes, about

    >>> store = OutputsInMemory(2_000)
    >>> for text in ("a cat", "a dog", "a cow"):
    ...     store.put({text: Entry(np.ones(100, np.float32), tokens=2, windows=1, truncated=False)})
    >>> list(store.get(["a cat", "a dog", "a cow"]))
    ['a dog', 'a cow']
    """

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0
        self._kept: dict[bytes, Entry] = {}

    def get(self, texts: Sequence[AnyText]) -> dict[AnyText, Entry]:
        """The entries of those texts, or pairs, that are known."""
        known = ((text, self._kept.get(_key(text))) for text in texts)
        return {text: entry for text, entry in known if entry is not None}

    def put(self, entries: Mapping[AnyText, Entry]) -> None:
        """Keep entries, and let go of the oldest where they are too many."""
        for text, entry in entries.items():
            if (key := _key(text)) not in self._kept:
                self._kept[key] = entry._replace(vector=entry.vector.copy())  # not the whole batch that it is of
                self.bytes += _size(entry)
        while self.bytes > self.most:
            self.bytes -= _size(self._kept.pop(next(iter(self._kept))))


class VectorCache:
    """A model's outputs kept between runs, so that new labels on old texts cost only what is new.

    For a text that is its vector, for a pair of texts the logits. One file in `folder` for each model and way of
    reading, named by the `fingerprint`, so that outputs of two models never meet.

    >>> import tempfile
    >>> store = VectorCache(Path(tempfile.mkdtemp()), fingerprint="ab12")
    >>> store.put({"a cat": Entry(np.ones(3, np.float32), tokens=2, windows=1, truncated=False)})
    >>> list(store.get(["a cat", "a dog"]))
    ['a cat']
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        columns = "vector BLOB, tokens INTEGER, windows INTEGER, truncated INTEGER"
        self._store = SqliteCache(folder, fingerprint=fingerprint, columns=columns, table="vectors", key="text")
        self.file = self._store.file

    def get(self, texts: Sequence[AnyText]) -> dict[AnyText, Entry]:
        """The entries of those texts, or pairs, that are known."""
        by_key = {_key(text): text for text in texts}
        return {
            by_key[key]: Entry(np.frombuffer(vector, np.float32), tokens, windows, bool(truncated))
            for key, (vector, tokens, windows, truncated) in self._store.get(list(by_key)).items()
        }

    def put(self, entries: Mapping[AnyText, Entry]) -> None:
        """Keep entries; all of them, or on an error none."""
        rows = {
            _key(text): (vector.astype(np.float32).tobytes(), *counts)
            for text, (vector, *counts) in entries.items()
        }
        self._store.put(rows)


def _size(entry: Entry) -> int:
    return entry.vector.nbytes + 400  # what Python and numpy have around a vector


def _key(text: AnyText) -> bytes:
    if isinstance(text, str):
        return hashlib.blake2b(text.encode(), digest_size=20).digest()
    first, second = (part.encode() for part in text)
    border = len(first).to_bytes(16)  # "a" with "bc" is another pair than "ab" with "c"
    return hashlib.blake2b(first + second, digest_size=20, salt=border, person=b"pair").digest()
