"""The manifest of a folder: the size and SHA-256 of each of its files, by which damage is found later.

It speaks of the whole folder: what decides a model's answers and is not listed was added since, and is refused like
what was changed. What people write beside a model, its card and its licence, may be edited.
"""

import hashlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from sijo.errors import CheckpointError, RefusedError
from sijo.files.json_files import LONGEST_JSON, parse_json
from sijo.files.opener import inside, open_inside
from sijo.version import __version__

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
FIELDS = {"format", "sijo", "files"}
FOR_PEOPLE = ("README.md", "LICENSE", "NOTICE")
"""Files that decide no answer: listed, and not compared."""
DECIDING = (".json", ".safetensors", ".model", ".onnx", ".onnx_data", ".onnx.data")
DECIDING_NAMES = ("vocab.txt", "merges.txt")
"""How files end that sijo or others may open with a model, and those of other endings."""
RESULTS = ("results.json", "metrics.json", "trainer_state.json")
"""How the names of files end that tell what came of a model; none is opened with it."""
UNSETTLED_NS = 2 * 10**9
"""A file changed so recently may be changed once more within the same tick of its file system's clock."""
MOST_KEPT = 8
"""Manifests whose content is kept."""

Identity = tuple[int, ...]
"""Which file it is, how long, and when it was last written or renamed."""
FileStates = tuple[tuple[str, Identity], ...]
"""The files of a folder that decide answers, by name, with what each is."""
Listing = Mapping[str, tuple[int, str]]
"""The size in bytes and the SHA-256 of each file of a folder, by name."""
_digests: dict[Identity, str] = {}
"""What this process has hashed, unless it was too new to be sure that it stays the same."""
_listings: dict[Identity, Listing] = {}


def digests(folder: Path) -> Listing:
    """The size in bytes and the SHA-256 of every file in a folder and below, by name and in order of names.

    Raises RefusedError for a file that is a link leading out, a pipe or a device.
    """
    names = sorted(_names(folder))
    return {name: found for name, found in zip(names, _measured(folder, names), strict=True) if found}


def write_manifest(folder: Path) -> None:
    """Put a manifest beside the files of a folder, in place of one from before."""
    listed = {name: entry for name, entry in digests(folder).items() if name != MANIFEST}
    (folder / MANIFEST).write_text(rendered(listed), encoding="utf-8")


def rendered(listing: Listing) -> str:
    """The text of the manifest that lists these files."""
    files = {name: {"bytes": size, "sha256": sha256} for name, (size, sha256) in listing.items()}
    return json.dumps({"format": MANIFEST_FORMAT, "sijo": __version__, "files": files}, indent=2) + "\n"


@dataclass(frozen=True)
class Seal:
    """A folder that was verified: which files those were."""

    folder: Path
    files: Mapping[str, Identity]

    def must_hold(self) -> None:
        """Raise CheckpointError where any of them was written to, or is another by now."""
        for name, before in self.files.items():
            with _opened(self.folder, name) as stream:
                if identity(stream) != before:
                    raise CheckpointError(f"{self.folder / name} was changed while it was read; open it again")


def verify(folder: Path) -> Seal | None:
    """Check a folder against its manifest, if it has one: all files there, as they were saved, and no other.

    Returns what tells later whether they still are the same files; None where there is no manifest.

    Raises CheckpointError that names the file which differs, or which was added and would be opened with a
    model. Takes 0.5 s for 90 MB on a processor without instructions for SHA, and a tenth of it on others. What this
    process hashed before is not hashed again while its size, its times and its inode are the same.
    """
    listing = listed_files(folder)
    if listing is None:
        return None
    for name in _names(folder):
        if decides(name) and name not in (*listing, MANIFEST):
            _refuse_added(folder, name)
    must = {name: entry for name, entry in listing.items() if name not in FOR_PEOPLE}
    files = {}
    for name, (size, _) in must.items():
        with _opened(folder, name) as stream:
            _check_size(folder, name, os.fstat(stream.fileno()).st_size, size)
            files[name] = identity(stream)
    for name, found in zip(must, _measured(folder, list(must)), strict=True):
        if found != must[name]:
            _refuse_changed(folder, name)
    with _opened(folder, MANIFEST) as stream:
        return Seal(folder, files | {MANIFEST: identity(stream)})


def must_match(folder: Path, name: str, content: bytes | bytearray | BufferedReader | None) -> None:
    """Raise CheckpointError where a folder's manifest lists other content for a file, or does not list the file.

    content  the bytes themselves, or the open file; None to look no further than the list
    """
    if name in (*FOR_PEOPLE, MANIFEST) or (listing := listed_files(folder)) is None:
        return
    if name not in listing:
        _refuse_added(folder, name)
    if content is None:
        return
    size, sha256 = listing[name]
    if isinstance(content, bytes | bytearray):
        _check_size(folder, name, len(content), size)
        found = hashlib.sha256(content).hexdigest()
    else:
        _check_size(folder, name, os.fstat(content.fileno()).st_size, size)
        found = _digest(content)
    if found != sha256:
        _refuse_changed(folder, name)


def checked_sha256(folder: Path, name: str) -> str:
    """The SHA-256 of a file as it is now, which is what its folder's manifest lists, where there is one.

    Raises CheckpointError where it is not, and where there is no such file.
    """
    with _opened(folder, name) as stream:
        must_match(folder, name, stream)
        return _digest(stream)


def identity(stream: BufferedReader) -> Identity:
    """Which file this is, and since when it is as it is: no program can set that time, as it can the other."""
    return _identity(os.fstat(stream.fileno()))


