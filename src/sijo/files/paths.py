"""The files of a folder, and the only way to them: within the folder, ordinary, and as its manifest says.

Whoever reads a folder that others may have made asks for `present(folder, name)` and reads what it gives.
Nothing of such a folder is opened by its path.
"""

import mmap
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from sijo.errors import CheckpointError
from sijo.files.manifest import identity, must_match
from sijo.files.opener import open_inside
from sijo.files.system import allow_open_files, read_at

READ_WHOLE = 1 << 24
"""Bytes up to which a file of weights is read rather than mapped: then nobody can change it any more."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for another, which a clone without Git LFS did not fetch."""


@dataclass(frozen=True)
class FolderFile:
    """A file of a folder, which is opened anew, and looked at anew, each time that it is read.

    Where the folder has a manifest, the very bytes that are given are those that it lists, or CheckpointError is
    raised; as it is where the file has gone. Else errors are those of `open_inside`.
    """

    folder: Path
    name: str
    """Within the folder, parted by "/"."""
    check: bool = True
    """Whether its content must be what a manifest lists; if not, its name must still be there."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def path(self) -> Path:
        """Where it is, for a sentence about it."""
        return self.folder / self.name

    def open(self) -> BufferedReader:
        """The file, open for reading; hashed before, unless this process has done so and it is as it was then."""
        stream = self._opened()
        try:
            self._must_match(stream)
        except BaseException:
            stream.close()
            raise
        return stream

    def read_bytes(self, most: int) -> bytes:
        """All of it; CheckpointError where that is more than `most` bytes."""
        with self._opened() as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(size + 1) if size <= most else b""
        if max(size, len(content)) > most:
            raise CheckpointError(f"{self} is longer than {most} bytes, which cannot be; copy it again")
        self._must_match(content)
        return content

    def buffer(self) -> bytearray | mmap.mmap:
        """All of it, to be kept and written to in memory: of a large file mapped pages, which take none till then.

        While pages are mapped, a program that writes into the file, instead of putting another in its place,
        changes what is read from them. Each mapping keeps a file open.
        """
        with self._opened() as stream:
            before = identity(stream)
            size = os.fstat(stream.fileno()).st_size
            content: bytearray | mmap.mmap
            if size <= READ_WHOLE:
                content = bytearray(size)
                stream.readinto(content)
                self._must_match(content)
            else:
                self._must_match(stream)
                content = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY)
            if identity(stream) != before:
                raise CheckpointError(f"{self} was changed while it was read; open it again")
        return content

    def _must_match(self, content: bytes | bytearray | BufferedReader) -> None:
        must_match(self.folder, self.name, content if self.check else None)

    def _opened(self) -> BufferedReader:
        stream = open_inside(self.folder, self.name)
        if stream is None:
            raise CheckpointError(f"{self} is absent, though it was there a moment ago; copy the folder again")
        if read_at(stream.fileno(), len(LFS_POINTER), 0) == LFS_POINTER:
            stream.close()
            raise CheckpointError(f"{self} is Git LFS's pointer to the file: run `git lfs pull`, or download it")
        return stream


def present(folder: Path, name: str, *, check: bool = True) -> FolderFile | None:
    """A file of a folder, safe to read, or None when there is none of that name; errors are those of `open_inside`.

    check  whether its content must be what a manifest lists

    >>> present(Path("."), "absent.json") is None
    True
    """
    stream = open_inside(folder, name)
    if stream is None:
        return None
    stream.close()
    return FolderFile(folder, name, check)


def allow_files(count: int) -> None:
    """Let this process have so many more files open, as far as it may."""
    allow_open_files(count + 1_000)
