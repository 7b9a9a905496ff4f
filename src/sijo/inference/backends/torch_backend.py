"""The backend that runs any checkpoint, on any device that torch knows.

Letters: B batch, L length, D width of the hidden states, N places asked about, U of them distinct, V tokens.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from sijo.checkpoints.describe import FolderDescription
from sijo.checkpoints.load import Dtype, Model, load
from sijo.checkpoints.weights import not_finite
from sijo.errors import SettingError
from sijo.inference.backends.backend import Backend, IdBatch, Precision, TokenPlaces
from sijo.inference.backends.devices import torch_device
from sijo.inference.threads import thread_count
from sijo.nn.head_specs import CLASSIFIER
from sijo.nn.heads import ClassifierHead, HeadInput, LMHead
from sijo.nn.pooling import pool
from sijo.nn.prepared import Precision as PreparedPrecision
from sijo.nn.prepared import PreparedNetwork, may_prepare, prepared

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
# Read at torch's first product. A kernel is kept for each shape of a batch, 1,024 of them by default, and between
# them memory is torn: 61,000 rows of all lengths ended at 878 MB and rose, with 64 at 699 MB and stayed there.

GPU_BATCH_TOKENS = 65_536
"""Tokens of a batch on a GPU, which is idle with few: not measured, since none was at hand."""
MOST_LOGITS = 2**24
"""Numbers that are held while log-probabilities of tokens are computed: 64 MB."""
DTYPES: dict[Precision, Dtype] = {"exact": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""What the weights of a network are in, for each precision that is a type of floats."""
PREPARED: dict[Precision, PreparedPrecision] = {name: name for name in get_args(PreparedPrecision)}
"""Those for which a network that reads both sides is made ready on the processor; its weights stay in float32."""
PRECISIONS: dict[Dtype, Precision] = {dtype: precision for precision, dtype in DTYPES.items()} | {"int8": "int8"}


