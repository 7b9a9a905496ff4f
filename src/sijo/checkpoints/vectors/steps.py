"""What a sentence encoder does to the pooled vector: the modules that stand behind the pooling, with their weights.

They are values, known without torch: `inference/vector_steps.py` runs them, `export/vector_steps.py` puts them into
a graph. A matrix of them is read once, when the folder is described, and stays in memory.

Letters: D width of what goes in, M width of what comes out.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sijo.checkpoints.weight_files import TensorEntry, payload_begins, read_header
from sijo.errors import CheckpointError, RefusedError, nearest
from sijo.files.json_files import read_object, write_json
from sijo.files.paths import FolderFile, present
from sijo.nn.architecture import LARGEST

VectorActivation = Literal["Tanh", "Identity", "GELU", "ReLU", "SiLU", "Sigmoid"]
"""Classes of torch, by their names there; GELU is the exact one."""
PLACES = {"Identity": "linear"}
"""The module of `torch.nn.modules` in which a class is, where that is not `activation`."""
VECTOR = "sentence_embedding"
"""What sentence-transformers calls the pooled vector among the things that its modules hand on."""
WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Dtypes of floats, and numpy's; those of bfloat16 are the upper half of a float32."""


@dataclass(frozen=True, kw_only=True)
class DenseStep:
    """A linear map with an activation: act(W v + b), to which the input may be added again."""

    inputs: int
    """D."""
    outputs: int
    """M."""
    activation: VectorActivation = "Tanh"
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """linear.weight (M, D), linear.bias (M,), and residual.weight (M, D) of an input that is mapped before it is
    added; float32."""
    adds_input: bool = False
    """Whether the input is added to what comes out (`use_residual`)."""
    digest: str = ""
    """Of the numbers, so that two steps are equal where these are."""


@dataclass(frozen=True, kw_only=True)
class VectorNormStep:
    """LayerNorm of the vector, with a weight and a bias for each number."""

    size: int
    """D, and M."""
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """norm.weight and norm.bias (D,), float32."""
    digest: str = ""
    """Of the numbers, so that two steps are equal where these are."""


@dataclass(frozen=True, kw_only=True)
class UnitLengthStep:
    """The vector scaled to length 1."""


VectorStep = DenseStep | VectorNormStep | UnitLengthStep
KINDS = ("Dense", "LayerNorm", "Normalize", "Dropout")
"""The modules that may stand behind a pooling. Dropout does nothing outside of training, and is no step."""
NORM_EPS = 1e-5
"""Of LayerNorm: torch's own, which is not written down."""


def read_step(folder: Path, path: str, kind: str, width: int) -> VectorStep | None:
    """A module behind the pooling, from its own folder; None for one that does nothing.

    folder  of the model
    path    of the module, in it
    kind    one of `KINDS`
    width   of the vectors that come to it

    Raises RefusedError for a setting that sijo does not know and for weights in a pickle, and CheckpointError for
    what is absent, damaged, or of another width.
    """
    file = present(folder, f"{path}/config.json") if path else None
    fields = {} if file is None else read_object(file)
    if kind == "Dropout":
        return None
    if kind == "Normalize":
        _must_be_of_vectors(fields, folder / path, known=("module_input_name", "module_output_name"))
        return UnitLengthStep()
    if file is None:
        raise CheckpointError(
            f"{folder / path / 'config.json'} is absent, though modules.json names it; copy it again"
        )
    step = _norm(folder, path, fields) if kind == "LayerNorm" else _dense(folder, path, fields)
    size = step.size if isinstance(step, VectorNormStep) else step.inputs
    if size != width:
        raise CheckpointError(
            f"{file} is for vectors of {size} numbers, and those that come to it have {width}; its parts are of "
            "different models"
        )
    return step


def write_step(step: VectorStep, folder: Path) -> str:
    """Write a module into a folder that is empty, as sentence-transformers reads it; returns its kind."""
    if isinstance(step, UnitLengthStep):
        return "Normalize"
    if isinstance(step, VectorNormStep):
        fields: dict[str, object] = {"dimension": step.size}
    else:
        place = PLACES.get(step.activation, "activation")
        fields = {
            "in_features": step.inputs,
            "out_features": step.outputs,
            "bias": "linear.bias" in step.tensors,
            "activation_function": f"torch.nn.modules.{place}.{step.activation}",
        }
        fields |= {"use_residual": True} if step.adds_input else {}
    write_json(folder / "config.json", fields)
    (folder / WEIGHTS).write_bytes(_safetensors(step.tensors))
    return "LayerNorm" if isinstance(step, VectorNormStep) else "Dense"


def learned(steps: Sequence[VectorStep]) -> bool:
    """Whether any of these steps has weights of its own.

    >>> learned([UnitLengthStep()])
    False
    """
    return any(not isinstance(step, UnitLengthStep) for step in steps)


def width_after(steps: Sequence[VectorStep], width: int) -> int:
    """How many numbers a vector of so many has behind these steps.

    >>> width_after([DenseStep(inputs=768, outputs=256), UnitLengthStep()], 768)
    256
    """
    return next((step.outputs for step in reversed(steps) if isinstance(step, DenseStep)), width)


def told(step: VectorStep) -> dict[str, object]:
    """What a step is, as plain values."""
    if isinstance(step, UnitLengthStep):
        return {"kind": "Normalize"}
    if isinstance(step, VectorNormStep):
        return {"kind": "LayerNorm", "size": step.size}
    return {
        "kind": "Dense",
        "inputs": step.inputs,
        "outputs": step.outputs,
        "activation": step.activation,
        "bias": "linear.bias" in step.tensors,
        "adds_input": step.adds_input,
    }


