"""Results kept between runs: rows by a digest of what they were computed from, in one SQLite file.

SQLite keeps the file whole when a run is killed, and lets several runs use it at once. It does not see a bit that a
disk or a copy has flipped, so each row carries a digest of itself, and a row that is not as it was kept is dropped
and computed again. A file that is broken as a whole, or not of this form, is put aside, never deleted.

What is kept can tell about texts: the file is this user's alone (0600, and SQLite gives its journal the same mode),
and so is a folder made here. A folder that was there keeps its mode.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from sijo.errors import SettingError, warn
from sijo.files.atomic import alone
from sijo.files.private import FOLDER_OURS_ALONE, is_trusted, open_file

AT_ONCE = 500
"""Keys that are looked for in one query."""
DIGEST_BYTES = 8
"""Of a row's digest: damage goes unseen once in 2**64 rows. It takes 4 µs for a vector of 384 numbers, which SQLite
takes 30 to find; a CRC, which misses once in 2**32, takes 2."""
BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite adds to a database's name, and takes for a part of whatever database has that name later."""
ASIDE = ".aside"
NOT_DAMAGE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
)
"""Primary codes of SQLite that speak of the system, or of other processes, rather than of the file."""
DAMAGE = (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
"""Those of their kinds that do speak of the file."""
NOT_WRITABLE = (
    sqlite3.SQLITE_READONLY_DIRECTORY,
    sqlite3.SQLITE_READONLY_RECOVERY,
    sqlite3.SQLITE_READONLY_ROLLBACK,
    sqlite3.SQLITE_READONLY_CANTLOCK,
    sqlite3.SQLITE_READONLY_CANTINIT,
)
"""Read-only by the system. Without any of these, a file that was opened for writing is so by a damaged header."""

Row = tuple[Any, ...]
Result = TypeVar("Result")


class SqliteCache:
    """Rows of fixed columns by key.

    folder       where its file is; made if need be, and refused where it belongs to another user
    fingerprint  of what the rows depend on besides their key: it names the file and is in each row's digest, so
                 that results of two models are never mixed, whatever a file is called
    columns      names and SQLite's types, BLOB or INTEGER, of the columns beside the key, such as "vector BLOB,
                 tokens INTEGER"
    table        what the table is called, and
    key          its first column

    Warns, once for all that is found, of rows that were damaged, and of a file that was put aside.

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
        self._form = f"CREATE TABLE {table} ({key} BLOB PRIMARY KEY, {columns}, digest BLOB) WITHOUT ROWID"
        self._begun = blake2b(f"{fingerprint}\n{self._form}".encode(), digest_size=DIGEST_BYTES)
        if not os.path.lexists(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir(FOLDER_OURS_ALONE)
        if not folder.is_dir():
            raise SettingError(f"the cache {folder} is a file; name a folder")
        if not is_trusted(folder):
            raise SettingError(
                f"the cache {folder} belongs to another user, or is another's link: what is kept there could be "
                "read or changed by them; name a folder of your own"
            )
        self._open()
        self._sound(self._settle)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those keys that are known, each as it was kept."""
        rows: dict[bytes, Row] = {}
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), AT_ONCE):
            found = self._sound(partial(self._found, distinct[start : start + AT_ONCE]))
            whole = {key: tuple(row) for key, *row, digest in found if digest == self._digest(key, row)}
            if len(whole) < len(found):
                self._sound(self._sweep)
            rows |= whole
        return rows

    def _found(self, keys: Sequence[bytes]) -> list[Row]:
        marks = ",".join("?" * len(keys))
        query = f"SELECT * FROM {self._table} WHERE {self._key} IN ({marks})"  # noqa: S608
        return self._database.execute(query, keys).fetchall()

    def put(self, rows: Mapping[bytes, Sequence[Any]]) -> None:
        """Keep rows; all of them, or on an error none."""
        marks = ",".join("?" * (self._columns + 2))
        plain = {  # a boolean, and numpy's numbers, come back as an int
            key: [value if isinstance(value, bytes) else int(value) for value in row] for key, row in rows.items()
        }

        def insert() -> None:
            with self._database:
                self._database.executemany(
                    f"INSERT OR REPLACE INTO {self._table} VALUES ({marks})",  # noqa: S608
                    ((key, *row, self._digest(key, row)) for key, row in plain.items()),
                )

        self._sound(insert)

    def _digest(self, key: object, row: Sequence[object]) -> bytes:
        """What tells a row of this cache from any other, and from itself with a bit changed."""
        digest, rest = self._begun.copy(), list[object]()
        for value in (key, *row):
            if type(value) is bytes:
                digest.update(value)
            rest.append((len(value),) if type(value) is bytes else value)
        digest.update(repr(rest).encode())
        return digest.digest()

    def _open(self) -> None:
        with alone(self.file.parent):  # nobody puts it aside between the two calls
            os.close(open_file(self.file, os.O_RDWR | os.O_CREAT, private=True))
            self._about = self.file.stat()
            self._database = sqlite3.connect(self.file, timeout=60, check_same_thread=False)
        self._database.text_factory = bytes  # damage can make a text of a number, and one that is no UTF-8

    def _settle(self) -> None:
        """Make the table in a file that holds nothing yet; DatabaseError for one that holds anything else."""
        forms = [form for [form] in self._database.execute("SELECT sql FROM sqlite_master")]
        if not forms:
            self._database.execute(self._form.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        elif forms != [self._form.encode()]:
            raise sqlite3.DatabaseError("it holds other tables than this version of sijo keeps")

    def _sweep(self) -> None:
        """Drop every row that is not as it was kept, and tell how many; DatabaseError where more is amiss."""
        [[verdict]] = self._database.execute("PRAGMA integrity_check(1)")
        if verdict != b"ok":
            raise sqlite3.DatabaseError(" ".join(verdict.decode(errors="replace").split()))
        bad = []
        for key, *row, digest in self._database.execute(f"SELECT * FROM {self._table}"):  # noqa: S608
            if digest != self._digest(key, row):
                bad.append((key,))
        with self._database:
            self._database.executemany(f"DELETE FROM {self._table} WHERE {self._key} IS ?", bad)  # noqa: S608
        if bad:  # else another process has dropped them meanwhile
            many = "1 result was" if len(bad) == 1 else f"{len(bad):,} results were"
            warn(f"{many} damaged in the cache {self.file}, and dropped; what is needed of them is computed again")

    def _sound(self, work: Callable[[], Result]) -> Result:
        """What some work with the database gives; in a fresh one, where this one is broken.

        Raises OSError for what the system is to blame for.
        """
        try:
            return work()
        except UnicodeDecodeError:  # by Python's sqlite3, of a sentence of SQLite's that quotes damage
            self._put_aside("its table is damaged")
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._unusable(error) from None
            self._put_aside(str(error))
        try:
            self._settle()
            return work()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.DatabaseError) -> OSError:
        return OSError(f"the cache {self.file} cannot be used: {error}")

    def _put_aside(self, why: str) -> None:
        """Open a fresh file in place of a broken one, which is kept by another name; told, unless others did so."""
        with suppress(sqlite3.Error):
            self._database.close()
        aside = self.file.with_name(self.file.name + ASIDE)
        with alone(self.file.parent):
            is_there = self.file.exists() and os.path.samestat(self.file.stat(), self._about)
            if is_there:
                while os.path.lexists(aside):
                    aside = aside.with_name(aside.name + ASIDE)
                for more in (*BESIDE, ""):
                    with suppress(FileNotFoundError):
                        self.file.with_name(self.file.name + more).rename(aside.with_name(aside.name + more))
        self._open()
        if is_there:
            warn(
                f"the cache {self.file} cannot be read ({why}): it is kept as {aside.name}, and what it held is "
                "computed again; delete it, unless you need it for something else"
            )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error is the file's fault, or that of whoever put another one in its place."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code in DAMAGE or not (code in NOT_WRITABLE or code & 0xFF in NOT_DAMAGE)
