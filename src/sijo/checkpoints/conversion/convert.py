"""Checkpoints that `load` will not open, made into folders that it does: pickles, and TensorFlow's names.

Only here is a pickle read, by a jailed process (`pickled.py`).
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from sijo.checkpoints.adapters import adapter_in
from sijo.checkpoints.conversion.modules import copy_modules
from sijo.checkpoints.conversion.pickled import read_pickled
from sijo.checkpoints.conversion.tensorflow import from_tensorflow, is_tensorflow
from sijo.checkpoints.describe import buildable, describe, no_tokenizer
from sijo.checkpoints.load import load
from sijo.checkpoints.locate import BESIDE_WEIGHTS, SENTENCE_CONFIGS, is_built_in, locate
from sijo.checkpoints.save import save
from sijo.checkpoints.sentence import network_folder
from sijo.checkpoints.weight_files import PICKLED, has_weights, weight_map
from sijo.checkpoints.weights import read_file, read_weights, write_weights
from sijo.errors import CheckpointError, RefusedError, SettingError, SijoError
from sijo.files.atomic import whole_folder
from sijo.files.json_files import LONGEST_JSON, read_object, write_json
from sijo.files.manifest import verify
from sijo.files.paths import present
from sijo.models import FAMILIES, published
from sijo.models.family import Config, Family, Layout
from sijo.models.labels import with_labels
from sijo.nn.head_specs import POOLER

log = logging.getLogger(__name__)
Tell = Callable[[str], object]
CONFIGS = ("config.json", "bert_config.json", "albert_config.json", "model_config.json")
"""Its names in the papers' first code."""
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
BY_TORCH = (".bin", ".pt", ".pth", ".ckpt")
RENAMED = {"30k-clean.model": "spiece.model"}
"""Files that are copied under another name: the first ALBERT's vocabulary."""
LARGEST = 16 * LONGEST_JSON
"""Bytes of a file that is copied, at most."""


def convert(
    source: str | Path,
    target: str | Path,
    *,
    size: str | None = None,
    model_type: str | None = None,
    part: str | None = None,
    overwrite: bool = False,
    base: str | Path | None = None,
    tell: Tell = log.info,
) -> Path:
    """Make a folder that sijo and transformers open of a checkpoint in another form, or of an adapter.

    source      a folder, "sijo-small", or one file of weights: a pickle by torch.save (.bin, .pt, .pth, .ckpt), or
                safetensors by present or by TensorFlow's names
    target      a folder that is not there yet
    size        a published size, where there is no config.json
    model_type  what it is, where its config does not say so
    part        "discriminator" or "generator", of an ELECTRA that was saved with both
    overwrite   replace a model that is there
    base        the model of an adapter that stands alone; see `load`
    tell        called with a sentence on each thing left out and why, and on what the folder holds

    Tensors keep their numbers and get their present names; the tokenizer's files and the card go with
    them. Encoder and heads are opened once before the folder takes its place.

    Returns the folder. Raises what `load` raises, and RefusedError for a pickle that holds more than
    tensors, and for any where the system has no jail to read it in.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if is_built_in(source):
        source = locate(source)
    folder = source if source.is_dir() else source.parent
    _may(source, target, overwrite=overwrite)
    if source.is_dir() and (base is not None or adapter_in(source) is not None):
        if size or model_type or part:
            raise SettingError("size, model_type and part are not for an adapter, whose model says what it is")
        held = describe(source, base=base).heads
        tell(f"merged the adapter; holds {', '.join(['the encoder', *held])}")
        return save(load(source, held, base=base), target, overwrite=overwrite)
    network = network_folder(folder) if source.is_dir() else folder
    fields = _fields(network, size=size, model_type=model_type)
    family = FAMILIES[str(fields["model_type"])]
    config = family.config.read(fields)
    with _tensors(network if source.is_dir() else source, tell) as tensors:
        named = _named(family, config, _present(tensors, family, config, part, tell), tell)
        classes = fields.get("architectures")
        heads = family.held(config, named, classes)
        bare = [] if heads.pop(POOLER, None) is None else [family.published([])]
        fields |= _says(heads, named, fields)
        with whole_folder(target, overwrite=overwrite) as fresh:
            write_weights(fresh, named)
            _copy(network, fresh)
            copy_modules(folder, fresh, tell)
            write_json(fresh / "config.json", fields)
            try:
                opening = _opening(fresh, heads, tell)
            except SijoError as error:  # in terms of the source: the fresh folder is about to go
                message = str(error).replace(f"{fresh}/", f"{folder}/").replace(str(fresh), str(source))
                raise type(error)(message) from error
            if not classes:
                classes = [*(family.published([name]) for name in opening), *bare] or [family.published([])]
                write_json(fresh / "config.json", fields | {"architectures": classes})
            if describe(fresh).lacks_tokenizer:
                tell(str(no_tokenizer(target)))
    return target


def _may(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse at once what would be refused, or regretted, after all the work."""
    if not source.exists():
        raise SettingError(f"there is no {source}; name a folder, or a file of weights")
    if os.path.lexists(target) and not overwrite:
        raise SettingError(f"{target} exists already; name another folder, or allow it to be overwritten")
    if source.resolve().is_relative_to(target.resolve()):
        raise SettingError(f"{target} holds {source} itself, which would be lost; name another folder")
    if source.is_dir():
        verify(source)


