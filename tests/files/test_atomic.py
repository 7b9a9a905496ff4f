"""Files and folders that are whole or absent. Each test names the fault it is to catch."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sijo.errors import SettingError
from sijo.files import atomic
from sijo.files.atomic import whole_folder
from sijo.files.manifest import digests, verify

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "1_Pooling/config.json": b"[]"}


def fill(folder, mark=b""):
    """Write the files of a small checkpoint, one of them marked."""
    for name, content in FILES.items():
        if not (folder / name).parent.is_dir():
            (folder / name).parent.mkdir()
        (folder / name).write_bytes(content + mark * (name == "model.safetensors"))


def save(target, mark=b"", **settings):
    with whole_folder(target, **settings) as folder:
        fill(folder, mark)


def beside(target):
    """What stands beside a target: must be nothing."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_a_saved_folder_is_whole_and_says_so(saved):
    # kills: a manifest that leaves a file out, or lists itself, and a place that others may not read
    fields = json.loads((saved / "manifest.json").read_text())
    assert fields["format"] == 1 and fields["sijo"]
    assert {name: entry["bytes"] for name, entry in fields["files"].items()} == {
        name: len(content) for name, content in FILES.items()
    }
    verify(saved)
    assert {name: list(entry) for name, entry in digests(saved).items() if name != "manifest.json"} == {
        name: [entry["bytes"], entry["sha256"]] for name, entry in fields["files"].items()
    }
    assert beside(saved) == []
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o777 & ~umask


def test_an_existing_target_is_kept(saved, tmp_path):
    # kills: a model overwritten unasked, and a mistyped path that costs its owner everything
    before = digests(saved)
    with pytest.raises(SettingError, match="exists already"), whole_folder(saved):
        pytest.fail("the block was entered: an hour of training would be lost at its end")
    assert digests(saved) == before

    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/thesis").write_text("years")
    with pytest.raises(SettingError, match="other things"):
        save(tmp_path / "papers", overwrite=True)
    (tmp_path / "file").write_text("years")
    (tmp_path / "link").symlink_to(saved)
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(SettingError, match="link or a file"):
            save(tmp_path / name, overwrite=True)
        with pytest.raises(SettingError, match="exists already"):
            save(tmp_path / name)
    assert digests(saved) == before and (tmp_path / "papers/thesis").read_text() == "years"
    assert beside(saved) == []


def test_a_target_that_appears_meanwhile_is_kept(tmp_path):
    # kills: a check at the beginning alone
    with pytest.raises(SettingError, match="exists already"), whole_folder(tmp_path / "model") as folder:
        fill(folder)
        save(tmp_path / "model", b"other")
    assert (tmp_path / "model/model.safetensors").read_bytes().endswith(b"other")
    assert beside(tmp_path / "model") == []


def test_overwriting_replaces_all(saved):
    # kills: a mixture of the old folder and the new, and an old one left beside it
    (saved / "old.txt").write_text("of the old one")
    save(saved, b"new", overwrite=True)
    verify(saved)
    assert not (saved / "old.txt").exists() and beside(saved) == []
    assert (saved / "model.safetensors").read_bytes().endswith(b"new")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_no_trace(saved, failure):
    # kills: half a folder put in place by a `finally`
    before = digests(saved)
    for target in (saved, saved.parent / "another"):
        with pytest.raises(failure), whole_folder(target, overwrite=True) as folder:
            (folder / "config.json").write_text("{}")
            raise failure
    assert digests(saved) == before and beside(saved) == []


# Runs one save with overwrite in each of many forked processes. In the n-th, the n-th thing that touches
# the disk does not happen: the process is killed there, or told that the disk is full.
STEPS = """
import fcntl, json, os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[4]]
from test_atomic import fill, save
from sijo.files import atomic
from sijo.files.manifest import verify

target, how, old = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "old"
import shutil
DISK = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open", "fsync")

def child(stop):
    if old:
        save(target, b"old")
    left = [stop]
    def touch(event, arguments):
        if event not in DISK or (how == "full" and (
            event in ("os.remove", "os.rmdir") or event == "open" and not arguments[2] & os.O_CREAT
        )):
            return
        left[0] -= 1
        if left[0] == 0:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(28, "No space left on device")
    fsync = os.fsync
    def watched(handle):
        touch("fsync", ())
        fsync(handle)
    os.fsync = watched
    sys.addaudithook(touch)
    try:
        save(target, b"new", overwrite=True)
    except OSError as error:
        os._exit(3 if error.errno == 28 else 4)
    os._exit(0 if left[0] > 0 else 5)

for stop in range(1, 200):
    if (pid := os.fork()) == 0:
        try:
            child(stop)
        finally:
            os._exit(9)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    litter = sorted(path.name for path in target.parent.iterdir() if path != target)
    state = "absent"
    if target.exists():
        try:
            verify(target)
            names = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
            assert names == {"config.json", "model.safetensors", "1_Pooling/config.json", "manifest.json"}
            state = (target / "model.safetensors").read_bytes()[-3:].decode()
        except Exception as error:
            state = f"BROKEN: {error!r}"
    # a kill between two renames leaves the old one under another name; the next save puts it back first
    after = state
    if state == "absent":
        try:
            with atomic.whole_folder(target):
                after = "absent"
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        except Exception as error:
            verify(target)
            after = (target / "model.safetensors").read_bytes()[-3:].decode()
    save(target, b"end", overwrite=True)
    verify(target)
    last = sorted(path.name for path in target.parent.iterdir())
    print(json.dumps([stop, code, state, after, litter, last]), flush=True)
    shutil.rmtree(target)
    if code == 0:
        break
"""


