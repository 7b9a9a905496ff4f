"""Which ONNX files a folder has, as sentence-transformers and optimum lay them out."""

import platform
from pathlib import Path

from sijo.files.paths import FolderFile, present
from sijo.processor import abilities

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


def onnx_file(folder: Path, precision: str = "exact") -> FolderFile | None:
    """The file of a precision, in `onnx/` or beside config.json; None where there is none.

    >>> onnx_file(Path("."), "int8") is None
    True
    """
    for place in onnx_places(precision):
        if (file := present(folder, place)) is not None:
            return file
    return None


def onnx_files(folder: Path) -> dict[str, FolderFile]:
    """The files of a folder by their precision, for those that it has.

    >>> onnx_files(Path("."))
    {}
    """
    files = {precision: onnx_file(folder, precision) for precision in ONNX_NAMES}
    return {precision: file for precision, file in files.items() if file is not None}


def onnx_places(precision: str) -> list[str]:
    """Where the file of a precision may be, the first that is there counts.

    >>> onnx_places("exact")
    ['onnx/model.onnx', 'model.onnx']
    """
    names = [*ONNX_NAMES.get(precision, ())]
    if precision == "int8":
        names += _made_for_this()
    return [place for name in names for place in (f"{FOLDER}/{name}", name)]


def _made_for_this() -> list[str]:
    """The files of `QUANTIZED_FOR` that this processor can run, the best first."""
    arm = {"arm64"} if platform.machine().lower() in ("arm64", "aarch64") else set()
    return [name for ability, name in QUANTIZED_FOR.items() if ability in arm | abilities()]