def file_states(folder: Path) -> FileStates | None:
    """Which files of a folder decide a model's answers, and since when each is as it is: no file is read.

    None where one was changed so recently that it may change again within the same tick, or is gone.
    """
    settled = time.time_ns() - UNSETTLED_NS
    try:
        states = [(name, _identity((folder / name).stat())) for name in sorted(_names(folder)) if decides(name)]
    except OSError:
        return None
    return None if any(state[-1] >= settled for _, state in states) else tuple(states)


def _identity(about: os.stat_result) -> Identity:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def decides(name: str) -> bool:
    """Whether a file of that name may be opened with a model, by sijo or by others.

    >>> [decides(name) for name in ("1_Pooling/config.json", "README.md", ".cache/index.json", "eval_results.json")]
    [True, False, False, False]
    """
    *folders, last = name.casefold().split("/")
    hidden = any(part.startswith(".") for part in (*folders, last))
    return not hidden and not last.endswith(RESULTS) and (last.endswith(DECIDING) or last in DECIDING_NAMES)


def listed_files(folder: Path) -> Listing | None:
    """What the manifest of a folder lists; None where it has none; raises as `verify` for what cannot be."""
    stream = open_inside(folder, MANIFEST)
    if stream is None:
        return None
    with stream:
        which, settled = identity(stream), time.time_ns() - UNSETTLED_NS
        if which in _listings:
            return _listings[which]
        content = stream.read(LONGEST_JSON + 1)
    listing = _parsed(folder, content)
    if which[-1] < settled:
        if len(_listings) >= MOST_KEPT:
            _listings.clear()
        _listings[which] = listing
    return listing


def _parsed(folder: Path, content: bytes) -> Listing:
    """What a manifest lists, once it is sure that its names stay in the folder and each is one name everywhere."""
    file = folder / MANIFEST
    try:
        if len(content) > LONGEST_JSON:
            raise ValueError(f"longer than {LONGEST_JSON} bytes")
        fields = parse_json(content)
    except ValueError as error:
        raise CheckpointError(f"{file} is not whole JSON ({error}); copy it again") from None
    if not isinstance(fields, dict):
        raise CheckpointError(f"{file} is not a JSON object; copy it again")
    if fields.get("format") != MANIFEST_FORMAT or type(fields["format"]) is not int:
        raise RefusedError(
            f"{file} is of format {fields.get('format')!r:.60} and this sijo knows {MANIFEST_FORMAT}; update sijo"
        )
    listing: dict[str, tuple[int, str]] = {}
    files, same = fields.get("files"), set()
    if not isinstance(files, dict) or fields.keys() - FIELDS:
        raise CheckpointError(f"{file} does not list files with bytes and sha256 alone; copy it again")
    for name, entry in files.items():
        inside(folder, name)
        if name == MANIFEST or not name.isprintable() or {"", "."} & {*name.split("/")}:
            raise CheckpointError(f"{file} lists {name!r:.200}, which cannot be; copy it again")
        same.add(unicodedata.normalize("NFC", name).casefold())
        match entry:
            case {"bytes": int(size), "sha256": str(sha256), **rest} if (
                not rest and type(size) is int and size >= 0
            ):
                listing[name] = size, sha256
        if name not in listing or not re.fullmatch("[0-9a-f]{64}", listing[name][1]):
            raise CheckpointError(
                f"{file} does not list files with bytes and sha256 alone ({name!r:.200}); copy it again"
            )
    if len(same) < len(listing):
        raise CheckpointError(f"{file} lists two names that are one where case does not count; copy it again")
    return listing


def _names(folder: Path) -> Iterator[str]:
    """The names of all files in a folder and below, links among them."""
    for place, _, files in os.walk(folder):
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in files)


def _opened(folder: Path, name: str) -> BufferedReader:
    stream = open_inside(folder, name)
    if stream is None:
        raise CheckpointError(f"{folder / name} is absent, though {MANIFEST} lists it; copy the folder again")
    return stream


def _measured(folder: Path, names: list[str]) -> list[tuple[int, str] | None]:
    """Size and SHA-256 of files, two at a time: hashing leaves Python's lock free. None for what has gone."""

    def measure(name: str) -> tuple[int, str] | None:
        stream = open_inside(folder, name)
        if stream is None:
            return None
        with stream:
            return os.fstat(stream.fileno()).st_size, _digest(stream)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(measure, names))


def _digest(stream: BufferedReader) -> str:
    """The SHA-256 of an open file, from its beginning; it is at its beginning again then."""
    which, settled = identity(stream), time.time_ns() - UNSETTLED_NS
    if which not in _digests:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        if which[-1] >= settled or identity(stream) != which:
            return sha256
        _digests[which] = sha256
    return _digests[which]


def _check_size(folder: Path, name: str, size: int, listed: int) -> None:
    if size != listed:
        raise CheckpointError(
            f"{folder / name} has {size} bytes, and {MANIFEST} says {listed}: it was changed or cut "
            f"short since it was saved; copy the folder again, or delete {MANIFEST} if you changed it yourself"
        )


def _refuse_changed(folder: Path, name: str) -> None:
    raise CheckpointError(
        f"{folder / name} is not as it was saved: its SHA-256 is not that of {MANIFEST}; copy the folder again, "
        f"or delete {MANIFEST} if you changed it yourself"
    )


def _refuse_added(folder: Path, name: str) -> None:
    raise CheckpointError(
        f"{folder / name} is not among the files that {MANIFEST} lists: it was added since the folder was saved; "
        "move it out of the folder, or copy the folder again"
    )
