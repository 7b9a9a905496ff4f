"""Checkpoints that `load` will not open, made into folders that it does: pickles, and TensorFlow's names.

Only here is a pickle read, by a process in a locked room (`pickled.py`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from sijo.checkpoints.folder import present, read_object, whole_folder
from sijo.checkpoints.load import TOKENIZER_FILES, buildable, load
from sijo.checkpoints.names import full_name, held
from sijo.checkpoints.pickled import read_pickled
from sijo.checkpoints.tensorflow import from_tensorflow, is_tensorflow
from sijo.checkpoints.weights import PICKLED, WEIGHTS, read_file, read_weights, write_weights
from sijo.errors import CheckpointError, RefusedError, SettingError, nearest
from sijo.models import FAMILIES, SIZES
from sijo.models.family import Config, Family

CONFIGS = ("config.json", "bert_config.json", "albert_config.json", "electra_config.json", "model_config.json")
"""What the first codes called it, too."""
BESIDE = (*TOKENIZER_FILES, "README.md", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json")


def convert(
    source: str | Path,
    target: str | Path,
    *,
    size: str | None = None,
    model_type: str | None = None,
    part: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a folder that sijo and transformers open of a checkpoint in another form.

    source      a folder, or one file of weights: a pickle by torch.save (.bin, .pt, .pth, .ckpt), or
                safetensors by present or by TensorFlow's names
    target      a folder that is not there yet
    size        a published size, where there is no config.json
    model_type  what it is, where its config does not say so
    part        "discriminator" or "generator", of an ELECTRA by its first code
    overwrite   replace a model that is there

    All tensors are kept, under their present names; the tokenizer's files and the card go with them. The
    new folder is opened once before it takes its place.

    Returns the folder. Raises what `load` raises, and RefusedError for a pickle that holds more than tensors.
    """
    source = Path(source).expanduser()
    folder = source if source.is_dir() else source.parent
    if not source.exists():
        raise SettingError(f"there is no {source}; name a folder, or a file of weights")
    fields = _fields(folder, size=size, model_type=model_type)
    family = FAMILIES[str(fields["model_type"])]
    config = family.config.read(fields)
    with _tensors(source) as found, whole_folder(Path(target), overwrite=overwrite) as fresh:
        tensors = from_tensorflow(found, family.model_type, part=part) if is_tensorflow(found) else found
        named = _named(family, config, tensors)
        said = fields.get("architectures")
        for layout in held(family, config, named, said if isinstance(said, list) else []).values():
            fields |= layout.says
            for copy, original in layout.copies.items():
                if copy in named and original in named and torch.equal(named[copy], named[original]):
                    del named[copy]
        (fresh / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        write_weights(fresh, named)
        for name in BESIDE:
            if (file := present(folder, name)) is not None:
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_bytes(file.read_bytes())
        load(fresh)  # what cannot be opened is not left behind
    return Path(target)


def _fields(folder: Path, *, size: str | None, model_type: str | None) -> dict[str, object]:
    """The fields of a config, from a published size or from the folder."""
    if size is not None:
        if size not in SIZES:
            raise SettingError(f"no published size {size!r}{nearest(size, SIZES)}; there are {', '.join(SIZES)}")
        return {"model_type": SIZES[size].model_type} | dict(SIZES[size].sizes[size])
    config = next((file for name in CONFIGS if (file := present(folder, name))), None)
    if config is None:
        raise CheckpointError(f"{folder} has no config.json; say what it is with size, such as albert-base-v2")
    fields = read_object(config)
    if model_type is not None:
        fields["model_type"] = model_type
    elif "model_type" not in fields:
        fields["model_type"] = config.name.partition("_config")[0]  # bert_config.json says it in its name
    return buildable(fields, config)


@contextmanager
def _tensors(source: Path) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of a folder or a file, by whatever names they have there."""
    file = source
    if source.is_dir():
        pickles = sorted(path for path in source.iterdir() if path.suffix in PICKLED)
        if (source / WEIGHTS).exists() or (source / f"{WEIGHTS}.index.json").exists() or not pickles:
            yield read_weights(source)
            return
        if len(pickles) > 1:
            raise SettingError(
                f"{source} holds {len(pickles)} pickles, such as {pickles[0].name}; name the one with the weights"
            )
        file = pickles[0]
    safe = present(file.parent, file.name)
    if safe is None:
        raise SettingError(f"there is no {file}")
    if file.suffix == ".safetensors":
        yield read_file(safe)
    elif file.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        with read_pickled(safe) as tensors:
            yield tensors
    else:
        raise RefusedError(f"{file} is neither safetensors nor a .bin, .pt, .pth or .ckpt by torch.save")


def _named(family: Family, config: Config, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their full present names, without those that carry nothing learned."""
    behind = {family.prefix + name for name in family.left_behind}
    named = {full_name(family, name): tensor for name, tensor in tensors.items()}
    if len(named) < len(tensors):
        raise CheckpointError(
            f"{len(tensors) - len(named)} of these tensors have the name of another; copy it again"
        )
    return {name: tensor for name, tensor in named.items() if name not in behind}
