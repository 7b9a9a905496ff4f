"""What a model gave, kept between runs, so that new labels on old texts cost only what is new.

For a text that is its vector, for a pair of texts the logits. One SQLite file for each model and way
of reading, so what two models gave never meets. SQLite keeps the file whole when a run is killed,
and lets several runs use it at once.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sijo.errors import SettingError

Key = str | tuple[str, str]
"""A text, or a pair of them."""
AnyKey = TypeVar("AnyKey", bound=Key)


@dataclass(frozen=True)
class Entry:
    """What is known of one text, or of one pair."""

    vector: np.ndarray
    """(D,) float32: a text's vector, or a pair's logits."""
    tokens: int
    windows: int
    truncated: bool


class VectorStore:
    """Vectors by text or by pair, in `folder`, for the one model that `fingerprint` names.

    >>> import tempfile
    >>> store = VectorStore(Path(tempfile.mkdtemp()), fingerprint="ab12")
    >>> store.put({"a cat": Entry(np.ones(3, np.float32), tokens=2, windows=1, truncated=False)})
    >>> list(store.get(["a cat", "a dog"]))
    ['a cat']
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self.file = folder / f"{fingerprint[:32]}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise SettingError(f"the cache {folder} is a file; name a folder") from None
        with self._mended():
            self._database = sqlite3.connect(self.file, timeout=60, check_same_thread=False)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(text BLOB PRIMARY KEY, vector BLOB, tokens INTEGER, windows INTEGER, truncated INTEGER) "
                "WITHOUT ROWID"
            )

    def get(self, texts: Sequence[AnyKey]) -> dict[AnyKey, Entry]:
        """The entries of those texts, or pairs, that are known."""
        by_key = {_key(text): text for text in texts}
        found = {}
        with self._mended():
            for start in range(0, len(by_key), 500):
                keys = list(by_key)[start : start + 500]
                marks = ",".join("?" * len(keys))
                rows = self._database.execute(f"SELECT * FROM vectors WHERE text IN ({marks})", keys)  # noqa: S608
                for key, vector, tokens, windows, truncated in rows:
                    entry = Entry(np.frombuffer(vector, np.float32), tokens, windows, bool(truncated))
                    found[by_key[key]] = entry
        return found

    def put(self, entries: Mapping[AnyKey, Entry]) -> None:
        """Keep entries; all of them, or on an error none."""
        rows = (
            (
                _key(text),
                entry.vector.astype(np.float32).tobytes(),
                entry.tokens,
                entry.windows,
                entry.truncated,
            )
            for text, entry in entries.items()
        )
        with self._mended(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _mended(self) -> Iterator[None]:
        """Tell SQLite's errors as a person would need them."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"the cache {self.file} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise SettingError(
                f"the cache {self.file} is damaged ({error}); delete that file, it will be made anew"
            ) from None


def _key(text: Key) -> bytes:
    if isinstance(text, str):
        return hashlib.blake2b(text.encode(), digest_size=20).digest()
    first, second = (part.encode() for part in text)
    border = len(first).to_bytes(16)  # "a" with "bc" is another pair than "ab" with "c"
    return hashlib.blake2b(first + second, digest_size=20, salt=border, person=b"pair").digest()
