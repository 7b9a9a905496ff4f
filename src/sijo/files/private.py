"""Files and folders that nobody else reads or leads astray: who may open them, and never through a link.

Another user can lay a link, a pipe or a folder under a name that is to be written, where both may write. So a file
of ours is opened without following a link, and what only this user is to read has the mode 0600, its folder 0700,
whatever the umask. A file that replaces another keeps the mode that a person gave that one.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from sijo.errors import SettingError
from sijo.files.system import (
    BINARY,
    CLOEXEC,
    MODES,
    NOFOLLOW,
    WITHOUT_WAITING,
    is_ours,
    is_ours_or_systems,
    set_mode,
)

OURS_ALONE = 0o600
FOLDER_OURS_ALONE = 0o700


def open_file(path: Path, flags: int, *, private: bool = False) -> int:
    """A handle on a file, made where the flags say so; the file itself, not what a link of its name leads to.

    private  whether only this user may read it, also where it was there; another user's is refused

    Raises SettingError where something else than such a file is there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     os.close(open_file(Path(place) / "lock", os.O_RDWR | os.O_CREAT, private=True))
    ...     oct((Path(place) / "lock").stat().st_mode & 0o777)
    '0o600'
    """
    careful = NOFOLLOW | CLOEXEC | WITHOUT_WAITING | BINARY
    try:
        handle = os.open(path, flags | careful, OURS_ALONE if private else 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            raise SettingError(_in_the_way(path, "file")) from None
        raise
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or (private and not is_ours(about.st_uid)):
        os.close(handle)
        raise SettingError(_in_the_way(path, "file"))
    if private and about.st_mode & 0o077:
        set_mode(handle, OURS_ALONE)
    return handle


def write_file(path: Path, content: bytes) -> None:
    """Write a file in place, over what it held; SettingError where a link is there."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as out:
        out.write(content)


def make_folder(folder: Path, *, private: bool = False) -> None:
    """Make a folder in one that is there, or take it as it is; not where a link of its name leads.

    private  whether only this user may enter it, also where it was there; another user's is refused

    Raises SettingError where something else is there.
    """
    with suppress(FileExistsError):
        folder.mkdir(FOLDER_OURS_ALONE if private else 0o777)
        return
    try:
        about = folder.lstat()
    except FileNotFoundError:  # removed in the meantime
        make_folder(folder, private=private)
        return
    if not stat.S_ISDIR(about.st_mode) or (private and not is_ours(about.st_uid)):
        raise SettingError(_in_the_way(folder, "folder"))
    if private and about.st_mode & 0o077:
        folder.chmod(FOLDER_OURS_ALONE)


def is_trusted(path: Path) -> bool:
    """Whether what is there, and a link that leads there, belongs to this user or to the system's.

    >>> is_trusted(Path("/"))
    True
    """
    return is_ours_or_systems(path.lstat().st_uid) and is_ours_or_systems(path.stat().st_uid)


def by_umask(mode: int) -> int:
    """What the umask leaves of a mode."""
    umask = os.umask(0o077)  # it cannot be read without being set; what another thread makes now is not too open
    os.umask(umask)
    return mode & ~umask


def take_mode(handle: int, old: os.stat_result) -> None:
    """Give a file or a folder the mode of the one that it replaces, and its owner as far as this user may.

    Where the group cannot be kept, what that group was allowed is allowed to nobody.
    """
    if not MODES:
        return
    mode, now = stat.S_IMODE(old.st_mode), os.fstat(handle)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(handle, old.st_uid if os.geteuid() == 0 else -1, old.st_gid)
        except OSError:
            mode &= ~0o070
    os.fchmod(handle, mode)


def _in_the_way(path: Path, kind: str) -> str:
    return f"{path} is a link, another user's or no {kind}, where sijo keeps a {kind} of its own; remove it"
