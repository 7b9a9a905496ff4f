"""A model of the Hub, whole: into its cache, or into a folder of its own, and checked by its manifest."""

import re
from pathlib import Path

from sijo.checkpoints.blocks import tensor_entries
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.hub.calls import api, hub_asked, must_be_a_name
from sijo.checkpoints.hub.travelling import travels
from sijo.checkpoints.locate import FILES, ONNX_FILES, from_hub, offline
from sijo.errors import CheckpointError
from sijo.files.atomic import copy_folder, must_be_free, whole_folder
from sijo.files.manifest import MANIFEST, verify


def download(repo: str, *, revision: str | None = None, out: str | Path | None = None) -> Path:
    """Fetch a model from the Hub, all of it or nothing.

    repo      org/name
    revision  branch, tag or commit; None for the main branch
    out       a folder that is not there yet; None for the Hub's cache (HF_HOME), from which `org/name` is opened
              as a model anywhere

    What sijo pushed comes with its manifest, and each byte is compared with it. Of others the files are fetched
    that sijo reads, which are none that can carry code. What was fetched whole before an interruption is not
    fetched again; until all is there, nothing is at `out`, and the cache's part is not taken for a model.

    Returns the folder. Raises SettingError for a name or a revision that is not there or not to be seen with the
    token, SijoError where the Hub does not answer, CheckpointError or RefusedError for what is no model.
    """
    hub = api()
    must_be_a_name(repo)
    if out is not None:
        must_be_free(Path(out), overwrite=False)
    if offline():
        folder = from_hub(repo, revision)
    else:
        with hub_asked(f"{repo} was not downloaded"):
            about = hub.model_info(repo, revision=revision)
            names = [file.rfilename for file in about.siblings or ()]
            ours = MANIFEST in names
            wanted = [name for name in names if travels(name)] if ours else [*FILES, *ONNX_FILES]
            patterns = [_exactly(name) for name in wanted if name != MANIFEST] if ours else wanted
            folder = Path(hub.snapshot_download(repo, revision=revision, allow_patterns=patterns))
            if folder.name != about.sha:
                raise CheckpointError(f"{repo} was changed while it was downloaded; download it again")
            if ours:  # the last file: what has it is whole
                hub.hf_hub_download(repo, MANIFEST, revision=about.sha)
    must_be_a_model(folder)
    if out is None:
        return folder
    with whole_folder(Path(out)) as fresh:
        copy_folder(folder, fresh, leave=lambda name: not travels(name))
    return Path(out)


def must_be_a_model(folder: Path) -> None:
    """Raise CheckpointError or RefusedError for a folder that is damaged, cut short or of a kind sijo lacks."""
    verify(folder)
    described = FolderDescription(folder)
    if described.onnx_alone is None:
        tensor_entries(described.base)


def _exactly(name: str) -> str:
    """A pattern that matches a name alone.

    >>> _exactly("a[1]*.json")
    'a[[]1][*].json'
    """
    return re.sub(r"([*?[])", r"[\1]", name)
