"""A checkpoint folder as files: none outside of it is opened, none inside is half written.

Names that a folder's own files give are a stranger's words, so every file is reached through
`present`. Whatever sijo writes stands whole or not at all, with a manifest of sizes and SHA-256
digests by which damage is found later. This module has never heard of tensors.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.version import __version__

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
LONGEST_JSON = 16_000_000
"""Bytes. The index of a hundred thousand tensors is shorter, and `[[],[],…` of this length takes 0.5 GB to read."""


def inside(folder: Path, name: str) -> Path:
    """The path of a name found in a checkpoint's file; RefusedError when it leads out of the folder.

    A snapshot in the Hub's cache is made of links into the `blobs` of its own repository; those,
    and no other, may be followed.

    >>> inside(Path("model"), "1_Pooling/config.json").as_posix()
    'model/1_Pooling/config.json'
    >>> inside(Path("model"), "../../.ssh/id_rsa")
    Traceback (most recent call last):
    sijo.errors.RefusedError: model names '../../.ssh/id_rsa', which lies outside of it; this is not opened
    """
    path, home = folder / name, folder.resolve()
    allowed = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, a NUL
        real = None
    straight = ".." not in PurePath(name).parts and not name.startswith("/") and "\\" not in name
    if real is None or not straight or not any(real.is_relative_to(place) for place in allowed):
        raise RefusedError(f"{folder} names {name!r}, which lies outside of it; this is not opened")
    return path


def present(folder: Path, name: str) -> Path | None:
    """The path of a file of a checkpoint, safe to open, or None when there is none of that name.

    Raises RefusedError when the name leads out of the folder, or to what is no ordinary file: a
    pipe would be waited on for ever.

    >>> present(Path("."), "absent.json") is None
    True
    """
    path = inside(folder, name)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); copy it again, or mend its permissions"
        ) from None
    if not stat.S_ISREG(mode):
        raise RefusedError(f"{path} is a folder, a pipe or a device in place of a file; this is not opened")
    return path


def parse_json(content: bytes) -> Any:
    """The value of strict JSON in UTF-8: no name twice in an object, no NaN or infinity, no endless nesting.

    Raises ValueError, whose text says what is wrong.

    >>> parse_json(b'{"layers": 6, "layers": 7}')
    Traceback (most recent call last):
    ValueError: the name 'layers' stands twice in one object
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in fields:
                raise ValueError(f"the name {name[:60]!r} stands twice in one object")
            fields[name] = value
        return fields

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"the number {text[:60]} is not finite")
        return number

    try:
        text = content.decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(file: Path) -> Any:
    """The value in a JSON file of a checkpoint; CheckpointError when it is damaged."""
    try:
        if file.stat().st_size > LONGEST_JSON:
            raise ValueError(f"longer than {LONGEST_JSON} bytes")
        return parse_json(file.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{file} is not whole JSON ({error}); copy it again") from None


def read_object(file: Path) -> dict[str, Any]:
    """The fields of a JSON object in a checkpoint; CheckpointError when it is damaged or something else."""
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{file} is not a JSON object; copy it again")
    return fields


def write_json(file: Path, content: object) -> None:
    """Write a JSON file of a checkpoint as people read it: indented, letters as they are."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def digests(folder: Path) -> dict[str, tuple[int, str]]:
    """The size in bytes and the SHA-256 of every file in a folder and below, by name and in order of names.

    Raises RefusedError for a file that is a link leading out, a pipe or a device.
    """
    names = sorted(
        (Path(place) / name).relative_to(folder).as_posix() for place, _, files in os.walk(folder) for name in files
    )
    paths = [path for name in names if (path := present(folder, name))]
    return {path.relative_to(folder).as_posix(): measured for path, measured in _measure(paths)}


def verify(folder: Path) -> None:
    """Check a folder against its manifest, if it has one: all files there, of their size, of their SHA-256.

    Raises CheckpointError that names the file which differs. Takes 0.5 s for 90 MB on a processor
    without instructions for SHA, and a tenth of it on others.
    """
    manifest = present(folder, MANIFEST)
    if manifest is None:
        return
    fields = read_object(manifest)
    if fields.get("format") != MANIFEST_FORMAT:
        raise RefusedError(
            f"{manifest} is of format {fields.get('format')!r} and this sijo knows {MANIFEST_FORMAT}; update sijo"
        )
    wanted = {}
    try:
        for name, entry in fields["files"].items():
            wanted[name] = (int(entry["bytes"]), str(entry["sha256"]))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise CheckpointError(f"{manifest} does not list files with bytes and sha256; copy it again") from None
    paths = {}
    for name, (size, _) in wanted.items():
        path = present(folder, name)
        if path is None:
            raise CheckpointError(f"{folder / name} is absent, though {MANIFEST} lists it; copy the folder again")
        if path.stat().st_size != size:
            raise CheckpointError(
                f"{path} has {path.stat().st_size} bytes, and {MANIFEST} says {size}: it was changed or cut "
                "short since it was saved; copy the folder again"
            )
        paths[path] = name
    for path, measured in _measure(list(paths)):
        if measured != wanted[paths[path]]:
            raise CheckpointError(
                f"{path} is not as it was saved: its SHA-256 is not that of {MANIFEST}; copy the folder again"
            )


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its name when the block ends and all of it is on the disk, or leaves no trace.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with whole_file(Path(place) / "poem.txt") as out:
    ...         _ = out.write(b"three short lines")
    ...     [path.name for path in Path(place).iterdir()]
    ['poem.txt']
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh folder to write into, which takes the target's place when the block ends, or leaves no trace.

    target     the folder to be; its parents are made
    overwrite  whether it may replace a checkpoint; that one stays until the new one is in place

    A manifest is added, and all is on the disk before it is moved. Whatever happens in between,
    `kill -9` and a full disk included, the target is a whole folder, old or new, or absent. What a
    killed process left is cleared away by the next save to the same target.

    Raises SettingError when there is something at the target that may not be replaced.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with whole_folder(Path(place) / "model") as folder:
    ...         _ = (folder / "config.json").write_text("{}")
    ...     sorted(path.name for path in (Path(place) / "model").iterdir())
    ['config.json', 'manifest.json']
    """
    parent = target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    target = parent.resolve() / target.absolute().name
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with _alone(target.parent):
        _clear_leftovers(target)
        _may_write(target, overwrite=overwrite)
        fresh.mkdir()
        life = lock(fresh)  # held as long as this process lives: nobody clears away what is being written
    try:
        yield fresh
        files = {name: {"bytes": size, "sha256": sha256} for name, (size, sha256) in digests(fresh).items()}
        manifest = {"format": MANIFEST_FORMAT, "sijo": __version__, "files": files}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _to_disk(fresh)
        with _alone(target.parent):
            _may_write(target, overwrite=overwrite)
            _put(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # what was not finished, or what was replaced
        if life is not None:
            os.close(life)


def _put(fresh: Path, target: Path) -> None:
    """Give `fresh` the name of `target`; a folder that stood there ends up under the name of `fresh`."""
    old = fresh.with_suffix(".old") if target.exists() else None
    try:
        if old is not None:
            target.rename(old)
        fresh.rename(target)
        sync(target.parent)
    except BaseException:
        if old is not None and old.exists():
            if target.exists():
                target.rename(fresh)
            old.rename(target)
        raise
    if old is not None:
        with suppress(OSError):  # the new one stands; the next save clears the old one away
            old.rename(fresh)  # a name that is never put back: from here on it is not whole


def _may_write(target: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise SettingError(f"{target} exists already; name another folder, or allow it to be overwritten")
    if target.is_symlink() or not target.is_dir():
        raise SettingError(f"{target} is a link or a file, which is not overwritten; name the folder itself")
    names = {path.name for path in target.iterdir()}
    if names and not {"config.json", MANIFEST} & names:
        raise SettingError(f"{target} holds other things than a model, which are not overwritten; name another")


def _clear_leftovers(target: Path) -> None:
    """Remove what killed processes left beside a target; if one was killed between two renames, undo the first."""
    for left in list(target.parent.iterdir()):
        kind = re.fullmatch(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.(part|old)", left.name)
        if kind is None or left.is_symlink() or not left.is_dir() or (life := lock(left)) is None:
            continue
        if kind[1] == "old" and not os.path.lexists(target):
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)
        os.close(life)


def lock(folder: Path) -> int | None:
    """A lock on a folder that ends with this process, as a file handle; None when it cannot be had."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or gone
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process holds it, or the file system knows no locks
        os.close(handle)
        return None
    return handle


def locked(folder: Path) -> BinaryIO:
    """A folder to work in, made if need be, and taken for this process as long as its file `lock` is open.

    Raises SettingError when another process has it, or when nothing can be written beside it.
    """
    path = folder / "lock"
    while True:
        try:
            folder.mkdir(exist_ok=True)
            try:
                handle = path.open("ab")
            except FileNotFoundError:
                continue  # the process before us removed the folder in the meantime
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # another folder on that disk would be no remedy
            raise SettingError(
                f"cannot write in {folder.parent} ({error.strerror}); name an output in a folder that is "
                "there and may be written to"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle.fileno())):
                return handle
            handle.close()  # removed between the two calls
        except OSError as error:
            handle.close()
            raise SettingError(
                f"another process is at work in {folder} ({error.strerror}); wait for it, or name another output"
            ) from error


def unlocked(folder: Path) -> None:
    """Remove a folder of which only the lock is left, while it is still held."""
    (folder / "lock").unlink(missing_ok=True)
    with suppress(OSError):  # another process may be moving in
        folder.rmdir()


def begun(folder: Path) -> dict[str, Any] | None:
    """The `settings.json` of work that can be resumed in a folder of ours, or None."""
    path = folder / "settings.json"
    return read_object(path) if path.exists() else None


def must_agree(earlier: Mapping[str, Any], now: Mapping[str, Any], *, what: str) -> None:
    """Refuse to go on with work that was begun with other settings.

    earlier, now  settings as JSON can say them, by the names that a refusal gives them
    what          the work, in a sentence

    >>> must_agree({"seed": 1}, {"seed": 2}, what="run")
    Traceback (most recent call last):
    sijo.errors.SettingError: the run to be resumed was begun with seed: 1, and now it is 2; give it as it was, or \
start over with overwrite
    """
    for name in {**now, **earlier}:
        old, new = (json.dumps(given[name]) if name in given else "not given" for given in (earlier, now))
        if old != new:
            raise SettingError(
                f"the {what} to be resumed was begun with {name}: {old}, and now it is {new}; "
                "give it as it was, or start over with overwrite"
            )
    if list(earlier) != list(now):
        raise SettingError(
            f"the {what} to be resumed was begun with the same in another order; give it as it was, or start over "
            "with overwrite"
        )


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Wait until no other sijo moves folders in this one."""
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system that knows no locks: one saves to a target at a time, then
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _to_disk(folder: Path) -> None:
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(place) / name)
        sync(Path(place))


def sync(path: Path) -> None:
    """Bring a file, or the list of names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _measure(paths: list[Path]) -> Iterator[tuple[Path, tuple[int, str]]]:
    """Size and SHA-256 of files, two at a time: hashing leaves Python's lock free."""

    def measure(path: Path) -> tuple[int, str]:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(2) as pool:
        yield from zip(paths, pool.map(measure, paths), strict=True)
