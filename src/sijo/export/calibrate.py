"""How large the states are that a network's matrices are multiplied with, measured on texts.

Letters: B batch, L length, D width of what goes in.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sijo.checkpoints.load import Model
from sijo.export.static import InputRange
from sijo.nn.encoder_decoder import in_stack


@torch.inference_mode()
def input_ranges(model: Model, batches: Iterable[dict[str, np.ndarray]]) -> dict[str, InputRange]:
    """The range of each channel of what goes into every linear map of the blocks, over real tokens.

    batches  input_ids, attention_mask and token_type_ids, (B, L) int64 each
    """
    largest: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    real: Tensor | None = None

    def watch(name: str, linear: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            states_BLD = inputs[0]
            if real is None or states_BLD.shape[:-1] != real.shape:
                return  # the table of distances
            states_RD = states_BLD[real]
            most_D = states_RD.abs().amax(0)
            largest[name] = torch.maximum(largest[name], most_D) if name in largest else most_D
            sums[name] = sums.get(name, torch.zeros(())) + states_RD.double().sum(0)
            counts[name] = counts.get(name, 0) + len(states_RD)

        return linear.register_forward_pre_hook(look)

    parts = ((in_stack(name), part) for name, part in model.transformer.named_modules())
    handles = [watch(name, part) for name, part in parts if isinstance(part, nn.Linear) and "blocks." in name]
    try:
        for batch in batches:
            ids, mask, types = (
                torch.from_numpy(batch[name]) for name in ("input_ids", "attention_mask", "token_type_ids")
            )
            real = mask.bool()
            model.transformer(ids, mask, types)
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: InputRange(np.asarray(most), np.asarray((sums[name] / counts[name]).float()))
        for name, most in largest.items()
    }
