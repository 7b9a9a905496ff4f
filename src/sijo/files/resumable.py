"""Work that can be resumed: a folder held by one process, and what the work in it was begun with.

    settings.json   what decides the results; work that is resumed must have the same
    lock            held by the one process at work here; `.lock`, a folder, where the results stay in the folder

Every file is written under another name, brought to disk and renamed, so each is whole or not there
after `kill -9` at any instant. A folder that goes at the end can tell about texts, and is this user's alone.
What the results are is up to the work: blocks of an output in `output_job.py`, shards of a corpus in
`data/prepare_shards.py`, checkpoints in `jobs/run_folder.py`.
"""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sijo.errors import SettingError
from sijo.files.atomic import lock, sync, whole_file
from sijo.files.json_files import read_object
from sijo.files.paths import present
from sijo.files.private import make_folder, open_file
from sijo.files.system import MODES, OPENS_FOLDERS
from sijo.files.system import lock as hold

SETTINGS = "settings.json"


class ResumableFolder:
    """A folder of work that can be resumed. Nothing is touched before it is locked.

    folder   where the work is
    results  a pattern of the files that are worth resuming from, in a folder that goes at the end;
             None for a folder that stays, with all that is in it
    """

    begun = False
    """This process began the work, or went on with it."""

    def __init__(self, folder: Path, *, results: str | None = None) -> None:
        self.folder, self.results = folder, results
        self._lock: int | None = None

    def begun_with(self) -> dict[str, Any] | None:
        """The fields of settings.json; None when no work was begun here."""
        file = present(self.folder, SETTINGS)
        return None if file is None else read_object(file)

    def worth_resuming(self) -> bool:
        """Whether it has results, or permission to overwrite, which is remembered from the start."""
        settings = self.begun_with()
        return settings is not None and (settings["overwrite"] or any(self.folder.glob(str(self.results))))

    def lock(self, *, names: Sequence[str] = ("*",)) -> Self:
        """Hold the folder, made if need be, until `close`; clear away what of these files was half written.

        Raises SettingError when another process has it, or when nothing can be written there.
        """
        self._lock = _locked_folder(self.folder) if self.results is None else _locked_file(self.folder)
        for name in names:
            for litter in self.folder.glob(f"{name}.tmp-*"):
                litter.unlink(missing_ok=True)
        return self

    def begin(self, settings: dict[str, Any], *, work: str, resume: bool, overwrite: bool) -> bool:
        """Go on with what was begun with these settings, or start over.

        settings   as JSON can say them
        work       what it is, in a refusal
        overwrite  permission to replace an output; work that is resumed keeps the one it was begun with

        Returns that permission. Raises SettingError when the work to be resumed was begun with other settings.
        """
        earlier = self.begun_with()
        if earlier and resume:
            must_agree(
                f"the {work} to be resumed",
                differences(earlier["settings"], settings)[:1],
                "give it as it was, or start over with overwrite",
            )
            overwrite = bool(earlier["overwrite"])
        else:
            self.clear()
            self.write_file(SETTINGS, json.dumps({"overwrite": overwrite, "settings": settings}).encode())
            sync(self.folder.parent)
        self.begun = True
        return overwrite

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file whole; in a folder that goes at the end, for this user alone to read."""
        with whole_file(self.folder / name, private=self.results is not None) as out:
            out.write(content)

    def clear(self) -> None:
        """Remove all but the lock. The settings go first: without them, whatever else is there is litter."""
        assert self.results is not None  # else what is there is not ours alone
        if (self.folder / SETTINGS).exists():
            (self.folder / SETTINGS).unlink()
            sync(self.folder)
        for path in self.folder.iterdir():
            if path.name != "lock" and not path.is_dir():
                path.unlink()

    def remove(self) -> None:
        """Remove the folder while it is still held, and let go of it."""
        self.clear()
        if not MODES:  # Windows removes no file that is open
            self._release()
        (self.folder / "lock").unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process may be moving in
                raise
        self._release()

    def close(self) -> None:
        """Let others at the folder. One that does not stay goes when nothing in it is worth resuming."""
        try:
            if self._lock is not None and self.results is not None:
                is_ours = self.begun or not (self.folder / SETTINGS).exists()
                if is_ours and not self.worth_resuming():
                    self.remove()
        finally:
            self._release()

    def _release(self) -> None:
        self.begun = False
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What settings are other than they were, one phrase each; their order counts too.

    >>> differences({"seed": 1}, {"seed": 2, "length": 8})
    ['seed: 1, and now it is 2', 'length: not given, and now it is 8']
    """
    phrases = []
    for name in {**now, **earlier}:
        old, new = (json.dumps(settings[name]) if name in settings else "not given" for settings in (earlier, now))
        if old != new:
            phrases.append(f"{name}: {old}, and now it is {new}")
    if not phrases and list(earlier) != list(now):
        phrases.append("the same in another order")
    return phrases


def must_agree(work: str, different: Sequence[str], remedy: str) -> None:
    """Refuse to go on with work that was begun with other settings.

    >>> must_agree("the run in out", ["seed=1, not 2"], "begin another run")
    Traceback (most recent call last):
    sijo.errors.SettingError: the run in out was begun with seed=1, not 2; begin another run
    """
    if different:
        more = "; …" if len(different) > 4 else ""
        raise SettingError(f"{work} was begun with {'; '.join(different[:4])}{more}; {remedy}")


def _locked_folder(folder: Path) -> int:
    own = folder / ".lock"  # not the folder itself, which `whole_folder` locks for each thing in it
    own.mkdir(parents=True, exist_ok=True)
    handle = lock(own) if OPENS_FOLDERS else _lock_of_file(own / "held")
    if handle is None:
        raise SettingError(f"another process is at work in {folder}; wait for it, or stop it")
    return handle


def _lock_of_file(path: Path) -> int | None:
    """What `lock` gives of a folder, of a file in it: for systems that open no folders."""
    handle = open_file(path, os.O_RDWR | os.O_CREAT, private=True)
    try:
        hold(handle)
    except OSError:
        os.close(handle)
        return None
    return handle


def _locked_file(folder: Path) -> int:
    path = folder / "lock"
    while True:
        try:
            make_folder(folder, private=True)
            try:
                handle = open_file(path, os.O_RDWR | os.O_CREAT, private=True)
            except FileNotFoundError:
                continue  # the process before us removed the folder in the meantime
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise  # another folder on that disk would be no remedy
            raise SettingError(
                f"cannot write in {folder.parent} ({error.strerror}); name an output in a folder that is "
                "there and may be written to"
            ) from error
        try:
            hold(handle)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                return handle
            os.close(handle)  # removed between the two calls
        except OSError as error:
            os.close(handle)
            raise SettingError(
                f"another process is at work in {folder} ({error.strerror}); wait for it, or name another output"
            ) from error
