"""Files that are as they were saved. Each test names the fault it is to catch."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from sijo.errors import CheckpointError, RefusedError
from sijo.files import manifest, paths
from sijo.files.manifest import FOR_PEOPLE, verify, write_manifest
from sijo.files.paths import present

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
    """The names of the files that are hashed from now on, in a folder that was saved a while ago."""
    monkeypatch.setattr(manifest, "UNSETTLED_NS", -(10**9))
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
        present(folder, "model.safetensors").open().close()
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
    listed = json.loads((saved / "manifest.json").read_text())
    listed["files"]["config.json"]["sha256"] = "0" * 64
    (saved / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError, match=r"config\.json is not as it was saved"):
        verify(saved)


def test_a_byte_changed_under_its_old_time_is_found(saved, hashed):
    # kills: a file that is known by a time which any program may set
    file = saved / "model.safetensors"
    verify(saved)
    times = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"W")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_mtime_ns == times.st_mtime_ns
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not as it was saved"):
        verify(saved)


def test_a_file_that_was_only_just_written_is_hashed_each_time(saved, hashed, monkeypatch):
    # kills: a second change within one tick of the clock that goes unseen
    monkeypatch.setattr(manifest, "UNSETTLED_NS", 10**11)
    verify(saved)
    verify(saved)
    assert sorted(hashed) == sorted(2 * FILES)


# What a manifest does not list


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "added_tokens.json",
        "tokenizer.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spm.model",
        "Vocab.TXT",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "1_Pooling/more.json",
        "a/b/c/config.json",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
    ],
)
def test_what_was_added_is_found(saved, name):
    # kills: a manifest that proves what it lists, while what is opened is another file
    (saved / name).parent.mkdir(parents=True, exist_ok=True)
    (saved / name).write_bytes(b"{}")
    with pytest.raises(
        CheckpointError, match=rf"{re.escape(name)} is not among the files that manifest\.json lists.*move"
    ):
        verify(saved)
    with pytest.raises(CheckpointError, match="is not among the files"):
        present(saved, name).read_bytes(9)
    with pytest.raises(CheckpointError, match="is not among the files"):
        present(saved, name, check=False).open()


@pytest.mark.parametrize("name", ["anything", "weights", "code.py"])
def test_no_file_is_read_that_is_not_listed(saved, name):
    # kills: a list of names that may be added, where the reader knows one more
    (saved / name).write_bytes(b"{}")
    verify(saved)
    with pytest.raises(CheckpointError, match=rf"{name} is not among the files"):
        present(saved, name).read_bytes(9)
    with pytest.raises(CheckpointError, match=rf"{name} is not among the files"):
        present(saved, name).buffer()


@pytest.mark.parametrize(
    "name",
    [
        *("results.json", "eval_results.json", "all_results.json", "trainer_state.json", "metrics.json"),
        *("._config.json", "1_Pooling/._config.json", ".DS_Store", "training_args.bin", "onnx/notes.txt"),
    ],
)
def test_what_came_of_a_model_may_lie_beside_it(saved, name):
    # kills: a model that will not open since it was measured, or was copied by a system that leaves hidden files
    (saved / name).parent.mkdir(exist_ok=True)
    (saved / name).write_bytes(b"{}")
    verify(saved)
    with pytest.raises(CheckpointError, match="is not among the files"):  # it is never read all the same
        present(saved, name).read_bytes(9)


def test_a_manifest_is_written_anew(saved):
    # kills: a manifest that lists the one it replaces, and is refused from then on
    (saved / "notes.json").write_text("{}")
    write_manifest(saved)
    seal = verify(saved)
    assert seal is not None and {*FILES, "notes.json", "manifest.json"} <= seal.files.keys()


def test_people_may_write_beside_a_model(saved):
    # kills: a model that will not open since its card was mended, or a note lies beside it
    for name in FOR_PEOPLE:
        (saved / name).write_text("words")
    write_manifest(saved)
    listed = json.loads((saved / "manifest.json").read_text())["files"]
    assert {*FOR_PEOPLE} < listed.keys()  # for a reader to compare who wants to
    (saved / "README.md").write_text("other words")
    (saved / "LICENSE").unlink()
    (saved / "notes.txt").write_text("a note")
    (saved / ".gitattributes").write_text("* -text")
    (saved / ".cache").mkdir()
    (saved / ".cache/tags.json").write_text("{}")
    verify(saved)
    assert present(saved, "README.md").read_bytes(99) == b"other words"


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "kind, words, files",
    [
        (RefusedError, "pipe", {"1_Pooling": {"bytes": 6, "sha256": DIGEST}}),
        (RefusedError, "outside", {"/etc/hostname": {"bytes": 6, "sha256": DIGEST}}),
        (RefusedError, "outside", {"a/../../secret": {"bytes": 6, "sha256": DIGEST}}),
        (RefusedError, "outside", {"a\\b": {"bytes": 6, "sha256": DIGEST}}),
        (RefusedError, "outside", {"a\0b": {"bytes": 6, "sha256": DIGEST}}),
        (CheckpointError, "lists './config.json'", {"./config.json": {"bytes": 2, "sha256": DIGEST}}),
        (CheckpointError, "lists ''", {"": {"bytes": 2, "sha256": DIGEST}}),
        (CheckpointError, "lists '1_Pooling//", {"1_Pooling//config.json": {"bytes": 2, "sha256": DIGEST}}),
        (CheckpointError, "lists 'manifest.json'", {"manifest.json": {"bytes": 2, "sha256": DIGEST}}),
        (CheckpointError, r"lists 'a\x1b", {"a\x1b[2J": {"bytes": 2, "sha256": DIGEST}}),
        (
            CheckpointError,
            "where case",
            {"Config.json": {"bytes": 2, "sha256": DIGEST}},
        ),
        (CheckpointError, "where case", {n: {"bytes": 2, "sha256": DIGEST} for n in ("caf\u00e9", "cafe\u0301")}),
        (CheckpointError, "does not list", {"config.json": {"bytes": -2, "sha256": DIGEST, "mode": 3}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": True, "sha256": DIGEST}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": "2", "sha256": DIGEST}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": 2.0, "sha256": DIGEST}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": 2, "sha256": DIGEST.replace("0", "F")}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": 2, "sha256": ""}}),
        (CheckpointError, "does not list", {"config.json": {"bytes": -2, "sha256": DIGEST}}),
        (CheckpointError, "is too large", {"config.json": {"bytes": 10**400, "sha256": DIGEST}}),
    ],
)
def test_lists_that_lie(saved, kind, words, files):
    # kills: a name that means two files, or one that is written to a terminal; a number taken for another
    listed = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(listed | {"files": listed["files"] | files}))
    with pytest.raises(kind) as caught:
        verify(saved)
    assert words in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("fields", [{"more": 1}, {"format": True}, {"format": 1.0}, {"format": "1"}])
def test_a_manifest_of_another_kind(saved, fields):
    # kills: a field of which nobody knows what it should have changed
    listed = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(listed | fields))
    with pytest.raises((CheckpointError, RefusedError)):
        verify(saved)


# What is read is what was verified


def swap(file, content):
    """Put another file of that content in a file's place, with its times."""
    about, other = file.stat(), file.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(file)


