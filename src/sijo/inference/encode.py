"""Sentence vectors: texts in, an array out; and the engine of whatever names a model."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sijo.checkpoints.describe import FolderDescription, describe, no_tokenizer
from sijo.errors import SettingError
from sijo.inference.backends.backend import Backend, Precision
from sijo.inference.backends.registry import open_backend
from sijo.inference.engine import Engine, LongText
from sijo.inference.open_models import OPEN_MODELS
from sijo.inference.outputs import unit
from sijo.inference.precision import FIRST_TEXTS, PrecisionChoice, choose, ranked
from sijo.inference.threads import thread_count
from sijo.texts import texts_in

if TYPE_CHECKING:
    from sijo.checkpoints.load import Model


def engine_of(
    model: "str | Path | Model | None",
    *,
    head: str | None = None,
    base: str | Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "exact",
    threads: int | None = None,
    **settings: Any,
) -> Engine:
    """The engine of a model.

    model     a folder, an `org/name`, an opened model, or None for the built-in one
    head      the head that is to answer, of a model that is yet to be opened; None for vectors
    base      the model of an adapter that stands alone; see `load`
    settings  those of `Engine`; and `keep_open`, for a folder: whether its network is shared with whoever asks for
              the same one in this process, and stays open for the next (`open_models.py`)

    `backend`, `device`, `precision` and `threads` are those of `open_backend`; a model that was opened has its own
    precision.
    Raises SettingError for settings of a model that was opened before.

    >>> engine_of("all-minilm-l6-v2").encode(["a cat", "", "a dog"]).tokens.tolist()
    [2, 0, 2]
    """
    run_by: dict[str, Any] = {"backend": backend, "device": device, "precision": precision, "threads": threads}
    if model is None or isinstance(model, str | Path):
        described = describe(model, base=base)
        return described_engine(described, head=head, **run_by, **settings)
    if base is not None:
        raise SettingError("base= is for a model that is yet to be opened; give it to sijo.load")
    from sijo.inference.backends.torch_backend import TorchBackend

    return Engine(model, TorchBackend.of(model, **run_by), **settings)


def described_engine(
    described: FolderDescription,
    *,
    head: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "exact",
    threads: int | None = None,
    keep_open: bool = True,
    **settings: Any,
) -> Engine:
    """The engine of a folder that was described; arguments as of `engine_of`."""
    run_by: dict[str, Any] = {"head": head, "backend": backend, "device": device, "precision": precision}
    if described.lacks_tokenizer:  # before a network is opened, for nothing
        raise no_tokenizer(described.folder)

    def opened(described: FolderDescription) -> Backend:
        return open_backend(described, threads=threads, **run_by)

    if not keep_open:
        return Engine(described, opened(described), **settings)
    # who names no threads gets those of the environment, which may change between two calls
    how = (*run_by.values(), threads, thread_count(threads))
    return Engine(*OPEN_MODELS.get(described, how, opened), **settings)


def nearest_others(vectors_ND: np.ndarray) -> list[int]:
    """For each vector which other is the nearest by the cosine: what an index of them would find, (N,).

    >>> nearest_others(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    [1, 0, 1]
    """
    cosines_NN = unit(vectors_ND) @ unit(vectors_ND).T
    np.fill_diagonal(cosines_NN, -np.inf)
    nearest: list[int] = cosines_NN.argmax(1).tolist()
    return nearest


def automatic_engine(
    open_with: Callable[[Precision], Engine],
    texts: Sequence[str],
    *,
    backend: str = "auto",
    device: str = "auto",
) -> tuple[Engine, PrecisionChoice]:
    """The engine of a folder in the fastest precision in which the same texts are near each other, and why.

    open_with  opens the folder in a precision
    texts      the first ones; those that are equal count once

    `backend` and `device` are what was asked for.
    """
    distinct = [text for text in dict.fromkeys(texts) if text.strip()]
    opened: dict[Precision, Engine] = {"exact": open_with("exact")}
    candidates: list[Precision] = []
    if isinstance(opened["exact"].model, FolderDescription):
        candidates = ranked(opened["exact"].model, backend=backend, device=device)

    def decide(precision: Precision) -> list[int]:
        if precision not in opened:
            opened[precision] = open_with(precision)
        return nearest_others(opened[precision].encode(distinct).vectors)

    choice = choose(candidates, len(distinct), decide)
    return opened[choice.precision], choice


def encode(
    model: "str | Path | Model | None",
    texts: Iterable[str],
    normalize: bool | None = True,
    *,
    prompt: str | None = None,
    dimensions: int | None = None,
    long_text: LongText = "windows",
    base: str | Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision | Literal["auto"] = "exact",
    threads: int | None = None,
) -> np.ndarray:
    """One vector for each text, in order.

    A folder is opened at the first call and stays open for the next; `sijo.close_models` frees its memory.

    model      a folder, an `org/name`, an opened model, or None for the built-in one
    texts      any number of them, in whatever `texts_in` reads: a list, a column of a table, an array, a stream
    normalize  scale each vector to length 1, so that a dot product is a cosine; False leaves out a Normalize module
               at the end of the model's own, too. None for what the folder's modules.json says, as
               sentence-transformers' `encode` has it by default
    prompt     what stands before each text: the name of one of the model's prompts, or words such as "query: "; ""
               for nothing, None for what the model was trained with
    dimensions how many of a vector's first numbers are kept, before it is scaled: for models that were trained to
               be cut (Matryoshka), and with a warning for others. None for what the model says, mostly all
    long_text  "windows" reads the whole of a text longer than the model, in windows whose vectors are averaged by
               tokens; "truncate" its start alone, as sentence-transformers does
    base       the model of an adapter that stands alone; see `load`
    backend    torch, onnx, or auto: onnx where the folder holds an ONNX file of that precision, else torch
    device     auto, cpu, cuda, cuda:N, mps
    precision  exact (float32), bf16, fp16, int8, int4; or auto, the first of int8 and bf16, where the processor has
               them, in which the first texts are near each other as in float32, in 99 of 100 cases
    threads    how many compute on the processor; None for what `OMP_NUM_THREADS` says, else the cores there are, or
               fewer where a container has a quota. The same number gives the same bytes

    Returns (n, D) float32, all of them finite: D the model's width, or k times that where k poolings stand side by
    side. A text without tokens gives zeros.
    Raises NotFiniteError, a SettingError, for a text whose numbers are beyond the model's precision.

    >>> cat, kitten, tax = encode(None, ["a cat", "a kitten", "income tax"])
    >>> bool(cat @ kitten > cat @ tax)
    True
    """
    run_by: dict[str, Any] = {"base": base, "backend": backend, "device": device, "threads": threads}
    how: dict[str, Any] = {"prompt": prompt, "dimensions": dimensions, "long_text": long_text}

    def open_with(precision: Precision) -> Engine:
        return engine_of(model, precision=precision, own_scale=normalize is None, **run_by, **how)

    if precision == "auto":
        rest = texts_in(texts)
        first = list(islice(rest, FIRST_TEXTS))
        engine, _ = automatic_engine(open_with, first, backend=backend, device=device)
        texts = chain(first, rest)
    else:
        engine = open_with(precision)
    none = np.zeros((0, engine.width), np.float32)
    stacked = np.concatenate([none, *(group.vectors for group in engine.stream(texts))])
    return unit(stacked) if normalize else stacked
