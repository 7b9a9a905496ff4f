"""What is in a model's folder: network, heads, tokenizer, licence, files, and what would not load and why."""

import hashlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from sijo.checkpoints.adapters import Adapter
from sijo.checkpoints.blocks import tensor_entries
from sijo.checkpoints.card import languages, licence, restriction
from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.files import ONNX_NAMES, onnx_file
from sijo.checkpoints.onnx.opened import session_source
from sijo.checkpoints.weight_files import PICKLED, TensorEntry
from sijo.errors import SijoError
from sijo.files.opener import open_inside
from sijo.models.family import Layout
from sijo.nn.head_specs import POOLER

PARTS = {"blocks": "layers", "final_norm": "final norm"}
"""Parts of a network that are not called as their module is."""
FLOATS = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"blocks4": "4 bits in blocks", "blocks8": "8 bits in blocks"},
}
"""What safetensors, and `blocks.py`, call types of floats, and everybody else."""
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


def inspect(
    folder: Path, base: str | Path | None = None
) -> tuple[dict[str, Any], FolderDescription | None, Exception | None]:
    """What is in a model's folder, as plain values under names that are always there; its description, where it has
    one; and why it would not load.

    What it is stands in its settings and in the headers of its files. Whether encoder and heads open is tried where
    torch is installed and there are weights; `tried` tells. ONNX files are checked as for a session, and compared
    with the weights where there are any; `compared` tells. Of ONNX files alone, parameters are not counted.

    Of an adapter there is one name more, `adapter`.

    base  the model of an adapter that stands alone; see `load`
    """
    errors: dict[str, Exception] = {}
    described = None
    unknown = ("model_type", "dtype", "layers", "blocks", "architecture", "parameters", "labels", "tokenizer")
    contents: dict[str, Any] = {"folder": str(folder)} | dict.fromkeys(unknown)
    contents |= {
        "parameters_by_part": {},
        "heads": {},
        "sentence_encoder": None,
        "fitted_head": None,
        "licence": None,
        "licence_terms": None,
        "languages": None,
        "unused": [],
        "onnx": {},
        "tried": False,
    }
    try:
        described = FolderDescription(folder, base=base)
        contents["tried"] = find_spec("torch") is not None and described.onnx_alone is None
        contents["onnx"] = _onnx_files(described, errors)
        contents |= _described(described)
        contents |= _weights(described) if described.onnx_alone is None else {}
        if contents["tried"]:
            opened = _opened_heads(folder, base, contents["heads"], errors)
            contents["heads"] = {name: kind for name, kind in contents["heads"].items() if name in opened}
    except (SijoError, OSError) as error:
        errors["encoder"] = error
    first = next(iter(errors.values()), None)
    try:
        contents["licence"], named = licence(folder), languages(folder)
        contents["licence_terms"] = restriction(contents["licence"])
        contents["languages"] = named and list(named)
    except (SijoError, OSError) as error:
        errors["README.md"] = error
    names = sorted(islice(_names(folder), 10 * MOST_FILES), key=lambda name: (name.count("/"), name))
    contents["files"] = [_measured(folder, name, errors) for name in names[:MOST_FILES]]
    contents["files_not_listed"] = len(names) - len(contents["files"])
    contents["never_opened"] = [name for name in names[:MOST_FILES] if name.endswith(NEVER_OPENED)]
    contents["would_not_load"] = {name: str(error) for name, error in errors.items()}
    return contents, described, first


def _described(described: FolderDescription) -> dict[str, Any]:
    """What a folder says of its model in its settings."""
    family, a, sentence = described.family, described.architecture, described.sentence
    kinds = {name: family.published([name]) for name in described.heads}
    unknown = ABSENT if family.model_type != "sijo" else kinds.values()
    tokenizer = described.tokenizer if described.has_tokenizer else None
    return {
        "model_type": family.model_type,
        "layers": a.layers,
        "blocks": a.blocks,
        "architecture": asdict(a),
        "heads": {name: None if kind in unknown else kind for name, kind in kinds.items()},
        "fitted_head": described.fitted_head and {"labels": len(described.labels)},
        "labels": list(described.labels) if {"id2label", "label2id"} & described.fields.keys() else None,
        "tokenizer": tokenizer
        and {
            "kind": tokenizer.kind,
            "vocabulary": tokenizer.vocab_size,
            "longest_input": tokenizer.max_length,
        },
        "sentence_encoder": sentence.told() if sentence.trained else None,
        **({} if described.adapter is None else {"adapter": _told(described.adapter, described)}),
    }


