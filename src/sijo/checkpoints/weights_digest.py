"""Which weights a file of another kind was made of, told by one digest of the folder's own."""

import hashlib
from collections.abc import Iterable

from sijo.files.manifest import checked_sha256
from sijo.files.paths import FolderFile


def weights_digest(files: Iterable[FolderFile]) -> str:
    """The SHA-256 over the names and SHA-256 of the files of a folder's weights; 64 hexadecimal digits.

    files  of the weights, and of an adapter that is merged into them

    Each file is read, unless this process has hashed it and it is as it was then: a manifest alone would speak of
    weights that were replaced since. Raises CheckpointError for one that is not as a manifest lists it.

    >>> weights_digest([])
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    whole = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        whole.update(f"{file.name} {checked_sha256(file.folder, file.name)}\n".encode())
    return whole.hexdigest()
