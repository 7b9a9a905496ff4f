"""Files elsewhere: named by patterns, copied with patience, told without keys."""

import pytest

from sijo.errors import SettingError
from sijo.files import urls
from sijo.files.inputs.joined_tables import open_tables
from sijo.files.inputs.sources import matching

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(urls, "SECONDS", 0.0)


@pytest.fixture
def mail():
    """Two tables in a store of this process."""
    system = fsspec.filesystem("memory")
    for name, rows in (("b.csv", "text,id\nthe land,2\n"), ("a.csv", "text,id\n바다,1\n")):
        system.pipe_file(f"/mail/{name}", rows.encode())
    yield "memory://mail"
    system.rm("/mail", recursive=True)


def test_patterns_are_found_elsewhere_in_order(mail):
    # kills: files in the order of a store, a pattern taken for a name, one that fits nothing taken for no input
    assert matching([f"{mail}/*.csv"]) == ["memory:///mail/a.csv", "memory:///mail/b.csv"]
    with pytest.raises(SettingError, match="no file fits the pattern"):
        matching([f"{mail}/*.parquet"])


def test_tables_elsewhere_are_read_as_those_here(mail, tmp_path):
    # kills: the name of a copy told as the file's, a copy that stays behind, one that is gone before it is read
    joined = open_tables([f"{mail}/*.csv"])
    (block,) = joined.blocks()
    assert block.texts == ["바다", "the land"]
    assert block.columns["file"].to_pylist() == ["memory:///mail/a.csv", "memory:///mail/b.csv"]
    alone = open_tables([f"{mail}/a.csv"])
    folder = alone.path.parent
    assert alone.name == "memory://mail/a.csv" and [block.texts for block in alone.blocks()] == [["바다"]]
    del alone
    assert not folder.exists()


def test_what_fails_for_a_moment_is_tried_again(mail):
    # kills: an hour's work that ends because a store was busy once; a file that is not there, tried three times
    calls = []

    def busy(error):
        calls.append(error)
        if len(calls) < 3:
            raise error
        return "done"

    assert urls.patiently(lambda: busy(TimeoutError("slow down")), "s3://a/b") == "done"
    calls.clear()
    with pytest.raises(FileNotFoundError):
        urls.patiently(lambda: busy(FileNotFoundError("gone")), "s3://a/b")
    assert len(calls) == 1
    with pytest.raises(OSError, match="no more"):
        urls.patiently(lambda: (_ for _ in ()).throw(RuntimeError("no more")), "s3://a/b")


def test_no_key_is_told(monkeypatch):
    # kills: a password or a signature in a message, a manifest or a log
    url = "ftp://me:hunter2@host/a.csv?sig=abc#x"
    with pytest.raises(OSError, match=r"ftp://host/a\.csv") as told:
        urls.patiently(lambda: (_ for _ in ()).throw(ValueError(f"cannot open {url}")), url)
    assert "hunter2" not in str(told.value) and "abc" not in str(told.value)
    with pytest.raises(SettingError, match="nosuch://host/a cannot be reached"):
        urls.file_system("nosuch://me:hunter2@host/a")