def steps(tmp_path, how, old):
    """What came of each step: (step, exit code, target then, target after mending, beside it, at the end)."""
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-c", STEPS, tmp_path / "runs/model", how, old, Path(__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("old", ["old", "none"])
def test_kill_9_at_every_step(tmp_path, old):
    # kills: a write into the target, a rename before the manifest, the old one removed before the new stands,
    # an old one lost when killed between two renames, leftovers that stay
    told = steps(tmp_path, "kill", old)
    *killed, (_, last, state, *_) = told
    assert last == 0 and state == "new"
    assert len(killed) > 15 and {code for _, code, *_ in killed} == {-signal.SIGKILL}
    before = "old" if old == "old" else "absent"
    for step, _, state, after, _, end in killed:
        assert state in (before, "new", "absent"), (step, state)
        assert after in (before, "new"), (step, after)
        assert end == ["model"], step  # no leftover outlives the next save
    assert {after for _, _, _, after, *_ in killed} >= {before}
    assert sum(state == "absent" for _, _, state, *_ in killed) <= (1 if old == "old" else 99)
    assert any(litter for *_, litter, _ in killed)  # there was something to clear away


@pytest.mark.parametrize("old", ["old", "none"])
def test_a_full_disk_at_every_step(tmp_path, old):
    # kills: an old target lost to a failed save, an error swallowed or turned into another, litter on a full disk
    *failed, (_, last, state, *_) = steps(tmp_path, "full", old)
    assert last == 0 and state == "new"
    assert len(failed) > 10
    assert sum(code == 5 for _, code, *_ in failed) <= 2  # a parent that is there already; the old one's last name
    for step, code, state, _, litter, end in failed:
        assert code in (3, 5), step  # the OSError itself came out
        if code == 3:
            assert state in (("old",) if old == "old" else ("absent", "new")), (step, state)
            assert litter == [], step
        assert end == ["model"], step


def test_a_disk_that_is_full(small_disk):
    # kills: the same, with the kernel's own error
    target = small_disk("300k") / "model"
    save(target, b"old")
    with pytest.raises(OSError, match="No space left") as caught, whole_folder(target, overwrite=True) as folder:
        (folder / "model.safetensors").write_bytes(bytes(400_000))
    assert caught.value.errno == errno.ENOSPC
    verify(target)
    assert (target / "model.safetensors").read_bytes().endswith(b"old") and beside(target) == []


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    # kills: leftovers told by their name alone, and a dead one's mistaken for a living one's
    target = tmp_path / "model"
    with whole_folder(target) as living:
        (living / "config.json").write_text("{}")
        dead = tmp_path / f".model.{'0' * 8}.part"
        dead.mkdir()
        (dead / "half").write_text("")
        others = [
            tmp_path / ".model.part",
            tmp_path / ".model.two.01234567.part",
            tmp_path / ".model.0123456g.part",
        ]
        for other in others:
            other.mkdir()
        link = tmp_path / f".model.{'1' * 8}.part"
        link.symlink_to(tmp_path / ".model.part")
        save(target, b"second")
        assert living.exists() and not dead.exists()
        assert all(other.exists() for other in others) and link.is_symlink()
        (target / "config.json").rename(tmp_path / "away")  # make room, so that the first may end
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        target.rmdir()
    verify(target)
    assert digests(target).keys() == {"config.json", "manifest.json"}


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path, monkeypatch):
    # kills: a power cut that leaves the name without the bytes
    done = []
    real_sync, real_rename = atomic.sync, Path.rename
    monkeypatch.setattr(atomic, "sync", lambda path: (done.append(path.name), real_sync(path)))
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append("rename"), real_rename(path, to)))
    save(tmp_path / "model")
    at = done.index("rename")
    assert {"config.json", "model.safetensors", "1_Pooling", "manifest.json"} < set(done[:at])
    assert done[at - 1].endswith(".part") and done[at + 1 :] == [tmp_path.name]
