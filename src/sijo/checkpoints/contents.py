"""What is in a model's folder: network, heads, tokenizer, licence, files, and what would not load and why."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from sijo.checkpoints.adapters import Adapter, adapter_in
from sijo.checkpoints.card import languages, licence
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.names import NameTable
from sijo.checkpoints.weight_files import PICKLED
from sijo.checkpoints.weights import read_weights
from sijo.errors import SijoError
from sijo.files.opener import open_inside
from sijo.nn.head_specs import POOLER

PARTS = {"blocks": "layers", "final_norm": "final norm"}
"""Parts of a network that are not called as their module is."""
ALIKE = ("sequence-classification", "token-classification", "multiple-choice")
"""Heads whose tensors have the same names: where the config does not say which it is, one that opens is enough."""
MOST_FILES = 1_000
"""How many files are measured at most, of ten times as many whose names are read."""
NEVER_OPENED = (
    *PICKLED,
    *(".py", ".so", ".sh", ".h5", ".msgpack", ".ot", ".tflite", ".pb", ".gguf", ".zip", ".tar", ".gz"),
)
"""How the names of files end that sijo never opens."""
ABSENT = ("DebertaForPreTraining", "DebertaV2ForPreTraining", "DebertaForMultipleChoice")
"""Heads that were published, and that transformers has no class for."""


def inspect(folder: Path, base: str | Path | None = None) -> tuple[dict[str, Any], Exception | None]:
    """What is in a model's folder, as plain values under names that are always there, and why it would not load.

    Of an adapter there is one name more, `adapter`.

    base  the model of an adapter that stands alone; see `load`
    """
    errors: dict[str, Exception] = {}
    unknown = ("model_type", "dtype", "layers", "blocks", "architecture", "parameters", "labels", "tokenizer")
    contents: dict[str, Any] = {"folder": str(folder)} | dict.fromkeys(unknown)
    contents |= {
        "parameters_by_part": {},
        "heads": {},
        "sentence_encoder": None,
        "licence": None,
        "languages": None,
        "unused": [],
    }
    try:
        contents |= _opened(folder, base, errors)
    except (SijoError, OSError) as error:
        errors["encoder"] = error
    first = next(iter(errors.values()), None)
    try:
        contents["licence"], named = licence(folder), languages(folder)
        contents["languages"] = named and list(named)
    except (SijoError, OSError) as error:
        errors["README.md"] = error
    names = sorted(islice(_names(folder), 10 * MOST_FILES), key=lambda name: (name.count("/"), name))
    contents["files"] = [_measured(folder, name, errors) for name in names[:MOST_FILES]]
    contents["files_not_listed"] = len(names) - len(contents["files"])
    contents["never_opened"] = [name for name in names[:MOST_FILES] if name.endswith(NEVER_OPENED)]
    contents["would_not_load"] = {name: str(error) for name, error in errors.items()}
    return contents, first


def _opened(folder: Path, base: str | Path | None, errors: dict[str, Exception]) -> dict[str, Any]:
    """What opening the encoder and each head tells; a head that does not open is put among the errors."""
    encoder, adapter = load(folder, base=base), adapter_in(folder)
    models = [encoder, *_with_heads(folder, base, encoder.heads, errors)]
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for model in models:
        _count(model, sizes, seen)
    unused = set.intersection(*(set(model.unused) for model in models))
    kinds = {name: encoder.family.published([name]) for model in models for name in model.layouts if name != POOLER}
    unknown = ABSENT if encoder.family.model_type != "sijo" else kinds.values()
    a, sentence = encoder.architecture, encoder.sentence
    tokenizer = encoder.tokenizer if encoder.has_tokenizer else None
    dtypes = {
        str(t.dtype).removeprefix("torch.")
        for t in read_weights(encoder.base or folder).values()
        if t.is_floating_point()
    }
    return {
        "model_type": encoder.family.model_type,
        "dtype": " and ".join(sorted(dtypes)),
        "layers": a.layers,
        "blocks": a.blocks,
        "architecture": asdict(a),
        "parameters": sum(sizes.values()),
        "parameters_by_part": sizes,
        "heads": {name: None if kind in unknown else kind for name, kind in kinds.items()},
        "labels": list(encoder.labels) if {"id2label", "label2id"} & encoder.config.keys() else None,
        "tokenizer": tokenizer
        and {
            "kind": tokenizer.kind,
            "vocabulary": tokenizer.vocab_size,
            "longest_input": tokenizer.max_length,
        },
        "sentence_encoder": asdict(sentence) if sentence.trained else None,
        "unused": sorted(unused),
        **({} if adapter is None else {"adapter": _told(adapter, encoder)}),
    }


def _told(adapter: Adapter, model: Model) -> dict[str, Any]:
    """What an adapter adds, to which modules of which model; None for one whose weights lie beside it."""
    lora, targets = adapter.config, adapter.config.target_modules
    return {
        "rank": lora.r,
        "alpha": lora.lora_alpha,
        "targets": targets if isinstance(targets, str | None) else sorted(targets),
        "base": str(model.base) if model.base else None,
    }


def _with_heads(
    folder: Path, base: str | Path | None, heads: tuple[str, ...], errors: dict[str, Exception]
) -> list[Model]:
    """Models that have all the heads that open: together if they all do, else one by one."""
    models, failed = [], {}
    try:
        return [load(folder, heads, base=base)] if heads else []
    except SijoError:
        for name in heads:
            try:
                models.append(load(folder, name, base=base))
            except SijoError as error:
                failed[name] = error
    alike = any(name in ALIKE for model in models for name in model.layouts)
    errors |= {f"head {name}": error for name, error in failed.items() if not (alike and name in ALIKE)}
    return models


def _count(model: Model, sizes: dict[str, int], seen: set[str]) -> None:
    """Add the parameters of each part; what two heads share counts for the one that was opened first."""
    tensors = model.state_dict()
    table = NameTable(model.family, model.family.config.read(model.config), model.layouts, tensors)
    new = [name for name in tensors if table.names[name] not in seen]
    for name in new:
        module = name.split(".")[1]  # of the network, or a head by its name
        pooler = "pooler" in table.names[name].split(".")  # of a head, or the encoder's own
        part = "pooler" if pooler else PARTS.get(module, module)
        sizes[part] = sizes.get(part, 0) + tensors[name].numel()
    seen |= {table.names[name] for name in new}


def _names(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in sorted(files))


def _measured(folder: Path, name: str, errors: dict[str, Exception]) -> dict[str, Any]:
    """A file's size and digest; None for one that must not be opened, or cannot."""
    size = sha256 = None
    try:
        if opened := open_inside(folder, name):
            with opened:
                size = os.fstat(opened.fileno()).st_size
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    except (SijoError, OSError) as error:
        errors.setdefault(name, error)
    return {"name": name, "bytes": size, "sha256": sha256}
