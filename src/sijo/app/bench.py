"""`sijo bench`: how fast a model reads on this machine, beside what the machine can do."""

import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sijo.app.results import print_json, print_shown, print_table, wants_json
from sijo.errors import SettingError
from sijo.version import __version__

if TYPE_CHECKING:
    from sijo.checkpoints.describe import FolderDescription
    from sijo.inference.backends.backend import Backend
    from sijo.inference.speed import Reading

LIBRARIES = ("numpy", "torch", "onnxruntime", "tokenizers")
"""Whose versions decide how fast anything is."""


def run(
    model: str | None = None,
    /,
    *,
    revision: str | None = None,
    device: str = "auto",
    rounds: int = 5,
    format: Literal["table", "json"] | None = None,
) -> None:
    """Measure how fast a model reads on this machine, in less than a minute.

    MODEL is a folder or org/name; without it the built-in sentence encoder. Each backend and precision that its
    folder, this machine and what is installed allow reads batches of some lengths and sizes, in turns with plain
    products of matrices: how many texts and tokens a second, and what share of the products' speed that is. Run it
    while nothing else does; beside other libraries `make bench` measures, in sijo's sources.

        sijo bench

        sijo bench models/nli-deberta --format json

    Parameters
    ----------
    revision
        Branch, tag or commit of an org/name model.
    device
        Where torch computes: cpu, cuda, cuda:N or mps; auto takes the first GPU there is, else the processor.
    rounds
        How often each is measured; the median is shown.
    format
        A table for people, or one JSON object; by default json in a pipe.
    """
    if not 1 <= rounds <= 1000:
        raise SettingError(f"rounds={rounds} (--rounds) gives no median; give 1 to 1,000")
    from sijo.checkpoints.describe import describe
    from sijo.inference.speed import read_speeds

    described = describe(model, revision)
    backends, left_out = _backends(described, device)
    if not backends:
        raise SettingError(
            f"nothing that is installed here runs {described.folder}: {'; '.join(left_out.values())}"
        )
    readings, peaks = read_speeds(described, backends, _products(), rounds=rounds)
    if wants_json(format):
        record = {"model": str(described.folder), "machine": machine(), "versions": versions(), "rounds": rounds}
        gflops = {name: peak / 1e9 for name, peak in peaks.items()}
        rows = [vars(reading) for reading in readings]
        print_json(record | {"matmul_gflops": gflops, "readings": rows, "left_out": left_out})
        return
    _print(described, readings, peaks, left_out)


def _backends(described: "FolderDescription", device: str) -> tuple[list["Backend"], dict[str, str]]:
    """Every backend and precision that can be opened and is worth it, and why each other is left out."""
    from sijo.inference.backends.registry import BACKENDS, device_of, judging_head, open_backend
    from sijo.processor import has_bf16

    head = judging_head(described)
    opened, left_out = list["Backend"](), dict[str, str]()
    for name, row in BACKENDS.items():
        where = device_of(device) if name == "torch" else "cpu"
        for precision in row.precisions:
            if where == "cpu" and (precision == "fp16" or (precision == "bf16" and not has_bf16())):
                left_out[f"{name} {precision}"] = "the processor does not multiply it, and would be slower"
                continue
            try:
                opened.append(open_backend(described, head=head, backend=name, device=where, precision=precision))
            except SettingError as error:
                left_out[f"{name} {precision}"] = str(error)
    return opened, left_out


def _products() -> dict[str, Callable[[], object]]:
    """Plain products in float32, by the libraries that are here."""
    from sijo.inference.speed import PRODUCT, numpy_product

    products = {"numpy": numpy_product()}
    if find_spec("torch") is not None:
        from sijo.inference.backends.devices import torch_product

        products["torch"] = torch_product(PRODUCT)
    return products


def machine() -> dict[str, Any]:
    """The processor, how many threads compute, and what it says it has that products are made with."""
    from sijo.inference.threads import allowed_threads, thread_count
    from sijo.processor import BF16, INT8, abilities

    told = {"avx2", "avx512f", "sve", "sve2", *BF16, *INT8}
    return {
        "processor": processor_name(),
        "cores": allowed_threads(),
        "threads": thread_count(),
        "abilities": sorted(abilities() & told),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor_name() -> str:
    """The name that the system gives the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Processor", "Hardware") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python, sijo and the libraries that compute."""
    return {"python": platform.python_version(), "sijo": __version__} | dict(_installed())


def _installed() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _print(
    described: "FolderDescription", readings: list["Reading"], peaks: dict[str, float], left_out: dict[str, str]
) -> None:
    about, known = machine(), versions()
    named = ", ".join(f"{name} {number}" for name, number in known.items())
    has = f" with {', '.join(about['abilities'])}" if about["abilities"] else ""
    print_shown(f"{about['processor']}{has}; {about['threads']} threads; {named}")
    products = ", ".join(f"{name} {peak / 1e9:,.0f}" for name, peak in peaks.items())
    print_shown(f"Plain products in float32, GFLOP/s: {products}")
    rows = [
        (
            f"{reading.backend} {reading.precision}",
            reading.device,
            f"{reading.batch} x {reading.tokens}",
            f"{reading.texts_per_second:,.1f}",
            f"{reading.tokens_per_second:,.0f}",
            f"{reading.gflops:,.0f}",
            f"{reading.peak_share:.0%}",
        )
        for reading in sorted(readings, key=lambda one: (one.backend, one.precision))
    ]
    headings = ("by", "on", "batch", "texts/s", "tokens/s", "GFLOP/s", "of peak")
    note = f"Not measured, for reasons that --format json tells: {', '.join(left_out)}" if left_out else ""
    print_table(headings, rows, title=str(described.folder), note=note)
