"""Results kept between runs: rows by a digest of what they were computed from, in one SQLite file.

SQLite keeps the file whole when a run is killed, and lets several runs use it at once.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sijo.errors import SettingError
from sijo.files.paths import present

AT_ONCE = 500
"""Keys that are looked for in one query."""


class SqliteCache:
    """Rows of fixed columns by key.

    folder       where its file is; made if need be
    fingerprint  of what the rows depend on besides their key: it names the file, so that results of two models
                 are never mixed
    columns      names and SQLite's types of the columns beside the key, such as "vector BLOB, tokens INTEGER"
    table        what the table is called, and
    key          its first column

    >>> import tempfile
    >>> store = SqliteCache(Path(tempfile.mkdtemp()), fingerprint="ab12", columns="length INTEGER")
    >>> store.put({b"a cat": (5,)})
    >>> store.get([b"a cat", b"a dog"])
    {b'a cat': (5,)}
    """

    def __init__(
        self, folder: Path, *, fingerprint: str, columns: str, table: str = "kept", key: str = "key"
    ) -> None:
        self.file = folder / f"{fingerprint[:32]}.sqlite"
        self._table, self._key, self._columns = table, key, columns.count(",") + 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise SettingError(f"the cache {folder} is a file; name a folder") from None
        present(folder, self.file.name)  # SQLite takes only a path, but no link out of the folder, and no pipe
        with self._mended():
            self._database = sqlite3.connect(self.file, timeout=60, check_same_thread=False)
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} ({key} BLOB PRIMARY KEY, {columns}) WITHOUT ROWID"
            )

    def get(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Any, ...]]:
        """The rows of those keys that are known."""
        rows: dict[bytes, tuple[Any, ...]] = {}
        distinct = list(dict.fromkeys(keys))
        with self._mended():
            for start in range(0, len(distinct), AT_ONCE):
                batch = distinct[start : start + AT_ONCE]
                marks = ",".join("?" * len(batch))
                query = f"SELECT * FROM {self._table} WHERE {self._key} IN ({marks})"  # noqa: S608
                rows |= {key: tuple(row) for key, *row in self._database.execute(query, batch)}
        return rows

    def put(self, rows: Mapping[bytes, Sequence[Any]]) -> None:
        """Keep rows; all of them, or on an error none."""
        marks = ",".join("?" * (self._columns + 1))
        with self._mended(), self._database:
            self._database.executemany(
                f"INSERT OR REPLACE INTO {self._table} VALUES ({marks})",  # noqa: S608
                ((key, *row) for key, row in rows.items()),
            )

    @contextmanager
    def _mended(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"the cache {self.file} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise SettingError(
                f"the cache {self.file} is damaged ({error}); delete that file, it will be made anew"
            ) from None
