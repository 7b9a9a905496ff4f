"""`classify` when any one call of the system fails, or its cache is damaged. Each test names its fault."""

import random
import sqlite3
from contextlib import closing

import pytest

from failing import FAULTS, TOLD, fault

ROWS = "id,글\n" + "".join(f"{number},the old sea and rain {number % 5}\n" for number in range(12))
LEFT = [".out.csv.sijo-id", "cache", "in.csv", "out.csv"]


@pytest.fixture
def classify(sijo_cli, tiny_model, monkeypatch):
    """`classify(folder)` labels its in.csv in two blocks, with a cache, or goes on with that."""
    from sijo.zeroshot.scorers.embedding import EmbeddingScorer

    monkeypatch.setattr(EmbeddingScorer, "rows", 8)

    def run(folder, *more):
        named = ("--column", "글", "--labels", "sea,land", "--model", tiny_model)
        kept = ("-o", folder / "out.csv", "--resume", "--cache", folder / "cache", "-q")
        return sijo_cli("classify", folder / "in.csv", *named, *kept, *more)

    return run


def fresh(folder):
    """A folder with the input alone."""
    folder.mkdir()
    (folder / "in.csv").write_text(ROWS, encoding="utf-8")
    return folder


@pytest.mark.timeout(900)  # some 220 commands of the first kind: 15 s on a machine with nothing else to do
@pytest.mark.parametrize("kind", FAULTS)
def test_any_call_that_fails_loses_nothing(classify, tmp_path, kind):
    # kills: half an output, an input that was touched, a cache put aside because the disk was full, an exit code
    # that blames the model for the disk, litter, and a run that cannot be gone on with
    assert classify(fresh(tmp_path / "want")).code == 0
    want = (tmp_path / "want" / "out.csv").read_bytes()
    with fault(0, FAULTS[kind]) as calls:
        assert classify(fresh(tmp_path / "counted")).code == 0
    names = calls()
    assert {"open", "readinto", "write", "fsync", "replace", "SQLite's execute"} <= set(names)
    for number in range(1, len(names) + 1) if kind == "full" else turns(names):
        folder = fresh(tmp_path / f"{number}")
        with fault(number, FAULTS[kind]) as calls:
            ran = classify(folder)
        call = f"{kind} at {number}: {calls()[number - 1 : number]}"
        assert calls()[:number] == names[:number]
        if names[number - 1] == "mkdir" and ran.code == 0:  # of a folder that is there
            assert (folder / "out.csv").read_bytes() == want, call
            continue
        code, words = TOLD[kind]
        told = "disk is full" if names[number - 1].startswith("SQLite") and code == 74 else words
        assert "warning" not in ran.err, call
        assert ran.code == code, (call, names[number - 3 : number + 2], ran.err)
        ran.must_say(code, told)
        assert (folder / "in.csv").read_text(encoding="utf-8") == ROWS, call
        assert not (folder / "out.csv").exists() or (folder / "out.csv").read_bytes() == want, call
        again = classify(folder)
        assert again.code == 0 and again.err == "", (call, again.err)
        assert (folder / "out.csv").read_bytes() == want, call
        assert sorted(path.name for path in folder.iterdir()) == LEFT, call
        assert len(list((folder / "cache").iterdir())) == 1, call


def turns(names):
    """The first and the last call of each stretch of like calls: where one kind of fault may be told otherwise."""
    last = len(names)
    return [
        n for n in range(1, last + 1) if n in (1, last) or names[n - 2] != names[n - 1] or names[n] != names[n - 1]
    ]


def test_a_damaged_cache_changes_no_score(classify, tmp_path):
    # kills: scores of vectors in which a bit was flipped, with exit code 0 (4 of 8 trials before)
    assert classify(fresh(tmp_path / "want"), "--all-scores").code == 0
    want = (tmp_path / "want" / "out.csv").read_bytes()
    [cache] = (tmp_path / "want" / "cache").iterdir()
    told = 0
    for seed in range(16):
        chance, content = random.Random(seed), bytearray(cache.read_bytes())
        used = [place for place, byte in enumerate(content) if byte]  # most of a small database is empty
        for place in chance.sample(used, 40):
            content[place] ^= 1 << chance.randrange(8)
        folder = fresh(tmp_path / f"{seed}")
        (folder / "cache").mkdir()
        (folder / "cache" / cache.name).write_bytes(content)
        ran = classify(folder, "--all-scores")
        assert ran.code == 0, ran.err
        assert (folder / "out.csv").read_bytes() == want
        told += "computed again" in ran.err and "1 warning" in ran.err
    assert told > 8


def test_a_bit_flipped_in_each_vector_changes_no_score(classify, tmp_path):
    # kills: a row that is not as it was kept, believed because the file around it is whole
    assert classify(fresh(tmp_path / "run")).code == 0
    want = (tmp_path / "run" / "out.csv").read_bytes()
    [cache] = (tmp_path / "run" / "cache").iterdir()
    with closing(sqlite3.connect(cache)) as database:
        [[table]] = database.execute("SELECT name FROM sqlite_master")
        rows = database.execute(f"SELECT * FROM {table}").fetchall()
    content = bytearray(cache.read_bytes())
    for row in rows:
        vector = max((value for value in row if isinstance(value, bytes)), key=len)
        place = content.index(vector)
        content[place : place + len(vector)] = bytes(byte ^ 64 for byte in vector)
    cache.write_bytes(content)
    (tmp_path / "run" / "out.csv").unlink()
    ran = classify(tmp_path / "run")
    assert ran.code == 0 and f"{len(rows)} results were damaged" in ran.err, ran.err
    assert (tmp_path / "run" / "out.csv").read_bytes() == want


def test_a_damaged_cache_is_an_error_where_warnings_are(classify, tmp_path):
    # kills: --strict that ends at the damage each time, because it ends before that is mended
    assert classify(fresh(tmp_path / "run")).code == 0
    [cache] = (tmp_path / "run" / "cache").iterdir()
    cache.write_bytes(b"broken" * 1000)
    (tmp_path / "run" / "out.csv").unlink()
    classify(tmp_path / "run", "--strict").must_say(3, "cannot be read", "an error by --strict")
    assert classify(tmp_path / "run", "--strict").code == 0
