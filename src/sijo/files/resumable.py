"""Work that can be resumed."""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sijo.errors import SettingError
from sijo.files.json_files import read_object


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
