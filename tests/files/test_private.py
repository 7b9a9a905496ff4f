"""Modes that people set stay, what tells about texts is its user's alone, and no planted link is followed.

Each test names the fault it is to catch.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from sijo.data.corpus import SourceFile
from sijo.data.prepare_shards import prepare
from sijo.errors import SettingError, SijoError
from sijo.files.atomic import whole_file, whole_folder
from sijo.files.cache import SqliteCache
from sijo.files.json_files import write_json
from sijo.files.json_lines import JsonLinesFile
from sijo.files.output_job import OutputJob
from sijo.files.private import make_folder, open_file
from sijo.files.tables import RowBlock
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training.trackers import open_tracker

ANOTHER_USER = 4242
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user made")


@pytest.fixture(params=[0o022, 0o002, 0o000, 0o077], ids=oct)
def umask(request):
    """Each of the usual umasks, and none."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def modes(folder):
    """The modes of a folder and of all in it, told apart by whether they are folders."""
    return {(path.is_dir(), mode(path)) for path in (folder, *folder.rglob("*"))}


def write(path, content=b"new", **how):
    with whole_file(path, **how) as out:
        out.write(content)


BLOCK = RowBlock(0, 0, ["the sea"], pa.table({"text": ["the sea"]}), "csv")
ANSWERS = pa.table({"label": ["sea"]})


def job(output, **flags):
    return OutputJob(output, settings={}, **({"resume": False, "overwrite": False} | flags))


def run(output, **flags):
    with job(output, **flags) as work:
        work.write(BLOCK, ANSWERS)
        work.finish(1)


# --- modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o666, 0o400])
def test_a_file_keeps_the_mode_of_the_one_it_replaces(tmp_path, umask, old):
    # kills: 0600 that becomes 0644 by --overwrite, and a mode cut by the umask
    path, output = tmp_path / "a.json", tmp_path / "out.csv"
    write(path, b"old")
    run(output)
    for file in (path, output):
        assert mode(file) == 0o666 & ~umask
        file.chmod(old)
    write(path)
    run(output, overwrite=True)
    assert path.read_bytes() == b"new" and mode(path) == mode(output) == old
    assert mode(tmp_path / ".out.csv.sijo-id") == old
    write(path, private=True)
    assert mode(path) == 0o600


def test_a_link_gives_no_mode(tmp_path, umask):
    # kills: the mode of what a link leads to
    (tmp_path / "secret").touch(0o777)
    (tmp_path / "link").symlink_to("secret")
    write(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink() and mode(tmp_path / "link") == 0o666 & ~umask
    assert (tmp_path / "secret").read_bytes() == b""


def save(target, files=("config.json", "model.safetensors", "1_Pooling/config.json"), **how):
    with whole_folder(target, **how) as folder:
        assert mode(folder) == 0o700  # whoever looks on sees nothing before it is whole
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"{}")


def test_a_folder_keeps_the_modes_of_the_one_it_replaces(tmp_path, umask):
    # kills: a private model that anybody may read after `sijo.save(..., overwrite=True)`, whole or a file of it
    target = tmp_path / "model"
    save(target)
    assert modes(target) == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}
    for place, wanted in ((target, 0o750), (target / "1_Pooling", 0o700), (target / "config.json", 0o600)):
        place.chmod(wanted)
    save(target, overwrite=True)
    assert [mode(target / name) for name in ("", "1_Pooling", "config.json")] == [0o750, 0o700, 0o600]
    assert mode(target / "model.safetensors") == 0o666 & ~umask
    for path in target.rglob("*.*"):
        path.chmod(0o600)
    save(target, ("config.json", "model-00001-of-00002.safetensors"), overwrite=True)
    assert {mode(path) for path in target.iterdir() if path.is_file()} == {0o600}  # another name is no way out


def test_what_tells_about_texts_is_its_users_alone(tmp_path, umask, tiny_model):
    # kills: a cache, a corpus or blocks at work that another user may read
    SqliteCache(tmp_path / "deep" / "cache", fingerprint="ab", columns="n INTEGER").put({b"k": (1,)})
    assert modes(tmp_path / "deep" / "cache") == {(True, 0o700), (False, 0o600)}
    with job(tmp_path / "out.csv") as work:
        work.write(BLOCK, ANSWERS)
        assert modes(work.folder) == {(True, 0o700), (False, 0o600)}
    (tmp_path / "a.txt").write_text("The sea.")
    tokenizer = Tokenizer.load(tiny_model / "tokenizer.json", max_length=4)

    def look(progress):
        assert modes(tmp_path / ".corpus.preparing") == {(True, 0o700), (False, 0o600)}

    prepare([SourceFile(tmp_path / "a.txt")], tokenizer, tmp_path / "corpus", tell=look)
    assert modes(tmp_path / "corpus") == {(True, 0o700), (False, 0o600)}
    assert mode(tmp_path / ".corpus.sijo-id") == 0o600


