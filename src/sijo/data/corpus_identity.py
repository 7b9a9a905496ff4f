"""What a finished corpus was made of: kept beside it, so that it is never taken for one of other files or settings.

The shards of `.../corpus` hold the same bytes wherever their texts lay, so this stands in `.corpus.sijo-id` beside
the folder: the settings, the files with their digests, and the digest of the corpus itself.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from sijo.data.corpus import SourceFile
from sijo.errors import CheckpointError, SettingError
from sijo.files.atomic import sync
from sijo.files.json_files import read_object
from sijo.files.paths import present
from sijo.files.resumable import ResumableFolder, differences, must_agree

REMEDY = "give the same, overwrite it, or name another folder"


def leave_identity(
    folder: Path,
    work: ResumableFolder,
    *,
    fingerprint: str,
    settings: Mapping[str, Any],
    sources: Sequence[SourceFile],
) -> None:
    """Write beside a corpus what it was made of; reads every file once, which takes a second for a gigabyte.

    work         where it is written, before it takes its place
    fingerprint  of the corpus
    settings     what decided the shards, but the files
    """
    files = [_looks(source) | {"digest": _digest(source)} for source in sources]
    identity = {"corpus": fingerprint, "settings": settings, "files": files}
    work.write_file("identity", json.dumps(identity).encode())
    (work.folder / "identity").replace(_beside(folder))
    sync(folder.parent)


def must_be_made_of(
    folder: Path, *, fingerprint: str, settings: Mapping[str, Any], sources: Sequence[SourceFile]
) -> None:
    """Refuse a corpus that was made with other settings or of other texts, or of which that is not known.

    A file is read again only where its path, size or time has changed; one that is gone is taken for unchanged.

    Raises SettingError that names the setting or the file.
    """
    made = _made(folder)
    if made is None or made["corpus"] != fingerprint:
        raise SettingError(
            f"{folder} has no {_beside(folder).name} of its own beside it, so nobody knows what it was made of; "
            "overwrite it, or name another folder"
        )
    work, files = f"the corpus in {folder}", made["files"]
    must_agree(work, differences(made["settings"], settings)[:1], REMEDY)
    if len(files) != len(sources):
        must_agree(work, [f"{len(files)} files, and now there are {len(sources)}"], REMEDY)
    for then, source in zip(files, sources, strict=True):
        gone = not source.path.exists() and then.get("path") == str(source.path.absolute())
        same = gone or all(then.get(name) == value for name, value in _looks(source).items())
        if then.get("code") != source.code:
            must_agree(work, [f"the control code {then.get('code')} for {source.path}, not {source.code}"], REMEDY)
        if not same and then.get("digest") != _digest(source):
            must_agree(work, [f"other text than {source.path} now holds"], REMEDY)


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.sijo-id")


def _made(folder: Path) -> dict[str, Any] | None:
    """What a corpus was made of, or None."""
    path = _beside(folder)
    try:
        file = present(path.parent, path.name)
        made = {} if file is None else read_object(file)
    except CheckpointError:
        return None
    return made if made.keys() >= {"corpus", "settings", "files"} else None


def _looks(source: SourceFile) -> dict[str, Any]:
    """What tells at a glance that a file is the same."""
    path = source.path.absolute()
    about = path.stat()
    return {"path": str(path), "code": source.code, "bytes": about.st_size, "changed": about.st_mtime_ns}


def _digest(source: SourceFile) -> str:
    with source.path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=32)).hexdigest()
