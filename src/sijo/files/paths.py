"""Paths of files that untrusted names lead to: none outside of the folder is opened."""

import stat
from pathlib import Path, PurePath

from sijo.errors import CheckpointError, RefusedError


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
