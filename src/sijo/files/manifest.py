"""The manifest of a folder: the size and SHA-256 of each of its files, by which damage is found later."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sijo.errors import CheckpointError
from sijo.files.json_files import read_versioned
from sijo.files.paths import present
from sijo.version import __version__

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
UNSETTLED_NS = 2 * 10**9
"""A file changed so recently may be changed once more within the same tick of its file system's clock."""
_verified: dict[Path, list[tuple[str, int, str, int, int]]] = {}
"""What this process has verified: of each real folder its files, with size, SHA-256, time of change and inode."""


def digests(folder: Path) -> dict[str, tuple[int, str]]:
    """The size in bytes and the SHA-256 of every file in a folder and below, by name and in order of names.

    Raises RefusedError for a file that is a link leading out, a pipe or a device.
    """
    names = sorted(
        (Path(place) / name).relative_to(folder).as_posix() for place, _, files in os.walk(folder) for name in files
    )
    paths = [path for name in names if (path := present(folder, name))]
    return dict(zip((path.relative_to(folder).as_posix() for path in paths), _measured(paths), strict=True))


def write_manifest(folder: Path) -> None:
    """Put a manifest beside the files of a folder."""
    files = {name: {"bytes": size, "sha256": sha256} for name, (size, sha256) in digests(folder).items()}
    manifest = {"format": MANIFEST_FORMAT, "sijo": __version__, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def verify(folder: Path) -> None:
    """Check a folder against its manifest, if it has one: all files there, of their size, of their SHA-256.

    Raises CheckpointError that names the file which differs. Takes 0.5 s for 90 MB on a processor
    without instructions for SHA, and a tenth of it on others. What was verified by this process before is
    not hashed again while no manifest entry, size, time of change or inode differs.
    """
    manifest = present(folder, MANIFEST)
    if manifest is None:
        return
    listed = _listed(manifest)
    paths, signature = [], []
    for name, (size, sha256) in listed.items():
        path = present(folder, name)
        if path is None:
            raise CheckpointError(f"{folder / name} is absent, though {MANIFEST} lists it; copy the folder again")
        file = path.stat()
        if file.st_size != size:
            raise CheckpointError(
                f"{path} has {file.st_size} bytes, and {MANIFEST} says {size}: it was changed or cut "
                "short since it was saved; copy the folder again"
            )
        paths.append(path)
        signature.append((name, size, sha256, file.st_mtime_ns, file.st_ino))
    if _verified.get(folder.resolve()) == signature:
        return
    settled = time.time_ns() - UNSETTLED_NS
    for path, measured, expected in zip(paths, _measured(paths), listed.values(), strict=True):
        if measured != expected:
            raise CheckpointError(
                f"{path} is not as it was saved: its SHA-256 is not that of {MANIFEST}; copy the folder again"
            )
    if all(changed < settled for *_, changed, _ in signature):
        _verified[folder.resolve()] = signature


def _listed(manifest: Path) -> dict[str, tuple[int, str]]:
    """The size and SHA-256 of each file that a manifest lists."""
    fields = read_versioned(manifest, MANIFEST_FORMAT)
    try:
        return {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in fields["files"].items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise CheckpointError(f"{manifest} does not list files with bytes and sha256; copy it again") from None


def _measured(paths: list[Path]) -> list[tuple[int, str]]:
    """Size and SHA-256 of files, two at a time: hashing leaves Python's lock free."""

    def measure(path: Path) -> tuple[int, str]:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(measure, paths))
