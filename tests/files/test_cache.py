"""A cache that is damaged, torn, foreign or another model's never answers. Each test names its fault."""

import random
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing, suppress
from hashlib import blake2b, shake_128
from runpy import run_path

import pytest

from sijo.errors import SijoWarning
from sijo.files.cache import SqliteCache

COLUMNS = "vector BLOB, tokens INTEGER"
FINGERPRINT = "windows-" + 64 * "a"
ROWS = 12


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nothing here is about the disk itself, and hundreds of files brought to it take minutes."""
    real = sqlite3.connect

    def connect(*args, **settings):
        database = real(*args, **settings)
        with suppress(sqlite3.DatabaseError, UnicodeDecodeError):
            database.execute("PRAGMA synchronous = OFF")
        return database

    monkeypatch.setattr(sqlite3, "connect", connect)


def opened(folder, **others):
    """A cache, and what is warned of when it is used."""
    return SqliteCache(folder, **{"fingerprint": FINGERPRINT, "columns": COLUMNS} | others)


def rows(count=ROWS, *, mark=b""):
    """What is computed: by key a few hundred bytes, one row of 9,000, and a number."""
    keys = [blake2b(b"%d" % number, digest_size=20).digest() for number in range(count)]
    size = {0: 9_000}
    return {key: (shake_128(mark + key).digest(size.get(n, 256)), n - 1) for n, key in enumerate(keys)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a cache that holds all rows."""
    cache = opened(tmp_path_factory.mktemp("whole"))
    cache.put(rows())
    return cache.file.read_bytes()


def spoiled(folder, content):
    """A folder whose cache is this."""
    folder.mkdir()
    (folder / f"{FINGERPRINT[:32]}.sqlite").write_bytes(content)
    return folder