def test_sqlite_gives_its_journal_the_mode(tmp_path, umask):
    # kills: a journal with the same content as the cache, open to all
    store = SqliteCache(tmp_path / "cache", fingerprint="ab", columns="n INTEGER")
    store._database.execute("BEGIN")
    store._database.execute("INSERT INTO kept VALUES (x'00', 1, x'00')")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert modes(tmp_path / "cache") == {(True, 0o700), (False, 0o600)}


def test_a_folder_of_the_users_keeps_its_mode_and_old_files_are_closed(tmp_path):
    # kills: a folder that a person shares for other things closed to them, and a file of an older sijo left open
    folder = tmp_path / "cache"
    folder.mkdir(0o755)
    (folder / "ab.sqlite").touch(0o644)
    SqliteCache(folder, fingerprint="ab", columns="n INTEGER")
    assert (mode(folder), mode(folder / "ab.sqlite")) == (0o755, 0o600)
    left = tmp_path / ".out.csv.sijo-run"  # its name is sijo's own
    left.mkdir(0o755)
    with job(tmp_path / "out.csv"):
        assert mode(left) == 0o700


def test_a_file_at_work_is_private_and_cannot_be_guessed(tmp_path, umask):
    # kills: what is half written open to all, under a name by process number that a link can wait under
    path, names = tmp_path / "a.json", set()
    for _ in range(3):
        with whole_file(path):
            [temporary] = tmp_path.glob("a.json.tmp-*")
            assert mode(temporary) == 0o600
            names.add(temporary.name)
        path.unlink()
    assert len(names) == 3 and not any(str(os.getpid()) == name.rpartition("-")[2] for name in names)
    assert all(len(name.rpartition("-")[2]) == 16 for name in names)


# --- links and strangers -------------------------------------------------------------------------


def plant(name, tmp_path, *, kind):
    """Lay something under a name that sijo will write, and give what must stay as it is."""
    victim = tmp_path / "victim"
    if kind == "folder":
        victim.mkdir()
    else:
        victim.write_bytes(b"precious")
    place = tmp_path / "work" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)
    return victim


def sqlite_cache(work):
    SqliteCache(work, fingerprint="ab", columns="n INTEGER").put({b"k": (1,)})


def lines(work):
    with JsonLinesFile(work / "metrics.jsonl", last_step=9) as file:
        file.write({"step": 1})


def corpus(work):
    texts = work.parent / "a.txt"
    texts.write_text("The sea.")
    model = Path(os.environ["TINY"])
    prepare([SourceFile(texts)], Tokenizer.load(model / "tokenizer.json", max_length=4), work / "corpus")


def tracked(work):
    with open_tracker("tensorboard", work, {}):
        pytest.fail("it was opened")


