"""Files that are as they were saved. Each test names the fault it is to catch."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from sijo.errors import CheckpointError, RefusedError
from sijo.files.manifest import verify

FILES = ("config.json", "model.safetensors", "1_Pooling/config.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("byte", [0, -1])
def test_a_flipped_bit_is_found_in_every_file(saved, name, byte):
    # kills: a digest of a part, and a manifest that is not looked at
    content = bytearray((saved / name).read_bytes())
    content[byte] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is not as it was saved.*SHA-256"):
        verify(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_absent_or_of_another_length_is_found(saved, name):
    # kills: a file that is looked at only when it is there
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=rf"{name} has {len(whole) - 1} bytes"):
        verify(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is absent"):
        verify(saved)


def test_a_folder_without_a_manifest_is_not_judged(tmp_path):
    # kills: a refusal of every model that was not saved by sijo
    (tmp_path / "config.json").write_text("{}")
    verify(tmp_path)


@pytest.mark.parametrize(
    "kind, words, content",
    [
        (CheckpointError, "whole JSON", "[" * 100_000),
        (CheckpointError, "whole JSON", '{"format": 1, "format": 1}'),
        (CheckpointError, "JSON object", "[1]"),
        (RefusedError, "format 2", '{"format": 2, "files": {}}'),
        (CheckpointError, "does not list", '{"format": 1}'),
        (CheckpointError, "does not list", '{"format": 1, "files": [3]}'),
        (CheckpointError, "does not list", '{"format": 1, "files": {"config.json": 2}}'),
        (RefusedError, "outside", '{"format": 1, "files": {"../secret": {"bytes": 6, "sha256": ""}}}'),
        (RefusedError, "pipe", '{"format": 1, "files": {"1_Pooling": {"bytes": 6, "sha256": ""}}}'),
    ],
)
def test_manifests_that_are_none(saved, kind, words, content):
    # kills: an error of Python's in place of ours, and a manifest as a way to have other files read
    (saved.parent / "secret").write_text("secret")
    (saved / "manifest.json").write_text(content)
    with pytest.raises(kind, match=words):
        verify(saved)


@pytest.fixture
def hashed(saved, monkeypatch):
    """The names of the files that are hashed from now on, in a folder that was saved a minute ago."""
    for name in FILES:
        os.utime(saved / name, (time.time() - 60,) * 2)
    names, real = [], hashlib.file_digest

    def digest(file, algorithm):
        names.append(Path(file.name).relative_to(saved).as_posix())
        return real(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    return names


def test_what_was_verified_is_not_hashed_again(saved, hashed, monkeypatch):
    # kills: seconds of hashing for each time a model is opened; a folder known by the words that name it alone
    verify(saved)
    assert sorted(hashed) == sorted(FILES)
    hashed.clear()
    (saved.parent / "other-way").symlink_to("model")
    monkeypatch.chdir(saved)
    for folder in (saved, saved.parent / "other-way", Path()):
        verify(folder)
    assert hashed == []


@pytest.mark.parametrize("name", FILES)
def test_a_byte_changed_after_it_was_verified_is_found(saved, hashed, name):
    # kills: a folder that is trusted for ever, or as long as its sizes are the same
    verify(saved)
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(CheckpointError, match=rf"{name} is not as it was saved.*SHA-256"):
        verify(saved)
    (saved / name).write_bytes(content)
    verify(saved)  # kills: damage that is remembered after it was mended


def test_another_file_of_the_same_time_is_found(saved, hashed):
    # kills: a file put in the place of a verified one, with its times
    verify(saved)
    times = (saved / "config.json").stat()
    (saved / "new").write_bytes(b"[]")
    os.utime(saved / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (saved / "new").replace(saved / "config.json")
    with pytest.raises(CheckpointError, match=r"config\.json is not as it was saved"):
        verify(saved)


def test_another_manifest_is_looked_at(saved, hashed):
    # kills: a manifest that may be replaced once the folder was verified
    verify(saved)
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["files"]["config.json"]["sha256"] = "0" * 64
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"config\.json is not as it was saved"):
        verify(saved)


def test_a_file_that_was_only_just_written_is_hashed_each_time(saved, hashed):
    # kills: a second change within one tick of the clock that goes unseen
    times = (time.time(),) * 2
    os.utime(saved / "config.json", times)
    verify(saved)
    (saved / "config.json").write_bytes(b"[]")
    os.utime(saved / "config.json", times)
    with pytest.raises(CheckpointError, match=r"config\.json is not as it was saved"):
        verify(saved)
