"""A run's folder: taken by one process, new, or begun with the same settings over the same text or rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sijo.errors import SettingError
from sijo.files.atomic import lock, whole_file
from sijo.files.json_files import read_object
from sijo.training.settings import Settings, read_settings, setting_differences


def take_run_folder(out: Path, settings: Settings, name: str, words: Mapping[str, Any], *, resume: bool) -> int:
    """Take a run's folder, new or begun with the same; returns the handle of its lock.

    name   of the file beside settings.json that says what is read
    words  what it says

    Raises SettingError that names what is other than when the run was begun.
    """
    begun, reading = out / "settings.json", out / name
    if begun.is_file() and not resume:
        raise SettingError(f"there is a run in {out}; --resume goes on with it, or name another folder")
    if out.exists() and not begun.is_file():  # a run that was killed before it began may have left its first file
        names = {path.name.partition(".tmp-")[0] for path in out.iterdir() if path.name[0] != "."}
        if names - {begun.name, reading.name}:
            raise SettingError(f"{out} holds other things than a run; name another folder")
        reading.unlink(missing_ok=True)
    other = (
        setting_differences(read_settings(read_object(begun), type(settings)), settings) if begun.is_file() else []
    )
    earlier = read_object(reading) if reading.is_file() else words
    other += [
        f"{path} {earlier.get(path)}, not {words[path]}" for path in words if earlier.get(path) != words[path]
    ]
    if other:
        raise SettingError(
            f"the run in {out} was begun with {'; '.join(other[:4])}{'; …' if len(other) > 4 else ''}; give the "
            "same settings, or begin another run"
        )
    own = out / ".lock"  # not the folder itself, which `whole_folder` locks for each thing in it
    own.mkdir(parents=True, exist_ok=True)
    handle = lock(own)
    if handle is None:
        raise SettingError(f"another process is at work in {out}; wait for it, or stop it")
    for litter in (*out.glob(f"{begun.name}.tmp-*"), *out.glob(f"{reading.name}.tmp-*")):
        litter.unlink(missing_ok=True)
    for place, content in ((reading, words), (begun, settings.to_json())):
        with whole_file(place) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return handle
