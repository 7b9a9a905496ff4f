"""Whether a network in an ONNX file was made of the weights beside it.

A file of sijo's own carries a digest of them. Another's is told by content: what exporters leave as it is, the
norms' vectors and, where nothing is rounded, the first rows of matrices, must be in it, number for number.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.graph import FLOAT, FLOAT16, OnnxModel, StoredTensor
from sijo.checkpoints.weight_files import TensorEntry, by_name, has_weights, payload_begins, read_header
from sijo.checkpoints.weights_digest import weights_digest
from sijo.errors import RefusedError
from sijo.files.paths import FolderFile
from sijo.nn.encoder_decoder import in_stack

MADE_OF = "sijo.weights"
"""The key in a file's metadata of the digest of the weights that it was made of."""
PROBED = 8
"""Numbers of a matrix that are compared, at the beginning of its first row."""
MOST_PARTS = 8
"""Matrices that may stand side by side in one, as those of queries, keys and values."""
UNCHANGED = ("value", "out", "widen", "narrow")
"""Our names of the matrices that are compared."""
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
STORED_FLOATS = {FLOAT: "<f4", FLOAT16: "<f2"}


def must_be_of(model: OnnxModel, content: Any, data: Any, file: FolderFile, described: FolderDescription) -> bool:
    """Raise RefusedError where a network is not made of its folder's weights.

    content  the bytes of the file
    data     those of the file of its tensors; None where there is none

    Returns whether it was compared with them: False for a folder without any.
    """
    if not has_weights(described.base):
        return False
    told = model.metadata.get(MADE_OF)
    if told is not None:
        same = told == weights_digest(described.weight_files)
    else:
        kept = _Kept(model, content, data)
        same = all(kept.has(vector) for vector in _probes(described, matrices=kept.exact))
    if not same:
        raise RefusedError(
            f"{file} was not made of the weights beside it, so it would answer as another model; make it anew with "
            f"`sijo export {described.folder} --to onnx`, or use --backend torch"
        )
    return True


class _Kept:
    """The numbers that a network keeps as floats, to look others up in."""

    def __init__(self, model: OnnxModel, content: Any, data: Any) -> None:
        self._content, self._data = content, data
        floats = [
            tensor
            for tensor in (*model.stored.values(), *model.constants.values())
            if tensor.data_type in STORED_FLOATS
        ]
        self._half = any(tensor.data_type == FLOAT16 and tensor.bytes > 1_000 for tensor in floats)
        wide = [tensor for tensor in floats if len(tensor.dims) == 2 and min(tensor.dims) > PROBED]
        self.exact = not self._half and len(wide) > 1 and not rounds(model)
        """Whether the matrices are among them: two at least, the table of tokens and another."""
        self._begins = {begin for tensor in floats if tensor.bytes for begin in self._beginnings(tensor)}

    def has(self, vector: np.ndarray) -> bool:
        """Whether a vector of float32 begins a vector, a row or a column, rounded where the network is."""
        kind = "<f2" if self._half else "<f4"
        return vector[:PROBED].astype(kind).tobytes() in self._begins or vector[:PROBED].tobytes() in self._begins

    def _beginnings(self, tensor: StoredTensor) -> Iterator[bytes]:
        """How a vector begins; of a matrix its first row and column, and those where a part of it may begin."""
        numbers = self._numbers(tensor)
        if numbers is None:
            return
        flat = numbers.reshape(-1, tensor.dims[-1] if tensor.dims else 1)
        if len(tensor.dims) < 2 or 1 in tensor.dims:
            yield numbers.ravel()[:PROBED].tobytes()
            return
        rows, columns = flat.shape
        for step, lines in ((min(rows, columns), flat), (min(rows, columns), flat.T)):
            for at in range(0, min(len(lines), step * MOST_PARTS), step):
                yield lines[at, :PROBED].tobytes()

    def _numbers(self, tensor: StoredTensor) -> np.ndarray | None:
        kind = np.dtype(STORED_FLOATS[tensor.data_type])
        if tensor.elsewhere is not None:
            begin, source = tensor.elsewhere.begin, self._data
        elif tensor.raw is not None:
            begin, source = tensor.raw.begin, self._content
        else:
            return None
        return np.frombuffer(source, kind, tensor.bytes // kind.itemsize, begin).reshape(tensor.dims)


def rounds(model: OnnxModel) -> bool:
    """Whether a network computes with matrices of whole numbers, which stand for others.

    Then their floats are in no file.
    """
    return any(
        "Quant" in node.operator or "Integer" in node.operator or "NBits" in node.operator for node in model.nodes
    )


def _probes(described: FolderDescription, *, matrices: bool) -> Iterator[np.ndarray]:
    """How those of a folder's tensors begin that no exporter changes, in float32: of its blocks, and the first
    norm.

    matrices  whether of matrices too, beside norms; those of queries and keys may be scaled, and are left out
    """
    family = described.family
    names = family.names(described.config)
    ours = None if names is None else {family.prefix + theirs: our for our, theirs in names.items()}
    entries = described.by_full_name(by_name(described.base, _places))
    for name, (file, begin, entry) in entries.items():
        module = name.rpartition(".")[0]
        our = in_stack(module.removeprefix("transformer.") if ours is None else ours.get(module, ""))
        last = our.rpartition(".")[2]
        if not our.removeprefix("decoder.").startswith(("blocks.", "embeddings.")) or entry.dtype not in FLOATS:
            continue
        if (len(entry.shape) == 1 and last.endswith("norm")) or (
            matrices and len(entry.shape) == 2 and last in UNCHANGED
        ):
            yield _read(file, begin + entry.begin, entry)


def _places(file: FolderFile) -> dict[str, tuple[FolderFile, int, TensorEntry]]:
    """Of each tensor of a safetensors file the file, where its numbers begin in there, and what its header says."""
    with FolderFile(file.folder, file.name, check=False).open() as stream:
        begin = payload_begins(stream.read(8))
    return {name: (file, begin, entry) for name, entry in read_header(file).items()}


def _read(file: FolderFile, begin: int, entry: TensorEntry) -> np.ndarray:
    """The first numbers of a tensor, in float32."""
    kind = np.dtype(FLOATS[entry.dtype])
    count = min(PROBED, (entry.end - entry.begin) // kind.itemsize)
    with FolderFile(file.folder, file.name, check=False).open() as stream:
        stream.seek(begin)
        numbers = np.frombuffer(stream.read(count * kind.itemsize), kind)
    if entry.dtype == "BF16":
        return (numbers.astype("<u4") << 16).view("<f4")
    return numbers.astype("<f4")
