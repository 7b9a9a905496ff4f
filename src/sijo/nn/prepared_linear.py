"""Linear maps of a network that only reads: their matrices laid out anew, once, as the processor wants them.

The layout is the library's own (oneDNN's, by operators that torch's compiler uses too), so it is asked for where
it is there, and everywhere else the plain product takes its place.

Letters: T tokens, N rows of a matrix (its outputs), D its columns.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sijo.nn.architecture import Activation
from sijo.nn.transformer import ACTIVATIONS

FUSED: dict[Activation, tuple[str, str]] = {
    "linear": ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "tanh": ("tanh", ""),
}
"""Activations that the library applies while it writes a product, by its names."""
ROWS = 1024
"""Rows of states for which a matrix is laid out; others take the same layout."""


def packs(device: torch.device) -> bool:
    """Whether matrices can be laid out by oneDNN there."""
    own = getattr(torch.ops, "mkldnn", None)
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(own, "_reorder_linear_weight")
        and hasattr(own, "_linear_pointwise")
    )


class PreparedLinear:
    """A linear map and the activation after it, in float32 or bfloat16, from float32 states to float32 states.

    >>> linear = PreparedLinear(torch.eye(2), torch.tensor([1.0, -4.0]), "relu")
    >>> linear(torch.tensor([[2.0, 3.0]])).tolist()
    [[3.0, 0.0]]
    """

    def __init__(
        self,
        weight_ND: Tensor,
        bias_N: Tensor | None,
        activation: Activation = "linear",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self.weight = weight_ND.detach().to(dtype)
        self.bias = None if bias_N is None else bias_N.detach().to(dtype)
        self.after = ACTIVATIONS[activation]
        self.packed: Any = None
        if packs(weight_ND.device):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), ROWS)
            self.fused = FUSED.get(activation)
            del self.weight

    def __call__(self, states_TD: Tensor, added_TN: Tensor | None = None) -> Tensor:
        """The map of states (T, D), with another (T, N) added where there is one; (T, N) float32."""
        states_TD = states_TD.to(self.dtype)
        if self.packed is None:
            out_TN = self.after(F.linear(states_TD, self.weight, self.bias))
        elif added_TN is not None and self.fused == FUSED["linear"] and self.dtype == torch.float32:
            summed: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                states_TD, added_TN, self.packed, self.bias, "add"
            )
            return summed
        else:
            name, algorithm = self.fused or FUSED["linear"]
            out_TN = torch.ops.mkldnn._linear_pointwise(states_TD, self.packed, self.bias, name, [], algorithm)
            out_TN = out_TN if self.fused else self.after(out_TN)
        return out_TN.float() if added_TN is None else added_TN + out_TN
