"""From a model's folder to ONNX files in it, each kept only after it was compared with the original."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sijo.checkpoints.describe import describe
from sijo.checkpoints.load import Model, load
from sijo.checkpoints.onnx.rules import NEEDS, VNNI
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import SettingError
from sijo.export.calibrate import input_ranges
from sijo.export.card import write_files
from sijo.export.compare import Comparison, batched, compare, open_session
from sijo.export.file import write_onnx
from sijo.export.graph import needs_onnx
from sijo.export.network import HEADS, NetworkParts, onnx_model
from sijo.export.texts import default_texts
from sijo.files.atomic import copy_folder, whole_folder
from sijo.files.json_files import read_object, write_json
from sijo.files.paths import present
from sijo.inference.precision import ALIKE
from sijo.nn.encoder_decoder import in_stack
from sijo.nn.head_specs import ClassifierHeadSpec
from sijo.version import __version__

FilePrecision = Literal["float32", "int8", "int4"]
FOLDER = "onnx"
NAMES: Mapping[FilePrecision, str] = {
    "float32": "model.onnx",
    "int8": "model_int8.onnx",
    "int4": "model_int4.onnx",
}
STATIC = "8 bits by 8, scales measured"
WAYS: Mapping[FilePrecision, tuple[str, ...]] = {
    "float32": ("float32",),
    "int8": (STATIC, "8 bits by 8, in blocks of 32"),
    "int4": ("4 bits by 8, in blocks of 32",),
}
"""How products are computed, weights by states: the first way that keeps enough decisions, else the last."""
MEASURED = f"{FOLDER}/comparison.json"
"""What was measured of each file, in its folder."""
CLOSE = 1e-4
"""How far a float32 file may be from its original, of numbers up to 1; beyond, of the largest."""


@dataclass(frozen=True)
class Exported:
    """A file that was kept."""

    file: Path
    precision: FilePrecision
    head: str | None
    comparison: Comparison


def export(
    folder: str | Path,
    *,
    precision: FilePrecision = "float32",
    head: str | None = None,
    texts: Sequence[str] | None = None,
    out: str | Path | None = None,
    keep_anyway: bool = False,
) -> Exported:
    """Write a model as an ONNX file into its folder, beside its weights, where it is as good as the original.

    folder       in Hugging Face layout; it is replaced whole, with a new manifest, or left as it is
    precision    float32, or the bits of the weights of all large products
    head         what it answers: a head of `HEADS`; None for the first of them that the folder holds, else vectors
    texts        what it is compared on; None for some that come with sijo
    out          a folder that is not there yet, to leave `folder` as it is
    keep_anyway  whether a file in integers stays that keeps fewer decisions than `ALIKE`

    Raises SettingError where nothing is kept, for a model that writes, and where onnx is not installed.
    """
    needs_onnx()
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SettingError(f"there is no folder {folder}; name the folder of a model")
    if precision not in NAMES:
        raise SettingError(f"no precision {precision!r} for a file; there are {', '.join(NAMES)}")
    name = head_of(folder, head)
    model = load(folder, name)
    digest = weights_digest(describe(folder).weight_files)
    props = {
        "sijo.version": __version__,
        "sijo.precision": precision,
        "sijo.weights": digest,
        "sijo.head": name or "",
    }
    target = folder.resolve() if out is None else Path(out)
    with whole_folder(target, overwrite=out is None) as fresh:
        copy_folder(folder, fresh)
        (fresh / FOLDER).mkdir(exist_ok=True)
        file = fresh / FOLDER / NAMES[precision]
        parts, sample = parts_of(model, name), default_texts() if texts is None else list(texts)
        for way in WAYS[precision]:
            needs = {NEEDS: VNNI} if way == STATIC else {}
            ranges = input_ranges(model, batched(model, name, default_texts())[2]) if way == STATIC else None
            proto = onnx_model(parts, props | needs, precision=precision, ranges=ranges)
            write_onnx(proto, file)
            comparison = compare(model, name, open_session(file, torch.get_num_threads()), sample)
            if way == WAYS[precision][-1] or comparison.agreement.value >= ALIKE:
                break
        if precision == "float32":
            must_equal(comparison)
        elif not keep_anyway:
            must_agree(comparison, f"the {precision} file", "use float32")
        note(fresh, NAMES[precision], precision, way, name, digest, comparison)
    return Exported(target / FOLDER / NAMES[precision], precision, name, comparison)


def head_of(folder: Path, head: str | None) -> str | None:
    """The head that a file answers by."""
    if head is not None and head not in HEADS:
        raise SettingError(f"no ONNX file can have a {head} head; it can have {' or '.join(HEADS)}")
    if head is not None:
        return head
    held = describe(folder).heads
    return next((name for name in HEADS if name in held), None)


def parts_of(model: Model, head: str | None) -> NetworkParts:
    """What a graph is made of."""
    spec = None if head is None else model.head_values[head]
    assert spec is None or isinstance(spec, ClassifierHeadSpec)
    return NetworkParts(
        architecture=model.architecture,
        weights=_arrays(model.transformer),
        head=head,
        head_spec=spec,
        head_weights=None if head is None else _arrays(model.head[head]),
        pooling=model.sentence.pooling,
        steps=model.sentence.steps,
    )


def _arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {in_stack(name): tensor.float().numpy() for name, tensor in module.state_dict().items()}


def must_equal(comparison: Comparison) -> None:
    """Raise SettingError for what computes in float32, and not as torch does."""
    limit = CLOSE * max(1.0, comparison.largest)
    if not comparison.gap <= limit:
        raise SettingError(
            f"the float32 file is off by {comparison.gap:.1e} where {limit:.1e} is allowed, so it is not kept; "
            "please report this with the model's config.json"
        )


def must_agree(comparison: Comparison, what: str, otherwise: str) -> None:
    """Raise SettingError for rounded weights that decide otherwise too often.

    what       is not kept
    otherwise  what would do
    """
    share = comparison.agreement
    if not share.value >= ALIKE:
        raise SettingError(
            f"{what} decides like the original in {share.value:.1%} of {comparison.decisions:,} "
            f"cases ({share.low:.1%} to {share.high:.1%}), and {ALIKE:.0%} are asked for, so it is not kept; "
            f"{otherwise}, compare it on texts like your own with texts= (--texts), or keep it all the same with "
            "keep_anyway=True (--keep-anyway)"
        )


def note(
    fresh: Path, file: str, precision: str, way: str, head: str | None, digest: str, comparison: Comparison
) -> None:
    """Write what was measured of a file beside it, and into the card."""
    measured = present(fresh, MEASURED)
    entries: dict[str, Any] = read_object(measured) if measured else {}
    entries[file] = {
        "precision": precision,
        "products": way,
        "head": head,
        "weights": digest,
        "sijo": __version__,
        **asdict(comparison),
    }
    write_json(fresh / MEASURED, entries)
    write_files(fresh, entries)
