"""No file outside of a folder is opened. Each test names the fault it is to catch."""

import errno
import os
from itertools import count
from pathlib import Path

import pytest

from sijo.errors import CheckpointError, RefusedError
from sijo.files.manifest import digests
from sijo.files.opener import inside
from sijo.files.paths import present

NAMES_THAT_LEAD_OUT = ["../x", "a/../../x", "/etc/hostname", "..", "..\\x", "a\\b", "a\0b", "../model/config.json"]


@pytest.mark.parametrize("name", NAMES_THAT_LEAD_OUT)
def test_names_that_lead_out(saved, name):
    # kills: a path that is joined before it is looked at
    with pytest.raises(RefusedError, match="outside of it"):
        inside(saved, name)


@pytest.mark.parametrize("to", ["/etc/hostname", "../secret", "../model-two/secret", "circle", "/dev/zero"])
def test_links_that_lead_out(saved, to):
    # kills: a name that is judged without following its links; the folder's name as a mere prefix
    (saved.parent / "secret").write_text("secret")
    (saved.parent / "model-two").mkdir()
    (saved / "circle").symlink_to("circle")
    (saved / "link").symlink_to(to)
    with pytest.raises(RefusedError, match="outside of it"):
        present(saved, "link")


def test_a_linked_folder_is_a_way_out_too(saved):
    # kills: a look at the last part of a name only
    (saved / "deep").symlink_to("/etc")
    with pytest.raises(RefusedError, match="outside of it"):
        present(saved, "deep/hostname")


def test_links_that_stay_inside(saved, monkeypatch):
    # kills: a guard that refuses every link, or every folder that is given in a relative or linked way
    (saved / "link").symlink_to("config.json")
    (saved.parent / "other-way").symlink_to("model")
    assert present(saved, "link").path == saved / "link"
    assert present(saved.parent / "other-way", "config.json")
    assert present(saved, "nothing") is None and present(saved, "config.json/x") is None
    monkeypatch.chdir(saved)
    assert present(Path(), "1_Pooling/config.json") and inside(Path(), "") == Path()


def test_the_hub_cache_may_link_to_its_own_blobs_and_nowhere_else(tmp_path):
    # kills: a guard that breaks the Hub's cache, and one that lets a snapshot read all the machine
    snapshot = tmp_path / "models--a--b/snapshots/0123"
    snapshot.mkdir(parents=True)
    for blob in ("models--a--b/blobs/1", "models--a--c/blobs/1", "models--a--b/refs/main"):
        (tmp_path / blob).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / blob).write_text("{}")
    (snapshot / "good").symlink_to("../../blobs/1")
    (snapshot / "other").symlink_to("../../../models--a--c/blobs/1")
    (snapshot / "refs").symlink_to("../../refs/main")
    (tmp_path / "models--a--b/blobs/2").symlink_to("/etc/hostname")
    (snapshot / "through").symlink_to("../../blobs/2")
    assert present(snapshot, "good").read_bytes(9) == b"{}"
    for name in ("other", "refs", "through", "../../blobs/1"):
        with pytest.raises(RefusedError, match="outside of it"):
            present(snapshot, name)
    elsewhere = tmp_path / "models--a--b/models/0123"  # the exception is for snapshots alone
    snapshot.parent.rename(elsewhere.parent)
    for _ in range(2):
        with pytest.raises(RefusedError, match="outside of it"):
            present(elsewhere, "good")
        snapshot.parent.mkdir(exist_ok=True)  # nor for what only stands beside some


def test_only_ordinary_files_are_present(saved):
    # kills: a pipe that is opened and waited on for ever, and a folder taken for a file
    os.mkfifo(saved / "pipe")
    for name in ("pipe", "1_Pooling", ""):
        with pytest.raises(RefusedError, match="in place of a file"):
            present(saved, name)
    with pytest.raises(RefusedError, match="pipe"):
        digests(saved)


def test_what_is_no_file_is_not_even_opened(saved, monkeypatch):
    # kills: a device that is set going by a look at it
    os.mkfifo(saved / "pipe")
    opened, real = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **how: opened.append(path) or real(path, *args, **how))
    with pytest.raises(RefusedError, match="in place of a file"):
        present(saved, "pipe")
    assert opened == [saved]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("trick", ["pipe", "link", "folder", "linked folder", "gone"])
def test_what_is_put_there_once_it_was_looked_at(saved, tmp_path, monkeypatch, trick):
    # kills: a name that is judged and then opened, by which time it is another file
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/config.json").write_text("secret")
    name = "1_Pooling/config.json" if trick == "linked folder" else "config.json"
    looked_at, real = name.partition("/")[0], os.stat

    def stat(path, **how):
        found = real(path, **how)
        if path == looked_at and not (saved / "moved").exists():
            (saved / path).rename(saved / "moved")
            match trick:
                case "pipe":
                    os.mkfifo(saved / path)
                case "link":
                    (saved / path).symlink_to(tmp_path / "secret/config.json")
                case "folder":
                    (saved / path).mkdir()
                case "linked folder":
                    (saved / path).symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(os, "stat", stat)
    if trick in ("gone", "linked folder"):  # the way to the file has gone
        assert present(saved, name) is None
    else:
        with pytest.raises((RefusedError, CheckpointError)):
            present(saved, name)


@pytest.mark.parametrize(
    "number, told",
    [
        (errno.EIO, OSError),
        (errno.ENOMEM, OSError),
        (errno.EMFILE, OSError),
        (errno.EACCES, CheckpointError),
        (errno.EPERM, CheckpointError),
        (errno.ENAMETOOLONG, CheckpointError),
    ],
)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_disk_that_fails_is_not_the_file_s_fault(saved, monkeypatch, number, told, call):
    # kills: a sound model called damaged, and a sound checkpoint of a run put aside, because the disk or the system
    # failed for a moment
    calls, real = count(1), os.open

    def failing(*args, **kwargs):
        if next(calls) == call:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(told, match=os.strerror(number)):
        present(saved, "1_Pooling/config.json")
