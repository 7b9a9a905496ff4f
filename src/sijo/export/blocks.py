"""A model's folder again with its weights in blocks of 4 or 8 bits, stored once; its ONNX file reads them there.

Both backends compute with these weights in float32. What is not in blocks, which is little, is float32.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from sijo.checkpoints.blocks import BLOCKS, SCALES, exact_blocks, is_in_blocks, quantized_blocks
from sijo.checkpoints.contents import NEVER_OPENED
from sijo.checkpoints.describe import FolderDescription, describe
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.onnx.opened import session_source
from sijo.checkpoints.weight_files import BLOCK_WEIGHTS, INDEX
from sijo.checkpoints.weights import read_weights, write_file
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import SettingError
from sijo.export.compare import Comparison, compare, open_session
from sijo.export.export import FOLDER, head_of, must_agree, must_equal, note, parts_of
from sijo.export.file import write_over
from sijo.export.graph import needs_onnx
from sijo.export.network import onnx_model
from sijo.export.stored import StoredBlocks
from sijo.export.texts import default_texts
from sijo.files.atomic import copy_folder, whole_folder
from sijo.files.json_files import write_json
from sijo.files.paths import FolderFile
from sijo.nn.encoder_decoder import in_stack
from sijo.version import __version__

Bits = Literal[4, 8, "auto"]
"""Of a number. By auto a matrix has 4 where blocks of 4 bits hold its very numbers, and else 8."""
GRAPH = "model.onnx"
"""Beside the weights: onnxruntime looks for tensors in the folder of a file alone."""
TABLE = "embeddings.tokens.weight"
"""Our name of the table of tokens."""
ENDS = {bits: end for end, bits in BLOCKS.items()}
BLOCK, WIDE_BLOCK, NARROW_BLOCK = 32, 128, 16
"""Numbers of a block: of a matrix, of a table of 8 bits, and of what is too narrow for either.

A matrix of 8 bits in blocks of 64 would be smaller by 3 %, and off by 13 % more (docs/exporting.md)."""


@dataclass(frozen=True)
class ExportedBlocks:
    """A folder that was kept."""

    file: Path
    """That of its weights."""
    bits: Mapping[int, int]
    """How many matrices of its layers have numbers of 4 bits, and how many of 8."""
    table_bits: int | None
    """The bits of a number of the table of tokens; None where that is in float32, too narrow for blocks."""
    head: str | None
    comparison: Comparison


def export_blocks(
    folder: str | Path,
    *,
    out: str | Path,
    bits: Bits = "auto",
    table_bits: Bits = "auto",
    head: str | None = None,
    texts: Sequence[str] | None = None,
    keep_anyway: bool = False,
) -> ExportedBlocks:
    """Write a model's folder anew with its large matrices in blocks, where it decides as the original does.

    folder       in Hugging Face layout
    out          a folder that is not there yet; it appears whole, with a manifest, or not at all
    bits         of a number of the matrices of its layers: 4, 8, or auto for 4 where that changes no number, else 8
    table_bits   of one of the table of tokens, likewise
    head         what its ONNX file answers; as for `export`
    texts        what it is compared on; None for some that come with sijo
    keep_anyway  whether a folder stays that keeps fewer decisions than `ALIKE`

    Raises SettingError where nothing is kept, for a model that writes, one with an adapter, one in blocks already,
    and where onnx is not installed.
    """
    needs_onnx()
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    described = _may(folder, bits, table_bits)
    name = head_of(folder, head)
    original = load(folder, name)
    sample = default_texts() if texts is None else list(texts)
    with whole_folder(out) as fresh:
        weights = {file.name for file in described.weight_files}
        copy_folder(folder, fresh, leave=lambda file: file in weights or _is_made_of_weights(file))
        stored = _write_weights(described, fresh, bits, table_bits)
        found = Counter(held.bits for name, held in stored.items() if name != TABLE)
        of_table = stored[TABLE].bits if TABLE in stored else None
        digest = weights_digest(describe(fresh).weight_files)
        model = load(fresh, name)
        _write_graph(model, name, stored, digest, fresh)
        session = open_session(fresh / GRAPH, torch.get_num_threads())
        must_equal(compare(model, name, session, sample))
        comparison = compare(original, name, session, sample)
        if not keep_anyway:
            otherwise = "use 8 bits, or auto, for both" if 4 in (bits, table_bits) else "use --to onnx"
            must_agree(comparison, f"a network of {in_words(found, of_table)}", otherwise)
        (fresh / FOLDER).mkdir()
        note(fresh, GRAPH, "float32", f"float32, by {in_words(found, of_table)}", name, digest, comparison)
    return ExportedBlocks(out / BLOCK_WEIGHTS, dict(sorted(found.items())), of_table, name, comparison)


def in_words(bits: Mapping[int, int], table_bits: int | None) -> str:
    """What is in blocks, for a sentence; the arguments are those of `ExportedBlocks`.

    >>> in_words({4: 1, 8: 36}, 4)
    '1 matrix of 4 bits, 36 matrices of 8 bits and a table of tokens of 4 bits'
    """
    parts = [f"{count} {'matrix' if count == 1 else 'matrices'} of {of} bits" for of, count in sorted(bits.items())]
    table = "in float32" if table_bits is None else f"of {table_bits} bits"
    return f"{', '.join(parts) or 'no matrix in blocks'} and a table of tokens {table}"


def _may(folder: Path, bits: Bits, table_bits: Bits) -> FolderDescription:
    """What a folder is, once it is sure that its weights can be put in blocks."""
    if not folder.is_dir():
        raise SettingError(f"there is no folder {folder}; name the folder of a model")
    for name, value in (("bits", bits), ("table_bits", table_bits)):
        if value not in get_args(Bits):
            raise SettingError(f"{name}={value!r} (--{name.replace('_', '-')}) is none of 4, 8 and auto")
    described = describe(folder)
    if is_in_blocks(folder):
        raise SettingError(f"{folder} is in blocks already; name the folder that it was made from")
    if described.adapter is not None:
        raise SettingError(f"{folder} holds an adapter; merge it first, with `sijo convert {folder} NEW`")
    if described.base != described.folder:
        raise SettingError(
            f"{folder} keeps its network in a folder below, {described.base.name}; give it the present layout "
            f"first, with `sijo convert {folder} NEW`"
        )
    if described.family.whose(described.config).fused:
        raise SettingError(
            f"{folder} is a {described.family.model_type}, which was published with several matrices in one, and "
            "those have no blocks; use --to onnx"
        )
    return described


def _is_made_of_weights(name: str) -> bool:
    """Whether a file holds a model's weights in another form, or tells where they are."""
    ends = (*NEVER_OPENED, INDEX, ".onnx", ".onnx_data", ".onnx.data")
    return name.endswith(ends) or name.startswith(f"{FOLDER}/")