def rewrite(file, content):
    """Write into the file itself, and set its times back."""
    about = file.stat()
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [swap, rewrite])
@pytest.mark.parametrize("read", [lambda file: file.read_bytes(10**6), lambda file: file.buffer()])
def test_a_file_changed_between_check_and_read(saved, hashed, name, change, read):
    # kills: bytes that are used because others were verified a moment ago
    verify(saved)
    file, content = present(saved, name), (saved / name).read_bytes()
    assert read(file) == content
    change(saved / name, bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        read(file)


@pytest.mark.parametrize("change", [swap, rewrite])
def test_a_mapped_file_changed_while_it_is_hashed(saved, hashed, monkeypatch, change):
    # kills: a file that is hashed and opened once more to be mapped; a page written to since it was hashed
    monkeypatch.setattr(paths, "READ_WHOLE", 10)
    file, content = saved / "model.safetensors", (saved / "model.safetensors").read_bytes()
    assert present(saved, file.name).buffer()[:] == content
    rewrite(file, content)  # the same bytes, but it has to be hashed again
    hash_it = hashlib.file_digest

    def then(stream, algorithm):
        digest = hash_it(stream, algorithm)
        change(file, b"W" + content[1:])
        return digest

    monkeypatch.setattr(hashlib, "file_digest", then)
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        present(saved, file.name).buffer()


@pytest.mark.parametrize("change", [swap, rewrite])
def test_a_seal_holds_until_a_file_is_touched(saved, change):
    # kills: a model half of one folder and half of another
    seal = verify(saved)
    seal.must_hold()
    change(saved / "config.json", b"{}")
    with pytest.raises(CheckpointError, match=r"config\.json was changed while it was read"):
        seal.must_hold()
    seal = verify(saved)
    saved.rename(saved.with_name("before"))
    shutil.copytree(saved.with_name("before"), saved)
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        seal.must_hold()
