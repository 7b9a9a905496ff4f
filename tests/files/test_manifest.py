"""Files that are as they were saved. Each test names the fault it is to catch."""

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
