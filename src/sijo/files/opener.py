"""Opening a file by the folder it belongs to: what was looked at is what is opened, whatever is renamed meanwhile.

A path is walked by handles, a part at a time, from the folder itself. The system is never asked to follow a link:
each one is read here and walked like the name, so none leads out of the folder. What the last handle is, an
ordinary file or not, is asked of the handle.

A hard link is a file like any other and cannot be told from one.
"""

import errno
import os
import stat
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path, PurePath
from typing import NoReturn

from sijo.errors import CheckpointError, RefusedError
from sijo.files.system import BINARY, CLOEXEC, DIRECTORY, NOFOLLOW, OPENS_FOLDERS, WITHOUT_WAITING

LONGEST_NAME = 1_000
"""Characters of a name; those of systems end at 255 for each part."""
MOST_LINKS = 40
"""Links on the way to one file, as many as Linux itself follows."""
READ = os.O_RDONLY | CLOEXEC | NOFOLLOW
NOT_THE_FILE = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)
"""Errors of a disk that fails, or a system that has no more to give: another copy would be no remedy."""


def inside(folder: Path, name: str) -> Path:
    """The path of a name found in a checkpoint's file.

    Raises RefusedError when the name itself leads out of the folder, and CheckpointError when it is too long.

    >>> inside(Path("model"), "1_Pooling/config.json").as_posix()
    'model/1_Pooling/config.json'
    >>> inside(Path("model"), "../../.ssh/id_rsa")
    Traceback (most recent call last):
    sijo.errors.RefusedError: model names '../../.ssh/id_rsa', which lies outside of it; this is not opened
    """
    if ".." in PurePath(name).parts or name.startswith("/") or "\\" in name or "\0" in name:
        _leads_out(folder, name)
    if len(name) > LONGEST_NAME:
        raise CheckpointError(
            f"{folder} names {name!r:.60}… of {len(name)} characters, which is no file; copy it again"
        )
    return folder / name


def open_inside(folder: Path, name: str) -> BufferedReader | None:
    """A file of a folder, open for reading; None when there is none of that name.

    folder  may be a link itself: it was named by whoever calls, and nobody else
    name    may lead through links that stay in the folder. A snapshot in the Hub's cache is made of links into the
            `blobs` of its own repository; those may be followed too

    Raises RefusedError for what leads out of the folder, or is a folder, a pipe, a socket or a device, and
    CheckpointError for a link to nothing, or a file that may not be read.

    >>> open_inside(Path("."), "absent.json") is None
    True
    """
    path = inside(folder, name)
    with ExitStack() as ways:
        try:
            handle = _Walk(folder, name, ways).to_its_end() if OPENS_FOLDERS else _by_path(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in NOT_THE_FILE:
                raise
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}); copy it again, or mend its permissions"
            ) from None
    return open(path, "rb", opener=lambda *_: handle)


class _Walk:
    """The way from a folder to one of its files, as the handles of the folders that were entered."""

    def __init__(self, folder: Path, name: str, ways: ExitStack) -> None:
        self.folder, self.name, self._ways = folder, name, ways
        self.links = 0
        self.ahead = name.split("/")[::-1]
        """Parts still to go, the next one last."""
        self.entered = [self._enter(folder, os.O_RDONLY | CLOEXEC)]

    def to_its_end(self) -> int:
        """The handle of the file; OSError where there is none."""
        while self.ahead:
            part = self.ahead.pop()
            if part == "..":
                self._back()
            elif part not in ("", "."):
                mode = self._mode(part)
                if stat.S_ISLNK(mode):
                    self._follow(part)
                elif self.ahead:
                    self.entered.append(self._enter(part, READ, self.entered[-1]))
                else:
                    return self._open(part, mode)
        return self._open(".", stat.S_IFDIR)

    def _enter(self, part: str | Path, flags: int, where: int | None = None) -> int:
        handle = os.open(part, flags | DIRECTORY, dir_fd=where)
        self._ways.callback(os.close, handle)
        return handle

    def _mode(self, part: str) -> int:
        try:
            return os.stat(part, dir_fd=self.entered[-1], follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            if self.links:
                raise CheckpointError(
                    f"{self.folder / self.name} is a link to nothing; copy the folder again, whole"
                ) from None
            raise

    def _follow(self, link: str) -> None:
        self.links += 1
        target = os.readlink(link, dir_fd=self.entered[-1])
        if self.links > MOST_LINKS or target.startswith("/"):
            _leads_out(self.folder, self.name)
        self.ahead += target.split("/")[::-1]

    def _back(self) -> None:
        """To the folder before; from the first one, if it is a snapshot in the Hub's cache, to `blobs` alone."""
        if len(self.entered) > 1:
            self.entered.pop()
            return
        snapshot = self.entered[0]
        if len(self.ahead) == 3 and self.ahead[1:] == ["blobs", ".."]:
            repository = self._enter("../..", READ, snapshot)
            try:
                snapshots, blobs = (self._enter(part, READ, repository) for part in ("snapshots", "blobs"))
            except OSError:
                _leads_out(self.folder, self.name)
            if os.path.samestat(os.fstat(snapshots), os.stat("..", dir_fd=snapshot)):
                self.entered, self.ahead, self.links = [blobs], self.ahead[:1], MOST_LINKS
                return
        _leads_out(self.folder, self.name)

    def _open(self, part: str, mode: int) -> int:
        """The handle of an ordinary file. What is none is not even opened: to open a device can set it going."""
        if stat.S_ISREG(mode):
            handle = os.open(part, READ | WITHOUT_WAITING, dir_fd=self.entered[-1])
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
        raise RefusedError(
            f"{self.folder / self.name} is a folder, a pipe or a device in place of a file; this is not opened"
        )


def _by_path(folder: Path, name: str) -> int:
    """The handle of a file, where folders cannot be opened: by its path, when every link on the way was followed.

    Whoever may put something else there between two looks may lead this astray, as handles may not be.
    """
    try:
        path = (folder / name).resolve(strict=True)
    except FileNotFoundError:
        if (folder / name).is_symlink():
            raise CheckpointError(f"{folder / name} is a link to nothing; copy the folder again, whole") from None
        raise
    if not path.is_relative_to(folder.resolve()) and not _is_blob(folder.resolve(), path):
        _leads_out(folder, name)
    if not stat.S_ISREG(path.stat().st_mode):
        raise RefusedError(
            f"{folder / name} is a folder, a pipe or a device in place of a file; this is not opened"
        )
    handle = os.open(path, os.O_RDONLY | CLOEXEC | BINARY)
    if not os.path.samestat(os.fstat(handle), path.stat()):
        os.close(handle)
        raise CheckpointError(f"{path} was changed while it was read; open it again")
    return handle


def _is_blob(snapshot: Path, path: Path) -> bool:
    """Whether a file is among the `blobs` that a snapshot in the Hub's cache is made of."""
    return snapshot.parent.name == "snapshots" and path.parent == snapshot.parent.parent / "blobs"


def _leads_out(folder: Path, name: str) -> NoReturn:
    raise RefusedError(f"{folder} names {name!r:.200}, which lies outside of it; this is not opened")