class TorchBackend(Backend):
    """A model in torch.

    model      what `sijo.load` gives, with the head that is to answer
    device     where it computes: auto, cpu, cuda, cuda:N, mps
    precision  what it computes in; None for its own dtype
    threads    how many compute on the processor, while it does: afterwards torch has as many as before. None for as
               many as torch has, but no more than `thread_count`'s

    On the processor a network that reads both sides is made ready for that (`nn/prepared.py`): weights that change
    later are not seen.
    """

    name = "torch"
    call_cost = 32

    def __init__(
        self, model: Model, device: str = "cpu", precision: Precision | None = None, threads: int | None = None
    ) -> None:
        self.model = model
        self.device = torch_device(device)
        self.precision = PRECISIONS[model.dtype] if precision is None else precision
        self.heads = frozenset(model.head_values)
        self._threads = None if threads is None else thread_count(threads)
        if threads is None and torch.get_num_threads() > (most := thread_count()):  # of a quota it knows nothing
            torch.set_num_threads(most)
        self._network: Model | PreparedNetwork = model
        if self.device != "cpu":
            self.batch_tokens = GPU_BATCH_TOKENS
            self._network = model.to(self.device)
        elif model.dtype == "float32" and may_prepare(model.architecture):
            self._network = prepared(model, precision=PREPARED[self.precision])

    @classmethod
    def open(
        cls,
        described: FolderDescription,
        *,
        head: str | None,
        device: str,
        precision: Precision,
        threads: int | None = None,
    ) -> "TorchBackend":
        """The model of a folder, with one head or none."""
        base: Path | None = None if described.base == described.folder else described.base
        ready = device == "cpu" and precision in PREPARED and may_prepare(described.architecture)
        if not ready and precision not in DTYPES:
            raise SettingError(
                f"torch computes in precision={precision!r} on the processor alone, for a network of one stack "
                "that reads both sides; use bf16 or exact"
            )
        dtype = "float32" if ready else DTYPES[precision]
        return cls(load(described.folder, head, dtype=dtype, base=base), device, precision, threads)

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "exact",
        threads: int | None = None,
    ) -> "TorchBackend":
        """A model that was opened before, in the dtype that it has.

        Raises SettingError for another backend, and for a precision that is not the model's.
        """
        own = PRECISIONS[model.dtype]
        if backend not in ("auto", cls.name):
            raise SettingError(
                f"backend={backend!r} cannot run a model that was opened with torch; give its folder instead"
            )
        if precision not in ("exact", own):
            raise SettingError(
                f"precision={precision!r} (--precision) is for a model that is yet to be opened, and this one is "
                f"in {model.dtype}; give its folder instead"
            )
        return cls(model, str(next(model.parameters()).device) if device == "auto" else device, threads=threads)

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """The model's own, and the precision."""
        return hashlib.blake2b(f"{self.model.fingerprint} {self.precision}".encode(), digest_size=32).hexdigest()

    @torch.inference_mode()
    def vectors(self, batch: IdBatch, skips: Sequence[int] = ()) -> np.ndarray:
        """One pooled vector for each input, (B, D) float32."""
        ids_BL, keep_BL, types_BL = self._tensors(batch)
        with self._own_threads():
            hidden_BLD = self._network(ids_BL, keep_BL, types_BL).last_hidden_state
            return np.asarray(pool(hidden_BLD, keep_BL, self.model.sentence.pooling, skips).float().cpu())

    @torch.inference_mode()
    def logits(self, batch: IdBatch, head: str = CLASSIFIER) -> np.ndarray:
        """The head's logits for each input, (B, C) float32, or for each of its tokens, (B, L, C)."""
        with self._own_threads():
            return np.asarray(self._network(*self._tensors(batch)).answers[head].float().cpu())

    @torch.inference_mode()
    def scores_at(self, batch: IdBatch, head: str, at: TokenPlaces) -> np.ndarray:
        """Of the other places no scores are computed."""
        module = self.model.head[head]
        assert isinstance(module, LMHead | ClassifierHead)
        read = self._network.head_input(*self._tensors(batch))
        width = batch.input_ids.shape[1]
        place_U, asked_N = np.unique(at.rows * width + at.columns, return_inverse=True)
        where = (
            self._on_device(torch.from_numpy(place_U // width)),
            self._on_device(torch.from_numpy(place_U % width)),
        )
        if isinstance(module, ClassifierHead):
            return np.asarray(module.at(read, where).float().cpu())[asked_N]
        assert at.tokens is not None
        return self._logprobs(module, read, where, asked_N, at.tokens)

    def _logprobs(
        self, head: LMHead, read: HeadInput, where: tuple[Tensor, Tensor], asked_N: np.ndarray, tokens_N: np.ndarray
    ) -> np.ndarray:
        """The log-probability (N,) of each token at the place, of U, that is asked about; some places at a time."""
        states_UD = head.states(read)[where]
        scores_N = np.empty(len(asked_N), np.float32)
        step = max(1, MOST_LOGITS // self.model.architecture.vocab_size)
        for first in range(0, len(states_UD), step):
            logits_UV = head.decode(states_UD[first : first + step], read.transformer).float()
            own = np.flatnonzero((asked_N >= first) & (asked_N < first + step))
            place = self._on_device(torch.from_numpy(asked_N[own] - first))
            token = self._on_device(torch.from_numpy(tokens_N[own]))
            scores_N[own] = (logits_UV[place, token] - logits_UV.logsumexp(-1)[place]).cpu()
        return scores_N

    def why_not_finite(self) -> str:
        """By the model's weights and dtype."""
        return why_not_finite(self.model)

    @contextmanager
    def _own_threads(self) -> Iterator[None]:
        """Within, torch computes with the threads that were asked for; other engines have theirs."""
        before = torch.get_num_threads()
        if self._threads in (None, before):
            yield
            return
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _tensors(self, batch: IdBatch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        arrays = (batch.input_ids, batch.keep, batch.token_type_ids)
        on_device = [None if array is None else self._on_device(torch.from_numpy(array)) for array in arrays]
        assert on_device[0] is not None
        return on_device[0], on_device[1], on_device[2]

    def _on_device(self, tensor: Tensor) -> Tensor:
        """To CUDA from pages that stay where they are, so that the copy goes on while the processor does."""
        pinned = tensor.pin_memory() if self.device.startswith("cuda") else tensor
        return pinned.to(self.device, non_blocking=True)


def padded(
    rows: Sequence[Sequence[int]], *, pad: int = 0, limit: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Rows of ids as one tensor (B, L), and where they are real; None for the latter where all of it is.

    Arguments as of `IdBatch.of`.

    >>> ids, keep = padded([[5, 6, 7], [8]])
    >>> ids.tolist(), keep.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
    """
    batch = IdBatch.of(rows, pad=pad, limit=limit)
    return torch.from_numpy(batch.input_ids), None if batch.keep is None else torch.from_numpy(batch.keep)


def why_not_finite(model: Model) -> str:
    """Why what a model gives may be NaN or infinite, and what would do: the end of a sentence."""
    bad = next((name for name, tensor in model.state_dict().items() if not_finite(tensor)), None)
    otherwise = "download it again, or choose another (--model)"
    if bad is not None:
        return f"{bad} among its weights is; {otherwise}"
    if model.dtype == "float16":
        return (
            "it computes in float16, which ends at 65,504; use --precision exact or bf16 (in Python: precision=, "
            "and for sijo.load dtype=)"
        )
    if model.dtype == "bfloat16":
        return "it computes in bfloat16; use --precision exact (in Python: precision=, and for sijo.load dtype=)"
    return (
        f"its numbers are beyond {model.dtype}, though each weight is finite: the file is damaged, or its "
        f"training diverged; {otherwise}"
    )