def used(folder):
    """What a run gets from a cache that lacks nothing but what is damaged, and what it was told."""
    want, got = rows(), {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cache = opened(folder)
        for part in (list(want)[::2], list(want)[1::2]):
            known = cache.get(part)
            cache.put({key: want[key] for key in part if key not in known})
            got |= known
        rest = cache.get(list(want))
        cache.put({key: want[key] for key in want if key not in rest})
        assert cache.get(list(want)) == want
    assert got.items() <= want.items(), "a row that is not as it was kept"
    return got, [str(warning.message) for warning in told]


def flipped(raw, chance, *, bits, within=None):
    """Some bytes with so many bits flipped anywhere."""
    content = bytearray(raw)
    for _ in range(bits):
        content[chance.randrange(within or len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def test_bits_flipped_anywhere_change_no_row(tmp_path, whole):
    # kills: a vector or a count that a disk changed, served as if it were the model's; a trace of SQLite's,
    # whose sentence about a damaged table is no UTF-8 itself
    lost = 0
    for seed in range(200):
        chance = random.Random(seed)
        content = flipped(whole, chance, bits=(1, 2, 40)[seed % 3], within=(None, 200)[seed // 3 % 2])
        got, told = used(spoiled(tmp_path / str(seed), content))
        lost += len(got) < ROWS
        assert all("computed again" in sentence for sentence in told), told
    assert lost > 60  # else they hit nothing


def test_a_bit_flipped_in_any_letter_of_the_table_s_form(tmp_path, whole):
    # kills: columns of other names or types read as ours; a trace by Python's sqlite3, which cannot read SQLite's
    # own sentence about letters that are no UTF-8
    begin = whole.index(b"CREATE TABLE")
    for at in range(begin, whole.index(b"WITHOUT ROWID") + 13, 4):
        for bit in (1, 128):
            content = bytearray(whole)
            content[at] ^= bit
            got, told = used(spoiled(tmp_path / f"{at}-{bit}", content))
            assert got == {} and len(told) == 1 and "cannot be read" in told[0]


def test_damaged_rows_are_counted_told_once_and_kept_anew(tmp_path, whole):
    # kills: a warning for each group of texts, a count of the first group alone, rows damaged for ever
    content = bytearray(whole)
    for number in (1, 2, 5):
        [vector, _] = list(rows().values())[number]
        content[whole.index(vector[:100]) + 50] ^= 8
    folder = spoiled(tmp_path / "cache", content)
    got, told = used(folder)
    assert len(got) == ROWS - 3
    assert len(told) == 1 and "3 results were damaged" in told[0] and "computed again" in told[0]
    assert used(folder) == (rows(), [])


def of_sqlite(*script):
    def build(tmp_path):
        with closing(sqlite3.connect(tmp_path / "other")) as database:
            for sentence in script:
                database.execute(sentence)
            database.commit()
        return (tmp_path / "other").read_bytes()

    return build


OLD = f"CREATE TABLE kept (key BLOB PRIMARY KEY, {COLUMNS}) WITHOUT ROWID"
FOREIGN = {
    "no database": lambda _: b"not a database at all, but long enough to be read as one" * 100,
    "a line": lambda _: b"three short lines\n",
    "zeros": lambda _: bytes(8192),
    "of an earlier sijo": of_sqlite(OLD, "INSERT INTO kept VALUES (x'00', x'01', 2)"),
    "another program's": of_sqlite("CREATE TABLE notes (id INTEGER)", "INSERT INTO notes VALUES (1)"),
    "a view": of_sqlite("CREATE TABLE t (a)", "CREATE VIEW kept AS SELECT a AS key, a AS vector FROM t"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_put_aside(tmp_path, kind):
    # kills: somebody's file deleted or written to, a table of an older form read as if it were this one's, an
    # error that a person has to mend by hand
    content = FOREIGN[kind](tmp_path)
    folder = spoiled(tmp_path / "cache", content)
    got, told = used(folder)
    assert got == {} and len(told) == 1
    aside = folder / f"{FINGERPRINT[:32]}.sqlite.aside"
    assert aside.read_bytes() == content
    assert aside.name in told[0] and "cannot be read" in told[0]
    assert used(folder) == (rows(), [])


def test_two_broken_files_are_both_kept(tmp_path):
    # kills: the file put aside first lost to the second
    folder = spoiled(tmp_path / "cache", b"first")
    file = folder / f"{FINGERPRINT[:32]}.sqlite"
    used(folder)
    file.write_bytes(b"second")
    used(folder)
    assert sorted(path.read_bytes() for path in folder.glob("*.aside")) == [b"first", b"second"]


def test_every_prefix_is_found(tmp_path, whole):
    # kills: a file cut short that is taken for whole, or that nobody can use any more
    lengths = {*range(0, 120, 7), *range(0, len(whole), len(whole) // 60), *range(0, len(whole), 4096)}
    for length in sorted(lengths):
        folder = spoiled(tmp_path / str(length), whole[:length])
        got, told = used(folder)
        if length:  # a file of no bytes is one that was just begun
            assert got == {} or told, length
            aside = folder / f"{FINGERPRINT[:32]}.sqlite.aside"
            if aside.exists():  # else the last page alone is short, and the rows in it are damaged
                assert aside.read_bytes() == whole[:length]
            else:
                assert length > len(whole) - 4096
        assert used(folder) == (rows(), []), length


def test_a_journal_goes_with_its_database(tmp_path, whole):
    # kills: the journal of a broken file played back into the fresh one
    folder = spoiled(tmp_path / "cache", b"broken" * 1000)
    journal = folder / f"{FINGERPRINT[:32]}.sqlite-journal"
    journal.write_bytes(b"\0its journal")  # which SQLite itself takes for one that is done with
    used(folder)
    assert not journal.exists()
    assert (folder / f"{FINGERPRINT[:32]}.sqlite.aside-journal").read_bytes() == b"\0its journal"


def test_another_model_s_file_under_this_one_s_name(tmp_path):
    # kills: what one model said served for another's because a file was copied to its name
    other = opened(tmp_path / "other", fingerprint="windows-" + 64 * "b")
    other.put(rows(mark=b"other"))
    assert used(spoiled(tmp_path / "cache", other.file.read_bytes()))[0] == {}
    longer = opened(tmp_path / "longer", fingerprint=FINGERPRINT + "b")  # of which the name shows as much
    longer.put(rows(mark=b"other"))
    got, told = used(spoiled(tmp_path / "copied", longer.file.read_bytes()))
    assert got == {} and f"{ROWS} results were damaged" in told[0]


def test_a_row_under_another_row_s_key(tmp_path, whole):
    # kills: a digest of the values alone
    cache = opened(spoiled(tmp_path / "cache", whole))
    with closing(sqlite3.connect(cache.file)) as database:
        first, second, *_ = sorted(rows())
        database.execute("DELETE FROM kept WHERE key = ?", [first])
        database.execute("UPDATE kept SET key = ? WHERE key = ?", [first, second])
        database.commit()
    with pytest.warns(SijoWarning, match="1 result was damaged"):
        assert cache.get([first, second]) == {}


@pytest.mark.parametrize("value", ["tokens + 1", "CAST(tokens AS BLOB)", "CAST(tokens AS BLOB) || x'00'", "NULL"])
@pytest.mark.parametrize("digest", ["digest", "NULL", "x''"])
def test_a_number_of_another_value_or_type(tmp_path, whole, value, digest):
    # kills: a digest of the blobs alone, or of numbers as text; a digest that may be absent
    cache = opened(spoiled(tmp_path / "cache", whole))
    with closing(sqlite3.connect(cache.file)) as database:
        database.execute(f"UPDATE kept SET tokens = {value}, digest = {digest}")
        database.commit()
    with pytest.warns(SijoWarning, match=f"{ROWS} results were damaged"):
        assert cache.get(list(rows())) == {}


def test_a_cache_in_use_is_put_aside_by_another(tmp_path, whole):
    # kills: what one process computes lost, or kept in the broken file, since another has moved that away
    folder = spoiled(tmp_path / "cache", whole)
    ours, want = opened(folder), rows()
    assert ours.get(list(want)) == want
    content = bytearray(whole)
    content[4096:] = bytes(len(whole) - 4096)
    ours.file.write_bytes(content)
    with pytest.warns(SijoWarning, match="cannot be read"):
        assert opened(folder).get(list(want)) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.put(want)  # it is told once, by whoever found it
    assert opened(folder).get(list(want)) == want == ours.get(list(want))


@pytest.mark.parametrize("code", ["BUSY", "FULL", "IOERR", "IOERR_FSYNC", "CANTOPEN", "READONLY_DIRECTORY", "PERM"])
def test_what_the_system_is_to_blame_for_is_no_damage(tmp_path, whole, code):
    # kills: a good file put aside because the disk is full, or another process is slow
    cache = opened(spoiled(tmp_path / "cache", whole))

    class Failing:
        def execute(self, *_):
            error = sqlite3.OperationalError("the system's sentence")
            error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{code}")
            raise error

        __enter__ = executemany = execute

        def __exit__(self, *_):
            pass

    database, cache._database = cache._database, Failing()
    for call in (lambda: cache.get(list(rows())), lambda: cache.put(rows())):
        with pytest.raises(OSError, match="cannot be used: the system's sentence"):
            call()
    cache._database = database
    assert cache.get(list(rows())) == rows()
    assert [path.name for path in cache.file.parent.iterdir()] == [cache.file.name]


PROCESS = """
import sys
from pathlib import Path
from sijo.files.cache import SqliteCache

def rows():
    return {b"key %d" % number: (b"value %d" % number * 50, number) for number in range(60)}

def opened(folder):
    return SqliteCache(Path(folder), fingerprint="a" * 64, columns="vector BLOB, tokens INTEGER")

def work(folder):
    cache, want = opened(folder), rows()
    for start in range(0, 60, 5):
        part = list(want)[start : start + 5]
        known = cache.get(part)
        assert known.items() <= want.items()
        cache.put({key: want[key] for key in part if key not in known})

if __name__ == "__main__":
    work(sys.argv[1])
"""


@pytest.mark.parametrize("damage", ["rows", "broken"])
def test_three_processes_on_one_cache(tmp_path, damage):
    # kills: a damaged row served to one of them, a file put aside twice, a process that fails because another moved
    # the file away
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    ours = run_path(str(script))
    cache = ours["opened"](tmp_path / "cache")
    cache.put(ours["rows"]())
    content = bytearray(cache.file.read_bytes())
    at = content.index(b"value 7") if damage == "rows" else 0
    content[at : at + 100] = bytes(100)
    cache.file.write_bytes(content)
    processes = [
        subprocess.Popen([sys.executable, script, tmp_path / "cache"], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = "".join(process.communicate()[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0, 0], told
    assert told.count("cannot be read") == (damage == "broken")
    assert len(list(cache.file.parent.glob("*.aside"))) == (damage == "broken")
    assert ("1 result was damaged" in told) == (damage == "rows")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = ours["opened"](tmp_path / "cache").get(list(ours["rows"]()))
    assert known.items() <= ours["rows"]().items()
    assert len(known) == 60 or damage == "broken"  # each kept what it lacked before the file was moved