def _write_weights(
    described: FolderDescription, fresh: Path, bits: Bits, table_bits: Bits
) -> dict[str, StoredBlocks]:
    """Write the weights of a folder into another, matrices in blocks and all else in float32.

    Returns what is in blocks by our names.
    """
    weights, stored = read_weights(described.folder), dict[str, StoredBlocks]()
    places = described.by_full_name({name: name for name in weights})
    for copy, original in _copies(described):
        if copy in places and original in places and torch.equal(weights[places[copy]], weights[places[original]]):
            del places[copy]
            if not described.config.tie_word_embeddings:
                write_json(fresh / "config.json", {**described.fields, "tie_word_embeddings": True})
    written: dict[str, Tensor] = {}
    for full, name in places.items():
        tensor = weights[name].float() if weights[name].is_floating_point() else weights[name]
        ours = _our_name(described, full)
        of = table_bits if ours == TABLE else bits
        held = None if ours is None else _held(tensor, of, table=ours == TABLE)
        if ours is None or held is None:
            written[name] = tensor
            continue
        stored[ours] = held
        written[name + ENDS[held.bits]] = torch.from_numpy(held.blocks)
        written[name + SCALES] = torch.from_numpy(held.scales)
    write_file(fresh / BLOCK_WEIGHTS, written)
    return stored


def _copies(described: FolderDescription) -> list[tuple[str, str]]:
    """The full names of tensors that may be published twice, the copy first."""
    return list(described.family.copies_of(described.config).items())


def _our_name(described: FolderDescription, full: str) -> str | None:
    """Our name of a weight that may be in blocks, by its full published one; None for any other tensor."""
    family = described.family
    names = family.names(described.config)
    module, _, leaf = full.removeprefix(family.prefix).rpartition(".")
    if names is None:
        ours = in_stack(module.removeprefix("transformer."))
    else:
        ours = in_stack(next((our for our, theirs in names.items() if theirs == module), ""))
    if leaf != "weight" or not (ours.removeprefix("decoder.").startswith("blocks.") or f"{ours}.weight" == TABLE):
        return None
    return f"{ours}.weight"


def _held(tensor: Tensor, bits: Bits, *, table: bool) -> StoredBlocks | None:
    """A matrix in blocks, of 4 bits with its very numbers where that can be; None for what has no blocks."""
    if tensor.ndim != 2 or not tensor.is_floating_point():
        return None
    narrow, wide = (
        next((size for size in sizes if tensor.shape[1] % size == 0), None)
        for sizes in ((BLOCK, NARROW_BLOCK), (WIDE_BLOCK, BLOCK, NARROW_BLOCK))
    )
    if narrow is None or wide is None:
        return None
    weight = tensor.numpy()
    if bits != 8 and (exact := exact_blocks(weight, block=narrow)) is not None:
        return StoredBlocks(4, *exact)
    of = 8 if bits == "auto" else bits
    block = wide if table and of == 8 else narrow
    return StoredBlocks(of, *quantized_blocks(weight, bits=of, block=block, half=True))


def _write_graph(
    model: Model, head: str | None, stored: Mapping[str, StoredBlocks], digest: str, fresh: Path
) -> None:
    """Write the network of a folder as an ONNX file over its weights, which sijo then opens once."""
    props = {
        "sijo.version": __version__,
        "sijo.precision": "float32",
        "sijo.weights": digest,
        "sijo.head": head or "",
    }
    proto = onnx_model(parts_of(model, head), props, stored=stored)
    write_over(proto, fresh / GRAPH, FolderFile(fresh, BLOCK_WEIGHTS))
    with session_source(FolderFile(fresh, GRAPH), describe(fresh)):
        pass
