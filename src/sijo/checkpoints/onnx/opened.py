"""An ONNX file that was opened for a session: read by handles, checked, and given to onnxruntime as bytes.

onnxruntime opens no path of a file's own. Of tensors that lie in a file beside the model it maps the one that was
checked: by the handle of its folder, where the system has names for handles.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.onnx.graph import OnnxModel
from sijo.checkpoints.onnx.outputs import OnnxOutputs, judging_heads
from sijo.checkpoints.onnx.rewrite import with_data_in
from sijo.checkpoints.onnx.rules import BY_BATCH, must_suit
from sijo.checkpoints.onnx.same_weights import must_be_of
from sijo.checkpoints.onnx.stored import must_be_stored
from sijo.errors import CheckpointError, RefusedError, warn
from sijo.files.manifest import Identity, identity
from sijo.files.opener import inside
from sijo.files.paths import READ_WHOLE, FolderFile, present
from sijo.files.system import DIRECTORY

HANDLES = Path("/proc/self/fd")
"""Where Linux has a name for each open file and folder of this process."""


@dataclass(frozen=True)
class SessionSource:
    """What a session is made of, and from where."""

    model: bytes | str
    """The bytes of the model; of a large one on Linux the name of the handle that it was checked by."""
    folder: str | None
    """Where the file of its tensors is; None where they are in the model."""
    outputs: OnnxOutputs
    files: Mapping[FolderFile, Identity]
    """What it was read from, the model's file first."""
    compared: bool
    """Whether it was compared with the weights beside it; False where there are none."""


@contextmanager
def session_source(file: FolderFile, described: FolderDescription) -> Iterator[SessionSource]:
    """An ONNX file, ready for a session that is made within the block.

    file       of the folder
    described  the folder

    Raises RefusedError for what is unsafe, unsupported or of another model, and CheckpointError for damage, and
    where a file was changed within the block.
    """
    with ExitStack() as handles:
        stream = handles.enter_context(file.open())
        streams = {file: stream}
        files = {file: identity(stream)}
        read = described.onnx_content(file, stream)
        content, model = read.data, read.model
        outputs = must_suit(model, file, described)
        if any(node.operator in BY_BATCH for node in model.nodes):
            warn(
                f"{file} rounds the states of a whole batch by one scale, so a text's answer depends a little on "
                "the texts beside it; a file that `sijo export` makes does not"
            )
        source, folder, numbers = content, None, None
        if model.locations:
            data = _data_file(file, model)
            streams[data] = handles.enter_context(data.open())
            files[data] = identity(streams[data])
            numbers = _numbers(streams[data])
            _check_ends(model, data, len(numbers))
            if data.name.endswith(".safetensors"):
                must_be_stored(model, file, data, numbers)
            folder, name = _place(streams[data], data, handles)
            source = with_data_in(content, model, {model.locations[0]: name})
        elif len(content) > READ_WHOLE and HANDLES.is_dir():
            source = str(HANDLES / str(stream.fileno()))
        compared = must_be_of(model, content, numbers, file, described)
        yield SessionSource(source if isinstance(source, str) else bytes(source), folder, outputs, files, compared)
        for opened, handle in streams.items():
            if identity(handle) != files[opened]:
                raise CheckpointError(f"{opened} was changed while it was read; open it again")


def onnx_outputs(file: FolderFile, described: FolderDescription) -> OnnxOutputs:
    """What an ONNX file of a folder gives; raises what `session_source` does for what it says of itself."""
    with file.open() as stream:
        return must_suit(described.onnx_content(file, stream).model, file, described)


def onnx_heads(file: FolderFile, described: FolderDescription) -> tuple[str, ...]:
    """The heads that an ONNX file of a folder may have been exported with; raises what `onnx_outputs` does."""
    with file.open() as stream:
        model = described.onnx_content(file, stream).model
    must_suit(model, file, described)
    return judging_heads(model, described.architecture.hidden_size)


def _numbers(stream: BufferedReader) -> Any:
    """The bytes of a file of tensors, mapped."""
    size = os.fstat(stream.fileno()).st_size
    return mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) if size else b""


def _data_file(file: FolderFile, model: OnnxModel) -> FolderFile:
    """The one file beside a model that its tensors are in."""
    if len(model.locations) > 1:
        raise RefusedError(
            f"{file} keeps its tensors in {len(model.locations):,} files, and sijo reads those that keep them in "
            "one; export it anew"
        )
    location = model.locations[0]
    inside(file.folder, location)
    if "/" in location or location in ("", "."):
        raise RefusedError(
            f"{file} keeps its tensors in {location!r:.200}, and sijo looks for them beside the file alone; this "
            "is not opened"
        )
    data = present(file.folder, str(PurePosixPath(file.name).with_name(location)))
    if data is None:
        raise CheckpointError(
            f"{file} keeps its tensors in {location!r:.200}, which is not beside it; copy the folder again, whole"
        )
    return data


def _check_ends(model: OnnxModel, data: FolderFile, size: int) -> None:
    """Raise CheckpointError where a tensor lies beyond the end of its file."""
    for tensor in model.stored.values():
        at = tensor.elsewhere
        if at is not None and at.begin + at.length > size:
            raise CheckpointError(
                f"{data} is cut short: it has {size:,} bytes, and the tensor {tensor.name!r:.100} ends at "
                f"{at.begin + at.length:,}; copy it again"
            )


def _place(stream: BufferedReader, data: FolderFile, handles: ExitStack) -> tuple[str, str]:
    """The folder of an open file and the file's name in it, when every link on the way was followed.

    Raises CheckpointError where another file has that name by now.
    """
    handle = HANDLES / str(stream.fileno())
    path = handle.readlink() if HANDLES.is_dir() else data.path.resolve()
    folder = str(path.parent)
    if HANDLES.is_dir():
        parent = os.open(path.parent, os.O_RDONLY | DIRECTORY)
        handles.callback(os.close, parent)
        folder = str(HANDLES / str(parent))
    if not os.path.samestat((Path(folder) / path.name).lstat(), os.fstat(stream.fileno())):
        raise CheckpointError(f"{data} was changed while it was read; open it again")
    return folder, path.name
