"""Which ONNX files a folder has, as sentence-transformers and optimum lay them out."""

import platform
import sys
from functools import cache
from pathlib import Path, PurePosixPath

from sijo.files.paths import FolderFile, present

FOLDER = "onnx"
"""Where they are; some are published beside config.json."""
ONNX_NAMES = {
    "exact": ("model.onnx",),
    "fp16": ("model_fp16.onnx",),
    "int8": ("model_int8.onnx", "model_quantized.onnx"),
    "int4": ("model_int4.onnx", "model_q4.onnx"),
}
"""What a file of each precision is called: sijo's own name first."""
QUANTIZED_FOR = {
    "avx512_vnni": "model_qint8_avx512_vnni.onnx",
    "avx512f": "model_qint8_avx512.onnx",
    "avx2": "model_quint8_avx2.onnx",
    "arm64": "model_qint8_arm64.onnx",
}
"""What sentence-transformers calls files of int8 that were made for one kind of processor; the most able first."""
DATA_SUFFIXES = ("_data", ".data")
"""What stands behind a file's name in that of the file of its tensors."""


def onnx_file(folder: Path, precision: str = "exact") -> FolderFile | None:
    """The file of a precision, in `onnx/` or beside config.json; None where there is none.

    >>> onnx_file(Path("."), "int8") is None
    True
    """
    for place in onnx_places(precision):
        if (file := present(folder, place)) is not None:
            return file
    return None


def onnx_places(precision: str) -> list[str]:
    """Where the file of a precision may be, the first that is there counts.

    >>> onnx_places("exact")
    ['onnx/model.onnx', 'model.onnx']
    """
    names = [*ONNX_NAMES.get(precision, ())]
    if precision == "int8":
        names += [name for ability, name in QUANTIZED_FOR.items() if ability in _abilities()]
    return [place for name in names for place in (f"{FOLDER}/{name}", name)]


def beside(file: FolderFile, location: str) -> str:
    """The name, in the folder, of a file that an ONNX file calls by a location: by its own name and no other."""
    return str(PurePosixPath(file.name).parent / location)


@cache
def _abilities() -> frozenset[str]:
    """What the processor has of `QUANTIZED_FOR`; of x86 what Linux tells of it, and elsewhere nothing."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return frozenset({"arm64"})
    if sys.platform != "linux":
        return frozenset()
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\nflags")[2]
    return frozenset(flags.partition("\n")[0].split()) & frozenset(QUANTIZED_FOR)