def _weights(described: FolderDescription) -> dict[str, Any]:
    """What a folder's tensors are, from the headers of its files."""
    family = described.family
    entries: dict[str, TensorEntry] = described.by_full_name(tensor_entries(described.base))
    shapes = {name: entry.shape for name, entry in entries.items()}
    if described.adapter is not None:
        kept = described.adapter.shapes.items()
        shapes |= {family.full_name(f"{module}.{kind}"): shape for (module, kind), shape in kept}
    layouts = described.layouts(shapes)
    parts = _parts(described, layouts, shapes)
    sizes: dict[str, int] = {}
    unused = []
    for name, shape in shapes.items():
        part = parts.get(name) or parts.get(name.rpartition(".")[0])
        if part is None:
            unused.append(name)
        else:
            sizes[part] = sizes.get(part, 0) + math.prod(shape)
    known = {family.prefix + name for name in family.left_behind}
    known |= {*family.copies, *(copy for layout in layouts.values() for copy in layout.copies)}
    dtypes = {FLOATS[entry.dtype] for entry in entries.values() if entry.dtype in FLOATS}
    return {
        "dtype": " and ".join(sorted(dtypes)),
        "parameters": sum(sizes.values()),
        "parameters_by_part": sizes,
        "unused": sorted({*unused} - known),
    }


def _onnx_files(described: FolderDescription, errors: dict[str, Exception]) -> dict[str, dict[str, Any]]:
    """The ONNX file of each precision and what it gives; one that would not be opened is put among the errors."""
    files: dict[str, dict[str, Any]] = {}
    for precision in ONNX_NAMES:
        file = None
        try:
            file = onnx_file(described.folder, precision)
            if file is not None:
                with session_source(file, described) as source:
                    gives = [name for name in astuple(source.outputs) if name is not None]
                files[precision] = {"file": file.name, "gives": gives, "compared": source.compared}
        except (SijoError, OSError) as error:
            errors[f"ONNX file of precision {precision}" if file is None else file.name] = error
    return files


def _parts(described: FolderDescription, layouts: Mapping[str, Layout], names: Iterable[str]) -> dict[str, str]:
    """The part of a network that each published module or tensor belongs to, by its full name; what two heads share
    is the first one's."""
    family, config = described.family, described.config
    rules, parts = family.names(config), dict[str, str]()
    if rules is None:
        for name in names:
            first, second = [*name.split("."), ""][:2]
            parts[name] = second if first == "head" else PARTS.get(second, second)
        return parts
    for our, theirs in rules.items():
        module = our.partition(".")[0]
        parts[family.prefix + theirs] = PARTS.get(module, module)
    for theirs in family.whose(config).fused:
        parts |= {family.prefix + theirs.format(n=n): PARTS["blocks"] for n in range(described.architecture.blocks)}
    for name, layout in layouts.items():
        for theirs in layout.names.values():
            parts.setdefault(theirs, POOLER if POOLER in theirs.split(".") else name)
    return parts


def _opened_heads(
    folder: Path, base: str | Path | None, heads: Collection[str], errors: dict[str, Exception]
) -> set[str]:
    """Open the encoder and each head, as any command does; what does not open is put among the errors."""
    from sijo.checkpoints.load import load

    load(folder, base=base)
    if not heads:
        return set()
    with suppress(SijoError, OSError):  # all at once, as mostly they do
        load(folder, tuple(heads), base=base)
        return {*heads}
    opened, failed = set[str](), dict[str, Exception]()
    for name in heads:
        try:
            load(folder, name, base=base)
            opened.add(name)
        except (SijoError, OSError) as error:
            failed[name] = error
    alike = not opened.isdisjoint(ALIKE)
    errors |= {f"head {name}": error for name, error in failed.items() if not (alike and name in ALIKE)}
    return opened


def _told(adapter: Adapter, described: FolderDescription) -> dict[str, Any]:
    """What an adapter adds, to which modules of which model; None for one whose weights lie beside it."""
    lora, targets = adapter.config, adapter.config.target_modules
    return {
        "rank": lora.r,
        "alpha": lora.lora_alpha,
        "targets": targets if isinstance(targets, str | None) else sorted(targets),
        "base": None if described.base == described.folder else str(described.base),
    }


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