def _fields(folder: Path, *, size: str | None, model_type: str | None) -> dict[str, object]:
    """The fields of a config, from a published size or from the folder."""
    if size is not None:
        family, _ = published(size)
        return {"model_type": family.model_type, **family.sizes[size]}
    config = next((file for name in CONFIGS if (file := present(folder, name))), None)
    if config is None:
        raise SettingError(
            f"{folder} has no config.json; say what it is with --size, such as albert-base-v2 (in Python: size=)"
        )
    fields = read_object(config)
    kind = model_type or fields.get("model_type") or config.name.partition("_config")[0]
    if kind in ("config.json", "model"):  # a name that says nothing
        raise SettingError(
            f"{config} has no model_type; say it with --model-type (in Python: model_type=), one of "
            f"{', '.join(FAMILIES)}"
        )
    return buildable(fields | {"model_type": kind}, config.path)


@contextmanager
def _tensors(source: Path, tell: Tell) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of a folder or a file, by whatever names they have there."""
    folder, files = (source, _files(source)) if source.is_dir() else (source.parent, {source.name: None})
    if not files:
        yield read_weights(source)
        return
    weights: dict[str, Tensor] = {}
    with ExitStack() as readers:
        for name, listed in files.items():
            file = present(folder, name)
            if file is None:
                raise CheckpointError(f"{folder / name} is absent, though {BIN_INDEX} names it; copy it again")
            if file.path.suffix == ".safetensors":
                tensors = read_file(file)
            elif file.path.suffix in BY_TORCH:
                tell(f"reading {name} in a process of its own")
                tensors = readers.enter_context(read_pickled(file))
            else:
                raise RefusedError(f"{file} is neither safetensors nor a {', '.join(BY_TORCH)} by torch.save")
            if listed is not None and (astray := sorted(listed ^ tensors.keys())):
                raise CheckpointError(f"{file} and {BIN_INDEX} disagree about {astray[0]}; copy the folder again")
            weights |= tensors
        yield weights


def _files(folder: Path) -> Mapping[str, set[str] | None]:
    """The files of weights, and the tensors that an index says are in each; none where `load` knows them itself."""
    if has_weights(folder):
        return {}
    if index := present(folder, BIN_INDEX):
        shard_of = weight_map(index)
        listed: dict[str, set[str]] = {name: set() for name in sorted(set(shard_of.values()))}
        for tensor, name in shard_of.items():
            listed[name].add(tensor)
        return listed
    if present(folder, BIN):
        return {BIN: None}
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", *PICKLED))
    if len(names) > 1:
        raise SettingError(
            f"{folder} holds {len(names)} files that may be its weights, such as {names[0]} and {names[1]}; "
            "name the one"
        )
    return dict.fromkeys(names)


def _present(
    tensors: Mapping[str, Tensor], family: Family, config: Config, part: str | None, tell: Tell
) -> Mapping[str, Tensor]:
    """The tensors of one network, by names with dots."""
    if is_tensorflow(tensors):
        return from_tensorflow(tensors, family, config, part=part, tell=tell)
    if part is None:
        return tensors
    mine = f"{part}."
    chosen = {name.removeprefix(mine): tensor for name, tensor in tensors.items() if name.startswith(mine)}
    if not chosen or family.model_type != "electra":
        raise SettingError(f"here are no two networks, of which one is a {part}; leave part={part} out")
    tell(f"left out {len(tensors) - len(chosen)} of the other network")
    return chosen


def _named(family: Family, config: Config, tensors: Mapping[str, Tensor], tell: Tell) -> dict[str, Tensor]:
    """The tensors by their full present names, without those that carry nothing of their own."""
    named = {family.full_name(name): tensor for name, tensor in tensors.items()}
    if len(named) < len(tensors):
        raise CheckpointError(
            f"{len(tensors) - len(named)} of these tensors have the name of another; copy it again, or name one of "
            "two networks that were saved together with --part (in Python: part=)"
        )
    left = {family.prefix + name: "it holds nothing learned" for name in family.left_behind}
    for name in named:
        if name.endswith("._weight") and name.replace("._weight", ".weight") in named:
            left[name] = "it is the difference from the generator's table, and their sum is here as weight"
    for copy, original in family.copies_of(config).items():
        if copy in named and original not in named:
            named[original] = named.pop(copy)
        elif copy in named and torch.equal(named[copy], named[original]):
            left[copy] = f"it is {original} once more"
    for name in sorted(left.keys() & named.keys()):
        del named[name]
        tell(f"left out {name}: {left[name]}")
    return named


def _says(
    heads: Mapping[str, Layout], named: Mapping[str, Tensor], fields: Mapping[str, object]
) -> dict[str, object]:
    """What config.json must say for these heads to be found: their layout, and as many labels as they have rows."""
    says: dict[str, object] = {}
    for name, layout in heads.items():
        says |= layout.says
        out = named.get(f"{layout.names.get('out')}.weight")
        told = {"id2label", "label2id", "num_labels"} & fields.keys()
        if name.endswith("classification") and out is not None and not told:
            says = with_labels(says, [f"LABEL_{i}" for i in range(len(out))])
    return says


def _copy(folder: Path, fresh: Path) -> None:
    """Copy the tokenizer's files, the card and the like, as far as they are there."""
    sentence = [path.name for path in folder.glob(SENTENCE_CONFIGS)]
    for name in (*BESIDE_WEIGHTS, "LICENSE", "NOTICE", *RENAMED, *sentence):
        file, to = present(folder, name), fresh / RENAMED.get(name, name)
        if file is None or to.exists():
            continue
        content = file.read_bytes(LARGEST)
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(content)


def _opening(fresh: Path, heads: Mapping[str, Layout], tell: Tell) -> list[str]:
    """The heads that open; raises the error of one that does not, unless its tensors are another's that does."""
    unused = set(load(fresh).unused)
    failed: dict[str, SijoError] = {}
    for name in heads:
        try:
            unused &= set(load(fresh, name).unused)
        except SijoError as error:
            failed[name] = error
    opening = [name for name in heads if name not in failed]
    read = {heads[name].names.get("out") for name in opening}
    for name, reason in failed.items():
        if heads[name].names.get("out", name) not in read:
            raise reason
    tell(f"holds {', '.join(['the encoder', *opening])}")
    if unused:
        tell(f"holds what no part reads: {', '.join(sorted(unused)[:20])}{', …' if len(unused) > 20 else ''}")
    return opening