WRITERS = {
    "out.csv.tmp-": ("file", lambda work: run(work / "out.csv")),
    "out.csv.tmp-PID": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-id": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run": ("folder", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run/lock": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run/settings.json": ("file", lambda work: run(work / "out.csv", overwrite=True)),
    ".out.csv.sijo-run/chunk-00000000": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run/whole": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run/identity": ("file", lambda work: run(work / "out.csv")),
    ".out.csv.sijo-run/identity-beside": ("file", lambda work: run(work / "out.csv")),
    "ab.sqlite": ("file", sqlite_cache),
    "report.html": ("file", lambda work: write(work / "report.html")),
    "metrics.jsonl": ("file", lines),
    "config.json": ("file", lambda work: write_json(work / "config.json", {})),
    "model": ("folder", lambda work: save(work / "model", overwrite=True)),
    ".corpus.preparing": ("folder", corpus),
    ".corpus.preparing/seen": ("file", corpus),
    ".corpus.preparing/00000.tokens": ("file", corpus),
    ".corpus.sijo-id": ("file", corpus),
    "corpus": ("folder", corpus),
    "checkpoints": ("folder", lambda work: make_folder(work / "checkpoints")),
    "tensorboard": ("folder", tracked),
}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_planted_link(tmp_path, name, tiny_model, monkeypatch):
    # kills: a link under a name that sijo writes, by which it writes where another user wants it to
    monkeypatch.setenv("TINY", str(tiny_model))
    monkeypatch.setattr("sijo.training.trackers.check_tracker", lambda name: None)
    kind, act = WRITERS[name]
    victim = plant(name.replace("PID", str(os.getpid())), tmp_path, kind=kind)
    with suppress(SijoError):
        act(tmp_path / "work")
    if kind == "folder":
        assert list(victim.iterdir()) == [] and mode(victim) == 0o777 & ~_umask()
    else:
        assert victim.read_bytes() == b"precious" and victim.stat().st_nlink == 1


def _umask():
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    # kills: a pipe that is waited on for ever, and an error of the system that names no remedy
    make(tmp_path / "lock")
    with pytest.raises((SettingError, IsADirectoryError)):
        open_file(tmp_path / "lock", os.O_WRONLY | os.O_CREAT | os.O_APPEND, private=True)


@as_root
def test_what_another_user_made_is_not_used(tmp_path):
    # kills: answers that another user put into a cache, texts that they read there, a model they left half moved
    folder = tmp_path / "cache"
    folder.mkdir(0o777)
    os.chown(folder, ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(SettingError, match=r"belongs to another user, or is another's link.*folder of your own"):
        sqlite_cache(folder)
    (tmp_path / "mine").mkdir()
    link = tmp_path / "link"
    link.symlink_to("mine")
    sqlite_cache(link)  # a person's own link to another disk
    os.lchown(link, ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(SettingError, match=r"another's link"):
        sqlite_cache(link)
    (tmp_path / "mine" / "cd.sqlite").touch()
    os.chown(tmp_path / "mine" / "cd.sqlite", ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(SettingError, match=r"cd\.sqlite is a link, another user's or no file"):
        SqliteCache(tmp_path / "mine", fingerprint="cd", columns="n INTEGER")
    run_folder = tmp_path / ".out.csv.sijo-run"
    run_folder.mkdir()
    os.chown(run_folder, ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(SettingError, match=r"sijo-run is a link, another user's or no folder"):
        run(tmp_path / "out.csv")
    (tmp_path / "there.csv").symlink_to("victim.csv")
    os.lchown(tmp_path / "there.csv", ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(SettingError, match=r"is a link that another user made"):
        run(tmp_path / "there.csv")
    planted = tmp_path / f".model.{'0' * 16}.old"
    planted.mkdir()
    os.chown(planted, ANOTHER_USER, ANOTHER_USER)
    save(tmp_path / "model")
    assert planted.exists() and (tmp_path / "model" / "config.json").exists()


@as_root
def test_a_replaced_file_keeps_its_owner(tmp_path):
    # kills: a file of mode 0600 that its owner cannot read any more, since root replaced it
    path = tmp_path / "a.csv"
    write(path)
    os.chown(path, ANOTHER_USER, ANOTHER_USER + 1)
    path.chmod(0o640)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (ANOTHER_USER, ANOTHER_USER + 1, 0o640)


def test_a_group_that_cannot_be_kept_is_not_let_in_as_another(tmp_path, monkeypatch):
    # kills: what one group might read given to another
    path = tmp_path / "a.csv"
    write(path)
    path.chmod(0o660)
    real = os.fstat

    def another_group(handle):
        about = list(real(handle))
        about[5] += 1
        return os.stat_result(about)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr("sijo.files.private.os.fstat", another_group)
    write(path)
    monkeypatch.undo()
    assert mode(path) == 0o600


def test_leftovers_of_killed_runs_are_cleared_whatever_they_are_called(tmp_path):
    # kills: names that cannot be guessed by the one who clears up either
    folder = tmp_path / ".out.csv.sijo-run"
    folder.mkdir()
    for name in ("chunk-00000000.tmp-0123456789abcdef", "whole.tmp-77"):
        (folder / name).touch()
    dead = [tmp_path / f".model.{digits}.part" for digits in ("0" * 8, "1" * 16)]
    for place in dead:
        place.mkdir()
    with job(tmp_path / "out.csv"):
        assert not list(folder.glob("*.tmp-*"))
    save(tmp_path / "model")
    assert not any(place.exists() for place in dead)
