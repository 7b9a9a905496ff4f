"""A run's folder: taken by one process, new, or begun with the same settings over the same text or rows."""

from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from sijo.checkpoints.describe import describe
from sijo.checkpoints.locate import locate
from sijo.checkpoints.sentence import network_folder
from sijo.checkpoints.weight_files import weight_files
from sijo.errors import SettingError
from sijo.files.json_files import json_text, read_object
from sijo.files.paths import present
from sijo.files.resumable import SETTINGS, ResumableFolder, must_agree
from sijo.training.settings import Settings, read_settings, setting_differences

BESIDE = ("config.json", "tokenizer.json")
"""Of a model's folder, what decides what it does besides its weights."""


def model_words(**models: str | None) -> dict[str, str]:
    """Which models a run reads besides its text or rows: a digest of the files of each, by what it is to the run.

    models  a folder or org/name; None for the built-in one

    >>> list(model_words(teacher=None))
    ['files of the teacher']
    """
    words = {}
    for name, model in models.items():
        folder = locate(model)
        digest = blake2b(digest_size=16)
        network = network_folder(folder)
        beside = [file for name in BESIDE if (file := present(network, name)) is not None]
        for file in [*weight_files(network), *beside]:
            with file.open() as stream:
                digest.update(file_digest(stream, "blake2b").digest())
        if (sentence := describe(folder).sentence).learned_steps:
            digest.update(str(sentence.steps).encode())
        words[f"files of the {name}"] = digest.hexdigest()
    return words


def take_run_folder(
    out: Path, settings: Settings, name: str, words: Mapping[str, Any], *, resume: bool
) -> ResumableFolder:
    """Take a run's folder, new or begun with the same, until it is closed.

    name   of the file beside settings.json that names what is read
    words  its content

    Raises SettingError that names what is other than when the run was begun.
    """
    folder = ResumableFolder(out)
    begun = folder.begun_with()
    if begun is not None and not resume:
        raise SettingError(f"there is a run in {out}; --resume goes on with it, or name another folder")
    if begun is None and out.exists():  # a run that was killed before it began may have left its first file
        names = {path.name.partition(".tmp-")[0] for path in out.iterdir() if path.name[0] != "."}
        if names - {SETTINGS, name}:
            raise SettingError(f"{out} holds other things than a run; name another folder")
        (out / name).unlink(missing_ok=True)
    different = [] if begun is None else setting_differences(read_settings(begun, type(settings)), settings)
    reading = present(out, name)
    earlier = words if reading is None else read_object(reading)
    different += [
        f"{path} {earlier.get(path)}, not {words[path]}" for path in words if earlier.get(path) != words[path]
    ]
    must_agree(f"the run in {out}", different, "give the same settings, or begin another run")
    with ExitStack() as stack:  # whoever keeps the error of a full disk keeps no lock
        stack.enter_context(folder).lock(names=(SETTINGS, name))
        folder.write_file(name, json_text(words).encode())
        folder.write_file(SETTINGS, json_text(settings.to_json()).encode())
        stack.pop_all()
    return folder