def _norm(folder: Path, path: str, fields: Mapping[str, Any]) -> VectorNormStep:
    _must_be_of_vectors(fields, folder / path, known=("dimension",))
    size = _size(fields, "dimension", folder / path)
    tensors = _tensors(folder, path, {"norm.weight": (size,), "norm.bias": (size,)})
    return VectorNormStep(size=size, tensors=tensors, digest=_digest(tensors))


def _dense(folder: Path, path: str, fields: Mapping[str, Any]) -> DenseStep:
    known = ("in_features", "out_features", "bias", "activation_function", "use_residual")
    _must_be_of_vectors(fields, folder / path, known=(*known, "module_input_name", "module_output_name"))
    inputs, outputs = (_size(fields, name, folder / path) for name in known[:2])
    bias, adds = fields.get("bias", True), fields.get("use_residual", False)
    if type(bias) is not bool or type(adds) is not bool:
        raise CheckpointError(f"{folder / path} has a switch that is neither true nor false; copy it again")
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (outputs, inputs)}
    shapes |= {"linear.bias": (outputs,)} if bias else {}
    shapes |= {"residual.weight": (outputs, inputs)} if adds and inputs != outputs else {}
    activation = _activation(fields.get("activation_function", "torch.nn.modules.activation.Tanh"), folder / path)
    tensors = _tensors(folder, path, shapes)
    return DenseStep(
        inputs=inputs,
        outputs=outputs,
        activation=activation,
        tensors=tensors,
        adds_input=adds,
        digest=_digest(tensors),
    )


def _activation(name: object, place: Path) -> VectorActivation:
    """By the name of its class; of another library's, sentence-transformers itself would silently take Tanh."""
    first, _, kind = str(name).rpartition(".")
    for known in get_args(VectorActivation):
        if kind == known and first.partition(".")[0] == "torch":
            activation: VectorActivation = known
            return activation
    raise RefusedError(
        f"{place} has activation_function={name!r}, and sijo knows those of torch called "
        f"{', '.join(get_args(VectorActivation))}; without it the vectors would be others"
    )


def _must_be_of_vectors(fields: Mapping[str, Any], place: Path, *, known: Sequence[str]) -> None:
    """Refuse a setting that is not known, and a module that reads or writes something else than the vector."""
    for name, value in fields.items():
        if name not in known:
            raise RefusedError(
                f"{place} has the setting {name}={value!r}{nearest(name, known)}, which sijo does not know and "
                "would leave out"
            )
        if name in ("module_input_name", "module_output_name") and value not in (None, VECTOR):
            raise RefusedError(
                f"{place} has {name}={value!r}: it is for each token, as in models of many vectors a text, and "
                f"sijo knows modules for the one vector, {VECTOR!r}; choose a model of dense vectors"
            )


def _size(fields: Mapping[str, Any], name: str, place: Path) -> int:
    size = fields.get(name)
    if type(size) is not int or not 1 <= size <= LARGEST:
        raise CheckpointError(f"{place} has {name}={size!r}, which is no size; copy it again")
    return size


def _tensors(folder: Path, path: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The weights of a module, in float32, of just these names and shapes."""
    file = present(folder, f"{path}/{WEIGHTS}")
    if file is None and present(folder, f"{path}/{PICKLE}") is not None:
        raise RefusedError(
            f"{folder / path} holds its weights only as {PICKLE}, a pickle, which can run code when opened; sijo "
            f"reads {WEIGHTS} only. Ask for a safetensors version of the model, or make one with `sijo convert "
            f"{folder} NEW`"
        )
    if file is None:
        raise CheckpointError(
            f"{folder / path} has no {WEIGHTS}, though modules.json names it; copy the folder again, whole. Where "
            f"the model was published with {PICKLE} there, which is never fetched, get it and run `sijo convert`"
        )
    content = file.buffer()
    entries = read_header(file, content)
    for name in [*shapes, *entries]:
        has, must = (entries[name].shape if name in entries else None), shapes.get(name)
        if has != must:
            sizes = ["absent" if size is None else f"of shape {list(size)}" for size in (has, must)]
            raise CheckpointError(
                f"{file}: {name!r:.100} is {sizes[0]}, and by config.json {sizes[1]}; copy it again"
            )
    return {name: _numbers(content, entries[name], name, file) for name in shapes}


def _numbers(content: Any, entry: TensorEntry, name: str, file: FolderFile) -> np.ndarray:
    if entry.dtype not in NUMBERS:
        raise RefusedError(f"{file} has {name} in {entry.dtype}, and weights are floats; use a copy in floats")
    begin = payload_begins(content) + entry.begin
    flat = np.frombuffer(content, NUMBERS[entry.dtype], math.prod(entry.shape), begin)
    if entry.dtype == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    numbers: np.ndarray = flat.astype(np.float32).reshape(entry.shape)
    if not np.isfinite(numbers).all():
        raise CheckpointError(f"{file}: {name} holds NaN or infinity; download it again, or choose another model")
    return numbers


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, numbers in sorted(tensors.items()):
        digest.update(f"{name} {numbers.shape} ".encode() + numbers.tobytes())
    return digest.hexdigest()


def _safetensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a safetensors file of float32: 8 for the length of the header, the header, the tensors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, numbers in tensors.items():
        begin, end = end, end + numbers.nbytes
        header[name] = {"dtype": "F32", "shape": list(numbers.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts = (np.ascontiguousarray(numbers, "<f4").tobytes() for numbers in tensors.values())
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
