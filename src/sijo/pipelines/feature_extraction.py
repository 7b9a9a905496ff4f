"""The last hidden state of each token of a text: transformers' feature-extraction.

Vectors of whole texts are `sijo.encode`'s.

Letters: L length, D width of the hidden states.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sijo.checkpoints.load import Dtype, Model, load
from sijo.errors import SettingError
from sijo.inference.backends.torch_backend import DTYPES, TorchBackend, padded
from sijo.inference.engine import Engine
from sijo.pipelines.base import Pipeline
from sijo.pipelines.cutting import TOKENIZER_ARGUMENTS, InputCut, cut_inputs

if TYPE_CHECKING:
    from torch import Tensor

TOGETHER = 32
"""Texts that are read at a time; each has states of its own tokens alone."""


@dataclass(frozen=True, kw_only=True)
class StatesCall:
    """What a call asks."""

    cut: InputCut = field(default_factory=InputCut)
    return_tensors: bool = False


class FeatureExtractionPipeline(Pipeline):
    """Texts in; the states of their tokens out, special ones among them, as [[[…] for each token]].

    Source: transformers' FeatureExtractionPipeline, which reads one text at a time unless told otherwise; where it
    reads several it gives the states of padding too, which are none here.
    """

    task = "feature-extraction"
    arguments = ("truncation", "tokenize_kwargs", "return_tensors")

    def _opened(self, model: "str | Path | Model | None", run_by: Mapping[str, Any]) -> Engine:
        precision = run_by.get("precision", "exact")
        if precision not in DTYPES or run_by.get("backend", "auto") not in ("auto", "torch"):
            raise SettingError(
                "states of tokens are computed by torch, in float32, float16 or bfloat16; leave backend= and "
                "precision= out"
            )
        if isinstance(model, str | Path) or model is None:
            dtype: Dtype = DTYPES[precision]
            model = load(model, revision=run_by.get("revision"), dtype=dtype, base=run_by.get("base"))
        device, threads = run_by.get("device", "auto"), run_by.get("threads")
        return Engine(model, TorchBackend.of(model, device=device, threads=threads))

    def _settings(
        self,
        truncation: Any = None,
        tokenize_kwargs: Mapping[str, Any] | None = None,
        return_tensors: bool | str | None = None,
    ) -> StatesCall:
        kwargs = dict(tokenize_kwargs or {})
        if truncation is not None:
            if "truncation" in kwargs:
                raise SettingError("truncation= is given twice, by itself and in tokenize_kwargs=; give one")
            kwargs["truncation"] = truncation
        for name in kwargs:
            if name not in TOKENIZER_ARGUMENTS:
                raise SettingError(
                    f"tokenize_kwargs= has {name}, which is not known; there are {', '.join(TOKENIZER_ARGUMENTS)}"
                )
        return StatesCall(cut=InputCut.of(**kwargs), return_tensors=bool(return_tensors))

    @torch.inference_mode()
    def _answers(self, inputs: list[Any], settings: StatesCall) -> list[Any]:
        for text in inputs:
            if not isinstance(text, str):
                raise SettingError(f"an input is of type {type(text).__name__}, and this pipeline reads texts")
        ids = [one.ids for one in cut_inputs(self.tokenizer, inputs, [None] * len(inputs), settings.cut)]
        backend = self.engine.backend
        assert isinstance(backend, TorchBackend)
        answers: list[Tensor] = []
        for begin in range(0, len(ids), TOGETHER):
            rows = ids[begin : begin + TOGETHER]
            ids_BL, keep_BL = padded(rows, pad=self.tokenizer.pad_id)
            keep = None if keep_BL is None else keep_BL.to(backend.device)
            states_BLD = backend.model(ids_BL.to(backend.device), keep).last_hidden_state.cpu()
            answers += [states_BLD[place : place + 1, : len(row)] for place, row in enumerate(rows)]
        return answers if settings.return_tensors else [states.tolist() for states in answers]
