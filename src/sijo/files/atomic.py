"""Files and folders that stand whole or not at all, whatever happens while they are written.

`kill -9` and a full disk leave the old one, the new one or none. A folder gets a manifest, by which
damage is found later.
"""

import operator
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path
from typing import BinaryIO

from sijo.errors import SettingError
from sijo.files.manifest import MANIFEST, write_manifest
from sijo.files.opener import open_inside
from sijo.files.private import FOLDER_OURS_ALONE, OURS_ALONE, by_umask, open_file, take_mode
from sijo.files.system import DIRECTORY, MODES, NOFOLLOW, OPENS_FOLDERS, is_ours, set_mode, to_disk
from sijo.files.system import lock as hold


@contextmanager
def whole_file(path: Path, *, private: bool = False, mode_of: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write, which takes its name when the block ends and all of it is on the disk, or leaves no trace.

    private  whether only this user may read it, whatever the umask
    mode_of  the file whose mode it takes; by default the one it replaces. Where there is none, the umask decides

    Until it takes its name it has another that cannot be guessed, and only this user may read it. A link of its
    name is replaced, not followed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with whole_file(Path(place) / "poem.txt") as out:
    ...         _ = out.write(b"three short lines")
    ...     [path.name for path in Path(place).iterdir()]
    ['poem.txt']
    """
    temporary = path.with_name(f"{path.name}.tmp-{secrets.token_hex(8)}")
    handle = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private=True)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            if not private:
                _settle_mode(out.fileno(), mode_of or path)
            os.fsync(out.fileno())
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _settle_mode(handle: int, old: Path) -> None:
    """Give a file the mode of another, or where there is none of that name the umask's."""
    try:
        about = old.lstat()
    except FileNotFoundError:
        about = None
    if about is None or not stat.S_ISREG(about.st_mode):
        set_mode(handle, by_umask(0o666))
    else:
        take_mode(handle, about)


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = False, private: bool = False) -> Iterator[Path]:
    """A fresh folder to write into, which takes the target's place when the block ends, or leaves no trace.

    target     the folder to be; its parents are made
    overwrite  whether it may replace a checkpoint; that one stays until the new one is in place
    private    whether only this user may read what is in it, whatever the umask

    What replaces a checkpoint keeps its mode, and that of each file. A manifest is added, and all is on the disk
    before it is moved. Whatever happens in between, `kill -9` and a full disk included, the target is a whole
    folder, old or new, or absent. What a killed process left is cleared away by the next save to the same target.

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
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    with alone(target.parent):
        _clear_leftovers(target)
        must_be_free(target, overwrite=overwrite)
        fresh.mkdir(FOLDER_OURS_ALONE)
        handle = lock(fresh)  # held as long as this process lives: nobody clears away what is being written
    try:
        yield fresh
        write_manifest(fresh)
        _settle_modes(fresh, target, private=private)
        _to_disk(fresh)
        with alone(target.parent):
            must_be_free(target, overwrite=overwrite)
            _put(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # what was not finished, or what was replaced
        if handle is not None:
            os.close(handle)


def copy_folder(folder: Path, fresh: Path, leave: Callable[[str], bool] = lambda name: False) -> None:
    """Put every file of a folder into another, but its manifest and what is hidden.

    leave  whether a file of that name stays behind too
    """
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(place) / name for name in sorted(files) if not name.startswith(".")):
            name = path.relative_to(folder).as_posix()
            stream = None if name == MANIFEST or leave(name) else open_inside(folder, name)
            if stream is None:
                continue
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            with stream, (fresh / name).open("xb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)


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


def _settle_modes(fresh: Path, target: Path, *, private: bool) -> None:
    """Give a folder and all in it the modes of what it replaces; what is new in it is no more open than that."""
    there = () if private or not target.is_dir() else (target, *target.rglob("*"))
    old = {path.relative_to(target): path.lstat() for path in there}
    modes = [stat.S_IMODE(about.st_mode) for about in old.values() if stat.S_ISREG(about.st_mode)]
    widest = reduce(operator.or_, modes, OURS_ALONE) if modes or private else 0o777
    for path in (fresh, *fresh.rglob("*")):
        about, before = path.lstat(), old.get(path.relative_to(fresh))
        if before is not None and stat.S_IFMT(before.st_mode) == stat.S_IFMT(about.st_mode):
            if MODES:
                handle = os.open(path, os.O_RDONLY | NOFOLLOW)
                take_mode(handle, before)
                os.close(handle)
        elif path.is_dir():
            path.chmod(FOLDER_OURS_ALONE if private else by_umask(0o777))
        else:
            path.chmod(about.st_mode & widest)


def must_be_free(target: Path, *, overwrite: bool) -> None:
    """Raise SettingError where something is at the target of a folder that may not be replaced."""
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
    for leftover in list(target.parent.iterdir()):
        kind = re.fullmatch(rf"\.{re.escape(target.name)}\.(?:[0-9a-f]{{8}}){{1,2}}\.(part|old)", leftover.name)
        if kind is None or leftover.is_symlink() or not leftover.is_dir() or (handle := lock(leftover)) is None:
            continue
        if not is_ours(os.fstat(handle).st_uid):
            pass  # not what this user's process left, so it must not become a model of theirs
        elif kind[1] == "old" and not os.path.lexists(target):
            leftover.rename(target)
        else:
            shutil.rmtree(leftover, ignore_errors=True)
        os.close(handle)


def lock(folder: Path) -> int | None:
    """A lock on a folder that ends with this process, as a file handle; None when it cannot be had."""
    if not OPENS_FOLDERS:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | DIRECTORY | NOFOLLOW)
    except OSError:  # another user's, or gone
        return None
    try:
        hold(handle)
    except OSError:  # another process holds it, or the file system knows no locks
        os.close(handle)
        return None
    return handle


@contextmanager
def alone(parent: Path) -> Iterator[None]:
    """Wait until no other sijo moves folders in this one."""
    if not OPENS_FOLDERS:
        yield
        return
    handle = os.open(parent, os.O_RDONLY | DIRECTORY)
    try:
        with suppress(OSError):  # a file system that knows no locks: one saves to a target at a time, then
            hold(handle, wait=True)
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
    to_disk(path)
