"""A folder, here or elsewhere, whose files stand whole or not at all."""

import shutil
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from sijo.errors import SettingError
from sijo.files.atomic import whole_file
from sijo.files.paths import present
from sijo.files.resumable import ResumableFolder
from sijo.files.urls import file_system, is_url, patiently, shown

WHOLE_AT_ONCE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
"""Stores in which what is put is there at its end, or not at all; elsewhere a file takes its name when it is
whole."""


class Place(Protocol):
    """Files by their names in the folder, parted by "/"."""

    name: str
    """What messages call it."""

    def read(self, name: str) -> bytes | None:
        """All of a file; None where there is none of that name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all, in place of one of that name."""
        ...

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        ...

    def sizes(self) -> dict[str, int]:
        """Every file with its bytes."""
        ...

    def digest(self, name: str) -> str | None:
        """The SHA-256 of a file, where that costs no more than reading a disk; else None."""
        ...

    def hold(self, name: str) -> None:
        """Keep other processes out until `close`, by a folder of that name, where the system can."""
        ...

    def close(self) -> None:
        """Let others at it."""
        ...


class LocalPlace:
    """A folder of this machine, or one that its file system has from elsewhere."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise SettingError(f"{folder} is a file, and parts want a folder; name another")
        self.folder, self.name = folder, str(folder)
        self._held: ResumableFolder | None = None

    def read(self, name: str) -> bytes | None:
        file = present(self.folder, name) if self.folder.is_dir() else None
        return None if file is None else file.read_bytes(sys.maxsize)

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / name) as out:
            out.write(content)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def sizes(self) -> dict[str, int]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files}

    def digest(self, name: str) -> str | None:
        return sha256(self.read(name) or b"").hexdigest()

    def hold(self, name: str) -> None:
        self._held = ResumableFolder(self.folder / name).lock()
        for litter in self.folder.glob("*.tmp-*"):  # of a process that was killed while it wrote
            litter.unlink(missing_ok=True)

    def close(self) -> None:
        if self._held is None:
            return
        folder = self._held.folder
        if {path.name for path in folder.iterdir()} <= {".lock"}:
            shutil.rmtree(folder, ignore_errors=True)
        self._held.close()
        self._held = None
        with suppress(OSError):
            self.folder.rmdir()  # where nothing was made


class RemotePlace:
    """A folder that fsspec reaches."""

    def __init__(self, url: str) -> None:
        self._url, self.name = url, shown(url)
        self._system, path = file_system(url)
        self._root = path.rstrip("/")
        protocol = self._system.protocol
        self._at_once = bool(
            WHOLE_AT_ONCE & {protocol} if isinstance(protocol, str) else WHOLE_AT_ONCE & {*protocol}
        )

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(patiently(lambda: self._system.cat_file(self._path(name)), self._url))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        patiently(lambda: self._put(self._path(name), content), self._url)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            patiently(lambda: self._system.rm_file(self._path(name)), self._url)

    def sizes(self) -> dict[str, int]:
        self._system.invalidate_cache()
        try:
            found = patiently(lambda: self._system.find(self._root, detail=True), self._url)
        except FileNotFoundError:
            return {}
        return {path.removeprefix(self._root).lstrip("/"): int(about["size"]) for path, about in found.items()}

    def digest(self, name: str) -> str | None:
        return None

    def hold(self, name: str) -> None:
        """Nobody is kept out: such a store has no locks."""

    def close(self) -> None:
        """Nothing was held."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, path: str, content: bytes) -> None:
        self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        if self._at_once:
            self._system.pipe_file(path, content)
            return
        self._system.pipe_file(f"{path}.tmp-part", content)
        self._system.mv(f"{path}.tmp-part", path)


def place_of(word: str) -> Place:
    """The folder that a path or a URL names; it need not be there yet.

    >>> place_of("labelled/").name
    'labelled'
    """
    if word.startswith("file://"):
        return LocalPlace(Path(file_system(word)[1]))
    return RemotePlace(word) if is_url(word) else LocalPlace(Path(word))
